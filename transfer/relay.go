package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// Relay copies a file from one server to another, with nothing kept on this
// machine: a Get of the one is the source of a Put to the other. As with Run it
// arrives whole and under its final name, or not at all. job.Remote is the
// target; job.Local only names the source for messages.
func Relay(ctx context.Context, from *Link, path string, to *Link, job Job, e *policy.Engine, o Observer) (Result, error) {
	began := time.Now()
	r := &run{link: to, job: job, engine: e.Observed(o.Event), observer: o}
	r.result.Remote, r.result.Local = job.Remote, job.Local
	err := r.relay(ctx, &relaySource{link: from, path: path})
	r.result.Elapsed = time.Since(began)
	return r.result, asGaveUp(job.Name(), to.annotate(err))
}

// relaySource is the file on the other server.
type relaySource struct {
	link *Link
	path string
	info Info
	// sum is of what has passed, nil if nobody asks for it.
	sum *passed
}

// relay is put with a source that is elsewhere, in the same four paragraphs.
func (r *run) relay(ctx context.Context, src *relaySource) (err error) {
	// 1. What to send, under which temporary name, and who else is at it.
	if src.info, err = Stat(ctx, src.link, r.engine, r.job.Name(), src.path); err != nil {
		return err
	}
	if src.info.IsDir() {
		return src.link.annotate(&policy.Fault{
			Protocol: src.link.loc.Protocol(), Phase: policy.Command, Op: "get", Path: src.path, Cause: policy.CauseRemoteDirectory,
		})
	}
	if r.job.Hash {
		src.sum = &passed{hash: sha256.New()}
	}
	r.observer.size(src.info.Size)
	if proceed, err := r.checkTarget(ctx, src.info.ModTime, src.info.Size); err != nil || !proceed {
		return err
	}
	temp := r.result.Remote
	if !r.job.InPlace {
		temp = tempName(r.result.Remote, src.identity())
	}
	release, err := r.lockRemote(temp)
	if err != nil {
		return err
	}
	defer release()

	// 2. Send it, from where an earlier try got to.
	if err := r.engine.Do(ctx, r.relayOp(src, temp)); err != nil {
		r.noteMark(temp, err)
		r.discard(ctx, temp, err)
		return err
	}

	r.dropMark(ctx, temp)

	// 3. Verify that what was sent is one state of the file, not a mixture.
	if err := r.unchangedSource(ctx, src); err != nil {
		r.discard(ctx, temp, err)
		return err
	}
	r.result.SHA256 = src.sum.all(r.result.Size)

	// 4. Publish: mode and time first, then the name.
	r.setMode(ctx, temp, r.relayMode(src))
	r.setModTime(ctx, temp, src.info.ModTime)
	if r.job.InPlace {
		return nil
	}
	if err := r.publish(ctx, temp); err != nil {
		r.discard(ctx, temp, err)
		return err
	}
	return nil
}

// relayMode are the permission bits that the copy is to have.
func (r *run) relayMode(src *relaySource) fs.FileMode {
	return r.job.modeOf(src.info.Mode.Perm(), src.info.HasPerm)
}

// identity is as that of a local source.
func (s *relaySource) identity() string {
	return fmt.Sprintf("%s\x00%s\x00%d\x00%d", s.link.loc.Server(), s.path, s.info.Size, s.info.ModTime.Unix())
}

// relayOp is the data transfer. Either server may fail, and it is the one that
// did which is dialled anew.
func (r *run) relayOp(src *relaySource, temp string) policy.Op {
	source, target := src.link.user(), r.link.user()
	failed := target
	op := target.op(r.job.Name(), src.info.Size, func(ctx context.Context, s Session) (err error) {
		defer func() { r.aboutFinal(err, temp) }()
		failed = source
		in, err := source.session(ctx)
		if err != nil {
			return err
		}
		failed = target
		if err := r.canVerify(s); err != nil {
			return err
		}
		off, err := r.resumeRelay(ctx, in, s, src, temp)
		if err != nil {
			return err
		}
		if err := r.startAt(ctx, s, temp, off); err != nil {
			return err
		}
		r.begin(off)
		put := Source{Size: src.info.Size, Mode: whileWriting(r.relayMode(src)), Progress: r.moved(off)}
		n, getErr, err := pump(ctx, in, src, s, temp, off, put)
		r.safe = max(r.safe, off+n)
		if getErr != nil {
			failed = source
			return src.link.annotate(getErr)
		}
		if err != nil {
			return err
		}
		if r.result.Size = off + n; src.info.Size >= 0 && r.result.Size != src.info.Size {
			return src.changed(r.result.Size)
		}
		if err := r.verifySent(ctx, s, temp); err != nil {
			return err
		}
		err = r.verifyRelay(ctx, in, s, src, temp)
		if errors.Is(err, errGetFailed) {
			failed = source
			return src.link.annotate(err)
		}
		return err
	})
	op.Progress = func() int64 { return r.safe }
	op.Reconnect = func(ctx context.Context) error { return failed.reconnect(ctx) }
	op.SwitchMode = func(ctx context.Context) error { return failed.switchMode(ctx) }
	op.Can = func(m policy.Remedy) bool { return failed.can(m) }
	op.About = func(m policy.Remedy) string { return failed.about(m) }
	op.Reconcile = func(ctx context.Context) (bool, error) {
		s, err := r.link.Session(ctx)
		if err != nil {
			return false, err
		}
		info, err := sizeOrMissing(ctx, s, temp)
		if err != nil || info == nil || src.info.Size < 0 || info.Size != src.info.Size {
			return false, r.link.annotate(err)
		}
		in, err := source.session(ctx)
		if err != nil {
			return false, err
		}
		r.result.Size = info.Size
		err = r.verifyRelay(ctx, in, s, src, temp)
		return err == nil, r.link.annotate(err)
	}
	return op
}

// verifyRelay compares the content with that of the source, as the job demands, and
// drops what turns out to be another.
func (r *run) verifyRelay(ctx context.Context, in, out Session, src *relaySource, temp string) error {
	err := r.verifyContent(ctx, out, temp, relayed{in, src.path})
	if isSpoiled(err) {
		r.spoil(ctx, out, temp)
	}
	return err
}

// relayed is the source of a relay, as a digester: it is fetched once more where its
// server does not compute the same checksum.
type relayed struct {
	in   Session
	path string
}

func (s relayed) digest(ctx context.Context, algorithm string, _ int64) ([]byte, error) {
	h, ok := NewHash(algorithm)
	if !ok {
		return nil, unknownHash(algorithm)
	}
	if ask := s.in.Extras().Hash; ask != nil {
		if d, err := ask(ctx, s.path, -1); err == nil && bare(d.Algorithm) == bare(algorithm) {
			return d.Sum, nil
		}
	}
	if _, err := s.in.Get(ctx, s.path, 0, Sink{W: h, Size: -1}); err != nil {
		return nil, fmt.Errorf("%w: %w", errGetFailed, err)
	}
	return h.Sum(nil), nil
}

// pump gets from in and puts to out, put says how. getErr is what went wrong with
// the source.
func pump(ctx context.Context, in Session, src *relaySource, out Session, to string, off int64, put Source) (n int64, getErr, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := in.Get(ctx, src.path, off, Sink{W: src.sum.beside(pw, off), Size: src.info.Size})
		end := err
		if err != nil {
			end = fmt.Errorf("%w: %w", errGetFailed, err)
		}
		_ = pw.CloseWithError(end) // never fails; nil is the end of the file
		done <- err
	}()
	source := &inSequence{r: pr, next: off}
	source.turn = sync.NewCond(&source.mu)
	put.R = source
	n, err = out.Put(ctx, to, off, put)
	_ = pr.CloseWithError(errPutEnded) // never fails
	source.stop()
	if err != nil {
		cancel() // a Get that waits for its server waits in vain
	}
	if getErr = <-done; !errors.Is(err, errGetFailed) {
		getErr = nil // it was cut short because the Put has ended
	}
	return n, getErr, err
}

// errPutEnded tells the Get of a relay that nobody wants its bytes any more;
// errGetFailed marks in the error of the Put that it was not the Put that failed.
var (
	errPutEnded  = errors.New("the upload has ended")
	errGetFailed = errors.New("the download has failed")
)

// inSequence lets a transport that reads at offsets, from several goroutines,
// read a stream: each waits until it is its turn. A byte can be read once.
type inSequence struct {
	r io.Reader

	mu      sync.Mutex
	turn    *sync.Cond
	next    int64
	reading bool
	err     error
}

func (s *inSequence) Read(p []byte) (int, error) {
	s.mu.Lock()
	off := s.next
	s.mu.Unlock()
	n, err := s.ReadAt(p[:min(len(p), relayRead)], off)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // comes again
	}
	return n, err
}

// relayRead is how much a sequential reader takes at once, in bytes.
const relayRead = 32 << 10

func (s *inSequence) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for (s.reading || s.next < off) && s.err == nil {
		s.turn.Wait()
	}
	switch {
	case s.err != nil:
		return 0, s.err
	case s.next > off:
		return 0, &policy.Fault{Protocol: policy.Local, Phase: policy.Data, Op: "read", Cause: policy.CauseLocalStream}
	}
	s.reading = true
	s.mu.Unlock()
	n, err := io.ReadFull(s.r, p)
	s.mu.Lock()
	s.reading = false
	s.next += int64(n)
	if err == io.ErrUnexpectedEOF { // from ReadFull; a Get that failed may wrap it
		err = io.EOF
	}
	s.err = err
	s.turn.Broadcast()
	return n, err
}

// stop frees those that still wait for their turn.
func (s *inSequence) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = errPutEnded
	}
	s.turn.Broadcast()
}

// resumeRelay finds the offset from which the upload continues.
func (r *run) resumeRelay(ctx context.Context, in, out Session, src *relaySource, temp string) (int64, error) {
	first := !r.ours
	if r.spoiled || !in.Extras().Resume || !out.Extras().Resume || out.Extras().NoPutResume || first && (r.job.NoResume || r.job.InPlace || src.info.Size < resumeFrom) {
		return 0, nil
	}
	info, err := r.part(ctx, out, temp, whileWriting(r.relayMode(src)))
	if err != nil || info == nil || info.Size < 0 || src.info.Size < 0 || info.Size > src.info.Size {
		return 0, err
	}
	safe := r.safe
	if first {
		if safe, err = r.mark(ctx, temp); err != nil {
			return 0, err
		}
	}
	off := max(0, min(max(safe, info.Size-out.Extras().Spread), info.Size))
	if off == 0 || !first {
		return off, nil
	}
	theirs, err := tail(ctx, out, temp, off)
	if err != nil {
		return 0, err
	}
	ours, err := tail(ctx, in, src.path, off)
	if err != nil || ours != theirs {
		return 0, src.link.annotate(err)
	}
	return off, nil
}

// tail reads the last of the first off bytes of a file.
func tail(ctx context.Context, s Session, path string, off int64) (string, error) {
	from := max(0, off-overlap)
	t := &tailSink{want: int(off - from)}
	_, err := s.Get(ctx, path, from, Sink{W: t, Size: -1})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return string(t.b), err
}

// errEnough ends a Get that has given what is wanted.
var errEnough = errors.New("enough")

type tailSink struct {
	b    []byte
	want int
}

func (t *tailSink) Write(p []byte) (int, error) {
	n := min(len(p), t.want-len(t.b))
	t.b = append(t.b, p[:n]...)
	if n < len(p) {
		return n, errEnough
	}
	return n, nil
}

// unchangedSource fails when the source is not what it was at the beginning.
func (r *run) unchangedSource(ctx context.Context, src *relaySource) error {
	now, err := Stat(ctx, src.link, r.engine, r.job.Name(), src.path)
	if err != nil {
		return err
	}
	if now.Size == src.info.Size && now.ModTime.Equal(src.info.ModTime) {
		return nil
	}
	return src.changed(now.Size)
}

func (s *relaySource) changed(size int64) error {
	return s.link.annotate(&policy.Fault{
		Protocol: s.link.loc.Protocol(), Phase: policy.Data, Op: "get", Path: s.path, Cause: policy.CauseRemoteChanged,
		Text: fmt.Sprintf("%d bytes at the beginning, %d now", s.info.Size, size),
	})
}
