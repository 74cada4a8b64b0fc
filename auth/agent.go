package auth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Limits of the waits for an agent. A signature may need a touch or a PIN.
const (
	agentListLimit = 10 * time.Second
	agentSignLimit = 2 * time.Minute
)

// AgentSocket is where the agent listens: $SSH_AUTH_SOCK, on Windows the pipe of
// OpenSSH's service unless the variable says otherwise. "" means no agent.
func AgentSocket() string {
	if s := os.Getenv("SSH_AUTH_SOCK"); s != "" {
		return s
	}
	return defaultAgent
}

// openAgent connects and lists the keys. The closer ends the connection, which
// the signers need until the login is done.
func openAgent(socket string, pause Pause) ([]ssh.Signer, io.Closer, error) {
	conn, err := dialAgent(socket)
	if err != nil {
		return nil, nil, fmt.Errorf("ssh agent: %w", err)
	}
	stop := closeAfter(conn, agentListLimit)
	signers, err := agent.NewClient(conn).Signers()
	if stop(); err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("ssh agent: %w", err)
	}
	for i, s := range signers {
		signers[i] = &agentSigner{signer: s, conn: conn, pause: pause}
	}
	return signers, conn, nil
}

// closeAfter ends a wait on conn: the agent's protocol has no other way. The
// func it returns stops the clock.
func closeAfter(conn io.Closer, limit time.Duration) (stop func() bool) {
	return time.AfterFunc(limit, func() { _ = conn.Close() }).Stop
}

// agentSigner limits how long the agent may take.
type agentSigner struct {
	signer ssh.Signer
	conn   io.Closer
	pause  Pause
}

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.signer.PublicKey() }

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm is needed for RSA keys: without it they would sign SHA-1.
func (s *agentSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	defer s.pause.begin()()
	defer closeAfter(s.conn, agentSignLimit)()
	return signWith(s.signer, rand, data, algorithm)
}

// signWith signs with the algorithm that the server asked for.
func signWith(s ssh.Signer, rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if as, ok := s.(ssh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	if algorithm != "" && algorithm != s.PublicKey().Type() {
		return nil, errors.New("the key can't sign with " + algorithm)
	}
	return s.Sign(rand, data)
}
