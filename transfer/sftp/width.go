package sftp

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// lookAgain is how often a long transfer is looked at.
	lookAgain = time.Second
	// worthDialling is how many looks a transfer must still take for one more
	// connection to be tried.
	worthDialling = 10
	// maxFurther is how many further connections a session asks for at most.
	maxFurther = 4
)

// width finds out over how many connections a transfer goes fastest: one more at a
// time, as long as each adds an eighth to the rate. Where the network loses packets,
// where the systems have small buffers for a long way, or where one processor
// decrypts for a connection, each has a rate of its own; where something else is the
// limit, one more is tried in vain.
type width struct {
	mark    int64 // at the last look
	before  int64 // bytes from look to look before the last connection came
	settled bool  // since then there has been one look
	found   bool
}

// more says, at each look, whether one more is to be tried. All below mark is across;
// the file ends at end.
func (w *width) more(mark, end int64) bool {
	moved := mark - w.mark
	w.mark = mark
	if w.found || !w.settled {
		w.settled = true
		return false
	}
	if moved < w.before+w.before/8 {
		w.found = true
		return false
	}
	if moved <= 0 || end == unknownEnd || (end-mark)/moved < worthDialling {
		return false
	}
	w.before, w.settled = moved, false
	return true
}

// widen carries the transfer over one more connection.
func (b *bulk) widen(ctx context.Context) {
	c, err := b.s.dialFurther(ctx)
	if err != nil {
		b.s.o.Log.Debug("sftp_no_further_connection", "host", b.s.o.Address, "error", err)
		return
	}
	b.s.o.Log.Debug("sftp_further_connection", "host", b.s.o.Address)
	var opening sync.WaitGroup
	for range max(1, len(b.lanes)) {
		opening.Go(func() {
			lane := make(chan *channel, 1)
			if ch, err := b.s.acquireOn(ctx, c); err == nil {
				lane <- ch
			}
			close(lane)
			if f, err := b.openLane(ctx, lane); err == nil {
				b.list.laneAdded()
				b.add(ctx, f, b.perLane())
			}
		})
	}
	opening.Wait()
}

// mayDial says whether the session may have one more connection, and counts it.
func (s *session) mayDial() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Further == nil || !s.conn.repeatable || s.dialled >= maxFurther {
		return false
	}
	s.dialled++
	return true
}

// dialFurther opens a connection for file data. After a failure there are no more.
func (s *session) dialFurther(ctx context.Context) (*connection, error) {
	var c *connection
	release, err := s.o.Further(ctx, func(ctx context.Context) (err error) {
		c, err = connect(ctx, s.o.beside(s.conn), s.conn)
		return err
	})
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if ctx.Err() == nil {
			s.dialled = maxFurther
		}
		return nil, err
	}
	go func() { <-c.dead; release() }()
	c.most = maxSessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.conn.alive() {
		c.abort(net.ErrClosed)
		return nil, net.ErrClosed
	}
	s.further = append(s.further, c)
	return c, nil
}

// beside is how a connection to the same server is opened. A name may lead to
// several: it is the address that counts.
func (o Options) beside(c *connection) *Options {
	address, dial := c.socket.RemoteAddr().String(), o.DialContext
	o.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) }
	return &o
}

// connections are all there are.
func (s *session) connections() []*connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*connection{s.conn}, s.further...)
}

// position changes whenever data moves on one of them.
func (s *session) position() (n int64) {
	for _, c := range s.connections() {
		n += c.position()
	}
	return n
}

// abort ends all of them, and gives them.
func (s *session) abort(why error) []*connection {
	s.conn.abort(why) // first: none comes after it
	all := s.connections()
	for _, c := range all {
		c.abort(why)
	}
	return all
}
