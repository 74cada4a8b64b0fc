package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

func (a *app) putCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "put SRC… DST",
		Short: "Upload files",
		Long: `Upload files. Each is sent under a temporary name in the target directory,
verified, and renamed onto its final name, so that nobody sees half a file and a
failed upload leaves an existing target as it was. Run again to resume.

With several sources, or a DST that ends in / or is a directory, files keep their
names below DST. SRC may be a pattern ("*.csv", "**/*.csv"), or - for stdin.`,
		Example: `  xfer put report.csv sftp://acme@partner.example/in/
  xfer put -r out/ acme:in
  mysqldump db | xfer put - acme:backup/db.sql`,
		Args: atLeast(2, "put needs a source and a destination"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := len(args) - 1
			return a.put(cmd.Context(), args[:n], args[n], recursive)
		},
	}
	a.copyFlags(cmd, &recursive)
	optional(cmd.Flags(), &a.flags.options.OnExists, "on-exists", "when the target exists: `replace`, skip, fail, rename, newer (default replace)")
	optionalBool(cmd.Flags(), &a.flags.options.InPlace, "in-place", true, "write the target itself, for servers that refuse to rename; a failure leaves it partial")
	optionalBool(cmd.Flags(), &a.flags.options.Parents, "parents", true, "make missing directories of the target")
	return cmd
}

// copyFlags binds what put and get have in common.
func (a *app) copyFlags(cmd *cobra.Command, recursive *bool) {
	cmd.Flags().BoolVarP(recursive, "recursive", "r", false, "copy directories and what is in them")
	optionalBool(cmd.Flags(), &a.flags.options.Resume, "no-resume", false, "start from zero even if an earlier run left a part")
	optionalBool(cmd.Flags(), &a.flags.options.Times, "no-times", false, "do not set the modification time")
}

// put uploads sources below or onto dst.
func (a *app) put(ctx context.Context, sources []string, dst string, recursive bool) error {
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
	u := &upload{app: a, link: a.link(to), engine: engine, to: to}
	name := "put " + policy.Sanitize(sources[0])
	if err := u.aim(ctx, name, dst, sources, recursive); err != nil {
		return err
	}
	if len(sources) == 1 && sources[0] == "-" {
		return u.stream(ctx)
	}
	if err := batch.Local(sources, recursive, func(e batch.Entry) error { return u.entry(ctx, e) }); err != nil {
		return err
	}
	return a.report.err()
}

// upload is one put command.
type upload struct {
	app    *app
	link   *transfer.Link
	engine *policy.Engine
	to     place
	// into: files keep their names below to.loc.Path. strip: the source's own
	// name is left out (put -r dir NEW makes NEW from dir, as cp does).
	into, strip bool
}

// aim finds out what DST is.
func (u *upload) aim(ctx context.Context, name, dst string, sources []string, recursive bool) error {
	path := u.to.loc.Path
	u.into = len(sources) > 1 || path == "." || path == "/" || strings.HasSuffix(dst, "/") || batch.HasPattern(sources[0])
	if *u.to.opt.Parents && u.into {
		return transfer.MkdirAll(ctx, u.link, u.engine, name, strings.TrimRight(path, "/"))
	}
	if u.into {
		return nil
	}
	info, err := transfer.Stat(ctx, u.link, u.engine, name, path)
	switch {
	case err == nil:
		u.into = info.IsDir()
	case transfer.IsMissing(err):
		u.strip = recursive
		u.into = recursive
	case verdictOf(err).Kind == policy.KindPermission && !verdictOf(err).Login:
		// Write-only directories are common with partners: looking is refused,
		// storing may not be.
	default:
		return err
	}
	if dir, _ := transfer.Split(path); *u.to.opt.Parents && !u.into && dir != "." {
		return transfer.MkdirAll(ctx, u.link, u.engine, name, dir)
	}
	return nil
}

// target is where an entry goes.
func (u *upload) target(e batch.Entry) string {
	path := u.to.loc.Path
	if !u.into {
		return path
	}
	rel := e.Rel
	if u.strip {
		_, rel, _ = strings.Cut(rel, "/")
	}
	if rel == "" {
		return path
	}
	return transfer.Join(path, rel)
}

// entry uploads one file, or makes one directory. Its failure does not stop the
// others; the end of the context does.
func (u *upload) entry(ctx context.Context, e batch.Entry) error {
	target := u.target(e)
	switch {
	case ctx.Err() != nil:
		return u.app.interrupted(ctx, "put "+policy.Sanitize(e.Path))
	case e.Err != nil:
		u.tell(e.Path, target, transfer.Result{}, e.Err)
		return nil
	case e.Dir:
		err := transfer.MkdirAll(ctx, u.link, u.engine, "mkdir "+policy.Sanitize(target), target)
		if err != nil {
			u.tell(e.Path, target, transfer.Result{}, err)
		}
		return nil
	}
	return u.run(ctx, transfer.Job{Local: e.Path, Remote: target})
}

// stream uploads stdin.
func (u *upload) stream(ctx context.Context) error {
	if u.into {
		return usagef("put - needs the name of the target file, not a directory")
	}
	if err := u.run(ctx, transfer.Job{Local: "-", In: u.app.sys.stdin, Remote: u.to.loc.Path}); err != nil {
		return err
	}
	return u.app.report.err()
}

func (u *upload) run(ctx context.Context, job transfer.Job) error {
	job.Direction = transfer.Put
	u.to.opt.apply(&job)
	job.Lock = u.app.locks().Lock
	observer, done := u.app.bars.follow(filepath.Base(job.Local))
	result, err := transfer.Run(ctx, u.link, job, u.engine, observer)
	done()
	u.tell(job.Local, result.Remote, result, err)
	if isHopeless(err) {
		return u.app.report.err()
	}
	return nil
}

func (u *upload) tell(source, target string, r transfer.Result, err error) {
	u.app.report.file(transferred(transfer.Put, source, u.to.loc.WithPath(target).String(), r, err), err)
}

// apply puts the options into a job.
func (o Options) apply(job *transfer.Job) {
	job.OnExists, job.InPlace = *o.OnExists, *o.InPlace
	job.NoResume, job.NoTimes = !*o.Resume, !*o.Times
}

// isHopeless says whether the command's other files would meet the same end: the
// login is refused, the server can't be trusted or reached, the person interrupted.
func isHopeless(err error) bool {
	if err == nil {
		return false
	}
	v, f := verdictOf(err), policy.FaultOf(err)
	return v.Login || v.Kind == policy.KindTrust || v.Kind == policy.KindHost || v.Kind == policy.KindCancelled ||
		f.Phase == policy.Connect && f.Protocol != policy.Local
}

// interrupted is the failure of what was not begun when the context ended.
func (a *app) interrupted(ctx context.Context, name string) error {
	return policy.GiveUpOn(name, policy.LocalFault("wait", "", ctx.Err()))
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
