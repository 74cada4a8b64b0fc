package batch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
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
	// Err: it can't be transferred, and why. The rest still can.
	Err error
}

// Local calls each for every file that the arguments name: paths, or patterns
// where no file has that very name ("**" crosses directories). A directory is
// an entry with Err unless recursive. Symbolic links to files are followed,
// those to directories below an argument are not: a loop must end.
func Local(args []string, recursive bool, each func(Entry) error) error {
	for _, arg := range args {
		paths, err := localMatches(arg)
		if err != nil {
			if err := each(Entry{Path: arg, Err: err}); err != nil {
				return err
			}
		}
		for _, p := range paths {
			if err := localTree(p, recursive, each); err != nil {
				return err
			}
		}
	}
	return nil
}

func localMatches(arg string) ([]string, error) {
	_, err := os.Lstat(arg)
	if err == nil {
		return []string{arg}, nil
	}
	if !HasPattern(arg) {
		return nil, policy.LocalFault("open", arg, err)
	}
	paths, globErr := doublestar.FilepathGlob(arg, doublestar.WithFailOnIOErrors())
	switch {
	case globErr != nil:
		return nil, policy.LocalFault("glob", arg, globErr)
	case len(paths) == 0:
		return nil, policy.LocalFault("open", arg, err)
	}
	return paths, nil
}

func localTree(root string, recursive bool, each func(Entry) error) error {
	info, err := os.Stat(root)
	if err != nil {
		return each(Entry{Path: root, Err: policy.LocalFault("open", root, err)})
	}
	base := filepath.Base(filepath.Clean(root))
	if base == "." || base == ".." || base == string(filepath.Separator) {
		base = "" // "put -r . DST" copies what is in it
	}
	if !info.IsDir() {
		return each(Entry{Path: root, Rel: base})
	}
	if !recursive {
		return each(Entry{Path: root, Err: directory(policy.Local, root)})
	}
	if resolved, err := filepath.EvalSymlinks(root); err == nil {
		root = resolved // WalkDir would not enter a link
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(root, p)
		rel = path.Join(base, filepath.ToSlash(rel))
		switch {
		case err != nil || relErr != nil:
			return each(Entry{Path: p, Rel: rel, Err: policy.LocalFault("open", p, errors.Join(err, relErr))})
		case d.IsDir():
			return each(Entry{Path: p, Rel: rel, Dir: true})
		case d.Type()&fs.ModeSymlink != 0:
			if target, err := os.Stat(p); err != nil || target.IsDir() {
				return each(Entry{Path: p, Rel: rel, Err: skippedLink(p, err)})
			}
		case !d.Type().IsRegular():
			return each(Entry{Path: p, Rel: rel, Err: special(policy.Local, p)})
		}
		return each(Entry{Path: p, Rel: rel})
	})
}

// Remote calls each for every file that the pattern names on the link's server
// (see Match). Temporary files of running uploads are left out. name begins the
// message of a failure.
func Remote(ctx context.Context, l *transfer.Link, e *policy.Engine, name, pattern string, recursive bool, each func(Entry) error) error {
	matches, err := Match(ctx, l, e, name, pattern)
	if err != nil {
		return err
	}
	for _, p := range matches {
		if err := remoteTree(ctx, l, e, name, p, recursive, each); err != nil {
			return err
		}
	}
	return nil
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
	dirs := []string{"."}
	rest := pattern
	if strings.HasPrefix(pattern, "/") {
		dirs, rest = []string{"/"}, strings.TrimLeft(pattern, "/")
	}
	for element := range strings.SplitSeq(rest, "/") {
		var next []string
		for _, dir := range dirs {
			if !HasPattern(element) {
				next = append(next, transfer.Join(dir, element))
				continue
			}
			list, err := transfer.List(ctx, l, e, name, dir)
			if err != nil {
				return nil, err
			}
			for _, info := range list {
				if info.Bad != nil || transfer.IsTemp(info.Name) {
					continue
				}
				if ok, err := doublestar.Match(element, info.Name); err != nil {
					return nil, policy.LocalFault("glob", pattern, err)
				} else if ok {
					next = append(next, transfer.Join(dir, info.Name))
				}
			}
		}
		dirs = next
	}
	if len(dirs) == 0 {
		f := &policy.Fault{
			Protocol: l.Location().Protocol(), Phase: policy.Command, Op: "glob", Host: l.Location().Host,
			Path: pattern, Cause: policy.CauseRemoteMissing, Text: "no file matches",
		}
		return nil, policy.GiveUpOn(name, f)
	}
	return dirs, nil
}

func remoteTree(ctx context.Context, l *transfer.Link, e *policy.Engine, name, root string, recursive bool, each func(Entry) error) error {
	_, base := transfer.Split(root)
	if base == "." || base == ".." {
		base = ""
	}
	if !recursive {
		return each(Entry{Path: root, Rel: base})
	}
	info, err := transfer.Stat(ctx, l, e, name, root)
	switch {
	case err != nil:
		return each(Entry{Path: root, Rel: base, Err: err})
	case !info.IsDir():
		return each(Entry{Path: root, Rel: base})
	}
	return remoteDir(ctx, l, e, name, root, base, each)
}

func remoteDir(ctx context.Context, l *transfer.Link, e *policy.Engine, name, dir, rel string, each func(Entry) error) error {
	if err := each(Entry{Path: dir, Rel: rel, Dir: true}); err != nil {
		return err
	}
	list, err := transfer.List(ctx, l, e, name, dir)
	if err != nil {
		return each(Entry{Path: dir, Rel: rel, Err: err})
	}
	for _, info := range list {
		p, r := transfer.Join(dir, info.Name), path.Join(rel, info.Name)
		switch {
		case info.Bad != nil:
			err = each(Entry{Path: p, Rel: r, Err: badName(l, p, info.Bad)})
		case transfer.IsTemp(info.Name):
		case info.IsDir():
			err = remoteDir(ctx, l, e, name, p, r, each)
		case info.IsRegular(), info.Mode&fs.ModeSymlink != 0:
			err = each(Entry{Path: p, Rel: r})
		default:
			err = each(Entry{Path: p, Rel: r, Err: special(l.Location().Protocol(), p)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// HasPattern says whether an argument may name several files.
func HasPattern(s string) bool { return strings.ContainsAny(s, "*?[{") }

func directory(p policy.Protocol, name string) error {
	return &policy.Fault{Protocol: p, Op: "open", Path: name, Cause: policy.CauseLocalDirectory, Text: "is a directory"}
}

func skippedLink(name string, err error) error {
	if err != nil {
		return policy.LocalFault("open", name, err)
	}
	return &policy.Fault{Protocol: policy.Local, Op: "open", Path: name, Cause: policy.CauseLocalDirectory, Text: "a symbolic link to a directory is not followed"}
}

func special(p policy.Protocol, name string) error {
	return &policy.Fault{Protocol: p, Op: "open", Path: name, Cause: policy.CauseNotRegular, Text: "a device, a socket or a pipe"}
}

func badName(l *transfer.Link, name string, err error) error {
	return &policy.Fault{
		Protocol: l.Location().Protocol(), Op: "list", Host: l.Location().Host, Path: name,
		Cause: policy.CauseBadName, Text: policy.Sanitize(err.Error()), Err: err,
	}
}
