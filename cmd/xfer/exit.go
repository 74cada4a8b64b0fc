package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
)

// exitCodes maps what kind of failure it was to sysexits(3), so that a script
// knows what to do without reading text.
var exitCodes = map[policy.Kind]struct {
	code int
	says string
}{
	policy.KindOK:         {0, "done"},
	policy.KindUsage:      {64, "the command line is wrong"},
	policy.KindContent:    {65, "the content differs after the transfer"},
	policy.KindMissing:    {66, "the source is missing"},
	policy.KindHost:       {68, "the host is unknown"},
	policy.KindRefused:    {69, "the server refuses for good"},
	policy.KindTarget:     {73, "the target can't be created: it exists, the directory is missing, no space"},
	policy.KindLocal:      {74, "reading or writing files of this machine failed"},
	policy.KindTemporary:  {75, "temporary: the tries or the time are used up, run again later"},
	policy.KindTrust:      {76, "protocol, TLS certificate or host key can't be trusted"},
	policy.KindPermission: {77, "login or permission refused"},
	policy.KindConfig:     {78, "the configuration is wrong"},
	policy.KindCancelled:  {130, "interrupted (129 by SIGHUP, 143 by SIGTERM); run again to resume"},
}

// severity orders the kinds for "several files: the worst one". What needs a
// person comes before what may heal by itself.
var severity = []policy.Kind{
	policy.KindCancelled, policy.KindConfig, policy.KindUsage, policy.KindTrust, policy.KindContent,
	policy.KindPermission, policy.KindLocal, policy.KindTarget, policy.KindRefused,
	policy.KindHost, policy.KindMissing, policy.KindTemporary, policy.KindOK,
}

func worse(a, b policy.Kind) policy.Kind {
	for _, k := range severity {
		if k == a || k == b {
			return k
		}
	}
	return a
}

// errFailed says that failures were reported already, one by one, and what the
// worst was.
type errFailed struct{ kind policy.Kind }

func (e errFailed) Error() string { return "failed: " + e.kind.String() }

// usageError is a mistake on the command line, configError one in the file.
type (
	usageError  struct{ err error }
	configError struct{ err error }
)

func (e usageError) Error() string  { return e.err.Error() }
func (e usageError) Unwrap() error  { return e.err }
func (e configError) Error() string { return e.err.Error() }
func (e configError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// kindOf says who has to act on err.
func kindOf(err error) policy.Kind {
	if err == nil {
		return policy.KindOK
	}
	if e, ok := errors.AsType[errFailed](err); ok {
		return e.kind
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return policy.KindUsage
	}
	if _, ok := errors.AsType[configError](err); ok {
		return policy.KindConfig
	}
	return verdictOf(err).Kind
}

func verdictOf(err error) policy.Verdict {
	if g, ok := errors.AsType[*policy.GaveUp](err); ok {
		return g.Verdict
	}
	return policy.Classify(policy.FaultOf(err))
}

// exitCode is the code of the process; the context tells SIGTERM and SIGHUP from Ctrl-C.
func exitCode(ctx context.Context, err error) int {
	kind := kindOf(err)
	if kind == policy.KindCancelled {
		if e, ok := errors.AsType[errSignal](context.Cause(ctx)); ok {
			switch e.Signal {
			case syscall.SIGTERM:
				return 143
			case syscall.SIGHUP:
				return 129
			}
		}
	}
	return exitCodes[kind].code
}

// exitCodesTopic is `xfer help exit-codes`.
func exitCodesTopic() *cobra.Command {
	kinds := slices.SortedFunc(maps.Keys(exitCodes), func(a, b policy.Kind) int {
		return exitCodes[a].code - exitCodes[b].code
	})
	var text strings.Builder
	text.WriteString("Exit codes follow sysexits(3) where one fits. With several files it is the code\n" +
		"of the worst failure; stdout, or --json, says which file failed how.\n\n")
	for _, kind := range kinds {
		fmt.Fprintf(&text, "  %3d  %s\n", exitCodes[kind].code, exitCodes[kind].says)
	}
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: text.String()}
}
