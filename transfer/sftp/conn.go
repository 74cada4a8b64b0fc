package sftp

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/xfer-cli/xfer/transfer"
)

// connection is one SSH login, with any number of channels.
type connection struct {
	client *ssh.Client
	socket *socket
	limits transfer.Timeouts
	// aliveEvery and aliveLimit are Options.AliveInterval and AliveLimit.
	aliveEvery, aliveLimit time.Duration
	// forwards: the server may use our agent.
	forwards bool
	// hostKey is the server's; repeatable: such a login needs no person.
	hostKey    ssh.PublicKey
	repeatable bool
	// rtt is the shortest round trip seen, in nanoseconds; 0 unknown.
	rtt atomic.Int64

	// moved counts the SFTP bytes of all channels, both ways; waiting counts who
	// watches over an answer.
	moved, waiting atomic.Int64

	watches sync.Pool // those of wait that are over

	// lanes is how many channels are for file data, most how many the server allows,
	// as far as is known; session.mu guards both.
	lanes, most int

	dead chan struct{} // closed when SSH has ended
	root error         // why, once dead is closed

	mu  sync.Mutex
	cut error // why we ended it ourselves
}

// stalled is why a connection was given up: the server did not answer in time.
type stalled struct{ limit time.Duration }

func (e *stalled) Error() string { return fmt.Sprintf("no answer within %v", e.limit) }

// Timeout makes it a timeout for policy.NetCause.
func (e *stalled) Timeout() bool { return true }

// Temporary completes net.Error.
func (e *stalled) Temporary() bool { return true }

// newConnection watches over a connection that is logged in.
func newConnection(client *ssh.Client, s *socket, o *Options) *connection {
	c := &connection{client: client, socket: s, limits: o.Timeouts, dead: make(chan struct{})}
	c.aliveEvery = cmp.Or(o.AliveInterval, max(o.Timeouts.Reply/2, time.Second))
	c.aliveLimit = cmp.Or(o.AliveLimit, o.Timeouts.Reply)
	if o.ForwardAgent != "" {
		// Fails only if it was asked for already.
		c.forwards = agent.ForwardToRemote(client, o.ForwardAgent) == nil
	}
	go func() {
		c.root = client.Wait()
		close(c.dead)
		_ = s.Close() // the server is gone
	}()
	go c.keepalive()
	return c
}

// abort ends everything on the connection at once. It is the only way to end a
// wait inside the libraries. The first why is kept.
func (c *connection) abort(why error) {
	c.mu.Lock()
	if c.cut == nil {
		c.cut = why
	}
	c.mu.Unlock()
	_ = c.socket.Close() // whatever it was about does not matter any more
}

// sawRTT takes down how long a round trip took.
func (c *connection) sawRTT(d time.Duration) {
	if old := c.rtt.Load(); old == 0 || int64(d) < old {
		c.rtt.Store(int64(d))
	}
}

// alive is false once the connection has ended, or is about to.
func (c *connection) alive() bool {
	select {
	case <-c.dead:
		return false
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cut == nil
	}
}

// leftByUs says whether we ended it, for another reason than silence.
func (c *connection) leftByUs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, silent := c.cut.(*stalled)
	return c.cut != nil && !silent
}

// settle is how long SSH may take to notice what its channels have seen already.
const settle = 200 * time.Millisecond

// why says what ended the connection, nil if it still works and only a channel
// of it has ended.
func (c *connection) why() error {
	t := time.NewTimer(settle)
	defer t.Stop()
	var root error
	select {
	case <-c.dead:
		root = c.root
	case <-t.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut != nil { // known before SSH notices
		return c.cut
	}
	return root
}

// patience is how often a limit may pass while something else still moves on
// the connection.
const patience = 10

// wait waits for done, at most until ctx ends or the server has been silent for
// limit. Silence ends the connection: nothing on it can be relied on any more. A
// link that moves is not silent, however slow; after patience times the limit
// only this wait is given up. If ctx ends, the wait does, and the connection
// lives on.
func (c *connection) wait(ctx context.Context, limit time.Duration, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	default:
	}
	watch := c.watch(limit)
	defer func() { watch.stop(); c.watches.Put(watch) }()
	for rounds := 0; ; {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-watch.timer.C:
			moving := watch.moving()
			if rounds++; moving && rounds <= patience {
				continue
			}
			err := &stalled{limit}
			if !moving {
				c.abort(err)
			}
			return err
		}
	}
}

// watch notices silence.
type watch struct {
	c        *connection
	position func() int64
	timer    *time.Timer
	limit    time.Duration
	seen     int64
	begun    bool
}

// watch begins to look only after a quarter of the limit: that asks the system
// something, and hardly any wait takes so long.
func (c *connection) watch(limit time.Duration) *watch {
	c.waiting.Add(1)
	w, ok := c.watches.Get().(*watch)
	if !ok {
		return &watch{c: c, position: c.position, limit: limit, timer: time.NewTimer(limit / 4)}
	}
	w.limit, w.begun = limit, false
	w.timer.Reset(limit / 4)
	return w
}

func (w *watch) stop() {
	w.timer.Stop()
	w.c.waiting.Add(-1)
}

// moving is asked when the timer has fired: if anything has moved since, the
// timer starts anew.
func (w *watch) moving() bool {
	now := w.position()
	if w.begun && now == w.seen {
		return false
	}
	next := w.limit
	if !w.begun {
		next -= w.limit / 4
	}
	w.begun, w.seen = true, now
	w.timer.Reset(next)
	return true
}

// position is a number that changes whenever SFTP data moves in either direction,
// also out of the system's buffers.
func (c *connection) position() int64 { return c.moved.Load() + c.socket.arrived() }

// call runs f, which takes no context, within wait. If ctx ends before f, f is
// left behind; it ends with its answer or with the connection.
func call[T any](ctx context.Context, c *connection, limit time.Duration, f func() (T, error)) (T, error) {
	var none, value T
	var err error
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		value, err = f()
	}()
	if waited := c.wait(ctx, limit, done); waited != nil {
		return none, waited
	}
	return value, err
}

// keepalive asks for a sign of life whenever nothing has moved for a while and
// nobody else watches. A refusal is one, too (RFC 4254 §4).
func (c *connection) keepalive() {
	t := time.NewTicker(c.aliveEvery)
	defer t.Stop()
	seen := c.position()
	for {
		select {
		case <-c.dead:
			return
		case <-t.C:
		}
		if now := c.position(); now != seen || c.waiting.Load() > 0 {
			seen = now
			continue
		}
		if !c.ping() {
			c.abort(&stalled{c.aliveLimit})
			return
		}
	}
}

// ping says whether the server answered, or sent anything, within the limit.
func (c *connection) ping() bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil) // an error shows as c.dead
	}()
	for {
		received := c.socket.received.Load()
		t := time.NewTimer(c.aliveLimit)
		select {
		case <-done:
			t.Stop()
			return true
		case <-c.dead:
			t.Stop()
			return true
		case <-t.C:
			if c.socket.received.Load() == received {
				return false
			}
		}
	}
}

// counted counts what moves on a channel.
type counted struct {
	io.ReadWriteCloser
	moved *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.moved.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.moved.Add(int64(n))
	return n, err
}
