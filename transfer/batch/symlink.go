package batch

import (
	"context"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Symlink makes a symbolic link on the server, in the place of another link or
// file of that name.
func Symlink(ctx context.Context, l *transfer.Link, e *policy.Engine, name, target, link string) error {
	return e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s transfer.Session) error {
		x := s.Extras()
		if x.Symlink == nil || x.Readlink == nil {
			return badLink(l.Location().Protocol(), link, "the server can't make symbolic links")
		}
		if now, err := x.Readlink(ctx, link); err == nil && now == target {
			return nil
		}
		// There is no request that replaces a link. What can't be removed, a
		// directory for one, makes the next request fail.
		if err := s.Remove(ctx, link); err != nil && !s.Alive() {
			return err
		}
		return x.Symlink(ctx, target, link)
	}))
}
