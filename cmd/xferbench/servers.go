package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// cipher is what all SSH clients are told to use, where they can be told.
const cipher = "aes128-gcm@openssh.com"

// site is a server as a client reaches it.
type site struct {
	scheme, host   string
	port           int
	user, password string
	obscured       string // the password as rclone wants it
	// root is the directory in which the server may write, as it spells it.
	root string
	// caFile is the authority to trust, for TLS. The others are for SSH.
	caFile, keyFile, knownHosts, sshConfig string
}

func (s *site) sftp() bool { return s.scheme == "sftp" }

// url is that of a path on the server, without the password.
func (s *site) url(p string) string {
	return fmt.Sprintf("%s://%s@%s:%d%s", s.scheme, s.user, s.host, s.port, p)
}

// servers are the fixtures of the tests, by name. The first word is the scheme.
var servers = map[string]func(tb testing.TB, o transfertest.FTPOptions) *transfertest.Server{
	"sftp": func(tb testing.TB, _ transfertest.FTPOptions) *transfertest.Server {
		// Clients that open many connections at once must not be turned away at
		// random, which is OpenSSH's default.
		return transfertest.SSHD(tb, transfertest.SSHDOptions{Unprivileged: true, MaxStartups: "100"})
	},
	"ftp": transfertest.VSFTPD,
	"ftpes": func(tb testing.TB, o transfertest.FTPOptions) *transfertest.Server {
		o.TLS = transfertest.ExplicitTLS
		return transfertest.VSFTPD(tb, o)
	},
	"ftpes proftpd": func(tb testing.TB, o transfertest.FTPOptions) *transfertest.Server {
		o.TLS = transfertest.ExplicitTLS
		return transfertest.ProFTPD(tb, o)
	},
}

// The server of a far site listens on another address of loopback, on data
// ports of a known range, and says that they are at the proxy's address: so the
// proxy need not understand FTP, and works with TLS.
const (
	near      = "127.0.0.1"
	far       = "127.0.0.2"
	dataPorts = 128
)

// running is a server that was started.
type running struct {
	*transfertest.Server
	firstPort int // of the data ports, when it is far
}

// start runs a server, or finds it running.
func (b *bench) start(name string, isFar bool) (*running, error) {
	key := fmt.Sprint(name, " ", isFar)
	if srv := b.servers[key]; srv != nil {
		return srv, nil
	}
	srv := &running{firstPort: 10_000 + rand.IntN(9_000)}
	first, last := srv.firstPort, srv.firstPort+dataPorts-1
	o := transfertest.FTPOptions{Host: near}
	// The tests have vsftpd write down every command, which it does not do by default.
	quiet, passive := []string{"log_ftp_protocol=NO"},
		[]string{fmt.Sprint("pasv_min_port=", first), fmt.Sprint("pasv_max_port=", last), "pasv_address=" + near}
	if name == "ftpes proftpd" {
		quiet, passive = nil, []string{fmt.Sprintf("PassivePorts %d %d", first, last), "MasqueradeAddress " + near}
	}
	if o.Config = quiet; isFar {
		o.Host, o.Config = far, append(quiet, passive...)
	}
	err := b.tb.try(func() { srv.Server = servers[name](b.tb, o) })
	if err != nil {
		return nil, err
	}
	b.servers[key] = srv
	return srv, nil
}

// open makes the server of a workload reachable as the workload wants it, until
// leave is called.
func (b *bench) open(w workload) (s *site, srv *running, leave func(), err error) {
	leave = func() {}
	scheme, _, _ := strings.Cut(w.Server, " ")
	isFar := w.RTT > 0 || w.Cut > 0
	if srv, err = b.start(w.Server, isFar && scheme != "sftp"); err != nil {
		return nil, nil, nil, err
	}
	s = &site{
		scheme: scheme, host: near, port: srv.Port, user: srv.User, password: srv.Password,
		root: srv.Root, caFile: srv.CAFile, keyFile: srv.KeyFile,
	}
	if isFar {
		p := newProxy(w.RTT, w.Cut)
		leave = p.Close
		if s.port, err = p.Listen(near+":0", srv.Address()); err != nil {
			leave()
			return nil, nil, nil, err
		}
		for port := srv.firstPort; !s.sftp() && port < srv.firstPort+dataPorts; port++ {
			n := strconv.Itoa(port)
			if _, err = p.Listen(net.JoinHostPort(near, n), net.JoinHostPort(far, n)); err != nil {
				leave()
				return nil, nil, nil, err
			}
		}
	}
	if s.password != "" && have("rclone") {
		obscure := exec.Command("rclone", "obscure", "-")
		obscure.Stdin = strings.NewReader(s.password)
		out, runErr := obscure.Output()
		s.obscured, err = strings.TrimSpace(string(out)), runErr
	}
	if s.sftp() {
		_, key, _ := strings.Cut(srv.KnownHosts, " ")
		s.knownHosts = filepath.Join(b.home, ".ssh", "known_hosts")
		err = errors.Join(
			writeFile(s.knownHosts, fmt.Sprintf("[%s]:%d %s\n", s.host, s.port, strings.TrimSpace(key))),
			writeFile(filepath.Join(b.home, "ssh_config"), s.sshOptions()),
		)
		s.sshConfig = filepath.Join(b.home, "ssh_config")
	}
	return s, srv, leave, err
}

// sshOptions is the ssh_config(5) of all clients that run OpenSSH.
func (s *site) sshOptions() string {
	return strings.Join([]string{
		"Host *", "Port " + strconv.Itoa(s.port), "User " + s.user, "IdentityFile " + s.keyFile, "IdentitiesOnly yes",
		"UserKnownHostsFile " + s.knownHosts, "GlobalKnownHostsFile /dev/null", "StrictHostKeyChecking yes",
		"BatchMode yes", "Ciphers " + cipher, "LogLevel ERROR", "",
	}, "\n")
}

func writeFile(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(content), 0o600)
}

// inbox gives the directory of the server for uploads, empty.
func (srv *running) inbox() (dir, remote string, err error) {
	dir = filepath.Join(srv.Dir, "in")
	err = errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755), ownAs(dir, srv.Dir))
	return dir, path.Join(srv.Root, "in"), err
}

// stub is a testing.TB for the fixtures, which were made for tests.
type stub struct {
	testing.TB // nil: what the fixtures don't use panics
	cleanups   []func()
	failed     bool
}

// setupError ends what try runs.
type setupError struct{ text string }

func (e setupError) Error() string { return e.text }

// try runs f, which may fail as a test does.
func (t *stub) try(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case setupError:
			err = r
		default:
			panic(r)
		}
	}()
	f()
	return nil
}

// close cleans up, last things first.
func (t *stub) close() {
	for len(t.cleanups) > 0 {
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		if err := t.try(last); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	}
}

func (t *stub) Helper()                   {}
func (t *stub) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *stub) Failed() bool              { return t.failed }
func (t *stub) Fatal(args ...any)         { panic(setupError{fmt.Sprint(args...)}) }
func (t *stub) Fatalf(f string, a ...any) { panic(setupError{fmt.Sprintf(f, a...)}) }
func (t *stub) Skipf(f string, a ...any)  { panic(setupError{fmt.Sprintf(f, a...)}) }
func (t *stub) Logf(f string, a ...any)   { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (t *stub) Errorf(f string, a ...any) {
	t.failed = true
	t.Logf(f, a...)
}
