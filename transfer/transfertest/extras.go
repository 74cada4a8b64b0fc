package transfertest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// testExtras compares what the session offers with what the fixture says.
func testExtras(e *env) {
	x := e.s.Extras()
	for what, is := range map[string]struct{ offered, expected bool }{
		"SetModTime":  {x.SetModTime != nil, e.Can.SetModTime},
		"Chmod":       {x.Chmod != nil, e.Can.Chmod},
		"Replace":     {x.Replace != nil, e.Can.Replace},
		"Lstat":       {x.Lstat != nil, e.Can.Links || e.Can.Lstat},
		"Readlink":    {x.Readlink != nil, e.Can.Links},
		"Symlink":     {x.Symlink != nil, e.Can.Links},
		"Space":       {x.Space != nil, e.Can.Space},
		"Realpath":    {x.Realpath != nil, e.Can.Realpath},
		"Parallel":    {x.Parallel, e.Can.Parallel},
		"Resume":      {x.Resume, e.Can.Resume},
		"GetCompares": {x.GetCompares, e.Can.GetCompares},
		"Begin":       {x.Begin != nil, e.Can.Begin},
		// A Put from an offset fails then, see testPutResumes.
		"NoPutResume": {x.NoPutResume, e.Can.NoPutResume},
	} {
		if is.offered != is.expected {
			e.Errorf("%s: offered %t, expected %t", what, is.offered, is.expected)
		}
	}
	if x.TimePrecision != e.Can.TimePrecision {
		e.Errorf("TimePrecision is %v, expected %v", x.TimePrecision, e.Can.TimePrecision)
	}
	if x.Software != policy.Sanitize(x.Software) {
		e.Errorf("Software is not sanitised: %q", x.Software)
	}
}

func testSetModTime(e *env) {
	set := e.s.Extras().SetModTime
	if set == nil {
		return // testExtras says whether that is right
	}
	e.put("file", content(3))
	for _, want := range []time.Time{time.Unix(1e9, 0), time.Date(2031, 12, 31, 23, 59, 58, 0, time.UTC), time.Now().Add(-40 * 24 * time.Hour).Truncate(time.Second)} {
		// The server's zone must not matter, nor ours.
		e.must(set(e.ctx, e.path("file"), want.In(time.FixedZone("", 3*60*60))))
		i, err := e.s.Stat(e.ctx, e.path("file"))
		e.must(err)
		if !i.ModTime.Equal(want) {
			e.Errorf("stat: %v, want %v", i.ModTime.UTC(), want.UTC())
		}
		i = e.list(e.s, e.dir)["file"]
		e.around("list", i, want, want)
		if e.disk != "" {
			info, err := os.Stat(filepath.Join(e.disk, "file"))
			e.must(err)
			if !info.ModTime().Equal(want) {
				e.Errorf("on disk: %v, want %v", info.ModTime().UTC(), want.UTC())
			}
		}
	}
	e.holds("file", content(3))
	e.refused("of a missing file", set(e.ctx, e.path("missing"), time.Now()), policy.KindMissing)
}

func testChmod(e *env) {
	chmod := e.s.Extras().Chmod
	if chmod == nil {
		return // testExtras says whether that is right
	}
	e.put("file", content(3))
	for _, want := range []fs.FileMode{0o600, 0o644, 0o400} {
		e.must(chmod(e.ctx, e.path("file"), want))
		i, err := e.s.Stat(e.ctx, e.path("file"))
		e.must(err)
		if i.HasPerm && i.Mode.Perm() != want {
			e.Errorf("stat: %v, want %v", i.Mode, want)
		}
		if e.disk != "" {
			info, err := os.Stat(filepath.Join(e.disk, "file"))
			e.must(err)
			if info.Mode().Perm() != want {
				e.Errorf("on disk: %v, want %v", info.Mode(), want)
			}
		}
	}
	e.refused("of a missing file", chmod(e.ctx, e.path("missing"), 0o600), policy.KindMissing)
}

func testReplace(e *env) {
	replace := e.s.Extras().Replace
	if replace == nil {
		return // testExtras says whether that is right
	}
	e.put("new", content(100))
	e.put("old", content(200))
	e.must(replace(e.ctx, e.path("new"), e.path("old")))
	e.holdsOnly(e.dir, "old")
	e.holds("old", content(100))
	e.must(replace(e.ctx, e.path("old"), e.path("fresh")))
	e.holdsOnly(e.dir, "fresh")
	e.refused("of a missing file", replace(e.ctx, e.path("missing"), e.path("fresh")), policy.KindMissing)
	e.holds("fresh", content(100))
}

func testLinks(e *env) {
	x := e.s.Extras()
	if x.Lstat == nil || x.Readlink == nil || x.Symlink == nil {
		return // testExtras says whether that is right
	}
	e.put("target", content(777))
	e.must(x.Symlink(e.ctx, "target", e.path("link")))
	e.must(x.Symlink(e.ctx, "missing", e.path("dangling")))

	for link, want := range map[string]string{"link": "target", "dangling": "missing"} {
		target, err := x.Readlink(e.ctx, e.path(link))
		e.must(err)
		if target != want {
			e.Errorf("%q leads to %q, want %q", link, target, want)
		}
		i, err := x.Lstat(e.ctx, e.path(link))
		e.must(err)
		if !isType(i, fs.ModeSymlink) {
			e.Errorf("lstat %q: mode %v, want a symbolic link", link, i.Mode)
		}
		if i := e.list(e.s, e.dir)[link]; !isType(i, fs.ModeSymlink) {
			e.Errorf("list: %q: mode %v, want a symbolic link", link, i.Mode)
		}
	}
	i, err := e.s.Stat(e.ctx, e.path("link"))
	e.must(err)
	if !i.IsRegular() || i.Size != 777 {
		e.Errorf("stat does not follow the link: %+v", i)
	}
	_, err = e.s.Stat(e.ctx, e.path("dangling"))
	e.kind("stat of a dangling link", e.isFault(err), policy.KindMissing)
	e.must(e.s.Remove(e.ctx, e.path("link")))
	e.holds("target", content(777))
}

func testSpace(e *env) {
	space := e.s.Extras().Space
	if space == nil {
		return // testExtras says whether that is right
	}
	got, err := space(e.ctx, e.dir)
	e.must(err)
	if got.Free <= 0 || got.Total < got.Free || got.ReadOnly {
		e.Errorf("%+v, want room to write", got)
	}
}

func testRealpath(e *env) {
	realpath := e.s.Extras().Realpath
	if realpath == nil {
		return // testExtras says whether that is right
	}
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	for in, want := range map[string]string{".": e.Dir, e.path("dir/.."): e.dir, e.path("dir"): e.path("dir")} {
		got, err := realpath(e.ctx, in)
		e.must(err)
		if got != want {
			e.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// testParallel uses one session from many goroutines, where it allows that, and
// several sessions at once, which every server allows.
func testParallel(e *env) {
	sessions := []transfer.Session{e.s, e.dial(), e.dial()}
	if e.Can.Parallel {
		sessions = append(sessions, e.s, e.s, e.s, e.s, e.s)
	}
	var wg sync.WaitGroup
	for i, s := range sessions {
		wg.Go(func() {
			for round := range 5 {
				if err := e.exchange(s, fmt.Sprintf("%d-%d", i, round), 10_000*(i+1)+round); err != nil {
					e.Error(describe(err))
				}
			}
		})
	}
	wg.Wait()
	e.holdsOnly(e.dir)
}

// exchange does a bit of everything. It returns errors, because only the
// goroutine of a test may end it.
func (e *env) exchange(s transfer.Session, name string, size int) error {
	p := e.path(name)
	if _, err := s.Put(e.ctx, p, 0, whole(content(size))); err != nil {
		return err
	}
	var got bytes.Buffer
	if _, err := s.Get(e.ctx, p, 0, transfer.Sink{W: &got, Size: -1}); err != nil {
		return err
	}
	e.same(name, got.Bytes(), content(size))
	info, err := s.Stat(e.ctx, p)
	if err != nil {
		return err
	}
	if info.Size != int64(size) {
		e.Errorf("stat %q: size %d, want %d", name, info.Size, size)
	}
	if err := s.Rename(e.ctx, p, p+" renamed"); err != nil {
		return err
	}
	found := false
	err = s.List(e.ctx, e.dir, func(i transfer.Info) error {
		found = found || i.Name == name+" renamed"
		return nil
	})
	if err != nil {
		return err
	}
	if !found {
		e.Errorf("%q is not listed", name)
	}
	return s.Remove(e.ctx, p+" renamed")
}
