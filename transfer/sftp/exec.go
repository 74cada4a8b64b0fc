package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxOutput is how much of a program's output is kept, in bytes.
const maxOutput = 64 << 10

// errNoShell: the server runs no programs for this login.
var errNoShell = errors.New("the server runs no programs for this login")

// programs is how many run at the same time; that many channels are left to them.
const programs = 2

// exec is connection.exec on the session's connection. Where that has no room for a
// program, a channel for file data goes that nobody uses.
func (s *session) exec(ctx context.Context, line string, limit time.Duration) (string, error) {
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	out, err := s.conn.exec(ctx, line, limit)
	if isRefused(err) && s.yield() {
		return s.conn.exec(ctx, line, limit)
	}
	return out, err
}

// isRefused says whether the server opens no further channel.
func isRefused(err error) bool {
	_, refused := errors.AsType[*ssh.OpenChannelError](err)
	return refused
}

// exec runs a command line on the server and gives what it prints. The error is
// errNoShell, an *exitError, or of the connection.
func (c *connection) exec(ctx context.Context, line string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, &stalled{limit})
	defer cancel()
	return call(ctx, c, limit+grace, func() (string, error) {
		ch, requests, err := c.client.OpenChannel("session", nil)
		if err != nil {
			return "", err
		}
		defer context.AfterFunc(ctx, func() { _ = ch.Close() })()
		defer ch.Close()
		if c.forwards {
			_, _ = ch.SendRequest("auth-agent-req@openssh.com", false, nil) // fails with what follows
		}
		exit := make(chan error, 1)
		go func() { exit <- exitOf(requests) }()
		ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{line}))
		if err == nil && !ok {
			err = errNoShell
		}
		if err != nil {
			return "", err
		}
		go func() { _, _ = io.Copy(io.Discard, ch.Stderr()) }() // ends with the channel
		out, err := io.ReadAll(io.LimitReader(ch, maxOutput))
		if err != nil {
			return "", err
		}
		_ = ch.Close() // it may be closed already
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		err = <-exit
		if err == errNoExit && len(out) > 0 {
			err = nil // the benefit of the doubt: the output is looked at anyway
		}
		return string(out), err
	})
}

// exitError is how a program on the server ended, if not well.
type exitError struct{ status uint32 }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// errNoExit: the channel ended, and the server did not say how the program did.
var errNoExit = fmt.Errorf("%w: the program did not end", errLost)

// exitOf reads how the program of a channel ended.
func exitOf(requests <-chan *ssh.Request) (err error) {
	err = errNoExit
	for r := range requests {
		f := fields{b: r.Payload}
		switch r.Type {
		case "exit-status":
			err = nil
			if n := f.uint32(); n != 0 {
				err = &exitError{n}
			}
		case "exit-signal":
			err = errors.New("ended by signal " + f.string())
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // fails only if the channel is gone
		}
	}
	return err
}
