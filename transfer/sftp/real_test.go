//go:build linux

package sftp

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// signalSFTPServers signals the sftp-server processes of a temporary user. None
// of them outlives the test: one that is frozen would.
func signalSFTPServers(t *testing.T, user string, sig syscall.Signal) {
	t.Helper()
	out, err := exec.Command("pgrep", "-u", user, "-x", "sftp-server").Output()
	if err != nil {
		t.Fatalf("no sftp-server of %s: %v", user, err)
	}
	for field := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it may have ended
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			t.Errorf("signal %d: %v", pid, err)
		}
	}
}

// TestOpenSSHDies: what happens to the server in the middle of an upload, and
// what is left of it.
func TestOpenSSHDies(t *testing.T) {
	tests := map[string]struct {
		do    func(t *testing.T, srv *transfertest.Server)
		cause policy.Cause
		text  string
	}{
		"sshd is killed":        {func(_ *testing.T, srv *transfertest.Server) { srv.Stop() }, policy.CauseReset, ""},
		"sftp-server is killed": {func(t *testing.T, srv *transfertest.Server) { signalSFTPServers(t, srv.User, syscall.SIGKILL) }, policy.CauseReset, ""},
		"sftp-server freezes":   {func(t *testing.T, srv *transfertest.Server) { signalSFTPServers(t, srv.User, syscall.SIGSTOP) }, policy.CauseTimeout, ""},
		"everything freezes":    {func(t *testing.T, srv *transfertest.Server) { t.Cleanup(srv.Pause()) }, policy.CauseTimeout, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			srv := transfertest.SSHD(t, transfertest.SSHDOptions{Unprivileged: true, External: true})
			s := dial(t, sshdOptions(srv, withSilence(1500*time.Millisecond)))
			done := make(chan struct{})
			src := transfer.Source{R: &endless{after: 8 << 20, do: func() { tt.do(t, srv); close(done) }}, Size: -1}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			n, err := s.Put(ctx, filepath.Join(srv.Dir, "f"), 0, src)
			select {
			case <-done:
			case <-ctx.Done():
				t.Fatalf("it ended before anything did that: %d, %s", n, describe(err))
			}
			f := wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "write", Cause: tt.cause, Text: tt.text})
			if there := int64(len(onDisk(t, srv.Dir, "f"))); there < n || there-n > spread {
				t.Errorf("%d bytes are there, %d were said to be", there, n)
			}
			if v := policy.Classify(f); v.Remedy != policy.Reconnect && v.Remedy != policy.Retry {
				t.Errorf("remedy %v", v.Remedy)
			}
			if s.Alive() {
				t.Error("the session thinks that it is alive")
			}
			_ = s.Close()
		})
	}
}

// endless never ends by itself; after so many bytes it calls do, once.
type endless struct {
	after int
	do    func()
}

func (r *endless) Read(p []byte) (int, error) {
	if r.after > 0 {
		if r.after -= len(p); r.after <= 0 {
			r.do()
		}
	}
	return len(p), nil
}

// TestControlChannelIsLost: only the process behind the requests about paths.
func TestControlChannelIsLost(t *testing.T) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{Unprivileged: true, External: true})
	s := dial(t, sshdOptions(srv))
	signalSFTPServers(t, srv.User, syscall.SIGKILL)
	_, err := s.Stat(t.Context(), srv.Dir)
	f := wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "stat", Cause: policy.CauseReset})
	// A shell between sshd and sftp-server makes a status of the signal.
	if !strings.Contains(f.Text, "KILL") && !strings.Contains(f.Text, "status 137") {
		t.Errorf("text %q does not say how it ended", f.Text)
	}
	if s.Alive() || !s.conn.alive() {
		t.Errorf("session alive: %v, connection alive: %v", s.Alive(), s.conn.alive())
	}
}

// TestIdleChannelIsClosed: ChannelTimeout of OpenSSH, on a session that rests.
func TestIdleChannelIsClosed(t *testing.T) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{Config: []string{"ChannelTimeout session:*=1s"}})
	s := dial(t, sshdOptions(srv))
	deadline := time.Now().Add(10 * time.Second)
	for s.Alive() {
		if time.Now().After(deadline) {
			t.Fatal("the channel is still thought to be open")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestFilesOfTheKernel: files whose size is no promise.
func TestFilesOfTheKernel(t *testing.T) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{})
	s := dial(t, sshdOptions(srv))
	if got := get(t, s, "/proc/self/status"); !strings.Contains(string(got), "sftp") && !strings.Contains(string(got), "sshd") {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	n, err := s.Get(ctx, "/dev/zero", 0, transfer.Sink{W: &full{room: 1 << 20}, Size: -1})
	if f, ok := err.(*policy.Fault); !ok || f.Protocol != policy.Local || n > 1<<20 {
		t.Errorf("%d, %s", n, describe(err))
	}
}

// full takes so many bytes.
type full struct{ room int }

func (w *full) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}
