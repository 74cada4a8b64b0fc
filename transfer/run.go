package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
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
	// safe is how many bytes are known to be at the target without a gap; reached
	// is the furthest position that was sent or received.
	safe, reached int64
	// ours: a try has written to the target. Until then what is there is another
	// run's, or the old target.
	ours bool
	// spoiled: what is at the target must not be continued.
	spoiled bool
	// spread: the server gets bytes out of order, so that the size of a part does
	// not say how many have arrived without a gap.
	spread bool
	// unfinished: the target is less than the source, and taken for what an earlier
	// run has left.
	unfinished bool
}

// lockRemote keeps other processes off a file that grows on the server.
func (r *run) lockRemote(temp string) (release func(), err error) {
	loc := r.link.Location()
	return r.lock(loc.Server()+" "+temp, loc.WithPath(r.result.Remote).String())
}

// lock makes a failure one of the target that the person knows.
func (r *run) lock(key, target string) (release func(), err error) {
	release, err = r.job.lock(key)
	if f, ok := errors.AsType[*policy.Fault](err); ok && f.Cause == policy.CauseLocalLocked {
		f.Path = target
	}
	return release, err
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
		r.reached = max(r.reached, pos)
		if pos > off {
			r.ours, r.spoiled = true, false
		}
		r.observer.progress(pos)
	}
}

// underWay is more than the sockets of both sides hold, in bytes: what was sent
// before that has arrived.
const underWay = 16 << 20

// progress is how far an upload has got, for the engine. How many bytes are at the
// target FTP tells only when it is asked again.
func (r *run) progress() int64 { return max(r.safe, r.reached-underWay) }

// put uploads. Its four paragraphs are the whole story.
func (r *run) put(ctx context.Context) error {
	// 1. What to send, under which temporary name, and who else is at it.
	src, err := openSource(r.job)
	if err != nil {
		return err
	}
	defer src.Close()
	r.observer.size(src.size)
	if proceed, err := r.checkTarget(ctx, src.modTime, src.size); err != nil || !proceed {
		return err
	}
	if err := r.chooseInPlace(ctx); err != nil {
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

	// 2. Send it, from where an earlier try got to, until the server has it all.
	sum := r.summing(ctx, src)
	defer sum.stop()
	if err := r.send(ctx, src, temp); err != nil {
		r.noteMark(temp, err)
		r.discard(ctx, temp, err)
		return err
	}

	r.dropMark(ctx, temp)

	// 3. Verify that what was sent is one state of the file, not a mixture.
	r.result.SHA256, err = sum.wait()
	if err = errors.Join(src.unchanged(), err); err != nil {
		r.discard(ctx, temp, err)
		return err
	}

	// 4. Publish: mode and time first, so that the file is complete when it appears
	// under its name; then the name.
	r.setMode(ctx, temp, r.job.modeOf(src.mode, src.mode != 0))
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
		if err := r.canVerify(s); err != nil {
			return err
		}
		off, err := r.resumePut(ctx, s, src, temp)
		if err != nil {
			return err
		}
		if err := r.startAt(ctx, s, temp, off); err != nil {
			return err
		}
		moved := r.moved(off)
		in, err := src.from(moved)
		if err != nil {
			return err
		}
		in.Mode = whileWriting(r.job.modeOf(src.mode, src.mode != 0))
		r.foresee(&in, src.modTime)
		r.begin(off)
		n, err := s.Put(ctx, temp, off, in)
		r.safe = max(r.safe, off+n)
		if err != nil {
			return err
		}
		r.result.Size = off + n
		moved(off + n)
		if err := r.verifySent(ctx, s, temp); err != nil {
			return err
		}
		return r.verifyPut(ctx, s, src, temp)
	})
	op.Progress = r.progress
	op.Reconcile = func(ctx context.Context) (bool, error) {
		s, err := r.link.Session(ctx)
		if err != nil {
			return false, err
		}
		info, err := sizeOrMissing(ctx, s, temp)
		if err != nil || info == nil || !src.complete(info.Size) || r.spoiled {
			return false, r.link.annotate(err)
		}
		r.result.Size = info.Size
		err = r.verifyPut(ctx, s, src, temp)
		return err == nil, r.link.annotate(err)
	}
	return r.engine.Do(ctx, op)
}

// verifyPut compares the content, and drops what turns out to be another: nobody
// may go on from there.
func (r *run) verifyPut(ctx context.Context, s Session, src *source, temp string) error {
	err := r.verifyContent(ctx, s, temp, src)
	if !isSpoiled(err) {
		return err
	}
	if changed := src.unchanged(); changed != nil {
		return changed
	}
	r.spoil(ctx, s, temp)
	return err
}

// spoil drops what is at the target: it has the right size and another content.
func (r *run) spoil(ctx context.Context, s Session, temp string) {
	r.safe, r.spoiled = 0, true
	if !r.job.InPlace {
		_ = s.Remove(ctx, temp) // else the next try empties it
	}
}

// aboutFinal makes a failure of the temporary file one of the file that the
// person knows.
func (r *run) aboutFinal(err error, temp string) {
	f, ok := errors.AsType[*policy.Fault](err)
	switch {
	case !ok || f.Path != temp || r.job.InPlace:
	case r.job.Direction == Get:
		f.Final = r.result.Local
	default:
		f.Final = r.result.Remote
	}
}

// whileWriting is the mode of what grows on a server and may have to be continued, 0
// if that is left open.
func whileWriting(mode fs.FileMode) fs.FileMode {
	if mode != 0 {
		mode |= 0o600
	}
	return mode
}

// part looks for what has been sent to temp before. mode is that of the Put that
// comes next.
func (r *run) part(ctx context.Context, s Session, temp string, mode fs.FileMode) (*Info, error) {
	if begin := s.Extras().Begin; begin != nil && !r.ours {
		return orMissing(begin(ctx, temp, mode))
	}
	return sizeOrMissing(ctx, s, temp)
}

// resumePut finds the offset from which the upload continues: what the server
// has, never what was counted here (socket buffers run megabytes ahead).
func (r *run) resumePut(ctx context.Context, s Session, src *source, temp string) (int64, error) {
	first := !r.ours
	if r.spoiled || r.job.NoResume && first || first && src.size < resumeFrom || src.stream || !s.Extras().Resume || s.Extras().NoPutResume {
		return 0, nil
	}
	if r.job.InPlace && first {
		return 0, nil // what is there is the old target, not a part of ours
	}
	info, err := r.part(ctx, s, temp, whileWriting(r.job.modeOf(src.mode, src.mode != 0)))
	if err != nil || info == nil || info.Size < 0 || info.Size > src.size {
		return 0, err
	}
	safe := r.safe
	if first {
		if safe, err = r.mark(ctx, temp); err != nil {
			return 0, err
		}
	}
	off := min(max(safe, info.Size-s.Extras().Spread), info.Size)
	if off <= 0 || !first {
		r.safe = max(r.safe, off)
		return max(off, 0), nil
	}
	same, err := r.samePart(ctx, s, src, temp, off, info.Size)
	if err != nil || !same {
		return 0, err
	}
	r.safe = off
	return off, nil
}

// get downloads, in the same four paragraphs.
func (r *run) get(ctx context.Context) error {
	if r.job.Out != nil {
		return r.stream(ctx)
	}
	listed := r.job.Listed
	if s, _ := r.link.live(); s == nil || !s.Extras().GetCompares || !r.isExact(r.job.Listed) {
		r.job.Listed = nil
	}
	if r.job.Listed != nil {
		if err := r.getVersion(ctx, *r.job.Listed); !isChanged(err) {
			return err
		}
		r.job.Listed, r.ours, r.result.Tries, r.safe = nil, false, 0, 0
	}
	info, err := Stat(ctx, r.link, r.engine, r.job.Name(), r.job.Remote)
	if err != nil {
		return err
	}
	if listed != nil && listed.IsRegular() && listed.Size == info.Size && !info.HasPerm {
		info.Mode, info.HasPerm = listed.Mode, listed.HasPerm // FTP without MLST tells it there only
	}
	return r.getVersion(ctx, info)
}

// isExact says whether a listing tells enough of the file: of a large one, whose part
// may be continued by another run, and where the time decides, the second.
func (r *run) isExact(listed *Info) bool {
	switch {
	case listed == nil || !listed.IsRegular() || listed.Size < 0 || listed.ModTime.IsZero():
		return false
	case listed.Precision <= time.Second:
		return true
	}
	return listed.Size < resumeFrom && r.job.OnExists != Newer
}

// isSmall says whether a part of the file is not worth being continued by another run.
func (i *Info) isSmall() bool { return i.Size >= 0 && i.Size < resumeFrom }

func isChanged(err error) bool {
	f, ok := errors.AsType[*policy.Fault](err)
	return ok && f.Cause == policy.CauseRemoteChanged
}

// getVersion downloads the file that info describes.
func (r *run) getVersion(ctx context.Context, info Info) error {
	// 1. What to fetch, and under which temporary name.
	switch {
	case info.IsDir():
		return r.fault(policy.CauseRemoteDirectory, r.job.Remote)
	case info.Mode&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0:
		return r.fault(policy.CauseNotRegular, r.job.Remote) // reading it might never end
	}
	r.observer.size(info.Size)
	if proceed, err := r.checkLocalTarget(info.ModTime, info.Size); err != nil || !proceed {
		return err
	}
	if isSpecial(r.result.Local) {
		return r.into(ctx)
	}
	part, release, err := r.openPart(info)
	if err != nil {
		return err
	}
	defer release()

	// 2. Fetch it, from where an earlier try got to.
	if err := r.fetch(ctx, part, &info); err != nil {
		part.abandon(err)
		return err
	}

	// 3. Verify: fetch has counted; what is on the disk must agree.
	if err := part.verify(r.result.Size); err != nil {
		part.abandon(err)
		return err
	}

	// 4. Publish: on the disk for good, then the time, then the name.
	if r.result.SHA256, err = r.sum(ctx, part, r.result.Size); err != nil {
		part.abandon(err)
		return err
	}
	if !part.inPlace && (r.job.OnExists == Fail || r.job.OnExists == Skip) {
		// It may have appeared meanwhile.
		if proceed, err := r.checkLocalTarget(info.ModTime, info.Size); err != nil || !proceed {
			part.abandon(fs.ErrExist)
			return err
		}
	}
	if err := r.job.publishing(ctx, Publication{part.path, r.result.Local, r.result.SHA256}); err != nil {
		part.abandon(err)
		return err
	}
	if r.job.KeepMode && r.job.Mode == 0 && !info.HasPerm {
		r.warn("the permission bits are not those of the source: the server does not tell them")
	}
	return part.publish(r.result.Local, info, r.job)
}

// fetch moves the bytes to the part.
func (r *run) fetch(ctx context.Context, part *part, info *Info) error {
	op := r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) (err error) {
		defer func() { r.aboutFinal(err, part.path) }()
		if err := r.canVerify(s); err != nil {
			return err
		}
		off, compared, err := r.resumeGet(ctx, s, part, info)
		if err != nil {
			return err
		}
		moved := r.moved(off)
		sink := Sink{W: part.file, Size: info.Size, Progress: moved}
		from := off
		if !compared {
			// An earlier run wrote this: compare its end with what comes.
			from = max(0, off-overlap)
			sink.W = &compare{want: io.NewSectionReader(part.file, from, off-from), left: off - from, then: part.file}
		}
		if r.job.Listed != nil {
			sink.Version = info
		}
		r.begin(off)
		n, err := s.Get(ctx, r.job.Remote, from, sink)
		if errors.Is(err, errDiffers) {
			return r.restart(part, err)
		}
		r.safe = max(r.safe, from+n)
		if err != nil {
			return err
		}
		r.result.Size = from + n
		moved(from + n)
		err = r.verifyContent(ctx, s, r.job.Remote, part)
		if isSpoiled(err) {
			r.safe = 0
			err = errors.Join(err, part.truncate(0))
		}
		return err
	})
	op.Progress = func() int64 { return r.safe }
	return r.engine.Do(ctx, op)
}

// resumeGet positions the part where the download continues. compared is false
// when an earlier run wrote it and it is still to be compared with the source.
func (r *run) resumeGet(ctx context.Context, s Session, part *part, info *Info) (off int64, compared bool, err error) {
	first := !r.ours
	if (r.job.NoResume || part.inPlace || info.isSmall()) && first || !s.Extras().Resume {
		return 0, true, part.truncate(0) // in place, what is there is the old target
	}
	if off, err = part.size(); err != nil {
		return 0, false, err
	}
	if info.Size >= 0 && off > info.Size {
		off = 0
	}
	compared = !first || off == 0
	if !compared {
		same, known, err := sameHash(ctx, s, r.job.Remote, off, part, off)
		switch {
		case err != nil:
			return 0, false, err
		case known && !same:
			off = 0
		}
		compared = known
	}
	return off, compared, part.truncate(off)
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

// into writes the file into a target that is more than a name for bytes.
func (r *run) into(ctx context.Context) error {
	f, end, err := openSpecial(ctx, r.result.Local)
	if err != nil {
		return err
	}
	r.job.Out = f
	return errors.Join(r.stream(ctx), end())
}

// stream copies the file to a writer that can't be repeated: after the first
// byte a failure is final.
func (r *run) stream(ctx context.Context) error {
	out := &once{w: r.job.Out, sums: newPassing(r.job)}
	op := r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		if err := r.canVerify(s); err != nil {
			return err
		}
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
	if err != nil {
		return err
	}
	err = r.engine.Do(ctx, r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		return r.verifyContent(ctx, s, r.job.Remote, out.sums)
	}))
	if err == nil {
		r.result.SHA256, err = r.sum(ctx, out.sums, out.n)
	}
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
