package batch

import (
	"context"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// Once copies files that stay at their source, and none that was copied before:
// the ledger knows it by its size and time. What a killed run left is told apart
// as by Move.
type Once struct {
	Ledger *ledger.Ledger
	// Run is the run of the ledger that it is part of, 0 for none.
	Run int64
	// Resend copies again what was delivered, or may have been.
	Resend bool
	// Warn is told what is worth knowing and does no harm.
	Warn func(text, file string)
}

// Copy transfers the file that job names over the link. entry says what it is:
// Partner, Source, Target, Size and ModTime. The job's Lock is needed.
func (o *Once) Copy(ctx context.Context, l *transfer.Link, e *policy.Engine, job transfer.Job, entry ledger.Delivery, observer transfer.Observer) (transfer.Result, error) {
	name := job.Name()
	release, err := job.Lock("deliver " + entry.Source + " " + entry.Target)
	if err != nil {
		if policy.FaultOf(err).Cause == policy.CauseLocalLocked {
			return transfer.Result{Skipped: "another xfer copies it"}, nil
		}
		return transfer.Result{}, policy.GiveUpOn(name, policy.FaultOf(err))
	}
	defer release()
	match, err := o.Ledger.Delivered(ctx, entry)
	if err != nil {
		return transfer.Result{}, policy.GiveUpOn(name, policy.FaultOf(err))
	}
	if match.Open != nil {
		if skipped, err := o.left(ctx, l, e, job, entry, match.Open); err != nil || skipped != "" {
			return transfer.Result{Skipped: skipped}, err
		}
	}
	if match.Same != nil && !o.Resend {
		return transfer.Result{Skipped: "delivered on " + match.Same.Ended.Format(time.DateTime)}, nil
	}
	entry.Run, entry.Stage = o.Run, stageSending
	id, err := o.Ledger.Intend(ctx, entry)
	if err != nil {
		return transfer.Result{}, policy.GiveUpOn(name, policy.FaultOf(err))
	}
	var n note
	job.Hash = true
	job.Publishing = func(ctx context.Context, p transfer.Publication) error {
		n.Temp, n.Final, n.SHA256 = p.Temp, p.Final, p.SHA256
		return o.Ledger.Stage(ctx, id, stagePublishing, n.String())
	}
	var codes []int
	event := observer.Event
	observer.Event = func(ev policy.Event) {
		codes = append(codes, ev.Fault.Code)
		if event != nil {
			event(ev)
		}
	}
	result, err := transfer.Run(ctx, l, job, e, observer)
	settled := ledger.Result{Outcome: ledger.Done, SHA256: result.SHA256, Attempts: result.Tries, Codes: codes, Bytes: result.Sent}
	switch {
	case err != nil:
		v := verdictOf(err)
		if n.Temp != "" && (v.Kind == policy.KindCancelled || v.Kind == policy.KindTemporary) {
			return result, err // it may have arrived: the next run looks
		}
		settled.Outcome, settled.Rule, settled.Reply = ledger.Failed, v.Rule, policy.FaultOf(err).Said()
	case result.Skipped != "":
		settled.Outcome = ledger.Undone
	case match.Other != nil:
		o.Warn(reused(match.Other, result.SHA256), entry.Source)
	}
	if settleErr := o.Ledger.Settle(context.WithoutCancel(ctx), id, settled); err == nil && settleErr != nil {
		err = policy.GiveUpOn(name, policy.FaultOf(settleErr))
	}
	return result, err
}

// left settles what a killed run left. skipped is "" when the file is to be sent.
func (o *Once) left(ctx context.Context, l *transfer.Link, e *policy.Engine, job transfer.Job, entry ledger.Delivery, open *ledger.Delivery) (skipped string, err error) {
	name := job.Name()
	giveUp := func(err error) error { return policy.GiveUpOn(name, policy.FaultOf(err)) }
	ok, err := o.Ledger.Adopt(ctx, open.ID)
	if err != nil {
		return "", giveUp(err)
	}
	if !ok {
		return "another xfer copies it", nil
	}
	if open.Stage != stagePublishing {
		return "", o.settle(ctx, name, open.ID, ledger.Result{Outcome: ledger.Undone})
	}
	n, err := noteOf(*open)
	if err != nil {
		return "", giveUp(err)
	}
	look := func(p string) (transfer.Info, error) { return transfer.Stat(ctx, l, e, name, p) }
	if job.Direction == transfer.Get {
		look = func(p string) (transfer.Info, error) { return localSide{}.stat(ctx, p) }
	}
	_, err = look(n.Temp)
	if err == nil {
		return "", o.settle(ctx, name, open.ID, ledger.Result{Outcome: ledger.Undone})
	}
	if !transfer.IsMissing(err) {
		return "", giveUp(err)
	}
	final, err := look(n.Final)
	switch {
	case err == nil && (final.Size == open.Size || final.Size < 0):
	case err != nil && !transfer.IsMissing(err):
		return "", giveUp(err)
	case o.Resend:
		return "", o.settle(ctx, name, open.ID, ledger.Result{Outcome: ledger.Undone})
	default:
		fact, err := l.TakesFiles(ctx)
		if err != nil {
			return "", giveUp(err)
		}
		if fact == nil || job.Direction == transfer.Get {
			return "", policy.GiveUpOn(name, unsettled(entry.Target))
		}
		o.Warn("it counts as arrived, and taken away since: "+fact.Reason, entry.Target)
	}
	if err := o.settle(ctx, name, open.ID, ledger.Result{Outcome: ledger.Done, SHA256: n.SHA256}); err != nil {
		return "", err
	}
	if o.Resend || !sameFile(entry, *open) {
		return "", nil
	}
	return "it arrived when the run of " + open.Began.Format(time.DateTime) + " was killed", nil
}

func sameFile(a, b ledger.Delivery) bool {
	return a.Size >= 0 && a.Size == b.Size && a.ModTime.Unix() == b.ModTime.Unix()
}

func (o *Once) settle(ctx context.Context, name string, id int64, r ledger.Result) error {
	if err := o.Ledger.Settle(ctx, id, r); err != nil {
		return policy.GiveUpOn(name, policy.FaultOf(err))
	}
	return nil
}

// GiveUp says as what a delivery may be settled that nobody finishes, whose file
// is at its source: Unsettled when it is not known what became of it.
func GiveUp(d ledger.Delivery, u *Unsettled) ledger.Outcome {
	switch {
	case d.Job != "":
		return ledger.Unsettled // of a move: the source is to be taken away
	case d.Stage == stageSending, u != nil && *u == Resend:
		return ledger.Undone
	case u != nil && *u == Arrived:
		return ledger.Done
	default:
		return ledger.Unsettled
	}
}
