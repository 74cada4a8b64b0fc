package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// statusRecord is how a job stands, as --json prints it.
type statusRecord struct {
	Job string `json:"job"`
	// Last is the last run that was not skipped, Running one that is under way.
	Last    *runRecord `json:"last,omitempty"`
	Running *runRecord `json:"running,omitempty"`
	// Skips is how many runs were skipped since the last one.
	Skips int        `json:"skips,omitempty"`
	Next  *time.Time `json:"next,omitempty"`
}

type runRecord struct {
	ID      int64      `json:"id"`
	Status  string     `json:"status"` // running, done, failed, broken
	Began   time.Time  `json:"began"`
	Ended   *time.Time `json:"ended,omitempty"`
	Files   int        `json:"files"`
	Failed  int        `json:"failed"`
	Skipped int        `json:"skipped"`
	Bytes   int64      `json:"bytes"`
	Note    string     `json:"note,omitempty"`
}

func runRecordOf(r ledger.Run) *runRecord {
	record := &runRecord{
		ID: r.ID, Status: string(r.Outcome), Began: r.Began.UTC(),
		Files: r.Files, Failed: r.Failed, Skipped: r.Skipped, Bytes: r.Bytes, Note: r.Note,
	}
	switch {
	case r.Outcome != ledger.Unsettled:
		record.Ended = new(r.Ended.UTC())
	case r.Alive:
		record.Status = "running"
	default:
		record.Status = "broken" // its process died
	}
	return record
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME…]",
		Short: "Show how the jobs stand, and which logins are closed",
		Long: `Show each job's last run, whether one is under way, and when the next is due; and
the logins that a server has refused, which stay closed until they change.`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.status(cmd.Context(), args) },
	}
}

func (a *app) status(ctx context.Context, args []string) error {
	names, jobs, err := a.jobs(args, len(args) == 0)
	if err != nil {
		return err
	}
	for _, name := range names {
		r, err := a.jobStatus(ctx, name, jobs[name])
		if err != nil {
			return err
		}
		if a.flags.json {
			a.report.object(r)
		} else {
			_, _ = fmt.Fprint(a.report.stdout, r.text())
		}
	}
	if len(args) > 0 {
		return nil
	}
	hosts, err := a.hosts(ctx, nil)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if len(h.Refusals) == 0 {
			continue
		}
		r := hostRecordOf(h)
		if a.flags.json {
			a.report.object(hostRecord{Server: r.Server, Closed: r.Closed})
			continue
		}
		for _, c := range r.Closed {
			_, _ = fmt.Fprintf(a.report.stdout, "%s\n  closed: the login of %s, refused on %s (%s)\n", r.Server,
				policy.Sanitize(c.User), c.Since.Local().Format(time.DateTime), policy.Sanitize(c.Said))
		}
	}
	return nil
}

// jobStatus reads the last runs of a job.
func (a *app) jobStatus(ctx context.Context, name string, job JobConfig) (statusRecord, error) {
	r := statusRecord{Job: name}
	if next := job.Schedule.Next(time.Now()); !next.IsZero() {
		r.Next = &next
	}
	runs, err := a.state.ledger().Runs(ctx, ledger.Query{Job: name})
	if err != nil {
		return r, policy.GiveUpOn("status", policy.FaultOf(err))
	}
	for _, run := range runs {
		switch record := runRecordOf(run); {
		case run.Outcome == ledger.Skipped:
			r.Skips++
		case record.Status == "running":
			r.Running = record
		default:
			r.Last = record
			return r, nil
		}
	}
	return r, nil
}

// text is the record for a person.
func (r statusRecord) text() string {
	s := policy.Sanitize(r.Job) + "\n"
	if run := r.Running; run != nil {
		s += fmt.Sprintf("  running since %s\n", run.Began.Local().Format(time.DateTime))
	}
	switch run := r.Last; {
	case run == nil:
		s += "  last: never\n"
	default:
		s += fmt.Sprintf("  last: %s, %s, %d files", run.Began.Local().Format(time.DateTime), run.Status, run.Files)
		if run.Failed > 0 {
			s += fmt.Sprintf(", %d failed", run.Failed)
		}
		s += ", " + byteCount(run.Bytes)
		if run.Note != "" {
			s += " (" + policy.Sanitize(run.Note) + ")"
		}
		s += "\n"
	}
	if r.Skips > 0 {
		s += fmt.Sprintf("  skipped since: %d\n", r.Skips)
	}
	if r.Next != nil {
		s += fmt.Sprintf("  next: %s\n", r.Next.Format("2006-01-02 15:04 MST"))
	}
	return s
}
