package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Put is of transfer.Session. The file is opened without SSH_FXF_APPEND, with
// which OpenSSH ignores offsets: a repeated piece would be there twice.
func (s *session) Put(ctx context.Context, path string, off int64, src transfer.Source) (int64, error) {
	if err := transfer.ValidPath(path); err != nil {
		return 0, err
	}
	if !src.Temporary {
		if err := s.greeted(ctx); err != nil {
			return 0, s.control.fault(policy.Data, "open", path, err)
		}
	}
	in, err := newInput(src, off)
	if err != nil {
		return 0, err
	}
	in.begun = s.takeBegun(path)
	defer in.release()
	size := safePacket
	if in.end == unknownEnd || in.end-off <= bestPacket {
		size = s.control.packetFor(ctx, in.end-off)
	}
	whole, err := in.readAhead(ctx, off, size)
	if err != nil {
		return 0, err
	}
	put := s.putLarge
	if whole && off == 0 {
		put = s.putSmall
		defer giveBack(in.head.raw) // what was sent of it has been copied
	}
	s.mu.Lock()
	delete(s.timed, path)
	s.mu.Unlock()
	n, err := put(ctx, path, off, in)
	if err == nil {
		s.mu.Lock()
		s.ours = path
		s.mu.Unlock()
	}
	return n, err
}

// putSmall sends a file that fits one packet in two round trips: open, then
// write, fsync, close, setstat and stat one behind the other. A server answers them
// in this order; one that works on several requests at once still finishes the
// writes of a handle before it closes it.
func (s *session) putSmall(ctx context.Context, path string, _ int64, in *input) (int64, error) {
	if err := wait(ctx, in.src.Wait, in.head.n); err != nil {
		return 0, err
	}
	ch := s.control
	f, err := ch.openNew(ctx, path, openWrite|openCreate|openTrunc, in.src.Mode)
	if err != nil {
		return 0, ch.fault(policy.Data, "open", path, err)
	}
	n := int64(in.head.n)
	fl := &flight{path: path}
	if n > 0 {
		fl.add("write", ch, ch.conn.limits.Idle, f.startWrite(in.head))
	}
	s.startFinish(fl, []*file{f}, &in.src)
	across := int64(0)
	err = fl.land(ctx, func(op string) {
		if across = n; op == "write" && in.src.Progress != nil {
			in.src.Progress(n)
		}
	})
	if err != nil {
		return across, err
	}
	return n, s.confirm(ctx, fl, n)
}

// syncs says whether files are to be written to the disk before they are closed.
func (s *session) syncs() bool {
	return s.o.Sync && s.control.tap.offers("fsync@openssh.com")
}

// putLarge sends pieces over one or more channels.
func (s *session) putLarge(ctx context.Context, path string, off int64, in *input) (int64, error) {
	b := &bulk{
		s: s, size: in.end - off,
		open: func(ctx context.Context, ch *channel) (*file, error) { return ch.openFile(ctx, path, openWrite) },
		work: func(f *file, p *chunk) error { return f.write(p) },
		pace: in.src.Wait,
	}
	working := b.prepare(ctx)
	b.ask(working)
	f, err := in.open(ctx, s.control, path, off)
	if fault, ok := err.(*policy.Fault); ok && off > 0 && (fault.Code == fxUnsupported || fault.Code == fxFailure) {
		// Object stores write a file once, from its start (AWS Transfer, Azure);
		// others don't shorten one.
		s.refuse("resume", err)
		fault.Cause = policy.CauseNoRest
	}
	if err != nil {
		b.spare()
		return 0, err
	}
	close(b.begun)
	b.ask(working)
	b.list = newChunks(off, in.end, s.control.packetFor(ctx, b.size), spread)
	in.feed(b.list)
	b.run(working, f)
	defer b.release()

	mark, reached, err := b.list.result()
	if err != nil {
		b.leave(mark, reached)
		return mark - off, b.fault("write", path, err)
	}
	fl := &flight{path: path}
	s.startFinish(fl, b.usable(), &in.src)
	if err := fl.land(ctx, func(string) {}); err != nil {
		return mark - off, err
	}
	return mark - off, s.confirm(ctx, fl, mark)
}

// openForPut opens the target, emptied, or cut to off.
func (ch *channel) openForPut(ctx context.Context, path string, off int64, mode fs.FileMode) (*file, error) {
	flags := uint32(openWrite | openCreate)
	if off == 0 {
		flags |= openTrunc
	}
	f, err := ch.openNew(ctx, path, flags, mode)
	if err != nil {
		return nil, ch.fault(policy.Data, "open", path, err)
	}
	if off > 0 {
		if err := f.cut(ctx, path, off); err != nil {
			f.letGo()
			return nil, err
		}
	}
	return f, nil
}

// cut discards what lies beyond off. A file that does not reach off is not the
// one that was begun: to lengthen it would leave zeros.
func (f *file) cut(ctx context.Context, path string, off int64) error {
	a, err := f.stat(ctx)
	if err != nil {
		return f.ch.fault(policy.Data, "fstat", path, err)
	}
	size := a.info("", "").Size
	switch {
	case size == off:
		return nil
	case size < off:
		return &policy.Fault{
			Protocol: policy.SFTP, Phase: policy.Data, Op: "open", Path: path, Cause: policy.CauseResume,
			Text: fmt.Sprintf("%d bytes are there, the transfer was to go on at %d", size, off),
		}
	}
	if err := f.command(ctx, f.ch.conn.limits.Reply, f.truncateRequest(off)); err != nil {
		return f.ch.fault(policy.Data, "setstat", path, err)
	}
	return nil
}

// flight is the end of an upload in one round trip: requests one behind the other.
type flight struct {
	path   string
	steps  []step
	given  timing // the time that was sent, if any
	closed int    // the turn of the answer to CLOSE
	looked *reply // the STAT
	on     *channel
}

type step struct {
	op     string
	ch     *channel
	limit  time.Duration
	answer *reply
}

func (fl *flight) add(op string, ch *channel, limit time.Duration, answer *reply) {
	fl.steps = append(fl.steps, step{op, ch, limit, answer})
}

// startFinish makes the file durable if that is wished for, closes its handles,
// gives it its time and asks for its size. An error of close(2) may be the only
// news of a full disk (NFS). Handles of channels that were lost are closed already;
// what was written there, was answered. Where handles are on several channels the
// time is in doubt, and sent only ahead of the rename, which looks once more.
func (s *session) startFinish(fl *flight, files []*file, src *transfer.Source) {
	first := files[0].ch
	limit := first.conn.limits.Final
	if s.syncs() {
		fl.add("fsync", first, limit, first.tap.start(files[0].syncRequest(), nil))
	}
	for _, f := range files {
		fl.add("close", f.ch, limit, f.ch.tap.start(f.closeRequest(), nil))
	}
	if sec := src.ModTime.Unix(); (len(files) == 1 || src.Temporary) && fits(src.ModTime) && s.can("mtime", "") {
		fl.given = timing{src.ModTime, len(files) > 1}
		first.tap.post(newRequest(fxpSetstat).string(fl.path).uint32(attrTime).uint32(uint32(sec)).uint32(uint32(sec)))
	}
	fl.on, fl.looked = first, first.tap.start(newRequest(fxpStat).string(fl.path), nil)
}

// land waits for the answers, up to the first that is no success; done is told of
// the others.
func (fl *flight) land(ctx context.Context, done func(op string)) error {
	for _, st := range fl.steps {
		err := st.ch.conn.wait(ctx, st.limit, st.answer.done)
		if err == nil {
			if st.ch == fl.on {
				fl.closed = st.answer.turn // of the last one, in the end
			}
			err = st.answer.ok()
		}
		switch {
		case err == nil || st.op == "fsync" && is(err, fxUnsupported):
			done(st.op)
		case st.op == "write":
			return st.ch.fault(policy.Data, st.op, fl.path, err)
		default:
			return unconfirmed(st.ch.fault(policy.Data, st.op, fl.path, err))
		}
	}
	return nil
}

// confirm compares the size that the server has now.
func (s *session) confirm(ctx context.Context, fl *flight, want int64) error {
	if err := fl.on.conn.wait(ctx, fl.on.conn.limits.Reply, fl.looked.done); err != nil {
		return fl.on.fault(policy.Command, "stat", fl.path, err)
	}
	inTurn := fl.looked.turn > fl.closed
	a, err := fl.looked.attrs()
	if err == nil && inTurn && !fl.given.time.IsZero() && a.flags&attrTime != 0 && int64(a.time) == fl.given.time.Unix() {
		s.mu.Lock()
		s.timed[fl.path] = fl.given
		s.mu.Unlock()
	}
	return s.compare(fl.path, a, err, want)
}

// leave closes what could not be completed. Several channels may have left gaps
// above the mark: they are cut off, if the server still listens.
func (b *bulk) leave(mark, reached int64) {
	if f := b.usable()[0]; reached > mark {
		f.ch.tap.post(f.truncateRequest(mark))
	}
	b.letGo()
}

// compare holds what the server has against what was sent. Where it does not
// say, Extras.PutVerifies is taken back.
func (s *session) compare(path string, a attrs, err error, want int64) error {
	size := a.info("", "").Size
	if _, answered := errors.AsType[*status](err); answered || err == nil && size < 0 {
		s.cannotVerify.Store(true)
		return nil
	}
	if err != nil {
		return s.control.fault(policy.Command, "stat", path, err)
	}
	if size != want {
		return &policy.Fault{
			Protocol: policy.SFTP, Phase: policy.Data, Op: "verify", Path: path, Cause: policy.CauseSize,
			Text: fmt.Sprintf("%d bytes arrived, %d were sent", size, want),
		}
	}
	return nil
}

// input is what a Put reads: a file at any offset, or a stream from its start.
type input struct {
	src  transfer.Source
	at   io.ReaderAt // nil for a stream
	name string      // of a local file
	end  int64
	// head is the first piece, if it had to be read to know what follows.
	head *chunk
	// begun is the target, if it is open already.
	begun *file
}

func newInput(src transfer.Source, off int64) (*input, error) {
	in := &input{src: src, end: src.Size}
	if in.end < 0 {
		in.end = unknownEnd
	}
	if f, ok := src.R.(*os.File); ok {
		in.name = f.Name()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			in.at = f
		}
	} else if at, ok := src.R.(io.ReaderAt); ok {
		in.at = at
	}
	if in.at == nil && off > 0 {
		return nil, &policy.Fault{
			Protocol: policy.Local, Phase: policy.Data, Op: "read", Path: in.name, Cause: policy.CauseLocalStream,
		}
	}
	return in, nil
}

// open gives the target, opened.
func (in *input) open(ctx context.Context, ch *channel, path string, off int64) (f *file, err error) {
	if in.begun == nil || off > 0 {
		return ch.openForPut(ctx, path, off, in.src.Mode)
	}
	f, in.begun = in.begun, nil
	return f, nil
}

// release closes a target that was opened and is not needed.
func (in *input) release() {
	if in.begun != nil {
		in.begun.letGo()
	}
}

// readAhead reads the first piece if it may be all there is; whole says that it
// is. A stream may make us wait: if ctx ends meanwhile, the read is left behind.
func (in *input) readAhead(ctx context.Context, off int64, size int) (whole bool, err error) {
	if in.end != unknownEnd && in.end-off > int64(size) {
		return false, nil
	}
	p := &chunk{off: off, n: int(min(int64(size), in.end-off))}
	p.raw = buffer(room + p.n)
	type outcome struct {
		n   int
		err error
	}
	read := make(chan outcome, 1)
	go func() {
		n, err := in.fill(p)
		read <- outcome{n, err}
	}()
	select {
	case <-ctx.Done():
		return false, policy.LocalFault("read", in.name, context.Cause(ctx))
	case got := <-read:
		if got.err != nil {
			return false, got.err
		}
		if got.n < p.n {
			in.end = off + int64(got.n)
		}
		p.n, p.filled, in.head = got.n, true, p
	}
	return off+int64(p.n) == in.end, nil
}

// feed makes list hand out what the input holds.
func (in *input) feed(list *chunks) {
	list.fill, list.inOrder, list.progress = in.fill, in.at == nil, in.src.Progress
	if list.end = in.end; in.head != nil && in.head.n > 0 {
		list.begin(in.head)
	}
}

// fill reads a piece and says how many bytes there were: fewer at the end.
func (in *input) fill(p *chunk) (n int, err error) {
	if in.at != nil {
		n, err = in.at.ReadAt(p.data(), p.off)
	} else {
		n, err = readFull(in.src.R, p.data())
	}
	if err != nil && err != io.EOF {
		return n, policy.LocalFault("read", in.name, err)
	}
	if n < p.n && in.src.Size >= 0 {
		return n, &policy.Fault{
			Protocol: policy.Local, Phase: policy.Data, Op: "read", Path: in.name, Cause: policy.CauseLocalChanged,
			Text: fmt.Sprintf("it ended at %d bytes, it had %d", p.off+int64(n), in.src.Size),
		}
	}
	return n, nil
}

// readFull is io.ReadFull without the change of io.EOF into an error that the
// reader may have given itself.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}
