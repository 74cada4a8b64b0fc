package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// alertSkips is how many skipped runs in a row are a failure when nothing else
// is said.
const alertSkips = 3

func (a *app) runCommand() *cobra.Command {
	var all bool
	var metricsFile string
	cmd := &cobra.Command{
		Use:   "run NAME… | --all",
		Short: "Run jobs of the configuration",
		Long: `Run jobs, each a [job.NAME] of the configuration, one after the other. A job runs
once at a time, whoever starts it: with on_busy = "skip" (the default) a second run
ends at once, with "wait" it waits, with "fail" it fails; it names the holder. Three
skipped runs in a row (alert_skips) are a failure.

Outside the job's window nothing is begun, and no transfer that would not be over at
its end, or at the deadline, by the rate that was measured in earlier runs.

Files that the job expects and that have not come in time are a failure of its own
(exit code 66), told to on_missing once. The exit code is that of the worst job.
` + metricsHelp,
		Example: `  xfer run orders
  xfer run --all --json --metrics-file /var/lib/node_exporter/xfer.prom`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runJobs(cmd.Context(), args, all, metricsFile)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every job of the configuration")
	cmd.Flags().StringVar(&metricsFile, "metrics-file", "", "write metrics for Prometheus to `FILE`")
	return cmd
}

// jobs are those that the arguments name.
func (a *app) jobs(names []string, all bool) ([]string, map[string]JobConfig, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, nil, err
	}
	known := slices.Sorted(maps.Keys(cfg.Jobs))
	if all {
		names = known
	}
	for _, name := range names {
		if _, ok := cfg.Jobs[name]; ok {
			continue
		}
		if best := closest(name, known); best != "" {
			return nil, nil, usagef("no job %q in the configuration; did you mean %s?", name, best)
		}
		return nil, nil, usagef("no job %q in the configuration", name)
	}
	return names, cfg.Jobs, nil
}

func (a *app) runJobs(ctx context.Context, args []string, all bool, metricsFile string) error {
	if all == (len(args) > 0) {
		return usagef("run takes either names of jobs or --all")
	}
	names, jobs, err := a.jobs(args, all)
	if err != nil {
		return err
	}
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	worst := policy.KindOK
	var runs []summary
	for _, name := range names {
		if ctx.Err() != nil && worst == policy.KindCancelled {
			break
		}
		r := &jobRun{app: a, name: name, JobConfig: jobs[name], kind: policy.KindOK}
		r.summary = summary{Op: "run", Job: name, Began: time.Now()}
		r.run(ctx)
		a.report.summary(r.summary)
		worst = worse(worst, r.kind)
		if r.summary.Status != "skipped" {
			runs = append(runs, r.summary)
		}
	}
	if metricsFile != "" && len(runs) > 0 {
		if err := writeMetrics(a.file(metricsFile), runs); err != nil {
			a.report.failure("metrics", err)
			worst = worse(worst, kindOf(err))
		}
	}
	if worst != policy.KindOK {
		return errFailed{worst}
	}
	return nil
}

// jobRun is one run of a job.
type jobRun struct {
	app  *app
	name string
	JobConfig
	id      int64 // in the ledger
	tally   tally
	summary summary
	kind    policy.Kind // the worst
}

// run does the job, if it may now, and tells whom it has to.
func (r *jobRun) run(ctx context.Context) {
	open, end := r.Window.Open(r.summary.Began)
	if !open {
		r.skip("outside the window " + r.Window.String())
		return
	}
	if limit := time.Duration(r.Deadline); limit > 0 && (end.IsZero() || r.summary.Began.Add(limit).Before(end)) {
		end = r.summary.Began.Add(limit)
	}
	work, cancel := ctx, func() {}
	if !end.IsZero() {
		work, cancel = context.WithDeadline(ctx, end)
	}
	defer cancel()

	release, err := r.lock(work)
	if err == nil {
		defer release()
	}
	// Whatever ends the work, what became of it is written down and told.
	after, cancelAfter := context.WithTimeout(context.WithoutCancel(ctx), time.Hour)
	defer cancelAfter()
	var startErr error
	if r.id, startErr = r.app.state.ledger().StartRun(after, r.name); startErr != nil {
		r.fail(startErr)
		r.close(after)
		return
	}
	switch {
	case isLocked(err) && r.OnBusy != BusyFail:
		r.busy(after, err)
	case err != nil:
		r.fail(err)
	default:
		r.work(work, end)
		r.expect(after)
	}
	r.close(after)
}

// skip ends a run before it began.
func (r *jobRun) skip(why string) {
	r.summary.Status, r.summary.Note = "skipped", why
	r.summary.end(policy.KindOK)
}

// fail tells a failure of the run itself.
func (r *jobRun) fail(err error) {
	r.summary.Failure = failureOf(err)
	r.kind = worse(r.kind, kindOf(err))
	r.app.report.failure(r.summary.name(), err)
}

func isLocked(err error) bool {
	f, ok := errors.AsType[*policy.Fault](err)
	return ok && f.Cause == policy.CauseLocalLocked
}

// lock makes sure that this is the only run of the job.
func (r *jobRun) lock(ctx context.Context) (release func(), err error) {
	locks, key := r.app.locks().Locks, "job "+r.name
	release, err = locks.Lock(key)
	if f, ok := errors.AsType[*policy.Fault](err); ok && isLocked(err) {
		if r.OnBusy == BusyWait {
			r.app.out.log.Warn("waiting: the job is under way", "job", r.name, "holder", f.Text)
			release, err = locks.Wait(ctx, key, 7*24*time.Hour)
		}
		if f, ok := errors.AsType[*policy.Fault](err); ok && isLocked(err) {
			f.Path = r.summary.name() // the person knows the job, not the file
		}
	}
	return release, err
}

// busy skips the run, which is a failure when it happens too often in a row.
func (r *jobRun) busy(ctx context.Context, err error) {
	r.skip("the job is under way, " + policy.FaultOf(err).Text)
	limit := r.AlertSkips
	if limit == 0 {
		limit = alertSkips
	}
	runs, listErr := r.app.state.ledger().Runs(ctx, ledger.Query{Job: r.name, Limit: limit * 100})
	if listErr != nil {
		r.fail(listErr)
		return
	}
	skips := 1
	for _, run := range runs {
		if run.ID == r.id {
			continue
		}
		if run.Outcome != ledger.Skipped {
			break
		}
		skips++
	}
	if skips >= limit {
		r.summary.Note = fmt.Sprintf("%d skips in a row; %s", skips, r.summary.Note)
		r.summary.Status = "failed"
		r.fail(err)
	}
}

// work runs the job's command line.
func (r *jobRun) work(ctx context.Context, end time.Time) {
	a := r.app
	c := a.child()
	c.runID, c.told, c.observe = r.id, r.tally.add, r.tally.remedy
	r.tally.each = func(o outcome) { a.record(ctx, r.id, r.name, r.CommandLine, o) }
	if !end.IsZero() {
		c.until = end
		rate, err := r.measured(ctx)
		if err != nil {
			r.fail(err)
			return
		}
		c.pace = rate
	}
	line := r.CommandLine
	line.Source, line.Destination = a.file(line.Source), a.file(line.Destination)
	r.kind = worse(r.kind, kindOf(c.do(ctx, a.flags, line)))
}

// record notes a file of a run in the ledger. What is moved has its own entries
// there.
func (a *app) record(ctx context.Context, run int64, job string, l CommandLine, o outcome) {
	if o.noted || o.Status == "skipped" || o.Status == "planned" {
		return
	}
	now := time.Now()
	d := ledger.Delivery{
		Run: run, Job: job, Partner: l.partner(), Source: o.Source, Target: o.Target, Size: o.Size,
		Began: now.Add(-time.Duration(o.Seconds * float64(time.Second))),
	}
	d.Result = ledger.Result{Outcome: ledger.Done, SHA256: o.SHA256, Attempts: o.Tries, Bytes: o.Sent, Ended: now}
	if f := o.Failure; f != nil {
		d.Outcome, d.Rule, d.Reply = ledger.Failed, f.Rule, f.Text
		if f.Code != 0 {
			d.Codes = []int{f.Code}
		}
	}
	if err := a.state.ledger().Record(context.WithoutCancel(ctx), d); err != nil {
		a.forgetful(err)
	}
}

// measured is the rate in bytes per second of the largest file among the last
// ones, 0 if there was none. That of a small one says more of the server's
// patience than of its speed.
func (r *jobRun) measured(ctx context.Context) (float64, error) {
	list, err := r.app.state.ledger().Deliveries(ctx, ledger.Query{Job: r.name, Limit: 100})
	rate, most := 0.0, int64(0)
	for _, d := range list {
		if took := d.Ended.Sub(d.Began); d.Outcome == ledger.Done && d.Bytes > most && took > 0 {
			most, rate = d.Bytes, float64(d.Bytes)/took.Seconds()
		}
	}
	return rate, err
}

// expect looks whether the files that have to be there are.
func (r *jobRun) expect(ctx context.Context) {
	want, have := r.Expect.files(), r.tally.files.Done
	if want == 0 || r.kind == policy.KindCancelled {
		return
	}
	text := fmt.Sprintf("%d of %d files", have, want)
	first := true
	if r.Expect.By != nil {
		due, since, by := r.Expect.due(time.Now())
		if !due {
			return
		}
		list, err := r.app.state.ledger().Deliveries(ctx, ledger.Query{Job: r.name, Since: since, Limit: 1_000_000})
		if err != nil {
			r.fail(err)
			return
		}
		have = 0
		for _, d := range list {
			if d.Outcome == ledger.Done {
				have++
			}
		}
		text = fmt.Sprintf("%d of %d files since %s, by %s", have, want, since.Format("2006-01-02 15:04"), r.Expect.By)
		if first, err = r.isFirst(ctx, by); err != nil {
			r.fail(err)
		}
	}
	if have >= want {
		return
	}
	r.fail(policy.GiveUpOn(r.summary.name(), &policy.Fault{
		Protocol: policy.Local, Phase: policy.Command, Op: "expect", Path: r.name, Cause: policy.CauseExpected, Text: text,
	}))
	if r.kind == policy.KindMissing {
		r.summary.Status = "missing"
	}
	hook := r.OnMissing
	if !hook.isSet() {
		hook = r.OnFailure
	}
	if first && hook.isSet() {
		s := r.summary
		s.count(&r.tally)
		s.Status = "missing"
		s.end(r.kind)
		r.hook(ctx, hook, s)
	}
}

// isFirst says whether no run has looked since the files were due.
func (r *jobRun) isFirst(ctx context.Context, by time.Time) (bool, error) {
	runs, err := r.app.state.ledger().Runs(ctx, ledger.Query{Job: r.name, Since: by, Limit: 10_000})
	looked := slices.ContainsFunc(runs, func(run ledger.Run) bool {
		return run.ID != r.id && (run.Outcome == ledger.Done || run.Outcome == ledger.Failed)
	})
	return !looked, err
}

// close tells the hooks, then writes down how it ended: a run that dies in
// between tells twice, not never.
func (r *jobRun) close(ctx context.Context) {
	r.summary.count(&r.tally)
	if r.summary.Note == "" && r.summary.Failure != nil {
		r.summary.Note = r.summary.Failure.Text
	}
	r.summary.end(r.kind)
	switch {
	case r.summary.Status == "skipped":
	case r.kind == policy.KindOK && r.OnSuccess.isSet():
		r.hook(ctx, r.OnSuccess, r.summary)
	case r.kind != policy.KindOK && r.summary.Status != "missing" && r.OnFailure.isSet():
		r.hook(ctx, r.OnFailure, r.summary)
	}
	r.summary.ExitCode = exitCodes[r.kind].code
	if r.id == 0 {
		return
	}
	end := ledger.Summary{
		Outcome: ledger.Done, Files: r.summary.Files.Done, Failed: r.summary.Files.Failed, Skipped: r.summary.Files.Skipped,
		Bytes: r.summary.Bytes, Note: r.summary.Note,
	}
	switch {
	case r.summary.Status == "skipped":
		end.Outcome = ledger.Skipped
	case r.kind != policy.KindOK:
		end.Outcome = ledger.Failed
	}
	if err := r.app.state.ledger().EndRun(ctx, r.id, end); err != nil {
		r.fail(err)
	}
}

// hook tells one, and lets the run fail when that does not work.
func (r *jobRun) hook(ctx context.Context, h HookConfig, s summary) {
	if err := r.app.tellHook(ctx, fmt.Sprintf("%s-%d-%s", r.name, r.id, s.Status), h, s); err != nil {
		r.kind = worse(r.kind, kindOf(err))
		r.app.problem("hook of "+r.summary.name(), err)
		if r.summary.Status == "done" {
			r.summary.Status = "failed"
		}
	}
}
