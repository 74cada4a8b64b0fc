package transfertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	killSignal   = syscall.SIGKILL
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// isolate makes the server die with the test binary, however that ends, and
// keeps the terminal's Ctrl-C away from it.
func isolate(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// as makes the command run as o.
func as(cmd *exec.Cmd, o owner) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid), NoSetGroups: false},
	}
}

// signalTree signals a process and all its descendants. Servers put their
// sessions into process groups of their own, so a group would miss them. The
// processes are frozen first: none can start another one meanwhile.
func signalTree(pid int, sig syscall.Signal) {
	pids := []int{pid}
	for i := 0; i < len(pids); i++ {
		if sig != resumeSignal {
			_ = syscall.Kill(pids[i], syscall.SIGSTOP) // it may be gone
		}
		pids = append(pids, children(pids[i])...)
	}
	for _, p := range pids {
		_ = syscall.Kill(p, sig)
	}
}

// children reads /proc; a process that ends meanwhile is not there any more.
func children(parent int) []int {
	entries, _ := filepath.Glob("/proc/[0-9]*")
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err == nil && stat(pid, statParent) == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Fields of /proc/PID/stat behind the name, which may hold anything (proc(5)
// counts from pid = 1; the state, 3, is the first one here).
const (
	statParent = 4 - 3
	statStart  = 22 - 3
)

// stat is one field of /proc/PID/stat, "" when there is no such process.
func stat(pid, field int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return fields[field]
}

// processID names a process for good, since a pid is used again; "" when there
// is none.
func processID(pid int) string {
	start := stat(pid, statStart)
	if start == "" {
		return ""
	}
	return fmt.Sprintf("%d %s", pid, start)
}

// listening asks the kernel instead of the server: a connection made to find
// out would count against max_per_ip.
func listening(port int) bool {
	local := fmt.Sprintf(":%04X", port)
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(name)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(table)) {
			const listen = "0A"
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[1], local) && f[3] == listen {
				return true
			}
		}
	}
	return false
}

// limit sets resource limits of a process, which its children inherit.
func limit(tb testing.TB, pid int, fileSize, openFiles uint64) {
	tb.Helper()
	for resource, value := range map[int]uint64{unix.RLIMIT_FSIZE: fileSize, unix.RLIMIT_NOFILE: openFiles} {
		if value > 0 {
			must(tb, unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil))
		}
	}
}
