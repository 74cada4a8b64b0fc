package batch

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// side is one end as the walker sees it.
type side interface {
	// stat follows symbolic links.
	stat(ctx context.Context, path string) (transfer.Info, error)
	// list gives a directory sorted by name.
	list(ctx context.Context, dir string) (*listing, error)
	// readlink says where a symbolic link points.
	readlink(ctx context.Context, path string) (string, error)
	join(dir, name string) string
	protocol() policy.Protocol
}

// walker goes through a tree, depth first and sorted by name. It holds the
// listings of the directories on the way down, nothing else.
type walker struct {
	side
	sel  Selection
	each func(Entry) error
	// held are directories that wait for something wanted below them.
	held []Entry
}

// root walks what an argument names: root itself, called base at the target.
func (w walker) root(ctx context.Context, root, base string, info transfer.Info) error {
	switch {
	case info.IsDir() && !w.sel.Recursive:
		return w.each(Entry{Path: root, Rel: base, Size: -1, Err: directory(w.protocol(), root)})
	case info.IsDir():
		var end func()
		w.side, end = lookAhead(ctx, w.side)
		defer end()
		if err := w.dir(ctx, root, base, ""); err != SkipDir {
			return err
		}
		return nil
	case !w.sel.Wants(path.Base(filepath.ToSlash(root)), info):
		return nil
	}
	return w.each(Entry{Path: root, Rel: base, Size: info.Size, Info: w.told(info)})
}

// told is the Info of an Entry.
func (w *walker) told(info transfer.Info) *transfer.Info {
	if w.isLocal() || !info.IsRegular() || info.Size < 0 || info.ModTime.IsZero() {
		return nil
	}
	return &info
}

// dir walks a directory. rel is where it goes at the target, below is its path
// as the filter sees it.
func (w *walker) dir(ctx context.Context, dir, rel, below string) error {
	depth := len(w.held)
	if err := w.emitDir(Entry{Path: dir, Rel: rel, Dir: true}); err != nil {
		return err
	}
	defer func() { w.held = w.held[:min(depth, len(w.held))] }()
	list, err := w.list(ctx, dir)
	if err != nil {
		return w.each(Entry{Path: dir, Rel: rel, Size: -1, Err: err})
	}
	next := scout{list: list, begin: func(name string) bool {
		if !w.sel.Enters(path.Join(below, name)) {
			return false
		}
		begin(w.side, w.join(dir, name))
		return true
	}}
	for n := range list.len() {
		info := list.info(n)
		if info.IsDir() {
			next.entering(info.Name)
		}
		if err := w.entry(ctx, dir, rel, below, info); err != nil {
			return err
		}
		if info.IsDir() {
			forget(w.side, w.join(dir, info.Name))
		}
	}
	return nil
}

func (w *walker) entry(ctx context.Context, dir, rel, below string, info transfer.Info) error {
	e := Entry{Path: w.join(dir, info.Name), Rel: path.Join(rel, info.Name), Size: info.Size, Info: w.told(info)}
	below = path.Join(below, info.Name)
	switch {
	case info.Bad != nil:
		e.Err = w.bad(e.Path, info.Bad)
		return w.each(e)
	case transfer.IsTemp(info.Name):
		return nil
	case info.IsDir():
		if !w.sel.Enters(below) {
			return nil
		}
		err := w.dir(ctx, e.Path, e.Rel, below)
		if err == SkipDir {
			return nil
		}
		return err
	case info.Mode&fs.ModeSymlink != 0:
		if e = w.link(ctx, e, below, info); e.Path == "" {
			return nil
		}
	case !w.sel.Wants(below, info):
		return nil
	case !info.IsRegular():
		e.Err = special(w.protocol(), e.Path)
	}
	return w.emit(e)
}

// link applies the policy to a symbolic link; no Path means nothing to do.
func (w *walker) link(ctx context.Context, e Entry, below string, info transfer.Info) Entry {
	switch {
	case w.sel.Links == LinksFollow:
		return w.follow(ctx, e, below)
	case w.sel.Links == LinksSkip || !w.sel.Wants(below, info):
		return Entry{}
	}
	if e.Link = info.Link; e.Link == "" {
		e.Link, e.Err = w.readlink(ctx, e.Path)
	}
	if e.Err == nil && !staysInside(e.Rel, e.Link) {
		e.Err = badLink(w.protocol(), e.Path, "the link may lead out of the tree: it points to "+policy.Sanitize(e.Link))
	}
	return e
}

// follow is about the file that a link leads to: the name is the link's, size and
// time are the file's.
func (w *walker) follow(ctx context.Context, e Entry, below string) Entry {
	e.Size = -1
	switch {
	case !w.sel.Wants(below, transfer.Info{Size: -1}):
		return Entry{}
	case !w.isLocal() && !w.sel.looksAtFile():
		e.Followed = true // the transfer looks
		return e
	}
	target, err := w.stat(ctx, e.Path)
	switch {
	case err != nil:
		e.Err = err
	case target.IsDir():
		e.Err = badLink(w.protocol(), e.Path, linkToDir)
	case !target.IsRegular():
		e.Err = special(w.protocol(), e.Path)
	case !w.sel.Wants(below, target):
		return Entry{}
	default:
		e.Size = target.Size
	}
	return e
}

const linkToDir = "a symbolic link to a directory is not followed"

// Failure makes err, with which the transfer of e called name ended, that of the
// link that e is.
func (e Entry) Failure(name string, err error) error {
	f, ok := errors.AsType[*policy.Fault](err)
	if !ok || !e.Followed || f.Cause != policy.CauseRemoteDirectory {
		return err
	}
	return policy.GiveUpOn(name, policy.FaultOf(badLink(f.Protocol, e.Path, linkToDir)))
}

// staysInside says whether a link at rel points to something below the first
// directory of rel, so that nothing is ever written through it elsewhere. A ".."
// behind a name is refused: the name may be that of a link, and then it is not its
// own directory that the way goes up from.
func staysInside(rel, target string) bool {
	if path.IsAbs(target) || filepath.VolumeName(target) != "" || strings.ContainsAny(target, "\\\x00") {
		return false
	}
	named := false
	for part := range strings.SplitSeq(target, "/") {
		if part == ".." && named {
			return false
		}
		named = named || part != "" && part != "." && part != ".."
	}
	to := path.Join(path.Dir(rel), target)
	return to != ".." && !strings.HasPrefix(to, "../")
}

func (w *walker) isLocal() bool { return w.protocol() == policy.Local }

func (w *walker) emitDir(e Entry) error {
	if w.sel.NoEmptyDirs {
		w.held = append(w.held, e)
		return nil
	}
	return w.each(e)
}

// emit tells of the directories that waited for this, then of e.
func (w *walker) emit(e Entry) error {
	for _, dir := range w.held {
		if err := w.each(dir); err != nil {
			return err
		}
	}
	w.held = w.held[:0]
	return w.each(e)
}

func (w *walker) bad(p string, err error) error {
	return badName(w.protocol(), p, err)
}

// glob matches a pattern of a server.
func (w walker) glob(ctx context.Context, pattern string, each func(string, transfer.Info) error) error {
	if !doublestar.ValidatePattern(pattern) {
		return policy.LocalFault("glob", pattern, doublestar.ErrBadPattern)
	}
	if rest, ok := strings.CutPrefix(pattern, "/"); ok {
		return w.match(ctx, "/", strings.Split(strings.TrimLeft(rest, "/"), "/"), each)
	}
	return w.match(ctx, ".", strings.Split(pattern, "/"), each)
}

// match calls each for every path below dir that fits the elements, sorted.
func (w walker) match(ctx context.Context, dir string, elements []string, each func(string, transfer.Info) error) error {
	element, rest := elements[0], elements[1:]
	if !HasPattern(element) {
		p := w.join(dir, element)
		if len(rest) > 0 {
			return w.match(ctx, p, rest, each)
		}
		info, err := w.stat(ctx, p)
		if err != nil {
			if transfer.IsMissing(err) {
				return nil
			}
			return err
		}
		return each(p, info)
	}
	if element == "**" && len(rest) > 0 {
		// No directory at all, and below each of those that are here.
		if err := w.match(ctx, dir, rest, each); err != nil {
			return err
		}
	}
	list, err := w.list(ctx, dir)
	if err != nil {
		if transfer.IsMissing(err) {
			return nil
		}
		return err
	}
	for info := range list.all() {
		if info.Bad != nil || transfer.IsTemp(info.Name) {
			continue
		}
		p := w.join(dir, info.Name)
		switch {
		case element == "**" && info.IsDir():
			err = w.match(ctx, p, elements, each)
		case element == "**":
			if len(rest) == 0 {
				err = each(p, info)
			}
		case !doublestar.MatchUnvalidated(element, info.Name):
		case len(rest) == 0:
			err = each(p, info)
		case info.IsDir(), info.Mode&fs.ModeSymlink != 0:
			err = w.match(ctx, p, rest, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// localSide is this machine.
type localSide struct{}

func (localSide) protocol() policy.Protocol { return policy.Local }

func (localSide) join(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

func (localSide) stat(_ context.Context, p string) (transfer.Info, error) {
	info, err := os.Stat(p)
	if err != nil {
		return transfer.Info{}, policy.LocalFault("open", p, err)
	}
	return infoOf(info), nil
}

func (localSide) readlink(_ context.Context, p string) (string, error) {
	target, err := os.Readlink(p)
	if err != nil {
		return "", policy.LocalFault("readlink", p, err)
	}
	return filepath.ToSlash(target), nil
}

// list reads in pieces: os.ReadDir holds a whole directory as values of many
// times the size.
func (localSide) list(ctx context.Context, dir string) (*listing, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, policy.LocalFault("open", dir, err)
	}
	defer d.Close() // only read from
	list := &listing{}
	for {
		entries, err := d.ReadDir(1024)
		for _, entry := range entries {
			list.add(localInfo(entry))
		}
		switch {
		case errors.Is(err, io.EOF):
			list.sort()
			return list, nil
		case err != nil:
			return nil, policy.LocalFault("read", dir, err)
		case ctx.Err() != nil:
			return nil, policy.LocalFault("read", dir, context.Cause(ctx))
		}
	}
}

func localInfo(entry fs.DirEntry) transfer.Info {
	info, err := entry.Info()
	if err != nil {
		return transfer.Info{Name: entry.Name(), Size: -1, Mode: entry.Type(), Bad: err}
	}
	return infoOf(info)
}

func infoOf(info fs.FileInfo) transfer.Info {
	return transfer.Info{
		Name: info.Name(), Size: info.Size(), Mode: info.Mode(), HasPerm: true,
		ModTime: info.ModTime(), Precision: time.Nanosecond,
	}
}

// remoteSide is a server.
type remoteSide struct {
	links *Links
	name  string
}

func (t remoteSide) protocol() policy.Protocol { return t.links.Location().Protocol() }

func (t remoteSide) join(dir, name string) string { return transfer.Join(dir, name) }

func (t remoteSide) stat(ctx context.Context, p string) (info transfer.Info, err error) {
	err = t.links.Use(ctx, t.name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		info, err = transfer.Stat(ctx, l, e, t.name, p)
		return err
	})
	return info, err
}

func (t remoteSide) readlink(ctx context.Context, p string) (target string, err error) {
	err = t.links.Use(ctx, t.name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		return e.Do(ctx, l.Op(t.name, 0, func(ctx context.Context, s transfer.Session) (err error) {
			if s.Extras().Readlink == nil {
				return badLink(t.protocol(), p, "the server does not tell where the link points")
			}
			target, err = s.Extras().Readlink(ctx, p)
			return err
		}))
	})
	return target, err
}

// list takes the directory in whole before anything is done with it: a listing
// that waits for transfers would time out, and one that broke off begins anew.
func (t remoteSide) list(ctx context.Context, dir string) (*listing, error) {
	return t.listUpTo(ctx, dir, -1)
}

// listUpTo gives up with errLarge where there are more than most entries, if most
// is not negative.
func (t remoteSide) listUpTo(ctx context.Context, dir string, most int) (*listing, error) {
	list := &listing{}
	tooLarge := false
	err := t.links.Use(ctx, t.name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		return e.Do(ctx, l.Op(t.name, 0, func(ctx context.Context, s transfer.Session) error {
			list.reset()
			err := s.List(ctx, dir, func(i transfer.Info) error {
				if tooLarge = list.len() == most; tooLarge {
					return errLarge
				}
				list.add(i)
				return nil
			})
			if tooLarge {
				return nil
			}
			return err
		}))
	})
	switch {
	case err != nil:
		return nil, err
	case tooLarge:
		return nil, errLarge
	}
	list.sort()
	return list, nil
}

func directory(p policy.Protocol, name string) error {
	cause := policy.CauseRemoteDirectory
	if p == policy.Local {
		cause = policy.CauseLocalDirectory
	}
	return &policy.Fault{Protocol: p, Op: "open", Path: name, Cause: cause, Text: "is a directory"}
}

func badLink(p policy.Protocol, name, text string) error {
	return &policy.Fault{Protocol: p, Op: "open", Path: name, Cause: policy.CauseLinkNotCopied, Text: text}
}

func badName(p policy.Protocol, name string, err error) error {
	return &policy.Fault{
		Protocol: p, Op: "list", Path: name, Cause: policy.CauseBadName, Text: policy.Sanitize(err.Error()), Err: err,
	}
}

func special(p policy.Protocol, name string) error {
	return &policy.Fault{Protocol: p, Op: "open", Path: name, Cause: policy.CauseNotRegular, Text: "a device, a socket or a pipe"}
}
