package ftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// block is what is copied at once where there is no zero copy, in bytes: eight
// TLS records.
const block = 128 << 10

// pacedBlock takes its place under a rate limit, which many small blocks obey
// more evenly.
const pacedBlock = 16 << 10

// blockFor is the size of the blocks under a rate limit, or without one.
func blockFor(wait func(context.Context, int) error) int {
	if wait != nil {
		return pacedBlock
	}
	return block
}

// upload is what a STOR sends. The library only passes it on to
// dataConn.ReadFrom.
type upload struct {
	src transfer.Source
	off int64
	// sent counts the bytes that were handed to the kernel.
	sent int64
	// fault is a failure of the source.
	fault *policy.Fault
}

// Read is here for the library's io.Copy, which calls dataConn.ReadFrom instead.
func (u *upload) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

func (u *upload) moved(n int64) {
	u.sent += n
	if u.src.Progress != nil {
		u.src.Progress(u.off + u.sent)
	}
}

// left is how much is still to be sent, as far as it is known.
func (u *upload) left() int64 {
	if u.src.Size < 0 {
		return 1<<63 - 1
	}
	return max(0, u.src.Size-u.off-u.sent)
}

// broken notes a failure of the source.
func (u *upload) broken(err error) error {
	f := policy.LocalFault("read", nameOf(u.src.R), err)
	f.Phase = policy.Data
	u.fault = f
	return f
}

func nameOf(v any) string {
	if f, ok := v.(*os.File); ok {
		return f.Name()
	}
	return ""
}

// ReadFrom sends an upload to its end: a file by sendfile where the connection
// is TCP without TLS, anything else through a buffer.
func (d *dataConn) ReadFrom(r io.Reader) (int64, error) {
	u, ok := r.(*upload)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	err := d.ready()
	if err == nil {
		err = d.send(u)
	}
	if err == nil && u.src.Size >= 0 && u.left() > 0 {
		err = u.shrunk()
	}
	if u.fault == nil {
		d.complete = d.failed(err) == nil
	}
	return u.sent, err
}

// shrunk: the source ended before its announced size.
func (u *upload) shrunk() error {
	err := u.broken(io.ErrUnexpectedEOF)
	u.fault.Cause = policy.CauseLocalChanged
	u.fault.Text = fmt.Sprintf("ended after %d of %d bytes", u.off+u.sent, u.src.Size)
	return err
}

func (d *dataConn) send(u *upload) error {
	if f, ok := u.src.R.(*os.File); ok && isRegular(f) {
		if d.tls == nil && d.s.tcp != nil && u.src.Wait == nil {
			return d.sendFile(u, f)
		}
	}
	if at, ok := u.src.R.(io.ReaderAt); ok && canReadAt(u.src.R) {
		return d.sendFrom(u, io.NewSectionReader(at, u.off, 1<<63-1-u.off))
	}
	p := newPump(d.ctx, u.src.R, u.off)
	defer p.stop()
	return d.sendFrom(u, p)
}

// isRegular says whether a file can be read at any offset.
func isRegular(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// canReadAt: an *os.File has ReadAt also when it is a pipe.
func canReadAt(r io.Reader) bool {
	f, ok := r.(*os.File)
	return !ok || isRegular(f)
}

func (d *dataConn) sendFile(u *upload, f *os.File) error {
	if _, err := f.Seek(u.off, io.SeekStart); err != nil {
		return u.broken(err)
	}
	err := d.s.sendFile(f, u.off, u.left(), u.moved)
	if err != nil && d.ctx.Err() == nil && policy.NetCause(err) == "" {
		return u.broken(err) // a read error of the disk comes out of sendfile too
	}
	return err
}

// sendFrom copies r to the connection.
func (d *dataConn) sendFrom(u *upload, r io.Reader) error {
	buf := make([]byte, blockFor(u.src.Wait))
	for u.left() > 0 {
		n, err := r.Read(buf[:min(int64(len(buf)), u.left())])
		if n > 0 {
			if werr := d.pace(u.src.Wait, n, u.broken); werr != nil {
				return werr
			}
			m, werr := d.write(buf[:n])
			if m > 0 {
				u.moved(int64(m))
			}
			if werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && d.ctx.Err() != nil:
			return err
		case err != nil:
			return u.broken(err)
		}
	}
	return nil
}

// pace lets the rate limit decide when n bytes may pass. broken notes a failure
// that is not the end of the transfer's context.
func (d *dataConn) pace(wait func(context.Context, int) error, n int, broken func(error) error) error {
	if wait == nil {
		return nil
	}
	err := wait(d.ctx, n)
	if err != nil && d.ctx.Err() == nil {
		return broken(err)
	}
	return err
}

// pump reads a stream in a goroutine of its own, because a read of a pipe or a
// terminal obeys no context. After an abort that goroutine lives on until its
// read returns; nothing else waits for it.
type pump struct {
	ctx    context.Context
	cancel context.CancelFunc
	blocks chan pumped
	free   chan []byte
	rest   []byte // of the current block
	buf    []byte
	err    error
}

type pumped struct {
	buf []byte
	n   int
	err error
}

// newPump reads r behind its first skip bytes.
func newPump(ctx context.Context, r io.Reader, skip int64) *pump {
	p := &pump{blocks: make(chan pumped), free: make(chan []byte, 2)}
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.free <- make([]byte, block)
	p.free <- make([]byte, block)
	go p.run(r, skip)
	return p
}

func (p *pump) run(r io.Reader, skip int64) {
	defer close(p.blocks)
	if _, err := io.CopyN(io.Discard, r, skip); err != nil {
		p.put(pumped{err: err})
		return
	}
	for {
		select {
		case buf := <-p.free:
			n, err := r.Read(buf)
			if !p.put(pumped{buf, n, err}) || err != nil {
				return
			}
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *pump) put(b pumped) bool {
	select {
	case p.blocks <- b:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// Read gives what the goroutine has read.
func (p *pump) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if p.buf != nil {
			p.free <- p.buf
			p.buf = nil
		}
		select {
		case got := <-p.blocks:
			p.buf, p.rest, p.err = got.buf, got.buf[:got.n], got.err
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pump) stop() { p.cancel() }

// download is what a RETR fills.
type download struct {
	sink transfer.Sink
	off  int64
	// received counts the bytes that were written without a gap.
	received int64
	fault    *policy.Fault // of the sink, or because it does not take this
}

// whole says whether all has come that was announced.
func (w *download) whole() bool { return w.sink.Size >= 0 && w.off+w.received == w.sink.Size }

func (w *download) moved(n int64) {
	w.received += n
	if w.sink.Progress != nil {
		w.sink.Progress(w.off + w.received)
	}
}

func (w *download) broken(err error) error {
	f := policy.LocalFault("write", nameOf(w.sink.W), err)
	f.Phase = policy.Data
	w.fault = f
	return f
}

// receive takes everything that comes: into a file by splice where the
// connection is TCP without TLS, else through a buffer.
func (d *dataConn) receive(w *download) error {
	if err := d.ready(); err != nil {
		return d.failed(err)
	}
	f, ok := w.sink.W.(*os.File)
	if ok && isRegular(f) {
		if _, err := f.Seek(w.off, io.SeekStart); err != nil {
			return w.broken(err)
		}
		if d.tls == nil && d.s.tcp != nil && w.sink.Wait == nil && runtime.GOOS == "linux" {
			return d.splice(w, f)
		}
	}
	return d.copyTo(w)
}

func (d *dataConn) splice(w *download, f *os.File) error {
	err := d.s.receiveFile(f, w.moved)
	// The error names the local file whichever side failed: the errno tells.
	if err != nil && d.ctx.Err() == nil && policy.NetCause(err) == "" {
		return w.broken(err)
	}
	return d.failed(err)
}

// record is the most that one TLS read gives, in bytes (RFC 8446 §5.1).
const record = 16 << 10

// copyTo collects full TLS records into blocks; what comes in smaller pieces is
// written at once.
func (d *dataConn) copyTo(w *download) error {
	buf := make([]byte, blockFor(w.sink.Wait))
	for have := 0; ; {
		n, err := d.conn().Read(buf[have:])
		have += n
		if have == len(buf) || have > 0 && (n < record || err != nil) {
			// What has been read may be written; what follows stays behind in the
			// socket, and TCP slows the server down.
			if werr := d.pace(w.sink.Wait, have, w.broken); werr != nil {
				return d.failed(werr)
			}
			m, werr := w.sink.W.Write(buf[:have])
			if m > 0 {
				w.moved(int64(m))
			}
			if werr != nil {
				return w.broken(werr)
			}
			have = 0
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return d.failed(err)
		}
	}
}
