package transfer

import (
	"context"
	"strconv"
	"time"
)

// The mark of an upload that broke off is how many bytes have arrived without a
// gap. Where bytes are sent out of order (Extras.Spread) the size of the part does
// not say that, and a later run would have to begin so much earlier: on a slow
// line it would never get past that. The mark is remembered with the facts about
// the host. What is below it is compared as ever.

// factMark is the name of the fact. Users have directories of their own.
func (r *run) factMark(temp string) string {
	return "arrived:" + r.link.Location().User + ":" + temp
}

// mark is that of temp, 0 if none is known.
func (r *run) mark(ctx context.Context, temp string) (int64, error) {
	fact, err := r.link.known(ctx, r.factMark(temp))
	if err != nil || fact == nil {
		return 0, err
	}
	n, err := strconv.ParseInt(fact.Value, 10, 64)
	if err != nil || n < 0 {
		return 0, nil // somebody else's words
	}
	return n, nil
}

// startAt comes before bytes are sent from off on: from then on a mark above it
// is none, and must not outlive this process, however it ends.
func (r *run) startAt(ctx context.Context, s Session, temp string, off int64) error {
	r.spread = s.Extras().Spread > 0
	if mark, err := r.mark(ctx, temp); err != nil || mark <= off {
		return err
	}
	return r.link.forget(ctx, r.factMark(temp))
}

// noteMark remembers how far an upload got that a later run can go on with.
func (r *run) noteMark(temp string, cause error) {
	if !r.spread || r.job.InPlace || r.safe < resumeFrom || !isResumable(cause) {
		return
	}
	r.link.learn(r.factMark(temp), Fact{
		Value: strconv.FormatInt(r.safe, 10), Reason: "bytes of an upload that broke off", At: time.Now(),
	})
}

// dropMark forgets the mark of a part that is complete.
func (r *run) dropMark(ctx context.Context, temp string) {
	if mark, err := r.mark(ctx, temp); err == nil && mark > 0 {
		_ = r.link.forget(ctx, r.factMark(temp)) // a mark that stays does no harm
	}
}

// forget drops a fact, here and in the memory, at once.
func (l *Link) forget(ctx context.Context, name string) error {
	l.mu.Lock()
	delete(l.facts, name)
	delete(l.learned, name)
	l.mu.Unlock()
	if l.memory == nil {
		return nil
	}
	return l.memory.Learn(ctx, l.loc.Server(), Facts{name: {}})
}
