package sftp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tcpPair is a connection of this machine with itself.
func tcpPair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if here, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	return here, there
}

func TestSocketKeepsTheOrder(t *testing.T) {
	noLeaks(t)
	here, there := tcpPair(t)
	s := newSocket(here, time.Minute)
	want := content(5 << 20)
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+len(rest)%40_000)
			if _, err := s.Write(rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(there, got); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "what arrived", got, want)
	go func() { _, _ = there.Write(want) }()
	if _, err := io.ReadFull(s, got); err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "what came back", got, want)
	if s.received.Load() != int64(len(want)) || !bytes.Equal(s.said(), want[:greetingLen]) {
		t.Errorf("received %d, said %d bytes", s.received.Load(), len(s.said()))
	}
	_ = s.Close()
}

// stuckConn takes nothing until it is closed or broken.
type stuckConn struct {
	net.Conn
	broken chan error
	closed chan struct{}
	once   sync.Once
	writes atomic.Int32
}

func newStuckConn() *stuckConn {
	return &stuckConn{broken: make(chan error), closed: make(chan struct{})}
}

func (c *stuckConn) Write([]byte) (int, error) {
	c.writes.Add(1)
	select {
	case err := <-c.broken:
		return 0, err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// TestSocketWakesWriters: whoever waits for room is told of an error, and of Close.
func TestSocketWakesWriters(t *testing.T) {
	broken := errors.New("broken")
	for name, end := range map[string]struct {
		do   func(*stuckConn, *socket)
		want error
	}{
		"error": {func(c *stuckConn, _ *socket) { c.broken <- broken }, broken},
		"close": {func(_ *stuckConn, s *socket) { _ = s.Close() }, net.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newStuckConn()
				s := newSocket(c, time.Minute)
				defer s.Close()
				var got error
				go func() {
					for got == nil {
						_, got = s.Write(make([]byte, 100_000))
					}
				}()
				synctest.Wait()
				if got != nil {
					t.Fatal("the writer did not wait")
				}
				end.do(c, s)
				synctest.Wait()
				if got != end.want {
					t.Errorf("the writer was told %v, want %v", got, end.want)
				}
				if _, err := s.Write([]byte("x")); err != end.want {
					t.Errorf("a later write: %v", err)
				}
			})
		})
	}
}

// TestSocketGathers: what is written while the system is busy goes out at once.
func TestSocketGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newStuckConn()
		s := newSocket(c, time.Minute)
		for range 1000 {
			if _, err := s.Write(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := c.writes.Load(); n != 1 {
			t.Errorf("%d writes", n)
		}
		_ = s.Close()
	})
}

// TestArrivedSeesTheSystemsBuffers: it moves only while the peer reads.
func TestArrivedSeesTheSystemsBuffers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	here, there := tcpPair(t)
	s := newSocket(here, time.Minute)
	defer s.Close()
	const size = 8 << 20
	go func() {
		for range size / (64 << 10) {
			if _, err := s.Write(make([]byte, 64<<10)); err != nil {
				return // the test is over
			}
		}
	}()
	before, stuck := int64(-1), s.arrived()
	for before != stuck { // until all buffers are full
		time.Sleep(50 * time.Millisecond)
		before, stuck = stuck, s.arrived()
	}
	if stuck == 0 || stuck >= size {
		t.Fatalf("%d of %d bytes arrived although nobody reads", stuck, size)
	}
	if _, err := io.ReadFull(there, make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for s.arrived() < size {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bytes arrived", s.arrived(), size)
		}
		time.Sleep(time.Millisecond)
	}
}
