//go:build unix

package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/xfer-cli/xfer/policy"
)

// pipe makes a named pipe and opens its reading end.
func pipe(t *testing.T, path string) *os.File {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestGetIntoAPipe: what is more than a name for bytes is written into, and stays.
func TestGetIntoAPipe(t *testing.T) {
	for _, job := range []Job{{}, {InPlace: true}, {OnExists: Skip}, {Verify: VerifyReadback}} {
		onBench(t, func(b *bench) {
			b.server.files["a"] = []byte("content")
			r := pipe(b.T, b.local("p"))
			job.Remote, job.Local = "a", b.local("p")
			want := "content"
			if job.OnExists == Skip {
				want = ""
			}
			if _, err := b.get(job); err != nil {
				b.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != want {
				b.Errorf("%+v: through the pipe came %q, %v, want %q", job, got, err, want)
			}
			if info, err := os.Lstat(b.local("p")); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
				b.Errorf("%+v: the pipe is now %v, %v", job, info.Mode(), err)
			}
			if left, _ := filepath.Glob(b.local(".*")); left != nil {
				b.Errorf("left here: %v", left)
			}
		})
	}
}

// TestPipeWithoutReader: whoever waits for one can be interrupted.
func TestPipeWithoutReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := openSpecial(ctx, path)
	if f, ok := errors.AsType[*policy.Fault](err); !ok || !errors.Is(f, context.Canceled) {
		t.Errorf("%v", err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // frees the one that still waits
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
}

func TestThroughLinks(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"d", "e/f"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"link": "file", "d/up": "../file", "two": "link", "dangling": "gone", "round": "about", "about": "round",
		"absolute": filepath.Join(dir, "file"), "deep": "e/f", "e/beside": "above", "todir": "d",
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"file": "file", "link": "file", "d/up": "d/../file", "two": "file", "dangling": "gone", "round": "round",
		"absolute": filepath.Join(dir, "file"), "new": "new", "deep/../beside": "deep/../above", "todir": "todir",
	} {
		if got := ThroughLinks(path); got != want {
			t.Errorf("%s leads to %s, want %s", path, got, want)
		}
	}
}
