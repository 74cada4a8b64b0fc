package batch

import (
	"context"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// RemoveAll deletes a file, or a directory with all that is in it. A symbolic
// link goes, what it points to stays. It stops at the first failure.
func RemoveAll(ctx context.Context, l *transfer.Link, e *policy.Engine, name, path string) error {
	var info transfer.Info
	err := e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s transfer.Session) (err error) {
		look := s.Stat
		if s.Extras().Lstat != nil {
			look = s.Extras().Lstat
		}
		info, err = look(ctx, path)
		return err
	}))
	if err != nil {
		return err
	}
	return removeTree(ctx, l, e, name, path, info)
}

func removeTree(ctx context.Context, l *transfer.Link, e *policy.Engine, name, path string, info transfer.Info) error {
	if !info.IsDir() {
		return transfer.Remove(ctx, l, e, name, path)
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
