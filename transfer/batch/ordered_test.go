package batch

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// numbers yields 0…n-1.
func numbers(n int) func(context.Context, func(int) error) error {
	return func(_ context.Context, yield func(int) error) error {
		for i := range n {
			if err := yield(i); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestOrdered: side by side, and told in order.
func TestOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []int
		began := time.Now()
		err := Ordered(t.Context(), 4, numbers(100), func(_ context.Context, i int) int {
			time.Sleep(time.Duration(1+i%4) * time.Second) // the later may be quicker
			return i
		}, func(i int) error {
			told = append(told, i)
			return nil
		})
		if err != nil || len(told) != 100 || !slices.IsSorted(told) {
			t.Errorf("%v %v", err, told)
		}
		if took := time.Since(began); took > 80*time.Second || took < 60*time.Second {
			t.Errorf("100 tasks of 250 s took %v, four at a time", took)
		}
	})
}

// TestOrderedIsBounded: a first task that takes long does not let the results of
// the others pile up.
func TestOrderedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Int64
		err := Ordered(t.Context(), 4, numbers(10*window), func(_ context.Context, i int) int {
			if i == 0 {
				time.Sleep(time.Hour)
				if n := done.Load(); n > window+4 {
					t.Errorf("%d results are waiting", n)
				}
			}
			done.Add(1)
			return i
		}, func(int) error { return nil })
		if err != nil || done.Load() != 10*window {
			t.Errorf("%d done, %v", done.Load(), err)
		}
	})
}

// TestOrderedStops: the first error of tell cancels what runs, and is the result.
func TestOrderedStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		var begun, told atomic.Int64
		err := Ordered(t.Context(), 4, numbers(1000), func(ctx context.Context, i int) int {
			begun.Add(1)
			if i == 10 {
				return i
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(i+1) * time.Second):
			}
			return i
		}, func(i int) error {
			told.Add(1)
			if i >= 10 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || begun.Load() > 20 || told.Load() != begun.Load() {
			t.Errorf("%v, %d begun, %d told", err, begun.Load(), told.Load())
		}
	})
}

// TestOrderedProducerFails: what was yielded before is done and told.
func TestOrderedProducerFails(t *testing.T) {
	broken := errors.New("broken")
	told := 0
	err := Ordered(t.Context(), 2, func(_ context.Context, yield func(int) error) error {
		return errors.Join(yield(1), yield(2), broken)
	}, func(_ context.Context, i int) int { return i }, func(int) error { told++; return nil })
	if !errors.Is(err, broken) || told != 2 {
		t.Errorf("%v, %d told", err, told)
	}
}
