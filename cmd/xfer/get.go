package main

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

func (a *app) getCommand() *cobra.Command {
	var m many
	cmd := &cobra.Command{
		Use:   "get SRC… [DST]",
		Short: "Download files",
		Long: `Download files. Each arrives under a temporary name beside the target and is renamed
when it is complete and on the disk. Run again to resume.

Without DST, or when DST ends in / or is a directory, files keep their names. The
path of SRC may be a pattern: sftp://partner.example/out/*.csv
With --files-from, SRC is the directory that the listed paths are in.
` + selectionHelp,
		Example: `  xfer get sftp://acme@partner.example/out/report.csv
  xfer get 'acme:out/*.csv' incoming/
  xfer get -r acme:out backup`,
		Args: atLeast(1, "get needs a source"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dst := "."
			if n := len(args) - 1; n > 0 && !isRemote(args[n]) {
				dst, args = args[n], args[:n]
			}
			if len(args) > 1 && m.filesFrom != "" {
				return usagef("--files-from takes one SRC, the directory that the listed paths are in")
			}
			if dst == "-" {
				return usagef("get writes files; for stdout use: xfer cat %s; for a file of that name: ./-", policy.ShellQuote(shown(args[0])))
			}
			return a.get(cmd.Context(), args, dst, &m)
		},
	}
	a.copyFlags(cmd, &m)
	cmd.Flags().BoolVar(&m.inPlace, "in-place", false, "write the local target itself, where it can't be replaced; a failure leaves it partial")
	optional(cmd.Flags(), &a.flags.options.OnExists, "on-exists", "when the target exists: `replace`, skip, fail, rename, newer (default replace)")
	return cmd
}

// get downloads sources below or onto dst.
func (a *app) get(ctx context.Context, sources []string, dst string, m *many) error {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	places := make([]place, len(sources))
	for i, src := range sources {
		p, err := a.place(src)
		if err != nil {
			return err
		}
		places[i] = p
	}
	engine, err := a.engine()
	if err != nil {
		return err
	}
	paths := make([]string, len(places))
	for i, p := range places {
		paths[i] = p.loc.Path
	}
	keep := slices.ContainsFunc(places, func(p place) bool { return *p.opt.Ledger })
	endRun, err := a.openBooks(ctx, keep, m.resend, CommandLine{Do: "get", Source: places[0].loc.WithPath("").String(), Destination: dst})
	if err != nil {
		return err
	}
	defer endRun()
	n := 1
	if m.several(paths) {
		n = m.atOnce(places...)
	} else {
		places[0].ssh.Need, places[0].ssh.Early = -1, *places[0].opt.Verify != transfer.VerifyHash
	}
	d := download{app: a, dst: dst, turns: m.turns(), taken: m.taken(paths), parents: m.filesFrom != "", inPlace: m.inPlace, alone: !m.several(paths), newDir: newDir{app: a}}
	below := d.parents || len(sources) > 1 || os.IsPathSeparator(dst[len(dst)-1]) || batch.HasPattern(paths[0])
	info, statErr := os.Stat(dst)
	switch {
	case statErr == nil && info.IsDir():
		d.into = true
		m.sel.Bare = m.sel.Recursive && !below && d.newDir.resumes(ctx, places[0].loc.String(), absolute(dst))
	case below:
		d.into = true
		if err := os.MkdirAll(dst, 0o777); err != nil {
			return policy.GiveUpOn("get "+shown(sources[0]), policy.LocalFault("mkdir", dst, err))
		}
	case m.sel.Recursive:
		d.into, m.sel.Bare = true, true
		d.newDir.plan(places[0].loc.String(), absolute(dst))
	}
	var end func()
	d.follow, end = a.follower(n)
	defer end()
	pools := map[string]*batch.Links{}
	err = a.transferAll(ctx, n, m.failFast, func(ctx context.Context, yield func(task) error) error {
		for _, p := range places {
			key := p.login()
			if pools[key] == nil {
				pools[key] = m.links(a, p, engine, n)
			}
			from := d
			from.links, from.from = pools[key], p
			if err := from.source(ctx, m, yield); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case ctx.Err() != nil && err != nil && a.report.failed == 0:
		return a.interrupted(ctx, "get "+shown(sources[0]))
	case err != nil:
		return err
	}
	if err := a.report.err(); err != nil {
		return err
	}
	d.newDir.complete(ctx)
	return nil
}

// download is one source of a get command.
type download struct {
	app    *app
	links  *batch.Links
	from   place
	dst    string
	follow follow
	turns  turns
	taken  taken
	// into and parents are as in upload.
	into, parents bool
	inPlace       bool
	// alone: the person named the file, and so means what a symbolic link leads to;
	// in a tree a link that is in the way of a file is replaced.
	alone  bool
	newDir newDir
}

// source makes tasks of what the source names.
func (d *download) source(ctx context.Context, m *many, yield func(task) error) error {
	path := d.from.loc.Path
	name := "get " + policy.Sanitize(path)
	each := func(e batch.Entry) error { return d.entry(ctx, e, yield) }
	var err error
	if m.filesFrom == "" {
		err = batch.Remote(ctx, d.links, name, path, m.sel, each)
	} else {
		names, done, openErr := m.names(d.app)
		if openErr != nil {
			return openErr
		}
		defer done()
		err = batch.RemoteBelow(ctx, d.links, name, path, names, m.sel, each)
	}
	if _, gaveUp := errors.AsType[*policy.GaveUp](err); !gaveUp || ctx.Err() != nil {
		return err
	}
	return yield(func(context.Context) finished { return d.finished(path, d.dst, transfer.Result{}, err) })
}

// target is the local path of an entry.
func (d *download) target(e batch.Entry) (string, error) {
	if !d.into || e.Rel == "" {
		return d.dst, nil
	}
	local, err := transfer.Localize("create", e.Rel)
	if err != nil {
		return "", err
	}
	return filepath.Join(d.dst, local), nil
}

// entry makes a directory at once, because files are to go into it, and a task
// of everything else.
func (d *download) entry(ctx context.Context, e batch.Entry, yield func(task) error) error {
	target, err := d.target(e)
	again, takenErr := d.taken.take(e, d.from.loc.WithPath(e.Path).String(), target)
	if again {
		return nil
	}
	if err == nil {
		err = takenErr
	}
	if e.Err != nil {
		err = e.Err
	}
	if err == nil && (e.Dir || d.parents) {
		dir := target
		if !e.Dir {
			dir = filepath.Dir(target)
		}
		if e.Rel == "" {
			d.newDir.make(ctx)
		}
		if err = os.MkdirAll(dir, 0o777); err != nil {
			err = policy.LocalFault("mkdir", dir, err)
		}
	}
	switch {
	case err != nil:
		if yieldErr := yield(func(context.Context) finished { return d.finished(e.Path, target, transfer.Result{}, err) }); yieldErr != nil {
			return yieldErr
		}
		if e.Dir {
			return batch.SkipDir // what is in it would meet the same end
		}
		return nil
	case e.Dir:
		return nil
	case e.Link != "":
		return yield(func(context.Context) finished { return d.symlink(e, target) })
	}
	return yield(func(ctx context.Context) finished { return d.run(ctx, e, target) })
}

func (d *download) run(ctx context.Context, e batch.Entry, target string) finished {
	if d.alone {
		target = transfer.ThroughLinks(target)
	}
	job := transfer.Job{Direction: transfer.Get, Remote: e.Path, Listed: e.Info, Local: target, Lock: d.app.locks().Lock}
	d.from.opt.apply(&job)
	job.InPlace = d.inPlace
	defer d.turns.take(ctx, e.Size)()
	observer, done := d.follow(path.Base(e.Path), e.Size)
	defer done()
	var result transfer.Result
	err := d.links.Use(ctx, job.Name(), func(ctx context.Context, l *transfer.Link, engine *policy.Engine) (err error) {
		result, err = d.app.deliver(ctx, l, job, engine, observer)
		return err
	})
	if result.Local == "" {
		result.Local = target // it never got a connection
	}
	f := d.finished(e.Path, result.Local, result, e.Failure(job.Name(), err))
	f.outcome.noted = d.app.books.notes(job)
	return f
}

// symlink makes a link in the place of another link, never of a file.
func (d *download) symlink(e batch.Entry, target string) finished {
	if info, err := os.Lstat(target); err == nil && info.Mode()&os.ModeSymlink != 0 {
		_ = os.Remove(target) // if it can't be, the next line says so
	}
	err := os.Symlink(filepath.FromSlash(e.Link), target)
	if err != nil {
		err = policy.LocalFault("create", target, err)
	}
	return d.finished(e.Path, target, transfer.Result{}, err)
}

func (d *download) finished(source, target string, r transfer.Result, err error) finished {
	return finished{transferred(transfer.Get, d.from.loc.WithPath(source).String(), target, r, err), err}
}
