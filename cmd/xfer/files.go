package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

func (a *app) mkdirCommand() *cobra.Command {
	var parents bool
	cmd := &cobra.Command{
		Use:   "mkdir URL…",
		Short: "Make directories",
		Args:  atLeast(1, "mkdir needs a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "mkdir", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				if parents {
					return transfer.MkdirAll(ctx, l, e, name, strings.TrimRight(p.loc.Path, "/"))
				}
				return transfer.Mkdir(ctx, l, e, name, p.loc.Path)
			})
		},
	}
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "make missing parents too, and be content if it exists")
	return cmd
}

func (a *app) rmCommand() *cobra.Command {
	var recursive, force bool
	cmd := &cobra.Command{
		Use:   "rm URL…",
		Short: "Delete files",
		Long:  "Delete files. The path may be a pattern; directories go with -r only.",
		Args:  atLeast(1, "rm needs a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "rm", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				err := a.rm(ctx, e, l, name, p.loc.Path, recursive)
				if force && transfer.IsMissing(err) {
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories and what is in them")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "be content if it is not there")
	return cmd
}

// rm deletes what a path or pattern names.
func (a *app) rm(ctx context.Context, e *policy.Engine, l *transfer.Link, name, pattern string, recursive bool) error {
	paths, err := batch.Match(ctx, l, e, name, pattern)
	if err != nil {
		return err
	}
	for _, path := range paths {
		remove := transfer.Remove
		if recursive {
			remove = batch.RemoveAll
		}
		if err := remove(ctx, l, e, name, path); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) mvCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mv URL NEW",
		Short: "Rename a file on the server",
		Long: `Rename a file on the server. NEW is a URL of the same server, or just the new path
(relative ones start where URL's directory is). An existing NEW is replaced where
the server can do that.`,
		Args: exactly(2, "mv needs the old and the new name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "mv", args[:1], func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				to, err := a.newName(p, args[1])
				if err != nil {
					return err
				}
				if info, err := transfer.Stat(ctx, l, e, name, to); err == nil && info.IsDir() {
					_, base := transfer.Split(p.loc.Path)
					to = transfer.Join(to, base)
				}
				return transfer.Rename(ctx, l, e, name, p.loc.Path, to, true)
			})
		},
	}
}

// newName reads the second argument of mv.
func (a *app) newName(from place, arg string) (string, error) {
	if !isRemote(arg) {
		if err := transfer.ValidPath(arg); err != nil {
			return "", usageError{err}
		}
		if strings.HasPrefix(arg, "/") {
			return arg, nil
		}
		dir, _ := transfer.Split(from.loc.Path)
		return transfer.Join(dir, arg), nil
	}
	to, err := a.place(arg)
	if err != nil {
		return "", err
	}
	if to.loc.Server() != from.loc.Server() || to.loc.User != from.loc.User {
		return "", usagef("mv renames on one server; copy to another with get and put")
	}
	return to.loc.Path, nil
}

func (a *app) catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat URL…",
		Short: "Write files to stdout",
		Args:  atLeast(1, "cat needs a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "cat", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				paths, err := batch.Match(ctx, l, e, name, p.loc.Path)
				for _, path := range paths {
					job := transfer.Job{Direction: transfer.Get, Remote: path, Local: "-", Out: a.sys.stdout}
					if _, err := transfer.Run(ctx, l, job, e, transfer.Observer{}); err != nil {
						return err
					}
				}
				return err
			})
		},
	}
}

// exactly is cobra.ExactArgs with a sentence.
func exactly(n int, text string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s: xfer %s", text, cmd.Use)
		}
		return nil
	}
}
