package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// CommandLine is one that is written down, as a job or in a manifest.
type CommandLine struct {
	// Do is put, get, sync or move.
	Do          string `toml:"do" json:"do"`
	Source      string `toml:"source" json:"source"`
	Destination string `toml:"destination" json:"destination"`
	// Options are the flags of the command, with _ for -.
	Options map[string]any `toml:"options" json:"options,omitempty"`
}

// verbs are what a line can do.
var verbs = []string{"put", "get", "sync", "move"}

// person are the flags that are about who reads the output, or where things are;
// they belong to the command that runs the lines.
var person = []string{"config", "ledger_file", "verbose", "quiet", "json", "no_progress", "log_format", "metrics_file", "help", "watch"}

// args is the line as a shell would hand it over.
func (l CommandLine) args() []string {
	args := []string{l.Do}
	for _, key := range slices.Sorted(maps.Keys(l.Options)) {
		name := "--" + strings.ReplaceAll(key, "_", "-")
		switch v := l.Options[key].(type) {
		case bool:
			if v { // the switches are off by themselves
				args = append(args, name)
			}
		case []any:
			for _, each := range v {
				args = append(args, name+"="+fmt.Sprint(each))
			}
		default:
			args = append(args, name+"="+fmt.Sprint(v))
		}
	}
	return append(args, "--", l.Source, l.Destination)
}

// String is the line for a person to type.
func (l CommandLine) String() string {
	words := []string{"xfer"}
	for _, arg := range l.args() {
		words = append(words, policy.ShellQuote(arg))
	}
	return strings.Join(words, " ")
}

// partner is the other side, for the history.
func (l CommandLine) partner() string {
	if isRemote(l.Destination) {
		return l.Destination
	}
	return l.Source
}

// check finds what no run could do. The errors do not repeat values: one may be a
// secret in the wrong place.
func (l CommandLine) check() []error { return append(l.checkEnds(), l.checkOptions()...) }

func (l CommandLine) checkEnds() (errs []error) {
	for _, end := range []struct{ key, value string }{{"source", l.Source}, {"destination", l.Destination}} {
		switch {
		case end.value == "":
			errs = append(errs, fmt.Errorf("%s: missing", end.key))
		case end.value == "-":
			errs = append(errs, fmt.Errorf("%s: there is no stdin and stdout here", end.key))
		case strings.ContainsAny(end.value, "\r\n\x00"):
			errs = append(errs, fmt.Errorf("%s: contains a control character", end.key))
		case isURL(end.value):
			if loc, err := transfer.ParseURL(end.value); err == nil && !loc.Password.Empty() {
				errs = append(errs, fmt.Errorf("%s: a secret does not belong in this file; use a site", end.key))
			}
		}
	}
	return errs
}

func (l CommandLine) checkOptions() (errs []error) {
	if !slices.Contains(verbs, l.Do) {
		return []error{fmt.Errorf("do: must be one of %s", strings.Join(verbs, ", "))}
	}
	for key, v := range l.Options {
		if slices.Contains(person, key) {
			errs = append(errs, fmt.Errorf("options.%s: is said on the command line only", key))
		}
		if v == "-" {
			errs = append(errs, fmt.Errorf("options.%s: there is no stdin here", key))
		}
		if _, isTable := v.(map[string]any); isTable {
			errs = append(errs, fmt.Errorf("options.%s: must be a value or a list of values", key))
		}
	}
	if len(errs) == 0 {
		if err := l.parse(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// parse looks whether the command has these options.
func (l CommandLine) parse() error {
	root := newApp(system{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: func(string) string { return "" }}).rootCommand()
	cmd, rest, err := root.Find(l.args())
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err != nil {
		return optionError(cmd, err)
	}
	if flag := emptyFlag(cmd); flag != "" {
		return fmt.Errorf("options.%s: is empty", key(flag))
	}
	return nil
}

// key is the option of a flag.
func key(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// optionError names the option, and not its value.
func optionError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, key(f.Name)) })
		name := key(e.GetSpecifiedName())
		if best := closest(name, known); best != "" {
			return fmt.Errorf("options: %s has no option %s; did you mean %s?", cmd.Name(), name, best)
		}
		return fmt.Errorf("options: %s has no option %s", cmd.Name(), name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		cause := e.Unwrap()
		if _, ok := errors.AsType[*strconv.NumError](err); ok {
			cause = errors.New("must be a whole number")
			if e.GetFlag().Value.Type() == "bool" {
				cause = errors.New("must be true or false")
			}
		}
		return fmt.Errorf("options.%s: %w", key(e.GetFlag().Name), cause)
	}
	return errors.New("options: can't be read")
}

// child is the program once more, for one line. It shares what is remembered and
// the connection slots; its outcomes and connections are its own.
func (a *app) child() *app {
	c := &app{sys: a.sys, config: a.config, links: map[string]*transfer.Link{}}
	c.sys.stdin = strings.NewReader("")
	c.state.init(c)
	c.state.ledger, c.state.slots = a.state.ledger, a.state.slots
	c.flags = a.flags
	c.start()
	return c
}

// do runs a line with these flags, which come before its own. The failures are
// told when it returns.
func (a *app) do(ctx context.Context, given flags, l CommandLine) error {
	root := a.rootCommand()
	a.flags = given
	a.flags.options = Options{}
	start := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		a.flags.options = a.flags.options.over(given.options)
		if given.deadline != nil {
			a.flags.deadline = given.deadline
		}
		if given.retries != nil {
			a.flags.retries = given.retries
		}
		return start(cmd, args)
	}
	a.args = l.args()
	root.SetArgs(a.args)
	err := root.ExecuteContext(ctx)
	if _, told := errors.AsType[errFailed](err); err != nil && !told {
		a.tell(err)
	}
	if err := a.disconnect(context.WithoutCancel(ctx)); err != nil {
		a.forgetful(err)
	}
	return err
}
