package sftp

import (
	"bufio"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfer-cli/xfer/transfer/tcp"
)

const (
	// readBuffer is how much is read from the socket at once, in bytes.
	readBuffer = 256 << 10
	// writeBuffer is how much may wait to be written to the socket, in bytes.
	writeBuffer = 256 << 10
	// greetingLen is how much of the server's first words is kept.
	greetingLen = 255
)

// socket is the connection below SSH. The SSH library reads in pieces of 4 KiB
// and writes each packet by itself; the socket reads what there is, and one
// goroutine writes what has gathered meanwhile, so that encryption and system
// calls overlap. A 64 MiB upload takes a tenth of the writes.
type socket struct {
	net.Conn
	in       *bufio.Reader
	received atomic.Int64 // bytes, in all
	turns    turns

	mu             sync.Mutex
	greeting       []byte // the first of what the server sent
	changed        *sync.Cond
	pending, spare []byte
	err            error // of a write, or net.ErrClosed
	flusher        chan struct{}
}

// newSocket wraps conn. dead is how long sent data may stay unacknowledged
// before the system gives the connection up, where it can do that.
func newSocket(conn net.Conn, dead time.Duration) *socket {
	tcp.SetUserTimeout(conn, dead)
	if c, ok := conn.(*net.TCPConn); ok {
		// An error means that the system has no such setting; SSH's own
		// keepalive does the same.
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: dead / 2, Interval: max(time.Second, dead/6), Count: 3})
	}
	s := &socket{
		Conn: conn, flusher: make(chan struct{}),
		pending: make([]byte, 0, 2*writeBuffer), spare: make([]byte, 0, 2*writeBuffer),
	}
	s.in = bufio.NewReaderSize(prompt{s}, readBuffer)
	s.changed = sync.NewCond(&s.mu)
	go s.flush()
	return s
}

// prompt acknowledges what it reads without delay.
type prompt struct{ *socket }

func (s prompt) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	tcp.AckAtOnce(s.Conn)
	s.turns.heard()
	return n, err
}

// turns measures the round trip of a dialogue, in which each side waits for the other.
// What the peer says unasked makes it too short.
type turns struct {
	on       atomic.Bool
	mu       sync.Mutex
	asked    time.Time // zero once the answer has come
	shortest time.Duration
}

func (t *turns) begin() { t.on.Store(true) }

// end gives the shortest turn, 0 if there was none.
func (t *turns) end() time.Duration {
	t.on.Store(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shortest
}

func (t *turns) said() {
	if t.on.Load() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.asked = time.Now()
	}
}

func (t *turns) heard() {
	if !t.on.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := time.Since(t.asked); !t.asked.IsZero() && (t.shortest == 0 || d < t.shortest) {
		t.shortest = d
	}
	t.asked = time.Time{}
}

// Read is as of net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if before := s.received.Add(int64(n)) - int64(n); before < greetingLen {
		s.mu.Lock()
		s.greeting = append(s.greeting, p[:min(int64(n), greetingLen-before)]...)
		s.mu.Unlock()
	}
	return n, err
}

// Write copies p and returns; an error of the socket is told by a later call.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) >= writeBuffer && s.err == nil {
		s.changed.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	s.pending = append(s.pending, p...)
	s.changed.Broadcast()
	return len(p), nil
}

// flush writes what has gathered, until the socket is closed.
func (s *socket) flush() {
	defer close(s.flusher)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.pending) == 0 && s.err == nil {
			s.changed.Wait()
		}
		if s.err != nil {
			return
		}
		// Many are about to write at once, and their packets go together.
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
		out := s.pending
		s.pending, s.spare = s.spare[:0], nil
		s.changed.Broadcast()
		s.mu.Unlock()
		s.turns.said()
		_, err := s.Conn.Write(out)
		s.mu.Lock()
		s.spare = out[:0]
		if err != nil && s.err == nil {
			s.err = err
			s.changed.Broadcast()
		}
	}
}

// Close drops what has not been written.
func (s *socket) Close() error {
	err := s.Conn.Close()
	s.mu.Lock()
	if s.err == nil {
		s.err = net.ErrClosed
	}
	s.mu.Unlock()
	s.changed.Broadcast()
	<-s.flusher
	return err
}

// arrived is how many bytes have reached the other side, as far as the system
// tells. On a slow link it is all that moves.
func (s *socket) arrived() int64 { return tcp.Acknowledged(s.Conn) }

// said is the first of what the server sent.
func (s *socket) said() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.greeting)
}
