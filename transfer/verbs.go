package transfer

import (
	"context"

	"github.com/xfer-cli/xfer/policy"
)

// The functions of this file are the verbs of Session, through the engine. name
// is what the person asked for and begins a message about a failure: "ls acme:in".

// Stat describes a path of the link's server.
func Stat(ctx context.Context, l *Link, e *policy.Engine, name, path string) (info Info, err error) {
	err = e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) error {
		info, err = s.Stat(ctx, path)
		return err
	}))
	return info, err
}

// List gives all entries of a directory, in the server's order.
func List(ctx context.Context, l *Link, e *policy.Engine, name, dir string) (list []Info, err error) {
	err = e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) error {
		list = list[:0]
		return s.List(ctx, dir, func(i Info) error {
			list = append(list, i)
			return nil
		})
	}))
	return list, err
}

// Rename renames from to to. When the answer is lost it looks which name is there.
func Rename(ctx context.Context, l *Link, e *policy.Engine, name, from, to string, replace bool) error {
	return e.Do(ctx, renameOp(l, name, from, to, replace))
}

func renameOp(l *Link, name, from, to string, replace bool) policy.Op {
	op := l.Op(name, 0, func(ctx context.Context, s Session) error {
		if replace && s.Extras().Replace != nil {
			return s.Extras().Replace(ctx, from, to)
		}
		return s.Rename(ctx, from, to)
	})
	op.Reconcile = func(ctx context.Context) (bool, error) {
		there, err := l.exists(ctx, from)
		return !there, err
	}
	return op
}

// Remove deletes a file.
func Remove(ctx context.Context, l *Link, e *policy.Engine, name, path string) error {
	op := l.Op(name, 0, func(ctx context.Context, s Session) error { return s.Remove(ctx, path) })
	op.Reconcile = l.gone(path)
	return e.Do(ctx, op)
}

// Rmdir removes an empty directory.
func Rmdir(ctx context.Context, l *Link, e *policy.Engine, name, path string) error {
	op := l.Op(name, 0, func(ctx context.Context, s Session) error { return s.Rmdir(ctx, path) })
	op.Reconcile = l.gone(path)
	return e.Do(ctx, op)
}

// Mkdir makes one directory.
func Mkdir(ctx context.Context, l *Link, e *policy.Engine, name, path string) error {
	op := l.Op(name, 0, func(ctx context.Context, s Session) error { return s.Mkdir(ctx, path) })
	op.Reconcile = func(ctx context.Context) (bool, error) { return l.exists(ctx, path) }
	return e.Do(ctx, op)
}

// MkdirAll makes a directory and the parents it lacks; one that exists is fine.
func MkdirAll(ctx context.Context, l *Link, e *policy.Engine, name, path string) error {
	if path == "." || path == "/" {
		return nil
	}
	var info *Info
	err := e.Do(ctx, l.Op(name, 0, func(ctx context.Context, s Session) (err error) {
		info, err = statOrMissing(ctx, s, path)
		return err
	}))
	if err != nil {
		return err
	}
	if info != nil {
		if info.IsDir() {
			return nil
		}
		f := &policy.Fault{Protocol: l.loc.Protocol(), Op: "mkdir", Path: path, Cause: policy.CauseRemoteNotDirectory}
		return policy.GiveUpOn(name, policy.FaultOf(l.annotate(f)))
	}
	if dir, _ := Split(path); dir != path {
		if err := MkdirAll(ctx, l, e, name, dir); err != nil {
			return err
		}
	}
	err = Mkdir(ctx, l, e, name, path)
	if err != nil {
		// Another process may have been quicker.
		if there, statErr := l.exists(ctx, path); statErr == nil && there {
			return nil
		}
	}
	return err
}

// exists looks once.
func (l *Link) exists(ctx context.Context, path string) (bool, error) {
	s, err := l.Session(ctx)
	if err != nil {
		return false, err
	}
	info, err := statOrMissing(ctx, s, path)
	return info != nil, l.annotate(err)
}

// gone is the Reconcile of a deletion.
func (l *Link) gone(path string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		there, err := l.exists(ctx, path)
		return !there && err == nil, err
	}
}

// statOrMissing is Stat, with nil for a file that is not there.
func statOrMissing(ctx context.Context, s Session, path string) (*Info, error) {
	return orMissing(s.Stat(ctx, path))
}

// orMissing makes nil of a file that is not there.
func orMissing(info Info, err error) (*Info, error) {
	switch {
	case err == nil:
		return &info, nil
	case IsMissing(err):
		return nil, nil
	}
	return nil, err
}

// sizeOrMissing is statOrMissing for who wants only the size.
func sizeOrMissing(ctx context.Context, s Session, path string) (*Info, error) {
	size := s.Extras().Size
	if size == nil {
		return statOrMissing(ctx, s, path)
	}
	n, err := size(ctx, path)
	return orMissing(Info{Size: n}, err)
}

// IsMissing says whether err means that the file is not there.
func IsMissing(err error) bool {
	return err != nil && verdictOf(err).Kind == policy.KindMissing
}
