package sftp

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Get is of transfer.Session. Pieces arrive in any order and are written in
// theirs: what is in the sink has no gaps at any moment, also after a crash.
func (s *session) Get(ctx context.Context, path string, off int64, dst transfer.Sink) (int64, error) {
	if err := transfer.ValidPath(path); err != nil {
		return 0, err
	}
	out := newOutput(dst)
	if left := dst.Size - off; left > 0 && left <= bestPacket && left <= int64(s.control.packetFor(ctx, left)) {
		n, done, err := s.getSmall(ctx, path, off, out)
		if done || err != nil {
			return n, s.compared(dst, err)
		}
	}
	n, err := s.getLarge(ctx, path, off, out)
	return n, s.compared(dst, err)
}

// compared notes that a file was not what a listing had said.
func (s *session) compared(dst transfer.Sink, err error) error {
	if f, ok := err.(*policy.Fault); ok && dst.Version != nil && f.Cause == policy.CauseRemoteChanged {
		s.differs.Store(true)
	}
	return err
}

// getSmall fetches what fits one packet in two round trips: open, then read and
// fstat one behind the other. It is not done when the server sent less than it
// has.
func (s *session) getSmall(ctx context.Context, path string, off int64, out *output) (n int64, done bool, err error) {
	ch := s.control
	f, err := ch.openFile(ctx, path, openRead)
	if err != nil {
		return 0, true, ch.fault(policy.Data, "open", path, err)
	}
	defer f.letGo()
	want := out.dst.Size - off
	if err := wait(ctx, out.dst.Wait, int(want)); err != nil {
		return 0, true, err
	}
	buf := buffer(int(want))
	read := f.startRead(int(want), off, func() []byte { return buf })
	looked := ch.tap.start(newRequest(fxpFstat).string(f.handle), nil)

	if err := ch.conn.wait(ctx, ch.conn.limits.Idle, read.done); err != nil {
		return 0, true, ch.fault(policy.Data, "read", path, err)
	}
	defer giveBack(buf)
	m, err := read.data()
	if err != nil {
		return 0, true, ch.fault(policy.Data, "read", path, err)
	}
	if err := ch.conn.wait(ctx, ch.conn.limits.Reply, looked.done); err != nil {
		return 0, true, ch.fault(policy.Data, "fstat", path, err)
	}
	a, err := looked.attrs()
	if err == nil && a.flags&attrSize != 0 && int64(a.size) != out.dst.Size {
		return 0, true, changed(path, int64(a.size), out.dst.Size)
	}
	if out.isOther(a, err) {
		return 0, true, modified(path)
	}
	if int64(m) < want {
		return 0, false, nil
	}
	if err := out.write(buf, off); err != nil {
		return 0, true, err
	}
	out.report(off + want)
	return want, true, nil
}

// getLarge fetches pieces over one or more channels.
func (s *session) getLarge(ctx context.Context, path string, off int64, out *output) (int64, error) {
	b := &bulk{
		s: s, size: out.dst.Size - off,
		open: func(ctx context.Context, ch *channel) (*file, error) { return ch.openFile(ctx, path, openRead) },
		pace: out.dst.Wait,
	}
	working := b.prepare(ctx)
	b.ask(working)
	f, err := s.control.openFile(ctx, path, openRead)
	if err != nil {
		b.spare()
		return 0, s.control.fault(policy.Data, "open", path, err)
	}
	close(b.begun)
	// Where the size is expected, what the handle says comes beside the first data.
	var before *attrs
	var refused error
	end, known := out.dst.Size, make(chan struct{})
	look := func() {
		defer close(known)
		var is int64
		if is, before, refused = f.extent(ctx, path, out); end <= 0 {
			end = is
		}
	}
	if end > 0 {
		go look()
	} else if look(); refused != nil {
		b.spare()
		f.letGo()
		return 0, refused
	}
	if b.size < 0 && end != unknownEnd {
		b.size = end - off
	}
	b.ask(working)
	list := newChunks(off, end, s.control.packetFor(ctx, end-off), b.reach())
	list.progress = out.dst.Progress
	list.deliver = func(p *chunk) error {
		if <-known; refused != nil {
			return refused
		}
		return out.write(p.data(), p.off)
	}
	b.list, b.work = list, func(f *file, p *chunk) error { return fetch(f, p, path, list, end) }
	b.run(working, f)
	defer b.release()
	defer b.letGo()
	mark, _, err := list.result()
	<-known
	switch {
	case err != nil:
		return mark - off, b.fault("read", path, err)
	case refused != nil: // and there was nothing left to read
		return mark - off, refused
	}
	return mark - off, b.usable()[0].unchanged(ctx, path, before)
}

// extent finds where the file ends: as the handle says, else as was expected,
// else at the first SSH_FX_EOF. before is set if the size was expected, and has
// to stay what it is.
func (f *file) extent(ctx context.Context, path string, out *output) (end int64, before *attrs, err error) {
	expected := out.dst.Size
	a, err := f.stat(ctx)
	if out.isOther(a, err) {
		return 0, nil, modified(path)
	}
	if _, answered := err.(*status); answered || err == nil && a.flags&attrSize == 0 {
		if expected < 0 {
			return unknownEnd, nil, nil
		}
		return expected, nil, nil
	}
	if err != nil {
		return 0, nil, f.ch.fault(policy.Data, "fstat", path, err)
	}
	info := a.info("", "")
	switch {
	case info.IsDir():
		return 0, nil, &policy.Fault{
			Protocol: policy.SFTP, Phase: policy.Data, Op: "read", Path: path, Cause: policy.CauseRemoteDirectory, Text: "is a directory",
		}
	case expected > 0 && info.Size != expected:
		return 0, nil, changed(path, info.Size, expected)
	case info.Size <= 0 || !info.IsRegular():
		// A device, or one of the files in /proc, whose size is no promise.
		return unknownEnd, nil, nil
	case expected == 0:
		return 0, nil, changed(path, info.Size, expected)
	case expected < 0:
		return info.Size, nil, nil
	}
	return info.Size, &a, nil
}

// fetch reads one piece. A file that ends early ends the list, or is a fault if
// its size was known.
func fetch(f *file, p *chunk, path string, list *chunks, end int64) error {
	n, err := f.read(p, list.provide)
	if err != nil || n == p.n {
		return err
	}
	if end != unknownEnd {
		return changed(path, p.off+int64(n), end)
	}
	p.n = n
	list.endsAt(p.off + int64(n))
	return nil
}

// unchanged compares the file with what it was when it was opened.
func (f *file) unchanged(ctx context.Context, path string, before *attrs) error {
	if before == nil {
		return nil
	}
	now, err := f.stat(ctx)
	if err != nil {
		return f.ch.fault(policy.Data, "fstat", path, err)
	}
	if now.size != before.size || now.time != before.time {
		return changed(path, int64(now.size), int64(before.size))
	}
	return nil
}

func changed(path string, now, before int64) error {
	if now == before {
		return modified(path)
	}
	return isNot(path, fmt.Sprintf("it has %d bytes now, it had %d", now, before))
}

func modified(path string) error { return isNot(path, "its modification time is not what it was") }

func isNot(path, text string) error {
	return &policy.Fault{
		Protocol: policy.SFTP, Phase: policy.Data, Op: "read", Path: path, Cause: policy.CauseRemoteChanged, Text: text,
	}
}

// output is what a Get writes to.
type output struct {
	dst  transfer.Sink
	at   io.WriterAt // nil if it takes no offsets
	name string
}

func newOutput(dst transfer.Sink) *output {
	out := &output{dst: dst}
	if f, ok := dst.W.(*os.File); ok {
		out.name = f.Name()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			out.at = f
		}
	}
	return out
}

// isOther says whether the file has not the time of the version that it must be. a and err are
// the answer to FSTAT.
func (out *output) isOther(a attrs, err error) bool {
	info := a.info("", "")
	info.Size = -1 // is compared anyway
	_, refused := err.(*status)
	return out.dst.Version != nil && (refused || err == nil && !out.dst.Takes(info))
}

func (out *output) write(b []byte, off int64) (err error) {
	if out.at != nil {
		_, err = out.at.WriteAt(b, off)
	} else {
		_, err = out.dst.W.Write(b)
	}
	if err != nil {
		return policy.LocalFault("write", out.name, err)
	}
	return nil
}

func (out *output) report(pos int64) {
	if out.dst.Progress != nil {
		out.dst.Progress(pos)
	}
}
