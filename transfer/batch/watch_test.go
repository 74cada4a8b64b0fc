package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWatch: once at the beginning, and after every change, also in directories
// that are made later, until the context ends.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "d/a")
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- Watch(ctx, dir, 20*time.Millisecond, func() error {
			changed <- struct{}{}
			return nil
		})
	}()
	expect := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case err := <-ended:
			t.Fatalf("%s: it ended: %v", what, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing", what)
		}
	}
	expect("the beginning")
	for _, name := range []string{"b", "d/a", "d/new/", "d/new/deep/c", "d/new/deep/e"} {
		tree(t, dir, name)
		expect(name)
	}
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	expect("a removal")
	cancel()
	for {
		select {
		case <-changed: // one change may be told as two
			continue
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("ended with %v", err)
			}
		}
		break
	}
	if err := Watch(t.Context(), filepath.Join(dir, "none"), time.Second, nil); err == nil {
		t.Error("a missing directory is watched")
	}
}

// TestWatchEnds: the error of what is called ends it.
func TestWatchEnds(t *testing.T) {
	stop := errors.New("stop")
	if err := Watch(t.Context(), t.TempDir(), time.Hour, func() error { return stop }); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}
