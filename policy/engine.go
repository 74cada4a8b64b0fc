package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Op is one operation as the engine sees it. Only Name and Try are required; a
// nil func means that this remedy is not available here.
type Op struct {
	// Name says what the person asked for: "put report.csv".
	Name string
	// Try does it once, from wherever the last try left off.
	Try func(ctx context.Context) error
	// Progress is a figure that grows when a try got further, in any unit
	// (bytes safely across). Growth gives the operation its tries back.
	Progress func() int64
	// Reconnect drops the connection and logs in anew.
	Reconnect func(ctx context.Context) error
	// SwitchMode chooses the other of passive and active.
	SwitchMode func(ctx context.Context) error
	// Diagnose looks for the cause of a fault and returns a sharper verdict.
	Diagnose func(ctx context.Context, f *Fault) Verdict
	// Reconcile looks whether an operation whose reply was lost took place.
	Reconcile func(ctx context.Context) (done bool, err error)
	// Can, if set, says whether a remedy is possible at this moment: active
	// mode needs an address of ours that the server can reach.
	Can func(Remedy) bool
	// About, if set, says in words what a remedy will do here: "switching to active".
	About func(Remedy) string
}

// Engine carries out remedies. One engine may serve any number of operations,
// also at the same time.
type Engine struct {
	Limits Limits
	// Observe, if set, is told of every fault and of what is done about it,
	// before the wait. It is called from the goroutine of Do.
	Observe func(Event)
}

// Event is one fault and the decision about it.
type Event struct {
	Op      string
	Fault   *Fault
	Verdict Verdict
	// Remedy is what is done now; the verdict holds what was wished for.
	Remedy Remedy
	// About is the remedy in words, "" when its name says it all.
	About string
	// Delay is the wait before it.
	Delay time.Duration
	// Try counts failed tries without progress, Tries is how many there may be.
	Try, Tries int
	// Deadline is when the whole operation is given up, zero if never.
	Deadline time.Time
}

// GaveUp is the end of an operation that could not be completed.
type GaveUp struct {
	Op      string
	Verdict Verdict
	// Last is the last fault, never nil, also when the context ended a wait.
	Last *Fault
	// Tries is how often it was tried in all, 0 if never; a try that got no
	// further than connecting anew counts.
	Tries int
	// Why is set when something other than the fault ended it: the context's
	// cause, or ErrNoTime.
	Why error
}

// ErrNoTime: the next try would begin after the deadline.
var ErrNoTime = errors.New("the deadline leaves no time for another try")

// GiveUpOn is the end of an operation that was never begun, because of f.
func GiveUpOn(op string, f *Fault) *GaveUp {
	return &GaveUp{Op: op, Verdict: Classify(f), Last: f}
}

// Error reads "put report.csv: partner.example refused the upload (550 Permission denied)".
func (g *GaveUp) Error() string {
	s := fmt.Sprintf("%s: %s", g.Op, g.Verdict.Head)
	if said := g.Said(); said != "" && said != g.Verdict.Head {
		s += " (" + said + ")"
	}
	return s
}

// Said is Fault.Said of the last fault, "" if that was only the end of the context:
// the verdict says so.
func (g *GaveUp) Said() string {
	switch {
	case g.Verdict.Rule == string(CauseCancelled) && errors.Is(g.Last, context.Canceled),
		g.Verdict.Rule == string(CauseDeadline) && errors.Is(g.Last, context.DeadlineExceeded):
		return ""
	default:
		return g.Last.Said()
	}
}

// Unwrap gives the last fault and what ended the operation.
func (g *GaveUp) Unwrap() []error {
	if g.Why == nil {
		return []error{g.Last}
	}
	return []error{g.Last, g.Why}
}

// Observed is the engine with one more observer.
func (e *Engine) Observed(observe func(Event)) *Engine {
	if observe == nil {
		return e
	}
	also := e.Observe
	return &Engine{Limits: e.Limits, Observe: func(ev Event) {
		if also != nil {
			also(ev)
		}
		observe(ev)
	}}
}

// Do carries out op: it tries, and after a fault does what the policy says,
// until the operation succeeds, the policy gives up or the context ends. The
// error is nil or a *GaveUp.
//
// The budget is consecutive tries without progress. Progress gives the tries
// back and restarts the backoff; nothing gives time back, so the context's
// deadline is the total limit.
func (e *Engine) Do(ctx context.Context, op Op) error {
	r := &run{engine: e, op: op, delays: e.Limits.backoff(), progress: op.progress()}
	for {
		err := r.attempt(ctx)
		if err == nil {
			return nil
		}
		if gaveUp := r.handle(ctx, FaultOf(err)); gaveUp != nil {
			return gaveUp
		}
	}
}

// run is the state of one Do.
type run struct {
	engine   *Engine
	op       Op
	delays   *backoff.ExponentialBackOff
	progress int64
	history  History
	rule     string // of the last verdict
	tries    int    // in all
	// found keeps what a diagnosis said of a fault: each is looked into once.
	found map[faultKey]Verdict

	// What must succeed before the next Try. A step that fails stays due.
	reconnect, switchMode, reconcile bool
}

// faultKey tells faults apart for the diagnosis.
type faultKey struct{ rule, op, path string }

// attempt carries out the steps that are due and then tries.
func (r *run) attempt(ctx context.Context) error {
	r.tries++
	if r.switchMode {
		if err := r.op.SwitchMode(ctx); err != nil {
			return err
		}
		r.switchMode = false
	}
	if r.reconnect {
		if err := r.op.Reconnect(ctx); err != nil {
			return err
		}
		r.reconnect = false
	}
	if r.reconcile {
		done, err := r.op.Reconcile(ctx)
		if err != nil || done {
			return err
		}
		r.reconcile = false
	}
	return r.op.Try(ctx)
}

// worthwhile is how many bytes a try has to add for its lost connection to be made
// anew at once. A server that breaks off after every few is given a pause.
const worthwhile = 1 << 20

// handle decides about a fault and waits. It returns nil to go on.
func (r *run) handle(ctx context.Context, f *Fault) *GaveUp {
	p := r.op.progress()
	r.history.Advanced = p-r.progress >= worthwhile
	if p > r.progress {
		r.progress = p
		r.history.Tries, r.history.Same, r.history.Backoff = 0, 0, 0
		r.delays.Reset()
	}
	v := r.engine.Limits.apply(Classify(f), f)
	if ctx.Err() != nil {
		return r.gaveUp(interrupted(ctx, f), f, context.Cause(ctx))
	}

	r.history.Tries++
	r.history.Same++
	if v.Rule != r.rule {
		r.rule, r.history.Same = v.Rule, 1
	}
	if r.history.Backoff == 0 {
		r.history.Backoff = r.delays.NextBackOff()
	}

	can := r.op.can()
	remedy, delay := r.engine.Limits.Decide(v, r.history, can)
	if remedy == Diagnose {
		v = r.diagnose(ctx, f, v)
		if ctx.Err() != nil {
			return r.gaveUp(interrupted(ctx, f), f, context.Cause(ctx))
		}
		remedy, delay = r.engine.Limits.Decide(v, r.history, can)
	}
	if remedy == GiveUp {
		return r.gaveUp(v, f, nil)
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= delay {
		return r.gaveUp(v, f, ErrNoTime)
	}
	r.observe(ctx, f, v, remedy, delay)

	switch remedy {
	case Reconnect:
		r.reconnect = true
	case SwitchMode:
		r.switchMode, r.history.Switched = true, true
		// The switch is part of the same try: it must not use up the budget.
		r.history.Tries--
	case Reconcile:
		r.reconcile = true
	}
	if err := sleep(ctx, delay); err != nil {
		return r.gaveUp(interrupted(ctx, f), f, err)
	}
	if delay > 0 {
		r.history.Backoff = 0 // used: a remedy without a delay leaves it for the next
	}
	return nil
}

// diagnose looks for the cause behind a fault, once for each distinct one.
func (r *run) diagnose(ctx context.Context, f *Fault, v Verdict) Verdict {
	key := faultKey{v.Rule, f.Op, f.Path}
	sharper, known := r.found[key]
	if !known {
		r.observe(ctx, f, v, Diagnose, 0)
		sharper = r.op.Diagnose(ctx, f)
		if sharper.Remedy == Diagnose {
			sharper.Remedy = GiveUp // a look that found nothing is not repeated
		}
		if r.found == nil {
			r.found = map[faultKey]Verdict{}
		}
		r.found[key] = sharper
	}
	return r.engine.Limits.apply(sharper, f)
}

func (r *run) observe(ctx context.Context, f *Fault, v Verdict, remedy Remedy, delay time.Duration) {
	if r.engine.Observe == nil {
		return
	}
	ev := Event{Op: r.op.Name, Fault: f, Verdict: v, Remedy: remedy, Delay: delay, Try: r.history.Tries}
	tries, _ := r.engine.Limits.pace(v, r.history)
	// So many alike, and in all no more than Limits.Tries.
	ev.Tries = min(max(r.engine.Limits.Tries, tries), r.history.Tries+tries-r.history.Same)
	ev.Deadline, _ = ctx.Deadline()
	if r.op.About != nil {
		ev.About = r.op.About(remedy)
	}
	r.engine.Observe(ev)
}

func (r *run) gaveUp(v Verdict, f *Fault, why error) *GaveUp {
	if v.Kind == KindTemporary && v.Remedy != GiveUp && r.tries > 1 {
		v.Means = fmt.Sprintf("%s; %d tries did not help", v.Means, r.tries)
	}
	return &GaveUp{Op: r.op.Name, Verdict: v, Last: f, Tries: r.tries, Why: why}
}

// interrupted is the verdict when the context ended: a person's Ctrl-C, or the
// deadline.
func interrupted(ctx context.Context, f *Fault) Verdict {
	cause := CauseCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		cause = CauseDeadline
	}
	return index.byRule[string(cause)].Verdict(f)
}

func (op *Op) progress() int64 {
	if op.Progress == nil {
		return 0
	}
	return op.Progress()
}

func (op *Op) can() Remedies {
	var s Remedies
	add := func(r Remedy, available bool) {
		if available && (op.Can == nil || op.Can(r)) {
			s = s.With(r)
		}
	}
	add(Reconnect, op.Reconnect != nil)
	add(SwitchMode, op.SwitchMode != nil)
	add(Diagnose, op.Diagnose != nil)
	add(Reconcile, op.Reconcile != nil)
	return s
}

// backoff gives the delays. MaxElapsedTime is off: it would count the tries
// themselves, and a long upload would get no second one.
func (l Limits) backoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(l.Base),
		backoff.WithMaxInterval(max(l.Base, l.Cap)),
		backoff.WithMultiplier(max(1, l.Factor)),
		backoff.WithRandomizationFactor(l.Jitter),
		backoff.WithMaxElapsedTime(0),
	)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
