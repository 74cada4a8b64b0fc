package transfertest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/xfer-cli/xfer/transfer"
)

// The fixtures are proven with clients that are not ours.

var ftpServers = []struct {
	name  string
	start func(testing.TB, FTPOptions) *Server
	kinds []TLS
	// modes: it can refuse active or passive.
	modes bool
}{
	{"vsftpd", VSFTPD, []TLS{PlainText, ExplicitTLS, ImplicitTLS}, true},
	{"proftpd", ProFTPD, []TLS{PlainText, ExplicitTLS, ImplicitTLS}, true},
	{"pure-ftpd", PureFTPd, []TLS{PlainText, ExplicitTLS}, false},
	{"pyftpdlib", PyFTPDLib, []TLS{PlainText, ExplicitTLS, ImplicitTLS}, true},
}

func TestFTPServers(t *testing.T) {
	for _, s := range ftpServers {
		for _, kind := range s.kinds {
			t.Run(s.name+"/"+kind.String(), func(t *testing.T) {
				srv := s.start(t, FTPOptions{TLS: kind})
				roundTrip(t, srv)
				withLFTP(t, srv)
				srv.Restart()
				roundTrip(t, srv)
			})
		}
		t.Run(s.name+"/IPv6", func(t *testing.T) {
			roundTrip(t, s.start(t, FTPOptions{TLS: ExplicitTLS, Host: "::1"}))
		})
	}
}

// roundTrip puts and gets a file with jlaffaye/ftp, in passive mode.
func roundTrip(t *testing.T, s *Server) {
	t.Helper()
	c := dialFTP(t, s)
	defer c.Quit()
	want := []byte("over " + s.Name)
	must(t, c.Stor("a file", bytes.NewReader(want)))
	onDisk, err := os.ReadFile(filepath.Join(s.Dir, "a file"))
	if err != nil || !bytes.Equal(onDisk, want) {
		t.Fatalf("on disk: %q, %v", onDisk, err)
	}
	r, err := c.Retr("a file")
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	must(t, c.Delete("a file"))
}

func dialFTP(t *testing.T, s *Server) *ftp.ServerConn {
	t.Helper()
	options := []ftp.DialOption{ftp.DialWithTimeout(10 * time.Second)}
	switch config := tlsConfig(t, s); s.Scheme {
	case transfer.SchemeFTPES:
		options = append(options, ftp.DialWithExplicitTLS(config))
	case transfer.SchemeFTPS:
		options = append(options, ftp.DialWithTLS(config))
	}
	c, err := ftp.Dial(s.Address(), options...)
	must(t, err)
	must(t, c.Login(s.User, s.Password))
	return c
}

func tlsConfig(t *testing.T, s *Server) *tls.Config {
	t.Helper()
	if s.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(s.CAFile)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: s.Host, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
}

// withLFTP puts and gets a file with lftp, in both modes.
func withLFTP(t *testing.T, s *Server) {
	t.Helper()
	dir := t.TempDir()
	local, back := filepath.Join(dir, "local"), filepath.Join(dir, "back")
	must(t, os.WriteFile(local, []byte("by lftp"), 0o644))
	for _, passive := range []bool{true, false} {
		out, err := lftp(s, passive, "put "+local+" -o file", "get file -o "+back, "rm file")
		if err != nil {
			t.Fatalf("lftp, passive %t: %v\n%s", passive, err, out)
		}
		if got, err := os.ReadFile(back); err != nil || string(got) != "by lftp" {
			t.Errorf("lftp, passive %t, got %q, %v", passive, got, err)
		}
		must(t, os.Remove(back))
	}
}

func lftp(s *Server, passive bool, commands ...string) (string, error) {
	scheme := s.Scheme
	if scheme == transfer.SchemeFTPES {
		scheme = transfer.SchemeFTP // ftp:ssl-force makes it explicit
	}
	script := append([]string{
		"set cmd:fail-exit yes", "set net:max-retries 1", "set net:timeout 10",
		fmt.Sprintf("set ftp:passive-mode %t", passive), fmt.Sprintf("set ftp:ssl-force %t", s.CAFile != ""),
		"set ftp:ssl-protect-data yes", fmt.Sprintf("set ssl:ca-file %q", s.CAFile),
		fmt.Sprintf("open %s://%s", scheme, s.Address()), fmt.Sprintf("user %s %s", s.User, s.Password),
	}, commands...)
	cmd := exec.Command("lftp")
	cmd.Stdin = strings.NewReader(strings.Join(script, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestFTPModes(t *testing.T) {
	for _, s := range ftpServers {
		if !s.modes {
			continue
		}
		for _, o := range []FTPOptions{{ActiveOnly: true}, {PassiveOnly: true}} {
			t.Run(fmt.Sprintf("%s/active only %t", s.name, o.ActiveOnly), func(t *testing.T) {
				srv := s.start(t, o)
				if out, err := lftp(srv, o.PassiveOnly, "ls"); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				if out, err := lftp(srv, o.ActiveOnly, "ls"); err == nil {
					t.Errorf("the other mode worked, too: %s", out)
				}
			})
		}
	}
}

func TestMaxPerIP(t *testing.T) {
	for _, s := range ftpServers {
		t.Run(s.name, func(t *testing.T) {
			srv := s.start(t, FTPOptions{MaxPerIP: 1})
			defer dialFTP(t, srv).Quit()
			// The refusal is the greeting, on proftpd the reply to PASS.
			c, err := ftp.Dial(srv.Address(), ftp.DialWithTimeout(10*time.Second))
			if err != nil {
				return
			}
			defer c.Quit()
			if err := c.Login(srv.User, srv.Password); err == nil {
				t.Error("a second connection was accepted")
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	for _, s := range ftpServers {
		t.Run(s.name, func(t *testing.T) {
			srv := s.start(t, FTPOptions{})
			c, err := ftp.Dial(srv.Address(), ftp.DialWithTimeout(10*time.Second))
			must(t, err)
			defer c.Quit()
			if err := c.Login(srv.User, "wrong"); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestSSHD(t *testing.T) {
	for name, o := range map[string]SSHDOptions{
		"key":                  {},
		"unprivileged":         {Unprivileged: true},
		"password":             {Login: LoginPassword},
		"keyboard-interactive": {Login: LoginKeyboardInteractive},
		"external":             {External: true},
		"chroot":               {Chroot: true},
		"chroot password":      {Chroot: true, Login: LoginPassword},
		"force command":        {ForceCommand: "sftp"},
		"IPv6":                 {Host: "::1"},
		"limits":               {FileSize: 1 << 20, OpenFiles: 64, MaxSessions: 3, MaxStartups: "5"},
	} {
		t.Run(name, func(t *testing.T) {
			s := SSHD(t, o)
			sftpRoundTrip(t, s)
			s.Restart()
			sftpRoundTrip(t, s)
		})
	}
}

func dialSFTP(t *testing.T, s *Server) *sftp.Client {
	t.Helper()
	conn, err := dialSSH(t, s)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c, err := sftp.NewClient(conn)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func dialSSH(t *testing.T, s *Server) (*ssh.Client, error) {
	t.Helper()
	check, err := knownhosts.New(s.KnownHostsFile)
	must(t, err)
	text, err := os.ReadFile(s.KeyFile)
	must(t, err)
	key, err := ssh.ParsePrivateKey(text)
	must(t, err)
	config := &ssh.ClientConfig{
		User: s.User, HostKeyCallback: check, Timeout: 10 * time.Second,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(key)},
	}
	if s.Password != "" {
		config.Auth = []ssh.AuthMethod{
			ssh.Password(s.Password),
			ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = s.Password
				}
				return answers, nil
			}),
		}
	}
	return ssh.Dial("tcp", s.Address(), config)
}

func sftpRoundTrip(t *testing.T, s *Server) {
	t.Helper()
	c := dialSFTP(t, s)
	name, want := s.Root+"/a file", []byte("over sshd")
	f, err := c.Create(name)
	must(t, err)
	_, err = f.Write(want)
	must(t, err)
	must(t, f.Close())
	onDisk, err := os.ReadFile(filepath.Join(s.Dir, "a file"))
	if err != nil || !bytes.Equal(onDisk, want) {
		t.Fatalf("on disk: %q, %v", onDisk, err)
	}
	f, err = c.Open(name)
	must(t, err)
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSSHDReadOnly(t *testing.T) {
	s := SSHD(t, SSHDOptions{SFTPArgs: []string{"-R"}})
	if f, err := dialSFTP(t, s).Create(s.Root + "/a"); err == nil {
		_ = f.Close()
		t.Error("a read-only server created a file")
	}
}

func TestSSHDForceCommand(t *testing.T) {
	s := SSHD(t, SSHDOptions{ForceCommand: "/bin/echo no files here"})
	conn, err := dialSSH(t, s)
	must(t, err)
	defer conn.Close()
	if c, err := sftp.NewClient(conn); err == nil {
		_ = c.Close()
		t.Error("a server that only echoes spoke SFTP")
	}
}

func TestSSHDLimits(t *testing.T) {
	s := SSHD(t, SSHDOptions{FileSize: 1 << 20})
	f, err := dialSFTP(t, s).Create(s.Root + "/a")
	must(t, err)
	defer f.Close()
	if _, err := f.Write(make([]byte, 2<<20)); err == nil {
		t.Error("2 MiB were written within a limit of 1 MiB")
	}
}

func TestSSHDMaxStartups(t *testing.T) {
	s := SSHD(t, SSHDOptions{MaxStartups: "1"})
	silent, err := net.Dial("tcp", s.Address())
	must(t, err)
	defer silent.Close()
	if _, err := silent.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if conn, err := dialSSH(t, s); err == nil {
		_ = conn.Close()
		t.Error("a second connection was let in")
	}
}

func TestPause(t *testing.T) {
	s := PyFTPDLib(t, FTPOptions{})
	c := dialFTP(t, s)
	defer c.Quit()
	resume := s.Pause()
	answered := make(chan error, 1)
	go func() { answered <- c.NoOp() }()
	select {
	case err := <-answered:
		t.Errorf("a frozen server answered: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	resume()
	must(t, <-answered)
}
