package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// tally counts what became of the files of a run.
type tally struct {
	mu       sync.Mutex
	files    fileCounts
	bytes    int64
	retries  map[string]int
	slowest  *outcome
	failures []outcome
	// each, if set, is given every file.
	each func(outcome)
}

type fileCounts struct {
	Done    int `json:"done"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

// failuresKept is how many failures a summary names; it counts them all.
const failuresKept = 20

// add counts an outcome. Directories and deletions are no files, unless they
// failed.
func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	isFile := o.Source != "" && o.Target != ""
	switch {
	case o.Status == "failed":
		t.files.Failed++
		if len(t.failures) < failuresKept {
			t.failures = append(t.failures, o)
		}
	case !isFile:
		return
	case o.Status == "done":
		t.files.Done++
	case o.Status == "skipped":
		t.files.Skipped++
	}
	t.bytes += o.Sent
	if o.Status == "done" && (t.slowest == nil || o.Seconds > t.slowest.Seconds) {
		t.slowest = &o
	}
	if t.each != nil && isFile {
		t.each(o)
	}
}

// remedy counts what is tried again.
func (t *tally) remedy(ev policy.Event) {
	if ev.Remedy == policy.Diagnose {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.retries == nil {
		t.retries = map[string]int{}
	}
	t.retries[ev.Verdict.Rule]++
}

// summary is a run as --json prints it and as hooks get it on stdin.
type summary struct {
	Op       string         `json:"op"` // run or batch
	Job      string         `json:"job,omitempty"`
	File     string         `json:"file,omitempty"` // the manifest
	Status   string         `json:"status"`         // done, failed, missing, skipped
	ExitCode int            `json:"exit_code"`
	Note     string         `json:"note,omitempty"`
	Began    time.Time      `json:"began"`
	Ended    time.Time      `json:"ended"`
	Seconds  float64        `json:"seconds"`
	Files    fileCounts     `json:"files"`
	Bytes    int64          `json:"bytes"`
	Retries  map[string]int `json:"retries,omitempty"` // by rule
	Slowest  *outcome       `json:"slowest,omitempty"`
	Failures []outcome      `json:"failures,omitempty"` // the first ones
	// Failure is that of the run itself: files that did not come, a run that is
	// still under way.
	Failure *failure `json:"failure,omitempty"`
}

// count puts what was counted into the summary.
func (s *summary) count(t *tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Files, s.Bytes, s.Retries, s.Slowest, s.Failures = t.files, t.bytes, maps.Clone(t.retries), t.slowest, slices.Clone(t.failures)
}

// end sets what is known at the end.
func (s *summary) end(kind policy.Kind) {
	s.Began, s.Ended = s.Began.UTC(), time.Now().UTC()
	s.Seconds = s.Ended.Sub(s.Began).Round(time.Millisecond).Seconds()
	s.ExitCode = exitCodes[kind].code
	if s.Status == "" {
		s.Status = "done"
		if kind != policy.KindOK {
			s.Status = "failed"
		}
	}
}

// name is how a person knows the run.
func (s *summary) name() string {
	return strings.TrimSpace(s.Op + " " + policy.Sanitize(cmp.Or(s.Job, s.File)))
}

// line is the summary for a person.
func (s *summary) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s", s.Status, s.name())
	if s.Status == "skipped" {
		fmt.Fprintf(&b, ": %s", policy.Sanitize(s.Note))
		return b.String()
	}
	fmt.Fprintf(&b, ": %d files", s.Files.Done)
	if s.Files.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", s.Files.Failed)
	}
	if s.Files.Skipped > 0 {
		fmt.Fprintf(&b, ", %d skipped", s.Files.Skipped)
	}
	fmt.Fprintf(&b, ", %s in %v", byteCount(s.Bytes), s.Ended.Sub(s.Began).Round(100*time.Millisecond))
	if len(s.Retries) > 0 {
		fmt.Fprintf(&b, ", tried again %s", retryText(s.Retries))
	}
	if s.Slowest != nil && s.Slowest.Seconds >= 1 {
		fmt.Fprintf(&b, ", slowest %s %.1fs", policy.Sanitize(s.Slowest.Source), s.Slowest.Seconds)
	}
	return b.String()
}

// retryText is "2×ftp-450 1×net-reset".
func retryText(retries map[string]int) string {
	var parts []string
	for _, rule := range slices.Sorted(maps.Keys(retries)) {
		parts = append(parts, fmt.Sprintf("%d×%s", retries[rule], rule))
	}
	return strings.Join(parts, " ")
}

// summary tells how a run ended.
func (r *report) summary(s summary) {
	switch {
	case r.json:
		r.object(s)
	case !r.quiet:
		_, _ = fmt.Fprintln(r.stdout, s.line())
	}
	r.ended(s)
}

// ended is the line of the log about it.
func (r *report) ended(s summary) {
	slowest := ""
	if s.Slowest != nil {
		slowest = s.Slowest.Source
	}
	r.log.Info("ended", "job", s.name(), "status", s.Status, "exit_code", s.ExitCode, "files", s.Files.Done, "failed", s.Files.Failed,
		"skipped", s.Files.Skipped, "bytes", s.Bytes, "seconds", s.Seconds, "retries", retryText(s.Retries), "slowest", slowest, "note", s.Note)
}

// summarise logs what a command did that transferred several files.
func (a *app) summarise(began time.Time, err error) {
	var s summary
	if s.count(&a.tally); s.Files.Done+s.Files.Failed+s.Files.Skipped < 2 {
		return
	}
	s.Op, s.Began = "command", began
	s.end(kindOf(err))
	a.report.ended(s)
}

// metricsHelp is the documentation of the metrics' names.
const metricsHelp = `
Metrics: --metrics-file writes a text file for Prometheus' node_exporter (textfile
collector), at once as a whole. Its name must end in .prom; give each cron line its
own. All are gauges with the label job, of the runs of this command:
  xfer_run_start_timestamp_seconds  when the run began
  xfer_run_duration_seconds         how long it took
  xfer_run_success                  1, or 0 if it failed or files are missing
  xfer_run_missing                  1 if expected files did not come in time
  xfer_run_exit_code                see xfer help exit-codes
  xfer_run_files{status}            files that are done, failed or skipped
  xfer_run_bytes                    bytes that went over the wire
  xfer_run_retries{rule}            what was tried again, by rule (xfer explain)
A run that was skipped, because of its window or another run, writes nothing.`

// metrics gives the runs in the text format of Prometheus.
func metrics(runs []summary) []byte {
	var b strings.Builder
	gauge := func(name, help string, values func(s summary, value func(labels string, v float64))) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
		for _, s := range runs {
			values(s, func(labels string, v float64) {
				fmt.Fprintf(&b, "%s{job=\"%s\"%s} %v\n", name, labelValue(cmp.Or(s.Job, s.File)), labels, v)
			})
		}
	}
	one := func(f func(summary) float64) func(summary, func(string, float64)) {
		return func(s summary, value func(string, float64)) { value("", f(s)) }
	}
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge("xfer_run_start_timestamp_seconds", "When the run began.", one(func(s summary) float64 { return float64(s.Began.UnixMilli()) / 1000 }))
	gauge("xfer_run_duration_seconds", "How long the run took.", one(func(s summary) float64 { return s.Seconds }))
	gauge("xfer_run_success", "Whether the run ended well.", one(func(s summary) float64 { return yes(s.ExitCode == 0) }))
	gauge("xfer_run_missing", "Whether expected files did not come in time.", one(func(s summary) float64 { return yes(s.Status == "missing") }))
	gauge("xfer_run_exit_code", "Exit code of the run.", one(func(s summary) float64 { return float64(s.ExitCode) }))
	gauge("xfer_run_files", "Files by what became of them.", func(s summary, value func(string, float64)) {
		value(`,status="done"`, float64(s.Files.Done))
		value(`,status="failed"`, float64(s.Files.Failed))
		value(`,status="skipped"`, float64(s.Files.Skipped))
	})
	gauge("xfer_run_bytes", "Bytes that went over the wire.", one(func(s summary) float64 { return float64(s.Bytes) }))
	gauge("xfer_run_retries", "What was tried again, by rule.", func(s summary, value func(string, float64)) {
		for _, rule := range slices.Sorted(maps.Keys(s.Retries)) {
			value(`,rule="`+labelValue(rule)+`"`, float64(s.Retries[rule]))
		}
	})
	return []byte(b.String())
}

// labelValue escapes as the text format wants it.
func labelValue(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s)
}

// writeMetrics replaces the file at once, so that nobody reads half of it.
func writeMetrics(path string, runs []summary) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".xfer-metrics-*")
	if err != nil {
		return policy.LocalFault("create", path, err)
	}
	_, err = temp.Write(metrics(runs))
	if err == nil {
		err = temp.Chmod(0o644) // the exporter is another user
	}
	if err := cmp.Or(err, temp.Close()); err != nil {
		_ = os.Remove(temp.Name())
		return policy.LocalFault("write", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		_ = os.Remove(temp.Name())
		return policy.LocalFault("create", path, err)
	}
	return nil
}
