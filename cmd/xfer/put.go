package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

func (a *app) putCommand() *cobra.Command {
	var m many
	cmd := &cobra.Command{
		Use:   "put SRC… DST",
		Short: "Upload files",
		Long: `Upload files. Each is sent under a temporary name in the target directory,
verified, and renamed onto its final name, so that nobody sees half a file and a
failed upload leaves an existing target as it was. Run again to resume.

With several sources, or a DST that ends in / or is a directory, files keep their
names below DST. SRC may be a pattern ("*.csv", "**/*.csv"), or - for stdin.
With --files-from, SRC is the directory (default .) that the listed paths are in.
` + selectionHelp,
		Example: `  xfer put report.csv sftp://acme@partner.example/in/
  xfer put -r out/ acme:in
  xfer put -r --include '*.csv' --newer-than 2d out/ acme:in
  mysqldump db | xfer put - acme:backup/db.sql`,
		Args: atLeast(1, "put needs a source and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := len(args) - 1
			switch {
			case n == 0 && m.filesFrom == "":
				return usagef("put needs a source and a destination: xfer %s", cmd.Use)
			case n == 0:
				args, n = []string{".", args[0]}, 1
			case n > 1 && m.filesFrom != "":
				return usagef("--files-from takes one SRC, the directory that the listed paths are in")
			}
			return a.put(cmd.Context(), args[:n], args[n], &m)
		},
	}
	a.copyFlags(cmd, &m)
	optional(cmd.Flags(), &a.flags.options.OnExists, "on-exists", "when the target exists: `replace`, skip, fail, rename, newer (default replace)")
	optionalBool(cmd.Flags(), &a.flags.options.InPlace, "in-place", true, "write the target itself, for servers that refuse to rename; a failure leaves it partial")
	optionalBool(cmd.Flags(), &a.flags.options.Parents, "parents", true, "make missing directories of the target")
	return cmd
}

// put uploads sources below or onto dst.
func (a *app) put(ctx context.Context, sources []string, dst string, m *many) error {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	to, err := a.place(dst)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(sources, isURL) {
		return usagef("put copies local files to a server; a source is a URL: use get")
	}
	engine, err := a.engine()
	if err != nil {
		return err
	}
	endRun, err := a.openBooks(ctx, *to.opt.Ledger, m.resend, CommandLine{Do: "put", Source: sources[0], Destination: to.loc.WithPath("").String()})
	if err != nil {
		return err
	}
	defer endRun()
	n := 1
	if m.several(sources) {
		n = m.atOnce(to)
	} else {
		to.ssh.Need, to.ssh.Early = sizeOf(sources[0]), *to.opt.Verify != transfer.VerifyHash
	}
	u := &upload{app: a, links: m.links(a, to, engine, n), to: to, turns: m.turns(), taken: m.taken(sources), newDir: newDir{app: a}}
	name := "put " + shown(sources[0])
	if err := u.aim(ctx, name, dst, sources, m); err != nil {
		return err
	}
	var end func()
	u.follow, end = a.follower(n)
	defer end()
	if len(sources) == 1 && sources[0] == "-" {
		return u.stream(ctx)
	}
	err = a.transferAll(ctx, n, m.failFast, func(ctx context.Context, yield func(task) error) error {
		each := func(e batch.Entry) error { return u.entry(ctx, e, yield) }
		if m.filesFrom == "" {
			return batch.Local(ctx, slices.Values(sources), m.sel, each)
		}
		names, done, err := m.names(a)
		if err != nil {
			return err
		}
		defer done()
		return batch.Below(ctx, sources[0], names, m.sel, each)
	})
	switch {
	case ctx.Err() != nil && err != nil && a.report.failed == 0:
		return a.interrupted(ctx, name)
	case err != nil:
		return err
	}
	if err := a.report.err(); err != nil {
		return err
	}
	u.newDir.complete(ctx)
	return nil
}

// absolute is a local path whatever the working directory of the next run.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// upload is one put command.
type upload struct {
	app    *app
	links  *batch.Links
	to     place
	follow follow
	turns  turns
	taken  taken
	// into: files keep their names below to.loc.Path. parents: a directory may
	// have to be made for any file.
	into, parents bool
	made          string
	newDir        newDir
}

// aim finds out what DST is.
func (u *upload) aim(ctx context.Context, name, dst string, sources []string, m *many) error {
	path := u.to.loc.Path
	u.parents = m.filesFrom != ""
	u.into = u.parents || len(sources) > 1 || path == "." || path == "/" || strings.HasSuffix(dst, "/") || batch.HasPattern(sources[0])
	if u.into && sources[0] == "-" && len(sources) == 1 {
		return errStdinName
	}
	if *u.to.opt.Parents && u.into {
		return u.mkdirAll(ctx, name, strings.TrimRight(path, "/"))
	}
	if u.into {
		return nil
	}
	var info transfer.Info
	err := u.links.Use(ctx, name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) (err error) {
		info, err = transfer.Stat(ctx, l, e, name, path)
		return err
	})
	switch {
	case err == nil:
		u.into = info.IsDir()
		m.sel.Bare = u.into && m.sel.Recursive && u.newDir.resumes(ctx, absolute(sources[0]), u.to.loc.String())
	case transfer.IsMissing(err):
		m.sel.Bare = m.sel.Recursive
		u.newDir.plan(absolute(sources[0]), u.to.loc.String())
		u.into = m.sel.Recursive
	case verdictOf(err).Kind == policy.KindPermission && !verdictOf(err).Login:
		// Write-only directories are common with partners: looking is refused,
		// storing may not be.
	default:
		return err
	}
	if dir, _ := transfer.Split(path); *u.to.opt.Parents && !u.into && dir != "." {
		return u.mkdirAll(ctx, name, dir)
	}
	return nil
}

func (u *upload) mkdirAll(ctx context.Context, name, dir string) error {
	return u.links.Use(ctx, name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		return transfer.MkdirAll(ctx, l, e, name, dir)
	})
}

// target is where an entry goes.
func (u *upload) target(e batch.Entry) string {
	path := u.to.loc.Path
	if !u.into || e.Rel == "" {
		return path
	}
	return transfer.Join(path, e.Rel)
}

// entry makes a directory at once, because files are to go into it, and a task
// of everything else.
func (u *upload) entry(ctx context.Context, e batch.Entry, yield func(task) error) error {
	target := u.target(e)
	again, err := u.taken.take(e, filepath.Clean(e.Path), target)
	if again {
		return nil
	}
	if e.Err != nil {
		err = e.Err
	}
	if err == nil {
		err = u.directory(ctx, e, target)
	}
	switch {
	case err != nil:
		if yieldErr := yield(func(context.Context) finished { return u.finished(e.Path, target, transfer.Result{}, err) }); yieldErr != nil {
			return yieldErr
		}
		if e.Dir {
			return batch.SkipDir // what is in it would meet the same end
		}
		return nil
	case e.Dir:
		return nil
	case e.Link != "":
		return yield(func(ctx context.Context) finished { return u.symlink(ctx, e, target) })
	}
	return yield(func(ctx context.Context) finished {
		return u.run(ctx, transfer.Job{Local: e.Path, Remote: target}, e.Size)
	})
}

// directory makes the directory that an entry is or needs.
func (u *upload) directory(ctx context.Context, e batch.Entry, target string) error {
	dir := target
	if !e.Dir {
		dir, _ = transfer.Split(target)
	}
	if !e.Dir && !u.parents || dir == u.made {
		return nil
	}
	if e.Rel == "" {
		u.newDir.make(ctx)
	}
	err := u.mkdirAll(ctx, "mkdir "+policy.Sanitize(dir), dir)
	if err == nil {
		u.made = dir
	}
	return err
}

var errStdinName = usagef("put - needs the name of the target file, not a directory")

// stream uploads stdin.
func (u *upload) stream(ctx context.Context) error {
	if u.into {
		return errStdinName
	}
	f := u.run(ctx, transfer.Job{Local: "-", In: u.app.sys.stdin, Remote: u.to.loc.Path}, -1)
	u.app.report.file(f.outcome, f.err)
	return u.app.report.err()
}

func (u *upload) run(ctx context.Context, job transfer.Job, size int64) finished {
	job.Direction = transfer.Put
	u.to.opt.apply(&job)
	job.Lock = u.app.locks().Lock
	defer u.turns.take(ctx, size)()
	observer, done := u.follow(filepath.Base(job.Local), size)
	defer done()
	var result transfer.Result
	err := u.links.Use(ctx, job.Name(), func(ctx context.Context, l *transfer.Link, e *policy.Engine) (err error) {
		result, err = u.app.deliver(ctx, l, job, e, observer)
		return err
	})
	if result.Remote == "" {
		result.Remote = job.Remote // it never got a connection
	}
	f := u.finished(job.Local, result.Remote, result, err)
	f.outcome.noted = u.app.books.notes(job)
	return f
}

func (u *upload) symlink(ctx context.Context, e batch.Entry, target string) finished {
	name := "put " + policy.Sanitize(filepath.Base(e.Path))
	err := u.links.Use(ctx, name, func(ctx context.Context, l *transfer.Link, engine *policy.Engine) error {
		return batch.Symlink(ctx, l, engine, name, e.Link, target)
	})
	return u.finished(e.Path, target, transfer.Result{}, err)
}

func (u *upload) finished(source, target string, r transfer.Result, err error) finished {
	return finished{transferred(transfer.Put, source, u.to.loc.WithPath(target).String(), r, err), err}
}

// apply puts the options into a job.
func (o Options) apply(job *transfer.Job) {
	job.OnExists, job.InPlace = *o.OnExists, *o.InPlace
	job.NoResume, job.NoTimes, job.Verify = !*o.Resume, !*o.Times, *o.Verify
	job.KeepMode, job.Mode = *o.Modes, fs.FileMode(*o.Chmod)
}

// atLeast is cobra.MinimumNArgs with a sentence.
func atLeast(n int, text string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{fmt.Errorf("%s: xfer %s", text, cmd.Use)}
		}
		return nil
	}
}
