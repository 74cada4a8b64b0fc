package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

func (a *app) jobCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "job", Short: "Look at the jobs of the configuration", Args: noSuchCommand, RunE: help}
	names := func(do func(context.Context, []string) error) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, args []string) error {
			args, _, err := a.jobs(args, len(args) == 0)
			if err != nil {
				return err
			}
			return do(cmd.Context(), args)
		}
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the jobs", Args: exactly(0, "job list takes no arguments"),
			RunE: names(func(_ context.Context, jobs []string) error { return a.listJobs(jobs) }),
		},
		&cobra.Command{
			Use: "show NAME…", Short: "Show what a job does, as the command to type",
			Args: atLeast(1, "job show needs a job"),
			RunE: names(func(_ context.Context, jobs []string) error { return a.showJobs(jobs) }),
		},
		&cobra.Command{
			Use: "check [NAME…]", Short: "Look whether jobs can run: logins, directories, hooks",
			Long: `Look whether jobs can run: log in to their servers, look at source and destination,
find the programs of their hooks. Nothing is transferred and no hook is told.`,
			RunE: names(a.checkJobs),
		},
		a.installCommand(),
	)
	return cmd
}

// jobRecord is a job as --json prints it.
type jobRecord struct {
	Job      string     `json:"job"`
	Command  string     `json:"command"`
	Schedule string     `json:"schedule,omitempty"`
	Next     *time.Time `json:"next,omitempty"`
	Window   string     `json:"window,omitempty"`
	Deadline string     `json:"deadline,omitempty"`
	OnBusy   OnBusy     `json:"on_busy"`
	MinFiles int        `json:"min_files,omitempty"`
	By       string     `json:"by,omitempty"`
	// Hooks are those that are set, never what they are: a URL may be a secret.
	Hooks []string `json:"hooks,omitempty"`
}

func jobRecordOf(name string, j JobConfig) jobRecord {
	r := jobRecord{
		Job: name, Command: j.CommandLine.String(), Schedule: j.Schedule.String(), Window: j.Window.String(),
		OnBusy: j.OnBusy, MinFiles: j.Expect.files(),
	}
	if next := j.Schedule.Next(time.Now()); !next.IsZero() {
		r.Next = &next
	}
	if j.Deadline > 0 {
		r.Deadline = time.Duration(j.Deadline).String()
	}
	if j.Expect.By != nil {
		r.By = j.Expect.By.String()
	}
	if r.OnBusy == "" {
		r.OnBusy = BusySkip
	}
	for _, h := range j.hooks() {
		if h.isSet() {
			r.Hooks = append(r.Hooks, h.key)
		}
	}
	return r
}

func (a *app) listJobs(names []string) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.report.stdout, 0, 0, 2, ' ', 0)
	for _, name := range names {
		r := jobRecordOf(name, cfg.Jobs[name])
		if a.flags.json {
			a.report.object(r)
			continue
		}
		next := "-"
		if r.Next != nil {
			next = r.Next.Format("2006-01-02 15:04")
		}
		j := cfg.Jobs[name]
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s → %s\tnext %s\n", name, j.Do, policy.Sanitize(j.Source), policy.Sanitize(j.Destination), next)
	}
	return w.Flush()
}

func (a *app) showJobs(names []string) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	for _, name := range names {
		r := jobRecordOf(name, cfg.Jobs[name])
		if a.flags.json {
			a.report.object(r)
			continue
		}
		w := tabwriter.NewWriter(a.report.stdout, 0, 0, 2, ' ', 0)
		say := func(key, value string) {
			if value != "" {
				_, _ = fmt.Fprintf(w, "%s\t%s\n", key, policy.Sanitize(value))
			}
		}
		say("job", r.Job)
		say("command", r.Command)
		say("schedule", r.Schedule)
		if r.Next != nil {
			say("next", r.Next.Format("2006-01-02 15:04 MST"))
		}
		say("window", r.Window)
		say("deadline", r.Deadline)
		say("on_busy", string(r.OnBusy))
		if r.MinFiles > 0 {
			expect := fmt.Sprintf("%d files", r.MinFiles)
			if r.By != "" {
				expect += " by " + r.By
			}
			say("expect", expect)
		}
		say("hooks", strings.Join(r.Hooks, ", "))
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// checkJobs looks at everything that a run will need.
func (a *app) checkJobs(ctx context.Context, names []string) error {
	ctx, cancel := a.withDeadline(ctx)
	defer cancel()
	cfg, err := a.config()
	if err != nil {
		return err
	}
	for _, name := range names {
		job := cfg.Jobs[name]
		var problems []error
		for _, end := range []struct {
			path   string
			needed bool // else the job makes it
		}{{job.Source, true}, {job.Destination, job.Do == "put" || isRemote(job.Destination)}} {
			err := a.checkEnd(ctx, "check "+name, end.path)
			if err != nil && (end.needed || !transfer.IsMissing(err) && policy.FaultOf(err).Cause != policy.CauseLocalMissing) {
				problems = append(problems, err)
			}
		}
		for _, h := range job.hooks() {
			if err := a.checkHook(h.HookConfig); err != nil {
				problems = append(problems, fmt.Errorf("job %s, %s: %w", name, h.key, err))
			}
		}
		for _, err := range problems {
			a.problem("check "+name, err)
		}
		if len(problems) == 0 && !a.flags.quiet {
			_, _ = fmt.Fprintf(a.report.stdout, "ok: %s\n", name)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return a.report.err()
}

// checkEnd looks whether the directory of a source or destination is there.
func (a *app) checkEnd(ctx context.Context, name, arg string) error {
	arg, _ = splitPattern(a.file(arg))
	if !isRemote(arg) {
		if _, err := os.Stat(arg); err != nil {
			return policy.GiveUpOn(name, policy.LocalFault("open", arg, err))
		}
		return nil
	}
	p, err := a.place(arg)
	if err != nil {
		return err
	}
	engine, err := a.engine()
	if err != nil {
		return err
	}
	path := strings.TrimRight(p.loc.Path, "/")
	if path == "" {
		path = p.loc.Path
	}
	_, err = transfer.Stat(ctx, a.link(p), engine, name, path)
	return err
}

func (a *app) checkHook(h HookConfig) error {
	if h.URLEnv != "" && a.sys.env(h.URLEnv) == "" {
		return configError{fmt.Errorf("the variable %s is empty", h.URLEnv)}
	}
	if len(h.Command) == 0 {
		return nil
	}
	if _, err := exec.LookPath(a.file(h.Command[0])); err != nil {
		return policy.LocalFault("run", h.Command[0], err)
	}
	return nil
}

func (a *app) installCommand() *cobra.Command {
	var systemd, cron bool
	cmd := &cobra.Command{
		Use:   "install --systemd|--cron NAME",
		Short: "Print what makes cron or systemd run a job",
		Long:  "Print the line for crontab -e, or the units for systemd, that run a job by its schedule.",
		Args:  exactly(1, "job install needs a job"),
		RunE: func(_ *cobra.Command, args []string) error {
			if systemd == cron {
				return usagef("job install takes either --systemd or --cron")
			}
			return a.installJob(args[0], systemd)
		},
	}
	cmd.Flags().BoolVar(&systemd, "systemd", false, "a timer and its service")
	cmd.Flags().BoolVar(&cron, "cron", false, "a line of a crontab")
	return cmd
}

func (a *app) installJob(name string, systemd bool) error {
	_, jobs, err := a.jobs([]string{name}, false)
	if err != nil {
		return err
	}
	job := jobs[name]
	if job.Schedule.String() == "" {
		return usagef("job %s has no schedule; set one in the configuration, such as schedule = \"*/5 * * * *\"", name)
	}
	program, err := os.Executable()
	if err != nil {
		return policy.GiveUpOn("job install", policy.LocalFault("open", "", err))
	}
	words := []string{program, "--quiet"}
	if path, explicit := a.configPath(); explicit {
		if path, err = filepath.Abs(path); err != nil {
			return policy.GiveUpOn("job install", policy.LocalFault("open", path, err))
		}
		words = append(words, "--config", path)
	}
	words = append(words, "run", name)
	text := cronLine(job, words)
	if systemd {
		text = systemdUnits(name, job, words)
	}
	_, err = fmt.Fprint(a.report.stdout, text)
	return err
}

// cronLine is for crontab(5), where % is a line break unless it is escaped.
func cronLine(job JobConfig, words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = policy.ShellQuote(w)
	}
	return job.Schedule.String() + " " + strings.ReplaceAll(strings.Join(quoted, " "), "%", `\%`) + "\n"
}

// systemdUnits are the service and the timer. In ExecStart % and $ are doubled
// (systemd.service(5), systemd.unit(5)).
func systemdUnits(name string, job JobConfig, words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(w) + `"`
	}
	return fmt.Sprintf(`# ~/.config/systemd/user/xfer-%[1]s.service
[Unit]
Description=xfer job %[1]s

[Service]
Type=oneshot
ExecStart=%[2]s

# ~/.config/systemd/user/xfer-%[1]s.timer
# then: systemctl --user enable --now xfer-%[1]s.timer
# and, to run without being logged in: loginctl enable-linger
[Unit]
Description=xfer job %[1]s

[Timer]
OnCalendar=%[3]s
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
`, name, strings.Join(quoted, " "), strings.Join(job.Schedule.OnCalendar(), "\nOnCalendar="))
}
