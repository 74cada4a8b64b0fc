package batch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/transfer"
)

// caseless is a server on a file system that does not tell upper from lower case, and
// keeps the spelling that a file was given first.
type caseless struct {
	transfer.Session
	dir string
}

// real is the path as the disk has it.
func (s caseless) real(p string) string {
	dir, name := transfer.Split(p)
	entries, _ := os.ReadDir(filepath.Join(s.dir, dir))
	for _, e := range entries {
		if strings.EqualFold(e.Name(), name) {
			return transfer.Join(dir, e.Name())
		}
	}
	return p
}

func (s caseless) Stat(ctx context.Context, path string) (transfer.Info, error) {
	return s.Session.Stat(ctx, s.real(path))
}

func (s caseless) Put(ctx context.Context, path string, off int64, src transfer.Source) (int64, error) {
	return s.Session.Put(ctx, s.real(path), off, src)
}

func (s caseless) Rename(ctx context.Context, from, to string) error {
	return s.Session.Rename(ctx, s.real(from), s.real(to))
}

func (s caseless) Extras() transfer.Extras {
	x := s.Session.Extras()
	replace := x.Replace
	x.Begin = nil
	x.Replace = func(ctx context.Context, from, to string) error { return replace(ctx, s.real(from), s.real(to)) }
	return x
}

// TestMoveIntoOneCase: where names that differ in case only are one file, one of them
// is delivered and the other stays until there is room for it.
func TestMoveIntoOneCase(t *testing.T) {
	t.Parallel()
	from, to := startEnd(t, "disk"), startEnd(t, "sftp")
	to.Caseless = true
	tree(t, from.Dir, "A.txt", "a.txt", "b.txt")
	s := moveSetup{From: from, To: to, State: t.TempDir()}
	told, _, err := s.run(t.Context())
	first, second := "A.txt", "a.txt"
	if told[first] != "done" {
		first, second = second, first
	}
	staysBehind := func(name, other string) {
		t.Helper()
		if err != nil || !strings.Contains(told[name], "takes") || !strings.Contains(told[name], other) {
			t.Errorf("%s: %s, %v", name, told[name], err)
		}
	}
	staysBehind(second, first)
	if told[first] != "done" || told["b.txt"] != "done" {
		t.Errorf("%v", told)
	}

	// What the target had is as dear, once it is known to be so.
	tree(t, from.Dir, "Old", "new", "123")
	tree(t, to.Dir, "old", "new")
	told, _, err = s.run(t.Context())
	staysBehind(second, first)
	staysBehind("Old", "old")
	if told["new"] != "done" || told["123"] != "done" {
		t.Errorf("%v", told)
	}
	at := contents(t, to.Dir)
	if want := map[string]string{first: first, "b.txt": "b.txt", "123": "123", "new": "new", "old": "old"}; !maps.Equal(at, want) {
		t.Errorf("delivered: %v", at)
	}
	if left, want := contents(t, from.Dir), map[string]string{second: second, "Old": "Old"}; !maps.Equal(left, want) {
		t.Errorf("left at the source: %v", left)
	}

	// Once the others were taken away, they go.
	for _, name := range []string{first, "old"} {
		if err := os.Remove(filepath.Join(to.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if told, _, err = s.run(t.Context()); err != nil || told[second] != "done" || told["Old"] != "done" {
		t.Errorf("%v, %v", told, err)
	}
}

// TestMoveWithCase: where case counts, both are delivered.
func TestMoveWithCase(t *testing.T) {
	t.Parallel()
	from, to := startEnd(t, "disk"), startEnd(t, "sftp")
	tree(t, from.Dir, "A.txt", "a.txt", "Old")
	tree(t, to.Dir, "old")
	if told, _, err := (moveSetup{From: from, To: to, State: t.TempDir()}).run(t.Context()); err != nil || told["A.txt"] != "done" || told["a.txt"] != "done" || told["Old"] != "done" {
		t.Errorf("%v, %v", told, err)
	}
	if at, want := contents(t, to.Dir), map[string]string{"A.txt": "A.txt", "a.txt": "a.txt", "Old": "Old", "old": "old"}; !maps.Equal(at, want) {
		t.Errorf("delivered: %v", at)
	}
}
