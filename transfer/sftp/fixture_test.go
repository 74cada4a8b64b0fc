package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// startLab starts a scripted server over an empty directory.
func startLab(tb testing.TB, c lab.SFTPConfig) *lab.SFTP {
	tb.Helper()
	if c.Root == "" {
		c.Root = tb.TempDir()
	}
	c.User, c.Password = "acme", "hunter2"
	srv, err := lab.StartSFTP(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := srv.Close(); err != nil {
			tb.Errorf("lab: %v", err)
		}
		if tb.Failed() {
			tb.Logf("what the server saw:\n%s", tail(srv.Log()))
		}
	})
	return srv
}

func tail(l lab.Log) lab.Log { return l[max(0, len(l)-60):] }

// labOptions are the options for a lab server, changed by change.
func labOptions(srv *lab.SFTP, change ...func(*Options)) Options {
	o := Options{
		Address:  srv.Addr(),
		Login:    &auth.Login{User: "acme", Password: &auth.Source{Given: auth.NewSecret("hunter2"), GivenBy: "the test"}},
		HostKeys: &auth.HostKeys{Files: []string{srv.KnownHostsFile()}},
		Timeouts: transfer.WithTimeout(5 * time.Second),
	}
	for _, f := range change {
		f(&o)
	}
	return o
}

// withTimeout sets every limit.
func withTimeout(d time.Duration) func(*Options) {
	return func(o *Options) { o.Timeouts = transfer.Timeouts{Connect: d, Reply: d, Idle: d, Final: d} }
}

// withSilence limits the waits of a session that has logged in: a login is long
// on a busy machine.
func withSilence(d time.Duration) func(*Options) {
	return func(o *Options) {
		o.Timeouts = transfer.Timeouts{Connect: 20 * time.Second, Reply: d, Idle: d, Final: d}
	}
}

func dial(tb testing.TB, o Options) *session {
	tb.Helper()
	s, err := Dial(tb.Context(), o)
	if err != nil {
		tb.Fatalf("dial: %s", describe(err))
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s.(*session)
}

func dialLab(tb testing.TB, srv *lab.SFTP, change ...func(*Options)) *session {
	tb.Helper()
	return dial(tb, labOptions(srv, change...))
}

// sshdOptions are the options for a real server.
func sshdOptions(srv *transfertest.Server, change ...func(*Options)) Options {
	l := &auth.Login{User: srv.User}
	if srv.Password != "" {
		l.Password = &auth.Source{Given: auth.NewSecret(srv.Password), GivenBy: "the test"}
	} else {
		l.Keys = &auth.Keys{Files: []string{srv.KeyFile}}
	}
	o := Options{
		Address: srv.Address(), Login: l,
		HostKeys: &auth.HostKeys{Files: []string{srv.KnownHostsFile}},
		Timeouts: transfer.WithTimeout(20 * time.Second),
	}
	for _, f := range change {
		f(&o)
	}
	return o
}

func describe(err error) string {
	if f, ok := errors.AsType[*policy.Fault](err); ok {
		return fmt.Sprintf("%v [%v, phase %v, op %s, code %d, cause %q, path %q, err %v]", err, f.Protocol, f.Phase, f.Op, f.Code, f.Cause, f.Path, f.Err)
	}
	return fmt.Sprint(err)
}

// wantFault checks what a fault says; zero fields of want are not looked at.
func wantFault(tb testing.TB, err error, want policy.Fault) *policy.Fault {
	tb.Helper()
	f, ok := err.(*policy.Fault)
	if !ok {
		tb.Fatalf("got %T %v, want a fault", err, err)
	}
	if f.Phase != want.Phase || f.Op != want.Op && want.Op != "" || f.Code != want.Code || f.Cause != want.Cause {
		tb.Errorf("got %s, want phase %v, op %q, code %d, cause %q", describe(err), want.Phase, want.Op, want.Code, want.Cause)
	}
	if !strings.Contains(f.Text, want.Text) {
		tb.Errorf("text %q, want %q in it", f.Text, want.Text)
	}
	return f
}

// content gives n bytes that never repeat.
func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b) // never fails
	return b
}

func sourceOf(b []byte) transfer.Source {
	return transfer.Source{R: bytes.NewReader(b), Size: int64(len(b))}
}

func streamOf(b []byte) transfer.Source {
	return transfer.Source{R: struct{ io.Reader }{bytes.NewReader(b)}, Size: -1}
}

func put(tb testing.TB, s transfer.Session, path string, b []byte) {
	tb.Helper()
	if n, err := s.Put(tb.Context(), path, 0, sourceOf(b)); err != nil || n != int64(len(b)) {
		tb.Fatalf("put %s: %d, %s", path, n, describe(err))
	}
}

func get(tb testing.TB, s transfer.Session, path string) []byte {
	tb.Helper()
	var b bytes.Buffer
	if n, err := s.Get(tb.Context(), path, 0, transfer.Sink{W: &b, Size: -1}); err != nil || n != int64(b.Len()) {
		tb.Fatalf("get %s: %d of %d, %s", path, n, b.Len(), describe(err))
	}
	return b.Bytes()
}

func sameBytes(tb testing.TB, what string, got, want []byte) {
	tb.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			tb.Errorf("%s: differs at byte %d (%d bytes, want %d)", what, i, len(got), len(want))
			return
		}
	}
	tb.Errorf("%s: %d bytes, want %d", what, len(got), len(want))
}

// noLeaks fails the test when goroutines are left behind after everything was
// closed. It has to be called first, so that its cleanup runs last.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				buf := make([]byte, 1<<20)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// through dials by way of a relay that can be stalled and cut.
func through(tb testing.TB, target string, rtt time.Duration) (*lab.Proxy, func(*Options)) {
	tb.Helper()
	p, err := lab.StartProxy(target, rtt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p, func(o *Options) {
		o.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, p.Addr())
		}
	}
}

func onDisk(tb testing.TB, root, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
