package transfertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

func testList(e *env) {
	start := time.Now()
	e.put("file", content(12345))
	e.put("empty", nil)
	e.put(".hidden", content(3))
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	e.must(e.s.Mkdir(e.ctx, e.path(".hidden dir")))

	entries := e.list(e.s, e.dir)
	e.holdsOnly(e.dir, "file", "empty", ".hidden", "dir", ".hidden dir")
	for name, size := range map[string]int64{"file": 12345, "empty": 0, ".hidden": 3} {
		i := entries[name]
		if !i.IsRegular() || i.Size != size {
			e.Errorf("%q: mode %v, size %d, want a regular file of %d bytes", name, i.Mode, i.Size, size)
		}
		e.around(name, i, start, time.Now())
	}
	for _, name := range []string{"dir", ".hidden dir"} {
		if !entries[name].IsDir() {
			e.Errorf("%q: mode %v, want a directory", name, entries[name].Mode)
		}
	}
}

// around checks a time that is only as exact as the server tells.
func (e *env) around(what string, i transfer.Info, from, to time.Time) {
	e.Helper()
	if i.ModTime.IsZero() {
		e.Errorf("%s: no modification time", what)
		return
	}
	if i.Precision <= 0 {
		e.Errorf("%s: precision %v of a time that is there", what, i.Precision)
	}
	// Servers cut off what they don't tell. Clocks tick in steps.
	if from = from.Add(-i.Precision - time.Second); i.ModTime.Before(from) || i.ModTime.After(to.Add(time.Second)) {
		e.Errorf("%s: modified at %v, want %v to %v", what, i.ModTime, from, to)
	}
}

func testListEmpty(e *env) {
	e.holdsOnly(e.dir)
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	e.holdsOnly(e.path("dir"))
}

func testListMany(e *env) {
	const count = 10_000
	want := make([]string, count)
	for i := range want {
		want[i] = fmt.Sprintf("entry %05d", i)
	}
	if e.disk == "" {
		e.must(e.Make(e.dir, want))
	} else {
		for _, name := range want {
			e.must(os.WriteFile(filepath.Join(e.disk, name), nil, 0o644))
		}
	}
	e.holdsOnly(e.dir, want...)
}

func testListStops(e *env) {
	for _, name := range []string{"a", "b", "c", "d"} {
		e.put(name, nil)
	}
	calls := 0
	err := e.s.List(e.ctx, e.dir, func(transfer.Info) error {
		if calls++; calls == 2 {
			return errBoom
		}
		return nil
	})
	if !errors.Is(err, errBoom) || calls != 2 {
		e.Errorf("%d calls, then %v; want the error of the second", calls, err)
	}
	e.usableOrClosed(e.s)
}

func testStat(e *env) {
	start := time.Now()
	e.put("file", content(777))
	i, err := e.s.Stat(e.ctx, e.path("file"))
	e.must(err)
	if i.Name != "file" || i.Size != 777 || !i.IsRegular() {
		e.Errorf("file: %+v", i)
	}
	e.around("file", i, start, time.Now())
	if i.Precision != e.Can.TimePrecision {
		e.Errorf("file: precision %v, want %v", i.Precision, e.Can.TimePrecision)
	}
	for _, dir := range []string{e.dir, e.Dir, "."} {
		i, err = e.s.Stat(e.ctx, dir)
		e.must(err)
		if !i.IsDir() {
			e.Errorf("%q: mode %v, want a directory", dir, i.Mode)
		}
	}
}

func testRename(e *env) {
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	e.put("a", content(100))
	e.must(e.s.Rename(e.ctx, e.path("a"), e.path("b")))
	e.must(e.s.Rename(e.ctx, e.path("b"), e.path("dir/c")))
	e.must(e.s.Rename(e.ctx, e.path("dir"), e.path("moved")))
	e.holdsOnly(e.dir, "moved")
	e.holds("moved/c", content(100))
}

func testRenameOnto(e *env) {
	e.put("new", content(100))
	e.put("old", content(200))
	err := e.s.Rename(e.ctx, e.path("new"), e.path("old"))
	if e.Can.RenameReplaces {
		e.must(err)
		e.holdsOnly(e.dir, "old")
		e.holds("old", content(100))
		return
	}
	e.refused("rename onto a file", err, policy.KindTarget)
	e.holds("new", content(100))
	e.holds("old", content(200))
	if e.s.Extras().ReplacesOnRename {
		e.Error("Extras.ReplacesOnRename is set, and it did not")
	}
}

func testRemove(e *env) {
	e.put("file", content(3))
	e.put("other", content(4))
	e.must(e.s.Remove(e.ctx, e.path("file")))
	e.holdsOnly(e.dir, "other")
	// A directory is not a file, not even an empty one.
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	e.refused("remove a directory", e.s.Remove(e.ctx, e.path("dir")))
	e.holdsOnly(e.dir, "other", "dir")
}

func testMkdirRmdir(e *env) {
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	e.put("dir/file", content(3))
	e.put("file", content(4))

	e.refused("mkdir of a directory", e.s.Mkdir(e.ctx, e.path("dir")), policy.KindTarget)
	e.refused("mkdir of a file", e.s.Mkdir(e.ctx, e.path("file")), policy.KindTarget)
	e.refused("mkdir without parent", e.s.Mkdir(e.ctx, e.path("none/dir")), policy.KindTarget, policy.KindMissing)
	e.refused("rmdir of a full directory", e.s.Rmdir(e.ctx, e.path("dir")))
	e.refused("rmdir of a file", e.s.Rmdir(e.ctx, e.path("file")))
	e.holdsOnly(e.dir, "dir", "file")
	e.holds("dir/file", content(3))
	e.holds("file", content(4))

	e.must(e.s.Remove(e.ctx, e.path("dir/file")))
	e.must(e.s.Rmdir(e.ctx, e.path("dir")))
	e.holdsOnly(e.dir, "file")
}

func testMissing(e *env) {
	missing := e.path("missing")
	_, err := e.s.Get(e.ctx, missing, 0, sink())
	e.refused("get", err, policy.KindMissing)
	e.refused("remove", e.s.Remove(e.ctx, missing), policy.KindMissing)
	e.refused("rename", e.s.Rename(e.ctx, missing, e.path("new")), policy.KindMissing)
	e.refused("rmdir", e.s.Rmdir(e.ctx, missing), policy.KindMissing)

	// A session may have found out by looking: then there is no code.
	_, err = e.s.Stat(e.ctx, missing)
	e.kind("stat", e.isFault(err), policy.KindMissing)
	for _, below := range []string{"missing/file", "missing/dir/file", "missing/dir/dir/file"} {
		_, err = e.s.Stat(e.ctx, e.path(below))
		if e.kind("stat of "+below, e.isFault(err), policy.KindMissing); !transfer.IsMissing(err) {
			e.Errorf("stat of %s: %v: only a diagnosis tells that it is missing", below, err)
		}
	}
	err = e.s.List(e.ctx, missing, func(i transfer.Info) error {
		return fmt.Errorf("listed %+v", i)
	})
	e.kind("list", e.isFault(err), policy.KindMissing)
	e.holdsOnly(e.dir)
	e.usable(e.s)
}

func testRefusedPut(e *env) {
	e.must(e.s.Mkdir(e.ctx, e.path("dir")))
	e.put("dir/file", content(3))
	e.put("file", content(4))

	_, err := e.s.Put(e.ctx, e.path("dir"), 0, whole(content(100)))
	e.refused("put onto a directory", err, policy.KindTarget)
	_, err = e.s.Put(e.ctx, e.path("none/file"), 0, whole(content(100)))
	e.refused("put into a missing directory", err, policy.KindTarget, policy.KindMissing)
	_, err = e.s.Put(e.ctx, e.path("file/file"), 0, whole(content(100)))
	e.refused("put below a file", err, policy.KindTarget, policy.KindMissing)
	_, err = e.s.Put(e.ctx, e.path("dir"), 0, stream(content(large), -1))
	e.refused("put a stream onto a directory", err, policy.KindTarget)

	e.holdsOnly(e.dir, "dir", "file")
	e.holdsOnly(e.path("dir"), "file")
	e.holds("dir/file", content(3))
	e.holds("file", content(4))
	e.usable(e.s)
}

// isFault checks that an error carries a fault and that it says what it can.
func (e *env) isFault(err error) *policy.Fault {
	e.Helper()
	f, ok := errors.AsType[*policy.Fault](err)
	switch {
	case err == nil:
		e.Error("no error")
		return nil
	case !ok:
		e.Errorf("%v (%T) carries no *policy.Fault", err, err)
		return nil
	case f.Op == "":
		e.Errorf("%s: no operation", describe(err))
	case f.Text != policy.Sanitize(f.Text):
		e.Errorf("%s: the text is not sanitised", describe(err))
	}
	return f
}

// isLocal checks a fault of this machine, for which no server is to blame.
func (e *env) isLocal(err error) {
	e.Helper()
	if f := e.isFault(err); f != nil && f.Protocol != policy.Local {
		e.Errorf("%s: want protocol %v", describe(err), policy.Local)
	}
}

// refused checks the fault of an operation that the server answered with a
// code, and that its verdict has one of the kinds; any, if none is given.
func (e *env) refused(what string, err error, kinds ...policy.Kind) {
	e.Helper()
	f := e.isFault(err)
	if f == nil {
		e.Logf("… by %s", what)
		return
	}
	if f.Protocol != e.Can.Protocol || f.Phase < policy.Command || f.Code == 0 || f.Text == "" || f.Path == "" {
		e.Errorf("%s: %s: want protocol %v, phase command or later, a code, a text and a path", what, describe(err), e.Can.Protocol)
	}
	e.kind(what, f, kinds...)
}

// kind checks the verdict, after a diagnosis where the catalogue asks for one.
func (e *env) kind(what string, f *policy.Fault, kinds ...policy.Kind) {
	e.Helper()
	if f == nil {
		return
	}
	v := policy.Classify(f)
	if diagnose := e.s.Extras().Diagnose; v.Remedy == policy.Diagnose && diagnose != nil {
		v = diagnose(e.ctx, f, 0)
	}
	if v.Rule == "" || v.Head == "" || v.Means == "" {
		e.Errorf("%s: %s: the verdict says nothing: %+v", what, describe(f), v)
	}
	if len(kinds) > 0 && !slices.Contains(kinds, v.Kind) {
		e.Errorf("%s: %s: rule %s of kind %v, want %v", what, describe(f), v.Rule, v.Kind, kinds)
	}
}
