package main

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// batchOptions are the flags of batch.
type batchOptions struct {
	jobs        int
	failFast    bool
	metricsFile string
}

func (a *app) batchCommand() *cobra.Command {
	o := batchOptions{jobs: treeJobs}
	cmd := &cobra.Command{
		Use:   "batch FILE",
		Short: "Do what a file lists, and on a second run what is left of it",
		Long: `Do every line of a manifest: put, get, sync or move, from a source to a destination,
with the options of that command (on_exists for --on-exists). Without do, it is put or
get, as the ends say.

  FILE.csv    a first line that names the columns: source, destination, do and options
  FILE.jsonl  {"source": "a.csv", "destination": "acme:in/", "options": {"verify": "hash"}}
  FILE.toml   [[transfer]] with source, destination, do, options = { … }

All lines are checked before the first is begun. What became of each is added to
FILE.result.jsonl; a second run leaves out what is done there, however the first
ended. Delete that file to begin again. A line that was changed is a new one.

Lines for the same server share connections. A line that fails does not stop the
others, except those for a server that can't be reached or trusted.
` + metricsHelp,
		Example: `  xfer batch orders.csv
  xfer batch -j 1 --json orders.jsonl`,
		Args: exactly(1, "batch needs a file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.batch(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.FuncP("jobs", "j", "`N` lines at a time (default 4)", func(s string) (err error) {
		if o.jobs, err = parseCount(s); err == nil && o.jobs < 1 {
			err = errors.New("must be at least 1")
		}
		return err
	})
	f.BoolVar(&o.failFast, "fail-fast", false, "stop at the first line that fails")
	f.StringVar(&o.metricsFile, "metrics-file", "", "write metrics for Prometheus to `FILE`")
	return cmd
}

// manifestEntry is a line of a manifest.
type manifestEntry struct {
	CommandLine
	n int // counted from 1, in the file's lines or tables
}

// result is what became of an entry, in FILE.result.jsonl.
type result struct {
	ID          string     `json:"id"`
	Line        int        `json:"line"`
	Do          string     `json:"do"`
	Source      string     `json:"source"`
	Destination string     `json:"destination"`
	Status      string     `json:"status"` // done, failed
	ExitCode    int        `json:"exit_code"`
	Files       fileCounts `json:"files"`
	Bytes       int64      `json:"bytes"`
	Began       time.Time  `json:"began"`
	Seconds     float64    `json:"seconds"`
	Failures    []outcome  `json:"failures,omitempty"`
}

// manifestID tells entries apart, across runs. The second of two that are alike
// is another one.
type manifestID [12]byte

func (l CommandLine) id(nth int) manifestID {
	text, _ := json.Marshal(l) // what was read from a file can be written
	sum := sha256.Sum256(fmt.Appendf(text, " %d", nth))
	return manifestID(sum[:12])
}

func (id manifestID) String() string { return fmt.Sprintf("%x", id[:]) }

// manifest calls each with the entries of the file, in their order.
func manifest(path string, each func(manifestEntry) error) error {
	var read func(io.Reader, func(manifestEntry) error) error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		read = readCSV
	case ".json", ".jsonl", ".ndjson":
		read = readJSON
	case ".toml":
		read = readTOML
	default:
		return usagef("the name of a manifest ends in .csv, .jsonl or .toml")
	}
	f, err := os.Open(path)
	if err != nil {
		return policy.GiveUpOn("batch "+policy.Sanitize(path), policy.LocalFault("open", path, err))
	}
	defer f.Close() // only read from
	return read(f, func(e manifestEntry) error {
		if e.Do == "" {
			e.Do = e.direction()
		}
		return each(e)
	})
}

// direction is what to do when only the ends are named.
func (l CommandLine) direction() string {
	switch from, to := isRemote(l.Source), isRemote(l.Destination); {
	case to && !from:
		return "put"
	case from && !to:
		return "get"
	}
	return ""
}

// badLine is a line that can't be read. Its text is not repeated.
func badLine(n int, what string) error { return configError{fmt.Errorf("line %d: %s", n, what)} }

func readCSV(r io.Reader, each func(manifestEntry) error) error {
	records := csv.NewReader(r)
	records.TrimLeadingSpace = true
	columns, err := records.Read()
	if err == nil && !slices.Contains(columns, "source") {
		return badLine(1, "must name the columns: source, destination, and options")
	}
	for n := 0; err == nil; {
		var cells []string
		if cells, err = records.Read(); err != nil {
			break
		}
		n, _ = records.FieldPos(0)
		e := manifestEntry{n: n}
		for i, column := range columns {
			switch cell := cells[i]; {
			case column == "source":
				e.Source = cell
			case column == "destination":
				e.Destination = cell
			case column == "do":
				e.Do = cell
			case cell != "":
				if e.Options == nil {
					e.Options = map[string]any{}
				}
				e.Options[column] = optionOf(cell)
			}
		}
		if err := each(e); err != nil {
			return err
		}
	}
	if bad, ok := errors.AsType[*csv.ParseError](err); ok {
		return badLine(bad.Line, bad.Err.Error())
	}
	return endOf(err)
}

// optionOf reads a cell, which has no type: a switch is written true or false.
func optionOf(cell string) any {
	switch cell {
	case "true":
		return true
	case "false":
		return false
	}
	return cell
}

func endOf(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return policy.GiveUpOn("batch", policy.LocalFault("read", "", err))
}

func readJSON(r io.Reader, each func(manifestEntry) error) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	dec.UseNumber()
	for n := 1; ; n++ {
		e := manifestEntry{n: n}
		err := dec.Decode(&e.CommandLine)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return badLine(n, "must be an object with source, destination, do and options")
		}
		if err := each(e); err != nil {
			return err
		}
	}
}

func readTOML(r io.Reader, each func(manifestEntry) error) error {
	var file struct {
		Transfer []CommandLine `toml:"transfer"`
	}
	err := toml.NewDecoder(r).DisallowUnknownFields().Decode(&file)
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		line, _ := missing.Errors[0].Position()
		return badLine(line, "unknown key "+strings.Join(missing.Errors[0].Key(), "."))
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := bad.Position()
		return badLine(line, strings.TrimPrefix(bad.Error(), "toml: "))
	}
	if err != nil {
		return endOf(err)
	}
	for i, l := range file.Transfer {
		if err := each(manifestEntry{l, i + 1}); err != nil {
			return err
		}
	}
	return nil
}

// checkManifest names every problem of a manifest at once.
func checkManifest(path string) error {
	var problems []string
	good := map[string]bool{} // by what is not source and destination
	err := manifest(path, func(e manifestEntry) error {
		words := e.args()
		key := strings.Join(words[:len(words)-2], "\x00")
		errs := e.checkEnds()
		if !good[key] {
			errs = append(errs, e.checkOptions()...)
		}
		good[key] = good[key] || len(errs) == 0
		for _, err := range errs {
			problems = append(problems, fmt.Sprintf("%s:%d: %v", path, e.n, err))
		}
		if len(problems) > 100 {
			return errors.New("too many")
		}
		return nil
	})
	if len(problems) > 0 {
		return configError{errors.New(strings.Join(problems, "\n      "))}
	}
	if bad, ok := errors.AsType[configError](err); ok {
		return configError{fmt.Errorf("%s: %w", path, bad)}
	}
	return err
}

// batchRun is one run of a manifest.
type batchRun struct {
	app     *app
	path    string
	options batchOptions
	shared  *sharedLinks
	results *batch.Results
	done    map[manifestID]bool // by earlier runs
	run     int64               // in the ledger
	tally   tally

	mu   sync.Mutex
	dead map[string]bool // servers that can't be reached or trusted
}

func (a *app) batch(ctx context.Context, path string, o batchOptions) (err error) {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	s := summary{Op: "batch", File: path, Began: time.Now()}
	if _, err := a.config(); err != nil {
		return err
	}
	if err := checkManifest(path); err != nil {
		if _, bad := errors.AsType[configError](err); bad {
			_, _ = fmt.Fprintf(a.report.stderr, "xfer: %v\nnext: correct the file; nothing was begun\n", err)
			return errFailed{policy.KindConfig}
		}
		return err
	}
	resultPath, err := filepath.Abs(path + ".result.jsonl")
	if err != nil {
		return policy.GiveUpOn(s.name(), policy.LocalFault("open", path, err))
	}
	release, err := a.locks().Locks.Lock("batch " + resultPath)
	if err != nil {
		return policy.GiveUpOn(s.name(), policy.FaultOf(err))
	}
	defer release()
	r := &batchRun{
		app: a, path: path, options: o, shared: &sharedLinks{limit: o.jobs},
		done: map[manifestID]bool{}, dead: map[string]bool{},
	}
	defer func() {
		if err := errors.Join(r.shared.close(context.WithoutCancel(ctx))...); err != nil {
			a.forgetful(err)
		}
	}()
	if r.results, err = batch.OpenResults(resultPath, r.recall); err != nil {
		return policy.GiveUpOn(s.name(), policy.FaultOf(err))
	}
	defer r.results.Close() // every line is on the disk already
	if r.run, err = a.state.ledger().StartRun(ctx, s.name()); err != nil {
		return policy.GiveUpOn(s.name(), policy.FaultOf(err))
	}
	worst, err := r.all(ctx)
	s.count(&r.tally)
	s.end(worst)
	a.report.summary(s)
	end := ledger.Summary{Outcome: ledger.Done, Files: s.Files.Done, Failed: s.Files.Failed, Skipped: s.Files.Skipped, Bytes: s.Bytes}
	if worst != policy.KindOK {
		end.Outcome = ledger.Failed
	}
	endErr := a.state.ledger().EndRun(context.WithoutCancel(ctx), r.run, end)
	if o.metricsFile != "" {
		endErr = errors.Join(endErr, writeMetrics(a.file(o.metricsFile), []summary{s}))
	}
	switch {
	case err != nil:
		return err
	case worst != policy.KindOK:
		return errFailed{worst}
	case endErr != nil:
		return policy.GiveUpOn(s.name(), policy.FaultOf(endErr))
	}
	return nil
}

// recall reads a line of an earlier run.
func (r *batchRun) recall(line []byte) {
	var past result
	var id manifestID
	if json.Unmarshal(line, &past) != nil || past.Status != "done" || len(past.ID) != 2*len(id) {
		return // a line that a kill spoiled; what it told is done again
	}
	if n, err := hex.Decode(id[:], []byte(past.ID)); n == len(id) && err == nil {
		r.done[id] = true
	}
}

// all does what is left.
func (r *batchRun) all(ctx context.Context) (worst policy.Kind, err error) {
	worst = policy.KindOK
	type task struct {
		manifestEntry
		id manifestID
	}
	type finished struct {
		result
		kind  policy.Kind
		begun bool
	}
	before, ended, stopped := 0, false, errors.New("stopped")
	err = batch.Ordered(ctx, r.options.jobs, func(ctx context.Context, yield func(task) error) error {
		alike := map[manifestID]int{}
		return manifest(r.path, func(e manifestEntry) error {
			first := e.id(0)
			id := e.id(alike[first])
			alike[first]++
			if r.done[id] {
				before++
				return nil
			}
			return yield(task{e, id})
		})
	}, func(wanted context.Context, t task) finished {
		if wanted.Err() != nil {
			return finished{kind: policy.KindCancelled}
		}
		res, kind, begun := r.line(ctx, t.manifestEntry, t.id) // what ends the others interrupts none
		return finished{res, kind, begun}
	}, func(f finished) error {
		if ended && !f.begun {
			return nil
		}
		worst = worse(worst, f.kind)
		if !f.begun || f.kind == policy.KindCancelled {
			return nil
		}
		if r.app.flags.json {
			r.app.report.object(f.result)
		} else if !r.app.flags.quiet {
			_, _ = fmt.Fprintln(r.app.report.stdout, f.result.text())
		}
		if err := r.results.Add(f.result); err != nil {
			ended = true
			return policy.GiveUpOn("batch "+policy.Sanitize(r.path), policy.FaultOf(err))
		}
		if r.options.failFast && f.kind != policy.KindOK {
			ended = true
			return stopped
		}
		return nil
	})
	if before > 0 {
		r.app.out.log.Info("done by an earlier run", "job", "batch "+r.path, "lines", before)
	}
	if errors.Is(err, stopped) || worst == policy.KindCancelled {
		err = nil
	}
	return worst, err
}

// line does one entry.
func (r *batchRun) line(ctx context.Context, e manifestEntry, id manifestID) (res result, kind policy.Kind, begun bool) {
	a := r.app
	servers := a.servers(e.CommandLine)
	if r.isDead(servers) {
		return res, policy.KindTemporary, false
	}
	var own tally
	hopeless := false
	c := a.child()
	c.sys.stdout, c.sys.stderr = io.Discard, a.report.stderr
	c.shared, c.runID, c.observe = r.shared, r.run, r.tally.remedy
	c.told = func(o outcome) {
		own.add(o)
		r.tally.add(o)
		hopeless = hopeless || o.Failure != nil && o.Failure.isHopeless()
		a.record(ctx, r.run, "batch "+r.path, e.CommandLine, o)
	}
	given := a.flags
	given.json, given.noProgress = false, true
	res = result{ID: id.String(), Line: e.n, Do: e.Do, Source: e.Source, Destination: e.Destination, Status: "done", Began: time.Now().UTC()}
	line := e.CommandLine
	line.Source, line.Destination = a.file(line.Source), a.file(line.Destination)
	err := c.do(ctx, given, line)
	kind = kindOf(err)
	if kind != policy.KindOK {
		res.Status = "failed"
		if _, told := errors.AsType[errFailed](err); !told {
			o := outcome{Op: e.Do, Source: e.Source, Target: e.Destination, Status: "failed", Failure: failureOf(err)}
			own.add(o)
			r.tally.add(o)
			hopeless = isHopeless(err)
		}
	}
	if hopeless {
		r.bury(servers)
	}
	res.ExitCode, res.Files, res.Bytes, res.Failures = exitCodes[kind].code, own.files, own.bytes, own.failures
	res.Seconds = time.Since(res.Began).Round(time.Millisecond).Seconds()
	return res, kind, true
}

// isHopeless is that of the error that it was made from.
func (f *failure) isHopeless() bool {
	return f.Protocol != policy.Local.String() && f.Phase == policy.Connect.String() || f.Kind == policy.KindTrust.String() || f.Kind == policy.KindHost.String()
}

// servers are those that a line needs.
func (a *app) servers(l CommandLine) (logins []string) {
	for _, arg := range []string{l.Source, l.Destination} {
		if isRemote(arg) {
			if p, err := a.place(arg); err == nil {
				logins = append(logins, p.login())
			}
		}
	}
	return logins
}

func (r *batchRun) isDead(servers []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(servers, func(s string) bool { return r.dead[s] })
}

// bury gives a server up. Of two, nobody knows which it was.
func (r *batchRun) bury(servers []string) {
	if len(servers) != 1 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.dead[servers[0]] {
		r.dead[servers[0]] = true
		r.app.out.log.Warn("the other lines for this server are left for the next run", "job", "batch "+r.path, "server", servers[0])
	}
}

// text is the result for a person.
func (r result) text() string {
	s := fmt.Sprintf("%-8s %d: %s → %s", r.Status, r.Line, policy.Sanitize(r.Source), policy.Sanitize(r.Destination))
	switch {
	case r.Status == "failed" && len(r.Failures) > 0:
		s += fmt.Sprintf("  [%s, exit code %d]", r.Failures[0].Failure.Rule, r.ExitCode)
	case r.Status == "failed":
		s += fmt.Sprintf("  [exit code %d]", r.ExitCode)
	default:
		s += fmt.Sprintf("  %d files, %s", r.Files.Done, byteCount(r.Bytes))
	}
	return s
}

// sharedLinks are the connections of many commands, one pool for each server,
// login and way to use it.
type sharedLinks struct {
	limit int

	mu    sync.Mutex
	pools map[string]*batch.Links
}

func (s *sharedLinks) pool(a *app, p place, e *policy.Engine) *batch.Links {
	opt, _ := json.Marshal(p.opt) // it only has to tell options apart
	key := fmt.Sprintf("%s %s %v", p.login(), opt, e.Limits)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pools == nil {
		s.pools = map[string]*batch.Links{}
	}
	links := s.pools[key]
	if links == nil {
		dial := a.dialer(p)
		links = batch.NewLinks(p.loc, func() *transfer.Link { return a.newLink(p, dial) }, e, s.limit)
		s.pools[key] = links
	}
	return links
}

func (s *sharedLinks) close(ctx context.Context) (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		errs = append(errs, p.Close(ctx))
	}
	return errs
}
