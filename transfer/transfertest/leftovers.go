package transfertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// leftover starts the name of everything that a server needs on this machine:
// directories and users. The process id of the test follows.
const leftover = "xfer-test-"

// removeLeftovers removes what tests that were killed left behind. Most servers
// die with their test, but not proftpd: the kernel forgets that wish when a
// process changes its user.
func removeLeftovers(tb testing.TB) {
	tb.Helper()
	for _, parent := range []string{os.TempDir(), chrootParent} {
		dirs, err := filepath.Glob(filepath.Join(parent, leftover+"*"))
		must(tb, err)
		for _, dir := range dirs {
			if ownerIsGone(filepath.Base(dir)) && isMine(dir) {
				killRecorded(filepath.Join(dir, processFile))
				_ = os.RemoveAll(dir) // another test may be doing the same
			}
		}
	}
	passwd, err := os.ReadFile("/etc/passwd")
	must(tb, err)
	for line := range strings.Lines(string(passwd)) {
		if name, _, _ := strings.Cut(line, ":"); ownerIsGone(name) {
			_ = exec.Command("userdel", "--force", name).Run() // as above
		}
	}
}

// ownerIsGone says that a name is one of ours and that the test it was made for
// runs no more.
func ownerIsGone(name string) bool {
	rest, ours := strings.CutPrefix(name, leftover)
	pid, _, _ := strings.Cut(rest, "-")
	if n, err := strconv.Atoi(pid); ours && err == nil {
		return processID(n) == ""
	}
	return false
}

// processFile holds the processID of a server, in its directory.
const processFile = "process"

func killRecorded(file string) {
	recorded, err := os.ReadFile(file)
	if err != nil {
		return // it never started
	}
	var pid int
	if _, err := fmt.Sscan(string(recorded), &pid); err == nil && processID(pid) == string(recorded) {
		signalTree(pid, killSignal)
	}
}
