package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/disk"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// localEnd is a directory of this machine.
func localEnd(t *testing.T, dir string) End {
	t.Helper()
	loc := transfer.Location{Scheme: "file"}
	links := NewLinks(loc, func() *transfer.Link { return transfer.NewLink(loc, disk.Dialer(dir), transfer.ModeAuto, nil) }, impatient(), 4)
	t.Cleanup(func() { _ = links.Close(context.Background()) })
	return End{Links: links, Path: "/", Local: dir}
}

// serverEnd is a server over a directory.
func serverEnd(t *testing.T, kind, dir string, script ...lab.Rule) End {
	t.Helper()
	l := ends[kind](t, dir, script)
	return End{Links: NewLinks(l.Location(), func() *transfer.Link { return l }, impatient(), 1), Path: "/"}
}

// runSync carries out all steps, and gives them as "op rel (reason)".
func runSync(t *testing.T, s *Sync, dry bool) (steps []string, failed []error) {
	t.Helper()
	defer s.Close()
	s.Same = 0
	each := func(step Step) error {
		if step.Err != nil {
			failed = append(failed, step.Err)
			return nil
		}
		if needed, err := s.Needed(t.Context(), step); err != nil || !needed {
			failed = appendError(failed, err)
			return nil
		}
		steps = append(steps, fmt.Sprintf("%s %s (%s)", step.Op, step.Rel, step.Reason))
		if dry {
			return nil
		}
		_, err := s.Do(t.Context(), step, transfer.Observer{})
		failed = appendError(failed, err)
		return nil
	}
	for _, phase := range []func(context.Context, func(Step) error) error{s.Plan, s.Deletions, s.Rest} {
		if err := phase(t.Context(), each); err != nil {
			failed = append(failed, err)
			break
		}
	}
	return steps, failed
}

func appendError(list []error, err error) []error {
	if err == nil {
		return list
	}
	return append(list, err)
}

// contents is a tree: path → what is in it, "/" for a directory, "→ x" for a link.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		switch {
		case err != nil || rel == ".":
			return err
		case rel == Trash:
			return fs.SkipDir
		case d.IsDir():
			found[rel] = "/"
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			found[rel] = "→ " + target
			return err
		default:
			b, err := os.ReadFile(p)
			found[rel] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// grow makes a random tree in which names are often the same as in another.
func grow(t *testing.T, r *rand.Rand, root string, depth int) {
	t.Helper()
	for range r.IntN(6) {
		p := filepath.Join(root, string(rune('a'+r.IntN(5))))
		if _, err := os.Lstat(p); err == nil {
			continue
		}
		if depth > 0 && r.IntN(3) == 0 {
			if err := os.Mkdir(p, 0o755); err != nil {
				t.Fatal(err)
			}
			grow(t, r, p, depth-1)
			continue
		}
		when := time.Unix(1_700_000_000+int64(r.IntN(2))*3600, 0)
		if err := errors.Join(os.WriteFile(p, []byte(strings.Repeat(string(rune('0'+r.IntN(2))), 1+r.IntN(2))), 0o644), os.Chtimes(p, when, when)); err != nil {
			t.Fatal(err)
		}
	}
}

// modelAfter is what the target holds after a sync. Of two files that differ
// neither in size nor in time nothing more is asked, unless by checksum.
func modelAfter(src, dst map[string]string, srcRoot, dstRoot string, c Compare, del bool) map[string]string {
	kind := func(s string) bool { return s == "/" }
	want := map[string]string{}
	blocked := func(rel string) bool { // without --delete, nothing replaces another kind
		for p := rel; p != "."; p = path.Dir(p) {
			s, inSrc := src[p]
			d, inDst := dst[p]
			if inSrc && inDst && kind(s) != kind(d) {
				return true
			}
		}
		return false
	}
	for rel, content := range dst {
		if _, there := src[rel]; !del && (!there || blocked(rel)) {
			want[rel] = content
		} else if there && !blocked(rel) {
			want[rel] = content
		}
	}
	for rel, content := range src {
		if !del && blocked(rel) {
			continue
		}
		old, there := dst[rel]
		if there && !blocked(rel) && !kind(content) && len(old) == len(content) && old != content && c != ByHash {
			a, err1 := os.Stat(filepath.Join(srcRoot, rel))
			b, err2 := os.Stat(filepath.Join(dstRoot, rel))
			if err1 == nil && err2 == nil && (c == BySize || a.ModTime().Equal(b.ModTime())) {
				continue // nobody can tell
			}
		}
		want[rel] = content
	}
	return want
}

// TestSyncModel: on random trees, a sync makes the target what the model says,
// a second one has nothing to do, and a dry run names the very steps.
func TestSyncModel(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		src, dst := t.TempDir(), t.TempDir()
		grow(t, r, src, 3)
		grow(t, r, dst, 3)
		s := &Sync{From: localEnd(t, src), To: localEnd(t, dst), Compare: Compare(r.IntN(3)), Delete: r.IntN(2) == 0, Hard: r.IntN(2) == 0, MaxDelete: MaxDelete{N: 1000}, Name: "sync"}
		before := contents(t, dst)
		want := modelAfter(contents(t, src), before, src, dst, s.Compare, s.Delete)

		fresh := *s
		planned, _ := runSync(t, &fresh, true)
		if after := contents(t, dst); !maps.Equal(before, after) {
			t.Fatalf("seed %d: a dry run changed %v into %v", seed, before, after)
		}
		fresh = *s
		done, failed := runSync(t, &fresh, false)
		if got := contents(t, dst); !maps.Equal(got, want) {
			t.Fatalf("seed %d (by %v, delete %v): got %v\nwant %v\nsource %v\nbefore %v\nsteps %q\nfailed %v", seed, s.Compare, s.Delete, got, want, contents(t, src), before, done, failed)
		}
		if s.Delete && len(failed) > 0 {
			t.Fatalf("seed %d: %v", seed, failed)
		}
		if !slices.Equal(planned, done) {
			t.Fatalf("seed %d: the dry run says %q\nwhat was done is %q", seed, planned, done)
		}
		fresh = *s
		again, _ := runSync(t, &fresh, false)
		if len(again) > 0 {
			t.Fatalf("seed %d: the second run does %q", seed, again)
		}
	}
}

// TestSyncBetween: every pair of ends.
func TestSyncBetween(t *testing.T) {
	for _, tt := range []struct{ from, to string }{{"", "sftp"}, {"", "ftp"}, {"sftp", ""}, {"ftp", ""}, {"ftp", "sftp"}} {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			tree(t, src, "a", "d/b", "d/e/c", "empty/", "same", "kind/x")
			tree(t, dst, "same", "old", "d/gone/x", "kind")
			end := func(kind, dir string) End {
				if kind == "" {
					return localEnd(t, dir)
				}
				return serverEnd(t, kind, dir)
			}
			now := time.Now().Add(-time.Hour).Truncate(time.Second)
			for _, p := range []string{filepath.Join(src, "same"), filepath.Join(dst, "same")} {
				if err := os.Chtimes(p, now, now); err != nil {
					t.Fatal(err)
				}
			}
			s := &Sync{From: end(tt.from, src), To: end(tt.to, dst), Delete: true, MaxDelete: MaxDelete{N: 3}, Name: "sync"}
			steps, failed := runSync(t, s, false)
			if len(failed) > 0 {
				t.Fatalf("%q %v", steps, failed)
			}
			if got, want := contents(t, dst), contents(t, src); !maps.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
			if s.Same != 1 {
				t.Errorf("%d files needed nothing, want 1; steps %q", s.Same, steps)
			}
			trashed, err := filepath.Glob(filepath.Join(dst, Trash, "*", "d", "gone", "x"))
			if err != nil || len(trashed) != 1 {
				t.Errorf("trash: %v %v", trashed, err)
			}
			fresh := &Sync{From: s.From, To: s.To, Delete: true, Name: "sync"}
			if again, failed := runSync(t, fresh, false); len(again)+len(failed) > 0 {
				t.Errorf("the second run does %q %v", again, failed)
			}
		})
	}
}

// TestSyncIncomplete: a directory that can't be listed, at the source or the
// target: nothing is deleted anywhere.
func TestSyncIncomplete(t *testing.T) {
	mlsd := lab.Rule{On: "MLSD", Do: lab.Reply(550, "Permission denied.")}
	for name, broken := range map[string]struct{ src, dst []lab.Rule }{
		"source": {src: []lab.Rule{{On: "MLSD", Nth: 2, Do: mlsd.Do}}},
		"target": {dst: []lab.Rule{{On: "MLSD", Nth: 2, Do: mlsd.Do}}},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			tree(t, src, "d/a")
			tree(t, dst, "d/a", "old", "d/old")
			s := &Sync{From: serverEnd(t, "ftp", src, broken.src...), To: serverEnd(t, "ftp", dst, broken.dst...), Delete: true, Hard: true, MaxDelete: MaxDelete{N: 100}, Name: "sync"}
			steps, failed := runSync(t, s, false)
			last := failed[len(failed)-1]
			if f := policy.FaultOf(last); f.Cause != policy.CauseSyncIncomplete {
				t.Errorf("%q %v, want a refusal to delete", steps, failed)
			}
			if _, err := os.Stat(filepath.Join(dst, "old")); err != nil {
				t.Error("deleted after an incomplete listing")
			}
		})
	}
}

// TestSyncMaxDelete: a source that vanished looks empty; the limit holds.
func TestSyncMaxDelete(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	tree(t, src, "a", "b")
	tree(t, dst, "a", "b", "c", "d", "e/f")
	for limit, want := range map[string]bool{"2": false, "3": true, "59%": false, "60%": true, "0": false} {
		var m MaxDelete
		if err := m.UnmarshalText([]byte(limit)); err != nil {
			t.Fatal(err)
		}
		s := &Sync{From: localEnd(t, src), To: localEnd(t, dst), Delete: true, MaxDelete: m, Name: "sync"}
		steps, failed := runSync(t, s, true)
		deletes := slices.ContainsFunc(steps, func(s string) bool { return strings.HasPrefix(s, "delete") })
		if deletes != want || want != (len(failed) == 0) {
			t.Errorf("limit %s: %q %v", limit, steps, failed)
		}
	}
	for _, bad := range []string{"", "-1", "101%", "x", "%", "nan%"} {
		if err := new(MaxDelete).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// TestSyncSelection: what the filter leaves out is neither copied nor deleted.
func TestSyncSelection(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	src, dst := t.TempDir(), t.TempDir()
	tree(t, src, "a.csv", "a.txt", "tmp/x.csv", "d/b.csv")
	tree(t, dst, "old.csv", "old.txt", "tmp/y.csv", "e/old.csv", "e/old.txt")
	for target, link := range map[string]string{"a.csv": "link.csv", "../outside": "evil.csv"} {
		if err := os.Symlink(target, filepath.Join(src, link)); err != nil {
			t.Fatal(err)
		}
	}
	s := &Sync{
		From: localEnd(t, src), To: localEnd(t, dst), Delete: true, Hard: true, MaxDelete: MaxDelete{N: 100}, Name: "sync",
		Selection: Selection{Links: LinksCopy, Filter: Filter{Rules: []Rule{{Pattern: "tmp/"}, {Include: true, Pattern: "*.csv"}}}},
	}
	steps, failed := runSync(t, s, false)
	want := map[string]string{
		"a.csv": "a.csv", "d": "/", "d/b.csv": "d/b.csv", "link.csv": "→ a.csv",
		"old.txt": "old.txt", "tmp": "/", "tmp/y.csv": "tmp/y.csv", "e": "/", "e/old.txt": "e/old.txt",
	}
	if got := contents(t, dst); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v\nsteps %q", got, want, steps)
	}
	if len(failed) != 1 || policy.FaultOf(failed[0]).Cause != policy.CauseLinkNotCopied {
		t.Errorf("failed: %v, want only the link that leaves the tree", failed)
	}
}

// TestSameTime: as exact as the less exact side, and no more.
func TestSameTime(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	for _, tt := range []struct {
		src, dst      time.Duration // after at
		srcPrec, prec time.Duration
		keeps, want   bool
		what          string
	}{
		{700 * time.Millisecond, 0, 1, time.Second, true, true, "the target cuts off"},
		{1100 * time.Millisecond, 0, 1, time.Second, true, false, "a second later"},
		{59 * time.Second, 0, 1, time.Minute, true, true, "the listing tells minutes"},
		{61 * time.Second, 0, 1, time.Minute, true, false, "more than a minute"},
		{-time.Hour, 0, 1, time.Second, true, false, "the source is older"},
		{-time.Hour, 0, 1, time.Second, false, true, "sent an hour after it was written"},
		{time.Hour, 0, 1, time.Second, false, false, "written after it was sent"},
	} {
		src := &transfer.Info{ModTime: at.Add(tt.src), Precision: tt.srcPrec}
		dst := &transfer.Info{ModTime: at.Add(tt.dst), Precision: tt.prec}
		if got := sameTime(src, dst, tt.keeps); got != tt.want {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

// BenchmarkSyncUnchanged: 100,000 files that are there already, in 100
// directories.
func BenchmarkSyncUnchanged(b *testing.B) {
	from, to := &synthetic{dirs: 100, files: 1000}, &synthetic{host: "2", dirs: 100, files: 1000}
	for b.Loop() {
		sync := &Sync{From: End{Links: from.links(1), Path: "/"}, To: End{Links: to.links(1), Path: "/"}, Name: "sync"}
		err := sync.Plan(b.Context(), func(step Step) error { return fmt.Errorf("%+v", step) })
		if err != nil || sync.Same != 100_000 {
			b.Fatal(sync.Same, err)
		}
	}
}

// TestSyncDeletesWhatItMeant: a name that is no UTF-8 stays what it is on the way
// from the plan to the deletion.
func TestSyncDeletesWhatItMeant(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the file systems of other systems hold no such names")
	}
	const latin1, other = "b\xe9t\xe9", "b\ufffdt\ufffd" // the same in JSON
	for _, kind := range []string{"ftp", "sftp"} {
		src, dst := t.TempDir(), t.TempDir()
		for _, p := range []string{filepath.Join(src, other), filepath.Join(dst, other), filepath.Join(dst, latin1)} {
			if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s := &Sync{
			From: localEnd(t, src), To: serverEnd(t, kind, dst), Selection: Selection{Recursive: true},
			Compare: BySize, Delete: true, Hard: true, MaxDelete: MaxDelete{N: 1}, Name: "sync",
		}
		if _, failed := runSync(t, s, false); len(failed) > 0 {
			t.Errorf("%s: %v", kind, failed)
		}
		if got := contents(t, dst); len(got) != 1 || got[other] != "x" {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

// TestSyncDeletesLinks: a surplus link goes, what it leads to stays, whether the
// server's listings tell links from directories or not.
func TestSyncDeletesLinks(t *testing.T) {
	t.Parallel()
	for _, tells := range []bool{true, false} {
		cfg := lab.FTPConfig{Root: t.TempDir(), User: "u", Password: "p"}
		if !tells {
			cfg.Listing = followed(cfg.Root)
		}
		srv, err := lab.StartFTP(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		syncLinks(t, ftpLink(srv.Addr(), "u", "p"), cfg.Root)
	}
}

// TestSyncSparesWhatMayBeALink: where it can't be told whether a directory is a link,
// or it is one of which something is to stay, what it leads to stays.
func TestSyncSparesWhatMayBeALink(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do     lab.Action
		times  int
		rules  string
		failed int
		left   map[string]string
	}{
		"refused":      {lab.Reply(450, "Busy."), 0, "", 1, map[string]string{"in/top": "→ ../precious"}},
		"refused once": {lab.Reply(450, "Busy."), 1, "", 0, map[string]string{}},
		"denied":       {lab.Reply(550, "Permission denied."), 0, "", 1, map[string]string{"in/top": "→ ../precious"}},
		"lost":         {lab.Drop(lab.RST), 0, "", 1, map[string]string{"in/top": "→ ../precious"}},
		"not selected": {lab.Action{}, 0, "*.csv", 0, map[string]string{"in/top": "→ ../precious", "in/dir": "/", "in/dir/x.txt": "in/dir/x.txt"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			tree(t, root, "precious/gold", "in/dir/x.txt", "in/dir/y.csv")
			if err := os.Symlink("../precious", filepath.Join(root, "in", "top")); err != nil {
				t.Skip(err)
			}
			cfg := lab.FTPConfig{Root: root, User: "u", Password: "p", Listing: followed(root)}
			if test.rules == "" {
				cfg.Script = []lab.Rule{{On: "DELE", Path: "/in/top", Times: test.times, Do: test.do}}
			}
			srv, err := lab.StartFTP(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			l := ftpLink(srv.Addr(), "u", "p")
			defer l.Close(context.Background())
			s := &Sync{
				From: localEnd(t, t.TempDir()), To: End{Links: NewLinks(l.Location(), func() *transfer.Link { return l }, impatient(), 1), Path: "in"},
				Selection: Selection{Recursive: true}, Delete: true, Hard: true, MaxDelete: MaxDelete{N: 3}, Name: "sync",
			}
			if test.rules != "" {
				s.Rules = []Rule{{Include: true, Pattern: test.rules}}
			}
			if steps, failed := runSync(t, s, false); len(failed) != test.failed {
				t.Errorf("%q: %v", steps, failed)
			}
			maps.Copy(test.left, map[string]string{"in": "/", "precious": "/", "precious/gold": "precious/gold"})
			if left := contents(t, root); !maps.Equal(left, test.left) {
				t.Errorf("left: %v, want %v", left, test.left)
			}
		})
	}
}

// TestSyncDeletesLinksRealServers needs proftpd.
func TestSyncDeletesLinksRealServers(t *testing.T) {
	srv := transfertest.ProFTPD(t, transfertest.FTPOptions{Config: []string{"ShowSymlinks off"}})
	syncLinks(t, ftpLink(srv.Address(), srv.User, srv.Password), srv.Dir)
}

// syncLinks makes "in" of a server's directory empty by a sync, into the trash and
// for good.
func syncLinks(t *testing.T, l *transfer.Link, root string) {
	t.Helper()
	defer l.Close(context.Background())
	to := End{Links: NewLinks(l.Location(), func() *transfer.Link { return l }, impatient(), 1), Path: "in"}
	for _, hard := range []bool{false, true} {
		tree(t, root, "precious/gold", "in/sub/x", "in/sub/y/z")
		for link, to := range map[string]string{"in/sub/l": "../../precious", "in/top": "../precious"} {
			if err := os.Symlink(to, filepath.Join(root, filepath.FromSlash(link))); err != nil {
				t.Skip(err)
			}
		}
		writable(root)
		run := func(dry bool) []string {
			t.Helper()
			steps, failed := runSync(t, &Sync{
				From: localEnd(t, t.TempDir()), To: to, Selection: Selection{Recursive: true},
				Delete: true, Hard: hard, MaxDelete: MaxDelete{N: 100}, Name: "sync",
			}, dry)
			if len(failed) > 0 {
				t.Fatalf("hard: %v: %v", hard, failed)
			}
			return steps
		}
		before := contents(t, root)
		if run(true); !maps.Equal(contents(t, root), before) {
			t.Error("a dry run did something")
		}
		for _, step := range run(false) {
			if strings.Contains(step, "gold") {
				t.Errorf("it says %q", step)
			}
		}
		left := contents(t, root)
		maps.DeleteFunc(left, func(p, _ string) bool { return strings.HasPrefix(p, "in/"+Trash) })
		if want := map[string]string{"in": "/", "precious": "/", "precious/gold": "precious/gold"}; !maps.Equal(left, want) {
			t.Errorf("hard: %v, left: %v", hard, left)
		}
	}
}
