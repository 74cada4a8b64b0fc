package transfertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// brokenEnv names the breakage with which TestBroken runs in a process of its own.
const brokenEnv = "XFER_TEST_BROKEN"

// breakages are sessions that are wrong in one way each, and the test of the
// suite that has to notice.
var breakages = []struct {
	name, test string
	breaks     func(s *brokenSession)
}{
	{"put swaps two blocks", "put and get", func(s *brokenSession) {
		s.putBytes = func(b []byte) []byte {
			if half := len(b) / 2; half > 0 {
				b = slices.Concat(b[half:2*half], b[:half], b[2*half:])
			}
			return b
		}
	}},
	{"put loses the last byte", "put and get", func(s *brokenSession) {
		s.putBytes = func(b []byte) []byte { return b[:max(0, len(b)-1)] }
	}},
	{"put loses the last byte of a stream", "put a stream", func(s *brokenSession) {
		s.putBytes = func(b []byte) []byte { return b[:max(0, len(b)-1)] }
	}},
	{"get loses the last byte", "put and get", func(s *brokenSession) {
		s.getBytes = func(b []byte) []byte { return b[:max(0, len(b)-1)] }
	}},
	{"put and get reverse the bytes, which hides it", "get into a file", func(s *brokenSession) {
		s.getBytes = reversed
		s.putBytes = reversed
	}},
	{"put ignores the offset", "put resumes", func(s *brokenSession) { s.putOffset = func(int64) int64 { return 0 } }},
	{"put is one off", "put resumes", func(s *brokenSession) { s.putOffset = func(off int64) int64 { return max(0, off-1) } }},
	{"put keeps the old tail", "put discards beyond the offset", func(s *brokenSession) { s.keepsTail = true }},
	{"put appends", "put over a longer file", func(s *brokenSession) { s.keepsTail = true }},
	{"put counts wrong", "put and get", func(s *brokenSession) { s.count = 1 }},
	{"put starts where the file stands", "put from a file", func(s *brokenSession) { s.putFromPosition = true }},
	{"get ignores the offset", "get resumes", func(s *brokenSession) { s.getOffset = func(int64) int64 { return 0 } }},
	{"get writes a file where it stands", "get into a file", func(s *brokenSession) { s.getToPosition = true }},
	{"a look ahead empties the file", "put begun", func(s *brokenSession) {
		s.extras = func(x *transfer.Extras) {
			begin := x.Begin
			x.Begin = func(ctx context.Context, p string, mode fs.FileMode) (transfer.Info, error) {
				i, err := begin(ctx, p, mode)
				if err == nil {
					_, _ = s.Session.Put(ctx, p, 0, transfer.Source{R: strings.NewReader("")})
				}
				return i, err
			}
		}
	}},
	{"a look ahead finds what is not there", "put begun", func(s *brokenSession) {
		s.extras = func(x *transfer.Extras) {
			x.Begin = func(context.Context, string, fs.FileMode) (transfer.Info, error) {
				return transfer.Info{Size: 7}, nil
			}
		}
	}},
	{"get takes any version", "get of a listed version", func(s *brokenSession) { s.anyVersion = true }},
	{"no progress", "progress", func(s *brokenSession) { s.noProgress = true }},
	{"source's error swallowed", "source fails", func(s *brokenSession) { s.swallows = true }},
	{"sink's error swallowed", "sink fails", func(s *brokenSession) { s.swallows = true }},
	{"remove of a missing file succeeds", "missing", func(s *brokenSession) { s.swallows = true }},
	{"list of a missing directory is empty", "missing", func(s *brokenSession) { s.listsMissing = true }},
	{"errors without a fault", "missing", func(s *brokenSession) { s.plainErrors = true }},
	{"faults without code", "missing", func(s *brokenSession) { s.fault = func(f *policy.Fault) { f.Code = 0 } }},
	{"faults without text", "mkdir and rmdir", func(s *brokenSession) { s.fault = func(f *policy.Fault) { f.Text = "" } }},
	{"faults of another protocol", "remove", func(s *brokenSession) { s.fault = func(f *policy.Fault) { f.Protocol = policy.Net } }},
	{"faults without operation", "missing", func(s *brokenSession) { s.fault = func(f *policy.Fault) { f.Op = "" } }},
	{"texts with escapes", "missing", func(s *brokenSession) { s.fault = func(f *policy.Fault) { f.Text = "\x1b[2J" } }},
	{"missing is called temporary", "missing", func(s *brokenSession) {
		s.fault = func(f *policy.Fault) { f.Protocol, f.Code = policy.SFTP, 7 }
	}},
	{"list drops names with a dash", "names", func(s *brokenSession) {
		s.entry = func(i *transfer.Info) bool { return !strings.HasPrefix(i.Name, "-") }
	}},
	{"list drops hidden files", "list", func(s *brokenSession) {
		s.entry = func(i *transfer.Info) bool { return !strings.HasPrefix(i.Name, ".") }
	}},
	{"list trims names", "names", func(s *brokenSession) {
		s.entry = func(i *transfer.Info) bool { i.Name = strings.TrimSpace(i.Name); return true }
	}},
	{"list loses one of many", "list of 10000 entries", func(s *brokenSession) {
		s.entry = func(i *transfer.Info) bool { return i.Name != "entry 07777" }
	}},
	{"list calls directories files", "list", func(s *brokenSession) {
		s.entry = func(i *transfer.Info) bool { i.Mode = 0o644; return true }
	}},
	{"list tells local time", "list", func(s *brokenSession) {
		s.entry = func(i *transfer.Info) bool { i.ModTime = i.ModTime.Add(time.Hour); return true }
	}},
	{"list goes on after an error", "list stops", func(s *brokenSession) { s.swallows = true }},
	{"stat tells a wrong size", "stat", func(s *brokenSession) { s.statSize = 1 }},
	{"names are cleaned", "names", func(s *brokenSession) { s.path = strings.TrimSpace }},
	{"globs are expanded", "names", func(s *brokenSession) { s.path = func(p string) string { return strings.ReplaceAll(p, "*", "x") } }},
	{"line breaks pass", "names refused before the wire", func(s *brokenSession) {
		s.path = func(p string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(p) }
	}},
	{"long names are cut", "names too long", func(s *brokenSession) { s.path = func(p string) string { return p[:min(len(p), 5+memoryNameMax)] } }},
	{"remove takes directories", "remove", func(s *brokenSession) { s.removesDirs = true }},
	{"rename replaces", "rename onto a file", func(s *brokenSession) { s.renameReplaces = true }},
	{"refused put makes the directory", "refused put leaves other files alone", func(s *brokenSession) { s.makesParents = true }},
	{"cancel of a put hangs", "cancel a put", func(s *brokenSession) { s.deaf = true }},
	{"a put that is cut short leaves a gap", "cancel a put", func(s *brokenSession) { s.gap = true }},
	{"cancel of a waiting source hangs", "cancel a put whose source waits", func(s *brokenSession) { s.readsAhead = true }},
	{"cancel of a get is ignored", "cancel a get", func(s *brokenSession) { s.deaf = true }},
	{"cancel is not heard while waiting", "cancel while the server is silent", func(s *brokenSession) { s.deaf = true }},
	{"deadline is not heard", "deadline", func(s *brokenSession) { s.deaf = true }},
	{"cancelled before, done all the same", "cancelled before", func(s *brokenSession) { s.deaf = true }},
	{"confused after a cancel", "cancel while the server is silent", func(s *brokenSession) { s.confused = true }},
	{"close does not unblock", "close unblocks", func(s *brokenSession) { s.closesLate = true }},
	{"alive after close", "close twice", func(s *brokenSession) { s.alwaysAlive = true }},
	{"says it can't set times", "extras", func(s *brokenSession) { s.extras = func(x *transfer.Extras) { x.SetModTime = nil } }},
	{"says it can't resume", "extras", func(s *brokenSession) { s.extras = func(x *transfer.Extras) { x.Resume = false } }},
	{"sets times in another zone", "set modification time", func(s *brokenSession) {
		s.extras = func(x *transfer.Extras) {
			set := x.SetModTime
			x.SetModTime = func(ctx context.Context, p string, t time.Time) error { return set(ctx, p, t.Add(time.Hour)) }
		}
	}},
	{"replace only removes", "replace", func(s *brokenSession) {
		s.extras = func(x *transfer.Extras) {
			x.Replace = func(ctx context.Context, _, to string) error { return s.Session.Remove(ctx, to) }
		}
	}},
	{"lstat follows", "links", func(s *brokenSession) {
		s.extras = func(x *transfer.Extras) { x.Lstat = s.Session.Stat }
	}},
	{"goroutines are left", "stat", func(s *brokenSession) { s.leaks = true }},
	{"open files are left", "open files", func(s *brokenSession) { s.leaksFiles = true }},
	{"parallel use mixes files up", "parallel", func(s *brokenSession) {
		s.putBytes = func(b []byte) []byte {
			if len(b) == 30_002 {
				return content(30_003)
			}
			return b
		}
	}},
}

// TestSuiteCatches: the suite would be worth nothing if it accepted these.
func TestSuiteCatches(t *testing.T) {
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test := strings.ReplaceAll(b.test, " ", "_")
			// The files that sessions leave open are counted after other tests.
			pattern := "^TestBroken$/^(stat|" + test + ")$"
			cmd := exec.Command(os.Args[0], "-test.run", pattern, "-test.timeout", "2m")
			cmd.Env = append(os.Environ(), brokenEnv+"="+b.name)
			out, err := cmd.CombinedOutput()
			exit, failed := errors.AsType[*exec.ExitError](err)
			if err != nil && !failed {
				t.Fatal(err)
			}
			if !failed || !strings.Contains(string(out), "--- FAIL: TestBroken/"+test) {
				t.Errorf("the test %q did not notice (%v)\n%s", b.test, exit, out)
			}
			t.Log(firstComplaint(string(out)))
		})
	}
}

// firstComplaint is what the suite said, for the eyes of whoever runs with -v.
func firstComplaint(out string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, ".go:") {
			return strings.TrimSpace(line)
		}
	}
	return out
}

// TestBroken is run by TestSuiteCatches, in a process of its own.
func TestBroken(t *testing.T) {
	name := os.Getenv(brokenEnv)
	if name == "" {
		return
	}
	soon = time.Second // the server is in memory
	f := newMemory().fixture()
	dial := f.Dial
	for _, b := range breakages {
		if b.name != name {
			continue
		}
		f.Dial = func(ctx context.Context) (transfer.Session, error) {
			s, err := dial(ctx)
			if err != nil {
				return nil, err
			}
			broken := &brokenSession{Session: s}
			b.breaks(broken)
			return broken, nil
		}
	}
	Run(t, f)
}

// brokenSession is the reference with one thing wrong.
type brokenSession struct {
	transfer.Session

	putBytes, getBytes   func([]byte) []byte
	putOffset, getOffset func(int64) int64
	count, statSize      int64
	path                 func(string) string
	entry                func(*transfer.Info) bool
	fault                func(*policy.Fault)
	extras               func(*transfer.Extras)

	keepsTail, putFromPosition, getToPosition, noProgress bool
	swallows, listsMissing, plainErrors                   bool
	removesDirs, renameReplaces, makesParents             bool
	deaf, readsAhead, confused                            bool
	closesLate, alwaysAlive                               bool
	leaks, leaksFiles, gap                                bool
	anyVersion                                            bool

	late *transfer.Info // the reply that a cancelled Stat did not wait for
}

// ctx is deaf to its caller where that is what is broken, but not to Close: a
// test that gave up has to end.
func (s *brokenSession) ctx(ctx context.Context) context.Context {
	if s.deaf || s.closesLate {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

func (s *brokenSession) spell(p string) string {
	if s.path != nil {
		return s.path(p)
	}
	return p
}

// spoil changes an error.
func (s *brokenSession) spoil(err error) error {
	f, ok := errors.AsType[*policy.Fault](err)
	switch {
	case err == nil:
	case s.swallows:
		return nil
	case s.plainErrors:
		return errors.New(err.Error())
	case ok && s.fault != nil && f.Protocol != policy.Local:
		s.fault(f)
	}
	return err
}

func reversed(b []byte) []byte {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return b
}

func (s *brokenSession) Put(ctx context.Context, p string, off int64, src transfer.Source) (int64, error) {
	p = s.spell(p)
	if s.putOffset != nil {
		off = s.putOffset(off)
	}
	if s.noProgress {
		src.Progress = nil
	}
	if s.makesParents {
		dir, _ := transfer.Split(p)
		_ = s.Session.Mkdir(ctx, dir)
	}
	if s.readsAhead {
		b, _ := io.ReadAll(src.R)
		src.R = bytes.NewReader(b)
	}
	if s.gap {
		src.R = io.MultiReader(io.LimitReader(src.R, 1_000_000), bytes.NewReader(make([]byte, 1000)), src.R)
	}
	if f, ok := src.R.(*os.File); ok && s.putFromPosition {
		src.R = struct{ io.Reader }{f}
	}
	if s.putBytes != nil {
		b, _ := io.ReadAll(src.R)
		src.R = bytes.NewReader(s.putBytes(b))
	}
	var tail bytes.Buffer
	if s.keepsTail {
		if _, err := s.Session.Get(ctx, p, 0, transfer.Sink{W: &tail, Size: -1}); err == nil {
			b, _ := io.ReadAll(src.R)
			if tail.Len() > len(b) {
				b = append(b, tail.Bytes()[len(b):]...)
			}
			n, err := s.Session.Put(ctx, p, off, whole(b))
			return min(n, src.Size-off), err
		}
	}
	n, err := s.Session.Put(s.ctx(ctx), p, off, src)
	return n + s.count, s.spoil(err)
}

func (s *brokenSession) Get(ctx context.Context, p string, off int64, dst transfer.Sink) (int64, error) {
	p = s.spell(p)
	if s.getOffset != nil {
		off = s.getOffset(off)
	}
	if s.noProgress {
		dst.Progress = nil
	}
	if s.anyVersion {
		dst.Version = nil
	}
	if f, ok := dst.W.(*os.File); ok && s.getToPosition {
		dst.W = struct{ io.Writer }{f}
	}
	if s.getBytes != nil {
		var all bytes.Buffer
		_, err := s.Session.Get(ctx, p, off, transfer.Sink{W: &all, Size: -1})
		n, _ := dst.W.Write(s.getBytes(all.Bytes()))
		return int64(n), err
	}
	n, err := s.Session.Get(s.ctx(ctx), p, off, dst)
	return n, s.spoil(err)
}

func (s *brokenSession) Stat(ctx context.Context, p string) (transfer.Info, error) {
	if s.leaks {
		go func() { <-make(chan struct{}) }()
	}
	if s.late != nil {
		i := *s.late
		s.late = nil
		return i, nil
	}
	i, err := s.Session.Stat(s.ctx(ctx), s.spell(p))
	if s.confused && errors.Is(err, context.Canceled) {
		s.late = &transfer.Info{Name: "file", Size: 100}
	}
	i.Size += s.statSize
	return i, s.spoil(err)
}

func (s *brokenSession) List(ctx context.Context, dir string, each func(transfer.Info) error) error {
	err := s.Session.List(s.ctx(ctx), s.spell(dir), func(i transfer.Info) error {
		if s.entry != nil && !s.entry(&i) {
			return nil
		}
		err := each(i)
		if s.swallows {
			return nil
		}
		return err
	})
	if s.listsMissing {
		return nil
	}
	return s.spoil(err)
}

func (s *brokenSession) Rename(ctx context.Context, from, to string) error {
	if replace := s.Session.Extras().Replace; s.renameReplaces {
		return replace(ctx, from, to)
	}
	return s.spoil(s.Session.Rename(s.ctx(ctx), s.spell(from), s.spell(to)))
}

func (s *brokenSession) Remove(ctx context.Context, p string) error {
	err := s.Session.Remove(s.ctx(ctx), s.spell(p))
	if err != nil && s.removesDirs {
		_ = s.Session.Rmdir(ctx, p)
	}
	return s.spoil(err)
}

func (s *brokenSession) Mkdir(ctx context.Context, p string) error {
	return s.spoil(s.Session.Mkdir(s.ctx(ctx), s.spell(p)))
}

func (s *brokenSession) Rmdir(ctx context.Context, p string) error {
	return s.spoil(s.Session.Rmdir(s.ctx(ctx), s.spell(p)))
}

func (s *brokenSession) Extras() transfer.Extras {
	x := s.Session.Extras()
	if s.extras != nil {
		s.extras(&x)
	}
	return x
}

// leakedFiles keeps them from the garbage collector, which would close them.
var leakedFiles []*os.File

func (s *brokenSession) Alive() bool { return s.alwaysAlive || s.Session.Alive() }

func (s *brokenSession) Close() error {
	if s.leaksFiles {
		f, _ := os.Open(os.Args[0])
		leakedFiles = append(leakedFiles, f)
	}
	if s.closesLate {
		return nil
	}
	return s.Session.Close()
}
