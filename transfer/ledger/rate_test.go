package ledger

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// TestRate: whoever moves bytes, in chunks of any size, all together keep the limit.
func TestRate(t *testing.T) {
	for name, chunks := range map[string][]int{
		"small": {1000}, "as large as a second": {1_000_000}, "mixed": {1000, 32 << 10, 300_000},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var wg sync.WaitGroup
				const each = 2_000_000
				for range 3 {
					r := &Rate{Dir: dir, Host: "host", Limit: 1_000_000} // as another process would have its own
					wg.Go(func() {
						for i, moved := 0, 0; moved < each; i++ {
							n := min(chunks[i%len(chunks)], each-moved)
							if err := r.Wait(t.Context(), n); err != nil {
								t.Error(err)
								return
							}
							moved += n
						}
					})
				}
				wg.Wait()
				// The last chunks are let go when their turn comes, not when they are through.
				took, slack := time.Since(began), burst+3*portion+3*time.Duration(slices.Max(chunks))*time.Microsecond
				if took < 6*time.Second-slack || took > 6*time.Second+portion {
					t.Errorf("3 × 2 MB at 1 MB/s took %v", took)
				}
			})
		})
	}
}

// TestRateOfOtherHosts is their own.
func TestRateOfOtherHosts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		must(t, (&Rate{Dir: dir, Host: "a", Limit: 1}).Wait(t.Context(), 1000))
		began := time.Now()
		must(t, (&Rate{Dir: dir, Host: "b", Limit: 1}).Wait(t.Context(), 1000))
		if took := time.Since(began); took > 0 {
			t.Errorf("waited %v for another host", took)
		}
	})
}

// TestRateObeysTheContext while it waits.
func TestRateObeysTheContext(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &Rate{Dir: dir, Host: "a", Limit: 10}
		must(t, r.Wait(t.Context(), 1000))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantCause(t, r.Wait(ctx, 1000), policy.CauseDeadline)
	})
}

// TestRateAfterClockChange, and with a file that holds anything: no endless wait.
func TestRateAfterClockChange(t *testing.T) {
	for name, content := range map[string]string{"clock put back": "\x7f\xff\xff\xff\xff\xff\xff\xff", "text": "nonsense!", "cut": "\x01"} {
		dir := t.TempDir()
		r := &Rate{Dir: dir, Host: "a", Limit: 1_000_000}
		must(t, r.Wait(t.Context(), 1))
		files, err := filepath.Glob(filepath.Join(dir, "*.rate"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		must(t, os.WriteFile(files[0], []byte(content), 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Wait(ctx, 100_000); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
