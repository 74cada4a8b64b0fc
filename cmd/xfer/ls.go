package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

// entry is a file on a server as --json prints it.
type entry struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"` // file, directory, symlink, other, unreadable
	Size      *int64  `json:"size,omitempty"`
	Modified  string  `json:"modified,omitempty"` // RFC 3339, UTC
	Precision float64 `json:"precision_seconds,omitempty"`
	Mode      string  `json:"mode,omitempty"` // octal
	Owner     string  `json:"owner,omitempty"`
	Group     string  `json:"group,omitempty"`
	Link      string  `json:"link,omitempty"`
	Problem   string  `json:"problem,omitempty"`
}

func entryOf(i transfer.Info) entry {
	e := entry{Name: i.Name, Type: typeOf(i), Owner: i.Owner, Group: i.Group, Link: i.Link, Precision: i.Precision.Seconds()}
	if i.Size >= 0 && !i.IsDir() {
		e.Size = &i.Size
	}
	if !i.ModTime.IsZero() {
		e.Modified = i.ModTime.UTC().Format(time.RFC3339)
	}
	if i.HasPerm {
		e.Mode = fmt.Sprintf("%04o", i.Mode.Perm())
	}
	if i.Bad != nil {
		e.Problem = policy.Sanitize(i.Bad.Error())
	}
	return e
}

func typeOf(i transfer.Info) string {
	switch {
	case i.Bad != nil:
		return "unreadable"
	case i.IsDir():
		return "directory"
	case i.Mode&fs.ModeSymlink != 0:
		return "symlink"
	case i.IsRegular():
		return "file"
	default:
		return "other"
	}
}

func (a *app) lsCommand() *cobra.Command {
	var long, all bool
	cmd := &cobra.Command{
		Use:   "ls URL…",
		Short: "List a directory",
		Args:  atLeast(1, "ls needs a directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "ls", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				return a.ls(ctx, e, l, name, p.loc.Path, long, all)
			})
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with type, mode, owner, size and time")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "names that begin with . too")
	return cmd
}

// each does one thing to every server path of the arguments. A failure does not
// keep it from the others.
func (a *app) each(ctx context.Context, verb string, args []string, do func(context.Context, *policy.Engine, *transfer.Link, place, string) error) error {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	engine, err := a.engine()
	if err != nil {
		return err
	}
	places := make([]place, len(args))
	for i, arg := range args {
		if places[i], err = a.place(arg); err != nil {
			return err
		}
	}
	for _, p := range places {
		name := verb + " " + policy.Sanitize(p.loc.String())
		if err := do(ctx, engine, a.link(p), p, name); err != nil {
			a.problem(name, err)
			if isHopeless(err) {
				break
			}
		}
	}
	return a.report.err()
}

func (a *app) ls(ctx context.Context, e *policy.Engine, l *transfer.Link, name, path string, long, all bool) error {
	list, err := a.listing(ctx, e, l, name, path)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(x, y transfer.Info) int { return cmp.Compare(x.Name, y.Name) })
	w := tabwriter.NewWriter(a.report.stdout, 0, 0, 2, ' ', 0)
	for _, i := range list {
		switch {
		case i.Bad != nil:
			a.out.log.Warn("an entry can't be used", "name", policy.Sanitize(i.Name), "problem", i.Bad)
			if a.flags.json {
				a.report.object(entryOf(i))
			}
		case !all && strings.HasPrefix(i.Name, "."):
		case a.flags.json:
			a.report.object(entryOf(i))
		case long:
			if i.Mode&fs.ModeSymlink != 0 && i.Link == "" {
				i.Link = a.linkOf(ctx, l, transfer.Join(path, i.Name))
			}
			_, _ = fmt.Fprintln(w, longLine(i))
		default:
			_, _ = fmt.Fprintln(w, policy.Sanitize(i.Name))
		}
	}
	return w.Flush()
}

// linkOf says where a link leads, "" if the server does not tell: a listing is
// not spoilt by that.
func (a *app) linkOf(ctx context.Context, l *transfer.Link, path string) string {
	s, err := l.Session(ctx)
	if err != nil || s.Extras().Readlink == nil {
		return ""
	}
	target, _ := s.Extras().Readlink(ctx, path)
	return target
}

// listing gives the entries of a directory, the file itself, or what a pattern matches.
func (a *app) listing(ctx context.Context, e *policy.Engine, l *transfer.Link, name, path string) (list []transfer.Info, err error) {
	if batch.HasPattern(path) {
		paths, err := batch.Match(ctx, l, e, name, path)
		for _, p := range paths {
			info, err := transfer.Stat(ctx, l, e, name, p)
			if err != nil {
				return nil, err
			}
			info.Name = p
			list = append(list, info)
		}
		return list, err
	}
	list, err = transfer.List(ctx, l, e, name, path)
	if err == nil || isHopeless(err) {
		return list, err
	}
	if info, statErr := transfer.Stat(ctx, l, e, name, path); statErr == nil && !info.IsDir() {
		info.Name = path
		return []transfer.Info{info}, nil
	}
	return nil, err
}

// longLine is like ls -l, with the time in UTC and what is unknown as "?".
func longLine(i transfer.Info) string {
	mode, size, when := "?", "?", "?"
	if i.HasPerm {
		mode = i.Mode.String()
	} else {
		mode = i.Mode.Type().String()[:1] + "?????????"
	}
	if i.Size >= 0 {
		size = fmt.Sprint(i.Size)
	}
	if !i.ModTime.IsZero() {
		layout := "2006-01-02 15:04:05"
		if i.Precision >= time.Minute {
			layout = "2006-01-02 15:04"
		}
		if i.Precision >= 24*time.Hour {
			layout = "2006-01-02"
		}
		when = i.ModTime.UTC().Format(layout)
	}
	name := policy.Sanitize(i.Name)
	if i.Link != "" {
		name += " -> " + policy.Sanitize(i.Link)
	}
	return strings.Join([]string{mode, cmp.Or(policy.Sanitize(i.Owner), "?"), cmp.Or(policy.Sanitize(i.Group), "?"), size, when, name}, "\t")
}

func (a *app) statCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stat URL…",
		Short: "Describe a file",
		Args:  atLeast(1, "stat needs a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.each(cmd.Context(), "stat", args, func(ctx context.Context, e *policy.Engine, l *transfer.Link, p place, name string) error {
				info, err := transfer.Stat(ctx, l, e, name, p.loc.Path)
				if err != nil {
					return err
				}
				info.Name = p.loc.Path
				if a.flags.json {
					a.report.object(entryOf(info))
					return nil
				}
				_, err = fmt.Fprintln(a.report.stdout, strings.ReplaceAll(longLine(info), "\t", "  "))
				return err
			})
		},
	}
}
