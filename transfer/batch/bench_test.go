package batch

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The benchmarks walk trees of benchDirs × benchFiles files; the figures are
// those of the whole tree.
const benchDirs, benchFiles = 10, 1000

// counted fails the benchmark unless all files were seen.
func counted(b *testing.B, walk func(each func(Entry) error) error) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		files := 0
		err := walk(func(e Entry) error {
			if e.Err == nil && !e.Dir {
				files++
			}
			return e.Err
		})
		if err != nil || files != benchDirs*benchFiles {
			b.Fatalf("%d files, %v", files, err)
		}
	}
}

func BenchmarkLocal(b *testing.B) {
	root := b.TempDir()
	for d := range benchDirs {
		dir := filepath.Join(root, fmt.Sprintf("dir-%07d", d))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range benchFiles {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("report-%07d.csv", f)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	counted(b, func(each func(Entry) error) error {
		return Local(b.Context(), slices.Values([]string{root}), Selection{Recursive: true}, each)
	})
}

func BenchmarkRemote(b *testing.B) {
	s := &synthetic{dirs: benchDirs, files: benchFiles}
	links := s.links(1)
	counted(b, func(each func(Entry) error) error {
		return Remote(b.Context(), links, "get /", "/", Selection{Recursive: true}, each)
	})
}
