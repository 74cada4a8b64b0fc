package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// nameMax is the longest name in bytes that common file systems hold.
const nameMax = 255

// tempName is the name under which a file grows: hidden, ending in .part so that
// no pickup pattern takes it, and the same for the same source, so that a later
// run finds it. It stays in the target's directory: a rename across file systems
// would copy, or fail.
func tempName(final, identity string) string {
	dir, name := Split(final)
	sum := sha256.Sum256([]byte(identity + "\x00" + final))
	suffix := ".xfer-" + hex.EncodeToString(sum[:6]) + ".part"
	if room := nameMax - len(suffix) - 1; len(name) > room {
		name = strings.ToValidUTF8(name[:room], "")
	}
	return Join(dir, "."+name+suffix)
}

// IsTemp says whether name is one that tempName makes: listings leave it out.
func IsTemp(name string) bool {
	rest, ok := strings.CutSuffix(name, ".part")
	if !ok || !strings.HasPrefix(name, ".") {
		return false
	}
	i := strings.LastIndex(rest, ".xfer-")
	return i > 0 && len(rest)-i == len(".xfer-")+12
}

// checkTarget looks at an existing target where the person's wish depends on it.
// proceed is false when there is nothing to do. size is that of the source, -1 when
// it is unknown.
func (r *run) checkTarget(ctx context.Context, modTime time.Time, size int64) (proceed bool, err error) {
	if r.job.OnExists == Replace {
		return true, nil
	}
	info, err := r.statTarget(ctx, r.job.Remote)
	if err != nil || info == nil {
		return err == nil, err
	}
	noRename, err := r.link.known(ctx, factNoRename, factNoTempNames)
	if err != nil {
		return false, err
	}
	if (r.job.InPlace || noRename != nil) && r.isUnfinished(info.Size, size) {
		return true, nil
	}
	switch r.job.OnExists {
	case Fail:
		return false, r.fault(policy.CauseRemoteExists, r.job.Remote)
	case Newer:
		if !info.ModTime.IsZero() && !modTime.Truncate(max(info.Precision, time.Second)).After(info.ModTime) {
			r.result.Skipped = "the target is as new as the source"
			return false, nil
		}
	case Skip:
		r.result.Skipped = "the target exists"
		return false, nil
	case KeepBoth:
		r.result.Remote, err = r.freeName(ctx)
		return err == nil, err
	}
	return true, nil
}

// isUnfinished says whether a target of a transfer in place is what an earlier run
// has left: it is less than the source. To skip it would pass half a file off as
// the whole one, for ever.
func (r *run) isUnfinished(there, size int64) bool {
	if r.job.OnExists != Skip && r.job.OnExists != Newer || there < 0 || there >= size {
		return false
	}
	r.unfinished = true
	r.warn(fmt.Sprintf("the target exists with %d of %d bytes: taken for what an interrupted transfer in place has left, and written anew", there, size))
	return true
}

// statTarget is stat for a file that may be missing: nil then.
func (r *run) statTarget(ctx context.Context, path string) (info *Info, err error) {
	err = r.engine.Do(ctx, r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		info, err = statOrMissing(ctx, s, path)
		return err
	}))
	return info, err
}

// freeName finds "name.1.ext", "name.2.ext" … beside an existing target.
func (r *run) freeName(ctx context.Context) (string, error) {
	for n := 1; n < 1000; n++ {
		candidate := numbered(r.job.Remote, n)
		info, err := r.statTarget(ctx, candidate)
		if err != nil {
			return "", err
		}
		if info == nil {
			return candidate, nil
		}
	}
	return "", r.fault(policy.CauseRemoteExists, r.job.Remote)
}

// numbered puts n before the extension: report.csv → report.1.csv.
func numbered(p string, n int) string {
	ext := path.Ext(p)
	stem := strings.TrimSuffix(p, ext)
	if stem == "" || strings.HasSuffix(stem, "/") { // .profile has no extension
		stem, ext = p, ""
	}
	return fmt.Sprintf("%s.%d%s", stem, n, ext)
}

// foresee says what comes behind the upload, so that the adapter can send it
// together.
func (r *run) foresee(in *Source, modTime time.Time) {
	if r.job.Verify != VerifySize || in.Mode != 0 {
		return // other questions come between
	}
	if !r.job.NoTimes {
		in.ModTime = modTime
	}
	in.Temporary = !r.job.InPlace && r.job.OnExists != Fail && r.job.OnExists != Skip
}

// setModTime gives the file the source's time. A server that can't, or that
// refuses, costs a warning: the content is there.
func (r *run) setModTime(ctx context.Context, path string, t time.Time) {
	if r.job.NoTimes || t.IsZero() {
		return
	}
	op := r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		if s.Extras().SetModTime == nil {
			return nil // nothing was promised: FTP has no standard way
		}
		return s.Extras().SetModTime(ctx, path, t)
	})
	op.Diagnose = nil // it changes nothing, and may come between RNFR and RNTO
	if err := r.engine.Do(ctx, op); err != nil {
		r.warn("the modification time could not be set: " + policy.FaultOf(err).Said())
	}
}

// publish gives the complete file its final name.
func (r *run) publish(ctx context.Context, temp string) error {
	final := r.result.Remote
	if r.job.OnExists == Fail || r.job.OnExists == Skip {
		// It may have appeared meanwhile.
		proceed, err := r.checkTarget(ctx, time.Time{}, -1)
		if err != nil {
			return err
		}
		if !proceed {
			r.discard(ctx, temp, fs.ErrExist)
			return nil
		}
	}
	if err := r.job.publishing(ctx, Publication{temp, final, r.result.SHA256}); err != nil {
		return err
	}
	err := r.rename(ctx, temp, final, true)
	if err == nil || !mayBeRefusedByTarget(err) {
		return err
	}
	there, statErr := r.statTarget(ctx, final)
	switch {
	case statErr != nil:
	case there == nil:
		err = r.notRenamed(ctx, temp, err)
	case !there.IsDir():
		err = r.replaceByHand(ctx, temp, final)
	}
	if g, ok := errors.AsType[*policy.GaveUp](err); ok && mayBeRefusedByTarget(err) {
		g.Verdict.Next += "; if the server never allows a rename, write the target itself: xfer put --in-place …"
	}
	return err
}

// Names of facts about publishing.
const (
	factNoRename    = "no:rename"          // files may be written, and not renamed
	factNoTempNames = "no:temporary-names" // files are taken away whatever they are called
	factTakesFiles  = "takes-files"        // files are taken away as they arrive
	factIgnoresCase = "ignores-case"       // names that differ in case only are one
)

// TakesFiles says why it is believed that files which arrive at the server are
// taken away at once, nil when it is not.
func (l *Link) TakesFiles(ctx context.Context) (*Fact, error) {
	return l.known(ctx, factTakesFiles, factNoTempNames)
}

// LearnTakesFiles remembers that they are, and by what it showed. TakesFiles was
// asked before.
func (l *Link) LearnTakesFiles(reason string) {
	l.learn(factTakesFiles, Fact{Value: "yes", Reason: reason, At: time.Now()})
}

// IgnoresCase says whether the server has shown that names which differ in case only
// are one file to it.
func (l *Link) IgnoresCase(ctx context.Context) (bool, error) {
	fact, err := l.known(ctx, factIgnoresCase)
	return fact != nil, err
}

// LearnIgnoresCase remembers that they are. IgnoresCase was asked before.
func (l *Link) LearnIgnoresCase() {
	l.learn(factIgnoresCase, Fact{Value: "yes", Reason: "a file was found by its name in the other case", At: time.Now()})
}

// notRenamed remembers why a rename was refused that nothing stood in the way of.
func (r *run) notRenamed(ctx context.Context, temp string, err error) error {
	fact := Fact{Value: "refused", Reason: policy.FaultOf(err).Said(), At: time.Now()}
	info, statErr := r.statTarget(ctx, temp)
	switch {
	case statErr == nil && info == nil:
		fact.Reason = "a file was gone before it could be renamed"
		r.link.learn(factNoTempNames, fact)
		return r.fault(policy.CauseTaken, r.result.Remote)
	case statErr == nil && verdictOf(err).Kind != policy.KindTarget:
		r.link.learn(factNoRename, fact)
	}
	return err
}

// chooseInPlace decides for the target's own name where an earlier run has
// learned that the server does not rename, if there is no old target to lose.
func (r *run) chooseInPlace(ctx context.Context) error {
	if r.job.InPlace {
		return nil
	}
	known, err := r.link.known(ctx, factNoRename, factNoTempNames)
	if err != nil || known == nil {
		return err
	}
	there, err := r.statTarget(ctx, r.result.Remote)
	if err == nil && (there == nil || r.unfinished) {
		r.job.InPlace = true
		r.warn("sent under its own name, without a temporary one: " + known.Reason + " (" + known.At.Format(time.DateOnly) + ")")
	}
	return err
}

// setMode gives the file the permission bits that were asked for. A server that
// can't, or that refuses, costs a warning: the content is there.
func (r *run) setMode(ctx context.Context, path string, mode fs.FileMode) {
	if mode == 0 {
		return
	}
	err := r.engine.Do(ctx, r.link.Op(r.job.Name(), 0, func(ctx context.Context, s Session) error {
		if f := s.Extras().Chmod; f != nil {
			return f(ctx, path, mode)
		}
		return r.link.notOffered("chmod", path, "SETSTAT", "SITE CHMOD")
	}))
	if err != nil {
		r.warn("the permission bits could not be set: " + policy.FaultOf(err).Said())
	}
}

// replaceByHand is for servers whose rename refuses an existing target (SFTP
// version 3 without posix-rename, IIS): the old file steps aside, and comes back
// if the new one can't take its place. One that a killed run has left beside it is
// of no use to anybody, for there is a later one.
func (r *run) replaceByHand(ctx context.Context, temp, final string) error {
	backup := strings.TrimSuffix(tempName(final, ""), ".part") + ".old"
	err := r.rename(ctx, final, backup, false)
	if err != nil && mayBeRefusedByTarget(err) && Remove(ctx, r.link, r.engine, r.job.Name(), backup) == nil {
		err = r.rename(ctx, final, backup, false)
	}
	if err != nil {
		return err
	}
	if err := r.rename(ctx, temp, final, false); err != nil {
		if back := r.rename(ctx, backup, final, false); back != nil {
			r.warn(fmt.Sprintf("the former %s is now %s", final, backup))
		}
		return err
	}
	if err := Remove(ctx, r.link, r.engine, r.job.Name(), backup); err != nil {
		r.warn(fmt.Sprintf("the former %s could not be removed and is now %s", final, backup))
	}
	return nil
}

// rename moves from to to, and looks when the answer is lost.
func (r *run) rename(ctx context.Context, from, to string, replace bool) error {
	op := renameOp(r.link, r.job.Name(), from, to, replace)
	try := op.Try
	op.Try = func(ctx context.Context) error {
		err := try(ctx)
		r.aboutFinal(err, from)
		return err
	}
	return r.engine.Do(ctx, op)
}

// mayBeRefusedByTarget says whether the existing target may be why a rename was
// refused: whenever the server said no for good, and it was not about the login.
func mayBeRefusedByTarget(err error) bool {
	switch v := verdictOf(err); v.Kind {
	case policy.KindRefused, policy.KindTarget, policy.KindMissing, policy.KindPermission:
		return !v.Login
	default:
		return false
	}
}

// discard removes a temporary file that no later run could use. A failure that
// may pass, and an interruption, leave it for the resume.
func (r *run) discard(ctx context.Context, temp string, cause error) {
	if r.job.InPlace || r.result.Tries == 0 || isResumable(cause) {
		return
	}
	// The context may be over, the file must go all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
	defer cancel()
	if s, _ := r.link.live(); s != nil {
		_ = s.Remove(ctx, temp) // a courtesy; the failure that led here is what is reported
	}
}

// isResumable says whether a later run can go on from where this one stopped.
func isResumable(err error) bool {
	if policy.FaultOf(err).Cause == policy.CauseRemoteChanged {
		return false // the next version gets a temporary name of its own
	}
	switch verdictOf(err).Kind {
	case policy.KindTemporary, policy.KindCancelled:
		return true
	default:
		return false
	}
}

func verdictOf(err error) policy.Verdict {
	if g, ok := errors.AsType[*policy.GaveUp](err); ok {
		return g.Verdict
	}
	return policy.Classify(policy.FaultOf(err))
}
