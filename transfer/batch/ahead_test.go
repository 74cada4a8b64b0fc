package batch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestLookAhead: the listings of directories beside each other do not wait for
// one another, and their entries come in order all the same.
func TestLookAhead(t *testing.T) {
	const dirs, files = 40, 3
	for name, walk := range map[string]func(ctx context.Context, links *Links, each func(name string)) error{
		"get": func(ctx context.Context, links *Links, each func(string)) error {
			return Remote(ctx, links, "get", "/", Selection{Recursive: true}, func(e Entry) error {
				each(e.Rel)
				return e.Err
			})
		},
		"sync": func(ctx context.Context, links *Links, each func(string)) error {
			s := Sync{From: End{Links: links, Path: "/"}, To: localEnd(t, t.TempDir()), Name: "sync"}
			defer s.Close()
			return s.Plan(ctx, func(step Step) error {
				each(step.Rel)
				return step.Err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &synthetic{dirs: dirs, files: files, delay: time.Second}
				began, seen, last := time.Now(), 0, ""
				err := walk(t.Context(), s.links(9), func(name string) {
					if seen++; name < last {
						t.Errorf("%s comes after %s", name, last)
					}
					last = name
				})
				if err != nil || seen < dirs*(1+files) {
					t.Errorf("%d entries, %v", seen, err)
				}
				if n := s.lists.Load(); n != 1+dirs {
					t.Errorf("%d listings of %d directories", n, 1+dirs)
				}
				// The root, then about eight at a time.
				if took, most := time.Since(began), 8*time.Second; took > most {
					t.Errorf("took %v, want at most %v", took, most)
				}
			})
		})
	}
}

// TestLookAheadAtLargeDirectories: they are not held in memory before their turn.
func TestLookAheadAtLargeDirectories(t *testing.T) {
	const dirs, files = 3, aheadEntries + 1
	s := &synthetic{dirs: dirs, files: files}
	seen := 0
	err := Remote(t.Context(), s.links(4), "get", "/", Selection{Recursive: true}, func(e Entry) error {
		if !e.Dir {
			seen++
		}
		return e.Err
	})
	if err != nil || seen != dirs*files {
		t.Errorf("%d files, %v", seen, err)
	}
	if n := s.lists.Load(); n != 1+1+2*(dirs-1) { // the root, the first one, the others twice
		t.Errorf("%d listings", n)
	}
}

// TestLookAheadForgets: what the walk passes by is not kept.
func TestLookAheadForgets(t *testing.T) {
	s := &synthetic{dirs: 100, files: 1}
	side, end := lookAhead(t.Context(), remoteSide{s.links(4), "get"})
	defer end()
	w := walker{side: side, sel: Selection{Recursive: true}, each: func(e Entry) error {
		if e.Path != "/" {
			return SkipDir
		}
		return nil
	}}
	if err := w.dir(t.Context(), "/", "", ""); err != nil {
		t.Fatal(err)
	}
	if kept := len(side.(*ahead).early); kept != 0 {
		t.Errorf("%d listings are kept", kept)
	}
}
