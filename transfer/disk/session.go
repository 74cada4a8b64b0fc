package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Session is a directory of this machine. "/" and "." are the directory itself.
type Session struct {
	root      *os.Root
	closed    chan struct{}
	closeOnce sync.Once
}

var _ transfer.Session = (*Session)(nil)

// Open opens a directory.
func Open(dir string) (*Session, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, policy.LocalFault("open", dir, err)
	}
	return &Session{root: root, closed: make(chan struct{})}, nil
}

// Dialer makes sessions of a directory.
func Dialer(dir string) transfer.Dialer {
	return func(context.Context, transfer.Hints) (transfer.Session, error) { return Open(dir) }
}

// Alive is false after Close.
func (s *Session) Alive() bool {
	select {
	case <-s.closed:
		return false
	default:
		return true
	}
}

// Close may be called at any time.
func (s *Session) Close() (err error) {
	s.closeOnce.Do(func() {
		close(s.closed)
		err = s.root.Close()
	})
	return err
}

// local makes the session's paths names below the root.
func (s *Session) local(ctx context.Context, op string, paths ...*string) error {
	for _, p := range paths {
		if err := transfer.ValidPath(*p); err != nil {
			return err
		}
		name := "."
		if below := path.Join("/", *p)[1:]; below != "" {
			var err error
			if name, err = transfer.Localize(op, below); err != nil {
				return err
			}
		}
		*p = name
	}
	return s.usable(ctx, op)
}

// usable fails when the context or the session is over.
func (s *Session) usable(ctx context.Context, op string) error {
	if ctx.Err() != nil {
		return policy.LocalFault(op, "", context.Cause(ctx))
	}
	if !s.Alive() {
		return policy.LocalFault(op, "", fs.ErrClosed)
	}
	return nil
}

// Stat describes a file, following symbolic links.
func (s *Session) Stat(ctx context.Context, p string) (transfer.Info, error) {
	return s.look(ctx, "stat", p, s.root.Stat)
}

func (s *Session) lstat(ctx context.Context, p string) (transfer.Info, error) {
	return s.look(ctx, "lstat", p, s.root.Lstat)
}

func (s *Session) look(ctx context.Context, op, p string, stat func(string) (fs.FileInfo, error)) (transfer.Info, error) {
	name := p
	if err := s.local(ctx, op, &name); err != nil {
		return transfer.Info{}, err
	}
	info, err := stat(name)
	if err != nil {
		return transfer.Info{}, fault(op, p, err)
	}
	return infoOf(info), nil
}

func infoOf(i fs.FileInfo) transfer.Info {
	return transfer.Info{
		Name: i.Name(), Size: i.Size(), Mode: i.Mode(), HasPerm: true, ModTime: i.ModTime(), Precision: time.Nanosecond,
	}
}

// List reads the directory piece by piece.
func (s *Session) List(ctx context.Context, dir string, each func(transfer.Info) error) error {
	name := dir
	if err := s.local(ctx, "opendir", &name); err != nil {
		return err
	}
	d, err := s.root.Open(name)
	if err != nil {
		return fault("opendir", dir, err)
	}
	defer d.Close() // only read from
	for {
		entries, err := d.ReadDir(1024)
		for _, entry := range entries {
			if err := s.listed(name, entry, each); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fault("readdir", dir, err)
		}
		if err := s.usable(ctx, "readdir"); err != nil {
			return err
		}
	}
}

func (s *Session) listed(dir string, entry fs.DirEntry, each func(transfer.Info) error) error {
	info, err := entry.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went while the directory was read
	}
	if err != nil {
		return each(transfer.Info{Name: entry.Name(), Size: -1, Mode: entry.Type(), Bad: err})
	}
	i := infoOf(info)
	i.Bad = transfer.ValidName(i.Name)
	if i.Mode&fs.ModeSymlink != 0 {
		if link, err := s.root.Readlink(filepath.Join(dir, i.Name)); err == nil {
			i.Link = filepath.ToSlash(link)
		}
	}
	return each(i)
}

// Rename renames; an existing file is replaced.
func (s *Session) Rename(ctx context.Context, from, to string) error {
	oldName, newName := from, to
	if err := s.local(ctx, "rename", &oldName, &newName); err != nil {
		return err
	}
	err := s.root.Rename(oldName, newName)
	if err == nil {
		return nil
	}
	if _, statErr := s.root.Lstat(oldName); statErr != nil {
		return fault("lstat", from, statErr)
	}
	return fault("rename", to, err)
}

// Remove deletes a file or a symbolic link.
func (s *Session) Remove(ctx context.Context, p string) error {
	return s.remove(ctx, "remove", p, func(i fs.FileInfo) error {
		if i.IsDir() {
			return errIsDir
		}
		return nil
	})
}

// Rmdir removes an empty directory.
func (s *Session) Rmdir(ctx context.Context, p string) error {
	return s.remove(ctx, "rmdir", p, func(i fs.FileInfo) error {
		if !i.IsDir() {
			return errNotDir
		}
		return nil
	})
}

func (s *Session) remove(ctx context.Context, op, p string, check func(fs.FileInfo) error) error {
	name := p
	if err := s.local(ctx, op, &name); err != nil {
		return err
	}
	info, err := s.root.Lstat(name)
	if err == nil {
		err = check(info)
	}
	if err == nil {
		err = s.root.Remove(name)
	}
	if err != nil {
		return fault(op, p, err)
	}
	return nil
}

// Mkdir makes a directory, with the mode that the umask leaves of 0777.
func (s *Session) Mkdir(ctx context.Context, p string) error {
	return s.one(ctx, "mkdir", p, func(name string) error { return s.root.Mkdir(name, 0o777) })
}

// one does something to one path.
func (s *Session) one(ctx context.Context, op, p string, do func(name string) error) error {
	name := p
	if err := s.local(ctx, op, &name); err != nil {
		return err
	}
	if err := do(name); err != nil {
		return fault(op, p, err)
	}
	return nil
}

// Extras is all that the file system does.
func (s *Session) Extras() transfer.Extras {
	return transfer.Extras{
		SetModTime: func(ctx context.Context, p string, t time.Time) error {
			return s.one(ctx, "chtimes", p, func(name string) error { return s.root.Chtimes(name, time.Time{}, t) })
		},
		Chmod: func(ctx context.Context, p string, mode fs.FileMode) error {
			return s.one(ctx, "chmod", p, func(name string) error { return s.root.Chmod(name, mode) })
		},
		Replace: s.Rename,
		Lstat:   s.lstat,
		Readlink: func(ctx context.Context, p string) (target string, err error) {
			err = s.one(ctx, "readlink", p, func(name string) (err error) {
				target, err = s.root.Readlink(name)
				return err
			})
			return filepath.ToSlash(target), err
		},
		Symlink: func(ctx context.Context, target, link string) error {
			if err := transfer.ValidPath(target); err != nil {
				return err
			}
			return s.one(ctx, "symlink", link, func(name string) error {
				return s.root.Symlink(filepath.FromSlash(target), name)
			})
		},
		Realpath: func(ctx context.Context, p string) (string, error) {
			name := p
			if err := s.local(ctx, "realpath", &name); err != nil {
				return "", err
			}
			return path.Join("/", filepath.ToSlash(name)), nil
		},
		Hash:             s.hash,
		Parallel:         true,
		Resume:           true,
		ReplacesOnRename: true,
		TimePrecision:    time.Nanosecond,
	}
}

// hash reads the file, or its first n bytes.
func (s *Session) hash(ctx context.Context, p string, n int64) (transfer.Digest, error) {
	h := sha256.New()
	sink := transfer.Sink{W: h, Size: -1}
	if n >= 0 {
		sink.W = &limited{w: h, left: n}
	}
	_, err := s.Get(ctx, p, 0, sink)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return transfer.Digest{Algorithm: "SHA-256", Sum: h.Sum(nil)}, err
}

// errEnough ends a Get that has given what is wanted.
var errEnough = errors.New("enough")

// limited takes the first bytes.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	n, err := l.w.Write(p[:min(int64(len(p)), l.left)])
	if l.left -= int64(n); err == nil && l.left == 0 {
		err = errEnough
	}
	return n, err
}
