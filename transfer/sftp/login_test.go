package sftp

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// TestJumpHosts: through two hosts, each with its own login and host key.
func TestJumpHosts(t *testing.T) {
	noLeaks(t)
	first, second := startLab(t, lab.SFTPConfig{Forward: true}), startLab(t, lab.SFTPConfig{Forward: true})
	target := startLab(t, lab.SFTPConfig{})
	one, two := labOptions(first), labOptions(second)
	two.Jump = &one
	s := dialLab(t, target, func(o *Options) { o.Jump = &two })
	put(t, s, "f", content(3<<20))
	sameBytes(t, "f", get(t, s, "f"), content(3<<20))
	for _, srv := range []*lab.SFTP{first, second, target} {
		if n := srv.Log().Count("connect"); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
	_ = s.Close()
}

func TestJumpHostFaults(t *testing.T) {
	noLeaks(t)
	jump, target := startLab(t, lab.SFTPConfig{Forward: true}), startLab(t, lab.SFTPConfig{})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	noForward := startLab(t, lab.SFTPConfig{})
	tests := map[string]struct {
		change func(o, via *Options)
		want   policy.Fault
	}{
		"its login is refused": {
			func(_, via *Options) { via.Login.Password = &auth.Source{Given: auth.NewSecret("no")} },
			policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseSSHAuth},
		},
		"its host key is unknown": {
			func(_, via *Options) { via.HostKeys = &auth.HostKeys{Files: []string{os.DevNull}} },
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseHostKeyUnknown},
		},
		"it forwards nothing": {
			func(o, _ *Options) { via := labOptions(noForward); o.Jump = &via },
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "dial", Cause: policy.CauseProxy, Text: "the jump host can't reach " + target.Addr()},
		},
		"it can't reach the server": {
			func(o, _ *Options) { o.Address = closed.Addr().String() },
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "dial", Cause: policy.CauseProxy, Text: "Connection refused"},
		},
		"the server refuses": {
			func(o, _ *Options) { o.Login.Password = &auth.Source{Given: auth.NewSecret("no")} },
			policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseSSHAuth},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, via := labOptions(target), labOptions(jump)
			o.Jump = &via
			tt.change(&o, &via)
			failDial(t, o, tt.want)
		})
	}
}

// TestJumpHostDies: the connection behind it ends, too.
func TestJumpHostDies(t *testing.T) {
	noLeaks(t)
	jump, target := startLab(t, lab.SFTPConfig{Forward: true}), startLab(t, lab.SFTPConfig{})
	via := labOptions(jump)
	s := dialLab(t, target, func(o *Options) { o.Jump = &via })
	jump.Kick()
	_, err := s.Stat(t.Context(), ".")
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "stat", Cause: policy.CauseReset})
	_ = s.Close()
}

// TestHelperRelay is the ProxyCommand of the tests: it copies between its
// standard streams and an address.
func TestHelperRelay(t *testing.T) {
	address := os.Getenv("XFER_TEST_RELAY")
	if address == "" {
		t.Skip("not a test: started by TestProxyCommand")
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		os.Stderr.WriteString("no way there\n")
		os.Exit(3)
	}
	go func() { _, _ = conn.(*net.TCPConn).ReadFrom(os.Stdin); os.Exit(0) }()
	_, _ = conn.(*net.TCPConn).WriteTo(os.Stdout)
	os.Exit(0)
}

func TestProxyCommand(t *testing.T) {
	noLeaks(t)
	srv := startLab(t, lab.SFTPConfig{})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	relay := func(address string) func(*Options) {
		t.Setenv("XFER_TEST_RELAY", address)
		return func(o *Options) { o.DialContext = Command(self + " -test.run=^TestHelperRelay$") }
	}
	s := dialLab(t, srv, relay(srv.Addr()))
	put(t, s, "f", content(3<<20))
	sameBytes(t, "f", get(t, s, "f"), content(3<<20))
	_ = s.Close()

	failDial(t, labOptions(srv, relay("127.0.0.1:1")), policy.Fault{
		Protocol: policy.Net, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseProxy, Text: "exit status 3: no way there",
	})
	failDial(t, labOptions(srv, func(o *Options) { o.DialContext = Command("sleep 600") }, withTimeout(300*time.Millisecond)),
		policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseTimeout})
}

// TestLegacy: outdated algorithms only where they are allowed, and then named.
func TestLegacy(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		config lab.SFTPConfig
		names  string
	}{
		"key exchange": {lab.SFTPConfig{Crypto: ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH1SHA1}}}, "key exchange diffie-hellman-group1-sha1"},
		"cipher":       {lab.SFTPConfig{Crypto: ssh.Config{Ciphers: []string{ssh.InsecureCipherAES128CBC}}}, "cipher aes128-cbc"},
		"MAC":          {lab.SFTPConfig{Crypto: ssh.Config{MACs: []string{ssh.InsecureHMACSHA196}, Ciphers: []string{ssh.CipherAES128CTR}}}, "MAC hmac-sha1-96"},
		"host key":     {lab.SFTPConfig{HostKeys: []ssh.Signer{old}}, "host key ssh-rsa"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := startLab(t, tt.config)
			failDial(t, labOptions(srv), policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseAlgorithms})

			algorithms, err := auth.Algorithms(nil, true)
			if err != nil {
				t.Fatal(err)
			}
			var warned []string
			dialLab(t, srv, func(o *Options) {
				o.Algorithms, o.HostKeys.Algorithms = algorithms, algorithms.HostKeys
				o.Warn = func(text string) { warned = append(warned, text) }
			})
			if len(warned) != 1 || !strings.Contains(warned[0], tt.names) {
				t.Errorf("warned of %q, want %q", warned, tt.names)
			}
		})
	}
	var warned []string
	dialLab(t, startLab(t, lab.SFTPConfig{}), func(o *Options) {
		o.Algorithms, _ = auth.Algorithms(nil, true)
		o.Warn = func(text string) { warned = append(warned, text) }
	})
	if len(warned) > 0 {
		t.Errorf("a current server is warned of: %q", warned)
	}
}

func TestHostKeyAlias(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	host, port, _ := net.SplitHostPort(srv.Addr())
	known := filepath.Join(t.TempDir(), "known_hosts")
	line := strings.Replace(srv.KnownHosts(), "["+host+"]:"+port, "the-alias", 1)
	if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	alias := func(o *Options) { o.HostKeys, o.KnownAs = &auth.HostKeys{Files: []string{known}}, "the-alias" }
	dialLab(t, srv, alias)
	failDial(t, labOptions(srv, alias, func(o *Options) { o.KnownAs = "" }),
		policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseHostKeyUnknown})
}

// keyring is an agent on a socket.
func keyring(t *testing.T, keys ...agent.AddedKey) (socket string) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(k); err != nil {
			t.Fatal(err)
		}
	}
	socket = filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { _ = agent.ServeAgent(ring, conn); _ = conn.Close() })
		}
	})
	return socket
}

// TestRealSSHDLogins: each way to log in that OpenSSH knows, against OpenSSH.
func TestRealSSHDLogins(t *testing.T) {
	_, caKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := ssh.NewSignerFromKey(caKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "xfer-login-") // sshd reads it as the user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		mode := os.FileMode(0o600)
		if strings.HasSuffix(name, ".pub") {
			mode = 0o644
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	caFile := write("ca.pub", string(ssh.MarshalAuthorizedKey(ca.PublicKey())))
	block, err := ssh.MarshalPrivateKey(rsaKey, "")
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := string(pem.EncodeToMemory(block))
	rsaFile := write("id_rsa", rsaPEM)
	rsaSigner, err := ssh.NewSignerFromKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := func(user string) *ssh.Certificate {
		c := &ssh.Certificate{
			Key: rsaSigner.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{user}, ValidBefore: ssh.CertTimeInfinity,
		}
		if err := c.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		return c
	}
	authorized := write("authorized.pub", string(ssh.MarshalAuthorizedKey(rsaSigner.PublicKey())))
	byCertificate := []string{"AuthorizedKeysFile none", "TrustedUserCAKeys " + caFile}
	tests := map[string]struct {
		config []string
		login  transfertest.Login
		keys   func(user string) *auth.Keys
	}{
		"RSA key file": {config: []string{"AuthorizedKeysFile " + authorized}, keys: func(string) *auth.Keys {
			return &auth.Keys{Files: []string{rsaFile}}
		}},
		"RSA key in the agent": {config: []string{"AuthorizedKeysFile " + authorized}, keys: func(string) *auth.Keys {
			return &auth.Keys{NoDefaults: true, Agent: keyring(t, agent.AddedKey{PrivateKey: rsaKey})}
		}},
		"certificate file for a key in the agent": {config: byCertificate, keys: func(user string) *auth.Keys {
			return &auth.Keys{
				NoDefaults: true, Agent: keyring(t, agent.AddedKey{PrivateKey: rsaKey}),
				Certificates: []string{write("cert.pub", string(ssh.MarshalAuthorizedKey(cert(user))))},
			}
		}},
		"certificate in the agent": {config: byCertificate, keys: func(user string) *auth.Keys {
			return &auth.Keys{NoDefaults: true, Agent: keyring(t, agent.AddedKey{PrivateKey: rsaKey, Certificate: cert(user)})}
		}},
		"certificate beside the key": {config: byCertificate, keys: func(user string) *auth.Keys {
			write("id_cert-cert.pub", string(ssh.MarshalAuthorizedKey(cert(user))))
			return &auth.Keys{Files: []string{write("id_cert", rsaPEM)}}
		}},
		"key, then password": {
			config: []string{"AuthorizedKeysFile " + authorized, "AuthenticationMethods publickey,password", "PubkeyAuthentication yes"},
			login:  transfertest.LoginPassword, keys: func(string) *auth.Keys { return &auth.Keys{Files: []string{rsaFile}} },
		},
		"key, then questions": {
			config: []string{"AuthorizedKeysFile " + authorized, "AuthenticationMethods publickey,keyboard-interactive", "PubkeyAuthentication yes"},
			login:  transfertest.LoginKeyboardInteractive, keys: func(string) *auth.Keys { return &auth.Keys{Files: []string{rsaFile}} },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := transfertest.SSHD(t, transfertest.SSHDOptions{Login: tt.login, Config: tt.config})
			dial(t, sshdOptions(srv, func(o *Options) { o.Login.Keys = tt.keys(srv.User) }))
		})
	}
	t.Run("an old server", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{Config: []string{
			"AuthorizedKeysFile " + authorized, "PubkeyAcceptedAlgorithms ssh-rsa", "KexAlgorithms diffie-hellman-group1-sha1", "Ciphers aes128-cbc",
		}})
		algorithms, err := auth.Algorithms(nil, true)
		if err != nil {
			t.Fatal(err)
		}
		o := sshdOptions(srv, func(o *Options) {
			o.Login.Keys = &auth.Keys{Files: []string{rsaFile}}
		})
		failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseAlgorithms})
		o.Algorithms = algorithms
		failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseSSHAuth})
		// This one claims to know the others; OpenSSH's own client needs the same
		// setting, PubkeyAcceptedAlgorithms, where a really old one needs none.
		o.Login.Signatures = []string{ssh.KeyAlgoRSA}
		var warned string
		o.Warn = func(text string) { warned += text }
		dial(t, o)
		for _, name := range []string{"diffie-hellman-group1-sha1", "aes128-cbc", "signature ssh-rsa"} {
			if !strings.Contains(warned, name) {
				t.Errorf("%s is not in %q", name, warned)
			}
		}
	})
	t.Run("the agent goes along", func(t *testing.T) {
		list, err := exec.LookPath("ssh-add")
		if err != nil {
			t.Fatal(err)
		}
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{})
		s := dial(t, sshdOptions(srv, func(o *Options) {
			o.ForwardAgent = keyring(t, agent.AddedKey{PrivateKey: rsaKey})
		}))
		out, err := s.conn.exec(t.Context(), list+" -l", 10*time.Second)
		if err != nil || !strings.Contains(out, ssh.FingerprintSHA256(rsaSigner.PublicKey())) {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("through a jump host", func(t *testing.T) {
		jump, target := transfertest.SSHD(t, transfertest.SSHDOptions{}), transfertest.SSHD(t, transfertest.SSHDOptions{})
		via := sshdOptions(jump)
		s := dial(t, sshdOptions(target, func(o *Options) { o.Jump = &via }))
		put(t, s, filepath.Join(target.Dir, "f"), content(1<<20))
		sameBytes(t, "f", onDisk(t, target.Dir, "f"), content(1<<20))
	})
	t.Run("through ssh -W", func(t *testing.T) {
		jump, target := transfertest.SSHD(t, transfertest.SSHDOptions{}), transfertest.SSHD(t, transfertest.SSHDOptions{})
		host, port, _ := net.SplitHostPort(jump.Address())
		line := strings.Join([]string{"ssh -q -F none -o UserKnownHostsFile=" + jump.KnownHostsFile, "-i", jump.KeyFile, "-p", port, "-W", target.Address(), host}, " ")
		s := dial(t, sshdOptions(target, func(o *Options) { o.DialContext = Command(line) }))
		put(t, s, filepath.Join(target.Dir, "f"), content(1<<20))
		sameBytes(t, "f", onDisk(t, target.Dir, "f"), content(1<<20))
	})
}
