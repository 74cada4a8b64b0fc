package sftp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

const (
	// maxSessions is how many channels OpenSSH allows on one connection
	// (MaxSessions). One is for requests about paths.
	maxSessions = 10
	// window is the flow control window of one channel in bytes, in both
	// directions: no more can be under way on it (RFC 4254 §5.2).
	window = 2 << 20
	// depth is how many READs or WRITEs are under way on one channel at least.
	depth = 4
	// spread is how far apart pieces under way may be, in bytes: half as much again
	// as can be under way on all channels, so that none has to wait for another. A
	// piece that the window cuts in two takes a round trip longer than the others.
	spread = 32 << 20
	// fullRate is what a processor encrypts at most, in bytes per second: no more
	// windows are wanted than it fills.
	fullRate = 400 << 20
	// grace is how long pieces under way may take after a transfer was
	// cancelled. After that the connection is closed.
	grace = time.Second
	// far is the round trip from which on one is worth saving by channels that may
	// not be wanted.
	far = 50 * time.Millisecond
)

// factChannels is the name of a fact: how many channels the server allows on one
// connection.
const factChannels = "channels"

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
		ch.conn.lanes--
	}
	c := s.conn
	for _, other := range s.further {
		if other.alive() && (c.lanes >= c.most || other.lanes < other.most && other.lanes < c.lanes) {
			c = other
		}
	}
	s.mu.Unlock()
	return s.acquireOn(ctx, c)
}

// acquireOn gives a new channel of the connection.
func (s *session) acquireOn(ctx context.Context, c *connection) (*channel, error) {
	s.mu.Lock()
	full := c.lanes >= c.most
	if !full {
		c.lanes++
	}
	s.mu.Unlock()
	if full {
		return nil, errNoLane
	}
	from := c.slot
	if c == s.conn {
		from = s.slot
	}
	ch, err := c.another(ctx, from)
	if err != nil {
		s.noMore(c, err)
		return nil, errNoLane
	}
	s.tryEarly(ch)
	return ch, nil
}

// lane asks for a channel for file data: one that was expected to be wanted, or
// another. It is closed if there is none.
func (s *session) lane(ctx context.Context) chan *channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.coming); n > 0 {
		lane := s.coming[0]
		s.coming = s.coming[1:]
		return lane
	}
	lane := make(chan *channel, 1)
	ctx = context.WithoutCancel(ctx) // opening has a limit, and the next transfer may want it
	go func() {
		defer close(lane)
		if ch, err := s.acquire(ctx); err == nil {
			lane <- ch
		}
	}()
	return lane
}

// slot gives a channel on which no server runs yet: one that was reserved, or another.
func (s *session) slot() (slot, error) {
	if at, ok := <-s.slots; ok {
		return at, nil
	}
	if s.full != nil {
		return slot{}, s.full
	}
	return s.conn.slot()
}

// atOnce is how many channels are opened together, when a transfer of size bytes comes
// first: one for the session, and those that the transfer will want. Of a file whose
// size is not known they are all that there may be, but only where a round trip is
// worth it. If it is known that fewer are allowed, no more are asked for: OpenSSH logs
// each refusal as an error.
func (s *session) atOnce(size int64) int {
	n := 1 + s.wanted(size)
	if size < 0 && s.conn.rtt.Load() >= int64(far) {
		n = 1 + s.conn.most
	}
	if allowed, err := strconv.Atoi(s.o.Facts[factChannels].Value); err == nil {
		n = max(1, min(n, allowed))
	}
	return n
}

// reserve opens n channels, on which nothing runs yet.
func (s *session) reserve(n int) {
	given := 0
	s.slots = make(chan slot, n)
	var asked sync.WaitGroup
	for range n {
		asked.Go(func() {
			at, err := s.conn.slot()
			s.mu.Lock()
			defer s.mu.Unlock()
			if err != nil {
				s.full = err
				return
			}
			given++
			s.slots <- at
		})
	}
	go func() {
		asked.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if refused, ok := errors.AsType[*ssh.OpenChannelError](s.full); ok && given > 0 {
			s.facts[factChannels] = transfer.Fact{Value: strconv.Itoa(given), Reason: policy.Sanitize(refused.Error()), At: time.Now()}
		}
		close(s.slots)
	}()
}

// expect starts servers on the channels that a transfer of size bytes will want. They
// are there when it begins.
func (s *session) expect(ctx context.Context, size int64) {
	var lanes []chan *channel
	for range s.wanted(size) {
		lanes = append(lanes, s.lane(ctx))
	}
	s.coming = lanes
}

// noMore takes down that the server refused a channel.
func (s *session) noMore(c *connection, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.lanes--
	c.most = min(c.most, c.lanes)
	s.o.Log.Debug("sftp_channel_refused", "host", s.o.Address, "channels", c.lanes, "error", err)
}

// release takes a channel back.
func (s *session) release(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch.usable() {
		s.idle = append(s.idle, ch)
	} else {
		ch.conn.lanes--
	}
}

// yield closes a channel for file data that nobody uses, for good, and says whether
// there was one.
func (s *session) yield() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.idle, func(ch *channel) bool { return ch.conn == s.conn })
	if i < 0 {
		return false
	}
	_ = s.idle[i].tap.ch.Close() // never used again
	s.idle = slices.Delete(s.idle, i, i+1)
	s.conn.lanes--
	s.conn.most = min(s.conn.most, s.conn.lanes)
	return true
}

// bulk is one transfer of file data. It begins at once on the channel of the
// requests about paths, and goes on over channels of its own as soon as they
// fill the way: what waits for the window there holds up nobody.
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

	// begun is closed when the file is open on the first channel.
	begun chan struct{}
	// stop ends the context that prepare gave.
	stop context.CancelCauseFunc
	// lanes are the further channels that were asked for. Each comes with the file
	// open on it, or is closed without.
	lanes   []chan *file
	growing sync.WaitGroup

	width    width       // of supervise
	dialling atomic.Bool // one more connection is on its way

	asked   atomic.Int64 // pieces whose answers are due
	missing atomic.Int64 // further channels without which the way is not full

	mu    sync.Mutex
	files []*file  // one per channel; the first is on the session's own
	lost  *channel // the first that was lost
}

// prepare gives the context of ask and run.
func (b *bulk) prepare(ctx context.Context) context.Context {
	b.begun = make(chan struct{})
	ctx, b.stop = context.WithCancelCause(ctx)
	return ctx
}

// run moves all pieces, beginning with the first file. It returns when nothing
// more happens; the outcome is in the list.
func (b *bulk) run(ctx context.Context, first *file) {
	b.list.laneAdded()
	b.missing.Store(b.s.conn.windows())
	n := max(depth, window/b.list.size-1) // so that no request about a path waits for the window
	if len(b.lanes) == 0 {
		n = 2 * (n + 1) // so that the window is never left empty
	}
	leave := b.add(ctx, first, n)
	b.grow(ctx, leave)
	b.supervise(ctx)
	b.stop(errNoLane)
	b.growing.Wait()
}

// share is how many bytes are under way on a further channel: nearby half a
// window is more than the way holds, and the rest would only take memory.
func (b *bulk) share() int64 {
	if b.s.conn.windows() == 1 {
		return window / 2
	}
	return window
}

// reach is the spread of a download, whose pieces take memory: nearby the shares of
// all channels, and one by which a channel may fall behind.
func (b *bulk) reach() int64 {
	if b.s.conn.windows() == 1 {
		return int64(len(b.lanes)+2) * b.share()
	}
	return spread
}

// wanted is how many channels a transfer of size bytes wants for itself. Nearby it
// is two: two processes on the server, and here decryption beside disk access. Far
// away the windows are what limits the rate, and each channel has one of its own;
// what it costs is two round trips, so that a file has to have some windows' worth
// for each.
func (s *session) wanted(size int64) int {
	switch {
	case size <= 4*bestPacket:
		return 0
	case size <= 4*window:
		return 1
	}
	s.mu.Lock()
	connections := int64(1 + len(s.further))
	s.mu.Unlock()
	return int(min(connections*min(maxSessions-1, max(2, s.conn.windows())), size/(2*window)))
}

// windows is how many windows are under way at once when the processor is what
// limits the rate.
func (c *connection) windows() int64 {
	return fullRate*c.rtt.Load()/int64(time.Second)/window + 1
}

// perLane is how many workers a further channel gets: one more than fit, as the
// window opens before the answer is there.
func (b *bulk) perLane() int { return max(depth, int(b.share())/b.list.size+1) }

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
	for f.ch != b.s.control || b.missing.Load() > 0 {
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
	watch := b.s.conn.watch(b.s.conn.limits.Idle)
	watch.position = b.s.position
	defer watch.stop()
	looks := time.NewTicker(b.s.lookAgain)
	defer looks.Stop()
	ended := ctx.Done()
	var late <-chan time.Time
	asking := false // answers were due when the watch last looked
	for {
		select {
		case <-b.list.finished:
			return
		case <-looks.C:
			if b.pace == nil && !b.dialling.Load() && b.width.more(b.list.way()) && b.s.mayDial() {
				b.dialling.Store(true)
				b.growing.Go(func() {
					b.widen(ctx)
					b.dialling.Store(false)
				})
			}
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
			b.s.abort(err)
			b.list.fail(err)
			late = time.After(grace)
		case <-late:
			// What is still under way hangs in the connection, or in a local
			// pipe, which nothing but its other end can wake.
			b.s.abort(net.ErrClosed)
			b.list.abandon(errLost)
			return
		}
	}
}

// ask asks for the further channels that are still wanted: beside the first OPEN,
// as both take a round trip, and behind it, when the way is known to be long. The
// file is opened on them only when the first OPEN has been answered, and never made
// by that: a server to which each handle is an upload of its own (object stores)
// refuses then, instead of keeping the one that is closed last.
func (b *bulk) ask(ctx context.Context) {
	for len(b.lanes) < b.s.wanted(b.size) {
		ch, lane := b.s.lane(ctx), make(chan *file, 1)
		b.lanes = append(b.lanes, lane)
		go func() {
			defer close(lane)
			if f, err := b.openLane(ctx, ch); err == nil {
				lane <- f
			}
		}()
	}
}

// grow puts the further channels to work, each when it is there; the first
// channel leaves when they fill the way. That a server allows fewer is no failure.
func (b *bulk) grow(ctx context.Context, leave func(error)) {
	for _, lane := range b.lanes {
		b.list.laneAdded()
		b.growing.Go(func() {
			f, ok := <-lane
			if !ok {
				b.list.laneLost(nil)
				return
			}
			b.add(ctx, f, b.perLane())
			if b.missing.Add(-1) <= 0 {
				leave(nil)
			}
		})
	}
}

func (b *bulk) openLane(ctx context.Context, lane chan *channel) (*file, error) {
	select {
	case <-b.begun:
	case <-ctx.Done():
		go b.s.keep(lane)
		return nil, context.Cause(ctx)
	}
	select {
	case ch, ok := <-lane:
		if !ok {
			return nil, errNoLane
		}
		f, err := b.open(ctx, ch)
		switch {
		case err == nil:
		case ch.usable() || !ch.conn.alive():
			b.s.release(ch)
		default:
			b.s.noMore(ch.conn, err) // no server came to be on it
		}
		return f, err
	case <-ctx.Done():
		go b.s.keep(lane)
		return nil, context.Cause(ctx)
	}
}

// spare gives back the channels of a transfer that did not begin.
func (b *bulk) spare() {
	b.stop(errNoLane)
	for _, lane := range b.lanes {
		go func() {
			if f, ok := <-lane; ok {
				f.letGo()
				b.s.release(f.ch)
			}
		}()
	}
}

// keep takes back a channel when it is there.
func (s *session) keep(lane chan *channel) {
	if ch, ok := <-lane; ok {
		s.release(ch)
	}
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
	b.mu.Lock() // a worker may still be about to tell what it lost
	ch := cmp.Or(b.lost, b.s.control)
	b.mu.Unlock()
	return ch.fault(policy.Data, op, path, err)
}
