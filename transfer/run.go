package transfer

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// resumeFrom is the size in bytes from which a part left by an earlier run is
// worth the question; below it the file is simply sent again.
const resumeFrom = 1 << 20

// overlap is how many bytes before the end of a part are compared with the
// source before the part is continued.
const overlap = 64 << 10

// Run transfers one file: whole, verified, under its final name, or not at all.
// Every failure has gone through e; the error is a *policy.GaveUp.
func Run(ctx context.Context, l *Link, job Job, e *policy.Engine, o Observer) (Result, error) {
	began := time.Now()
	r := &run{link: l, job: job, engine: e.Observed(o.Event), observer: o}
	r.result.Remote, r.result.Local = job.Remote, job.Local
	transfer := r.put
	if job.Direction == Get {
		transfer = r.get
	}
	err := transfer(ctx)
	r.result.Elapsed = time.Since(began)
	return r.result, asGaveUp(job.Name(), l.annotate(err))
}

// asGaveUp gives what went wrong before or after the engine's work, here on
// this machine, the form of everything else.
func asGaveUp(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*policy.GaveUp](err); ok {
		return err
	}
	return policy.GiveUpOn(name, policy.FaultOf(err))
}

// run is the state of one transfer.
type run struct {
	link     *Link
	job      Job
	engine   *policy.Engine
	observer Observer
	result   Result
	// safe is how many bytes are known to be at the target without a gap.
	safe int64
}

// begin is called when a try starts to move bytes at off.
func (r *run) begin(off int64) {
	r.result.Tries++
	r.result.Resumed = off
	r.observer.progress(off)
}

// moved counts what a try that began at off sends or receives.
func (r *run) moved(off int64) func(pos int64) {
	before := r.result.Sent
	return func(pos int64) {
		r.result.Sent = before + max(0, pos-off)
		r.observer.progress(pos)
	}
}

// put uploads. Its four paragraphs are the whole story.
func (r *run) put(ctx context.Context) error {
	// 1. What to send, under which temporary name, and who else is at it.
	src, err := openSource(r.job)
	if err != nil {
		return err
	}
	defer src.Close()
	r.observer.size(src.size)
	if proceed, err := r.checkTarget(ctx, src.modTime); err != nil || !proceed {
		return err
	}
	temp := r.result.Remote
	if !r.job.InPlace {
		temp = tempName(r.result.Remote, src.identity())
	}
	release, err := r.job.lock(r.link.Location().Server() + " " + temp)
	if err != nil {
		return err
	}
	defer release()

	// 2. Send it, from where an earlier try got to, until the server has it all.
	if err := r.send(ctx, src, temp); err != nil {
		r.discard(ctx, temp, err)
		return err
	}

	// 3. Verify that what was sent is one state of the file, not a mixture.
	if err := src.unchanged(); err != nil {
		r.discard(ctx, temp, err)
		return err
	}

	// 4. Publish: the time first, so that the file is complete when it appears
	// under its name; then the name.
	r.setModTime(ctx, temp, src.modTime)
	if r.job.InPlace {
		return nil
	}
	if err := r.publish(ctx, temp); err != nil {
		r.discard(ctx, temp, err)
		return err
	}
	return nil
}

// send moves the bytes to temp.
func (r *run) send(ctx context.Context, src *source, temp string) error {
	op := r.link.Op(r.job.Name(), src.size, func(ctx context.Context, s Session) (err error) {
		defer func() { r.aboutFinal(err, temp) }()
		off, err := r.resumePut(ctx, s, src, temp)
		if err != nil {
			return err
		}
		moved := r.moved(off)
		in, err := src.from(moved)
		if err != nil {
			return err
		}
		r.begin(off)
		n, err := s.Put(ctx, temp, off, in)
		r.safe = max(r.safe, off+n)
		if err != nil {
			return err
		}
		r.result.Size = off + n
		moved(off + n)
		return r.verifySent(ctx, s, temp)
	})
	op.Progress = func() int64 { return r.safe }
	op.Reconcile = func(ctx context.Context) (bool, error) {
		s, err := r.link.Session(ctx)
		if err != nil {
			return false, err
		}
		info, err := statOrMissing(ctx, s, temp)
		if err != nil || info == nil || !src.complete(info.Size) {
			return false, r.link.annotate(err)
		}
		r.result.Size = info.Size
		return true, nil
	}
	return r.engine.Do(ctx, op)
}

// aboutFinal makes a failure of the temporary file one of the file that the
// person knows.
func (r *run) aboutFinal(err error, temp string) {
	if f, ok := errors.AsType[*policy.Fault](err); ok && f.Path == temp && !r.job.InPlace {
		f.Final = r.result.Remote
	}
}

// resumePut finds the offset from which the upload continues: what the server
// has, never what was counted here (socket buffers run megabytes ahead).
func (r *run) resumePut(ctx context.Context, s Session, src *source, temp string) (int64, error) {
	first := r.result.Tries == 0
	if r.job.NoResume && first || first && src.size < resumeFrom || src.stream || !s.Extras().Resume {
		return 0, nil
	}
	if r.job.InPlace && first {
		return 0, nil // what is there is the old target, not a part of ours
	}
	info, err := statOrMissing(ctx, s, temp)
	if err != nil || info == nil || info.Size < 0 || info.Size > src.size {
		return 0, err
	}
	off := min(max(r.safe, info.Size-s.Extras().Spread), info.Size)
	if off <= 0 || !first {
		r.safe = max(r.safe, off)
		return max(off, 0), nil
	}
	same, err := r.sameTail(ctx, s, src, temp, off)
	if err != nil || !same {
		return 0, err
	}
	r.safe = off
	return off, nil
}

// sameTail compares the end of a part that an earlier run left with the source.
// It reads the part from overlap bytes before off to its end.
func (r *run) sameTail(ctx context.Context, s Session, src *source, temp string, off int64) (bool, error) {
	from := max(0, off-overlap)
	check := &compare{want: io.NewSectionReader(src.file, from, off-from), left: off - from}
	_, err := s.Get(ctx, temp, from, Sink{W: check, Size: -1})
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

// verifySent asks the server for the size of what was sent, unless Put did. A
// reply that says "complete" is not enough: servers have said it of truncated
// files (pyftpdlib over TLS).
func (r *run) verifySent(ctx context.Context, s Session, temp string) error {
	if s.Extras().PutVerifies {
		return nil
	}
	info, err := statOrMissing(ctx, s, temp)
	switch {
	case err != nil:
		return err
	case info == nil:
		r.warn("the server accepted the file and took it away at once; it can't be verified")
	case info.Size < 0:
		r.warn("the server does not tell file sizes; the upload can't be verified")
	case info.Size != r.result.Size:
		return &policy.Fault{
			Protocol: r.link.Location().Protocol(), Phase: policy.Data, Op: "verify", Path: temp,
			Cause: policy.CauseSize, Text: sizes(info.Size, r.result.Size),
		}
	}
	return nil
}

// get downloads, in the same four paragraphs.
func (r *run) get(ctx context.Context) error {
	if r.job.Out != nil {
		return r.stream(ctx)
	}
	// 1. What to fetch, and under which temporary name.
	info, err := Stat(ctx, r.link, r.engine, r.job.Name(), r.job.Remote)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return r.fault(policy.CauseRemoteDirectory, r.job.Remote)
	}
	r.observer.size(info.Size)
	if proceed, err := r.checkLocalTarget(info.ModTime); err != nil || !proceed {
		return err
	}
	part, release, err := r.openPart(info)
	if err != nil {
		return err
	}
	defer release()

	// 2. Fetch it, from where an earlier try got to.
	if err := r.fetch(ctx, part, info); err != nil {
		part.abandon(err)
		return err
	}

	// 3. Verify: fetch has counted; what is on the disk must agree.
	if err := part.verify(r.result.Size); err != nil {
		part.abandon(err)
		return err
	}

	// 4. Publish: on the disk for good, then the time, then the name.
	return part.publish(r.result.Local, info, r.job)
}

// fetch moves the bytes to the part.
func (r *run) fetch(ctx context.Context, part *part, info Info) error {
	op := r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		off, err := r.resumeGet(s, part, info)
		if err != nil {
			return err
		}
		moved := r.moved(off)
		sink := Sink{W: part.file, Size: info.Size, Progress: moved}
		from := off
		if r.result.Tries == 0 && off > 0 {
			// An earlier run wrote this: compare its end with what comes.
			from = max(0, off-overlap)
			sink.W = &compare{want: io.NewSectionReader(part.file, from, off-from), left: off - from, then: part.file}
		}
		r.begin(off)
		n, err := s.Get(ctx, r.job.Remote, from, sink)
		if errors.Is(err, errDiffers) {
			return r.restart(part, err)
		}
		r.safe = max(r.safe, from+n)
		if err == nil {
			r.result.Size = from + n
			moved(from + n)
		}
		return err
	})
	op.Progress = func() int64 { return r.safe }
	return r.engine.Do(ctx, op)
}

// resumeGet positions the part where the download continues.
func (r *run) resumeGet(s Session, part *part, info Info) (int64, error) {
	if r.job.NoResume && r.result.Tries == 0 || !s.Extras().Resume {
		return 0, part.truncate(0)
	}
	size, err := part.size()
	if err != nil {
		return 0, err
	}
	if info.Size >= 0 && size > info.Size {
		size = 0
	}
	return size, part.truncate(size)
}

// restart empties a part that turned out to be something else.
func (r *run) restart(part *part, cause error) error {
	if err := part.truncate(0); err != nil {
		return err
	}
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Data, Op: "resume", Path: part.path,
		Cause: policy.CauseResume, Err: cause,
	}
}

// stream copies the file to a writer that can't be repeated: after the first
// byte a failure is final.
func (r *run) stream(ctx context.Context) error {
	out := &once{w: r.job.Out}
	op := r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		if r.result.Tries > 0 && !s.Extras().Resume && out.n > 0 {
			return &policy.Fault{Protocol: policy.Local, Op: "write", Cause: policy.CauseLocalStream}
		}
		r.begin(out.n)
		off, moved := out.n, r.moved(out.n)
		n, err := s.Get(ctx, r.job.Remote, off, Sink{W: out, Size: -1, Progress: moved})
		if err == nil {
			moved(off + n)
		}
		return err
	})
	op.Progress = func() int64 { return out.n }
	err := r.engine.Do(ctx, op)
	r.result.Size = out.n
	return err
}

func (r *run) warn(text string) { r.result.Warnings = append(r.result.Warnings, text) }

// fault is a failure that was found by looking, before anything was tried.
func (r *run) fault(cause policy.Cause, path string) error {
	return &policy.Fault{
		Protocol: r.link.Location().Protocol(), Phase: policy.Command, Op: r.job.Direction.String(),
		Path: path, Cause: cause,
	}
}
