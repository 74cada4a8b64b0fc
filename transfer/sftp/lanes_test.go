package sftp

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// opens is on how many handles, that is channels, a file was.
func opens(srv *lab.SFTP, path string) int {
	n := 0
	for _, e := range srv.Log().Of("OPEN") {
		if e.Arg == path {
			n++
		}
	}
	return n
}

func TestChannelsBySize(t *testing.T) {
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root})
	s := dialLab(t, srv)
	for _, tt := range []struct {
		name        string
		size        int
		least, most int // handles: on the session's channel and on others
	}{{"empty", 0, 1, 1}, {"small", 1000, 1, 1}, {"medium", 700 << 10, 1, 1}, {"large", 5 << 20, 1, 2}, {"huge", 24 << 20, 2, 3}} {
		data := content(tt.size)
		for _, what := range []string{"put", "get"} {
			before := opens(srv, "/"+tt.name)
			if what == "put" {
				put(t, s, "/"+tt.name, data)
				sameBytes(t, tt.name, onDisk(t, root, tt.name), data)
			} else {
				sameBytes(t, tt.name+" again", get(t, s, "/"+tt.name), data)
			}
			if n := opens(srv, "/"+tt.name) - before; n < tt.least || n > tt.most {
				t.Errorf("%s %s: %d handles, want %d to %d", what, tt.name, n, tt.least, tt.most)
			}
		}
	}
	if n := srv.Log().Count("channel"); n != 3 {
		t.Errorf("%d channels were opened, want 3: they are to be used again", n)
	}
}

// TestChannelsAheadOfThePut: those that a file wants are asked for when its size is
// known at the login, and it uses them.
func TestChannelsAheadOfThePut(t *testing.T) {
	const size = 24 << 20
	for name, tt := range map[string]struct {
		sessions    int
		least, most int
	}{"OpenSSH's limit": {10, 2, 6}, "one": {1, 0, 0}} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			srv := startLab(t, lab.SFTPConfig{Root: root, Quirks: lab.Quirks{MaxSessions: tt.sessions}})
			s := dialLab(t, srv, func(o *Options) { o.Need = size })
			given := 0
			for _, lane := range s.coming {
				if ch, ok := <-lane; ok {
					given++
					s.release(ch)
				}
			}
			if given < tt.least || given > tt.most {
				t.Errorf("%d channels ahead of the file, want %d to %d", given, tt.least, tt.most)
			}
			s.coming = nil
			asked := srv.Log().Count("channel")
			data := content(size)
			put(t, s, "/f", data)
			sameBytes(t, "put", onDisk(t, root, "f"), data)
			if n := srv.Log().Count("channel") - asked; n > 0 {
				t.Errorf("%d more were asked for", n)
			}
		})
	}
}

// TestExpectedChannelsAreUsed by the transfer that comes, and no others.
func TestExpectedChannelsAreUsed(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	s := dialLab(t, srv, func(o *Options) { o.Need = 8 << 20 }) // one channel
	if len(s.coming) != 1 {
		t.Fatalf("%d channels are expected, want 1", len(s.coming))
	}
	put(t, s, "/f", content(8<<20))
	if n := srv.Log().Count("channel"); n != 2 || len(s.coming) != 0 {
		t.Errorf("%d channels were opened, %d are left; want 2 and 0", n, len(s.coming))
	}
}

// TestChannelsGrowWithTheWay: far away the windows limit the rate, and more
// channels are taken, as many as the server gives.
func TestChannelsGrowWithTheWay(t *testing.T) {
	for name, tt := range map[string]struct{ sessions, least, most int }{
		"OpenSSH's limit": {10, 5, 7},
		"three":           {3, 3, 3},
		"one":             {1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			srv := startLab(t, lab.SFTPConfig{Root: root, Quirks: lab.Quirks{MaxSessions: tt.sessions}})
			_, via := through(t, srv.Addr(), 40*time.Millisecond)
			s := dialLab(t, srv, via)
			data := content(24 << 20)
			put(t, s, "/f", data)
			sameBytes(t, "put", onDisk(t, root, "f"), data)
			if n := opens(srv, "/f"); n < tt.least || n > tt.most {
				t.Errorf("put: %d channels, want %d to %d", n, tt.least, tt.most)
			}
			before := opens(srv, "/f")
			sameBytes(t, "get", get(t, s, "/f"), data)
			if n := opens(srv, "/f") - before; n < tt.least || n > tt.most {
				t.Errorf("get: %d channels, want %d to %d", n, tt.least, tt.most)
			}
		})
	}
}

// TestReservedChannels: where the way is long and the size of the file is not known
// yet, channels are opened on which nothing runs. What the server refuses is not
// asked for again, in a later run neither.
func TestReservedChannels(t *testing.T) {
	for name, tt := range map[string]struct {
		rtt      time.Duration
		need     int64
		sessions int
		known    string
		asked    int    // channels, with the first one
		learned  string // how many there may be
		lanes    int    // of two that are wanted then
		more     int    // channels asked for by that
	}{
		"far":                  {far, -1, 10, "", 10, "", 2, 0},
		"near":                 {far - 1, -1, 10, "", 1, "", 2, 2},
		"no file":              {far, 0, 10, "", 1, "", 2, 2},
		"three allowed":        {far, -1, 3, "", 10, "3", 2, 0},
		"two allowed":          {far, -1, 2, "", 10, "2", 1, 0},
		"one allowed":          {far, -1, 1, "", 10, "1", 0, 0},
		"known to allow three": {far, -1, 3, "3", 3, "", 2, 0},
		"known to allow one":   {far, -1, 1, "1", 1, "", 0, 1},
		"nonsense":             {far, -1, 10, "0", 1, "", 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startLab(t, lab.SFTPConfig{
				Quirks: lab.Quirks{MaxSessions: tt.sessions}, Script: []lab.Rule{{On: "subsystem", Do: lab.Wait(0)}},
			})
			o := labOptions(srv, func(o *Options) {
				o.Need = tt.need
				if tt.known != "" {
					o.Facts = transfer.Facts{factChannels: {Value: tt.known}}
				}
			})
			o.setDefaults()
			c, err := connect(t.Context(), &o, nil)
			if err != nil {
				t.Fatal(describe(err))
			}
			s := newSession(c, o)
			defer s.Close()
			c.rtt.Store(int64(tt.rtt))
			if err := s.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			soon(t, s, "answers", func() bool {
				return len(s.slots) == min(tt.asked, tt.sessions)-1 && s.facts[factChannels].Value == tt.learned
			})
			if n := srv.Log().Count("channel"); n != tt.asked {
				t.Errorf("%d channels were asked for, want %d", n, tt.asked)
			}
			if n := srv.Fired("subsystem"); n != 1 {
				t.Errorf("%d servers were started ahead of the file, want 1", n)
			}
			lanes := 0
			for range 2 {
				if ch, ok := <-s.lane(t.Context()); ok {
					if _, err := ch.openFile(t.Context(), "/none", openRead); !is(err, fxNoSuchFile) {
						t.Errorf("on a further channel: %v", err)
					}
					lanes++
				}
			}
			if n := srv.Log().Count("channel") - tt.asked; lanes != tt.lanes || n != tt.more {
				t.Errorf("%d further channels, for which %d more were asked for; want %d and %d", lanes, n, tt.lanes, tt.more)
			}
		})
	}
}

// soon waits until a condition holds, which is looked at under the session's lock.
func soon(t *testing.T, s *session, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		ok := holds()
		s.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still not there", what)
		}
	}
}

// TestHandlesBesideTheFirst: a download opens the file on the further channels while
// the first handle is asked about it, and gives them back if nothing comes of it.
func TestHandlesBesideTheFirst(t *testing.T) {
	const size = 9 << 20 // for which two more channels are wanted
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	srv := startLab(t, lab.SFTPConfig{Root: root, Script: []lab.Rule{{On: "FSTAT", Do: lab.Ignore()}}})
	s := dialLab(t, srv, withTimeout(30*time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := s.Get(ctx, "/f", 0, transfer.Sink{W: io.Discard, Size: size})
		done <- err
	}()
	wait, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if err := srv.Await(wait, func(l lab.Log) bool { return l.Count("OPEN") == 3 }); err != nil {
		t.Error("the further handles wait for the answer about the first: ", err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("no error")
	}
	if err := srv.Await(wait, func(l lab.Log) bool { return l.Count("CLOSE") == 3 }); err != nil {
		t.Error("handles are left open: ", err)
	}
	soon(t, s, "the channels of the cancelled transfer", func() bool { return len(s.idle) == 2 })
}

// TestHandlesBehindTheFirst: an upload makes the file with its first handle. Were
// others to make it too, a server might keep a file of its own for each.
func TestHandlesBehindTheFirst(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "OPEN", Do: lab.Wait(100 * time.Millisecond).Then(lab.Reply(3, "Permission denied"))}}})
	s := dialLab(t, srv, func(o *Options) { o.Need = 9 << 20 })
	expected := len(s.coming)
	if _, err := s.Put(t.Context(), "/f", 0, sourceOf(make([]byte, 9<<20))); err == nil {
		t.Fatal("no error")
	}
	soon(t, s, "the channels of the refused transfer", func() bool { return len(s.idle) == expected })
	if n := opens(srv, "/f"); n != 1 {
		t.Errorf("%d handles were asked for, want 1: the file is not there", n)
	}
}

// TestReach: nearby a download takes little memory; far away a piece may come a round
// trip later than the others and holds up none.
func TestReach(t *testing.T) {
	s := &session{conn: &connection{}}
	for _, tt := range []struct {
		rtt   time.Duration
		lanes int
		want  int64
	}{{time.Millisecond, 0, 2 << 20}, {time.Millisecond, 2, 4 << 20}, {20 * time.Millisecond, 5, spread}, {100 * time.Millisecond, 9, spread}} {
		s.conn.rtt.Store(int64(tt.rtt))
		b := &bulk{s: s, lanes: make([]chan *file, tt.lanes)}
		if got := b.reach(); got != tt.want {
			t.Errorf("%v, %d further channels: %d bytes, want %d", tt.rtt, tt.lanes, got, tt.want)
		}
	}
}

// TestAChannelDies: the server's process behind one of two channels is killed;
// the transfer goes on over the other.
func TestAChannelDies(t *testing.T) {
	for on, transferOne := range map[string]func(t *testing.T, s *session, data []byte){
		"WRITE": func(t *testing.T, s *session, data []byte) { put(t, s, "/f", data) },
		"READ":  func(t *testing.T, s *session, data []byte) { sameBytes(t, "get", get(t, s, "/f"), data) },
	} {
		t.Run(on, func(t *testing.T) {
			root := t.TempDir()
			data := content(20 << 20)
			if err := os.WriteFile(filepath.Join(root, "f"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			srv := startLab(t, lab.SFTPConfig{Root: root, Script: []lab.Rule{{On: on, When: lab.During, After: 5 << 20, Times: 1, Do: lab.DropData(lab.FIN)}}})
			s := dialLab(t, srv)
			transferOne(t, s, data)
			if srv.Fired(on) != 1 {
				t.Error("no channel was killed")
			}
			sameBytes(t, "on the disk", onDisk(t, root, "f"), data)
			if s.Alive() { // it was not the one for requests about paths
				transferOne(t, s, data)
			}
		})
	}
}

// TestSecondHandleRefused: a server that lets a file be open only once.
func TestSecondHandleRefused(t *testing.T) {
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root, Script: []lab.Rule{{On: "OPEN", Nth: 2, Do: lab.Reply(4, "Failure")}}})
	data := content(20 << 20)
	put(t, dialLab(t, srv), "/f", data)
	sameBytes(t, "on the disk", onDisk(t, root, "f"), data)
}

// TestKilledAnywhere cuts the connection after a random number of bytes, again
// and again, and resumes from what Put or Get said: the file is whole, and no
// more is sent twice than can be under way.
func TestKilledAnywhere(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	const size = 24 << 20
	data := content(size)
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root})
	proxy, via := through(t, srv.Addr(), 0)
	t.Run("upload", func(t *testing.T) {
		for i := range rounds {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			var off, sent int64
			cuts := 0
			for off < size {
				if cuts < 4 {
					proxy.SetCut(lab.Cut{Up: 20_000 + random.Int64N(size/2), How: lab.End(random.IntN(2))})
				} else {
					proxy.SetCut(lab.Cut{})
				}
				n, err := attempt(t, srv, via, func(ctx context.Context, s transfer.Session) (int64, error) {
					return s.Put(ctx, "/f", off, sourceOf(data))
				})
				off += n
				if err == nil {
					break
				}
				cuts++
				there := int64(len(onDiskOrNothing(root)))
				if there < off {
					t.Fatalf("round %d: %d bytes are there, %d were said to be", i, there, off)
				}
				if there-off > spread {
					t.Errorf("round %d: %d bytes beyond the mark", i, there-off)
				}
				sent += there - off
			}
			sameBytes(t, "file", onDisk(t, root, "f"), data)
			if sent > int64(cuts)*spread {
				t.Errorf("round %d: %d bytes sent twice in %d cuts", i, sent, cuts)
			}
		}
	})
	t.Run("download", func(t *testing.T) {
		for i := range rounds {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			var got bytes.Buffer
			for cuts := 0; got.Len() < size; cuts++ {
				if cuts < 4 {
					proxy.SetCut(lab.Cut{Down: 20_000 + random.Int64N(size/2), How: lab.End(random.IntN(2))})
				} else {
					proxy.SetCut(lab.Cut{})
				}
				before := int64(got.Len())
				n, _ := attempt(t, srv, via, func(ctx context.Context, s transfer.Session) (int64, error) {
					return s.Get(ctx, "/f", before, transfer.Sink{W: &got, Size: size})
				})
				if n != int64(got.Len())-before {
					t.Fatalf("round %d: %d bytes arrived, %d were said to", i, int64(got.Len())-before, n)
				}
			}
			sameBytes(t, "download", got.Bytes(), data)
		}
	})
}

// attempt dials and transfers once; a broken connection is expected.
func attempt(t *testing.T, srv *lab.SFTP, via func(*Options), f func(context.Context, transfer.Session) (int64, error)) (int64, error) {
	t.Helper()
	s, err := Dial(t.Context(), labOptions(srv, via))
	if err != nil {
		return 0, err
	}
	defer s.Close()
	n, err := f(t.Context(), s)
	if f, ok := err.(*policy.Fault); ok && f.Cause != policy.CauseReset {
		t.Fatalf("got %s, want a reset", describe(err))
	}
	return n, err
}

func onDiskOrNothing(root string) []byte {
	b, _ := os.ReadFile(filepath.Join(root, "f")) // it may not be there yet
	return b
}

// TestManyAtOnce: one session, many goroutines, small and large, up and down.
func TestManyAtOnce(t *testing.T) {
	noLeaks(t)
	root := t.TempDir()
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: root}))
	var all sync.WaitGroup
	for i := range 24 {
		size := 1000
		if i%6 == 0 {
			size = 9 << 20
		}
		name := "/" + string(rune('a'+i))
		all.Go(func() {
			data := content(size + i)
			if n, err := s.Put(t.Context(), name, 0, sourceOf(data)); err != nil || n != int64(len(data)) {
				t.Errorf("put %s: %d, %s", name, n, describe(err))
				return
			}
			var b bytes.Buffer
			if _, err := s.Get(t.Context(), name, 0, transfer.Sink{W: &b, Size: int64(len(data))}); err != nil {
				t.Errorf("get %s: %s", name, describe(err))
			}
			sameBytes(t, name, b.Bytes(), data)
		})
	}
	all.Wait()
	_ = s.Close()
}

// TestGetIntoAFile: a file is written at the offset, whatever its position is.
func TestGetIntoAFile(t *testing.T) {
	root := fill(t)
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: root}))
	data := content(3 << 20)
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data[:1<<20]); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(77, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Get(t.Context(), "big", 1<<20, transfer.Sink{W: f, Size: 3 << 20}); err != nil || n != 2<<20 {
		t.Errorf("%d, %s", n, describe(err))
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "file", got, data)
}

// TestFirstChannelIsRelieved: once others fill the way, the channel of the
// requests about paths carries no file data any more. Where they can't, it goes on.
func TestFirstChannelIsRelieved(t *testing.T) {
	for name, tt := range map[string]struct {
		get         bool
		rtt         time.Duration
		least, most uint32 // requests in the second half
	}{
		"put near": {false, 0, 0, 5}, // close, stat
		"put far":  {false, 40 * time.Millisecond, 6, 80},
		"get far":  {true, 40 * time.Millisecond, 6, 80},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			srv := startLab(t, lab.SFTPConfig{Root: root, Quirks: lab.Quirks{MaxSessions: 3}})
			_, via := through(t, srv.Addr(), tt.rtt)
			s := dialLab(t, srv, via)
			if tt.rtt == 0 {
				s.conn.rtt.Store(1) // also on a machine that is busy
			}
			requests := func() uint32 {
				s.control.tap.mu.Lock()
				defer s.control.tap.mu.Unlock()
				return s.control.tap.nextID
			}
			const size = 40 << 20
			data, half := content(size), uint32(0)
			progress := func(pos int64) {
				if half == 0 && pos > size/2 {
					half = requests()
				}
			}
			var err error
			if tt.get {
				if err := os.WriteFile(filepath.Join(root, "f"), data, 0o644); err != nil {
					t.Fatal(err)
				}
				_, err = s.Get(t.Context(), "/f", 0, transfer.Sink{W: io.Discard, Size: size, Progress: progress})
			} else {
				src := sourceOf(data)
				src.Progress = progress
				_, err = s.Put(t.Context(), "/f", 0, src)
			}
			if err != nil {
				t.Fatal(describe(err))
			}
			if n := requests() - half; n < tt.least || n > tt.most {
				t.Errorf("%d requests in the second half, want %d to %d", n, tt.least, tt.most)
			}
		})
	}
}

// TestLateChannelIsKept: a channel that is there when the transfer is over waits
// for the next one, and holds up neither.
func TestLateChannelIsKept(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "channel", Nth: 2, Do: lab.Wait(700 * time.Millisecond)}}})
	s := dialLab(t, srv)
	began := time.Now()
	put(t, s, "/f", content(3<<20))
	if d := time.Since(began); d > 600*time.Millisecond {
		t.Errorf("the transfer took %v: it waited for a channel that it did not need", d)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		s.mu.Lock()
		idle := len(s.idle)
		s.mu.Unlock()
		if idle == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the channel is lost")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestLateHandleIsClosed: a handle that comes after nobody waits any more.
func TestLateHandleIsClosed(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: "OPEN", Do: lab.Wait(300 * time.Millisecond)}}})
	s := dialLab(t, srv)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "a", 0, transfer.Sink{W: io.Discard, Size: 5}); err == nil {
		t.Fatal("no error")
	}
	wait, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if err := srv.Await(wait, func(l lab.Log) bool { return l.Count("CLOSE") == 1 }); err != nil {
		t.Error(err)
	}
	if !s.Alive() {
		t.Error("the session did not survive a cancelled request")
	}
}
