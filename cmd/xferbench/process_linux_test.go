package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the supervisor that the program starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == superviseArg {
		if err := supervise(os.Args[2:]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// supervised runs a shell script as a client.
func supervised(ctx context.Context, t *testing.T, script string) (measurement, error) {
	t.Helper()
	b := &bench{self: os.Args[0], dir: t.TempDir(), env: os.Environ()}
	return b.command(ctx, &entrant{client: client{
		name: "sh", program: "sh", argv: func(task) []string { return []string{"-c", script} },
	}})
}

// TestSuperviseOrphans: what a client leaves behind is waited for and counted,
// but not as time that the person waits.
func TestSuperviseOrphans(t *testing.T) {
	t.Parallel()
	done := filepath.Join(t.TempDir(), "done")
	m, err := supervised(t.Context(), t, `(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo x >`+done+`) &`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(done); err != nil {
		t.Errorf("the orphan was not waited for: %v", err)
	}
	if m.CPU < m.Wall || m.CPU < 20*time.Millisecond || m.RSS == 0 {
		t.Errorf("%v wall, %v CPU, %d bytes: the orphan was not counted", m.Wall, m.CPU, m.RSS)
	}
}

// TestSuperviseMachine: what all processors worked includes the client.
func TestSuperviseMachine(t *testing.T) {
	t.Parallel()
	m, err := supervised(t.Context(), t, `i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done`)
	if err != nil {
		t.Fatal(err)
	}
	if m.Machine < m.CPU/2 {
		t.Errorf("%v of the machine, %v of the client alone", m.Machine, m.CPU)
	}
}

func TestSuperviseFailure(t *testing.T) {
	t.Parallel()
	if _, err := supervised(t.Context(), t, "echo no such file >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "exit status 3: no such file") {
		t.Errorf("exit 3 gives %v", err)
	}
}

// TestSuperviseStops: the end of the context ends all that a client started, also
// what has left its process group.
func TestSuperviseStops(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if text, err := os.ReadFile(pidFile); err == nil && strings.HasSuffix(string(text), "\n") {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	began := time.Now()
	if _, err := supervised(ctx, t, `setsid sh -c 'echo $$ >`+pidFile+`; exec sleep 100' & wait`); err == nil {
		t.Error("a run that was stopped succeeded")
	}
	if took := time.Since(began); took > 50*time.Second {
		t.Errorf("it took %v", took)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}
