package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// The commands of this file do what some servers offer and others don't.

// space is a file system as --json prints it.
type space struct {
	Path      string `json:"path"`
	Total     *int64 `json:"total,omitempty"`
	Free      *int64 `json:"free,omitempty"`
	FreeFiles *int64 `json:"free_files,omitempty"`
	ReadOnly  bool   `json:"read_only,omitempty"`
}

func (a *app) dfCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "df URL…",
		Short: "Show free space on the server",
		Long:  "Show what is free on the file system that holds the path, for this login.",
		Args:  atLeast(1, "df needs a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := tabwriter.NewWriter(a.report.stdout, 0, 0, 2, ' ', 0)
			if !a.flags.json {
				_, _ = fmt.Fprintln(w, "size\tfree\tfree files\tpath")
			}
			err := a.each(cmd.Context(), "df", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				s, err := transfer.DiskSpace(ctx, l, e, name, p.loc.Path)
				if err != nil {
					return err
				}
				if a.flags.json {
					a.report.object(space{p.loc.Path, known(s.Total), known(s.Free), known(s.FreeFiles), s.ReadOnly})
					return nil
				}
				note := ""
				if s.ReadOnly {
					note = "  (read-only)"
				}
				_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s%s\n", bytesOrUnknown(s.Total), bytesOrUnknown(s.Free), countOrUnknown(s.FreeFiles),
					policy.Sanitize(p.loc.String()), note)
				return err
			})
			_ = w.Flush() // stdout remembers a failure
			return err
		},
	}
}

func known(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func bytesOrUnknown(n int64) string {
	if n < 0 {
		return "?"
	}
	return byteCount(n)
}

func countOrUnknown(n int64) string {
	if n < 0 {
		return "?"
	}
	return strconv.FormatInt(n, 10)
}

func (a *app) chmodCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "chmod MODE URL…",
		Short:   "Change the permission bits of files",
		Long:    "Change the permission bits of files. MODE is octal, as for chmod(1): 640, 0755.",
		Example: "  xfer chmod 640 acme:in/report.csv",
		Args:    atLeast(2, "chmod needs a mode and a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			mode, err := strconv.ParseUint(args[0], 8, 32)
			if err != nil || mode > 0o777 {
				return usagef("chmod: the mode is octal, from 000 to 777: %q", args[0])
			}
			return a.each(cmd.Context(), "chmod", args[1:], func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				return transfer.Chmod(ctx, l, e, name, p.loc.Path, fs.FileMode(mode))
			})
		},
	}
}

func (a *app) lnCommand() *cobra.Command {
	var symbolic bool
	cmd := &cobra.Command{
		Use:   "ln -s TARGET URL",
		Short: "Make a symbolic link on the server",
		Long: `Make URL a symbolic link to TARGET, a path of the server that is stored as it is:
a relative one starts where the link is.`,
		Example: "  xfer ln -s report-2024.csv acme:in/latest.csv",
		Args:    exactly(2, "ln needs a target and the name of the link"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !symbolic {
				return usagef("ln makes symbolic links only: xfer ln -s TARGET URL")
			}
			return a.each(cmd.Context(), "ln", args[1:], func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				return transfer.Symlink(ctx, l, e, name, args[0], p.loc.Path)
			})
		},
	}
	cmd.Flags().BoolVarP(&symbolic, "symbolic", "s", false, "a symbolic link")
	return cmd
}

func (a *app) readlinkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "readlink URL…",
		Short: "Show where symbolic links lead",
		Args:  atLeast(1, "readlink needs a link"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "readlink", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				target, err := transfer.Readlink(ctx, l, e, name, p.loc.Path)
				if err != nil {
					return err
				}
				if a.flags.json {
					a.report.object(map[string]string{"path": p.loc.Path, "target": target})
					return nil
				}
				_, err = fmt.Fprintln(a.report.stdout, policy.Sanitize(target))
				return err
			})
		},
	}
}

func (a *app) hashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash URL…",
		Short: "Have the server compute checksums",
		Long: `Have the server compute checksums of files, with the best algorithm that it has. To
compute one here instead: xfer cat URL | sha256sum`,
		Args: atLeast(1, "hash needs a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "hash", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				d, err := transfer.Checksum(ctx, l, e, name, p.loc.Path)
				if err != nil {
					return err
				}
				sum := hex.EncodeToString(d.Sum)
				if a.flags.json {
					a.report.object(map[string]string{"path": p.loc.Path, "algorithm": d.Algorithm, "digest": sum})
					return nil
				}
				_, err = fmt.Fprintf(a.report.stdout, "%s (%s) = %s\n", d.Algorithm, policy.Sanitize(p.loc.String()), sum)
				return err
			})
		},
	}
}

// modeFlags binds the flags about the permission bits of copies.
func (a *app) modeFlags(f *pflag.FlagSet) {
	f.BoolFuncP("preserve", "p", "give the copy the source's permission bits too", func(s string) error {
		given, err := strconv.ParseBool(s)
		a.flags.options.Modes = &given
		return err
	})
	optional(f, &a.flags.options.Chmod, "chmod", "give the copy these permission bits: `MODE` in octal")
}
