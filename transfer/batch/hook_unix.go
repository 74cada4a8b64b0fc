//go:build !windows

package batch

import (
	"os/exec"
	"syscall"
)

// endAll has the end of cmd's context end what cmd has started, too.
func endAll(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
