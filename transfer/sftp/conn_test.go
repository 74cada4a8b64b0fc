package sftp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// idleConnection is a connection to nowhere, for the clocks.
func idleConnection() *connection {
	return &connection{socket: newSocket(newStuckConn(), time.Minute), dead: make(chan struct{})}
}

func TestWait(t *testing.T) {
	const limit = time.Minute
	enough := errors.New("enough")
	tests := map[string]struct {
		every   time.Duration // something moves
		doneAt  time.Duration
		cancel  time.Duration
		want    error
		took    time.Duration
		aborted bool
	}{
		"answered":             {doneAt: 59 * time.Second, took: 59 * time.Second},
		"silent":               {want: &stalled{limit}, took: limit, aborted: true},
		"slow":                 {every: 50 * time.Second, doneAt: 9 * limit, took: 9 * limit},
		"never, but it moves":  {every: 50 * time.Second, want: &stalled{limit}, took: 10 * limit},
		"cancelled":            {cancel: 5 * time.Second, want: enough, took: 5 * time.Second},
		"cancelled, and moves": {every: time.Second, cancel: 90 * time.Second, want: enough, took: 90 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := idleConnection()
				defer c.abort(errors.New("over"))
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				done := make(chan struct{})
				if tt.doneAt > 0 {
					time.AfterFunc(tt.doneAt, func() { close(done) })
				}
				if tt.cancel > 0 {
					time.AfterFunc(tt.cancel, func() { cancel(enough) })
				}
				if tt.every > 0 {
					tick := time.NewTicker(tt.every)
					defer tick.Stop()
					go func() {
						for range 1000 {
							select {
							case <-tick.C:
								c.moved.Add(1)
							case <-t.Context().Done():
								return
							}
						}
					}()
				}
				began := time.Now()
				err := c.wait(ctx, limit, done)
				if tt.want == nil && err != nil || tt.want != nil && (err == nil || err.Error() != tt.want.Error()) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if d := time.Since(began); d != tt.took {
					t.Errorf("it took %v, want %v", d, tt.took)
				}
				if aborted := !c.alive(); aborted != tt.aborted {
					t.Errorf("the connection was given up: %v", aborted)
				}
			})
		})
	}
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fired time.Time
		began := time.Now()
		c := newClock(10*time.Second, func() { fired = time.Now() })
		defer c.stop()
		time.Sleep(4 * time.Second)
		one := c.pause()
		time.Sleep(time.Minute)
		two := c.pause() // they may overlap
		one()
		time.Sleep(time.Minute)
		two()
		if c.expired() {
			t.Error("it went on while it stood still")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if want := began.Add(2*time.Minute + 10*time.Second); !fired.Equal(want) || !c.expired() {
			t.Errorf("fired after %v, want %v", fired.Sub(began), want.Sub(began))
		}
	})
}
