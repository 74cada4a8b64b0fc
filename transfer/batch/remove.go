package batch

import (
	"context"
	"strings"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// RemoveAll deletes a file, or a directory with all that is in it. A symbolic
// link goes, what it points to stays. It stops at the first failure.
func RemoveAll(ctx context.Context, l *transfer.Link, e *policy.Engine, name, path string) error {
	path = bare(path)
	var info transfer.Info
	err := e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s transfer.Session) (err error) {
		info, err = lstat(ctx, s, path)
		return err
	}))
	if err != nil {
		return err
	}
	return removeTree(ctx, l, e, name, path, info)
}

// bare leaves out the slashes at the end: with them a symbolic link is followed.
func bare(path string) string {
	for {
		short := strings.TrimSuffix(strings.TrimRight(path, "/"), "/.")
		switch short {
		case "":
			return path[:1]
		case path:
			return path
		}
		path = short
	}
}

// lstat describes the file itself. FTP has no request that does not follow a
// symbolic link, but the listing of the directory that a link is in.
func lstat(ctx context.Context, s transfer.Session, path string) (transfer.Info, error) {
	if look := s.Extras().Lstat; look != nil {
		return look(ctx, path)
	}
	info, err := s.Stat(ctx, path)
	dir, name := transfer.Split(path)
	if err != nil || !info.IsDir() || name == "" || name == "." || name == ".." {
		return info, err
	}
	err = s.List(ctx, dir, func(i transfer.Info) error {
		if i.Name == name && i.Bad == nil {
			info = i
		}
		return nil
	})
	return info, err
}

func removeTree(ctx context.Context, l *transfer.Link, e *policy.Engine, name, path string, info transfer.Info) error {
	if !info.IsDir() {
		return transfer.Remove(ctx, l, e, name, path)
	}
	if gone, err := unlink(ctx, l, e, name, path); err != nil || gone {
		return err
	}
	list, err := transfer.List(ctx, l, e, name, path)
	if err != nil {
		return err
	}
	for _, child := range list {
		if child.Bad != nil {
			return badName(l.Location().Protocol(), transfer.Join(path, child.Name), child.Bad)
		}
		if err := removeTree(ctx, l, e, name, transfer.Join(path, child.Name), child); err != nil {
			return err
		}
	}
	return transfer.Rmdir(ctx, l, e, name, path)
}

// unlink removes a link that is listed as the directory that it leads to, as proftpd
// does with "ShowSymlinks off". DELE removes it, and fails for good on a directory. A
// permission that is missing says nothing of what it is.
func unlink(ctx context.Context, l *transfer.Link, e *policy.Engine, name, path string) (gone bool, err error) {
	err = e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s transfer.Session) error {
		if s.Extras().Lstat != nil {
			return nil
		}
		err := s.Remove(ctx, path)
		if gone = err == nil; gone {
			return nil
		}
		if f := policy.FaultOf(err); f.Code/100 == 5 && !policy.Denied(f.Text) {
			return nil
		}
		return err
	}))
	return gone, err
}
