package sftp

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// Command dials by running a command line in the person's shell: its standard
// input and output are the connection (ssh_config(5), ProxyCommand). It is ended
// when the connection is closed.
func Command(line string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		cmd := exec.Command("cmd", "/c", line)
		if runtime.GOOS != "windows" {
			cmd = exec.Command(cmp.Or(os.Getenv("SHELL"), "/bin/sh"), "-c", "exec "+line)
		}
		c := &commandConn{cmd: cmd, line: line, ended: make(chan struct{})}
		cmd.Stderr = &c.words
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		c.in, c.out = in, out
		if err := cmd.Start(); err != nil {
			return nil, &CommandError{line, err, ""}
		}
		return c, nil
	}
}

// CommandError says that the command of a connection ended.
type CommandError struct {
	Line  string
	Err   error  // nil if it ended well
	Words string // what it wrote to its standard error
}

func (e *CommandError) Error() string {
	how := "ended"
	if e.Err != nil {
		how = e.Err.Error()
	}
	return strings.TrimSuffix(fmt.Sprintf("ProxyCommand %q: %s: %s", e.Line, how, e.Words), ": ")
}

// Unwrap gives the cause.
func (e *CommandError) Unwrap() error { return e.Err }

// commandConn is a running command as a connection.
type commandConn struct {
	cmd   *exec.Cmd
	line  string
	in    io.WriteCloser
	out   io.ReadCloser
	words firstWords
	once  sync.Once
	ended chan struct{}
	err   error // of the command, once ended is closed
}

// leave is how long a command may take to end by itself.
const leave = 200 * time.Millisecond

func (c *commandConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	if err == nil || n > 0 {
		return n, nil
	}
	c.end()
	return 0, &CommandError{c.line, c.err, c.words.String()}
}

func (c *commandConn) Write(p []byte) (int, error) { return c.in.Write(p) }

// Close ends the command. Reads that wait are released by that.
func (c *commandConn) Close() error {
	c.end()
	return nil
}

// end takes the input away, and the command down if that is not enough.
func (c *commandConn) end() {
	c.once.Do(func() {
		_ = c.in.Close() // it may have ended
		kill := time.AfterFunc(leave, func() { _ = c.cmd.Process.Kill() })
		c.cmd.WaitDelay = leave
		c.err = c.cmd.Wait()
		kill.Stop()
		close(c.ended)
	})
	<-c.ended
}

// LocalAddr and the others complete net.Conn. There are no addresses and no
// deadlines; the limits of this package close the connection.
func (c *commandConn) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4zero} }
func (c *commandConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4zero} }
func (c *commandConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *commandConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *commandConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// firstWords keeps the first words of a program, safe to print.
type firstWords struct {
	mu   sync.Mutex
	text []byte
}

func (l *firstWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), greetingLen-len(l.text))]...)
	return len(p), nil
}

func (l *firstWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return policy.Sanitize(strings.TrimSpace(string(l.text)))
}
