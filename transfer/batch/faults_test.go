package batch

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// TestTreeWithFaults: a tree that is sent over four connections to a server that
// fails at random, and fetched again, is the same in the end.
func TestTreeWithFaults(t *testing.T) {
	t.Parallel()
	const files = 600
	src, back := t.TempDir(), t.TempDir()
	names := make([]string, files)
	for i := range names {
		names[i] = fmt.Sprintf("d%d/e%d/f%d", i%5, i%3, i)
	}
	tree(t, src, names...)
	r := rand.New(rand.NewPCG(1, 2))
	actions := []lab.Action{
		lab.Reply(450, "File busy."), lab.Reply(451, "Local error."), lab.Reply(425, "Can't open data connection."),
		lab.Drop(lab.RST), lab.Drop(lab.FIN), lab.Reply(421, "Going away.").Then(lab.Drop(lab.FIN)),
	}
	var script []lab.Rule
	for _, verb := range []string{"STOR", "RETR", "MLSD", "RNFR", "MKD", "MLST", "PASV", "EPSV"} {
		for _, nth := range r.Perm(files)[:20] {
			script = append(script, lab.Rule{On: verb, Nth: nth + 1, Times: 1, Do: actions[r.IntN(len(actions))]})
		}
		if verb == "STOR" {
			script = append(script, lab.Rule{On: verb, When: lab.Finally, Times: 5, Do: lab.Drop(lab.FIN)})
		}
	}
	server := startEnd(t, "ftp", script...)
	dst := server.Dir
	remote := server.end()
	remote.Links.limit = 4
	remote.Links.engine = &policy.Engine{Limits: policy.Limits{Tries: 20, Few: 20, Base: time.Millisecond, Cap: time.Millisecond, Factor: 1, Slow: 1}}
	defer func() { _ = remote.Links.Close(context.Background()) }()

	copyAll := func(from, to End) {
		t.Helper()
		s := &Sync{From: from, To: to, Name: "sync"}
		defer s.Close()
		err := Ordered(t.Context(), 4, func(ctx context.Context, yield func(Step) error) error {
			return s.Plan(ctx, func(step Step) error {
				if step.Op == StepMkdir && step.Err == nil {
					_, err := s.Do(ctx, step, transfer.Observer{})
					return err
				}
				return yield(step)
			})
		}, func(ctx context.Context, step Step) error {
			if step.Err != nil {
				return step.Err
			}
			_, err := s.Do(ctx, step, transfer.Observer{})
			return err
		}, func(err error) error { return err })
		if err != nil {
			t.Fatal(err)
		}
	}
	copyAll(localEnd(t, src), remote)
	if got, want := contents(t, dst), contents(t, src); !maps.Equal(got, want) {
		t.Errorf("the server holds %d entries, want %d: %q", len(got), len(want), difference(got, want))
	}
	copyAll(remote, localEnd(t, back))
	if got, want := contents(t, back), contents(t, src); !maps.Equal(got, want) {
		t.Errorf("fetched %d entries, want %d: %q", len(got), len(want), difference(got, want))
	}
}

// difference lists the first names whose content differs.
func difference(a, b map[string]string) (names []string) {
	for name := range a {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, there := a[name]; !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names[:min(10, len(names))]
}
