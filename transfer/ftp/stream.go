package ftp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// stream is the TCP side of a data connection under one rule: as long as bytes
// move it is alive, and it is given up after idle without one. A deadline for
// each chunk instead would cut slow links that are quite well.
//
// It does not embed the connection and offers no SyscallConn: os.File.WriteTo
// would send the whole file in one go, past every counter.
type stream struct {
	conn net.Conn
	tcp  *net.TCPConn // conn, where it is one: sendfile and splice need it

	// idle is a time.Duration. It may be shortened at any time.
	idle *atomic.Int64

	mu    sync.Mutex
	stop  error
	until time.Time // once set, the deadline of everything; nothing interrupts any more
}

// tick is how long one system call may take, so that progress is seen on slow
// links too.
const tick = time.Second

func newStream(conn net.Conn, idle *atomic.Int64) *stream {
	tcp, _ := conn.(*net.TCPConn)
	return &stream{conn: conn, tcp: tcp, idle: idle}
}

// interrupt makes every wait, now and later, end with err.
func (s *stream) interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil && s.until.IsZero() {
		s.stop = err
		_ = s.conn.SetDeadline(time.Unix(1, 0)) // fails only on a closed one
	}
}

// lastWords leaves so much time, once more, to a stream that may have been
// interrupted: to end it in order.
func (s *stream) lastWords(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop, s.until = nil, time.Now().Add(d)
	_ = s.conn.SetDeadline(s.until) // as above
}

// arm sets the deadline of the next system call.
func (s *stream) arm() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil && s.until.IsZero() {
		_ = s.conn.SetDeadline(time.Now().Add(min(tick, time.Duration(s.idle.Load())))) // as above
	}
	return s.stop
}

// patience counts the time since bytes last moved.
type patience struct {
	s    *stream
	last time.Time
}

func (s *stream) patience() patience { return patience{s, time.Now()} }

// goOn judges the result of a system call: nil to go on with the next.
func (p *patience) goOn(moved bool, err error) error {
	if moved {
		p.last = time.Now()
	}
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if time.Since(p.last) >= time.Duration(p.s.idle.Load()) || p.s.ending() {
		return err
	}
	return nil
}

func (s *stream) ending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.until.IsZero()
}

func (s *stream) Read(b []byte) (int, error) {
	p := s.patience()
	for {
		if err := s.arm(); err != nil {
			return 0, err
		}
		n, err := s.conn.Read(b)
		if err = p.goOn(n > 0, err); n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *stream) Write(b []byte) (int, error) {
	p := s.patience()
	for done := 0; ; {
		if err := s.arm(); err != nil {
			return done, err
		}
		n, err := s.conn.Write(b[done:])
		done += n
		if err = p.goOn(n > 0, err); err != nil || done == len(b) {
			return done, err
		}
	}
}

// chunk is what one sendfile or splice call moves at most.
const chunk = 1 << 20

// sendFile sends n bytes of the file from pos on, where its position is, by
// sendfile(2), which never copies them through this process. It ends early and
// without an error at the end of the file.
func (s *stream) sendFile(f *os.File, pos, n int64, moved func(int64)) error {
	p := s.patience()
	for n > 0 {
		if err := s.arm(); err != nil {
			return err
		}
		want := min(chunk, n)
		m, err := s.tcp.ReadFrom(&io.LimitedReader{R: f, N: want})
		pos, n = pos+m, n-m
		if m > 0 {
			moved(m)
		}
		late := err != nil
		if err = p.goOn(m > 0, err); err != nil {
			return err
		}
		switch {
		case late:
			// Where there is no sendfile the standard library copies, and has
			// read more than it could write in time.
			if _, err := f.Seek(pos, io.SeekStart); err != nil {
				return err
			}
		case m < want:
			return nil
		}
	}
	return nil
}

// receiveFile takes everything that comes into the file at its position by
// splice(2).
func (s *stream) receiveFile(f *os.File, moved func(int64)) error {
	p := s.patience()
	for {
		if err := s.arm(); err != nil {
			return err
		}
		m, err := f.ReadFrom(&io.LimitedReader{R: s.tcp, N: chunk})
		if m > 0 {
			moved(m)
		}
		late := err != nil
		if err = p.goOn(m > 0, err); err != nil || !late && m < chunk {
			return err
		}
	}
}

// Close, deadlines and addresses: for crypto/tls.

func (s *stream) Close() error                     { return s.conn.Close() }
func (s *stream) LocalAddr() net.Addr              { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr             { return s.conn.RemoteAddr() }
func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
