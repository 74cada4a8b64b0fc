package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// outcome is what became of one file, or of one command on the server. It is
// the object that --json prints.
type outcome struct {
	Op       string   `json:"op"`
	Source   string   `json:"source,omitempty"`
	Target   string   `json:"target,omitempty"`
	Status   string   `json:"status"` // done, skipped, failed, planned
	Size     int64    `json:"size"`
	Sent     int64    `json:"sent"`
	Resumed  int64    `json:"resumed_from,omitempty"`
	Tries    int      `json:"tries,omitempty"`
	Verified string   `json:"verified,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
	Seconds  float64  `json:"seconds"`
	Skipped  string   `json:"skipped,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Failure  *failure `json:"failure,omitempty"`
	// noted: the ledger has it already.
	noted bool
}

// failure is a verdict for a program.
type failure struct {
	Kind     string `json:"kind"`
	ExitCode int    `json:"exit_code"`
	Rule     string `json:"rule"`
	Protocol string `json:"protocol"`
	Phase    string `json:"phase"`
	Command  string `json:"command,omitempty"`
	Host     string `json:"host,omitempty"`
	Path     string `json:"path,omitempty"`
	Code     int    `json:"code,omitempty"`
	Text     string `json:"text,omitempty"`
	What     string `json:"what"`
	Why      string `json:"why"`
	Evidence string `json:"evidence,omitempty"`
	Next     string `json:"next,omitempty"`
	Tries    int    `json:"tries,omitempty"`
}

// failureOf reads an error of the engine, or one that never met it.
func failureOf(err error) *failure {
	g, ok := errors.AsType[*policy.GaveUp](err)
	if !ok {
		g = policy.GiveUpOn("", policy.FaultOf(err))
	}
	v, f := g.Verdict, g.Last
	return &failure{
		Kind: v.Kind.String(), ExitCode: exitCodes[v.Kind].code, Rule: v.Rule,
		Protocol: f.Protocol.String(), Phase: f.Phase.String(), Command: f.Op, Host: f.Host, Path: f.Path,
		Code: f.Code, Text: g.Said(), What: v.Head, Why: v.Means, Evidence: v.Evidence, Next: v.Next, Tries: g.Tries,
	}
}

// transferred makes the outcome of a transfer.
func transferred(d transfer.Direction, source, target string, r transfer.Result, err error) outcome {
	o := outcome{
		Op: d.String(), Source: source, Target: target, Status: "done",
		Size: r.Size, Sent: r.Sent, Resumed: r.Resumed, Tries: r.Tries, Verified: r.Verified, SHA256: r.SHA256,
		Seconds: r.Elapsed.Round(time.Millisecond).Seconds(), Skipped: r.Skipped, Warnings: r.Warnings,
	}
	switch {
	case err != nil:
		o.Status, o.Failure = "failed", failureOf(err)
	case r.Skipped != "":
		o.Status = "skipped"
	}
	return o
}

// report tells outcomes: stdout for a program, stderr for a person and the log.
type report struct {
	stdout, stderr io.Writer
	json, quiet    bool
	logJSON        bool
	log            *slog.Logger
	worst          policy.Kind
	failed         int
	// told, if set, is given every outcome.
	told func(outcome)
}

func newReport(sys system, o output) *report {
	return &report{stdout: sys.stdout, stderr: sys.stderr, json: o.json, quiet: o.quiet, logJSON: o.logJSON, log: o.log, worst: policy.KindOK}
}

// file tells the outcome of one transfer; err is what transferred was given.
func (r *report) file(o outcome, err error) {
	if r.told != nil {
		r.told(o)
	}
	for _, w := range o.Warnings {
		r.log.Warn("warning", "job", o.Op+" "+o.Source, "text", w)
	}
	switch {
	case r.json:
		r.object(o)
	case !r.quiet:
		_, _ = fmt.Fprintln(r.stdout, line(o))
	}
	if err != nil {
		r.failure(o.Op+" "+policy.Sanitize(cmp.Or(o.Source, o.Target)), err)
		return
	}
	r.log.Info("transferred", "job", o.Op, "source", o.Source, "target", o.Target, "status", o.Status,
		"size", o.Size, "sent", o.Sent, "resumed_from", o.Resumed, "tries", o.Tries, "seconds", o.Seconds)
}

// object writes one JSON object on a line of stdout.
func (r *report) object(v any) {
	enc := json.NewEncoder(r.stdout)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // stdout remembers a failure
}

// failure tells a failure in three lines, or as one log record, and remembers
// the worst kind.
func (r *report) failure(name string, err error) {
	r.failed++
	r.worst = worse(r.worst, kindOf(err))
	f := failureOf(err)
	if r.logJSON {
		r.log.Error("failed", "job", name, "host", f.Host, "op", f.Command, "phase", f.Phase, "code", f.Code,
			"rule", f.Rule, "kind", f.Kind, "text", f.Text, "what", f.What, "why", f.Why, "evidence", f.Evidence, "next", f.Next)
		return
	}
	_, _ = fmt.Fprint(r.stderr, explainFailure(name, f))
}

// explainFailure is the three lines of a failure.
func explainFailure(name string, f *failure) string {
	head := f.What
	if f.Text != "" && f.Text != f.What {
		head += " (" + f.Text + ")"
	}
	why := f.Why
	if f.Evidence != "" {
		why += ": " + f.Evidence
	}
	s := fmt.Sprintf("xfer: %s: %s\nwhy:  %s   [%s]\n", name, head, why, f.Rule)
	if f.Next != "" {
		s += fmt.Sprintf("next: %s\n", f.Next)
	}
	return s
}

// err is what the command returns when every outcome was told.
func (r *report) err() error {
	if r.failed == 0 {
		return nil
	}
	return errFailed{r.worst}
}

// line is an outcome on one line, for a person's stdout.
func line(o outcome) string {
	source, target := policy.Sanitize(o.Source), policy.Sanitize(o.Target)
	switch o.Status {
	case "failed":
		return fmt.Sprintf("failed   %s  [%s, exit code %d]", cmp.Or(source, target), o.Failure.Rule, o.Failure.ExitCode)
	case "skipped":
		return fmt.Sprintf("skipped  %s: %s", source, o.Skipped)
	case "planned":
		return fmt.Sprintf("would %s %s (%s)", o.Op, target, o.Reason)
	}
	if o.Source == "" { // nothing was moved
		return fmt.Sprintf("%-8s %s", o.Op, target)
	}
	s := fmt.Sprintf("done     %s → %s  %s", source, target, byteCount(o.Size))
	if o.Seconds > 0 {
		s += fmt.Sprintf("  %s/s", byteCount(int64(float64(o.Sent)/o.Seconds)))
	}
	if o.Tries > 1 {
		s += fmt.Sprintf("  %d tries", o.Tries)
	}
	if o.Verified != "" {
		s += "  " + o.Verified + " verified"
	}
	if o.Resumed > 0 {
		s += fmt.Sprintf("  resumed at %s", byteCount(o.Resumed))
	}
	return s
}

// byteCount is a size for a person, in IEC units.
func byteCount(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 5 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTPE"[unit])
}
