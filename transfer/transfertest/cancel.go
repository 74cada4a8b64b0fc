package transfertest

import (
	"context"
	"io"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

func sink() transfer.Sink { return transfer.Sink{W: io.Discard, Size: -1} }

// cutShort runs what can't be finished: it has to return soon, with a fault.
func (e *env) cutShort(what string, f func() error) {
	e.Helper()
	if err := e.within(what, f); err == nil {
		e.Errorf("%s: no error", what)
	} else {
		e.isFault(err)
	}
}

func testCancelPut(e *env) {
	e.put("neighbour", content(100))
	spread := e.s.Extras().Spread
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var n int64
	e.cutShort("cancelled put", func() (err error) {
		n, err = e.s.Put(ctx, e.path("file"), 0, transfer.Source{R: &endless{after: 10_000_000, do: cancel}, Size: -1})
		return err
	})
	e.usableOrClosed(e.s)
	e.s = e.dial()
	e.holds("neighbour", content(100))

	// A resume relies on this: no gap in what is known to be there, nor below
	// the size minus Spread.
	stored := e.stored("file")
	if n > int64(len(stored)) {
		e.Errorf("%d bytes are said to be there, and %d are", n, len(stored))
	}
	safe := min(int64(len(stored)), max(n, int64(len(stored))-spread))
	e.same("what a resume builds on", stored[:safe], endlessly(int(safe)))
}

// endless repeats the large content for ever; after so many bytes it calls do, once.
type endless struct {
	pos, after int
	do         func()
}

func (r *endless) Read(p []byte) (int, error) {
	n := copy(p, content(large)[r.pos%large:])
	if r.pos += n; r.pos >= r.after && r.pos-n < r.after {
		r.do()
	}
	return n, nil
}

// endlessly gives the first n bytes of endless.
func endlessly(n int) []byte {
	var b []byte
	for len(b) < n {
		b = append(b, content(large)[:min(large, n-len(b))]...)
	}
	return b
}

// testCancelWaitingSource: a source may be a pipe or a terminal, where nothing
// comes for as long as the other side likes.
func testCancelWaitingSource(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(content(1000)) // the session may have stopped reading
		cancel()
	}()
	e.cutShort("cancelled put", func() error {
		_, err := e.s.Put(ctx, e.path("file"), 0, transfer.Source{R: r, Size: -1})
		return err
	})
	_ = r.Close() // frees whoever still reads
	e.usableOrClosed(e.s)
}

func testCancelGet(e *env) {
	e.put("file", content(large))
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	e.cutShort("cancelled get", func() error {
		_, err := e.s.Get(ctx, e.path("file"), 0, transfer.Sink{W: &pacedWriter{cancel: cancel}, Size: large})
		return err
	})
	e.usableOrClosed(e.s)
}

// pacedWriter cancels at the first byte, and is so slow from then on that the
// rest of a large file would take longer than soon.
type pacedWriter struct{ cancel func() }

func (w *pacedWriter) Write(p []byte) (int, error) {
	w.cancel()
	pace := 2 * soon * time.Duration(len(p)) / large
	time.Sleep(pace)
	return len(p), nil
}

// waiting are methods that wait for a server's reply, each in its own way.
var waiting = []struct {
	name string
	call func(e *env, ctx context.Context, s transfer.Session) error
}{
	{"stat", func(e *env, ctx context.Context, s transfer.Session) error {
		_, err := s.Stat(ctx, e.path("file"))
		return err
	}},
	{"list", func(e *env, ctx context.Context, s transfer.Session) error {
		return s.List(ctx, e.dir, func(transfer.Info) error { return nil })
	}},
	{"get", func(e *env, ctx context.Context, s transfer.Session) error {
		_, err := s.Get(ctx, e.path("file"), 0, sink())
		return err
	}},
	{"put", func(e *env, ctx context.Context, s transfer.Session) error {
		_, err := s.Put(ctx, e.path("new"), 0, whole(content(large)))
		return err
	}},
	{"rename", func(e *env, ctx context.Context, s transfer.Session) error {
		return s.Rename(ctx, e.path("other"), e.path("renamed"))
	}},
	{"remove", func(e *env, ctx context.Context, s transfer.Session) error {
		return s.Remove(ctx, e.path("remove"))
	}},
	{"mkdir", func(e *env, ctx context.Context, s transfer.Session) error {
		return s.Mkdir(ctx, e.path("dir"))
	}},
}

func testCancelSilent(e *env) {
	for _, name := range []string{"file", "other", "remove"} {
		e.put(name, content(100))
	}
	for _, w := range waiting {
		s := e.dial()
		ctx, cancel := context.WithCancel(e.ctx)
		resume := e.pause()
		go func() {
			time.Sleep(50 * time.Millisecond) // long enough to be waiting; if not, it is cancelled before
			cancel()
		}()
		e.cutShort("cancelled "+w.name, func() error { return w.call(e, ctx, s) })
		resume()
		e.usableOrClosed(s)
		e.must(s.Close())
	}
	e.s = e.dial()
	e.holds("file", content(100))
}

func testCancelledBefore(e *env) {
	e.put("file", content(100))
	e.put("other", content(100))
	e.put("remove", content(100))
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	for _, w := range waiting {
		e.cutShort(w.name, func() error { return w.call(e, ctx, e.s) })
		if !e.s.Alive() {
			e.s = e.dial()
		}
		e.usable(e.s)
	}
	e.holdsOnly(e.dir, "file", "other", "remove")
}

func testDeadline(e *env) {
	e.put("file", content(100))
	sessions := []transfer.Session{e.s, e.dial(), e.dial(), e.dial()}
	resume := e.pause()
	for i, s := range sessions {
		w := waiting[i]
		e.cutShort(w.name+" with a deadline", func() error {
			ctx, cancel := context.WithTimeout(e.ctx, 100*time.Millisecond)
			defer cancel()
			return w.call(e, ctx, s)
		})
	}
	e.cutShort("dial with a deadline", func() error {
		ctx, cancel := context.WithTimeout(e.ctx, 100*time.Millisecond)
		defer cancel()
		s, err := e.Dial(ctx)
		if err == nil {
			_ = s.Close()
		}
		return err
	})
	resume()
	for _, s := range sessions {
		e.usableOrClosed(s)
	}
}

func testCloseUnblocks(e *env) {
	e.put("file", content(100))
	for _, w := range waiting[:4] {
		s := e.dial()
		resume := e.pause()
		returned := make(chan error, 1)
		go func() { returned <- w.call(e, e.ctx, s) }()
		time.Sleep(50 * time.Millisecond) // as in testCancelSilent
		_ = e.within("close", s.Close)
		e.cutShort(w.name+" while the session was closed", func() error { return <-returned })
		if s.Alive() {
			e.Errorf("%s: the session is alive after Close", w.name)
		}
		resume()
	}
	e.usable(e.dial())
}

func testCloseTwice(e *env) {
	e.must(e.s.Close())
	_ = e.within("second close", e.s.Close)
	if e.s.Alive() {
		e.Error("the session is alive after Close")
	}
	for _, w := range waiting {
		e.cutShort(w.name+" after close", func() error { return w.call(e, e.ctx, e.s) })
	}
	e.s = e.dial()
	e.holdsOnly(e.dir)
}
