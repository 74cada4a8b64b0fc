package sftp

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

func TestWidth(t *testing.T) {
	const end = 1000
	for name, tt := range map[string]struct {
		end   int64
		marks []int64
		want  string // one sign for each look: + one more
	}{
		"each helps":               {end, []int64{5, 15, 33, 53, 80, 110, 150, 200}, " + + + +"},
		"the second does not":      {end, []int64{5, 15, 24, 34, 44, 54}, " +    "},
		"a little is not enough":   {end, []int64{0, 16, 30, 47, 60, 90}, " +    "},
		"it stands still at first": {end, []int64{0, 0, 0, 10, 20, 40}, "   + +"},
		"it is over soon":          {end, []int64{500, 600, 700}, "   "},
		"it was over soon":         {end, []int64{0, 150, 320, 330}, "   +"},
		"the end is not known":     {unknownEnd, []int64{5, 15, 24}, "   "},
	} {
		var w width
		var got strings.Builder
		for _, mark := range tt.marks {
			if w.more(mark, tt.end) {
				got.WriteString("+")
			} else {
				got.WriteString(" ")
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s: %q, want %q", name, got.String(), tt.want)
		}
	}
}

// steps takes pieces one after the other, with a pause for each, and from the middle
// on only when ready is closed.
type steps struct {
	mu    sync.Mutex
	half  int64
	ready chan struct{}
}

func (s *steps) pass(off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off >= s.half {
		select {
		case <-s.ready:
		case <-time.After(20 * time.Second):
		}
	}
	time.Sleep(2 * time.Millisecond)
}

type steppedReader struct {
	*bytes.Reader
	steps *steps
}

func (r steppedReader) ReadAt(p []byte, off int64) (int, error) {
	r.steps.pass(off)
	return r.Reader.ReadAt(p, off)
}

type steppedWriter struct {
	bytes.Buffer
	steps *steps
}

func (w *steppedWriter) Write(p []byte) (int, error) {
	w.steps.pass(int64(w.Len()))
	return w.Buffer.Write(p)
}

// carriers is on how many connections the file was opened.
func carriers(log lab.Log, path string) int {
	conns := map[int]bool{}
	for _, e := range log.Of("OPEN") {
		if e.Arg == path {
			conns[e.Conn] = true
		}
	}
	return len(conns)
}

// TestFurtherConnections: what takes long is carried over more of them, whatever
// becomes of those.
func TestFurtherConnections(t *testing.T) {
	const size = 8 << 20
	data := content(size)
	refused := errors.New("too many connections")
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*session)
		refuse error
		lose   bool
		asked  bool // for a further one
		comes  bool
	}{
		"help":                 {asked: true, comes: true},
		"go where this one is": {change: func(s *session) { s.o.Address = "nowhere.invalid:22" }, asked: true, comes: true},
		"are lost":             {lose: true, asked: true, comes: true},
		"are refused":          {refuse: refused, asked: true},
		"would ask a person":   {change: func(s *session) { s.conn.repeatable = false }},
		"are not to be had":    {change: func(s *session) { s.o.Further = nil }},
		"have another server":  {change: func(s *session) { s.conn.hostKey = other }, asked: true},
	} {
		for _, what := range []string{"put", "get"} {
			t.Run(name+" "+what, func(t *testing.T) {
				noLeaks(t)
				root := t.TempDir()
				srv := startLab(t, lab.SFTPConfig{Root: root})
				calls, released := make(chan struct{}, 100), make(chan struct{}, 100)
				s := dialLab(t, srv, func(o *Options) {
					o.Further = func(ctx context.Context, dial func(context.Context) error) (func(), error) {
						calls <- struct{}{}
						if tt.refuse != nil {
							return nil, tt.refuse
						}
						return func() { released <- struct{}{} }, dial(ctx)
					}
				})
				s.lookAgain = 5 * time.Millisecond
				if tt.change != nil {
					tt.change(s)
				}
				if what == "get" {
					put(t, s, "/f", data)
				}
				pace := &steps{half: size / 2, ready: make(chan struct{})}
				ctx, cancel := context.WithCancel(t.Context())
				var watching sync.WaitGroup
				watching.Go(func() {
					defer close(pace.ready)
					switch {
					case tt.comes:
						if srv.Await(ctx, func(l lab.Log) bool { return carriers(l, "/f") > 1 }) == nil && tt.lose {
							s.connections()[1].abort(errLost)
						}
					case tt.asked:
						select {
						case <-calls:
							calls <- struct{}{}
						case <-ctx.Done():
						}
					}
				})
				var got []byte
				var err error
				if what == "put" {
					_, err = s.Put(ctx, "/f", 0, transfer.Source{R: steppedReader{bytes.NewReader(data), pace}, Size: size})
					got = onDisk(t, root, "f")
				} else {
					w := &steppedWriter{steps: pace}
					_, err = s.Get(ctx, "/f", 0, transfer.Sink{W: w, Size: size})
					got = w.Bytes()
				}
				cancel()
				watching.Wait()
				if err != nil {
					t.Fatal(describe(err))
				}
				sameBytes(t, what, got, data)
				if n := len(calls); (n > 0) != tt.asked || !tt.comes && n > 1 {
					t.Errorf("asked %d times for a further connection", n)
				}
				if n := carriers(srv.Log(), "/f"); (n > 1) != tt.comes || n > 1+maxFurther {
					t.Errorf("on %d connections", n)
				}
				further := len(s.connections()) - 1
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				for range further {
					<-released
				}
			})
		}
	}
}

// TestOneConnectionWhileTheRateIsLimited: more would not be faster.
func TestOneConnectionWhileTheRateIsLimited(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	s := dialLab(t, srv, func(o *Options) {
		o.Further = func(context.Context, func(context.Context) error) (func(), error) {
			t.Error("a further connection was asked for")
			return nil, io.EOF
		}
	})
	s.lookAgain = 5 * time.Millisecond
	src := sourceOf(content(8 << 20))
	src.Wait = func(context.Context, int) error { time.Sleep(10 * time.Millisecond); return nil }
	if _, err := s.Put(t.Context(), "/f", 0, src); err != nil {
		t.Fatal(describe(err))
	}
}

// TestNoFurtherConnectionBehindAProxy: it may lead to another server.
func TestNoFurtherConnectionBehindAProxy(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	_, via := through(t, srv.Addr(), 0)
	further := func(o *Options) {
		o.Further = func(context.Context, func(context.Context) error) (func(), error) { return nil, io.EOF }
	}
	if dialLab(t, srv, further, via).mayDial() {
		t.Error("there may be one")
	}
	if !dialLab(t, srv, further).mayDial() {
		t.Error("there may be none without a proxy")
	}
}
