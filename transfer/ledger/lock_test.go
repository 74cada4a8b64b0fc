package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

func TestLockKeepsOthersOff(t *testing.T) {
	locks := Locks{Dir: filepath.Join(t.TempDir(), "state", "locks")}
	release, err := locks.Lock("sftp://host:22 in/a.csv")
	if err != nil {
		t.Fatal(err)
	}
	_, err = locks.Lock("sftp://host:22 in/a.csv")
	f, ok := errors.AsType[*policy.Fault](err)
	if !ok || f.Cause != policy.CauseLocalLocked {
		t.Fatalf("second lock: %v, want a fault of %s", err, policy.CauseLocalLocked)
	}
	if f.Path != "sftp://host:22 in/a.csv" {
		t.Errorf("the fault names %q instead of what is locked", f.Path)
	}
	if !strings.Contains(f.Text, "process ") {
		t.Errorf("the fault does not name the holder: %q", f.Text)
	}
	other, err := locks.Lock("sftp://host:22 in/b.csv")
	if err != nil {
		t.Fatalf("another key: %v", err)
	}
	other()
	release()
	release, err = locks.Lock("sftp://host:22 in/a.csv")
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	release()
}

// TestLockBySeveralNames: the kernel's locks are those of the process, so that
// only we can tell that a directory has two names.
func TestLockBySeveralNames(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	must(t, os.Mkdir(real, 0o700))
	must(t, os.Symlink(real, link))
	t.Chdir(dir)
	first, err := Locks{real}.Lock("key")
	must(t, err)
	for _, name := range []string{link, "real", "link"} {
		_, err := Locks{name}.Lock("key")
		wantCause(t, err, policy.CauseLocalLocked)
		second, err := Locks{name}.Lock("another key")
		must(t, err)
		second()
		if holder := elsewhere(t, real); holder != fmt.Sprintf("held by process %d", os.Getpid()) && runtime.GOOS != "windows" || holder == "" {
			t.Errorf("after a lock by the name %q another process sees: %q", name, holder)
		}
	}
	first()
	if holder := elsewhere(t, real); holder != "" {
		t.Errorf("after the release another process sees: %q", holder)
	}
	if len(lockTables) != 0 {
		t.Errorf("left open: %v", lockTables)
	}
}

// elsewhere says what keeps another process from the lock called key.
func elsewhere(t *testing.T, dir string) string {
	t.Helper()
	out, err := process(t, "lock", dir, "key").Output()
	must(t, err)
	return string(out)
}

// TestLockUnderContention: the file is opened and closed all the time, and never
// do two hold the same lock.
func TestLockUnderContention(t *testing.T) {
	locks := Locks{Dir: t.TempDir()}
	var holders, got atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				release, err := locks.Lock("key")
				if err != nil {
					continue
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock at once", n)
				}
				got.Add(1)
				holders.Add(-1)
				release()
			}
		})
	}
	wg.Wait()
	if got.Load() == 0 {
		t.Error("nobody ever got the lock")
	}
}

// TestWaitForLock waits for the holder, for the limit, or for the context.
func TestWaitForLock(t *testing.T) {
	locks := Locks{Dir: t.TempDir()}
	held, err := locks.Lock("key")
	must(t, err)
	_, err = locks.Wait(t.Context(), "key", time.Millisecond)
	wantCause(t, err, policy.CauseLocalLocked)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = locks.Wait(ctx, "key", time.Hour)
	wantCause(t, err, policy.CauseCancelled)

	got := make(chan error)
	go func() {
		release, err := locks.Wait(t.Context(), "key", time.Hour)
		if err == nil {
			release()
		}
		got <- err
	}()
	held()
	must(t, <-got)
}
