package policy

import (
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestErrnos(t *testing.T) {
	for errno, want := range map[syscall.Errno]Cause{
		10061: CauseRefused, 10053: CauseReset, 10054: CauseReset, 109: CauseReset, 10051: CauseUnreachable,
		10065: CauseUnreachable, 10060: CauseTimeout, 5: "",
	} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connectex", errno)}
		if got := NetCause(err); got != want {
			t.Errorf("%d: %q, want %q", errno, got, want)
		}
	}
	for errno, want := range map[syscall.Errno]Cause{
		112: CauseLocalSpace, 39: CauseLocalSpace, 1295: CauseLocalSpace, 123: CauseLocalName, 206: CauseLocalName,
		267: CauseLocalDirectory, 5: CauseLocalPermission, 2: CauseLocalMissing, 3: CauseLocalMissing, 183: CauseLocalExists,
	} {
		if f := LocalFault("write", "a", &fs.PathError{Op: "write", Path: "a", Err: errno}); f.Cause != want {
			t.Errorf("%d: %q, want %q", errno, f.Cause, want)
		}
	}
}
