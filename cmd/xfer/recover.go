package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// recovery is how a command deals with what an earlier run left unfinished, and
// with nothing else.
type recovery struct {
	apply     bool             // else only tell
	unsettled *batch.Unsettled // nil: as the command says
}

// written is a command as it is kept in the ledger, to be continued by recover.
type written struct {
	Dir    string   `json:"dir"`
	Config string   `json:"config,omitempty"`
	Args   []string `json:"args"`
}

// password is one in a URL: that is never written down.
var password = regexp.MustCompile(`://[^/@]*:[^/@]*@`)

// written is this command, "" when it holds a secret, or a name that is no UTF-8.
func (a *app) written() string {
	if slices.ContainsFunc(a.args, password.MatchString) || a.flags.options.Proxy.hasSecret() {
		return ""
	}
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for _, s := range append([]string{dir, a.flags.config}, a.args...) {
		if !utf8.ValidString(s) {
			return "" // JSON would make another name of it
		}
	}
	b, _ := json.Marshal(written{dir, a.flags.config, a.args}) // strings always can be
	return string(b)
}

func (a *app) recoverCommand() *cobra.Command {
	var r recovery
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Show what killed runs left unfinished, and finish it",
		Long: `Show what the next run of each move would do about the files that a killed run left
unfinished: finish what has arrived, send what has not, undo what has changed since,
report what nobody can tell. Both ends are looked at, nothing is changed.

With --apply it is done, as the command said that was killed, and in the directory
that it ran in; nothing new is picked up. What put and get with --ledger left
unfinished is given up: the files are at their source.`,
		Example: `  xfer recover
  xfer recover --apply --unsettled arrived`,
		Args: exactly(0, "recover takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun && r.apply {
				return usagef("recover: --dry-run and --apply exclude each other")
			}
			return a.recover(cmd.Context(), &r)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&dryRun, "dry-run", "n", false, "only show it (the default)")
	f.BoolVar(&r.apply, "apply", false, "do it")
	f.Func("unsettled", "what to do with a file that may have arrived: `hold`, resend, arrived (default as the move says)", func(s string) error {
		r.unsettled = new(batch.Unsettled)
		return r.unsettled.UnmarshalText([]byte(s))
	})
	return cmd
}

func (a *app) recover(ctx context.Context, r *recovery) error {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	left, err := a.state.ledger().Leftovers(ctx)
	if err != nil {
		return policy.GiveUpOn("recover", policy.FaultOf(err))
	}
	if len(left) == 0 {
		a.out.log.Info("nothing was left unfinished")
	}
	worst := policy.KindOK
	var moves []string // their keys: each is continued once, as it was last run
	commands := map[string]string{}
	for _, d := range left {
		command := batch.CommandOf(d)
		if command == "" {
			worst = worse(worst, a.recoverAlone(ctx, d, r))
			continue
		}
		if _, seen := commands[d.Job]; !seen {
			moves = append(moves, d.Job)
		}
		commands[d.Job] = command
	}
	for _, key := range moves {
		worst = worse(worst, kindOf(a.resume(ctx, commands[key], r)))
	}
	if worst != policy.KindOK {
		return errFailed{worst}
	}
	return nil
}

// recoverAlone deals with a file that no command can be continued for.
func (a *app) recoverAlone(ctx context.Context, d ledger.Delivery, r *recovery) policy.Kind {
	o := outcome{Op: "report", Source: d.Source, Target: d.Target, Status: "planned", Size: max(0, d.Size),
		Reason: "it came as far as " + d.Stage + "; the same command finishes it"}
	if end := batch.GiveUp(d, r.unsettled); r.apply && end != ledger.Unsettled {
		o.Op, o.Status, o.Reason = "recover", "done", string(end)
		ok, err := a.state.ledger().Adopt(ctx, d.ID)
		if err == nil && ok {
			err = a.state.ledger().Settle(ctx, d.ID, ledger.Result{Outcome: end})
		}
		if err != nil {
			err = policy.GiveUpOn("recover", policy.FaultOf(err))
			a.report.failure("recover "+policy.Sanitize(d.Source), err)
			return kindOf(err)
		}
	}
	a.report.file(o, nil)
	return policy.KindOK
}

// resume runs a command again, for what it left unfinished only.
func (a *app) resume(ctx context.Context, command string, r *recovery) error {
	var w written
	err := json.Unmarshal([]byte(command), &w)
	if err == nil {
		err = inDir(w.Dir, func() error {
			c := a.child()
			c.config = sync.OnceValues(c.loadConfig)
			c.recovery, c.args = r, w.Args
			return c.again(ctx, a.flags, w)
		})
	}
	if _, told := errors.AsType[errFailed](err); err != nil && !told {
		a.tell(err)
	}
	return err
}

// inDir runs f in another working directory: the paths of a command are relative
// to it.
func inDir(dir string, f func() error) error {
	here, err := os.Getwd()
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		return policy.GiveUpOn("recover", policy.LocalFault("open", dir, err))
	}
	defer func() { _ = os.Chdir(here) }() // if it is gone meanwhile, nobody needs it
	return f()
}

// again runs the command. How things are told is for the recovering one to say.
func (a *app) again(ctx context.Context, given flags, w written) error {
	root := a.rootCommand()
	a.flags = given
	if a.flags.options = (Options{}); w.Config != "" {
		a.flags.config = w.Config
	}
	start := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		a.flags.options = a.flags.options.over(given.options)
		a.flags.verbose, a.flags.quiet, a.flags.json = given.verbose, given.quiet, given.json
		a.flags.noProgress, a.flags.logFormat = given.noProgress, given.logFormat
		return start(cmd, args)
	}
	root.SetArgs(w.Args)
	err := root.ExecuteContext(ctx)
	if err := a.disconnect(context.WithoutCancel(ctx)); err != nil {
		a.forgetful(err)
	}
	return err
}

// outlook tells what a move would do about a file.
func (a *app) outlook(ctx context.Context, m *batch.Move, p batch.Pickup) finished {
	act, why, err := m.Outlook(ctx, p)
	o := outcome{Op: act, Source: m.From.String(p.Name), Target: m.To.String(p.Name), Status: "planned", Size: max(0, p.Info.Size), Reason: why}
	if err != nil {
		o.Op, o.Status, o.Reason, o.Failure = "recover", "failed", "", failureOf(err)
	}
	return finished{o, err}
}
