package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

// system is the world as the program sees it; tests hand in another.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string
	// inTerminal and errTerminal: a person sits at stdin, reads stderr.
	inTerminal, errTerminal bool
}

func osSystem() system {
	return system{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv,
		inTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// flags are the global ones that are no Options.
type flags struct {
	config, passwordFile string
	ledgerFile           string
	options              Options
	deadline             *Duration
	retries              *int
	verbose              int
	quiet, json          bool
	noProgress           bool
	logFormat            string
}

// output is how things are told.
type output struct {
	json, quiet, logJSON bool
	log                  *slog.Logger
}

// app is one run of the program.
type app struct {
	sys    system
	stdout *stdout // what sys.stdout is, of newApp
	flags  flags
	config func() (*Config, error)
	out    output
	report *report
	bars   *bars
	links  map[string]*transfer.Link
	pools  []*batch.Links
	state  state
	warned sync.Map // texts
	// observe, if set, is told of every remedy too.
	observe func(policy.Event)
	// told, if set, is given every outcome too.
	told func(outcome)
	// tally is of what this command itself transfers.
	tally tally
	// args are those of this command; recovery, if set, limits it to what was left
	// unfinished.
	args     []string
	recovery *recovery
	// books are set while put or get notes what it delivers.
	books *books
	// runID is the run of the ledger that this is part of, 0 for none.
	runID int64
	// until is when no transfer may be begun any more that would not be over then,
	// at so many bytes per second; zero is never.
	until time.Time
	pace  float64
	// shared are connections that outlive this command, nil for none.
	shared *sharedLinks
}

// run is the program. It returns the exit code.
func run(ctx context.Context, sys system, args []string) int { return newApp(sys).run(ctx, args) }

func newApp(sys system) *app {
	a := &app{stdout: &stdout{w: sys.stdout}, links: map[string]*transfer.Link{}}
	sys.stdout = a.stdout
	a.sys = sys
	a.config = sync.OnceValues(a.loadConfig)
	a.state.init(a)
	a.told, a.observe = a.tally.add, a.tally.remedy
	a.start()
	return a
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	a.args = args
	root.SetArgs(args)
	began := time.Now()
	cmd, err := root.ExecuteContextC(ctx)
	if _, told := errors.AsType[errFailed](err); !told {
		err = a.stdout.failure(cmd.Name(), err)
	}
	a.summarise(began, err)
	a.close(ctx)
	if _, told := errors.AsType[errFailed](err); err != nil && !told {
		a.tell(err)
	}
	return exitCode(ctx, err)
}

// tell reports an error that no command has reported.
func (a *app) tell(err error) {
	g, gaveUp := errors.AsType[*policy.GaveUp](err)
	switch kind := kindOf(err); {
	case gaveUp:
		a.report.failure(g.Op, err)
	case kind == policy.KindUsage:
		_, _ = fmt.Fprintf(a.sys.stderr, "xfer: %v\nnext: xfer help\n", err)
	case kind == policy.KindConfig:
		_, _ = fmt.Fprintf(a.sys.stderr, "xfer: %v\nnext: correct the file and check it with: xfer config check\n", err)
	default:
		a.report.failure("xfer", err)
	}
}

// problem reports an error that does not end the command.
func (a *app) problem(name string, err error) {
	_, gaveUp := errors.AsType[*policy.GaveUp](err)
	switch kind := kindOf(err); {
	case !gaveUp && (kind == policy.KindUsage || kind == policy.KindConfig):
		a.tell(err)
		a.report.failed++
		a.report.worst = worse(a.report.worst, kind)
	default:
		a.report.failure(name, err)
	}
}

// start prepares the output; it is called again when the flags are known.
func (a *app) start() {
	level := slog.LevelInfo
	switch {
	case a.flags.quiet:
		level = slog.LevelError
	case a.flags.verbose >= 2:
		level = slog.LevelDebug
	case a.sys.errTerminal && a.flags.verbose == 0:
		level = slog.LevelWarn // the progress bar and stdout tell the rest
	}
	opts := &slog.HandlerOptions{Level: level}
	a.bars = newBars(a.sys.stderr, a.sys.errTerminal && !a.flags.noProgress && !a.flags.quiet)
	var handler slog.Handler = slog.NewTextHandler(a.bars, opts)
	if a.flags.logFormat == "json" {
		handler = slog.NewJSONHandler(a.bars, opts)
	}
	a.out = output{json: a.flags.json, quiet: a.flags.quiet, logJSON: a.flags.logFormat == "json", log: slog.New(handler)}
	sys := a.sys
	sys.stdout, sys.stderr = a.bars.beside(a.sys.stdout), a.bars
	a.report = newReport(sys, a.out)
	a.report.told = a.told
}

func (a *app) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	kept := func(err error) {
		if err != nil {
			a.out.log.Warn("what was learned about the host could not be kept", "error", err)
		}
	}
	kept(a.disconnect(ctx))
	kept(a.state.close())
}

// disconnect ends the connections.
func (a *app) disconnect(ctx context.Context) error {
	var errs []error
	for _, l := range a.links {
		errs = append(errs, l.Close(ctx))
	}
	for _, p := range a.pools {
		errs = append(errs, p.Close(ctx))
	}
	return errors.Join(errs...)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "xfer",
		Short: "Transfer files over FTP, FTPS and SFTP, understanding the server's answer",
		Long: `xfer transfers files over FTP, FTPS and SFTP and understands the server's answer:
4xx is retried with growing delays, 425 switches between passive and active mode,
5xx fails at once, and SFTP's "Failure" is looked into until it has a cause.

A server is a URL (ftp://, ftpes://, ftps://, sftp://) or SITE:PATH for a [site.SITE]
of the configuration. Paths:
  ftp://host/a      a, from the login directory    ftp://host//a     /a
  sftp://host/a     /a                             sftp://host/~/a   a, from the login directory
  site:a            a, below the site's path       site:/a           /a
In a URL a literal % is written %25; * ? [ ] need no encoding.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: noSuchCommand,
		RunE: help,
		PersistentPreRunE: func(cmd *cobra.Command, args []string) error {
			a.start()
			return noneEmpty(cmd, args)
		},
	}
	root.SetIn(a.sys.stdin)
	root.SetOut(a.sys.stdout)
	root.SetErr(a.sys.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok && bad.GetFlag().Name == "proxy" {
			return usagef("--proxy: %w", bad.Unwrap()) // the value may hold a password
		}
		return usageError{err}
	})
	a.globalFlags(root)
	root.AddCommand(
		a.putCommand(), a.getCommand(), a.syncCommand(), a.moveCommand(), a.lsCommand(), a.statCommand(), a.mkdirCommand(), a.rmCommand(),
		a.mvCommand(), a.catCommand(), a.dfCommand(), a.chmodCommand(), a.lnCommand(), a.readlinkCommand(), a.hashCommand(),
		a.explainCommand(), a.demoCommand(), a.labCommand(), a.configCommand(),
		a.runCommand(), a.jobCommand(), a.batchCommand(), a.statusCommand(),
		a.hostsCommand(), a.historyCommand(), a.recoverCommand(), a.versionCommand(), exitCodesTopic(),
	)
	return root
}

// noneEmpty refuses what a script leaves whose variable is not set: it would mean
// the working directory, or that the flag was not given.
func noneEmpty(cmd *cobra.Command, args []string) error {
	if slices.Contains(args, "") && !cmd.Hidden { // the shell's completion asks with the word that is begun
		return usagef("%s: an argument is empty; was it to come from a variable that is not set?", cmd.Name())
	}
	if flag := emptyFlag(cmd); flag != "" {
		return usagef("%s: --%s is empty", cmd.Name(), flag)
	}
	return nil
}

// emptyFlag names a flag that was given without a value, "" if there is none.
func emptyFlag(cmd *cobra.Command) (name string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			name = f.Name
		}
	})
	return name
}

// noSuchCommand is the Args of a command that only has others below it.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q; did you mean %s?", shown(args[0]), near[0])
	}
	return usagef("unknown command %q", shown(args[0]))
}

// help is the RunE of such a command.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// globalFlags binds the flags that every command knows.
func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	o := &a.flags.options
	f.StringVar(&a.flags.config, "config", "", "configuration `FILE` (default ~/.config/xfer/config.toml)")
	optional(f, &o.Timeout, "timeout", "`TIME` that one phase may take: connect, reply, silence in the data (default 30s)")
	optional(f, &a.flags.deadline, "deadline", "`TIME` after which the whole command gives up (default none)")
	f.Func("retries", "`N` tries without progress before giving up, on top of the first (default 7)", func(s string) error {
		n, err := parseCount(s)
		a.flags.retries = &n
		return err
	})
	optional(f, &o.Mode, "mode", "FTP data `MODE` to try first: auto, passive, active; passive-only and active-only forbid the switch")
	optional(f, &o.CAFile, "ca-file", "PEM `FILE` of certificate authorities to trust instead of the system's")
	optional(f, &o.Proxy, "proxy", "`URL` of a proxy, socks5://[USER@]HOST:PORT or http://…, or none (default $ALL_PROXY and the like)")
	optional(f, &o.KnownHosts, "known-hosts", "`FILE` of SSH host keys (default ~/.ssh/known_hosts)")
	optional(f, &o.SSHConfig, "ssh-config", "configuration `FILE` of OpenSSH, or none (default ~/.ssh/config and the system's)")
	f.BoolFunc("accept-new", "accept and remember the SSH key of a host that is not known yet", func(string) error {
		o.HostKeys = new(HostKeysAcceptNew)
		return nil
	})
	f.Func("key", "SSH private key `FILE` (repeatable)", func(s string) error {
		if o.Keys == nil {
			o.Keys = &[]string{}
		}
		*o.Keys = append(*o.Keys, s)
		return nil
	})
	f.StringVar(&a.flags.passwordFile, "password-file", "", "`FILE` with the password on its first line")
	optional(f, &o.LimitRate, "limit-rate", "bytes per second to and from a host, of all running xfer together: `RATE` such as 500k or 2M")
	f.StringVar(&a.flags.ledgerFile, "ledger-file", "", "`FILE` for what is remembered between runs (default ~/.local/state/xfer/ledger.db)")
	f.CountVarP(&a.flags.verbose, "verbose", "v", "tell more; twice: the conversation with the server")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "tell only failures")
	f.BoolVar(&a.flags.json, "json", false, "one JSON object per result on stdout")
	f.BoolVar(&a.flags.noProgress, "no-progress", false, "no progress bar")
	f.Func("log-format", "log lines on stderr as `text` or json (default text)", func(s string) error {
		if s != "text" && s != "json" {
			return errors.New("must be text or json")
		}
		a.flags.logFormat = s
		return nil
	})
}

// engine is the policy engine with the limits of configuration and flags.
func (a *app) engine() (*policy.Engine, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	limits, _ := cfg.Policy.limits() // the configuration was checked when it was read
	if a.flags.retries != nil {
		limits.Tries = *a.flags.retries + 1
		limits.Few = min(limits.Few, limits.Tries)
	}
	return &policy.Engine{Limits: limits, Observe: a.logEvent}, nil
}

// withDeadline limits the whole command.
func (a *app) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	d := a.flags.deadline
	if cfg, err := a.config(); d == nil && err == nil {
		d = cfg.Policy.Deadline
	}
	if d == nil || *d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Duration(*d))
}

// logEvent logs what the engine does about a fault.
func (a *app) logEvent(ev policy.Event) {
	if a.observe != nil {
		a.observe(ev)
	}
	if a.bars.active() {
		return // the bar shows it
	}
	attrs := []any{
		"job", ev.Op, "host", ev.Fault.Host, "op", ev.Fault.Op, "phase", ev.Fault.Phase.String(), "code", ev.Fault.Code,
		"text", ev.Fault.Said(), "rule", ev.Verdict.Rule, "remedy", ev.Remedy.String(), "try", ev.Try, "of", ev.Tries, "wait", ev.Delay.Round(time.Millisecond).String(),
	}
	if !ev.Deadline.IsZero() {
		attrs = append(attrs, "gives_up", ev.Deadline.Format(time.TimeOnly))
	}
	a.out.log.Warn("remedy", attrs...)
}

// noHome is the home directory of who has none, as in Debian's passwd. An empty
// one would make paths relative, and the configuration, which may name programs to
// run, that of whoever owns the working directory.
const noHome = "/nonexistent"

// home is an absolute path, always.
func (a *app) home() string {
	if h := a.sys.env("HOME"); filepath.IsAbs(h) {
		return h
	}
	return cmp.Or(auth.Home(), noHome)
}
