package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// chunk is how much is moved between two looks at the context, in bytes.
const chunk = 256 << 10

// Get copies the file from off on.
func (s *Session) Get(ctx context.Context, p string, off int64, dst transfer.Sink) (int64, error) {
	name := p
	if err := s.local(ctx, "open", &name); err != nil {
		return 0, err
	}
	f, err := s.open(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, fault("open", p, err)
	}
	defer f.Close() // only read from
	w := dst.W
	if file, ok := w.(*os.File); ok {
		w = io.NewOffsetWriter(file, off)
	}
	return s.copy(ctx, w, io.NewSectionReader(f, off, 1<<62), off, dst.Progress, dst.Wait, func(err error, reading bool) error {
		if reading {
			return fault("read", p, err)
		}
		return policy.LocalFault("write", "", err)
	})
}

// Put writes the file from off on, and does not return before it is on the disk.
func (s *Session) Put(ctx context.Context, p string, off int64, src transfer.Source) (n int64, err error) {
	name := p
	if err := s.local(ctx, "create", &name); err != nil {
		return 0, err
	}
	flag := os.O_WRONLY
	if off == 0 {
		flag |= os.O_CREATE
	}
	f, err := s.open(name, flag, 0o666)
	if err != nil {
		return 0, fault("create", p, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = fault("close", p, closeErr)
		}
	}()
	if err := cut(f, off); err != nil {
		return 0, fault("truncate", p, err)
	}
	n, err = s.copy(ctx, io.NewOffsetWriter(f, off), s.reader(ctx, src, off), off, src.Progress, src.Wait, func(err error, reading bool) error {
		if reading {
			return policy.LocalFault("read", "", err)
		}
		return fault("write", p, err)
	})
	if err == nil {
		if err = f.Sync(); err != nil {
			err = fault("sync", p, err)
		}
	}
	return n, err
}

// open opens an ordinary file; a pipe would wait for its other end.
func (s *Session) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	info, err := s.root.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return nil, errIsDir
	case err == nil && !info.Mode().IsRegular():
		return nil, errNotRegular
	}
	return s.root.OpenFile(name, flag, perm)
}

// cut discards what lies beyond off. A gap before off is refused.
func cut(f *os.File, off int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < off {
		return fmt.Errorf("%w: %d bytes are there, the offset is %d", errGap, info.Size(), off)
	}
	return f.Truncate(off)
}

// copy moves the bytes. explain makes a fault of an error of the reader or the
// writer.
func (s *Session) copy(ctx context.Context, w io.Writer, r io.Reader, off int64, progress func(int64), wait func(context.Context, int) error, explain func(err error, reading bool) error) (done int64, err error) {
	buf := make([]byte, chunk)
	for {
		n, readErr := r.Read(buf)
		if err := s.usable(ctx, "copy"); err != nil {
			return done, err
		}
		if n > 0 && wait != nil {
			if err := wait(ctx, n); err != nil {
				return done, policy.LocalFault("wait", "", err)
			}
		}
		if n > 0 {
			m, err := w.Write(buf[:n])
			done += int64(m)
			if err != nil {
				return done, explain(err, false)
			}
			if progress != nil {
				progress(off + done)
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return done, nil
		case readErr != nil:
			return done, explain(readErr, true)
		}
	}
}

// reader reads the source. One that can only be read once may make us wait for
// as long as it likes: it is read aside, so that the context and Close are obeyed.
func (s *Session) reader(ctx context.Context, src transfer.Source, off int64) io.Reader {
	if at, ok := src.R.(io.ReaderAt); ok {
		return io.NewSectionReader(at, off, 1<<62)
	}
	return &patient{r: src.R, ctx: ctx, closed: s.closed}
}

type patient struct {
	r      io.Reader
	ctx    context.Context
	closed <-chan struct{}
}

func (p *patient) Read(b []byte) (int, error) {
	type result struct {
		b   []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		own := make([]byte, len(b)) // b may be gone when this returns
		n, err := p.r.Read(own)
		read <- result{own[:n], err}
	}()
	select {
	case r := <-read:
		return copy(b, r.b), r.err
	case <-p.ctx.Done():
		return 0, context.Cause(p.ctx)
	case <-p.closed:
		return 0, fs.ErrClosed
	}
}
