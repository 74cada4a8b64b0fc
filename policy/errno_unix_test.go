//go:build unix

package policy

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestErrnos(t *testing.T) {
	for errno, want := range map[syscall.Errno]Cause{
		syscall.ECONNREFUSED: CauseRefused, syscall.ECONNRESET: CauseReset, syscall.EPIPE: CauseReset,
		syscall.ECONNABORTED: CauseReset, syscall.EHOSTUNREACH: CauseUnreachable, syscall.ENETUNREACH: CauseUnreachable,
		syscall.ETIMEDOUT: CauseTimeout, syscall.EACCES: "",
	} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
		if got := NetCause(err); got != want {
			t.Errorf("%v: %q, want %q", errno, got, want)
		}
	}
	for errno, want := range map[syscall.Errno]Cause{
		syscall.ENOSPC: CauseLocalSpace, syscall.EDQUOT: CauseLocalSpace, syscall.EISDIR: CauseLocalDirectory,
		syscall.ENOTDIR: CauseLocalDirectory, syscall.ENAMETOOLONG: CauseLocalName, syscall.EIO: CauseLocalIO,
		syscall.EACCES: CauseLocalPermission, syscall.EPERM: CauseLocalPermission, syscall.ENOENT: CauseLocalMissing,
		syscall.EEXIST: CauseLocalExists,
	} {
		f := LocalFault("write", "a", &fs.PathError{Op: "write", Path: "a", Err: errno})
		if f.Cause != want || f.Text != Sanitize(errno.Error()) {
			t.Errorf("%v: %q %q, want %q", errno, f.Cause, f.Text, want)
		}
	}
}

// The same from the system itself.
func TestErrorsOfThisSystem(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, isDir := os.OpenFile(dir, os.O_WRONLY, 0)
	_, notDir := os.Open(filepath.Join(file, "below"))
	_, tooLong := os.Create(filepath.Join(dir, strings.Repeat("a", 300)))
	for _, c := range []struct {
		err  error
		want Cause
	}{{isDir, CauseLocalDirectory}, {notDir, CauseLocalDirectory}, {tooLong, CauseLocalName}} {
		if got := FaultOf(c.err).Cause; got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil { // Linux
		_, err = full.WriteString("x")
		_ = full.Close()
		if got := FaultOf(err).Cause; got != CauseLocalSpace {
			t.Errorf("%v: %q", err, got)
		}
	}
}
