package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// deliveryRecord is a delivery as --json prints it.
type deliveryRecord struct {
	ID       int64      `json:"id"`
	Run      int64      `json:"run,omitempty"`
	Job      string     `json:"job,omitempty"`
	Partner  string     `json:"partner,omitempty"`
	Source   string     `json:"source"`
	Target   string     `json:"target"`
	Status   string     `json:"status"` // open, done, failed, undone
	Stage    string     `json:"stage,omitempty"`
	Size     *int64     `json:"size,omitempty"`
	Modified *time.Time `json:"modified,omitempty"`
	SHA256   string     `json:"sha256,omitempty"`
	Attempts int        `json:"attempts"`
	Codes    []int      `json:"codes,omitempty"`
	Rule     string     `json:"rule,omitempty"`
	Reply    string     `json:"reply,omitempty"`
	Bytes    int64      `json:"bytes"`
	Began    time.Time  `json:"began"`
	Ended    *time.Time `json:"ended,omitempty"`
	Seconds  float64    `json:"seconds"`
}

func deliveryRecordOf(d ledger.Delivery) deliveryRecord {
	r := deliveryRecord{
		ID: d.ID, Run: d.Run, Job: d.Job, Partner: d.Partner, Source: d.Source, Target: d.Target,
		Status: string(d.Outcome), Stage: d.Stage, SHA256: d.SHA256, Attempts: d.Attempts, Codes: d.Codes,
		Rule: d.Rule, Reply: d.Reply, Bytes: d.Bytes, Began: d.Began.UTC(),
	}
	if d.Outcome == ledger.Unsettled {
		r.Status = "open"
	}
	if d.Size >= 0 {
		r.Size = &d.Size
	}
	if !d.ModTime.IsZero() {
		r.Modified = new(d.ModTime.UTC())
	}
	if !d.Ended.IsZero() {
		r.Ended = new(d.Ended.UTC())
		r.Seconds = d.Ended.Sub(d.Began).Seconds()
	}
	return r
}

// line is a delivery for a person.
func (r deliveryRecord) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-6s  %s → %s", r.Began.Local().Format(time.DateTime), r.Status, policy.Sanitize(r.Source), policy.Sanitize(r.Target))
	if r.Size != nil {
		fmt.Fprintf(&b, "  %s", byteCount(*r.Size))
	}
	if r.Job != "" {
		fmt.Fprintf(&b, "  job %s", policy.Sanitize(r.Job))
	}
	if r.Attempts > 1 {
		fmt.Fprintf(&b, "  %d tries", r.Attempts)
	}
	if r.Rule != "" {
		fmt.Fprintf(&b, "  [%s]", r.Rule)
	}
	if r.Status == "open" && r.Stage != "" {
		fmt.Fprintf(&b, "  came as far as: %s", policy.Sanitize(r.Stage))
	}
	return b.String()
}

func (a *app) historyCommand() *cobra.Command {
	var q ledger.Query
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show what was delivered, and what failed",
		Long: `Show the deliveries of move, sync, batch and jobs, and of put and get with --ledger,
the latest last.`,
		Args: exactly(0, "history takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := a.state.ledger().Deliveries(cmd.Context(), q)
			if err != nil {
				return policy.GiveUpOn("history", policy.FaultOf(err))
			}
			for i := range list {
				r := deliveryRecordOf(list[len(list)-1-i])
				if a.flags.json {
					a.report.object(r)
				} else {
					_, _ = fmt.Fprintln(a.report.stdout, r.line())
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Job, "job", "", "only those of the job `NAME`")
	f.Func("since", "only those since `WHEN`: an age (12h, 2d) or a date (2026-01-31)", func(s string) (err error) {
		q.Since, err = batch.ParseWhen(s, time.Now())
		return err
	})
	f.BoolVar(&q.Failed, "failed", false, "only those that failed")
	f.Func("limit", "the latest `N` at most (default 1000)", func(s string) (err error) {
		q.Limit, err = parseCount(s)
		return err
	})
	return cmd
}
