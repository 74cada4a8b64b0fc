package transfertest

import (
	"cmp"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// names are those that clients and servers mangle: each means something to a
// shell, a glob, a listing parser, an option parser or a URL.
var names = []string{
	"with space", "two  spaces", " leading space", "trailing space ", " ",
	"it's", `say "hi"`, `"`, "-dash", "-rf", "--", "*", "?", "[a-z]", "a*b?c[d]e", "{a,b}",
	"#hash", "100%", "%41", "%", "a;b", "a&b|c", "$HOME", "`id`", `back\slash`, `\`,
	"~", "~user", ".hidden", "...", "a:b", "a=b,c", "a -> b",
	"caf\u00e9", "cafe\u0301", // the same to the eye, composed and decomposed
	"日本語", "📁 🇩🇪", strings.Repeat("n", 200),
}

func testNames(e *env) {
	e.must(e.s.Mkdir(e.ctx, e.path("files")))
	e.must(e.s.Mkdir(e.ctx, e.path("dirs")))
	var files, dirs []string
	for _, name := range names {
		if as, odd := e.Can.Names[name]; odd {
			e.oddName(name, as)
			continue
		}
		files = append(files, name)
		e.nameOfFile(name)
		if slices.Contains(e.Can.NotDirs, name) {
			e.refused("mkdir", e.s.Mkdir(e.ctx, e.path("dirs/"+name)))
			continue
		}
		dirs = append(dirs, name)
		e.nameOfDir(name)
	}
	e.holdsOnly(e.path("files"), files...)
	e.holdsOnly(e.path("dirs"), dirs...)
	for _, name := range slices.Concat(e.Can.NotDirs, slices.Collect(maps.Keys(e.Can.Names))) {
		if !slices.Contains(names, name) {
			e.Errorf("the fixture speaks of the name %q, which is not tested", name)
		}
	}
}

// nameOfFile gives a file the name by putting and by renaming, and takes it away.
func (e *env) nameOfFile(name string) {
	e.Helper()
	b := content(len(name))
	e.put("files/"+name, b)
	e.holds("files/"+name, b)
	e.must(e.s.Rename(e.ctx, e.path("files/"+name), e.path("renamed")))
	e.holds("renamed", b)
	e.must(e.s.Rename(e.ctx, e.path("renamed"), e.path("files/"+name)))
	e.holds("files/"+name, b)
	e.must(e.s.Remove(e.ctx, e.path("files/"+name)))
	e.put("files/"+name, b)
}

// nameOfDir gives a directory the name, looks into it, and takes it away.
func (e *env) nameOfDir(name string) {
	e.Helper()
	dir := "dirs/" + name
	e.must(e.s.Mkdir(e.ctx, e.path(dir)))
	e.put(dir+"/file", content(3))
	e.holds(dir+"/file", content(3))
	e.holdsOnly(e.path(dir), "file")
	info, err := e.s.Stat(e.ctx, e.path(dir))
	e.must(err)
	if !info.IsDir() {
		e.Errorf("stat %q: mode %v, want a directory", dir, info.Mode)
	}
	e.must(e.s.Remove(e.ctx, e.path(dir+"/file")))
	e.must(e.s.Rmdir(e.ctx, e.path(dir)))
	e.must(e.s.Mkdir(e.ctx, e.path(dir)))
}

// oddName asserts what the fixture says about a name that the server does not
// store as it is.
func (e *env) oddName(name, as string) {
	e.Helper()
	_, err := e.s.Put(e.ctx, e.path("files/"+name), 0, whole(content(3)))
	if as == "" {
		e.isFault(err)
		e.usable(e.s)
		return
	}
	e.must(err)
	if _, there := e.list(e.s, e.path("files"))[as]; !there {
		e.Errorf("%q is not stored as %q", name, as)
	}
	e.must(e.s.Remove(e.ctx, e.path("files/"+as)))
}

// testRelativeNames has no directory in front that would hide a dash or a tilde.
func testRelativeNames(e *env) {
	for _, name := range []string{"plain", "-dash", "-a", "~backup", "#hash", "a b", "*"} {
		if _, odd := e.Can.Names[name]; odd {
			continue // testNames has seen what becomes of it
		}
		b := content(len(name))
		e.putOn(e.s, name, 0, whole(b), int64(len(b)))
		e.same(name, e.get(name, 0), b)
		e.same(name+", absolute", e.get(transfer.Join(e.Dir, name), 0), b)
		info, err := e.s.Stat(e.ctx, name)
		e.must(err)
		if info.Name != name || info.Size != int64(len(b)) {
			e.Errorf("stat %q: %q of %d bytes, want %d", name, info.Name, info.Size, len(b))
		}
		if _, there := e.list(e.s, ".")[name]; !there {
			e.Errorf("list: %q is not there", name)
		}
		e.must(e.s.Remove(e.ctx, name))

		if slices.Contains(e.Can.NotDirs, name) {
			continue
		}
		e.must(e.s.Mkdir(e.ctx, name))
		e.putOn(e.s, name+"/file", 0, whole(b), int64(len(b)))
		e.holdsOnly(name, "file")
		e.must(e.s.Remove(e.ctx, name+"/file"))
		e.must(e.s.Rmdir(e.ctx, name))
	}
}

func testLongNames(e *env) {
	longest := cmp.Or(e.Can.NameMax, 255)
	fits := strings.Repeat("é", longest/2) + strings.Repeat("n", longest%2)
	e.put(fits, content(3))
	e.holds(fits, content(3))
	e.holdsOnly(e.dir, fits)
	if e.Can.NameMax == 0 {
		return
	}
	_, err := e.s.Put(e.ctx, e.path(fits+"n"), 0, whole(content(3)))
	e.refused("put", err, policy.KindTarget)
	e.refused("mkdir", e.s.Mkdir(e.ctx, e.path(fits+"n")), policy.KindTarget)
	e.holdsOnly(e.dir, fits)
}

// testBadNames: what splits a command never reaches the server, by no way.
func testBadNames(e *env) {
	e.put("file", content(3))
	for _, bad := range []string{
		"", "file\n", e.path("\n"), e.path("a\nDELE file"), e.path("a\r\nDELE file"), e.path("a\rb"), e.path("a\x00b"),
	} {
		for what, call := range e.callsWith(bad) {
			err := call()
			if f, ok := errors.AsType[*policy.Fault](err); !ok || f.Cause != policy.CauseBadName {
				e.Errorf("%s of %q: %v, want the fault %s", what, bad, err, policy.CauseBadName)
			}
		}
	}
	if !e.s.Alive() {
		e.Fatal("a refused name ended the session")
	}
	e.usable(e.s)
	e.holdsOnly(e.dir, "file")
	if e.disk != "" {
		entries, err := os.ReadDir(e.disk)
		e.must(err)
		if len(entries) != 1 {
			e.Errorf("on disk: %v, want only the file", entries)
		}
	}
}

// callsWith is everything that takes a path, by name, with p as the path.
func (e *env) callsWith(p string) map[string]func() error {
	ctx, s, x := e.ctx, e.s, e.s.Extras()
	file, other := e.path("file"), e.path("other")
	calls := map[string]func() error{
		"stat":        func() error { _, err := s.Stat(ctx, p); return err },
		"list":        func() error { return s.List(ctx, p, func(transfer.Info) error { return nil }) },
		"get":         func() error { _, err := s.Get(ctx, p, 0, sink()); return err },
		"put":         func() error { _, err := s.Put(ctx, p, 0, whole(content(3))); return err },
		"rename from": func() error { return s.Rename(ctx, p, other) },
		"rename to":   func() error { return s.Rename(ctx, file, p) },
		"remove":      func() error { return s.Remove(ctx, p) },
		"mkdir":       func() error { return s.Mkdir(ctx, p) },
		"rmdir":       func() error { return s.Rmdir(ctx, p) },
	}
	if x.SetModTime != nil {
		calls["set modification time"] = func() error { return x.SetModTime(ctx, p, time.Unix(1e9, 0)) }
	}
	if x.Chmod != nil {
		calls["chmod"] = func() error { return x.Chmod(ctx, p, 0o600) }
	}
	if x.Replace != nil {
		calls["replace from"] = func() error { return x.Replace(ctx, p, other) }
		calls["replace to"] = func() error { return x.Replace(ctx, file, p) }
	}
	if x.Lstat != nil {
		calls["lstat"] = func() error { _, err := x.Lstat(ctx, p); return err }
	}
	if x.Readlink != nil {
		calls["readlink"] = func() error { _, err := x.Readlink(ctx, p); return err }
	}
	if x.Symlink != nil {
		calls["symlink"] = func() error { return x.Symlink(ctx, file, p) }
	}
	if x.Realpath != nil {
		calls["realpath"] = func() error { _, err := x.Realpath(ctx, p); return err }
	}
	return calls
}
