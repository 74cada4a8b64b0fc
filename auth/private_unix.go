//go:build unix

package auth

import (
	"fmt"
	"os"
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
