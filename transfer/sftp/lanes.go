package sftp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxLanes is the most channels for file data on one connection. OpenSSH
	// allows ten sessions (MaxSessions); one is for requests about paths.
	maxLanes = 8
	// window is the flow control window of one channel in bytes, in both
	// directions: no more can be under way on it (RFC 4254 §5.2).
	window = 2 << 20
	// loneDepth and depth are how many READs or WRITEs are under way on one
	// channel: by itself, and beside others. Both exceed the window.
	loneDepth, depth = 16, 8
	// spread is how far apart pieces under way may be, in bytes: more than can
	// be under way on all channels, so that none has to wait for another.
	spread = 24 << 20
	// farAway is the round trip time from which windows, not processors, are
	// what limits a transfer.
	farAway = 5 * time.Millisecond
	// grace is how long pieces under way may take after a transfer was
	// cancelled. After that the connection is closed.
	grace = time.Second
)

// errNoLane: no further channel is to be had.
var errNoLane = errors.New("no further channel")

// acquire gives a channel for file data to one transfer alone. The server may
// refuse it; it is then not asked again.
func (s *session) acquire(ctx context.Context) (*channel, error) {
	s.mu.Lock()
	for len(s.idle) > 0 {
		ch := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if ch.usable() {
			s.mu.Unlock()
			return ch, nil
		}
		s.lanes--
	}
	if s.lanes >= s.most {
		s.mu.Unlock()
		return nil, errNoLane
	}
	s.lanes++
	s.mu.Unlock()

	ch, err := s.conn.open(ctx)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lanes--
		s.most = min(s.most, s.lanes)
		s.o.Log.Debug("sftp_channel_refused", "host", s.o.Address, "channels", s.lanes, "error", err)
		return nil, err
	}
	return ch, nil
}

// lane gives the channel on which a transfer of size bytes begins. What fits a
// few packets does not wait for a channel of its own, and what gets none shares
// the one for requests about paths.
func (s *session) lane(ctx context.Context, size int64) *channel {
	if size <= 4*int64(s.control.packet) {
		return s.control
	}
	ch, err := s.acquire(ctx)
	if err != nil {
		return s.control
	}
	return ch
}

// release takes a channel back.
func (s *session) release(ch *channel) {
	if ch == s.control {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.usable() {
		s.idle = append(s.idle, ch)
	} else {
		s.lanes--
	}
}

// bulk is one transfer of file data over one or more channels.
type bulk struct {
	s    *session
	list *chunks
	// open opens the file on a further channel.
	open func(ctx context.Context, ch *channel) (*file, error)
	// work moves one piece.
	work func(f *file, p *chunk) error

	asked atomic.Int64 // pieces whose answers are due

	mu    sync.Mutex
	files []*file // one per channel, the first is the caller's
}

// run moves all pieces, beginning with the first file. It returns when nothing
// more happens; the outcome is in the list.
func (b *bulk) run(ctx context.Context, first *file) {
	ctx, cancel := context.WithCancelCause(ctx)
	want := b.wanted()
	b.list.laneAdded()
	b.add(first, want == 1)
	var growing sync.WaitGroup
	if want > 1 {
		growing.Go(func() { b.grow(ctx, want) })
	}
	b.supervise(ctx)
	cancel(errNoLane)
	growing.Wait()
}

// wanted is with how many channels to begin.
func (b *bulk) wanted() int {
	left := b.list.end - b.list.mark
	switch {
	case left <= 4*window:
		return 1
	case b.s.isFar():
		return 4
	default:
		// Two processes on the server, and decryption beside disk access here.
		return 2
	}
}

// add puts another channel to work, which the list knows of already.
func (b *bulk) add(f *file, alone bool) {
	b.mu.Lock()
	b.files = append(b.files, f)
	b.mu.Unlock()
	n := depth
	if alone {
		n = loneDepth
	}
	lost := sync.OnceFunc(func() { b.list.laneLost(errLost) })
	for range n {
		go b.worker(f, lost)
	}
}

// worker moves pieces until there are none, or its channel is lost.
func (b *bulk) worker(f *file, lost func()) {
	for {
		p := b.list.take()
		if p == nil {
			return
		}
		b.asked.Add(1)
		err := b.work(f, p)
		b.asked.Add(-1)
		switch {
		case err == nil && p.n == 0:
			b.list.drop(p)
		case err == nil:
			b.list.done(p)
		case isLost(err):
			// Another channel may do it. A server's word, in contrast, is final.
			b.list.repeat(p)
			lost()
			return
		default:
			b.list.fail(err)
			b.list.drop(p)
		}
	}
}

// supervise waits for the end. It ends the transfer when ctx ends, and the
// connection when the server is silent although answers are due.
func (b *bulk) supervise(ctx context.Context) {
	c := b.s.conn
	watch := c.watch(c.limits.Idle)
	defer watch.stop()
	ended := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-b.list.finished:
			return
		case <-ended:
			ended = nil
			b.list.fail(context.Cause(ctx))
			late = time.After(grace)
		case <-watch.timer.C:
			if watch.moving() {
				continue
			}
			if b.asked.Load() == 0 {
				// A pipe that gives or takes nothing is no fault of the server's.
				watch.timer.Reset(watch.limit)
				continue
			}
			err := &stalled{watch.limit}
			c.abort(err)
			b.list.fail(err)
			late = time.After(grace)
		case <-late:
			// What is still under way hangs in the connection, or in a local
			// pipe, which nothing but its other end can wake.
			c.abort(net.ErrClosed)
			b.list.abandon(errLost)
			return
		}
	}
}

// grow adds channels: up to want at once, and then twice as many whenever the
// windows are what limits the rate.
func (b *bulk) grow(ctx context.Context, want int) {
	for b.addLanes(ctx, want-b.lanes()) {
		rtt := time.Duration(b.s.conn.rtt.Load())
		if rtt < farAway || b.lanes() >= maxLanes || !b.limitedByWindows(ctx, rtt) {
			return
		}
		want = 2 * b.lanes()
	}
}

// limitedByWindows measures for a few round trips.
func (b *bulk) limitedByWindows(ctx context.Context, rtt time.Duration) bool {
	t := time.NewTimer(4 * rtt)
	defer t.Stop()
	began, from := time.Now(), b.list.position()
	select {
	case <-t.C:
	case <-b.list.finished:
		return false
	case <-ctx.Done():
		return false
	}
	perRTT := float64(b.list.position()-from) * float64(rtt) / float64(time.Since(began))
	return perRTT > 0.4*float64(b.lanes()*window)
}

func (b *bulk) lanes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.files)
}

// addLanes opens n channels, at the same time. It is false when there are no
// more to be had; that is no failure.
func (b *bulk) addLanes(ctx context.Context, n int) bool {
	var opened sync.WaitGroup
	var refused atomic.Bool
	for range n {
		b.list.laneAdded()
		opened.Go(func() {
			f, err := b.openLane(ctx)
			if err != nil {
				b.list.laneLost(nil)
				refused.Store(true)
				return
			}
			b.add(f, false)
		})
	}
	opened.Wait()
	return !refused.Load()
}

func (b *bulk) openLane(ctx context.Context) (*file, error) {
	ch, err := b.s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	f, err := b.open(ctx, ch)
	if err != nil {
		b.s.release(ch)
	}
	return f, err
}

// release gives the channels back.
func (b *bulk) release() {
	for _, f := range b.files {
		b.s.release(f.ch)
	}
}

// isFar says whether the server is so far away that one window is too small.
func (s *session) isFar() bool { return time.Duration(s.conn.rtt.Load()) >= farAway }
