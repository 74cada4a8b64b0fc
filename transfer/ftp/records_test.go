package ftp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// system counts the system calls of a connection.
type system struct {
	net.Conn
	from          io.Reader
	sent          bytes.Buffer
	reads, writes int
	err           error
}

func (s *system) Read(b []byte) (int, error)  { s.reads++; return s.from.Read(b) }
func (s *system) Write(b []byte) (int, error) { s.writes++; s.sent.Write(b); return len(b), s.err }
func (s *system) SetDeadline(time.Time) error { return nil }

// piecemeal writes and reads as crypto/tls does.
type piecemeal struct {
	*records
	err error
}

func (p piecemeal) Write(b []byte) (int, error) {
	for piece := range bytes.Lines(b) {
		if _, err := p.records.Write(piece); err != nil {
			return 0, err
		}
	}
	return len(b), p.err
}

// TestRecords: the records of a block are sent at once, and what has come is taken
// at once.
func TestRecords(t *testing.T) {
	var idle atomic.Int64
	idle.Store(int64(time.Minute))
	block := []byte("one\ntwo\nthree\n")
	sys := &system{from: bytes.NewReader(block)}
	r := newRecords(newStream(sys, &idle))
	for range 2 {
		if n, err := r.write(piecemeal{r, nil}, block); n != len(block) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if want := string(block) + string(block); sys.writes != 2 || sys.sent.String() != want {
		t.Errorf("%d writes of %q", sys.writes, sys.sent.String())
	}
	// A handshake and an alert wait for nothing.
	if _, err := r.Write([]byte("alert")); err != nil || sys.writes != 3 {
		t.Errorf("%d writes, %v", sys.writes, err)
	}
	var got bytes.Buffer
	if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{r}, make([]byte, 4)); err != nil || got.String() != string(block) {
		t.Errorf("got %q, %v", got.String(), err)
	}
	if sys.reads != 2 { // with the one that finds the end
		t.Errorf("%d reads", sys.reads)
	}
}

// TestRecordsFail: nothing of a block counts that TLS or the system refuses.
func TestRecordsFail(t *testing.T) {
	var idle atomic.Int64
	idle.Store(int64(time.Minute))
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		tls, sys error
		writes   int
	}{
		"TLS": {tls: broken}, "system": {sys: broken, writes: 1},
	} {
		sys := &system{err: test.sys}
		r := newRecords(newStream(sys, &idle))
		if n, err := r.write(piecemeal{r, test.tls}, []byte("block")); n != 0 || !errors.Is(err, broken) || sys.writes != test.writes {
			t.Errorf("%s: %d, %v, %d writes", name, n, err, sys.writes)
		}
	}
}
