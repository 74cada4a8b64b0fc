package transfertest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		Credential: &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)},
	}
}

// signalTree signals a process and all its descendants, and waits until pausing
// or killing them has taken effect. Servers put their sessions into process
// groups of their own, so a group would miss them.
func signalTree(root int, sig syscall.Signal) {
	tree := freeze(root)
	for _, pid := range tree {
		_ = syscall.Kill(pid, sig) // it may be gone
	}
	switch sig {
	case pauseSignal:
		await(tree, "TZX")
	case killSignal:
		await(tree, "ZX")
	}
}

// freeze stops a process and all its descendants, also those that were started
// meanwhile, and returns them.
func freeze(root int) []int {
	var frozen []int
	for grew := true; grew; {
		grew = false
		for _, pid := range descendants(root) {
			if !slices.Contains(frozen, pid) {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // it may be gone
				frozen, grew = append(frozen, pid), true
			}
		}
	}
	return frozen
}

// await waits until every thread of the processes is in one of the states of
// proc(5), or gone.
func await(pids []int, states string) {
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, thread := range threads {
			eventually(func() bool { return strings.Contains(states, stat(thread, statState)) })
		}
	}
}

// descendants gives a process, if it is there, and all below it.
func descendants(root int) []int {
	children := map[string][]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(filepath.Base(entry)); err == nil {
			parent := stat(entry, statParent)
			children[parent] = append(children[parent], pid)
		}
	}
	tree := []int{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[strconv.Itoa(tree[i])]...)
	}
	return tree
}

// Fields of /proc/PID/stat, counted from the one behind the name, which may hold
// anything: proc(5) calls them 3, 4 and 22.
const (
	statState  = 0
	statParent = 1
	statStart  = 19
)

// stat is one field of the stat file in a directory of /proc, "" when there is
// no such process.
func stat(dir string, field int) string {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	return fields[field]
}

// processID names a process for good, since a pid is used again; "" when there
// is none.
func processID(pid int) string {
	start := stat(fmt.Sprintf("/proc/%d", pid), statStart)
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

// isMine says that a file belongs to the user who runs the test: anybody can put
// files into a directory for temporary ones.
func isMine(name string) bool {
	info, err := os.Lstat(name)
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid()
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
