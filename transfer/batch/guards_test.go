package batch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

const partName = ".x.xfer-0123456789ab.part"

// TestSyncLeavesParts: the temporary files of others are neither copied nor deleted,
// nor is the directory that one is in.
func TestSyncLeavesParts(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	tree(t, src, "a", partName)
	tree(t, dst, "sub/"+partName, "sub/old", "."+partName[1:]+"2", ".y"+partName[2:])
	s := &Sync{From: localEnd(t, src), To: localEnd(t, dst), Delete: true, Hard: true, MaxDelete: MaxDelete{N: 100}, Name: "sync"}
	if _, failed := runSync(t, s, false); len(failed) > 0 {
		t.Fatal(failed)
	}
	got := slices.Sorted(maps.Keys(contents(t, dst)))
	if want := []string{".y" + partName[2:], "a", "sub", "sub/" + partName}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestSyncLeavesWhatIsExcluded: also an empty directory.
func TestSyncLeavesWhatIsExcluded(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	tree(t, dst, "keep/", "old/")
	s := &Sync{
		From: localEnd(t, src), To: localEnd(t, dst), Delete: true, Hard: true, MaxDelete: MaxDelete{N: 100}, Name: "sync",
		Selection: Selection{Filter: Filter{Rules: []Rule{{Pattern: "keep/"}}}},
	}
	if _, failed := runSync(t, s, false); len(failed) > 0 {
		t.Fatal(failed)
	}
	if got := contents(t, dst); len(got) != 1 || got["keep"] != "/" {
		t.Errorf("%q", got)
	}
}

// TestSyncUnreadable: nothing is deleted when an entry can't be read, on either
// side, or a directory that is to be deleted can't be listed.
func TestSyncUnreadable(t *testing.T) {
	for name, listing := range map[string]struct {
		at   string // "src" or "dst"
		text string // "": it is refused
	}{
		"an entry of the source": {"src", "type=file;size=1; ../evil\r\n"},
		"an entry of the target": {"dst", "type=file;size=3; old\r\ntype=file;size=1; ../evil\r\n"},
		"two of one name":        {"src", "type=file;size=1; a\r\ntype=file;size=2; a\r\n"},
		"a surplus directory":    {"dst", ""},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			tree(t, dst, "old", "sub/old")
			end := func(at, dir string) End {
				if at != listing.at {
					return localEnd(t, dir)
				}
				cfg := lab.FTPConfig{Root: dir, User: "u", Password: "p"}
				if listing.text == "" {
					cfg.Script = []lab.Rule{{On: "MLSD", Path: "/sub", Do: lab.Reply(550, "Permission denied.")}}
				} else {
					cfg.Listing = func(_, _ string) []byte { return []byte(listing.text) }
				}
				srv, err := lab.StartFTP(cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = srv.Close() })
				l := ftpLink(srv.Addr(), "u", "p")
				t.Cleanup(func() { _ = l.Close(context.Background()) })
				return End{Links: NewLinks(l.Location(), func() *transfer.Link { return l }, impatient(), 1), Path: "/"}
			}
			s := &Sync{From: end("src", src), To: end("dst", dst), Delete: true, Hard: true, MaxDelete: MaxDelete{N: 100}, Name: "sync"}
			_, failed := runSync(t, s, false)
			if len(failed) == 0 || policy.FaultOf(failed[len(failed)-1]).Cause != policy.CauseSyncIncomplete {
				t.Errorf("%v, want a refusal to delete", failed)
			}
			for _, p := range []string{"old", "sub/old"} {
				if _, err := os.Stat(filepath.Join(dst, p)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestLinksThatLeave: a link out of the tree is not copied as one.
func TestLinksThatLeave(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	root := t.TempDir()
	tree(t, root, "secret", "d/a")
	for link, target := range map[string]string{"d/in": "a", "d/out": "../../secret", "d/far": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	got := told{root: root}
	sel := Selection{Recursive: true, Links: LinksCopy}
	if err := Local(t.Context(), slices.Values([]string{filepath.Join(root, "d")}), sel, got.each); err != nil {
		t.Fatal(err)
	}
	got.want(t, "links", "d/", "d/a", "d/in", "!link-not-copied d/out", "!link-not-copied d/far")
}

// TestBelowStaysBelow: a list names nothing outside of its directory.
func TestBelowStaysBelow(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "secret", "d/a")
	names := Names(strings.NewReader("a\n../secret\n./../secret\n" + filepath.ToSlash(filepath.Join(root, "secret")) + "\nb\rc\n"))
	var refused int
	err := Below(t.Context(), filepath.Join(root, "d"), names, Selection{}, func(e Entry) error {
		switch {
		case e.Err == nil && e.Rel == "a":
		case e.Err != nil && policy.FaultOf(e.Err).Cause == policy.CauseBadName:
			refused++
		default:
			t.Errorf("%+v", e)
		}
		return nil
	})
	if err != nil || refused != 4 {
		t.Errorf("%d refused: %v", refused, err)
	}
}

// TestPickupsAreWanted: only what the pattern names, and what was left alone between
// the two looks.
func TestPickupsAreWanted(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "a.csv", "b.csv", "c.txt")
	synctest.Test(t, func(t *testing.T) {
		go func() {
			time.Sleep(time.Second)
			_ = os.Chtimes(filepath.Join(dir, "b.csv"), time.Time{}, time.Now().Add(time.Hour)) // same size
		}()
		m := &Move{From: End{Local: dir}, Filter: Filter{Rules: []Rule{{Include: true, Pattern: "*.csv"}}}, Ready: Ready{Settle: 2 * time.Second}}
		var got []string
		err := m.Pickups(t.Context(), func(p Pickup) error {
			got = append(got, p.Name)
			return nil
		})
		if err != nil || !slices.Equal(got, []string{"a.csv"}) {
			t.Errorf("%q %v", got, err)
		}
	})
}

// TestMoveOfAGrowingFile: what was appended after the file was picked up makes it
// another; it is not delivered as the one that was complete.
func TestMoveOfAGrowingFile(t *testing.T) {
	s := moveSetup{From: startEnd(t, "disk"), To: startEnd(t, "disk"), State: t.TempDir()}
	tree(t, s.From.Dir, "a")
	failpoint = func(name string) {
		if name == "intended" {
			_ = os.WriteFile(filepath.Join(s.From.Dir, "a"), []byte("more than before"), 0o644)
		}
	}
	defer func() { failpoint = func(string) {} }()
	told, _, err := s.run(t.Context())
	if err != nil || !strings.Contains(told["a"], "failed") {
		t.Errorf("%v %v", told, err)
	}
	if got := contents(t, s.To.Dir); len(got) > 0 {
		t.Errorf("delivered: %q", got)
	}
}

// TestMoveCutOffWhilePublishing: the rename was carried out, its reply and then the
// server were lost: the file may have arrived, and is not sent again.
func TestMoveCutOffWhilePublishing(t *testing.T) {
	s := moveSetup{From: startEnd(t, "disk"), State: t.TempDir()}
	s.To = startEnd(t, "ftp",
		lab.Rule{On: "RNTO", When: lab.Finally, Times: 1, Do: lab.Drop(lab.RST)},
		lab.Rule{On: "connect", Nth: 2, Do: lab.Drop(lab.FIN)})
	tree(t, s.From.Dir, "a")
	if told, _, _ := s.run(t.Context()); !strings.Contains(told["a"], "failed") {
		t.Fatalf("%v", told)
	}
	taken := filepath.Join(s.To.Dir, "a")
	if err := os.Remove(taken); err != nil { // by the receiver
		t.Fatal(err)
	}
	again := startEnd(t, "ftp")
	s.To.Addr, s.To.Dir = again.Addr, again.Dir
	told, _, err := s.run(t.Context())
	if err != nil || told["a"] == "done" {
		t.Errorf("%v %v", told, err)
	}
	if got := contents(t, s.To.Dir); len(got) > 0 {
		t.Errorf("it was sent again: %q", got)
	}
}

// TestMoveArrivedAsAnother: what has the final name is another file when its size
// is: the temporary file is gone, and nobody can tell why.
func TestMoveArrivedAsAnother(t *testing.T) {
	s := moveSetup{From: startEnd(t, "disk"), To: startEnd(t, "disk"), State: t.TempDir()}
	tree(t, s.From.Dir, "a")
	s.crash(t, "publishing")
	for name := range contents(t, s.To.Dir) {
		if err := os.Remove(filepath.Join(s.To.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.To.Dir, "a"), []byte("an older version"), 0o644); err != nil {
		t.Fatal(err)
	}
	if act, err := s.outlook(t.Context()); err != nil || act != "report" {
		t.Errorf("outlook: %q %v", act, err)
	}
	if _, _, err := s.run(t.Context()); err != nil {
		t.Error(err)
	}
	if got := contents(t, s.From.Dir); got["a"] != "a" {
		t.Errorf("the source is gone: %q", got)
	}
}
