package lab

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package if a server leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leaks("transfer/lab."); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s", left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaks are the goroutines with this in their stack that do not end in time.
func leaks(what string) string {
	for deadline := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var b bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&b, 2)
		var left []string
		for g := range strings.SplitSeq(b.String(), "\n\n") {
			if strings.Contains(g, what) && !strings.Contains(g, "transfer/lab.leaks") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
	}
}

func startFTP(t *testing.T, cfg FTPConfig) *FTP {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	srv, err := StartFTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeInTime(t, srv.Server) })
	return srv
}

func startSFTP(t *testing.T, cfg SFTPConfig) *SFTP {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	srv, err := StartSFTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeInTime(t, srv.Server) })
	return srv
}

// closeInTime closes the server and insists that it is quick.
func closeInTime(t *testing.T, srv *Server) {
	t.Helper()
	start := time.Now()
	if err := srv.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
}

// control is a control connection that sends what it is told.
type control struct {
	t    *testing.T
	conn net.Conn
	r    *textproto.Conn
}

func dial(t *testing.T, srv *FTP) *control {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return newControl(t, conn)
}

func newControl(t *testing.T, conn net.Conn) *control {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return &control{t: t, conn: conn, r: textproto.NewConn(conn)}
}

// login dials and logs in.
func login(t *testing.T, srv *FTP) *control {
	t.Helper()
	c := dial(t, srv)
	c.want(220)
	c.cmd(331, "USER demo")
	c.cmd(230, "PASS demo")
	c.cmd(200, "TYPE I")
	return c
}

// cmd sends a command and expects the code.
func (c *control) cmd(want int, format string, args ...any) string {
	c.t.Helper()
	c.send(format, args...)
	return c.want(want)
}

func (c *control) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, format+"\r\n", args...); err != nil {
		c.t.Fatalf("send %s: %v", format, err)
	}
}

// want reads a reply and expects the code.
func (c *control) want(want int) string {
	c.t.Helper()
	code, text, err := c.r.ReadResponse(0)
	if code != want {
		c.t.Fatalf("reply %d %q (%v), want %d", code, text, err, want)
	}
	return text
}

// silent expects that nothing comes for a while and the connection lives.
func (c *control) silent() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	line, err := c.r.ReadLine()
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		c.t.Fatalf("read %q, %v; want silence", line, err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
}

// gone expects the end of the connection.
func (c *control) gone() {
	c.t.Helper()
	line, err := c.r.ReadLine()
	if err == nil {
		c.t.Fatalf("read %q, want the end of the connection", line)
	}
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatal("the connection is still there")
	}
}

// passive negotiates with EPSV and dials.
func (c *control) passive() *net.TCPConn {
	c.t.Helper()
	text := c.cmd(229, "EPSV")
	port := regexp.MustCompile(`\|\|\|(\d+)\|`).FindStringSubmatch(text)[1]
	host, _, _ := net.SplitHostPort(c.conn.RemoteAddr().String())
	conn, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn.(*net.TCPConn)
}

// file writes a file below the root of a server.
func file(t *testing.T, root, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// content reads a file below the root of a server.
func content(t *testing.T, root, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// noise is data that no bug leaves looking right.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b) // never fails
	return b
}

// posix skips what needs the names, the links and the modes of POSIX.
func posix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("not on Windows")
	}
}

// tool finds a third-party client. It may be missing, except where the real
// servers are tested.
func tool(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		missing(t, name)
	}
	return p
}

// missing ends a test for want of a client.
func missing(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("XFER_REAL_SERVERS") == "1" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed", name)
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

func portNumber(addr string) int { return atoi(port(addr)) }

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
