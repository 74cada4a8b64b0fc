//go:build !windows

package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockByte locks a byte with fcntl(2), which can also tell who has locked it.
func lockByte(f *os.File, at int64) (holder string, err error) {
	err = setLock(f, unix.F_SETLK, lockOf(unix.F_WRLCK, at))
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return "", err
	}
	lock := lockOf(unix.F_WRLCK, at)
	if err := setLock(f, unix.F_GETLK, lock); err != nil || lock.Type == unix.F_UNLCK || lock.Pid <= 0 {
		return "another process", nil // which is gone by now, or of another namespace
	}
	return fmt.Sprintf("process %d", lock.Pid), nil
}

func unlockByte(f *os.File, at int64) error {
	return setLock(f, unix.F_SETLK, lockOf(unix.F_UNLCK, at))
}

func lockOf(kind int16, at int64) *unix.Flock_t {
	return &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1}
}

func setLock(f *os.File, command int, lock *unix.Flock_t) error {
	for {
		err := unix.FcntlFlock(f.Fd(), command, lock)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
