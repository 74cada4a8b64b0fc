package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// startRun notes in the ledger that a command runs, and each file that has no
// entry there by itself. end notes how it ended. What is part of a job's run is
// noted there.
func (a *app) startRun(ctx context.Context, l CommandLine) (end func(), err error) {
	if a.runID != 0 || a.recovery != nil {
		return func() {}, nil
	}
	books := a.state.ledger()
	if a.runID, err = books.StartRun(ctx, ""); err != nil {
		return nil, policy.GiveUpOn(l.Do, policy.FaultOf(err))
	}
	id, before, sent, failed := a.runID, a.tally.files, a.tally.bytes, a.report.failed
	a.tally.each = func(o outcome) { a.record(ctx, id, "", l, o) }
	return func() {
		a.runID, a.tally.each = 0, nil
		files := a.tally.files
		s := ledger.Summary{
			Outcome: ledger.Done, Files: files.Done - before.Done, Failed: files.Failed - before.Failed,
			Skipped: files.Skipped - before.Skipped, Bytes: a.tally.bytes - sent,
		}
		if a.report.failed > failed || ctx.Err() != nil {
			s.Outcome = ledger.Failed
		}
		if err := books.EndRun(context.WithoutCancel(ctx), id, s); err != nil {
			a.forgetful(err)
		}
	}, nil
}

// books are what put and get write into the ledger.
type books struct{ batch.Once }

// openBooks starts them if they are to be kept.
func (a *app) openBooks(ctx context.Context, keep, resend bool, l CommandLine) (end func(), err error) {
	switch {
	case !keep && resend:
		return nil, usagef("--resend is about what the ledger knows: add --ledger")
	case !keep:
		return func() {}, nil
	}
	end, err = a.startRun(ctx, l)
	if err == nil {
		a.books = &books{batch.Once{
			Ledger: a.state.ledger(), Run: a.runID, Resend: resend,
			Warn: func(text, file string) { a.out.log.Warn(text, "file", file) },
		}}
	}
	return end, err
}

// notes says whether the delivery has an entry of its own: a stream has nothing
// by which it could be known again. b may be nil.
func (b *books) notes(job transfer.Job) bool { return b != nil && job.In == nil }

// deliver is transfer.Run, through the books if they are kept.
func (a *app) deliver(ctx context.Context, l *transfer.Link, job transfer.Job, e *policy.Engine, o transfer.Observer) (transfer.Result, error) {
	if !a.books.notes(job) {
		job.Hash = a.books != nil
		return transfer.Run(ctx, l, job, e, o)
	}
	entry, err := deliveryOf(ctx, l, job, e)
	if err != nil {
		return transfer.Result{}, err
	}
	return a.books.Copy(ctx, l, e, job, entry, o)
}

// deliveryOf is a file as the ledger knows it again: names that are the same from
// every working directory, and the source's size and time.
func deliveryOf(ctx context.Context, l *transfer.Link, job transfer.Job, e *policy.Engine) (ledger.Delivery, error) {
	local, err := filepath.Abs(job.Local)
	if err != nil {
		return ledger.Delivery{}, policy.GiveUpOn(job.Name(), policy.LocalFault("open", job.Local, err))
	}
	remote := l.Location().WithPath(job.Remote).String()
	d := ledger.Delivery{Partner: l.Location().WithPath("").String(), Source: local, Target: remote}
	if job.Direction == transfer.Get {
		d.Source, d.Target = remote, local
		info, err := transfer.Stat(ctx, l, e, job.Name(), job.Remote)
		d.Size, d.ModTime = info.Size, info.ModTime
		return d, err
	}
	info, err := os.Stat(local)
	if err != nil {
		return d, policy.GiveUpOn(job.Name(), policy.LocalFault("open", local, err))
	}
	if d.Size = -1; info.Mode().IsRegular() {
		d.Size, d.ModTime = info.Size(), info.ModTime()
	}
	return d, nil
}
