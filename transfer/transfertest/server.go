package transfertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// Server is a real server that runs on this machine for one test.
type Server struct {
	// Name is the program: "vsftpd".
	Name string
	// Scheme says how to speak to it: transfer.SchemeFTP and so on.
	Scheme string
	// Host is 127.0.0.1 or ::1, Port a free high port.
	Host string
	Port int
	// User and Password log in. Password is "" when only KeyFile does.
	User, Password string
	// Dir is the served directory on this machine, Root the same directory as
	// the server spells it.
	Dir, Root string
	// CAFile holds the certificate of the authority that signed the server's, PEM.
	CAFile string
	// KeyFile is a private key that logs in, HostKeyFile the server's own,
	// KnownHosts the line that makes it trusted, KnownHostsFile a file with it.
	KeyFile, HostKeyFile       string
	KnownHosts, KnownHostsFile string
	// Can is what the server is expected to be able to do.
	Can Abilities

	tb      testing.TB
	home    string // configuration, keys, log
	user    owner
	command func(s *Server) *exec.Cmd
	// started, if set, is told the process id of each run.
	started func(pid int)
	cmd     *exec.Cmd
	exited  chan struct{}
}

// Limits of the waits for a server on this machine.
const (
	startLimit = 20 * time.Second
	pollEvery  = 5 * time.Millisecond
)

// RealServersEnv is the environment variable that has to be "1" for the real
// servers to run. They need root and, some of them, a temporary system user;
// nobody should get that from a plain "go test ./...".
const RealServersEnv = "XFER_REAL_SERVERS"

// ServersDirEnv names a directory with unpacked server packages (dpkg -x), in
// itself or one level deeper: Debian's FTP servers conflict as packages. Unless
// it is set, that is where .ci/run puts them: xfer-servers in the user's cache.
const ServersDirEnv = "XFER_SERVERS_DIR"

// newServer makes the directories of a server, or ends the test when it can't
// run here: skipped as a rule, failed when real servers were asked for.
func newServer(tb testing.TB, name string, o owner) *Server {
	tb.Helper()
	if os.Getenv(RealServersEnv) != "1" {
		tb.Skipf("%s: real servers run only with %s=1", name, RealServersEnv)
	}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		tb.Fatalf("%s: real servers need Linux and root", name)
	}
	removeLeftovers(tb)
	s := &Server{Name: name, Host: "127.0.0.1", Root: "/", tb: tb, user: o, Password: rand.Text()}
	// t.TempDir lies below a directory that only its owner may enter.
	s.home = tempDir(tb, "", name)
	s.Dir = s.own("files")
	s.mkdir(s.Dir, o)
	return s
}

// tempDir makes a directory that everybody may enter, below parent, or below
// the system's temporary directory when parent is "".
func tempDir(tb testing.TB, parent, name string) string {
	tb.Helper()
	dir, err := os.MkdirTemp(parent, fmt.Sprintf("%s%d-%s-", leftover, os.Getpid(), name))
	must(tb, err)
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("removing the server's directory: %v", err)
		}
	})
	must(tb, os.Chmod(dir, 0o755))
	return dir
}

// program finds a server's binary: installed, or below ServersDirEnv.
func (s *Server) program(name string) string {
	s.tb.Helper()
	cache, err := os.UserCacheDir()
	must(s.tb, err)
	unpacked := cmp.Or(os.Getenv(ServersDirEnv), filepath.Join(cache, "xfer-servers"))
	for _, root := range []string{"/", unpacked, filepath.Join(unpacked, "*")} {
		found, err := filepath.Glob(filepath.Join(root, "usr", "*bin", name))
		must(s.tb, err)
		if len(found) > 0 {
			return found[0]
		}
	}
	s.tb.Fatalf("%s is not installed, and not unpacked in %s (%s)", name, unpacked, ServersDirEnv)
	return ""
}

// own is the path of a file of the server's own.
func (s *Server) own(name string) string { return filepath.Join(s.home, name) }

// file writes a file of the server's own and returns its path.
func (s *Server) file(name string, perm os.FileMode, content string) string {
	s.tb.Helper()
	p := s.own(name)
	must(s.tb, os.WriteFile(p, []byte(content), perm))
	must(s.tb, os.Chmod(p, perm)) // whatever the umask is
	return p
}

func (s *Server) mkdir(dir string, o owner) {
	s.tb.Helper()
	must(s.tb, os.MkdirAll(dir, 0o755))
	s.chown(dir, o)
}

func (s *Server) chown(p string, o owner) {
	s.tb.Helper()
	must(s.tb, os.Chown(p, o.uid, o.gid))
}

// start runs the server until the test ends. A port that somebody else took in
// the meantime is replaced by another one.
func (s *Server) start(command func(s *Server) *exec.Cmd) {
	s.tb.Helper()
	s.command = command
	s.tb.Cleanup(func() {
		s.Stop()
		if s.tb.Failed() {
			s.tb.Logf("log of %s:\n%s", s.Name, tail(s.Log(), 200))
		}
	})
	var err error
	for range 3 {
		s.Port = freePort(s.tb, s.Host)
		if err = s.run(); err == nil {
			return
		}
	}
	s.tb.Fatal(err)
}

// Start runs a stopped server again, on the same port.
func (s *Server) Start() {
	s.tb.Helper()
	must(s.tb, s.run())
}

// run starts the process and waits until it listens.
func (s *Server) run() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.command(s)
	s.cmd.Dir = s.home
	s.cmd.Stdout, s.cmd.Stderr = log, log
	isolate(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.file(processFile, 0o600, processID(s.cmd.Process.Pid))
	if s.started != nil {
		s.started(s.cmd.Process.Pid)
	}
	exited, cmd := make(chan struct{}), s.cmd
	s.exited = exited
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log
	}()

	deadline := time.Now().Add(startLimit)
	for !listening(s.Port) {
		select {
		case <-exited:
			return fmt.Errorf("%s did not start: %v\n%s", s.Name, s.cmd.ProcessState, tail(s.Log(), 50))
		case <-time.After(pollEvery):
		}
		if time.Now().After(deadline) {
			s.Stop()
			return fmt.Errorf("%s does not listen after %v\n%s", s.Name, startLimit, tail(s.Log(), 50))
		}
	}
	return nil
}

// Stop kills the server and all its sessions at once, as a crash would.
func (s *Server) Stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	signalTree(s.cmd.Process.Pid, killSignal)
	<-s.exited
	s.cmd = nil
}

// Restart stops the server and starts it again on the same port.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// Pause freezes the server: its connections stay open and nothing moves. The
// func that it returns lets it go on.
func (s *Server) Pause() (resume func()) {
	pid := s.cmd.Process.Pid
	signalTree(pid, pauseSignal)
	return func() { signalTree(pid, resumeSignal) }
}

// Log is what the server wrote so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (s *Server) logFile() string { return s.own("log") }

// Address is host:port.
func (s *Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Fixture makes the server a fixture of the suite.
func (s *Server) Fixture(dial func(context.Context) (transfer.Session, error)) Fixture {
	return Fixture{Dial: dial, Dir: s.Root, Disk: s.Dir, Pause: s.Pause, Can: s.Can}
}

// freePort gives a port below those that Linux hands out by itself: nobody takes
// it while the server is stopped.
func freePort(tb testing.TB, host string) int {
	tb.Helper()
	for range 100 {
		port := 20_000 + mathrand.IntN(12_000)
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			must(tb, l.Close())
			return port
		}
	}
	tb.Fatalf("no free port on %s", host)
	return 0
}

// tail gives the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
