package transfertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing/iotest"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// sizes are those at which transports go wrong: nothing, one byte, and around
// the 32 KiB packet of SFTP. One that needs many packets comes on top.
var sizes = []int{0, 1, 1000, 32<<10 - 1, 32 << 10, 32<<10 + 1}

func testPutAndGet(e *env) {
	for _, size := range append(slices.Clone(sizes), e.large()) {
		name := fmt.Sprint(size)
		e.put(name, content(size))
		e.holds(name, content(size))
	}
}

func testPutFromFile(e *env) {
	for _, size := range []int{0, 1, 1_000_000} {
		f := e.localFile(content(size))
		// The position of the file must not matter.
		_, err := f.Seek(int64(size/2), io.SeekStart)
		e.must(err)
		name := fmt.Sprint(size)
		e.putOn(e.s, e.path(name), 0, transfer.Source{R: f, Size: int64(size)}, int64(size))
		e.holds(name, content(size))
	}
}

func testPutStream(e *env) {
	for _, size := range []int{0, 1, 3_000_000} {
		for _, announced := range []int64{-1, int64(size)} {
			name := fmt.Sprintf("%d of %d", size, announced)
			e.putOn(e.s, e.path(name), 0, stream(content(size), announced), int64(size))
			e.holds(name, content(size))
		}
	}
	// A pipe gives what it has, not what is asked for.
	dribble := iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(content(100_000))))
	e.putOn(e.s, e.path("dribble"), 0, transfer.Source{R: dribble, Size: -1}, 100_000)
	e.holds("dribble", content(100_000))
}

func testPutOver(e *env) {
	e.put("file", content(100_000))
	e.put("file", content(1000))
	e.holds("file", content(1000))
	e.put("file", nil)
	e.holds("file", nil)
}

// resumed are the places from which a transfer goes on: the edges of a file, and
// the middle of a large one.
func (e *env) resumed() []struct{ off, size int } {
	return []struct{ off, size int }{
		{1, 1_000_000}, {999_999, 1_000_000}, {1_000_000, 1_000_000}, {e.large() / 2, e.large()},
	}
}

func testPutResumes(e *env) {
	if !e.Can.Resume || e.Can.NoPutResume {
		e.put("file", content(1000))
		_, err := e.s.Put(e.ctx, e.path("file"), 500, whole(content(1000)))
		e.isFault(err)
		return
	}
	for _, part := range e.resumed() {
		name := fmt.Sprintf("%d of %d", part.off, part.size)
		e.put(name, content(part.size)[:part.off])
		e.putOn(e.s, e.path(name), int64(part.off), whole(content(part.size)), int64(part.size-part.off))
		e.holds(name, content(part.size))
	}
	// From a file, whose position must not matter.
	size := 100_000
	f := e.localFile(content(size))
	e.put("from file", content(size)[:777])
	e.putOn(e.s, e.path("from file"), 777, transfer.Source{R: f, Size: int64(size)}, int64(size-777))
	e.holds("from file", content(size))
}

func testPutDiscards(e *env) {
	if !e.Can.Resume || e.Can.NoPutResume {
		return // testPutResumes has seen it refused
	}
	// Longer than what is there: the old tail is overwritten.
	size := 100_000
	e.put("longer", slices.Concat(content(size)[:1000], content(5000)))
	e.putOn(e.s, e.path("longer"), 1000, whole(content(size)), int64(size-1000))
	e.holds("longer", content(size))

	// Shorter: the old tail has to go.
	e.put("shorter", slices.Concat(content(size)[:1000], content(2*size)))
	n, err := e.s.Put(e.ctx, e.path("shorter"), 1000, whole(content(size)))
	if !e.Can.Truncates {
		e.isFault(err)
		return
	}
	e.must(err)
	if n != int64(size-1000) {
		e.Errorf("returned %d, want %d", n, size-1000)
	}
	e.holds("shorter", content(size))
}

// testPutBegun: a look ahead of a Put changes nothing that is there, whether the Put
// follows or not.
func testPutBegun(e *env) {
	begin := e.s.Extras().Begin
	if begin == nil {
		return // testExtras says whether that is right
	}
	none := func(name string) {
		e.Helper()
		if info, err := begin(e.ctx, e.path(name), 0); err != nil {
			e.refused("nothing is there", err, policy.KindMissing)
		} else if info.Size != 0 {
			e.Errorf("nothing is there, and it has %d bytes", info.Size)
		}
	}
	for _, size := range []int{0, 1000, 2_000_000} {
		name := fmt.Sprint(size)
		none(name)
		e.put(name, content(size))
		e.holds(name, content(size))

		info, err := begin(e.ctx, e.path(name), 0)
		e.must(err)
		if info.Size != int64(size) || !info.IsRegular() {
			e.Errorf("size %d of %d, mode %v", info.Size, size, info.Mode)
		}
		e.holds(name, content(size))
		e.put(name, content(size+1))
		e.holds(name, content(size+1))
	}
	// From an offset, and a Put that never comes.
	if e.Can.Resume && !e.Can.NoPutResume {
		e.put("part", content(500_000)[:300_000])
		_, err := begin(e.ctx, e.path("part"), 0)
		e.must(err)
		e.putOn(e.s, e.path("part"), 300_000, whole(content(500_000)), 200_000)
		e.holds("part", content(500_000))
	}
	none("gone")
	e.must(e.s.Remove(e.ctx, e.path("gone")))
	_, err := begin(e.ctx, e.path("no/such/directory"), 0)
	e.refused("no directory", err, policy.KindMissing)
	_, err = begin(e.ctx, e.path("a\nb"), 0)
	e.isFault(err)
}

func testGetResumes(e *env) {
	if !e.Can.Resume {
		e.put("file", content(1000))
		_, err := e.s.Get(e.ctx, e.path("file"), 500, transfer.Sink{W: io.Discard, Size: 1000})
		e.isFault(err)
		return
	}
	for _, part := range e.resumed() {
		name := fmt.Sprint(part.size)
		e.put(name, content(part.size))
		e.same(fmt.Sprintf("%d from %d on", part.size, part.off), e.get(e.path(name), int64(part.off)), content(part.size)[part.off:])
	}
}

// testGetListed: a file that is not what was listed is not written anywhere.
func testGetListed(e *env) {
	if !e.s.Extras().GetCompares {
		return // testExtras says whether that is right
	}
	for _, size := range []int{0, 1, 1000, 1_000_000} {
		name := fmt.Sprint(size)
		e.put(name, content(size))
		listed := e.list(e.s, e.dir)[name]
		other := listed.Precision
		if other > time.Second {
			other *= 2 // it was cut off
		}
		for _, off := range []time.Duration{0, other, -72 * time.Hour} {
			var got bytes.Buffer
			version := listed
			version.ModTime = listed.ModTime.Add(off)
			_, err := e.s.Get(e.ctx, e.path(name), 0, transfer.Sink{W: &got, Size: int64(size), Version: &version})
			if off == 0 {
				e.must(err)
				e.same(name, got.Bytes(), content(size))
				if now, err := e.s.Stat(e.ctx, e.path(name)); err != nil || !now.ModTime.Equal(version.ModTime) {
					e.Errorf("%s: the time is %v, was told as %v (%v)", name, now.ModTime, version.ModTime, err)
				}
				continue
			}
			if f := e.isFault(err); f == nil || f.Cause != policy.CauseRemoteChanged {
				e.Errorf("%s, %v off: %v, want %s", name, off, err, policy.CauseRemoteChanged)
			}
			if got.Len() > 0 {
				e.Errorf("%s, %v off: %d bytes of another version were written", name, off, got.Len())
			}
		}
	}
}

func testGetIntoFile(e *env) {
	const size = 1_000_000
	e.put("file", content(size))
	offsets := []int64{0}
	if e.Can.Resume {
		offsets = append(offsets, 1, size/2, size)
	}
	for _, off := range offsets {
		f := e.localFile(content(size)[:off])
		// The position of the file must not matter.
		_, err := f.Seek(off/2, io.SeekStart)
		e.must(err)
		n, err := e.s.Get(e.ctx, e.path("file"), off, transfer.Sink{W: f, Size: size})
		e.must(err)
		if n != size-off {
			e.Errorf("from %d on: returned %d, want %d", off, n, size-off)
		}
		got, err := os.ReadFile(f.Name())
		e.must(err)
		e.same(fmt.Sprintf("from %d on", off), got, content(size))
	}
}

// localFile is an open file with this content.
func (e *env) localFile(b []byte) *os.File {
	e.Helper()
	name := filepath.Join(e.TempDir(), "local")
	e.must(os.WriteFile(name, b, 0o600))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	e.must(err)
	e.Cleanup(func() { _ = f.Close() })
	return f
}

func testProgress(e *env) {
	size := e.large()
	src := whole(content(size))
	put := watchProgress(e, "put", 0)
	src.Progress = put.seen
	e.putOn(e.s, e.path("file"), 0, src, int64(size))
	put.reached(int64(size))

	get := watchProgress(e, "get", 0)
	_, err := e.s.Get(e.ctx, e.path("file"), 0, transfer.Sink{W: io.Discard, Size: int64(size), Progress: get.seen})
	e.must(err)
	get.reached(int64(size))

	if e.Can.Resume {
		rest := watchProgress(e, "get from the middle", int64(size/2))
		_, err := e.s.Get(e.ctx, e.path("file"), int64(size/2), transfer.Sink{W: io.Discard, Size: int64(size), Progress: rest.seen})
		e.must(err)
		rest.reached(int64(size))
	}
}

// progress checks what a Progress func may rely on: positions in the file that
// never go back, one call at a time, the last one at the end.
type progress struct {
	e    *env
	what string
	busy atomic.Bool
	last int64
}

func watchProgress(e *env, what string, from int64) *progress {
	return &progress{e: e, what: what, last: from}
}

func (p *progress) seen(pos int64) {
	if p.busy.Swap(true) {
		p.e.Errorf("%s: progress is called twice at once", p.what)
	}
	if pos < p.last {
		p.e.Errorf("%s: progress went from %d back to %d", p.what, p.last, pos)
	}
	p.last = pos
	p.busy.Store(false)
}

func (p *progress) reached(end int64) {
	p.e.Helper()
	if p.last != end {
		p.e.Errorf("%s: progress ended at %d, want %d", p.what, p.last, end)
	}
}

var errBoom = errors.New("boom")

func testSourceFails(e *env) {
	for _, good := range []int{0, 100, 1_000_000} {
		broken := io.MultiReader(bytes.NewReader(content(good)), iotest.ErrReader(errBoom))
		_, err := e.s.Put(e.ctx, e.path("broken"), 0, transfer.Source{R: broken, Size: -1})
		if !errors.Is(err, errBoom) {
			e.Errorf("after %d bytes: %v, want the source's error", good, err)
		}
		e.isLocal(err)
		if !e.s.Alive() {
			e.s = e.dial()
		}
		e.usable(e.s)
	}
}

func testSinkFails(e *env) {
	e.put("file", content(e.large()))
	for _, room := range []int64{0, 100, 1_000_000} {
		n, err := e.s.Get(e.ctx, e.path("file"), 0, transfer.Sink{W: &fullWriter{room: room}, Size: int64(e.large())})
		if !errors.Is(err, errBoom) {
			e.Errorf("room for %d: %v, want the sink's error", room, err)
		}
		if n > room {
			e.Errorf("room for %d, returned %d", room, n)
		}
		e.isLocal(err)
		if !e.s.Alive() {
			e.s = e.dial()
		}
		e.usable(e.s)
	}
}

// fullWriter fails once its room is used up, as a disk does.
type fullWriter struct{ room int64 }

func (w *fullWriter) Write(p []byte) (int, error) {
	n := min(w.room, int64(len(p)))
	w.room -= n
	if n < int64(len(p)) {
		return int(n), errBoom
	}
	return int(n), nil
}
