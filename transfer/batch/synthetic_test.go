package batch

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// synthetic is a server with more files than a test could make: dirs directories
// of files files each, or one directory when dirs is 0.
type synthetic struct {
	transfer.Session // nil: what is not defined here is not called
	host             string
	dirs, files      int
	delay            time.Duration // of a listing
	gets, lists      atomic.Int64
}

func (s *synthetic) link() *transfer.Link {
	loc := transfer.Location{Scheme: transfer.SchemeFTP, Host: "synthetic" + s.host, Path: "/"}
	return transfer.NewLink(loc, func(context.Context, transfer.Hints) (transfer.Session, error) { return s, nil }, transfer.ModeAuto, nil)
}

func (s *synthetic) links(n int) *Links {
	l := s.link()
	return NewLinks(l.Location(), s.link, &policy.Engine{Limits: policy.Limits{Tries: 1}}, n)
}

func (s *synthetic) Stat(_ context.Context, p string) (transfer.Info, error) {
	return transfer.Info{Name: p, Mode: fs.ModeDir}, nil
}

func (s *synthetic) List(_ context.Context, dir string, each func(transfer.Info) error) error {
	s.lists.Add(1)
	time.Sleep(s.delay)
	n, mode, format := s.files, fs.FileMode(0), "report-%07d.csv"
	if s.dirs > 0 && strings.Count(dir, "/") == 1 && !strings.Contains(dir, "dir") {
		n, mode, format = s.dirs, fs.ModeDir, "dir-%07d"
	}
	// Backwards, so that sorting has something to do.
	for i := n - 1; i >= 0; i-- {
		if err := each(transfer.Info{Name: fmt.Sprintf(format, i), Size: 1, Mode: mode, ModTime: time.Unix(int64(i), 0), Precision: time.Second}); err != nil {
			return err
		}
	}
	return nil
}

func (s *synthetic) Get(_ context.Context, _ string, _ int64, dst transfer.Sink) (int64, error) {
	s.gets.Add(1)
	n, err := dst.W.Write([]byte("x"))
	return int64(n), err
}

func (s *synthetic) Extras() transfer.Extras { return transfer.Extras{} }
func (s *synthetic) Alive() bool             { return true }
func (s *synthetic) Close() error            { return nil }

// heap is what is live now, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMillionFiles: a tree of 1,000,000 files is walked in the memory of its
// largest directory, and one directory of 1,000,000 files costs less than 100
// bytes for each.
func TestMillionFiles(t *testing.T) {
	for _, tt := range []struct {
		name        string
		dirs, files int
		ceiling     int64
	}{
		{"in directories", million / 1000, 1000, 4 << 20},
		{"in one directory", 0, million, 100 * million},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &synthetic{dirs: tt.dirs, files: tt.files}
			before, peak, seen, last := heap(), int64(0), 0, ""
			err := Remote(t.Context(), s.links(1), "get", "/", Selection{Recursive: true}, func(e Entry) error {
				if e.Err != nil {
					return e.Err
				}
				if e.Dir {
					return nil
				}
				if seen++; seen%(million/4) == 1 {
					peak = max(peak, heap()-before)
				}
				if e.Rel <= last {
					t.Fatalf("%s comes after %s", e.Rel, last)
				}
				last = e.Rel
				return nil
			})
			if err != nil || seen != million {
				t.Errorf("%d files, %v", seen, err)
			}
			t.Logf("heap: %d KiB more", peak>>10)
			if peak > tt.ceiling {
				t.Errorf("heap: %d bytes more than before, want at most %d", peak, tt.ceiling)
			}
		})
	}
}

// TestManyTransfers: the whole way of a file, for so many that what is kept of
// each would show.
func TestManyTransfers(t *testing.T) {
	s := &synthetic{dirs: 100, files: 1000}
	links := s.links(4)
	before, peak, told := heap(), int64(0), 0
	err := Ordered(t.Context(), 4, func(ctx context.Context, yield func(Entry) error) error {
		return Remote(ctx, links, "get", "/", Selection{Recursive: true}, func(e Entry) error {
			if e.Dir {
				return e.Err
			}
			return yield(e)
		})
	}, func(ctx context.Context, e Entry) error {
		return links.Use(ctx, "get", func(ctx context.Context, l *transfer.Link, engine *policy.Engine) error {
			_, err := transfer.Run(ctx, l, transfer.Job{Direction: transfer.Get, Remote: e.Path, Out: io.Discard}, engine, transfer.Observer{})
			return err
		})
	}, func(err error) error {
		if told++; told%25_000 == 0 {
			peak = max(peak, heap()-before)
		}
		return err
	})
	if err != nil || told != 100_000 || s.gets.Load() != 100_000 {
		t.Errorf("%d told, %d transferred, %v", told, s.gets.Load(), err)
	}
	if peak > 8<<20 {
		t.Errorf("heap: %d bytes more than before, want at most 8 MiB", peak)
	}
}
