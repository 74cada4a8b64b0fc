//go:build unix

package auth

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// checkPrivate refuses a file that its group or others may read, as ssh does
// with keys. Pipes are let through: `--password-file <(pass show partner)`.
func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("others can read it (mode %04o); run: chmod 600 %s", info.Mode().Perm(), f.Name())
	}
	return nil
}

// checkOwned refuses a configuration that somebody else could have written, as
// ssh does: it may name programs to run.
func checkOwned(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if owner != 0 && owner != uint32(os.Getuid()) || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("bad owner or permissions (mode %04o); run: chmod go-w %s", info.Mode().Perm(), f.Name())
	}
	return nil
}

// CheckWritable refuses a file that anyone on the machine may write. That of a
// group is let through: to have one is somebody's decision.
func CheckWritable(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o002 != 0 {
		return fmt.Errorf("anyone can write it (mode %04o), and it may name programs to run; run: chmod o-w %s", info.Mode().Perm(), f.Name())
	}
	return nil
}

// userID is the %i of ssh_config(5).
func userID() string { return strconv.Itoa(os.Getuid()) }
