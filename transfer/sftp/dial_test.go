package sftp

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// failDial dials and wants a fault.
func failDial(t *testing.T, o Options, want policy.Fault) *policy.Fault {
	t.Helper()
	s, err := Dial(t.Context(), o)
	if err == nil {
		_ = s.Close()
		t.Fatal("dialled")
	}
	f := wantFault(t, err, want)
	if f.Protocol != want.Protocol {
		t.Errorf("protocol %v, want %v", f.Protocol, want.Protocol)
	}
	if strings.Contains(describe(err), "hunter") {
		t.Errorf("the password is in %s", describe(err))
	}
	if _, ok := policy.RowOf(string(f.Cause)); !ok {
		t.Errorf("the catalogue has no row for %q", f.Cause)
	}
	return f
}

// answering is a TCP server that says text and then hangs up, or waits.
func answering(t *testing.T, text string, hangUp bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = bufio.NewReader(c).ReadString('\n') // so that the close is no reset
				_, _ = c.Write([]byte(text))
				if !hangUp {
					_, _ = io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestDialFaults(t *testing.T) {
	noLeaks(t)
	srv := startLab(t, lab.SFTPConfig{})
	at := func(addr string) func(*Options) { return func(o *Options) { o.Address = addr } }
	closed := answering(t, "", true)
	quick := withTimeout(300 * time.Millisecond)
	tests := map[string]struct {
		change []func(*Options)
		want   policy.Fault
	}{
		"nothing listens": {
			[]func(*Options){at("127.0.0.1:1")},
			policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Cause: policy.CauseRefused},
		},
		"the dialler gets no answer": {
			[]func(*Options){quick, func(o *Options) {
				o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}
			}},
			policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Cause: policy.CauseTimeout},
		},
		"no such host": {
			[]func(*Options){func(o *Options) {
				o.DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
				}
			}},
			policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Cause: policy.CauseHostNotFound},
		},
		"silent server": {
			[]func(*Options){at(answering(t, "", false)), quick},
			policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseTimeout},
		},
		"silent after the banner": {
			[]func(*Options){at(answering(t, "SSH-2.0-x\r\n", false)), quick},
			policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseTimeout},
		},
		"an FTP server": {
			[]func(*Options){at(answering(t, "220 ProFTPD\x1b[31m ready\r\n", false)), quick},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseNotSSH, Text: "220 ProFTPD?[31m ready"},
		},
		"a web server": {
			[]func(*Options){at(answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n", true))},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseNotSSH, Text: "HTTP/1.1 400"},
		},
		"hangs up without a word": {
			[]func(*Options){at(closed)},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseStartups},
		},
		"hangs up and says why": {
			[]func(*Options){at(answering(t, "Exceeded MaxStartups\r\n", true))},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseStartups, Text: "Exceeded MaxStartups"},
		},
		"hangs up after the banner": {
			[]func(*Options){at(answering(t, "SSH-2.0-x\r\n", true))},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseReset},
		},
		"host key unknown": {
			[]func(*Options){func(o *Options) { o.HostKeys = &auth.HostKeys{Files: []string{filepath.Join(t.TempDir(), "none")}} }},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseHostKeyUnknown, Text: "ED25519 SHA256:"},
		},
		"known_hosts unreadable": {
			[]func(*Options){func(o *Options) { o.HostKeys = &auth.HostKeys{Files: []string{t.TempDir()}} }},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseKnownHosts},
		},
		"wrong password": {
			[]func(*Options){func(o *Options) { o.Login.Password = &auth.Source{Given: auth.NewSecret("hunter3")} }},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseSSHAuth, Text: `user "acme" refused with keyboard-interactive`},
		},
		"no password": {
			[]func(*Options){func(o *Options) { o.Login.Password = &auth.Source{} }},
			policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseNoSecret},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { failDial(t, labOptions(srv, tt.change...), tt.want) })
	}
}

func TestKeyFaults(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte("hunter2"))
	if err != nil {
		t.Fatal(err)
	}
	encrypted := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(encrypted, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	srv := startLab(t, lab.SFTPConfig{Keys: []ssh.PublicKey{signer.PublicKey()}, AuthMethods: "publickey"})
	for file, want := range map[string]policy.Cause{encrypted: policy.CausePassphrase, "/nonexistent/id": policy.CauseKeyFile} {
		o := labOptions(srv)
		o.Login = &auth.Login{User: "acme", Keys: &auth.Keys{Files: []string{file}}}
		failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: want, Text: file})
	}
}

// TestLoginCutOff: a connection that is lost before the server has answered is no
// refused login, which would be closed until it changes.
func TestLoginCutOff(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ offered, lost string }{
		{"password", "password"}, {"keyboard-interactive", "keyboard-interactive"}, {"publickey", "publickey"},
		{"publickey password keyboard-interactive", "publickey"}, // others are left
		{"publickey password", "password"},                       // one was refused
	} {
		t.Run(tt.lost+" of "+tt.offered, func(t *testing.T) {
			srv := startLab(t, lab.SFTPConfig{
				Keys: []ssh.PublicKey{signer.PublicKey()}, AuthMethods: tt.offered,
				Script: []lab.Rule{{On: "auth", Path: tt.lost, Do: lab.Drop(lab.FIN)}, {On: "auth", Do: lab.Reply(0, "")}},
			})
			o := labOptions(srv)
			o.Login.Keys = &auth.Keys{Files: []string{file}}
			failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseReset})
		})
	}
}

// TestRefusedLoginIsOneAttempt: what the server sees of a wrong password.
func TestRefusedLoginIsOneAttempt(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{AuthMethods: "password keyboard-interactive"})
	o := labOptions(srv)
	o.Login.Password = &auth.Source{Given: auth.NewSecret("hunter3")}
	failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Cause: policy.CauseSSHAuth})
	refused := 0
	for _, e := range srv.Log().Of("login") {
		if e.Text == "refused" && !strings.HasPrefix(e.Arg, "none") {
			refused++
		}
	}
	if refused != 1 || srv.Log().Count("connect") != 1 {
		t.Errorf("%d refused logins on %d connections", refused, srv.Log().Count("connect"))
	}
}

func TestHostKeyFaultNamesTheEntry(t *testing.T) {
	first, second := startLab(t, lab.SFTPConfig{}), startLab(t, lab.SFTPConfig{})
	known := strings.Replace(first.KnownHosts(), first.Addr()[strings.LastIndex(first.Addr(), ":"):], second.Addr()[strings.LastIndex(second.Addr(), ":"):], 1)
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	o := labOptions(second)
	o.HostKeys = &auth.HostKeys{Files: []string{file}, Unknown: auth.AcceptNew}
	f := failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseHostKeyChanged, Text: file + ":1"})
	host, port, _ := net.SplitHostPort(second.Addr())
	if want := "[" + host + "]:" + port; f.Host != want {
		t.Errorf("host %q, want %q, which ssh-keygen -R takes", f.Host, want)
	}
	for _, key := range []ssh.PublicKey{first.HostKeys()[0], second.HostKeys()[0]} {
		if !strings.Contains(f.Text, ssh.FingerprintSHA256(key)) {
			t.Errorf("%q lacks %s", f.Text, ssh.FingerprintSHA256(key))
		}
	}
}

func TestNoAlgorithmInCommon(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Crypto: ssh.Config{Ciphers: []string{ssh.InsecureCipherRC4}}})
	failDial(t, labOptions(srv), policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseAlgorithms, Text: "arcfour"})
}

func TestNoSFTP(t *testing.T) {
	tests := map[string]struct {
		rule  lab.Rule
		cause policy.Cause
		text  string
	}{
		"no subsystem":    {lab.Rule{On: "subsystem", Do: lab.Reply(0, "")}, policy.CauseNoSubsystem, "no subsystem"},
		"a shell greets":  {lab.Rule{On: "subsystem", Do: lab.Raw("Welcome to\x1b[2J the server\r\n")}, policy.CauseNoSubsystem, "Welcome to?[2J the server"},
		"ends at once":    {lab.Rule{On: "subsystem", Do: lab.Raw("").Then(lab.DropData(lab.FIN))}, policy.CauseNoSubsystem, ""},
		"no channel":      {lab.Rule{On: "channel", Do: lab.Reply(int(ssh.Prohibited), "open failed")}, policy.CauseChannel, "open failed"},
		"silent":          {lab.Rule{On: "INIT", Do: lab.Stall()}, policy.CauseTimeout, ""},
		"connection ends": {lab.Rule{On: "INIT", Do: lab.Drop(lab.RST)}, policy.CauseReset, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{tt.rule}})
			failDial(t, labOptions(srv, withSilence(700*time.Millisecond)),
				policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "channel", Cause: tt.cause, Text: tt.text})
		})
	}
}

func TestDialObeysTheContext(t *testing.T) {
	noLeaks(t)
	srv := startLab(t, lab.SFTPConfig{})
	enough := errors.New("enough")
	for name, change := range map[string]func(*Options){
		"handshake": func(o *Options) { o.Address = answering(t, "SSH-2.0-x\r\n", false) },
		"dial": func(o *Options) {
			o.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, enough)
			defer cancel()
			_, err := Dial(ctx, labOptions(srv, change))
			if f, ok := err.(*policy.Fault); !ok || !errors.Is(f, enough) {
				t.Errorf("got %s, want the context's cause", describe(err))
			}
		})
	}
}

// TestThePersonTakesHerTime: the limit of the handshake is the server's.
func TestThePersonTakesHerTime(t *testing.T) {
	t.Parallel()
	srv := startLab(t, lab.SFTPConfig{})
	o := labOptions(srv, withTimeout(2*time.Second))
	o.HostKeys = &auth.HostKeys{
		Files: []string{filepath.Join(t.TempDir(), "known_hosts")}, Unknown: auth.Ask, Prompter: slowPerson{},
	}
	dial(t, o)
}

type slowPerson struct{}

func (slowPerson) Secret(context.Context, string) (auth.Secret, error) { return auth.Secret{}, nil }
func (slowPerson) Line(context.Context, string) (string, error)        { return "", nil }
func (slowPerson) Confirm(context.Context, string) (bool, error) {
	time.Sleep(2500 * time.Millisecond)
	return true, nil
}

func TestSoftwareIsNamed(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Quirks: lab.Quirks{Software: "Odd-Server_1"}})
	if got := dialLab(t, srv).Extras().Software; got != "Odd-Server_1" {
		t.Errorf("got %q", got)
	}
}

// TestLimitsAreStuck: nobody waits for the limits of a server in order to log in,
// and what needs them does not wait for ever.
func TestLimitsAreStuck(t *testing.T) {
	noLeaks(t)
	srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: "limits@openssh.com", Do: lab.Ignore()}}})
	s := dialLab(t, srv, withSilence(700*time.Millisecond))
	put(t, s, "/small", content(1000))
	_, err := s.Put(t.Context(), "/large", 0, sourceOf(content(1<<20)))
	wantFault(t, err, policy.Fault{Phase: policy.Data, Cause: policy.CauseTimeout})
}

func TestPacketSize(t *testing.T) {
	tests := map[string]struct {
		quirks lab.Quirks
		want   int
	}{
		"OpenSSH":        {lab.Quirks{}, 255 << 10},
		"small reads":    {lab.Quirks{MaxRead: 64 << 10}, 64 << 10},
		"tiny writes":    {lab.Quirks{MaxWrite: 1000}, safePacket},
		"does not tell":  {lab.Quirks{Extensions: []string{}}, safePacket},
		"refuses to say": {lab.Quirks{Refuse: map[string]uint32{"limits@openssh.com": 8}}, safePacket},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := startLab(t, lab.SFTPConfig{Quirks: tt.quirks})
			if got := dialLab(t, srv).control.packetFor(t.Context(), 1<<30); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRealSSHDLoginFaults(t *testing.T) {
	t.Run("MaxAuthTries", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{Config: []string{"MaxAuthTries 2"}})
		o := sshdOptions(srv)
		other := transfertest.SSHD(t, transfertest.SSHDOptions{})
		third := transfertest.SSHD(t, transfertest.SSHDOptions{})
		o.Login.Keys = &auth.Keys{Files: []string{other.KeyFile, third.KeyFile, srv.KeyFile}}
		failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseTooManyKeys})
	})
	t.Run("wrong key", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{})
		other := transfertest.SSHD(t, transfertest.SSHDOptions{})
		o := sshdOptions(srv)
		o.Login.Keys = &auth.Keys{Files: []string{other.KeyFile}}
		failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseSSHAuth, Text: "publickey (1 key)"})
	})
	t.Run("wrong password", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{Login: transfertest.LoginPassword})
		o := sshdOptions(srv)
		o.Login.Password = &auth.Source{Given: auth.NewSecret("hunter3")}
		failDial(t, o, policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Cause: policy.CauseSSHAuth, Text: "password"})
		for end := time.Now().Add(10 * time.Second); !strings.Contains(srv.Log(), "Connection closed by") && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond) // sshd writes it when it has noticed
		}
		if n := strings.Count(srv.Log(), "Failed password"); n != 1 {
			t.Errorf("sshd saw %d failed passwords", n)
		}
	})
	t.Run("ForceCommand prints text", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{ForceCommand: "echo no files here"})
		failDial(t, sshdOptions(srv), policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "channel", Cause: policy.CauseNoSubsystem, Text: "no files here"})
	})
	t.Run("sftp-server is missing", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{ForceCommand: "/nonexistent/sftp-server"})
		failDial(t, sshdOptions(srv), policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "channel", Cause: policy.CauseNoSubsystem})
	})
	t.Run("MaxStartups", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{MaxStartups: "1"})
		hold, err := net.Dial("tcp", srv.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer hold.Close()
		_, _ = bufio.NewReader(hold).ReadString('\n') // its login is under way now
		failDial(t, sshdOptions(srv), policy.Fault{Protocol: policy.SSH, Phase: policy.Connect, Op: "handshake", Cause: policy.CauseStartups})
	})
}
