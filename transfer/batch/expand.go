package batch

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Entry is one thing that an argument names.
type Entry struct {
	// Path is the local path or the server's.
	Path string
	// Rel is where it goes below the target directory, "/" separated.
	Rel string
	// Dir: a directory to be made; its content follows.
	Dir bool
	// Link is the target of a symbolic link that is to be made as such.
	Link string
	// Followed: a symbolic link on a server, to nobody knows what.
	Followed bool
	// Size is in bytes, -1 when unknown.
	Size int64
	// Info is what the server told of an ordinary file, nil if that is not enough to
	// fetch it.
	Info *transfer.Info
	// Err: it can't be transferred, and why. The rest still can.
	Err error
}

// SkipDir, returned for a directory, leaves out what is in it.
var SkipDir = fs.SkipDir

// LinkPolicy is what becomes of symbolic links.
type LinkPolicy uint8

// The policies, as --links names them.
const (
	LinksFollow LinkPolicy = iota // copy the file that it points to; one to a directory is an error
	LinksSkip                     // leave them out
	LinksCopy                     // make the same link
)

var linkPolicyNames = [...]string{"follow", "skip", "copy"}

func (p LinkPolicy) String() string { return linkPolicyNames[p] }

// UnmarshalText reads a name; the error lists what it can be.
func (p *LinkPolicy) UnmarshalText(text []byte) error {
	i := slices.Index(linkPolicyNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(linkPolicyNames[:], ", "))
	}
	*p = LinkPolicy(i)
	return nil
}

// Selection says what of a tree is wanted.
type Selection struct {
	Filter
	// Recursive enters directories. Without it they are entries with Err.
	Recursive bool
	// Links is what becomes of symbolic links.
	Links LinkPolicy
	// NoEmptyDirs leaves out directories below which nothing is wanted.
	NoEmptyDirs bool
	// Bare leaves out the name of what an argument names: put -r dir NEW makes
	// NEW from dir, as cp does.
	Bare bool
}

// Local calls each for every wanted file that the arguments name: paths, or
// patterns where no file has that very name ("**" crosses directories).
// Directories come in the order of their names, byte by byte. A link to a
// directory is entered only where it is an argument itself: a loop must end.
func Local(ctx context.Context, args iter.Seq[string], sel Selection, each func(Entry) error) error {
	w := walker{side: localSide{}, sel: sel, each: each}
	for arg := range args {
		if err := w.local(ctx, arg); err != nil {
			return err
		}
	}
	return nil
}

func (w walker) local(ctx context.Context, arg string) error {
	_, err := os.Lstat(arg)
	if err == nil {
		return w.localRoot(ctx, arg)
	}
	if !HasPattern(arg) {
		return w.each(Entry{Path: arg, Size: -1, Err: policy.LocalFault("open", arg, err)})
	}
	found := false
	base, pattern := doublestar.SplitPattern(filepath.ToSlash(arg))
	globErr := w.match(ctx, filepath.FromSlash(base), strings.Split(pattern, "/"), func(p string, _ transfer.Info) error {
		found = true
		return w.localRoot(ctx, p)
	})
	if globErr == nil && !found {
		globErr = w.each(Entry{Path: arg, Size: -1, Err: policy.LocalFault("open", arg, err)})
	}
	return globErr
}

func (w walker) localRoot(ctx context.Context, root string) error {
	info, err := os.Stat(root)
	if err != nil {
		return w.each(Entry{Path: root, Size: -1, Err: policy.LocalFault("open", root, err)})
	}
	base := filepath.Base(filepath.Clean(root))
	if base == "." || base == ".." || base == string(filepath.Separator) || w.sel.Bare {
		base = "" // "put -r . DST" copies what is in it
	}
	return w.root(ctx, root, base, infoOf(info))
}

// Below calls each for every wanted file that the names mean below a local
// directory; each keeps its path.
func Below(ctx context.Context, dir string, names iter.Seq2[string, error], sel Selection, each func(Entry) error) error {
	w := walker{side: localSide{}, sel: sel, each: each}
	return w.below(ctx, dir, names)
}

// below walks the names of a list.
func (w walker) below(ctx context.Context, dir string, names iter.Seq2[string, error]) error {
	for name, err := range names {
		if err != nil {
			return err
		}
		rel := path.Clean(strings.TrimSuffix(name, "/"))
		err = transfer.ValidPath(rel)
		if err == nil && !filepath.IsLocal(filepath.FromSlash(rel)) {
			err = &policy.Fault{
				Protocol: policy.Local, Phase: policy.Command, Op: "open", Path: name,
				Cause: policy.CauseBadName, Text: "not a path below the source",
			}
		}
		if err != nil {
			if err := w.each(Entry{Path: name, Rel: name, Size: -1, Err: err}); err != nil {
				return err
			}
			continue
		}
		p := w.join(dir, rel)
		info, err := w.stat(ctx, p)
		if err != nil {
			err = w.each(Entry{Path: p, Rel: rel, Size: -1, Err: err})
		} else {
			err = w.root(ctx, p, rel, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Names reads a list of paths, one on a line, or ended by NUL (find -print0): then
// they may have line feeds.
func Names(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		in := bufio.NewReaderSize(r, bufio.MaxScanTokenSize)
		_, _ = in.Peek(1) // an error comes again when it is read
		start, _ := in.Peek(in.Buffered())
		ends := "\n\x00"
		if bytes.IndexByte(start, 0) >= 0 {
			ends = "\x00"
		}
		lines := bufio.NewScanner(in)
		lines.Split(splitNames(ends))
		for lines.Scan() {
			if name := lines.Text(); name != "" && !yield(name, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield("", policy.LocalFault("read", "the list of files", err))
		}
	}
}

func splitNames(ends string) bufio.SplitFunc {
	return func(data []byte, atEOF bool) (advance int, token []byte, err error) {
		if i := bytes.IndexAny(data, ends); i >= 0 {
			name := data[:i]
			if data[i] == '\n' {
				name = bytes.TrimSuffix(name, []byte("\r"))
			}
			return i + 1, name, nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	}
}

// Remote calls each for every wanted file that the pattern names on the server:
// a path, or a pattern where no file has that very name. Temporary files of
// running uploads are left out. name begins the message of a failure.
func Remote(ctx context.Context, links *Links, name, pattern string, sel Selection, each func(Entry) error) error {
	w := walker{side: remoteSide{links, name}, sel: sel, each: each}
	if !HasPattern(pattern) {
		return w.remoteRoot(ctx, pattern, transfer.Info{Size: -1})
	}
	if info, err := w.stat(ctx, pattern); err == nil {
		return w.remoteRoot(ctx, pattern, info)
	}
	found := false
	err := w.glob(ctx, pattern, func(p string, info transfer.Info) error {
		found = true
		return w.remoteRoot(ctx, p, info)
	})
	if err == nil && !found {
		err = noMatch(links.Location(), name, pattern)
	}
	return err
}

// RemoteBelow is Below on a server.
func RemoteBelow(ctx context.Context, links *Links, name, dir string, names iter.Seq2[string, error], sel Selection, each func(Entry) error) error {
	w := walker{side: remoteSide{links, name}, sel: sel, each: each}
	return w.below(ctx, dir, names)
}

// remoteRoot walks what a pattern fits. listed is what is known of it: of a plain
// name nothing.
func (w walker) remoteRoot(ctx context.Context, root string, listed transfer.Info) error {
	_, base := transfer.Split(root)
	if base == "." || base == ".." {
		base = ""
	}
	if !w.sel.Recursive && !w.sel.looksAtFile() {
		if base != "" && !w.sel.Wants(base, transfer.Info{Size: -1}) {
			return nil
		}
		e := Entry{Path: root, Rel: base, Size: -1, Info: w.told(listed)}
		if e.Info != nil {
			e.Size = e.Info.Size
		}
		return w.each(e)
	}
	if w.sel.Bare {
		base = ""
	}
	info, err := w.stat(ctx, root)
	if err != nil {
		return w.each(Entry{Path: root, Rel: base, Size: -1, Err: err})
	}
	return w.root(ctx, root, base, info)
}

// Match gives the paths of the link's server that a pattern names, at least one.
// A path without pattern characters, or that exists as it is written, is taken
// literally; else it is matched element by element.
func Match(ctx context.Context, l *transfer.Link, e *policy.Engine, name, pattern string) ([]string, error) {
	if !HasPattern(pattern) {
		return []string{pattern}, nil
	}
	if _, err := transfer.Stat(ctx, l, e, name, pattern); err == nil {
		return []string{pattern}, nil
	}
	links := NewLinks(l.Location(), func() *transfer.Link { return l }, e, 1)
	var paths []string
	err := walker{side: remoteSide{links, name}}.glob(ctx, pattern, func(p string, _ transfer.Info) error {
		paths = append(paths, p)
		return nil
	})
	if err == nil && len(paths) == 0 {
		err = noMatch(l.Location(), name, pattern)
	}
	return paths, err
}

func noMatch(loc transfer.Location, name, pattern string) error {
	return policy.GiveUpOn(name, &policy.Fault{
		Protocol: loc.Protocol(), Phase: policy.Command, Op: "glob", Host: loc.Host,
		Path: pattern, Cause: policy.CauseRemoteMissing, Text: "no file matches",
		Locate: func(p string) string { return loc.WithPath(p).String() },
	})
}

// HasPattern says whether an argument may name several files.
func HasPattern(s string) bool { return strings.ContainsAny(s, "*?[{") }
