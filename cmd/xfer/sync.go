package main

import (
	"context"
	"errors"
	"path"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/disk"
)

// syncOptions are the flags of sync.
type syncOptions struct {
	many
	compare              batch.Compare
	delete, hard, dryRun bool
	maxDelete            batch.MaxDelete
	watch                bool
	settle               Duration
}

func (a *app) syncCommand() *cobra.Command {
	o := syncOptions{maxDelete: batch.MaxDelete{N: -1, Percent: 50}, settle: Duration(2 * time.Second)}
	o.sel.Recursive = true
	cmd := &cobra.Command{
		Use:   "sync SRC DST",
		Short: "Make a directory like another",
		Long: `Make the directory DST like the directory SRC. Either may be on a server, or both.
Files that have the same size and time on both sides are left alone; times are
compared as exactly as the server tells them. Directories are listed, no file is
asked for by itself.

With --delete, what is not in SRC goes into DST/` + batch.Trash + `, after everything is
copied. Nothing is deleted when a directory could not be listed in full, or when
it would be more than --max-delete. What --include and --exclude leave out is
neither copied nor deleted.
` + selectionHelp,
		Example: `  xfer sync out/ acme:in
  xfer sync --delete --dry-run --json acme:in backup
  xfer sync --watch out/ acme:in`,
		Args: exactly(2, "sync needs a source and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.sync(cmd.Context(), args[0], args[1], &o)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "tell what would be done, and do nothing")
	f.BoolVar(&o.delete, "delete", false, "delete what is not in SRC, into DST/"+batch.Trash)
	f.BoolFunc("delete-hard", "delete what is not in SRC, for good", func(string) error {
		o.delete, o.hard = true, true
		return nil
	})
	f.Func("max-delete", "delete nothing at all if it would be more than `N` files, or N% of those in DST (default 50%)", func(s string) error {
		return o.maxDelete.UnmarshalText([]byte(s))
	})
	compare := func(c batch.Compare) func(string) error {
		return func(string) error {
			o.compare = c
			return nil
		}
	}
	f.BoolFunc("size-only", "compare sizes only", compare(batch.BySize))
	f.BoolFunc("checksum", "compare contents, by the server's checksum where it has one, else by reading both files", compare(batch.ByHash))
	f.BoolVar(&o.watch, "watch", false, "go on: copy again whenever something in SRC, a directory of this machine, has changed")
	f.Func("settle", "with --watch: `TIME` without a change before anything is copied (default 2s)", func(s string) error {
		return o.settle.UnmarshalText([]byte(s))
	})
	optionalBool(f, &a.flags.options.Times, "no-times", false, "do not set the modification time")
	optionalBool(f, &a.flags.options.InPlace, "in-place", true, "write the targets themselves, for servers that refuse to rename")
	a.selectionFlags(cmd, &o.many)
	return cmd
}

// between is how many files are copied at a time from one side to the other.
func (a *app) between(src, dst string, m *many) (n int, err error) {
	var places []place
	for _, arg := range []string{src, dst} {
		if isRemote(arg) {
			p, err := a.place(arg)
			if err != nil {
				return 0, err
			}
			places = append(places, p)
		}
	}
	return m.atOnce(places...), nil
}

// end opens one side of a sync or a move for n files at a time.
func (a *app) end(arg string, e *policy.Engine, m *many, n int) (batch.End, Options, error) {
	if isRemote(arg) {
		p, err := a.place(arg)
		if err != nil {
			return batch.End{}, Options{}, err
		}
		return batch.End{Links: m.links(a, p, e, n), Path: p.loc.Path}, p.opt, nil
	}
	cfg, err := a.config()
	if err != nil {
		return batch.End{}, Options{}, err
	}
	loc := transfer.Location{Scheme: "file", Path: "/"}
	links := batch.NewLinks(loc, func() *transfer.Link { return transfer.NewLink(loc, disk.Dialer(arg), transfer.ModeAuto, nil) }, e, n)
	a.pools = append(a.pools, links)
	return batch.End{Links: links, Path: "/", Local: arg}, builtin().over(cfg.Defaults, a.flags.options), nil
}

func (a *app) sync(ctx context.Context, src, dst string, o *syncOptions) error {
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
	from, _, err := a.end(src, engine, &o.many, n)
	if err != nil {
		return err
	}
	to, opt, err := a.end(dst, engine, &o.many, n)
	if err != nil {
		return err
	}
	name := "sync " + shown(src)
	job := transfer.Job{Lock: a.locks().Lock}
	opt.apply(&job)
	job.InPlace = job.InPlace && isRemote(dst) // a local file can be renamed
	job.OnExists = transfer.Replace            // that is what a sync is
	once := func() error {
		if !o.dryRun {
			endRun, err := a.startRun(ctx, CommandLine{Do: "sync", Source: from.String(""), Destination: to.String("")})
			if err != nil {
				a.forgetful(err)
			} else {
				defer endRun()
			}
		}
		s := &batch.Sync{
			From: from, To: to, Selection: o.sel, Compare: o.compare,
			Delete: o.delete, Hard: o.hard, MaxDelete: o.maxDelete, Job: job, Name: name,
		}
		defer s.Close()
		return (&syncRun{app: a, Sync: s, options: o, jobs: n, turns: o.turns()}).run(ctx)
	}
	switch {
	case !o.watch:
		err = once()
	case from.Local == "":
		return usagef("--watch needs a SRC on this machine")
	default:
		err = batch.Watch(ctx, from.Local, time.Duration(o.settle), func() error {
			err := once()
			if isHopeless(err) || ctx.Err() != nil {
				return err
			}
			return nil // the next change is another chance
		})
	}
	if ctx.Err() != nil && err != nil && a.report.failed == 0 {
		return a.interrupted(ctx, name)
	}
	return err
}

// syncRun is one run of a sync.
type syncRun struct {
	app     *app
	options *syncOptions
	jobs    int
	turns   turns
	*batch.Sync
	same, copied, deleted, bytes atomic.Int64
}

// run makes and copies, then deletes, then makes what was in the way.
func (r *syncRun) run(ctx context.Context) error {
	for i, phase := range []func(context.Context, func(batch.Step) error) error{r.Plan, r.Deletions, r.Rest} {
		n := r.jobs
		if i == 1 {
			n = 1 // a directory goes after what is in it
		}
		if err := r.phase(ctx, n, phase); err != nil {
			if _, told := errors.AsType[errFailed](err); told || ctx.Err() != nil {
				return err
			}
			r.app.report.failure(r.Name, err)
			break
		}
	}
	r.app.out.log.Info("synchronised", "same", r.Same+int(r.same.Load()), "copied", r.copied.Load(), "deleted", r.deleted.Load(), "bytes", r.bytes.Load(), "dry_run", r.options.dryRun)
	return r.app.report.err()
}

func (r *syncRun) phase(ctx context.Context, n int, phase func(context.Context, func(batch.Step) error) error) error {
	f, end := r.app.follower(n)
	defer end()
	return r.app.transferAll(ctx, n, r.options.failFast, func(ctx context.Context, yield func(task) error) error {
		return phase(ctx, func(step batch.Step) error {
			if step.Op != batch.StepMkdir || r.options.dryRun || step.Err != nil {
				return yield(func(ctx context.Context) finished { return r.step(ctx, f, step) })
			}
			// At once, because files are to go into it.
			done := r.step(ctx, f, step)
			if err := yield(func(context.Context) finished { return done }); err != nil || done.err == nil {
				return err
			}
			return batch.SkipDir // what is in it would meet the same end
		})
	})
}

// step carries out a step, or tells what it would be.
func (r *syncRun) step(ctx context.Context, f follow, step batch.Step) finished {
	needed, err := false, step.Err
	if err == nil {
		needed, err = r.Needed(ctx, step)
	}
	switch {
	case err != nil:
		return r.finished(step, transfer.Result{}, err)
	case !needed:
		if step.Op == batch.StepCopy {
			r.same.Add(1)
		}
		return finished{}
	case r.options.dryRun && step.Op == batch.StepUnlink:
		return finished{} // it may be a directory, of which the other steps tell
	case r.options.dryRun:
		done := r.finished(step, transfer.Result{Size: step.Size}, nil)
		done.outcome.Status = "planned"
		return done
	case step.Op != batch.StepCopy:
		result, err := r.Do(ctx, step, transfer.Observer{})
		if result.Skipped != "" && err == nil {
			return finished{}
		}
		if (step.Op == batch.StepDelete || step.Op == batch.StepUnlink) && err == nil {
			r.deleted.Add(1)
		}
		return r.finished(step, transfer.Result{}, err)
	}
	defer r.turns.take(ctx, step.Size)()
	observer, end := f(path.Base(step.Rel), step.Size)
	defer end()
	result, err := r.Do(ctx, step, observer)
	if err == nil {
		r.copied.Add(1)
		r.bytes.Add(result.Sent)
	}
	return r.finished(step, result, err)
}

func (r *syncRun) finished(step batch.Step, result transfer.Result, err error) finished {
	source := ""
	if step.Op == batch.StepCopy || step.Op == batch.StepLink {
		source = r.From.String(step.Rel)
	}
	o := transferred(transfer.Put, source, r.To.String(step.Rel), result, err)
	o.Op, o.Reason = string(step.Op), step.Reason
	return finished{o, err}
}
