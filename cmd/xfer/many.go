package main

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/semaphore"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

const (
	// treeJobs is how many files of a tree are transferred side by side, each on
	// a connection of its own, when nobody says how many and the server is near.
	treeJobs = 4
	// farJobs is the same where a login takes its time: the answers do, too.
	farJobs = 8
	// sharedJobs is the same where they share a connection (SFTP): small files are
	// all waiting, and so many hide a round trip time of 20 ms.
	sharedJobs = 128
	// small is the size in bytes up to which a file is more waiting than work.
	small = 64 << 10
	// underWay is how many bytes of larger files may be under way when nobody says
	// how many files. A file of which a piece at a time is in memory counts as large
	// bytes: four fill any line.
	underWay = 16 << 20
	large    = 4 << 20
)

// many is what put and get have in common: which files, and how many at a time.
type many struct {
	sel       batch.Selection
	filesFrom string
	jobs      *int
	failFast  bool
	resend    bool
	inPlace   bool // only of get: the local files; Options.InPlace is about the server
}

// copyFlags binds the flags of put and get.
func (a *app) copyFlags(cmd *cobra.Command, m *many) {
	f := cmd.Flags()
	f.BoolVarP(&m.sel.Recursive, "recursive", "r", false, "copy directories and what is in them")
	optionalBool(f, &a.flags.options.Resume, "no-resume", false, "start from zero even if an earlier run left a part")
	optionalBool(f, &a.flags.options.Times, "no-times", false, "do not set the modification time")
	a.modeFlags(f)
	optional(f, &a.flags.options.Verify, "verify", "compare the copy with its source by `size`, hash (a checksum of the server) or readback (default size)")
	optionalBool(f, &a.flags.options.Ledger, "ledger", true, "note what is delivered (xfer history), and do not deliver it twice; costs a hash of each file")
	f.BoolVar(&m.resend, "resend", false, "with --ledger: send again what was delivered before")
	f.StringVar(&m.filesFrom, "files-from", "", "copy what `FILE` (- for stdin) lists, one path below SRC on a line")
	f.BoolVar(&m.sel.NoEmptyDirs, "no-empty-dirs", false, "make only directories that something goes into")
	a.selectionFlags(cmd, m)
}

// selectionFlags binds those that choose files of a tree, and how many at a time.
func (a *app) selectionFlags(cmd *cobra.Command, m *many) {
	cmd.Flags().Func("links", "symbolic links: `follow` those to files, skip them, or copy them as links (default follow)", func(s string) error {
		return m.sel.Links.UnmarshalText([]byte(s))
	})
	a.filterFlags(cmd, m)
}

// filterFlags binds those that choose files, and how many at a time.
func (a *app) filterFlags(cmd *cobra.Command, m *many) {
	f := cmd.Flags()
	rule := func(include bool) func(string) error {
		return func(s string) error {
			m.sel.Rules = append(m.sel.Rules, batch.Rule{Include: include, Pattern: s})
			return m.sel.Check()
		}
	}
	f.Func("include", "take files that fit `PATTERN` (repeatable; the first --include or --exclude that fits decides)", rule(true))
	f.Func("exclude", "leave out files, and directories, that fit `PATTERN`", rule(false))
	when := func(dst *time.Time) func(string) error {
		return func(s string) (err error) {
			*dst, err = batch.ParseWhen(s, time.Now())
			return err
		}
	}
	f.Func("newer-than", "only files modified since `WHEN`: an age (12h, 2d) or a date (2026-01-31)", when(&m.sel.NewerThan))
	f.Func("older-than", "only files modified before `WHEN`", when(&m.sel.OlderThan))
	size := func(dst *int64) func(string) error {
		return func(s string) (err error) {
			*dst, err = batch.ParseSize(s)
			return err
		}
	}
	f.Func("min-size", "only files of at least `SIZE`: 1000, 10k, 5MiB", size(&m.sel.MinSize))
	f.Func("max-size", "only files of at most `SIZE`", size(&m.sel.MaxSize))
	f.FuncP("jobs", "j", "`N` files at a time (default for several files: 4 to 8, each on a connection of its own; SFTP 128 on one)", func(s string) error {
		n, err := parseCount(s)
		if err == nil && n < 1 {
			err = errors.New("must be at least 1")
		}
		m.jobs = &n
		return err
	})
	f.BoolVar(&m.failFast, "fail-fast", false, "stop at the first file that fails")
}

// selectionHelp is the part of the long help about them.
const selectionHelp = `
Which files: --include and --exclude take patterns (* ? [a-z] {a,b}, ** crosses
directories). One without / is compared with the name, in any directory; one with /
with the path below SRC; one that ends in / means directories. The first that fits a
file, or a directory it is in, decides. A file that none fits is taken, unless the
last word was an --include.`

// several says whether there may be more than one file.
func (m *many) several(sources []string) bool {
	return m.sel.Recursive || m.filesFrom != "" || len(sources) > 1 || slices.ContainsFunc(sources, batch.HasPattern)
}

// atOnce is how many files are transferred at a time, to and from places.
func (m *many) atOnce(places ...place) int {
	switch {
	case m.jobs != nil:
		return *m.jobs
	case slices.ContainsFunc(places, func(p place) bool { return p.loc.Protocol() == policy.SFTP }):
		return sharedJobs
	case len(places) > 0:
		return farJobs
	default:
		return treeJobs
	}
}

// links are the connections for n files at a time. Where the person did not say
// how many, connections that can't be shared are fewer, and fewer still where the
// server is near.
func (m *many) links(a *app, p place, e *policy.Engine, n int) *batch.Links {
	if m.jobs != nil || a.shared != nil {
		return a.pool(p, e, n)
	}
	if p.loc.Protocol() != policy.SFTP {
		n = min(n, farJobs)
	}
	links := a.pool(p, e, n)
	links.Near = treeJobs
	return links
}

// turns lets few large files be under way among many small ones.
type turns struct{ bytes *semaphore.Weighted }

// turns are only for who did not say how many files.
func (m *many) turns() turns {
	if m.jobs != nil {
		return turns{}
	}
	return turns{semaphore.NewWeighted(underWay)}
}

// take waits for a turn of a file of size bytes, -1 when that is unknown. A
// context that ends is for the transfer to tell.
func (t turns) take(ctx context.Context, size int64) (done func()) {
	if size < 0 || size > large {
		size = large
	}
	if t.bytes == nil || size <= small || t.bytes.Acquire(ctx, size) != nil {
		return func() {}
	}
	return func() { t.bytes.Release(size) }
}

// taken are the names that the sources of a command have at the target, and by which
// source. Both are hashes, for there may be many files.
type taken struct {
	by map[uint64]uint64 // nil where there can't be two of one name
	// merged: there may be trees of one name, which are put into one another; else
	// what is below a directory needs no look.
	merged bool
}

var takenSeed = maphash.MakeSeed()

// taken is for the command's sources.
func (m *many) taken(sources []string) taken {
	if m.filesFrom != "" || len(sources) == 1 && !batch.HasPattern(sources[0]) {
		return taken{}
	}
	t := taken{by: map[uint64]uint64{}}
	seen := map[string]bool{}
	for _, source := range sources {
		dir, name := path.Split(path.Clean(filepath.ToSlash(source)))
		t.merged = t.merged || seen[name] || batch.HasPattern(dir) || len(sources) > 1 && batch.HasPattern(name)
		seen[name] = true
	}
	return t
}

// take gives the name of e to its source. again: it has it already.
func (t taken) take(e batch.Entry, source, target string) (again bool, err error) {
	if t.by == nil || e.Dir || e.Err != nil || !t.merged && strings.Contains(e.Rel, "/") {
		return false, nil
	}
	name, by := maphash.String(takenSeed, e.Rel), maphash.String(takenSeed, source)
	other, ok := t.by[name]
	switch {
	case !ok:
		t.by[name] = by
		return false, nil
	case other == by:
		return true, nil
	}
	return false, &policy.Fault{Protocol: policy.Local, Phase: policy.Command, Op: "create", Path: target, Cause: policy.CauseSameName}
}

// names are the lines of --files-from.
func (m *many) names(a *app) (iter.Seq2[string, error], func(), error) {
	if m.filesFrom == "-" {
		return batch.Names(a.sys.stdin), func() {}, nil
	}
	f, err := os.Open(m.filesFrom)
	if err != nil {
		return nil, nil, policy.GiveUpOn("read "+policy.Sanitize(m.filesFrom), policy.LocalFault("open", m.filesFrom, err))
	}
	return batch.Names(io.Reader(f)), func() { _ = f.Close() }, nil
}

// task is a file to be dealt with.
type task func(context.Context) finished

// finished is a file that was dealt with.
type finished struct {
	outcome outcome
	err     error
}

// transferAll runs the tasks, n at a time, and tells their outcomes in order. A
// failure does not stop the others, unless they would meet the same end. The
// error is nil when the tasks came to their end, whatever became of them.
func (a *app) transferAll(ctx context.Context, n int, failFast bool, produce func(ctx context.Context, yield func(task) error) error) error {
	stopped, unwanted, dropped := false, false, false
	err := batch.Ordered(ctx, n, func(ctx context.Context, yield func(task) error) error {
		return produce(ctx, func(t task) error {
			err := yield(t)
			unwanted = unwanted || err != nil
			return err
		})
	}, func(ctx context.Context, t task) finished {
		return t(ctx)
	}, func(f finished) error {
		if stopped && f.err != nil {
			dropped = true
			return nil // it was stopped, or met the same end
		}
		if f.outcome.Op == "" {
			return nil // there was nothing to do
		}
		a.report.file(f.outcome, f.err)
		if stopped = stopped || isHopeless(f.err) || failFast && f.err != nil; stopped {
			return a.report.err()
		}
		return nil
	})
	if stopped && (unwanted || dropped) {
		a.out.log.Warn("stopped: the other files were not transferred")
	}
	return err
}

// follow gives the observer of one of the files: a bar of its own, or its part
// of the total.
type follow func(name string, size int64) (transfer.Observer, func())

// follower chooses how to draw.
func (a *app) follower(n int) (f follow, end func()) {
	if n > 1 {
		t := &totals{bars: a.bars}
		return t.follow, t.end
	}
	return func(name string, _ int64) (transfer.Observer, func()) { return a.bars.follow(name) }, func() {}
}

// pool gives the connections to the place's server, up to n.
func (a *app) pool(p place, e *policy.Engine, n int) *batch.Links {
	if a.shared != nil {
		return a.shared.pool(a, p, e)
	}
	dial := a.dialer(p)
	links := batch.NewLinks(p.loc, func() *transfer.Link { return a.newLink(p, dial) }, e, n)
	a.pools = append(a.pools, links)
	return links
}

// isHopeless says whether the command's other files would meet the same end: the
// login is refused or there is nothing to log in with, the server can't be trusted
// or reached, the person interrupted.
func isHopeless(err error) bool {
	if err == nil {
		return false
	}
	v, f := verdictOf(err), policy.FaultOf(err)
	return v.Login || f.Phase == policy.Auth && v.Remedy == policy.GiveUp || v.Kind == policy.KindTrust || v.Kind == policy.KindHost || v.Kind == policy.KindCancelled ||
		f.Phase == policy.Connect && f.Protocol != policy.Local
}

// interrupted is the failure of what was not begun when the context ended.
func (a *app) interrupted(ctx context.Context, name string) error {
	return policy.GiveUpOn(name, policy.LocalFault("wait", "", ctx.Err()))
}
