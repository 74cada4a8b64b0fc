package transfer

import (
	"context"
	"io/fs"

	"github.com/xfer-cli/xfer/policy"
)

// The functions of this file are the Extras of Session that a person may ask
// for, through the engine. Where a server does not offer one, the error has
// policy.CauseNotOffered and says what is missing.

// DiskSpace says what is free on the file system that holds path.
func DiskSpace(ctx context.Context, l *Link, e *policy.Engine, name, path string) (space Space, err error) {
	err = e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) error {
		f := s.Extras().Space
		if f == nil {
			return l.notOffered("df", path, "statvfs@openssh.com", "AVBL")
		}
		space, err = f(ctx, path)
		return err
	}))
	return space, err
}

// Chmod sets the permission bits of a file.
func Chmod(ctx context.Context, l *Link, e *policy.Engine, name, path string, mode fs.FileMode) error {
	return e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) error {
		f := s.Extras().Chmod
		if f == nil {
			return l.notOffered("chmod", path, "SETSTAT", "SITE CHMOD")
		}
		return f(ctx, path, mode)
	}))
}

// Symlink makes link a symbolic link to target.
func Symlink(ctx context.Context, l *Link, e *policy.Engine, name, target, link string) error {
	op := l.Op(name, 0, func(ctx context.Context, s Session) error {
		f := s.Extras().Symlink
		if f == nil {
			return l.notOffered("symlink", link, "SYMLINK", "SITE SYMLINK")
		}
		return f(ctx, target, link)
	})
	op.Reconcile = func(ctx context.Context) (bool, error) {
		s, err := l.Session(ctx)
		if err != nil {
			return false, err
		}
		readlink := s.Extras().Readlink
		if readlink == nil {
			return false, nil
		}
		there, err := readlink(ctx, link)
		return err == nil && there == target, l.annotate(err)
	}
	return e.Do(ctx, op)
}

// Readlink says where a symbolic link leads.
func Readlink(ctx context.Context, l *Link, e *policy.Engine, name, path string) (target string, err error) {
	err = e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) error {
		f := s.Extras().Readlink
		if f == nil {
			return l.notOffered("readlink", path, "READLINK", "MLST with a link's target")
		}
		target, err = f(ctx, path)
		return err
	}))
	return target, err
}

// Checksum has the server compute a digest of the file.
func Checksum(ctx context.Context, l *Link, e *policy.Engine, name, path string) (d Digest, err error) {
	err = e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) error {
		f := s.Extras().Hash
		if f == nil {
			return l.notOffered("hash", path, "check-file, md5-hash; shell = true allows sha256sum", "HASH, XSHA256, XMD5, XCRC")
		}
		d, err = f(ctx, path, -1)
		return err
	}))
	return d, err
}

// notOffered is the fault of an ability that the server does not have; sftp and
// ftp are what it would have to know.
func (l *Link) notOffered(op, path, sftp, ftp string) error {
	f := &policy.Fault{
		Protocol: l.loc.Protocol(), Phase: policy.Command, Op: op, Path: path, Cause: policy.CauseNotOffered, Text: "no " + ftp,
	}
	if f.Protocol == policy.SFTP {
		f.Text = "no " + sftp
	}
	return f
}
