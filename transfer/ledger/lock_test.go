package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	left, err := os.ReadDir(locks.Dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestLockUnderContention: files come and go all the time, and never do two hold
// the same lock.
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
