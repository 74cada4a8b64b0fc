package transfertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// env is what a test of the suite works with.
type env struct {
	*testing.T
	Fixture
	ctx context.Context
	// s is a fresh session.
	s transfer.Session
	// dir is a fresh directory on the server, disk the same on this machine or "".
	dir, disk string
}

func newEnv(t *testing.T, f Fixture, name string) *env {
	t.Helper()
	watchGoroutines(t)
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	e := &env{T: t, Fixture: f, ctx: ctx, dir: transfer.Join(f.Dir, name)}
	if f.Disk != "" {
		e.disk = filepath.Join(f.Disk, name)
	}
	e.s = e.dial()
	e.must(e.s.Mkdir(ctx, e.dir))
	t.Cleanup(func() {
		if t.Skipped() {
			t.Error("a test of the suite was skipped")
		}
	})
	return e
}

// dial logs in; the session is closed when the test ends.
func (e *env) dial() transfer.Session {
	e.Helper()
	s, err := e.Dial(e.ctx)
	if err != nil {
		e.Fatalf("dial: %v", err)
	}
	e.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	if !s.Alive() {
		e.Fatal("a fresh session is not alive")
	}
	return s
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(describe(err))
	}
}

// describe shows a fault with all that its message leaves out.
func describe(err error) string {
	if f, ok := errors.AsType[*policy.Fault](err); ok {
		return fmt.Sprintf("%v [%v, phase %v, code %d, cause %q, path %q]", err, f.Protocol, f.Phase, f.Code, f.Cause, f.Path)
	}
	return fmt.Sprint(err)
}

// path is a path in the test's own directory.
func (e *env) path(name string) string { return transfer.Join(e.dir, name) }

// content gives n bytes that are the same for the same n and never repeat, so
// that no shift and no swap goes unseen. They must not be changed.
func content(n int) []byte {
	if n == large {
		return largeContent()
	}
	return generate(n)
}

// large is the size of a file that needs many packets, in bytes.
func (e *env) large() int {
	if e.Again {
		return large / 5
	}
	return large
}

var largeContent = sync.OnceValue(func() []byte { return generate(large) })

func generate(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b) // never fails
	return b
}

// whole is a source that can be read at any offset.
func whole(b []byte) transfer.Source {
	return transfer.Source{R: bytes.NewReader(b), Size: int64(len(b))}
}

// stream is a source that can be read only once.
func stream(b []byte, size int64) transfer.Source {
	return transfer.Source{R: struct{ io.Reader }{bytes.NewReader(b)}, Size: size}
}

// put stores b under a name of the test's directory.
func (e *env) put(name string, b []byte) {
	e.Helper()
	e.putOn(e.s, e.path(name), 0, whole(b), int64(len(b)))
}

// putOn puts and checks the count.
func (e *env) putOn(s transfer.Session, p string, off int64, src transfer.Source, want int64) {
	e.Helper()
	n, err := s.Put(e.ctx, p, off, src)
	if err != nil {
		e.Fatalf("put %q from %d: %s", p, off, describe(err))
	}
	if n != want {
		e.Errorf("put %q from %d: returned %d, want %d", p, off, n, want)
	}
}

// get fetches a file from off on.
func (e *env) get(p string, off int64) []byte {
	e.Helper()
	return e.getOn(e.s, p, off)
}

func (e *env) getOn(s transfer.Session, p string, off int64) []byte {
	e.Helper()
	var b bytes.Buffer
	n, err := s.Get(e.ctx, p, off, transfer.Sink{W: &b, Size: -1})
	if err != nil {
		e.Fatalf("get %q from %d: %s", p, off, describe(err))
	}
	if n != int64(b.Len()) {
		e.Errorf("get %q from %d: returned %d, wrote %d", p, off, n, b.Len())
	}
	return b.Bytes()
}

// holds checks that a file of the test's directory has this content, through
// the session and, where possible, behind its back.
func (e *env) holds(name string, want []byte) {
	e.Helper()
	e.same(name, e.get(e.path(name), 0), want)
	if e.disk != "" {
		e.same(name+" on disk", e.stored(name), want)
	}
	info, err := e.s.Stat(e.ctx, e.path(name))
	e.must(err)
	if info.Size != int64(len(want)) {
		e.Errorf("stat %q: size %d, want %d", name, info.Size, len(want))
	}
}

// stored is what the server holds, on disk where that can be seen.
func (e *env) stored(name string) []byte {
	e.Helper()
	if e.disk == "" {
		return e.get(e.path(name), 0)
	}
	b, err := os.ReadFile(filepath.Join(e.disk, name))
	e.must(err)
	return b
}

// same compares contents and says where they differ, not how.
func (e *env) same(what string, got, want []byte) {
	e.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := min(len(got), len(want))
	for i := range at {
		if got[i] != want[i] {
			at = i
			break
		}
	}
	e.Errorf("%s: %d bytes, want %d; they differ from byte %d on", what, len(got), len(want), at)
}

// list gives the entries of a directory by name.
func (e *env) list(s transfer.Session, dir string) map[string]transfer.Info {
	e.Helper()
	entries := map[string]transfer.Info{}
	err := s.List(e.ctx, dir, func(i transfer.Info) error {
		if i.Bad != nil {
			e.Errorf("list %q: %q: %v", dir, i.Name, i.Bad)
		}
		if _, twice := entries[i.Name]; twice {
			e.Errorf("list %q: %q comes twice", dir, i.Name)
		}
		entries[i.Name] = i
		return nil
	})
	if err != nil {
		e.Fatalf("list %q: %s", dir, describe(err))
	}
	return entries
}

// holdsOnly checks the names in a directory.
func (e *env) holdsOnly(dir string, want ...string) {
	e.Helper()
	surplus := e.list(e.s, dir)
	var missing []string
	for _, name := range want {
		if _, there := surplus[name]; !there {
			missing = append(missing, name)
		}
		delete(surplus, name)
	}
	if len(missing) > 0 || len(surplus) > 0 {
		extra := slices.Sorted(maps.Keys(surplus))
		e.Errorf("list %q: %d names are missing: %q; %d too many: %q",
			dir, len(missing), missing[:min(10, len(missing))], len(extra), extra[:min(10, len(extra))])
	}
}

// usable checks that the session works and that replies and requests are in
// step: two files of different sizes are told apart.
func (e *env) usable(s transfer.Session) {
	e.Helper()
	for _, size := range []int{3, 5} {
		p := e.path(fmt.Sprintf("usable-%d", size))
		e.putOn(s, p, 0, whole(content(size)), int64(size))
		e.same(p, e.getOn(s, p, 0), content(size))
		info, err := s.Stat(e.ctx, p)
		e.must(err)
		if info.Size != int64(size) {
			e.Errorf("stat %q: size %d, want %d", p, info.Size, size)
		}
	}
	for _, size := range []int{3, 5} {
		e.must(s.Remove(e.ctx, e.path(fmt.Sprintf("usable-%d", size))))
	}
}

// usableOrClosed is for sessions whose method was cut short: either it works or
// it knows that it is dead, and in both cases the server lets us in again.
func (e *env) usableOrClosed(s transfer.Session) {
	e.Helper()
	if s.Alive() {
		e.usable(s)
	}
	e.usable(e.dial())
}

// pause freezes the server until resume is called, or the test ends.
func (e *env) pause() (resume func()) {
	resume = sync.OnceFunc(e.Pause())
	e.Cleanup(resume)
	return resume
}

// within runs f and returns its error. It ends the test if f takes too long.
func (e *env) within(what string, f func() error) error {
	e.Helper()
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- f() }()
	select {
	case err := <-done:
		e.Logf("%s after %v", what, time.Since(start).Round(time.Millisecond))
		return err
	case <-time.After(soon):
		e.Fatalf("%s: not within %v", what, soon)
		return nil
	}
}

// isType compares only the type bits.
func isType(i transfer.Info, want fs.FileMode) bool { return i.Mode.Type() == want.Type() }

// eventually waits for something that has to become true soon.
func eventually(is func() bool) bool {
	deadline := time.Now().Add(soon)
	for !is() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pollEvery)
	}
	return true
}
