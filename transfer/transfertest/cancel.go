package transfertest

import (
	"context"
	"io"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

func sink() transfer.Sink { return transfer.Sink{W: io.Discard, Size: -1} }

func testCancelPut(e *env) {
	e.put("neighbour", content(100))
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	src := transfer.Source{R: &endless{after: 1_000_000, do: cancel}, Size: -1}
	e.soonDone("cancelled put", func() {
		_, err := e.s.Put(ctx, e.path("file"), 0, src)
		e.isFault(err)
	})
	e.usableOrClosed(e.s)
	e.s = e.dial()
	e.holds("neighbour", content(100))
}

// endless never ends by itself; after so many bytes it calls do, once.
type endless struct {
	after int
	do    func()
}

func (r *endless) Read(p []byte) (int, error) {
	if r.after > 0 {
		if r.after -= len(p); r.after <= 0 {
			r.do()
		}
	}
	return len(p), nil
}

// testCancelWaitingSource: a source may be a pipe or a terminal, where nothing
// comes for as long as the other side likes.
func testCancelWaitingSource(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	r, w := io.Pipe()
	e.soonDone("cancelled put", func() {
		go func() {
			_, _ = w.Write(content(1000)) // the session may have stopped reading
			cancel()
		}()
		_, err := e.s.Put(ctx, e.path("file"), 0, transfer.Source{R: r, Size: -1})
		e.isFault(err)
	})
	_ = r.Close() // frees whoever still reads
	e.usableOrClosed(e.s)
}

func testCancelGet(e *env) {
	e.put("file", content(large))
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	e.soonDone("cancelled get", func() {
		_, err := e.s.Get(ctx, e.path("file"), 0, transfer.Sink{W: &pacedWriter{cancel: cancel}, Size: large})
		e.isFault(err)
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
		resume := e.Pause()
		go func() {
			time.Sleep(100 * time.Millisecond) // long enough to be waiting; if not, it is cancelled before
			cancel()
		}()
		e.soonDone("cancelled "+w.name, func() { e.isFault(w.call(e, ctx, s)) })
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
		e.soonDone(w.name, func() { e.isFault(w.call(e, ctx, e.s)) })
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
	resume := e.Pause()
	for i, s := range sessions {
		w := waiting[i]
		e.soonDone(w.name+" with a deadline", func() {
			ctx, cancel := context.WithTimeout(e.ctx, 100*time.Millisecond)
			defer cancel()
			e.isFault(w.call(e, ctx, s))
		})
	}
	e.soonDone("dial with a deadline", func() {
		ctx, cancel := context.WithTimeout(e.ctx, 100*time.Millisecond)
		defer cancel()
		s, err := e.Dial(ctx)
		if e.isFault(err); err == nil {
			_ = s.Close()
		}
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
		resume := e.Pause()
		returned := make(chan error, 1)
		go func() { returned <- w.call(e, e.ctx, s) }()
		time.Sleep(50 * time.Millisecond) // as in testCancelSilent
		e.soonDone("close", func() { _ = s.Close() })
		e.soonDone(w.name+" while the session was closed", func() { e.isFault(<-returned) })
		if s.Alive() {
			e.Errorf("%s: the session is alive after Close", w.name)
		}
		resume()
	}
	e.usable(e.dial())
}

func testCloseTwice(e *env) {
	e.must(e.s.Close())
	e.soonDone("second close", func() { _ = e.s.Close() })
	if e.s.Alive() {
		e.Error("the session is alive after Close")
	}
	for _, w := range waiting {
		e.soonDone(w.name+" after close", func() { e.isFault(w.call(e, e.ctx, e.s)) })
	}
	e.s = e.dial()
	e.holdsOnly(e.dir)
}
