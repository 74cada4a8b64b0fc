package transfer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// bench is a local directory and a server in memory, on a clock that jumps.
type bench struct {
	*testing.T
	server *memServer
	link   *Link
	engine *policy.Engine
	dir    string
	events []policy.Remedy
}

// onBench runs f in a bubble: the engine's waits take no time.
func onBench(t *testing.T, f func(b *bench)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, server: newMemServer(), dir: dir}
		b.link = NewLink(Location{Scheme: SchemeFTP, Host: "server", Port: 21, User: "acme"}, b.server.dial, ModeAuto, nil)
		b.engine = &policy.Engine{Limits: policy.DefaultLimits(), Observe: func(e policy.Event) { b.events = append(b.events, e.Remedy) }}
		f(b)
	})
}

func (b *bench) local(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(name string, data []byte) string {
	b.Helper()
	path := b.local(name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		b.Fatal(err)
	}
	return path
}

func (b *bench) put(job Job) (Result, error) {
	job.Direction = Put
	return Run(b.Context(), b.link, job, b.engine, Observer{})
}

func (b *bench) get(job Job) (Result, error) {
	job.Direction = Get
	return Run(b.Context(), b.link, job, b.engine, Observer{})
}

// wantOnly checks that the server holds exactly these files.
func (b *bench) wantOnly(files map[string]string) {
	b.Helper()
	for name, want := range files {
		if got, ok := b.server.files[name]; !ok || string(got) != want {
			b.Errorf("%s on the server: %d bytes (there: %v), want %d", name, len(got), ok, len(want))
		}
	}
	for name := range b.server.files {
		if _, ok := files[name]; !ok {
			b.Errorf("left on the server: %s", name)
		}
	}
}

// wantLocal checks that the local directory holds exactly these files.
func (b *bench) wantLocal(files map[string]string) {
	b.Helper()
	left, err := os.ReadDir(b.dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range left {
		want, ok := files[e.Name()]
		if !ok {
			b.Errorf("left here: %s", e.Name())
			continue
		}
		if got, _ := os.ReadFile(b.local(e.Name())); string(got) != want {
			b.Errorf("%s here: %d bytes, want %d", e.Name(), len(got), len(want))
		}
		delete(files, e.Name())
	}
	for name := range files {
		b.Errorf("missing here: %s", name)
	}
}

func wantKind(t *testing.T, err error, kind policy.Kind) *policy.GaveUp {
	t.Helper()
	g, ok := errors.AsType[*policy.GaveUp](err)
	if !ok {
		t.Fatalf("error %v (%T), want a GaveUp of kind %s", err, err, kind)
	}
	if g.Verdict.Kind != kind {
		t.Fatalf("kind %s (%v), want %s", g.Verdict.Kind, err, kind)
	}
	return g
}

// random is n bytes that look like nothing else.
func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(data)
	return data
}

// cuts breaks the connection after each of the given numbers of bytes in turn.
func cuts(op string, at ...int64) func(string, string) int64 {
	return func(o, _ string) int64 {
		if o != op || len(at) == 0 {
			return -1
		}
		n := at[0]
		at = at[1:]
		return n
	}
}

// failing gives err for the first n calls of op.
func failing(n int, op string, err func(path string) error) func(string, string) error {
	return func(o, path string) error {
		if o != op || n == 0 {
			return nil
		}
		n--
		return err(path)
	}
}

func TestPutIsWholeOrNotAtAll(t *testing.T) {
	content := string(random(300_000))
	onBench(t, func(b *bench) {
		src := b.write("a.csv", []byte(content))
		when := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
		if err := os.Chtimes(src, when, when); err != nil {
			b.Fatal(err)
		}
		b.server.files["in/a.csv"] = []byte("old")
		res, err := b.put(Job{Local: src, Remote: "in/a.csv"})
		if err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"in/a.csv": content})
		if !b.server.times["in/a.csv"].Equal(when) {
			b.Errorf("time %v, want %v", b.server.times["in/a.csv"], when)
		}
		if res.Size != 300_000 || res.Sent != 300_000 || res.Tries != 1 || res.Remote != "in/a.csv" {
			b.Errorf("result %+v", res)
		}
		// The time is set before the file appears under its name.
		order := strings.Join(b.server.calls, "\n")
		if strings.Index(order, "settime") > strings.Index(order, "rename") {
			b.Errorf("time set after the rename:\n%s", order)
		}
	})
}

func TestPutRefusedLeavesTheTargetAlone(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.files["a.csv"] = []byte("old")
		b.server.fault = failing(99, "put", func(p string) error { return reply(550, "STOR", p, "Permission denied") })
		_, err := b.put(Job{Local: b.write("a.csv", []byte("new")), Remote: "a.csv"})
		wantKind(b.T, err, policy.KindPermission)
		b.wantOnly(map[string]string{"a.csv": "old"})
		if n := b.server.count("put"); n != 1 {
			b.Errorf("tried %d times, want once", n)
		}
	})
}

func TestPutResumesFromWhatTheServerHas(t *testing.T) {
	content := random(3_000_000)
	for _, spread := range []int64{0, 500_000} {
		onBench(t, func(b *bench) {
			b.server.extras.Spread = spread
			b.server.cut = cuts("put", 1_000_000, 900_000)
			res, err := b.put(Job{Local: b.write("big", content), Remote: "big"})
			if err != nil {
				b.Fatal(err)
			}
			b.wantOnly(map[string]string{"big": string(content)})
			if res.Tries != 3 || b.server.dials != 3 {
				b.Errorf("%d tries, %d logins, want 3 of each", res.Tries, b.server.dials)
			}
		})
	}
}

// TestPutGoesOnAtOnce: who has taken a good deal of a file is there, although FTP
// does not say how much; who breaks off after a little gets a pause.
func TestPutGoesOnAtOnce(t *testing.T) {
	content := random(underWay + 4<<20)
	for _, test := range []struct {
		cut    int64
		pauses bool
	}{{underWay + 1<<20, false}, {1 << 20, true}} {
		onBench(t, func(b *bench) {
			b.server.cut = cuts("put", test.cut)
			began := time.Now()
			if _, err := b.put(Job{Local: b.write("big", content), Remote: "big"}); err != nil {
				b.Fatal(err)
			}
			if took := time.Since(began); (took > 0) != test.pauses {
				b.Errorf("cut after %d bytes: a pause of %v", test.cut, took)
			}
		})
	}
}

// TestPutResumesAcrossRuns: the budget of the first run is used up; the second
// goes on, after comparing what is there.
func TestPutResumesAcrossRuns(t *testing.T) {
	content := random(4_000_000)
	onBench(t, func(b *bench) {
		src := b.write("big", content)
		b.engine.Limits.Tries = 1
		b.server.cut = cuts("put", 2_500_000)
		_, err := b.put(Job{Local: src, Remote: "big"})
		wantKind(b.T, err, policy.KindTemporary)
		if len(b.server.files) != 1 {
			b.Fatalf("the part was not kept: %d files", len(b.server.files))
		}
		res, err := b.put(Job{Local: src, Remote: "big"})
		if err != nil {
			b.Fatal(err)
		}
		if res.Resumed != 2_500_000 {
			b.Errorf("resumed at %d, want 2500000", res.Resumed)
		}
		b.wantOnly(map[string]string{"big": string(content)})
	})
}

// TestPutDoesNotContinueSomethingElse: the part has the right name and a
// plausible size, but other bytes.
func TestPutDoesNotContinueSomethingElse(t *testing.T) {
	content := random(4_000_000)
	onBench(t, func(b *bench) {
		src := b.write("big", content)
		b.engine.Limits.Tries = 1
		b.server.cut = cuts("put", 2_500_000)
		if _, err := b.put(Job{Local: src, Remote: "big"}); err == nil {
			b.Fatal("the cut did not happen")
		}
		for name := range b.server.files {
			b.server.files[name][2_499_999] ^= 1
		}
		res, err := b.put(Job{Local: src, Remote: "big"})
		if err != nil {
			b.Fatal(err)
		}
		if res.Resumed != 0 {
			b.Errorf("resumed at %d, want from zero", res.Resumed)
		}
		b.wantOnly(map[string]string{"big": string(content)})
	})
}

// TestPutOfAChangedSourceStartsAnew: the part belongs to an older version.
func TestPutOfAChangedSourceStartsAnew(t *testing.T) {
	onBench(t, func(b *bench) {
		src := b.write("big", random(4_000_000))
		b.engine.Limits.Tries = 1
		b.server.cut = cuts("put", 2_500_000)
		if _, err := b.put(Job{Local: src, Remote: "big"}); err == nil {
			b.Fatal("the cut did not happen")
		}
		content := random(4_000_001)
		b.write("big", content)
		res, err := b.put(Job{Local: src, Remote: "big"})
		if err != nil || res.Resumed != 0 {
			b.Fatalf("resumed at %d, %v", res.Resumed, err)
		}
		if string(b.server.files["big"]) != string(content) {
			b.Error("the content is not the new version's")
		}
	})
}

// TestLostReplies: the deed was done, the answer never came; nothing is repeated.
func TestLostReplies(t *testing.T) {
	content := string(random(2_000_000))
	for _, op := range []string{"put", "rename"} {
		t.Run(op, func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.server.after = failing(1, op, func(p string) error { return reset(policy.Finish, op, p) })
				_, err := b.put(Job{Local: b.write("a", []byte(content)), Remote: "a"})
				if err != nil {
					b.Fatal(err)
				}
				b.wantOnly(map[string]string{"a": content})
				if n := b.server.count(op); n != 1 {
					b.Errorf("%s was done %d times, want once", op, n)
				}
			})
		})
	}
}

// TestLostReplyOfAnIncompletePut: the look shows that it did not arrive.
func TestLostReplyOfAnIncompletePut(t *testing.T) {
	content := string(random(2_000_000))
	onBench(t, func(b *bench) {
		b.server.after = failing(1, "put", func(p string) error {
			b.server.files[p] = b.server.files[p][:1_500_000]
			return reset(policy.Finish, "put", p)
		})
		if _, err := b.put(Job{Local: b.write("a", []byte(content)), Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": content})
		if n := b.server.count("put"); n != 2 {
			b.Errorf("put %d times, want 2", n)
		}
	})
}

// TestSilentTruncation: the server says "complete" of a file that is not.
func TestSilentTruncation(t *testing.T) {
	content := string(random(2_000_000))
	onBench(t, func(b *bench) {
		n := 0
		b.server.after = func(op, path string) error {
			if n++; op == "put" && n == 1 {
				b.server.files[path] = b.server.files[path][:1_000_000]
			}
			return nil
		}
		if _, err := b.put(Job{Local: b.write("a", []byte(content)), Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": content})
	})
	onBench(t, func(b *bench) { // and one that always truncates
		b.server.after = func(op, path string) error {
			if op == "put" {
				b.server.files[path] = b.server.files[path][:10]
			}
			return nil
		}
		b.server.files["a"] = []byte("old")
		_, err := b.put(Job{Local: b.write("a", []byte(content)), Remote: "a"})
		wantKind(b.T, err, policy.KindContent)
		b.wantOnly(map[string]string{"a": "old"})
	})
}

// TestRenameOntoExisting: a server that refuses it, and one that then fails.
func TestRenameOntoExisting(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.keepsTarget = true
		b.server.files["a"] = []byte("old")
		if _, err := b.put(Job{Local: b.write("a", []byte("new")), Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": "new"})
	})
	onBench(t, func(b *bench) {
		b.server.keepsTarget = true
		b.server.files["a"] = []byte("old")
		b.server.fault = func(op, path string) error {
			if op == "rename" && strings.Contains(path, ".part a") {
				return reply(553, "RNTO", "a", "never")
			}
			return nil
		}
		_, err := b.put(Job{Local: b.write("a", []byte("new")), Remote: "a"})
		if err == nil {
			b.Fatal("no error")
		}
		b.wantOnly(map[string]string{"a": "old"})
	})
}

// TestRenameOntoDirectory: what is refused because a directory is there moves no
// directory aside.
func TestRenameOntoDirectory(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.keepsTarget = true
		b.server.files["a"] = nil
		_, err := b.put(Job{Local: b.write("a", []byte("new")), Remote: "a"})
		if err == nil {
			b.Fatal("no error")
		}
		if dir, there := b.server.files["a"]; !there || dir != nil {
			b.Error("the directory is gone")
		}
		if n := b.server.count("rename"); n != 1 {
			b.Errorf("%d renames: %v", n, b.server.calls)
		}
	})
}

// TestKnownNoRename: where a server does not rename, the target's own name is
// written only if there is no old content to lose.
func TestKnownNoRename(t *testing.T) {
	for _, there := range []bool{false, true} {
		onBench(t, func(b *bench) {
			b.server.fault = failing(99, "rename", func(p string) error { return reply(502, "RNFR", p, "not here") })
			b.anew(Facts{factNoRename: {Value: "refused", Reason: "502", At: time.Now()}})
			if there {
				b.server.files["a"] = []byte("old")
			}
			_, err := b.put(Job{Local: b.write("a", []byte("new")), Remote: "a"})
			if (err == nil) == there {
				b.Errorf("there %v: %v", there, err)
			}
			b.wantOnly(map[string]string{"a": map[bool]string{false: "new", true: "old"}[there]})
		})
	}
}

// liar is a session whose Get counts more than it writes.
type liar struct{ Session }

func (l liar) Get(ctx context.Context, path string, off int64, dst Sink) (int64, error) {
	n, err := l.Session.Get(ctx, path, off, dst)
	return n + 1, err
}

// TestGetLooksAtTheDisk: a file gets its name only if what was counted is there.
func TestGetLooksAtTheDisk(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.files["a"] = []byte("new")
		b.link = NewLink(b.link.Location(), func(ctx context.Context, h Hints) (Session, error) {
			s, err := b.server.dial(ctx, h)
			return liar{s}, err
		}, ModeAuto, nil)
		b.write("a", []byte("old"))
		_, err := b.get(Job{Remote: "a", Local: b.local("a")})
		wantKind(b.T, err, policy.KindContent)
		b.wantLocal(map[string]string{"a": "old"})
	})
}

// TestGetKeepsTheMode: a file that only its owner could read stays one.
func TestGetKeepsTheMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	onBench(t, func(b *bench) {
		b.server.files["a"] = []byte("new")
		dst := b.write("a", []byte("old"))
		if err := os.Chmod(dst, 0o600); err != nil {
			b.Fatal(err)
		}
		if _, err := b.get(Job{Remote: "a", Local: dst}); err != nil {
			b.Fatal(err)
		}
		if info, err := os.Stat(dst); err != nil || info.Mode().Perm() != 0o600 {
			b.Errorf("%v %v", info.Mode(), err)
		}
	})
}

func TestOnExists(t *testing.T) {
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		on      OnExists
		srcTime time.Time
		want    map[string]string
		skipped bool
		kind    policy.Kind
	}{
		{on: Replace, want: map[string]string{"a.csv": "new"}},
		{on: Skip, want: map[string]string{"a.csv": "old"}, skipped: true},
		{on: Fail, want: map[string]string{"a.csv": "old"}, kind: policy.KindTarget},
		{on: KeepBoth, want: map[string]string{"a.csv": "old", "a.1.csv": "new"}},
		{on: Newer, srcTime: old.Add(-time.Hour), want: map[string]string{"a.csv": "old"}, skipped: true},
		{on: Newer, srcTime: old, want: map[string]string{"a.csv": "old"}, skipped: true},
		{on: Newer, srcTime: old.Add(time.Hour), want: map[string]string{"a.csv": "new"}},
	}
	check := func(t *testing.T, tt struct {
		on      OnExists
		srcTime time.Time
		want    map[string]string
		skipped bool
		kind    policy.Kind
	}, res Result, err error) {
		t.Helper()
		if tt.kind != 0 {
			wantKind(t, err, tt.kind)
		} else if err != nil {
			t.Fatal(err)
		}
		if (res.Skipped != "") != tt.skipped {
			t.Errorf("skipped %q, want skipped: %v", res.Skipped, tt.skipped)
		}
	}
	for _, tt := range tests {
		t.Run("put "+tt.on.String(), func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.server.files["a.csv"], b.server.times["a.csv"] = []byte("old"), old
				src := b.write("source", []byte("new"))
				if !tt.srcTime.IsZero() {
					_ = os.Chtimes(src, tt.srcTime, tt.srcTime)
				}
				res, err := b.put(Job{Local: src, Remote: "a.csv", OnExists: tt.on})
				check(b.T, tt, res, err)
				b.wantOnly(tt.want)
			})
		})
		t.Run("get "+tt.on.String(), func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.server.files["source"], b.server.times["source"] = []byte("new"), tt.srcTime
				dst := b.write("a.csv", []byte("old"))
				_ = os.Chtimes(dst, old, old)
				res, err := b.get(Job{Local: dst, Remote: "source", OnExists: tt.on})
				check(b.T, tt, res, err)
				b.wantLocal(tt.want)
			})
		})
	}
}

// TestTargetAppears: one that appears while the file is on its way is seen before
// the file gets its name, and nothing is left behind.
func TestTargetAppears(t *testing.T) {
	for on, skipped := range map[OnExists]bool{Skip: true, Fail: false} {
		check := func(t *testing.T, res Result, err error) {
			t.Helper()
			if !skipped {
				wantKind(t, err, policy.KindTarget)
			} else if err != nil || res.Skipped == "" {
				t.Errorf("skipped %q, %v", res.Skipped, err)
			}
		}
		onBench(t, func(b *bench) {
			b.server.after = func(op, _ string) error {
				if op == "put" {
					b.server.files["a"] = []byte("other")
				}
				return nil
			}
			res, err := b.put(Job{Local: b.write("a", []byte("new")), Remote: "a", OnExists: on})
			check(b.T, res, err)
			b.wantOnly(map[string]string{"a": "other"})
		})
		onBench(t, func(b *bench) {
			b.server.files["a"] = []byte("new")
			b.server.after = func(op, _ string) error {
				if op == "get" {
					b.write("a", []byte("other"))
				}
				return nil
			}
			res, err := b.get(Job{Local: b.local("a"), Remote: "a", OnExists: on})
			check(b.T, res, err)
			b.wantLocal(map[string]string{"a": "other"})
		})
	}
}

func TestInPlace(t *testing.T) {
	content := string(random(2_000_000))
	onBench(t, func(b *bench) {
		b.server.fault = failing(99, "rename", func(p string) error { return reply(502, "RNFR", p, "not here") })
		b.server.files["a"] = []byte(strings.Repeat("old", 1_000_000))
		b.server.cut = cuts("put", 1_200_000)
		if _, err := b.put(Job{Local: b.write("a", []byte(content)), Remote: "a", InPlace: true}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": content})
	})
	onBench(t, func(b *bench) {
		link := b.local("link")
		if err := os.Symlink(b.write("old", []byte(strings.Repeat("old", 1_000_000))), link); err != nil {
			b.Fatal(err)
		}
		b.server.files["a"] = []byte(content)
		b.server.cut = cuts("get", 1_200_000)
		res, err := b.get(Job{Local: link, Remote: "a", InPlace: true})
		if err != nil || res.Tries != 2 {
			b.Fatalf("%d tries, %v", res.Tries, err)
		}
		b.wantLocal(map[string]string{"old": content, "link": content})
		if _, err := os.Readlink(link); err != nil {
			b.Errorf("the link is one no more: %v", err)
		}
		b.server.fault = failing(99, "get", func(p string) error { return reply(550, "RETR", p, "no") })
		if _, err := b.get(Job{Local: link, Remote: "a", InPlace: true}); err == nil {
			b.Error("no failure")
		}
		b.wantLocal(map[string]string{"old": "", "link": ""}) // partial, as promised, and there
	})
}

// TestStreamIsNotSentTwice: stdin can't be read again, so a break is final; a
// refusal before the first byte is not.
func TestStreamIsNotSentTwice(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.fault = failing(2, "put", func(p string) error { return reply(450, "STOR", p, "busy") })
		if _, err := b.put(Job{Local: "-", In: strings.NewReader("streamed"), Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": "streamed"})
	})
	onBench(t, func(b *bench) {
		b.server.cut = cuts("put", 4)
		_, err := b.put(Job{Local: "-", In: strings.NewReader("streamed"), Remote: "a"})
		g := wantKind(b.T, err, policy.KindLocal)
		if g.Last.Cause != policy.CauseLocalStream {
			b.Errorf("cause %s", g.Last.Cause)
		}
		b.wantOnly(map[string]string{})
	})
	onBench(t, func(b *bench) { // complete, only the reply was lost
		b.server.after = failing(1, "put", func(p string) error { return reset(policy.Finish, "STOR", p) })
		if _, err := b.put(Job{Local: "-", In: strings.NewReader("streamed"), Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": "streamed"})
	})
}

// TestSourceThatChanges is not published.
func TestSourceThatChanges(t *testing.T) {
	onBench(t, func(b *bench) {
		src := b.write("a", []byte("version 1"))
		b.server.files["a"] = []byte("old")
		b.server.after = func(op, _ string) error {
			if op == "put" {
				b.write("a", []byte("version 2!"))
			}
			return nil
		}
		_, err := b.put(Job{Local: src, Remote: "a"})
		g := wantKind(b.T, err, policy.KindLocal)
		if g.Last.Cause != policy.CauseLocalChanged {
			b.Errorf("cause %s", g.Last.Cause)
		}
		b.wantOnly(map[string]string{"a": "old"})
	})
}

func TestPutOfNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		_, err := b.put(Job{Local: b.local("nowhere"), Remote: "a"})
		wantKind(b.T, err, policy.KindMissing)
		_, err = b.put(Job{Local: b.dir, Remote: "a"})
		wantKind(b.T, err, policy.KindLocal)
		if b.server.dials != 0 {
			b.Error("a server was asked although there is nothing to send")
		}
		if _, err := b.put(Job{Local: b.write("empty", nil), Remote: "empty"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"empty": ""})
	})
}

// TestLoginIsTriedOnce: a refused credential is never sent again.
func TestLoginIsTriedOnce(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.fault = failing(99, "dial", func(string) error {
			return &policy.Fault{Protocol: policy.FTP, Phase: policy.Auth, Op: "PASS", Code: 530, Text: "Login incorrect."}
		})
		_, err := b.put(Job{Local: b.write("a", []byte("x")), Remote: "a"})
		wantKind(b.T, err, policy.KindPermission)
		if b.server.dials != 1 {
			b.Errorf("%d logins, want 1", b.server.dials)
		}
	})
}

func TestTimeThatCannotBeSetIsAWarning(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.fault = failing(99, "settime", func(p string) error { return reply(550, "MFMT", p, "Permission denied") })
		res, err := b.put(Job{Local: b.write("a", []byte("x")), Remote: "a"})
		if err != nil || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "550 Permission denied") {
			b.Errorf("%v, warnings %q", err, res.Warnings)
		}
		b.wantOnly(map[string]string{"a": "x"})
	})
}

func TestInterruptedPutKeepsThePart(t *testing.T) {
	content := random(3_000_000)
	onBench(t, func(b *bench) {
		ctx, cancel := context.WithCancel(b.Context())
		src := b.write("a", content)
		b.server.cut = cuts("put", 2_000_000)
		b.engine.Observe = func(policy.Event) { cancel() } // Ctrl-C while it waits
		_, err := Run(ctx, b.link, Job{Local: src, Remote: "a"}, b.engine, Observer{})
		wantKind(b.T, err, policy.KindCancelled)
		res, err := b.put(Job{Local: src, Remote: "a"})
		if err != nil || res.Resumed != 2_000_000 {
			b.Errorf("resumed at %d: %v", res.Resumed, err)
		}
		b.wantOnly(map[string]string{"a": string(content)})
	})
}

func TestGet(t *testing.T) {
	content := string(random(3_000_000))
	when := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	onBench(t, func(b *bench) {
		b.server.files["out/a"], b.server.times["out/a"] = []byte(content), when
		b.server.cut = cuts("get", 1_000_000, 500_000)
		res, err := b.get(Job{Remote: "out/a", Local: b.local("a")})
		if err != nil {
			b.Fatal(err)
		}
		b.wantLocal(map[string]string{"a": content})
		info, _ := os.Stat(b.local("a"))
		if !info.ModTime().Equal(when) {
			b.Errorf("time %v, want %v", info.ModTime(), when)
		}
		if res.Tries != 3 || res.Sent != int64(len(content)) {
			b.Errorf("%d tries, %d bytes, want 3 and %d: nothing twice", res.Tries, res.Sent, len(content))
		}
	})
}

// TestGetListed: what was listed saves a question, unless the file has changed since.
func TestGetListed(t *testing.T) {
	when := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	for _, tt := range []struct {
		name     string
		listed   Info
		compares bool
		inPlace  bool
		cut      int64 // the first Get breaks after so many bytes, and the file changes
		stats    int
	}{
		{name: "as listed", listed: Info{Size: 3, ModTime: when}, compares: true},
		{name: "changed since", listed: Info{Size: 3, ModTime: when.Add(-time.Second)}, compares: true, stats: 1},
		{name: "changed since, in place", listed: Info{Size: 5, ModTime: when.Add(-time.Second)}, compares: true, inPlace: true, stats: 1},
		{name: "changed between two tries", listed: Info{Size: 5, ModTime: when.Add(-time.Second)}, compares: true, cut: 4, stats: 1},
		{name: "listed to the minute", listed: Info{Size: 3, ModTime: when.Truncate(time.Minute), Precision: time.Minute}, compares: true},
		{name: "changed, listed to the minute", listed: Info{Size: 3, ModTime: when.Add(-time.Hour), Precision: time.Minute}, compares: true, stats: 1},
		{name: "listed without a time", listed: Info{Size: 3}, compares: true, stats: 1},
		{name: "a link was listed", listed: Info{Size: 3, ModTime: when, Mode: fs.ModeSymlink | 0o777}, compares: true, stats: 1},
		{name: "listed without a size", listed: Info{Size: -1, ModTime: when}, compares: true, stats: 1},
		{name: "the server does not compare", listed: Info{Size: 3, ModTime: when.Add(-time.Second)}, stats: 1},
	} {
		onBench(t, func(b *bench) {
			b.server.files["a"], b.server.times["a"] = []byte("new"), when
			b.server.extras.GetCompares = tt.compares
			if tt.cut > 0 {
				b.server.files["a"], b.server.times["a"] = []byte("older"), tt.listed.ModTime
				b.server.cut = func(string, string) int64 {
					if b.server.count("get") > 1 {
						return -1
					}
					b.server.files["a"], b.server.times["a"] = []byte("new"), when
					return tt.cut
				}
			}
			if _, err := b.link.Session(b.Context()); err != nil {
				b.Fatal(err)
			}
			res, err := b.get(Job{Remote: "a", Local: b.local("a"), Listed: &tt.listed, InPlace: tt.inPlace})
			if err != nil {
				b.Fatalf("%s: %v", tt.name, err)
			}
			b.wantLocal(map[string]string{"a": "new"})
			info, _ := os.Stat(b.local("a"))
			if !info.ModTime().Equal(when) || res.Size != 3 {
				b.Errorf("%s: time %v, want %v; size %d", tt.name, info.ModTime(), when, res.Size)
			}
			if n := b.server.count("stat"); n != tt.stats {
				b.Errorf("%s: asked %d times, want %d", tt.name, n, tt.stats)
			}
			if faults := len(b.events); faults != int(min(tt.cut, 1)) {
				b.Errorf("%s: %d events: %v; a change since the listing is no failure", tt.name, faults, b.events)
			}
		})
	}
}

// breakGet is a run that gets a in part; it gives the part's name.
func (b *bench) breakGet() string {
	b.Helper()
	b.engine.Limits.Tries = 1
	b.server.cut = cuts("get", 2_000_000)
	_, err := b.get(Job{Remote: "a", Local: b.local("a")})
	wantKind(b.T, err, policy.KindTemporary)
	parts, _ := filepath.Glob(b.local(".a.xfer-*.part"))
	if len(parts) != 1 {
		b.Fatalf("parts: %v", parts)
	}
	return parts[0]
}

func TestGetResumesAcrossRuns(t *testing.T) {
	content := random(3_000_000)
	for _, damage := range []bool{false, true} {
		onBench(t, func(b *bench) {
			b.server.files["a"] = content
			part := b.breakGet()
			b.engine.Limits.Tries = 3
			if damage {
				data, _ := os.ReadFile(part)
				data[1_999_000] ^= 1
				_ = os.WriteFile(part, data, 0o644)
			}
			res, err := b.get(Job{Remote: "a", Local: b.local("a")})
			if err != nil {
				b.Fatal(err)
			}
			b.wantLocal(map[string]string{"a": string(content)})
			if !damage && res.Resumed != 2_000_000 {
				b.Errorf("resumed at %d", res.Resumed)
			}
		})
	}
}

// TestGetListedComparesParts: a part that an earlier run left of the file as it is
// now is not taken on trust because the file as it was listed was tried first.
func TestGetListedComparesParts(t *testing.T) {
	content := random(3_000_000)
	when := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	onBench(t, func(b *bench) {
		b.server.extras.GetCompares = true
		b.server.files["a"], b.server.times["a"] = content, when
		b.engine.Limits.Tries = 1
		b.server.cut = cuts("get", 2_000_000)
		_, err := b.get(Job{Remote: "a", Local: b.local("a")})
		wantKind(b.T, err, policy.KindTemporary)
		parts, _ := filepath.Glob(b.local(".a.xfer-*.part"))
		if len(parts) != 1 {
			b.Fatalf("parts: %v", parts)
		}
		data, _ := os.ReadFile(parts[0])
		data[1_999_000] ^= 1
		_ = os.WriteFile(parts[0], data, 0o644)
		b.engine.Limits.Tries = 3
		if _, err := b.link.Session(b.Context()); err != nil {
			b.Fatal(err)
		}
		_, err = b.get(Job{Remote: "a", Local: b.local("a"), Listed: &Info{Size: 10, ModTime: when.Add(-time.Hour)}})
		if err != nil {
			b.Fatal(err)
		}
		b.wantLocal(map[string]string{"a": string(content)})
	})
}

// TestGetListedToTheMinute: two versions of a minute are one in such a listing. That
// must not matter to what is fetched.
func TestGetListedToTheMinute(t *testing.T) {
	when := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	listed := func(size int) *Info {
		return &Info{Size: int64(size), ModTime: when.Truncate(time.Minute), Precision: time.Minute}
	}
	fill := func(b *bench, content []byte, when time.Time) {
		b.server.extras.GetCompares = true
		b.server.files["a"], b.server.times["a"] = content, when
		if _, err := b.link.Session(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	onBench(t, func(b *bench) { // a part of one is not continued with the other
		b.engine.Limits.Tries = 1
		fill(b, random(900_000), when)
		b.server.cut = cuts("get", 800_000)
		_, err := b.get(Job{Remote: "a", Local: b.local("a"), Listed: listed(900_000)})
		wantKind(b.T, err, policy.KindTemporary)
		b.engine.Limits.Tries = 3
		content := random(900_000)
		content[0] ^= 1
		fill(b, content, when.Add(time.Second))
		res, err := b.get(Job{Remote: "a", Local: b.local("a"), Listed: listed(900_000)})
		if err != nil || res.Resumed != 0 {
			b.Errorf("resumed at %d, %v", res.Resumed, err)
		}
		b.wantLocal(map[string]string{"a": string(content)})
	})
	onBench(t, func(b *bench) { // a large one has a part that is of use
		fill(b, random(2_000_000), when)
		if _, err := b.get(Job{Remote: "a", Local: b.local("a"), Listed: listed(2_000_000)}); err != nil || b.server.count("stat") != 1 {
			b.Errorf("asked %d times, %v", b.server.count("stat"), err)
		}
	})
	onBench(t, func(b *bench) { // newer by seconds
		fill(b, []byte("new"), when)
		b.write("a", []byte("old"))
		old := when.Add(-time.Second)
		if err := os.Chtimes(b.local("a"), old, old); err != nil {
			b.Fatal(err)
		}
		if _, err := b.get(Job{Remote: "a", Local: b.local("a"), Listed: listed(3), OnExists: Newer}); err != nil {
			b.Error(err)
		}
		b.wantLocal(map[string]string{"a": "new"})
	})
}

func TestGetMissingLeavesNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		b.write("a", []byte("old"))
		_, err := b.get(Job{Remote: "a", Local: b.local("a")})
		wantKind(b.T, err, policy.KindMissing)
		b.wantLocal(map[string]string{"a": "old"})
	})
}

func TestGetToAStreamGoesOnWhereItBroke(t *testing.T) {
	content := random(100_000)
	onBench(t, func(b *bench) {
		b.server.files["a"] = content
		b.server.cut = cuts("get", 70_000)
		var out bytes.Buffer
		if _, err := b.get(Job{Remote: "a", Local: "-", Out: &out}); err != nil {
			b.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), content) {
			b.Errorf("%d bytes, want %d, identical", out.Len(), len(content))
		}
	})
}

// TestOneAtATime: two processes must not write one temporary file.
func TestOneAtATime(t *testing.T) {
	onBench(t, func(b *bench) {
		held := map[string]bool{}
		lock := func(key string) (func(), error) {
			if held[key] {
				return nil, &policy.Fault{Protocol: policy.Local, Op: "lock", Cause: policy.CauseLocalLocked}
			}
			held[key] = true
			return func() { held[key] = false }, nil
		}
		src := b.write("a", []byte("x"))
		b.server.fault = func(op, _ string) error {
			if op == "put" {
				_, err := Run(b.Context(), NewLink(b.link.Location(), newMemServer().dial, ModeAuto, nil),
					Job{Local: src, Remote: "a", Lock: lock}, b.engine, Observer{})
				wantKind(b.T, err, policy.KindTemporary)
			}
			return nil
		}
		if _, err := b.put(Job{Local: src, Remote: "a", Lock: lock}); err != nil {
			b.Fatal(err)
		}
		for key, h := range held {
			if h {
				b.Errorf("still held: %s", key)
			}
		}
	})
}

func TestLocalTargetThatCannotBe(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.files["a"] = []byte("x")
		_, err := b.get(Job{Remote: "a", Local: filepath.Join(b.dir, "no", "where")})
		g := wantKind(b.T, err, policy.KindTarget)
		if !errors.Is(g.Last.Err, fs.ErrNotExist) {
			b.Errorf("%v", g.Last.Err)
		}
	})
}

// TestModeSwitch: 425 switches on the same login, once; the mode that works is
// what the next login starts with.
func TestModeSwitch(t *testing.T) {
	onBench(t, func(b *bench) {
		active := false
		b.server.extras.SwitchMode = func(context.Context) error { active = !active; return nil }
		b.server.fault = func(op, path string) error {
			if op == "put" && !active {
				return &policy.Fault{Protocol: policy.FTP, Phase: policy.Data, Op: "STOR", Path: path, Code: 425, Text: "Can't open data connection."}
			}
			return nil
		}
		if _, err := b.put(Job{Local: b.write("a", []byte("x")), Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		if b.server.dials != 1 || b.server.count("put") != 2 || b.link.mode != ModeActive {
			b.Errorf("%d logins, %d puts, mode %s", b.server.dials, b.server.count("put"), b.link.mode)
		}
	})
	onBench(t, func(b *bench) { // forbidden
		b.link.mode = ModePassiveOnly
		b.server.extras.SwitchMode = func(context.Context) error { b.Error("switched"); return nil }
		b.server.fault = failing(99, "put", func(p string) error {
			return &policy.Fault{Protocol: policy.FTP, Phase: policy.Data, Op: "STOR", Path: p, Code: 425, Text: "no"}
		})
		_, err := b.put(Job{Local: b.write("a", []byte("x")), Remote: "a"})
		wantKind(b.T, err, policy.KindTemporary)
		if n := b.server.count("put"); n != policy.DefaultLimits().Tries {
			b.Errorf("%d tries, want %d", n, policy.DefaultLimits().Tries)
		}
	})
}
