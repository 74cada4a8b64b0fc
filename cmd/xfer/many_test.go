package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TestTransferAllStops: only what the other files would meet too ends it, and then
// it is told that there were others.
func TestTransferAllStops(t *testing.T) {
	fault := func(p policy.Protocol, phase policy.Phase, cause policy.Cause) error {
		return policy.GiveUpOn("put", &policy.Fault{Protocol: p, Phase: phase, Cause: cause})
	}
	for name, tt := range map[string]struct {
		err     error
		others  bool
		stopped bool
	}{
		"a server that can't be reached": {fault(policy.Net, policy.Connect, policy.CauseRefused), true, true},
		"nothing to log in with":         {fault(policy.Local, policy.Auth, policy.CauseNoSecret), true, true},
		"the last one":                   {fault(policy.Net, policy.Connect, policy.CauseRefused), false, false},
		"one file":                       {fault(policy.SFTP, policy.Command, policy.CauseNotRegular), true, false},
		"one file, and nobody says when": {policy.GiveUpOn("put", &policy.Fault{Protocol: policy.SFTP, Cause: policy.CauseBadName}), true, false},
		"a file of this machine":         {fault(policy.Local, policy.Connect, policy.CauseLocalIO), true, false},
	} {
		var said strings.Builder
		a := newApp(system{stdout: io.Discard, stderr: &said, env: func(string) string { return "" }})
		a.start()
		done := 0
		err := a.transferAll(t.Context(), 1, false, func(ctx context.Context, yield func(task) error) error {
			first := yield(func(context.Context) finished {
				return finished{transferred(transfer.Put, "a", "b", transfer.Result{}, tt.err), tt.err}
			})
			if first != nil || !tt.others {
				return first
			}
			if tt.stopped {
				<-ctx.Done()
			}
			return yield(func(ctx context.Context) finished {
				done++
				return finished{transferred(transfer.Put, "c", "d", transfer.Result{}, ctx.Err()), ctx.Err()}
			})
		})
		if told := strings.Contains(said.String(), "stopped: the other files were not transferred"); told != tt.stopped || a.report.failed != 1 {
			t.Errorf("%s: %d failed, %v\n%s", name, a.report.failed, err, said.String())
		}
		if tt.others && !tt.stopped && done != 1 {
			t.Errorf("%s: the other file was left out", name)
		}
	}
}
