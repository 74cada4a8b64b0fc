package batch

import (
	"context"
	"sync"
)

// window is how many results may wait for an earlier one to be told.
const window = 4096

// Ordered calls do for everything that produce yields, up to n at a time, and
// tell with each result, one at a time and in the order of the yields. It holds
// no more than a few thousand results at once, however many there are.
//
// An error of tell ends it: the context of what is under way is cancelled. tell
// is still called for that; its first error counts. yield returns an error when
// nothing more is wanted; produce should return it. The error is that of tell,
// else that of produce.
func Ordered[T, R any](ctx context.Context, n int, produce func(ctx context.Context, yield func(T) error) error, do func(context.Context, T) R, tell func(R) error) error {
	type task struct {
		item T
		done chan R
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan task)
	order := make(chan task, window)

	var produceErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(order)
		defer close(work)
		produceErr = produce(ctx, func(item T) error {
			if ctx.Err() != nil { // else the select might choose to go on
				return context.Cause(ctx)
			}
			t := task{item, make(chan R, 1)}
			select {
			case order <- t:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			// What is in order is done: a context that ended is for do to tell.
			work <- t
			return nil
		})
	})
	for range n {
		wg.Go(func() {
			for t := range work {
				t.done <- do(ctx, t.item)
			}
		})
	}

	var tellErr error
	for t := range order {
		if err := tell(<-t.done); err != nil && tellErr == nil {
			tellErr = err
			cancel()
		}
	}
	wg.Wait()
	if tellErr != nil {
		return tellErr
	}
	return produceErr
}
