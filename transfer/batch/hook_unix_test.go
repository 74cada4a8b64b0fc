//go:build !windows

package batch

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// TestHookEndsItsChildren: what a program has started is over with it when its
// time is. Only then is the last writing end of its output closed.
func TestHookEndsItsChildren(t *testing.T) {
	t.Parallel()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	h := Hook{Command: []string{"sh", "-c", "sleep 600 & echo begun; wait"}, Timeout: 2 * time.Second, Output: in, Env: os.Environ()}
	f := h.run(t.Context(), nil)
	if f == nil || f.Cause != policy.CauseHookFailed {
		t.Errorf("%v", f)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(out); err != nil || string(said) != "begun\n" {
		t.Errorf("%q %v", said, err)
	}
}
