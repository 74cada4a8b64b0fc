package main

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

// moveOptions are the flags of move.
type moveOptions struct {
	many
	settle, minAge *Duration
	marker, claim  string
	archive        string
	quarantine     string
	failures       int
	resend         bool
	unsettled      batch.Unsettled
}

// settleTime is how long a file must have stayed the same when nothing else is
// said about when it is complete.
const settleTime = 10 * time.Second

func (a *app) moveCommand() *cobra.Command {
	var o moveOptions
	cmd := &cobra.Command{
		Use:   "move SRC DST",
		Short: "Pick files up and deliver each exactly once",
		Long: `Pick up the files of the directory SRC (SRC may end in a pattern: out/*.csv) and
deliver them to the directory DST; either may be on a server, or both. A delivered
file is deleted at SRC, or archived.

A file is taken when it is complete: when it is the same in two looks --settle
apart, or has a marker, or a minimum age. What is about to be done is written down
before it is done, so that after a crash the next run finishes what was begun, and
no file is lost or delivered twice; xfer recover shows what that would be. Give each
pair of SRC and DST the same spelling in every run.

One moment can't be told apart: the run was killed while it gave the file its name at
DST, and now neither that name nor the temporary one is there. Where files are known
to be taken away (xfer hosts show), or what was delivered before is gone too, it
counts as arrived. Else the file stays at SRC and is reported in every run, until
--unsettled says what is true.

The SHA-256 of what was delivered is noted (xfer history --json). For it a file of this
machine is read a second time, from the system's cache for the most part.

Patterns: NAME is the file's name. In --archive %Y %m %d %H %M %S are the time, and
paths are below SRC.`,
		Example: `  xfer move 'acme:out/*.csv' incoming/
  xfer move --marker NAME.done --archive done/%Y/%m/%d outbox partner:in
  xfer move --claim NAME.taken --failures 3 acme:out partner:in`,
		Args: exactly(2, "move needs a source and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.move(cmd.Context(), args[0], args[1], &o)
		},
	}
	f := cmd.Flags()
	optional(f, &o.settle, "settle", "`TIME` between two looks in which a file must stay the same (default 10s; 0 with --marker or --min-age)")
	optional(f, &o.minAge, "min-age", "take files that were last modified this `TIME` ago")
	name := func(dst *string) func(string) error {
		return func(s string) error {
			if *dst = s; !strings.Contains(s, "NAME") || s == "NAME" || strings.ContainsAny(s, "\r\n\x00") {
				return errors.New("must be a pattern with NAME for the file's name, such as NAME.done")
			}
			return nil
		}
	}
	f.Func("marker", "take a file when the file `PATTERN` stands beside it (NAME.done); the marker is deleted", name(&o.marker))
	f.Func("claim", "rename a file to `PATTERN` before it is sent (NAME.taken), so that nobody else takes it", name(&o.claim))
	f.StringVar(&o.archive, "archive", "", "move delivered files to `PATTERN` below SRC (done/%Y/%m/%d) instead of deleting them")
	f.IntVar(&o.failures, "failures", 0, "after `N` failures put a file into quarantine, with the verdict beside it (default never)")
	f.StringVar(&o.quarantine, "quarantine", ".xfer-quarantine", "`DIR` below SRC for files that failed too often")
	f.BoolVar(&o.resend, "resend", false, "send again what was delivered before")
	f.Func("unsettled", "what to do with a file that may have arrived: `hold`, resend, arrived (default hold)", func(s string) error {
		return o.unsettled.UnmarshalText([]byte(s))
	})
	optional(f, &a.flags.options.OnExists, "on-exists", "when the target exists: `replace`, fail, rename (default replace)")
	optionalBool(f, &a.flags.options.Times, "no-times", false, "do not set the modification time")
	a.filterFlags(cmd, &o.many)
	return cmd
}

func (a *app) move(ctx context.Context, src, dst string, o *moveOptions) error {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	engine, err := a.engine()
	if err != nil {
		return err
	}
	n, err := a.between(src, dst, &o.many)
	if err != nil {
		return err
	}
	m := &batch.Move{
		Filter: o.sel.Filter, Claim: o.claim, Archive: o.archive, Quarantine: o.quarantine, Failures: o.failures,
		Resend: o.resend, Unsettled: o.unsettled, Command: a.written(), Ledger: a.state.ledger(), Name: "move " + shown(src),
		Warn: func(text, file string) { a.out.log.Warn(text, "file", file) },
	}
	if r := a.recovery; r != nil && r.unsettled != nil {
		m.Unsettled = *r.unsettled
	}
	m.Ready = batch.Ready{Marker: o.marker}
	switch {
	case o.settle != nil:
		m.Ready.Settle = time.Duration(*o.settle)
	case o.marker == "" && o.minAge == nil:
		m.Ready.Settle = settleTime
	}
	if o.minAge != nil {
		m.Ready.MinAge = time.Duration(*o.minAge)
	}
	dir, pattern := splitPattern(src)
	if pattern != "" {
		m.Rules = append(slices.Clone(m.Rules), batch.Rule{Include: true, Pattern: pattern})
		if err := m.Check(); err != nil {
			return usageError{err}
		}
	}
	if batch.HasPattern(dir) {
		return usagef("move takes the files of one directory; only the last part of SRC may be a pattern")
	}
	if m.From, _, err = a.moveEnd(dir, engine, &o.many, n); err != nil {
		return err
	}
	var opt Options
	if m.To, opt, err = a.moveEnd(dst, engine, &o.many, n); err != nil {
		return err
	}
	opt.apply(&m.Job)
	if m.Job.InPlace || m.Job.OnExists == transfer.Skip || m.Job.OnExists == transfer.Newer {
		return usagef("move can't be sure of a delivery with in_place, or with on-exists %s", m.Job.OnExists)
	}
	m.Job.Lock = a.locks().Lock
	m.Key = "move " + m.From.String("") + " " + m.To.String("")
	if err := m.Distinct(ctx); err != nil {
		return err
	}
	if m.To.Local != "" {
		if err := os.MkdirAll(m.To.Local, 0o777); err != nil {
			return policy.GiveUpOn(m.Name, policy.LocalFault("mkdir", m.To.Local, err))
		}
	}
	endRun, err := a.startRun(ctx, CommandLine{Do: "move"})
	if err != nil {
		return err
	}
	defer endRun()
	m.Run = a.runID
	if err := a.moveAll(ctx, m, n, &o.many); err != nil {
		if ctx.Err() != nil && a.report.failed == 0 {
			return a.interrupted(ctx, m.Name)
		}
		return err
	}
	return a.report.err()
}

// moveEnd is an end whose spelling is the same from every working directory: it
// is written down.
func (a *app) moveEnd(arg string, e *policy.Engine, m *many, n int) (batch.End, Options, error) {
	if !isRemote(arg) {
		abs, err := filepath.Abs(arg)
		if err != nil {
			return batch.End{}, Options{}, policy.GiveUpOn("move", policy.LocalFault("open", arg, err))
		}
		arg = abs
	}
	end, opt, err := a.end(arg, e, m, n)
	if trimmed := strings.TrimRight(end.Path, "/"); trimmed != "" {
		end.Path = trimmed
	}
	return end, opt, err
}

// splitPattern splits off a last element with a pattern.
func splitPattern(arg string) (dir, pattern string) {
	if _, err := os.Lstat(arg); err == nil && !isRemote(arg) {
		return arg, ""
	}
	i := strings.LastIndexAny(arg, "/:")
	if !isRemote(arg) {
		i = strings.LastIndexAny(arg, "/"+string(filepath.Separator))
	}
	if last := arg[i+1:]; batch.HasPattern(last) {
		if dir = arg[:i+1]; dir == "" {
			dir = "."
		}
		return dir, last
	}
	return arg, ""
}

// moveAll finishes what was left, and only then moves what is there: the same
// file may be among both.
func (a *app) moveAll(ctx context.Context, m *batch.Move, n int, o *many) error {
	f, end := a.follower(n)
	defer end()
	turns := o.turns()
	phases := []func(context.Context, func(batch.Pickup) error) error{m.Unfinished, m.Pickups}
	if a.recovery != nil {
		phases = phases[:1]
	}
	for _, phase := range phases {
		err := a.transferAll(ctx, n, o.failFast, func(ctx context.Context, yield func(task) error) error {
			return phase(ctx, func(p batch.Pickup) error {
				return yield(func(ctx context.Context) finished {
					defer turns.take(ctx, p.Info.Size)()
					return a.moveOne(ctx, m, p, f)
				})
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moveOne moves a file, or tells what that would be.
func (a *app) moveOne(ctx context.Context, m *batch.Move, p batch.Pickup, f follow) finished {
	if r := a.recovery; r != nil && !r.apply {
		return a.outlook(ctx, m, p)
	}
	observer, end := f(path.Base(p.Name), p.Info.Size)
	defer end()
	result, err := m.Deliver(ctx, p, observer)
	o := transferred(transfer.Put, m.From.String(p.Name), m.To.String(p.Name), result, err)
	o.Op, o.noted = "move", true
	return finished{o, err}
}
