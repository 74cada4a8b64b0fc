package sftp

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

const (
	// maxLanes is the most channels for file data on one connection. OpenSSH
	// allows ten sessions (MaxSessions); one is for requests about paths.
	maxLanes = 8
	// window is the flow control window of one channel in bytes, in both
	// directions: no more can be under way on it (RFC 4254 §5.2).
	window = 2 << 20
	// loneDepth and depth are how many READs or WRITEs are under way on the
	// first channel, which may stay the only one, and on each further one.
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

	opened := make(chan *channel)
	go func() {
		ch, err := s.control.another(context.WithoutCancel(ctx)) // it has a limit
		if err != nil {
			s.noMore(err)
			close(opened)
			return
		}
		select {
		case opened <- ch:
		case <-ctx.Done():
			s.release(ch) // for the next transfer
		}
	}()
	select {
	case ch, ok := <-opened:
		if !ok {
			return nil, errNoLane
		}
		return ch, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// noMore takes down that the server refused a channel.
func (s *session) noMore(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes--
	s.most = min(s.most, s.lanes)
	s.o.Log.Debug("sftp_channel_refused", "host", s.o.Address, "channels", s.lanes, "error", err)
}

// release takes a channel back.
func (s *session) release(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.usable() {
		s.idle = append(s.idle, ch)
	} else {
		s.lanes--
	}
}

// bulk is one transfer of file data. It begins at once on the channel of the
// requests about paths, and goes on over channels of its own as soon as there
// are any: what waits for the window there holds up nobody.
type bulk struct {
	s    *session
	list *chunks
	// size is about how many bytes there are to move.
	size int64
	// open opens the file on a further channel.
	open func(ctx context.Context, ch *channel) (*file, error)
	// work moves one piece.
	work func(f *file, p *chunk) error
	// pace is Source.Wait or Sink.Wait, nil for none.
	pace func(ctx context.Context, n int) error

	asked    atomic.Int64 // pieces whose answers are due
	relieved atomic.Bool  // the first channel is not to begin another piece

	mu    sync.Mutex
	files []*file  // one per channel; the first is on the session's own
	lost  *channel // the first that was lost
}

// run moves all pieces, beginning with the first file. It returns when nothing
// more happens; the outcome is in the list.
func (b *bulk) run(ctx context.Context, first *file) {
	ctx, cancel := context.WithCancelCause(ctx)
	b.list.laneAdded()
	leave := b.add(ctx, first, loneDepth)
	var growing sync.WaitGroup
	growing.Go(func() { b.grow(ctx, b.wanted(), leave) })
	b.supervise(ctx)
	cancel(errNoLane)
	growing.Wait()
}

// wanted is how many channels the transfer wants for itself. Nearby it is two:
// two processes on the server, and here decryption beside disk access. Far away
// the windows are what limits the rate, and each channel has one of its own;
// what it costs is three round trips, so that a file has to have some windows'
// worth for each.
func (b *bulk) wanted() int {
	switch {
	case b.size <= 4*int64(b.s.control.packet):
		return 0
	case b.size <= 4*window:
		return 1
	case b.s.isFar():
		return int(min(maxLanes, b.size/(2*window)))
	default:
		return 2
	}
}

// add puts n workers on a channel, which the list knows of already. The func it
// returns takes the channel off the list again, once.
func (b *bulk) add(ctx context.Context, f *file, n int) (leave func(error)) {
	b.mu.Lock()
	b.files = append(b.files, f)
	b.mu.Unlock()
	var once sync.Once
	leave = func(err error) {
		once.Do(func() {
			b.mu.Lock()
			if b.lost == nil && err != nil {
				b.lost = f.ch
			}
			b.mu.Unlock()
			b.list.laneLost(err)
		})
	}
	for range n {
		go b.worker(ctx, f, leave)
	}
	return leave
}

// worker moves pieces until there are none, or its channel is lost.
func (b *bulk) worker(ctx context.Context, f *file, leave func(error)) {
	for f.ch != b.s.control || !b.relieved.Load() {
		p := b.list.take()
		if p == nil {
			return
		}
		if err := wait(ctx, b.pace, p.n); err != nil {
			b.list.fail(err)
			b.list.drop(p)
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
			leave(err)
			return
		default:
			b.list.fail(err)
			b.list.drop(p)
		}
	}
}

// wait blocks as long as a rate limit demands before n bytes are moved.
func wait(ctx context.Context, pace func(context.Context, int) error, n int) error {
	if pace == nil {
		return nil
	}
	if err := pace(ctx, n); err != nil {
		return policy.LocalFault("wait", "", err)
	}
	return nil
}

// supervise waits for the end. It ends the transfer when ctx ends, and the
// connection when the server is silent although answers are due.
func (b *bulk) supervise(ctx context.Context) {
	c := b.s.conn
	watch := c.watch(c.limits.Idle)
	defer watch.stop()
	ended := ctx.Done()
	var late <-chan time.Time
	asking := false // answers were due when the watch last looked
	for {
		select {
		case <-b.list.finished:
			return
		case <-ended:
			ended = nil
			b.list.fail(context.Cause(ctx))
			late = time.After(grace)
		case <-watch.timer.C:
			// A pipe that gives or takes nothing is no fault of the server's.
			before := asking
			asking = b.asked.Load() > 0
			if watch.moving() {
				continue
			}
			if !before || !asking {
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

// grow opens n further channels, at the same time, and puts each to work when
// it is there; the first channel then leaves. That a server allows fewer is no
// failure.
func (b *bulk) grow(ctx context.Context, n int, leave func(error)) {
	var opening sync.WaitGroup
	for range n {
		b.list.laneAdded()
		opening.Go(func() {
			f, err := b.openLane(ctx)
			if err != nil {
				b.list.laneLost(nil)
				return
			}
			b.add(ctx, f, depth)
			b.relieved.Store(true)
			leave(nil)
		})
	}
	opening.Wait()
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
	for _, f := range b.files[1:] {
		b.s.release(f.ch)
	}
}

// usable are the files whose channels have not been lost, the first one if none.
func (b *bulk) usable() []*file {
	files := slices.DeleteFunc(slices.Clone(b.files), func(f *file) bool { return !f.ch.usable() })
	if len(files) == 0 {
		return b.files[:1]
	}
	return files
}

// letGo closes all handles without waiting for the answers.
func (b *bulk) letGo() {
	for _, f := range b.usable() {
		f.letGo()
	}
}

// fault describes why the transfer ended.
func (b *bulk) fault(op, path string, err error) *policy.Fault {
	ch := b.s.control
	if b.lost != nil {
		ch = b.lost
	}
	return ch.fault(policy.Data, op, path, err)
}

// isFar says whether the server is so far away that one window is too small.
func (s *session) isFar() bool { return time.Duration(s.conn.rtt.Load()) >= farAway }
