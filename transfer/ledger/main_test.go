package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TestMain runs the test binary as another process of xfer, too: that is what
// this package is about.
func TestMain(m *testing.M) {
	role := os.Getenv("LEDGER_TEST_ROLE")
	if role == "" {
		stretch = 10
		os.Exit(m.Run())
	}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		os.Exit(1)
	}
}

// roles are what another process does.
var roles = map[string]func(args []string) error{
	// learn FILE N: learns a fact and makes one delivery, all at the same time as others.
	"learn": func(args []string) error {
		ctx := context.Background()
		l := Open(args[0])
		defer l.Close()
		err := l.Learn(ctx, "ftp://h:21", transfer.Facts{"fact" + args[1]: {Value: args[1], At: time.Now()}})
		if err != nil {
			return err
		}
		id, err := l.Intend(ctx, Delivery{Source: "s" + args[1], Target: "t", Size: 1})
		if err != nil {
			return err
		}
		return l.Settle(ctx, id, Result{Outcome: Done})
	},
	// deliver FILE: intends and settles without end, telling each id when it is on the disk.
	"deliver": func(args []string) error {
		l := Open(args[0])
		for {
			id, err := l.Intend(context.Background(), Delivery{Source: "s", Target: "t", Size: -1})
			if err != nil {
				return err
			}
			fmt.Println(id)
			if err := l.Settle(context.Background(), id, Result{Outcome: Done}); err != nil {
				return err
			}
		}
	},
	// halfway FILE: gets as far as a stage, says so and waits to be killed.
	"halfway": func(args []string) error {
		ctx := context.Background()
		l := Open(args[0])
		run, err := l.StartRun(ctx, "job")
		if err != nil {
			return err
		}
		id, err := l.Intend(ctx, Delivery{Run: run, Job: "job", Source: "s", Target: "t", Size: 3})
		if err == nil {
			err = l.Stage(ctx, id, "sent", "temporary name")
		}
		if err != nil {
			return err
		}
		fmt.Println("ready")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	},
	// lock DIR KEY: tells who keeps it from taking the lock, if anybody.
	"lock": func(args []string) error {
		_, err := Locks{args[0]}.Lock(args[1])
		if f, ok := errors.AsType[*policy.Fault](err); ok && f.Cause == policy.CauseLocalLocked {
			fmt.Print(f.Text)
			return nil
		}
		return err
	},
	// hold DIR: has a connection, says so and waits to be killed.
	"hold": func(args []string) error {
		s := &Slots{Dir: args[0]}
		slot, err := s.Take(context.Background(), "host", 0)
		if err != nil {
			return err
		}
		slot.Opened()
		fmt.Println("ready")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	},
	// crowd DIR LIMIT LOG: opens and closes connections, and notes both while it has them.
	"crowd": func(args []string) error {
		limit, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		log, err := os.OpenFile(args[2], os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		s := &Slots{Dir: args[0]}
		for range 2 {
			slot, err := s.Take(context.Background(), "host", limit)
			if err != nil {
				return err
			}
			slot.Opened()
			_, err1 := log.WriteString("+")
			time.Sleep(time.Millisecond)
			_, err2 := log.WriteString("-")
			slot.Release()
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
		}
		return nil
	},
}

// process prepares another process.
func process(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), "LEDGER_TEST_ROLE="+role)
	c.Stderr = os.Stderr
	return c
}

// waiting starts a process that says a line when it is ready. kill ends it as
// kill -9 does.
func waiting(t *testing.T, role string, args ...string) (kill func(), lines *bufio.Scanner) {
	t.Helper()
	c := process(t, role, args...)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines = bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatalf("%s said nothing", role)
	}
	killed := false
	kill = func() {
		if killed {
			return
		}
		killed = true
		_ = c.Process.Kill()
		_ = stdin.Close()
		for lines.Scan() {
		}
		_ = c.Wait()
	}
	t.Cleanup(kill)
	return kill, lines
}

// open gives a ledger in a directory of its own, or in the file.
func open(t *testing.T, file ...string) *Ledger {
	t.Helper()
	l := Open(filepath.Join(append([]string{t.TempDir(), "state", "ledger.db"}, file...)...))
	if len(file) > 0 {
		l = Open(file[0])
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantCause checks that an error is a fault of a cause.
func wantCause(t *testing.T, err error, cause policy.Cause) {
	t.Helper()
	if f, ok := errors.AsType[*policy.Fault](err); !ok || f.Cause != cause {
		t.Errorf("error %v, want a fault of %s", err, cause)
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	return string(b)
}

var longText = strings.Repeat("This is no database. ", 400)
