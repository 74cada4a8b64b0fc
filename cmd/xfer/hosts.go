package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// hostRecord is what is remembered of one server, as --json prints it.
type hostRecord struct {
	Server string          `json:"server"`
	Facts  []factRecord    `json:"facts,omitempty"`
	Closed []refusalRecord `json:"closed_logins,omitempty"`
}

type factRecord struct {
	Name    string    `json:"name"`
	Value   string    `json:"value"`
	Reason  string    `json:"reason,omitempty"`
	Learned time.Time `json:"learned"`
	Until   time.Time `json:"until"`
}

type refusalRecord struct {
	User  string    `json:"user"`
	Said  string    `json:"said"`
	Since time.Time `json:"since"`
}

func hostRecordOf(h ledger.Host) hostRecord {
	r := hostRecord{Server: h.Server}
	for _, name := range slices.Sorted(maps.Keys(h.Facts)) {
		f := h.Facts[name]
		r.Facts = append(r.Facts, factRecord{name, f.Value, f.Reason, f.At.UTC(), f.At.Add(transfer.FactLifetime).UTC()})
	}
	for _, c := range h.Refusals {
		r.Closed = append(r.Closed, refusalRecord{c.User, c.Said, c.At.UTC()})
	}
	return r
}

func (a *app) hostsCommand() *cobra.Command {
	show := func(cmd *cobra.Command, args []string) error { return a.showHosts(cmd.Context(), args) }
	cmd := &cobra.Command{
		Use:   "hosts",
		Short: "Show or forget what was learned about servers",
		Long: `Show or forget what was learned about servers: the mode and the commands that work,
how many connections a server bears, and logins that it refused. Facts are believed
for 7 days. A login that was refused is closed for all xfer processes of this user,
so that no cron job locks the account; a changed password or key is used at once.

HOST is a host, host:port, URL or site.`,
		Args: exactly(0, "hosts takes show or forget"),
		RunE: show,
	}
	cmd.AddCommand(&cobra.Command{Use: "show [HOST…]", Short: "Show what is remembered", RunE: show})
	var all bool
	forget := &cobra.Command{
		Use:   "forget HOST… | --all",
		Short: "Forget what is remembered, and open closed logins",
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("hosts forget takes either hosts or --all")
			}
			return a.forgetHosts(cmd.Context(), args)
		},
	}
	forget.Flags().BoolVar(&all, "all", false, "everything about every server")
	cmd.AddCommand(forget)
	return cmd
}

// hosts are those that the arguments name, all without arguments.
func (a *app) hosts(ctx context.Context, args []string) ([]ledger.Host, error) {
	all, err := a.state.ledger().Hosts(ctx)
	if err != nil {
		return nil, policy.GiveUpOn("hosts", policy.FaultOf(err))
	}
	if len(args) == 0 {
		return all, nil
	}
	var chosen []ledger.Host
	for _, arg := range args {
		found, err := a.named(all, arg)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			_, _ = fmt.Fprintf(a.report.stderr, "nothing is remembered about %s\n", shown(arg))
		}
		chosen = append(chosen, found...)
	}
	return chosen, nil
}

// named are those that an argument means: a host, host:port, URL or site.
func (a *app) named(hosts []ledger.Host, arg string) ([]ledger.Host, error) {
	found := slices.DeleteFunc(slices.Clone(hosts), func(h ledger.Host) bool {
		_, address, _ := strings.Cut(h.Server, "://")
		return !slices.Contains([]string{h.Server, address, hostOf(h.Server)}, arg)
	})
	cfg, err := a.config()
	if err != nil || len(found) > 0 {
		return found, err
	}
	if _, isSite := cfg.Sites[arg]; isSite {
		arg += ":"
	}
	if !isRemote(arg) {
		return nil, nil
	}
	p, err := a.place(arg)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(hosts), func(h ledger.Host) bool { return h.Server != p.loc.Server() }), nil
}

func (a *app) showHosts(ctx context.Context, args []string) error {
	hosts, err := a.hosts(ctx, args)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		r := hostRecordOf(h)
		if a.flags.json {
			a.report.object(r)
			continue
		}
		_, _ = fmt.Fprintln(a.report.stdout, r.Server)
		for _, c := range r.Closed {
			_, _ = fmt.Fprintf(a.report.stdout, "  closed: the login of %s, refused on %s (%s); until it changes or: xfer hosts forget %s\n",
				policy.Sanitize(c.User), c.Since.Local().Format(time.DateTime), policy.Sanitize(c.Said), policy.ShellQuote(hostOf(r.Server)))
		}
		for _, f := range r.Facts {
			_, _ = fmt.Fprintf(a.report.stdout, "  %s = %s   since %s", policy.Sanitize(f.Name), policy.Sanitize(f.Value), f.Learned.Local().Format(time.DateTime))
			if f.Reason != "" {
				_, _ = fmt.Fprintf(a.report.stdout, " (%s)", policy.Sanitize(f.Reason))
			}
			_, _ = fmt.Fprintln(a.report.stdout)
		}
	}
	return nil
}

func (a *app) forgetHosts(ctx context.Context, args []string) error {
	hosts, err := a.hosts(ctx, args)
	if err != nil || len(hosts) == 0 {
		return err
	}
	servers := make([]string, len(hosts))
	for i, h := range hosts {
		servers[i] = h.Server
	}
	if err := a.state.ledger().Forget(ctx, servers...); err != nil {
		return policy.GiveUpOn("hosts forget", policy.FaultOf(err))
	}
	for _, s := range servers {
		if !a.flags.quiet && !a.flags.json {
			_, _ = fmt.Fprintln(a.report.stdout, "forgotten:", s)
		}
	}
	return nil
}
