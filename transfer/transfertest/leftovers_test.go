package transfertest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// abandonEnv makes TestAbandon start a server and wait to be killed.
const abandonEnv = "XFER_TEST_ABANDON"

func TestLeftovers(t *testing.T) {
	newServer(t, "leftovers", nobody) // skips unless real servers are wanted
	cmd := exec.Command(os.Args[0], "-test.run", "^TestAbandon$", "-test.v")
	cmd.Env = append(os.Environ(), abandonEnv+"=1")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var dir, user string
	var port int
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "abandoned %s %s %d", &dir, &user, &port); err == nil {
			break
		}
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed

	removeLeftovers(t)
	if !eventually(func() bool { return !listening(port) }) {
		t.Error("the server still runs")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	passwd, err := os.ReadFile("/etc/passwd")
	must(t, err)
	if strings.Contains(string(passwd), user) {
		t.Errorf("user %s is still there", user)
	}
}

// TestAbandon is run by TestLeftovers, in a process of its own.
func TestAbandon(t *testing.T) {
	if os.Getenv(abandonEnv) == "" {
		return
	}
	s := ProFTPD(t, FTPOptions{})
	user, _ := systemUser(t, s.home, s.Password)
	fmt.Printf("abandoned %s %s %d\n", s.home, user, s.Port)
	select {}
}
