package transfertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
)

// warmUp logs in once, so that what a process opens only once is open, and
// counts the open files.
func warmUp(t *testing.T, f Fixture) int {
	t.Helper()
	s, err := f.Dial(t.Context())
	if err != nil {
		t.Fatalf("dial: %v", describe(err))
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return openFiles()
}

// openFiles counts the descriptors of this process; 0 where that can't be seen.
func openFiles() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// watchGoroutines fails the test when goroutines that it started outlive it.
// Goroutines inherit the profiler's labels, so those of in-process servers and
// of other tests are not counted.
func watchGoroutines(t *testing.T) {
	const key = "transfertest"
	id := fmt.Sprint(goroutineID.Add(1))
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels(key, id)))
	t.Cleanup(func() {
		pprof.SetGoroutineLabels(context.Background())
		if t.Failed() {
			return // a test that gave up leaves things behind
		}
		label := fmt.Sprintf("%q:%q", key, id)
		if !eventually(func() bool { return goroutinesWith(label) == "" }) {
			t.Errorf("goroutines are left:\n%s", goroutinesWith(label))
		}
	})
}

var goroutineID atomic.Int64

// goroutinesWith gives the stacks of the goroutines that carry a label.
func goroutinesWith(label string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	var found []string
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(stack, label) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}
