package main

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

func (a *app) getCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "get SRC… [DST]",
		Short: "Download files",
		Long: `Download files. Each arrives under a temporary name beside the target and is renamed
when it is complete and on the disk. Run again to resume.

Without DST, or when DST ends in / or is a directory, files keep their names. The
path of SRC may be a pattern: sftp://partner.example/out/*.csv`,
		Example: `  xfer get sftp://acme@partner.example/out/report.csv
  xfer get 'acme:out/*.csv' incoming/
  xfer get -r acme:out backup`,
		Args: atLeast(1, "get needs a source"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dst := "."
			if n := len(args) - 1; n > 0 && !isRemote(args[n]) {
				dst, args = args[n], args[:n]
			}
			return a.get(cmd.Context(), args, dst, recursive)
		},
	}
	a.copyFlags(cmd, &recursive)
	optional(cmd.Flags(), &a.flags.options.OnExists, "on-exists", "when the target exists: `replace`, skip, fail, rename, newer (default replace)")
	return cmd
}

// get downloads sources below or onto dst.
func (a *app) get(ctx context.Context, sources []string, dst string, recursive bool) error {
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
	d := &download{app: a, engine: engine, dst: dst}
	info, statErr := os.Stat(dst)
	switch {
	case statErr == nil && info.IsDir():
		d.into = true
	case len(sources) > 1 || os.IsPathSeparator(dst[len(dst)-1]) || batch.HasPattern(places[0].loc.Path):
		d.into = true
		if err := os.MkdirAll(dst, 0o777); err != nil {
			return policy.GiveUpOn("get "+policy.Sanitize(sources[0]), policy.LocalFault("mkdir", dst, err))
		}
	case recursive:
		d.into, d.strip = true, true
	}
	for _, p := range places {
		d.link, d.from = a.link(p), p
		name := "get " + policy.Sanitize(p.loc.Path)
		err := batch.Remote(ctx, d.link, engine, name, p.loc.Path, recursive, func(e batch.Entry) error { return d.entry(ctx, e) })
		if err == nil {
			continue
		}
		if _, told := err.(errFailed); told {
			return err
		}
		d.tell(p.loc.Path, dst, transfer.Result{}, err)
		if isHopeless(err) {
			break
		}
	}
	return a.report.err()
}

// download is one get command.
type download struct {
	app    *app
	link   *transfer.Link
	engine *policy.Engine
	from   place
	dst    string
	// into and strip are as in upload.
	into, strip bool
}

// target is the local path of an entry. A name that would leave the directory,
// or that this system can't hold, is refused.
func (d *download) target(e batch.Entry) (string, error) {
	if !d.into {
		return d.dst, nil
	}
	rel := e.Rel
	if d.strip {
		_, rel, _ = strings.Cut(rel, "/")
	}
	if rel == "" {
		return d.dst, nil
	}
	local, err := filepath.Localize(rel)
	if err != nil {
		return "", &policy.Fault{
			Protocol: policy.Local, Phase: policy.Command, Op: "create", Path: rel,
			Cause: policy.CauseLocalName, Text: "this system can't hold the name", Err: err,
		}
	}
	return filepath.Join(d.dst, local), nil
}

// entry downloads one file, or makes one directory.
func (d *download) entry(ctx context.Context, e batch.Entry) error {
	target, err := d.target(e)
	switch {
	case ctx.Err() != nil:
		return d.app.interrupted(ctx, "get "+policy.Sanitize(e.Path))
	case e.Err != nil:
		err = e.Err
	case err == nil && e.Dir:
		if err = os.MkdirAll(target, 0o777); err == nil {
			return nil
		}
		err = policy.LocalFault("mkdir", target, err)
	}
	if err != nil {
		d.tell(e.Path, target, transfer.Result{}, err)
		return nil
	}

	job := transfer.Job{Direction: transfer.Get, Remote: e.Path, Local: target, Lock: d.app.locks().Lock}
	d.from.opt.apply(&job)
	observer, done := d.app.bars.follow(path.Base(e.Rel))
	result, err := transfer.Run(ctx, d.link, job, d.engine, observer)
	done()
	d.tell(e.Path, result.Local, result, err)
	if isHopeless(err) {
		return d.app.report.err()
	}
	return nil
}

func (d *download) tell(source, target string, r transfer.Result, err error) {
	d.app.report.file(transferred(transfer.Get, d.from.loc.WithPath(source).String(), target, r, err), err)
}
