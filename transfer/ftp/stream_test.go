package ftp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a stream and the other end of its connection.
func pipe(idle time.Duration) (*stream, net.Conn, *atomic.Int64) {
	here, there := net.Pipe()
	limit := new(atomic.Int64)
	limit.Store(int64(idle))
	return newStream(here, limit), there, limit
}

// TestStreamIdle: the limit is on the time without a byte, not on the whole.
func TestStreamIdle(t *testing.T) {
	for name, op := range map[string]func(*stream, []byte) (int, error){
		"write": (*stream).Write,
		"read":  func(s *stream, b []byte) (int, error) { return io.ReadFull(s, b) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, peer, _ := pipe(10 * time.Second)
			const size, step = 20, 9 * time.Second
			go func() {
				for range size {
					time.Sleep(step) // a byte every nine seconds is slow, but alive
					b := make([]byte, 1)
					if name == "write" {
						_, _ = io.ReadFull(peer, b)
					} else {
						_, _ = peer.Write(b)
					}
				}
			}()
			began := time.Now()
			if n, err := op(s, make([]byte, size)); n != size || err != nil {
				t.Errorf("%s: %d, %v after %v", name, n, err, time.Since(began))
			}
			if took := time.Since(began); took != size*step {
				t.Errorf("%s: took %v", name, took)
			}

			began = time.Now()
			n, err := op(s, make([]byte, size))
			if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %d, %v from a peer that is silent", name, n, err)
			}
			if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
				t.Errorf("%s: given up after %v", name, took)
			}
			_ = s.Close()
			_ = peer.Close()
		})
	}
}

// TestStreamInterrupt: an interruption ends the wait at hand and every later one
// with its reason, until the last words.
func TestStreamInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer, _ := pipe(time.Hour)
		boom := errors.New("boom")
		time.AfterFunc(time.Minute, func() { s.interrupt(boom) })
		began := time.Now()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, boom) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
		s.interrupt(errors.New("another"))
		if _, err := s.Write([]byte("x")); !errors.Is(err, boom) {
			t.Errorf("%v, want the first reason", err)
		}

		s.lastWords(2 * time.Second)
		s.interrupt(boom)
		go func() { _, _ = peer.Read(make([]byte, 1)) }()
		if n, err := s.Write([]byte("x")); n != 1 || err != nil {
			t.Errorf("last words: %d, %v", n, err)
		}
		began = time.Now()
		if _, err := s.Write([]byte("y")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the last words took %v", took)
		}
		_ = s.Close()
		_ = peer.Close()
	})
}

// TestStreamHurry: a limit that is shortened while bytes are waited for counts.
func TestStreamHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer, limit := pipe(time.Hour)
		time.AfterFunc(time.Minute, func() { limit.Store(int64(2 * time.Second)) })
		began := time.Now()
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > time.Minute+3*time.Second {
			t.Errorf("took %v", took)
		}
		_ = s.Close()
		_ = peer.Close()
	})
}

// tcpPair is a stream on TCP and the other end.
func tcpPair(t *testing.T, idle time.Duration) (*stream, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	here, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	limit := new(atomic.Int64)
	limit.Store(int64(idle))
	t.Cleanup(func() { _ = here.Close(); _ = there.Close() })
	return newStream(here, limit), there.(*net.TCPConn)
}

func file(t *testing.T, b []byte) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSendFile sends exactly what it is told, counts it, and loses nothing on a
// link whose every system call times out.
func TestSendFile(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
	for _, test := range []struct{ from, n, want int64 }{
		{0, 8 << 20, 8 << 20}, {5, 100, 100}, {0, 1 << 62, 8 << 20}, {8 << 20, 10, 0}, {7 << 20, 2 << 20, 1 << 20}, {0, 0, 0},
	} {
		s, peer := tcpPair(t, 5*time.Second)
		f := file(t, content)
		if _, err := f.Seek(test.from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte, 1)
		go func() {
			var b bytes.Buffer
			chunk := make([]byte, 256<<10)
			for {
				n, err := peer.Read(chunk)
				b.Write(chunk[:n])
				if err != nil {
					got <- b.Bytes()
					return
				}
			}
		}()
		sent := int64(0)
		err := s.sendFile(f, test.from, test.n, func(n int64) { sent += n })
		_ = s.tcp.CloseWrite()
		if b := <-got; err != nil || sent != test.want || !bytes.Equal(b, content[test.from:][:test.want]) {
			t.Errorf("%+v: %v, counted %d, arrived %d", test, err, sent, len(b))
		}
	}

	// A peer that reads a little now and then: no system call completes in
	// time, and no byte is lost or doubled.
	s, peer := tcpPair(t, 3*time.Second)
	f := file(t, content)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	go func() {
		var b bytes.Buffer
		for range 2 {
			time.Sleep(1200 * time.Millisecond)
			_, _ = io.CopyN(&b, peer, 1<<20)
		}
		_, _ = io.Copy(&b, peer)
		got <- b.Bytes()
	}()
	if err := s.sendFile(f, 0, int64(len(content)), func(int64) {}); err != nil {
		t.Error(err)
	}
	_ = s.tcp.CloseWrite()
	if b := <-got; !bytes.Equal(b, content) {
		t.Errorf("%d of %d bytes, or others", len(b), len(content))
	}
}

// TestReceiveFile takes everything, also when it comes in pieces with pauses.
func TestReceiveFile(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	s, peer := tcpPair(t, 3*time.Second)
	go func() {
		for i := 0; i < len(content); i += 1 << 20 {
			_, _ = peer.Write(content[i : i+1<<20])
			time.Sleep(1200 * time.Millisecond)
		}
		_ = peer.CloseWrite()
	}()
	f := file(t, nil)
	received := int64(0)
	if err := s.receiveFile(f, func(n int64) { received += n }); err != nil || received != int64(len(content)) {
		t.Errorf("%d, %v", received, err)
	}
	if b, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes, %v", len(b), err)
	}

	stalled, silent := tcpPair(t, time.Second)
	if _, err := silent.Write(content[:1000]); err != nil {
		t.Fatal(err)
	}
	received = 0
	err := stalled.receiveFile(file(t, nil), func(n int64) { received += n })
	if !errors.Is(err, os.ErrDeadlineExceeded) || received != 1000 {
		t.Errorf("%d, %v from a peer that stalls", received, err)
	}
}
