package transfertest

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// owner is a user of the system, by number.
type owner struct{ uid, gid int }

// nobody owns the files of servers with virtual users.
var nobody = owner{65534, 65534}

// me is the user that runs the test.
func me() owner { return owner{os.Getuid(), os.Getgid()} }

var userCount atomic.Int64

// systemUser makes a user that can log in with password until the test ends,
// for servers that know only real ones.
func systemUser(tb testing.TB, home, password string) (name string, o owner) {
	tb.Helper()
	name = fmt.Sprintf("%s%d-%d", leftover, os.Getpid(), userCount.Add(1))
	// A shell of /etc/shells: pam_shells refuses others.
	command(tb, "", "useradd", "--no-create-home", "--home-dir", home, "--no-user-group",
		"--gid", strconv.Itoa(nobody.gid), "--shell", "/bin/sh", "--password", crypt(tb, password), name)
	// By force: killed sessions may not have left the process table yet.
	tb.Cleanup(func() { command(tb, "", "userdel", "--force", name) })
	uid, err := strconv.Atoi(strings.TrimSpace(command(tb, "", "id", "-u", name)))
	must(tb, err)
	return name, owner{uid, nobody.gid}
}

// crypt hashes a password as /etc/shadow and AuthUserFile want it. Perl is
// there on every Debian; it asks the system's crypt(3).
func crypt(tb testing.TB, password string) string {
	tb.Helper()
	return command(tb, password, "perl", "-e", `print crypt(<STDIN>, '$6$xfertransfertest')`)
}

// command runs a program with stdin and returns its standard output.
func command(tb testing.TB, stdin, name string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v: %s", name, err, stderr.String())
	}
	return string(out)
}
