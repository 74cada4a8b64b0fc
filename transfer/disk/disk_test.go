package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// TestSuite runs the suite of every transport. A disk is never silent, so the
// gate stands in for one that is.
func TestSuite(t *testing.T) {
	dir := t.TempDir()
	g := &gate{open: make(chan struct{})}
	close(g.open)
	transfertest.Run(t, transfertest.Fixture{
		Dial: func(ctx context.Context) (transfer.Session, error) {
			if err := g.wait(ctx, nil); err != nil {
				return nil, err
			}
			s, err := Open(dir)
			return &gated{s, g}, err
		},
		Dir: "/", Disk: dir, Pause: g.pause,
		Can: transfertest.Abilities{
			Protocol: policy.Local, SetModTime: true, Chmod: true, Replace: true, Links: true, Realpath: true,
			Parallel: true, Resume: true, TimePrecision: time.Nanosecond, RenameReplaces: true, Truncates: true, NameMax: 255,
		},
	})
}

type gate struct {
	mu   sync.Mutex
	open chan struct{}
}

func (g *gate) pause() func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
	return func() { close(g.open) }
}

func (g *gate) wait(ctx context.Context, closed <-chan struct{}) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return policy.LocalFault("wait", "", ctx.Err())
	case <-closed:
		return policy.LocalFault("wait", "", fs.ErrClosed)
	}
}

// gated is a session on a disk that does not answer while the gate is closed.
type gated struct {
	*Session
	gate *gate
}

func (s *gated) Stat(ctx context.Context, p string) (transfer.Info, error) {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return transfer.Info{}, err
	}
	return s.Session.Stat(ctx, p)
}

func (s *gated) List(ctx context.Context, dir string, each func(transfer.Info) error) error {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return err
	}
	return s.Session.List(ctx, dir, each)
}

func (s *gated) Get(ctx context.Context, p string, off int64, dst transfer.Sink) (int64, error) {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return 0, err
	}
	return s.Session.Get(ctx, p, off, dst)
}

func (s *gated) Put(ctx context.Context, p string, off int64, src transfer.Source) (int64, error) {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return 0, err
	}
	return s.Session.Put(ctx, p, off, src)
}

func (s *gated) Rename(ctx context.Context, from, to string) error {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return err
	}
	return s.Session.Rename(ctx, from, to)
}

func (s *gated) Remove(ctx context.Context, p string) error {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return err
	}
	return s.Session.Remove(ctx, p)
}

func (s *gated) Mkdir(ctx context.Context, p string) error {
	if err := s.gate.wait(ctx, s.closed); err != nil {
		return err
	}
	return s.Session.Mkdir(ctx, p)
}

// TestNothingOutside: no name and no link leads out of the directory.
func TestNothingOutside(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	parent := t.TempDir()
	dir, secret := filepath.Join(parent, "dir"), filepath.Join(parent, "secret")
	for _, err := range []error{
		os.Mkdir(dir, 0o755), os.WriteFile(secret, []byte("secret"), 0o644),
		os.Symlink("..", filepath.Join(dir, "up")), os.Symlink(secret, filepath.Join(dir, "absolute")), os.Symlink("../secret", filepath.Join(dir, "link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := t.Context()
	for _, p := range []string{"../secret", "/../secret", "up/secret", "absolute", "link", "/" + secret} {
		var b strings.Builder
		if _, err := s.Get(ctx, p, 0, transfer.Sink{W: &b, Size: -1}); err == nil || b.Len() > 0 {
			t.Errorf("get %q: %q %v", p, b.String(), err)
		}
	}
	for _, p := range []string{"up/new", "absolute", "link"} {
		if _, err := s.Put(ctx, p, 0, transfer.Source{R: strings.NewReader("evil"), Size: 4}); err == nil {
			t.Errorf("put %q went through", p)
		}
	}
	if err := s.Remove(ctx, "up/secret"); err == nil {
		t.Error("removed a file outside")
	}
	if err := s.Rename(ctx, "up/secret", "mine"); err == nil {
		t.Error("took a file from outside")
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Errorf("the file outside: %q %v", b, err)
	}
}

// TestPipes: a pipe is refused, not waited for.
func TestPipes(t *testing.T) {
	dir := t.TempDir()
	makePipe(t, filepath.Join(dir, "pipe"))
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Get(t.Context(), "pipe", 0, transfer.Sink{W: io.Discard, Size: -1})
	if f, ok := errors.AsType[*policy.Fault](err); !ok || f.Cause != policy.CauseNotRegular {
		t.Errorf("get: %v", err)
	}
}

// TestNoGap: a part that is shorter than was thought is not filled with zeros.
func TestNoGap(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, there := range []string{"", "abc"} {
		if _, err := s.Put(t.Context(), "f", 0, transfer.Source{R: strings.NewReader(there), Size: -1}); err != nil {
			t.Fatal(err)
		}
		_, err := s.Put(t.Context(), "f", 5, transfer.Source{R: strings.NewReader("abcdefgh"), Size: 8})
		if f, ok := errors.AsType[*policy.Fault](err); !ok || f.Cause != policy.CauseResume {
			t.Errorf("%q: %v", there, err)
		}
		if info, err := s.Stat(t.Context(), "f"); err != nil || info.Size != int64(len(there)) {
			t.Errorf("%+v %v", info, err)
		}
	}
}
