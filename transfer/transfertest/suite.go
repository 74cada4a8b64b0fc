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
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Fixture is a server and a way to log in to it.
type Fixture struct {
	// Dial logs in. It is called for every test; the suite closes the sessions.
	Dial func(context.Context) (transfer.Session, error)
	// Dir is the login directory as an absolute path of the server. The suite
	// makes a directory below it for each test and leaves it there.
	Dir string
	// Disk is Dir on this machine. With it the suite checks what is stored
	// without the session's help. "" for servers that keep no files here.
	Disk string
	// Make makes empty files in a directory of the server without a session.
	// It is needed where Disk is "".
	Make func(dir string, names []string) error
	// Pause freezes the server: connections stay open and nothing moves until
	// resume is called.
	Pause func() (resume func())
	// Can is what the server is expected to be able to do, no less and no more.
	Can Abilities
}

// Abilities is what a session on a server is expected to offer. A session that
// offers less fails, and so does one that offers more: then this has to be
// brought up to date.
type Abilities struct {
	// Protocol is that of the faults for which the server has a code.
	Protocol policy.Protocol
	// These are the Extras of the same name; Links stands for Lstat, Readlink
	// and Symlink.
	SetModTime, Chmod, Replace, Links, Space, Realpath, Parallel, Resume bool
	// TimePrecision is that of Stat.
	TimePrecision time.Duration
	// RenameReplaces: Rename onto an existing file replaces it; otherwise it
	// is refused.
	RenameReplaces bool
	// Truncates: what lies beyond the offset of a Put can be discarded. Where
	// it can't (FTP has no command for it), a Put that would leave old bytes
	// behind the new ones fails.
	Truncates bool
	// NameMax is the longest name in bytes, 0 unknown.
	NameMax int
	// Names are those that the server does not store as they are: by what it
	// stores them as, "" when it refuses them.
	Names map[string]string
}

// soon is how long something may take that has to happen at once. It is far
// below transfer.DefaultTimeout, so that a timeout is no answer.
var soon = 10 * time.Second

const (
	// testLimit is the deadline of the context of one test.
	testLimit = 2 * time.Minute
	// large is a file that needs many packets and more than all buffers on the way.
	large = 20_000_000
)

var tests = []struct {
	name string
	run  func(*env)
}{
	{"put and get", testPutAndGet},
	{"put from a file", testPutFromFile},
	{"put a stream", testPutStream},
	{"put over a longer file", testPutOver},
	{"put resumes", testPutResumes},
	{"put discards beyond the offset", testPutDiscards},
	{"get resumes", testGetResumes},
	{"get into a file", testGetIntoFile},
	{"progress", testProgress},
	{"source fails", testSourceFails},
	{"sink fails", testSinkFails},

	{"names", testNames},
	{"names relative to the login directory", testRelativeNames},
	{"names too long", testLongNames},
	{"names refused before the wire", testBadNames},

	{"list", testList},
	{"list of an empty directory", testListEmpty},
	{"list of 10000 entries", testListMany},
	{"list stops", testListStops},
	{"stat", testStat},
	{"rename", testRename},
	{"rename onto a file", testRenameOnto},
	{"remove", testRemove},
	{"mkdir and rmdir", testMkdirRmdir},

	{"extras", testExtras},
	{"set modification time", testSetModTime},
	{"chmod", testChmod},
	{"replace", testReplace},
	{"links", testLinks},
	{"space", testSpace},
	{"realpath", testRealpath},
	{"parallel", testParallel},

	{"missing", testMissing},
	{"refused put leaves other files alone", testRefusedPut},

	{"cancel a put", testCancelPut},
	{"cancel a put whose source waits", testCancelWaitingSource},
	{"cancel a get", testCancelGet},
	{"cancel while the server is silent", testCancelSilent},
	{"cancelled before", testCancelledBefore},
	{"deadline", testDeadline},
	{"close unblocks", testCloseUnblocks},
	{"close twice", testCloseTwice},
}

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	if f.Disk == "" && f.Make == nil || f.Pause == nil {
		t.Fatal("the fixture needs Pause, and Disk or Make")
	}
	before := warmUp(t, f)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t, f, fmt.Sprintf("t%02d", i))
			test.run(e)
		})
	}
	t.Run("open files", func(t *testing.T) {
		if !eventually(func() bool { return openFiles() <= before }) {
			t.Errorf("%d files and sockets are open, %d were before", openFiles(), before)
		}
	})
}

// warmUp logs in once, so that what a process opens only once is open, and
// counts the open files.
func warmUp(t *testing.T, f Fixture) int {
	t.Helper()
	s, err := f.Dial(t.Context())
	if err != nil {
		t.Fatalf("dial: %v", describe(err))
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	return openFiles()
}

// openFiles counts the descriptors of this process; 0 where that can't be seen.
func openFiles() int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

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

// watchGoroutines fails the test when goroutines that it started outlive it.
// Goroutines inherit the profiler's labels, so those of in-process servers and
// of other tests are not counted.
func watchGoroutines(t *testing.T) {
	const key = "transfertest"
	id := fmt.Sprint(goroutineID.Add(1))
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels(key, id)))
	t.Cleanup(func() {
		pprof.SetGoroutineLabels(context.Background())
		if t.Failed() {
			return // a test that gave up leaves things behind
		}
		label := fmt.Sprintf("%q:%q", key, id)
		if !eventually(func() bool { return goroutinesWith(label) == "" }) {
			t.Errorf("goroutines are left:\n%s", goroutinesWith(label))
		}
	})
}

var goroutineID atomic.Int64

// goroutinesWith gives the stacks of the goroutines that carry a label.
func goroutinesWith(label string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return err.Error()
	}
	var found []string
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(stack, label) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
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
		stored, err := os.ReadFile(filepath.Join(e.disk, name))
		e.must(err)
		e.same(name+" on disk", stored, want)
	}
	info, err := e.s.Stat(e.ctx, e.path(name))
	e.must(err)
	if info.Size != int64(len(want)) {
		e.Errorf("stat %q: size %d, want %d", name, info.Size, len(want))
	}
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

// soonDone runs f and fails the test if it takes too long.
func (e *env) soonDone(what string, f func()) {
	e.Helper()
	done := make(chan struct{})
	start := time.Now()
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		e.Logf("%s after %v", what, time.Since(start).Round(time.Millisecond))
	case <-time.After(soon):
		e.Fatalf("%s: not within %v", what, soon)
	}
}

// isType compares only the type bits.
func isType(i transfer.Info, want fs.FileMode) bool { return i.Mode.Type() == want.Type() }
