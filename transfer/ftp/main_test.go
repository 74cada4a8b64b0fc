package ftp_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
)

var showWire = flag.Bool("wire", false, "log the control connection")

// testLog shows the wire with -v -args -wire.
func testLog(t *testing.T) *slog.Logger {
	if !*showWire {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// quick are limits for servers that don't answer: long enough for a loaded
// machine, short enough to wait for.
var quick = transfer.Timeouts{Connect: 4 * time.Second, Reply: 2 * time.Second, Idle: 2 * time.Second, Final: 2 * time.Second}

// soon is far more than quick and what an abort may take, and less than any
// default limit.
const soon = 20 * time.Second

// start runs a server of the lab until the test ends.
func start(t *testing.T, cfg lab.FTPConfig) *lab.FTP {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	cfg.User, cfg.Password = "acme", "s3cret"
	srv, err := lab.StartFTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("what the server saw:\n%s", srv.Log())
		}
	})
	return srv
}

// options logs in to a server of the lab; change may adapt them.
func options(t *testing.T, srv *lab.FTP, change ...func(*ftp.Options)) ftp.Options {
	t.Helper()
	o := ftp.Options{
		Address: srv.Addr(), User: "acme", Log: testLog(t),
		Password: func(context.Context) (auth.Secret, error) { return auth.NewSecret("s3cret"), nil },
	}
	if file := srv.CAFile(); file != "" {
		o.Security = ftp.Explicit
		c, err := auth.TLS{CAFile: file}.Config()
		if err != nil {
			t.Fatal(err)
		}
		o.TLS = c
	}
	for _, f := range change {
		f(&o)
	}
	return o
}

// dial logs in, or ends the test.
func dial(t *testing.T, srv *lab.FTP, change ...func(*ftp.Options)) transfer.Session {
	t.Helper()
	s, err := ftp.Dial(t.Context(), options(t, srv, change...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// refusedDial is a login that must fail.
func refusedDial(t *testing.T, srv *lab.FTP, change ...func(*ftp.Options)) *policy.Fault {
	t.Helper()
	s, err := ftp.Dial(t.Context(), options(t, srv, change...))
	if err == nil {
		_ = s.Close()
		t.Fatal("the login succeeded")
	}
	return faultOf(t, err)
}

func mode(m transfer.Mode) func(*ftp.Options) { return func(o *ftp.Options) { o.Mode = m } }

func limits(l transfer.Timeouts) func(*ftp.Options) {
	return func(o *ftp.Options) { o.Timeouts = l }
}

func faultOf(t *testing.T, err error) *policy.Fault {
	t.Helper()
	f, ok := errors.AsType[*policy.Fault](err)
	if !ok {
		t.Fatalf("%v (%T): no fault", err, err)
	}
	if f.Op == "" || f.Text != policy.Sanitize(f.Text) {
		t.Errorf("%+v: no operation, or a text that is not sanitised", f)
	}
	return f
}

// is checks the facts of a fault.
func is(t *testing.T, err error, op string, phase policy.Phase, code int, cause policy.Cause) *policy.Fault {
	t.Helper()
	f := faultOf(t, err)
	if f.Op != op || f.Phase != phase || f.Code != code || f.Cause != cause {
		t.Errorf("%v: op %q, phase %v, code %d, cause %q; want %q, %v, %d, %q",
			f, f.Op, f.Phase, f.Code, f.Cause, op, phase, code, cause)
	}
	return f
}

func source(b []byte) transfer.Source {
	return transfer.Source{R: bytes.NewReader(b), Size: int64(len(b))}
}

// put stores b, or ends the test.
func put(t *testing.T, s transfer.Session, path string, b []byte) {
	t.Helper()
	if n, err := s.Put(t.Context(), path, 0, source(b)); err != nil || n != int64(len(b)) {
		t.Fatalf("put %s: %d, %v", path, n, err)
	}
}

// get fetches a file, or ends the test.
func get(t *testing.T, s transfer.Session, path string) []byte {
	t.Helper()
	var b bytes.Buffer
	if n, err := s.Get(t.Context(), path, 0, transfer.Sink{W: &b, Size: -1}); err != nil || n != int64(b.Len()) {
		t.Fatalf("get %s: %d, %v", path, n, err)
	}
	return b.Bytes()
}

// works checks that requests and replies of a session are in step.
func works(t *testing.T, s transfer.Session) {
	t.Helper()
	for _, content := range []string{"abc", "hello"} {
		put(t, s, "works-"+content, []byte(content))
		if got := get(t, s, "works-"+content); string(got) != content {
			t.Errorf("got %q, want %q", got, content)
		}
		info, err := s.Stat(t.Context(), "works-"+content)
		if err != nil || info.Size != int64(len(content)) {
			t.Errorf("stat: %+v, %v", info, err)
		}
	}
}

// isAlive checks whether a session is still worth something. That the server has
// hung up behind its last words shows a moment after them.
func isAlive(t *testing.T, s transfer.Session, want bool) {
	t.Helper()
	for began := time.Now(); s.Alive() && !want && time.Since(began) < soon; {
		time.Sleep(time.Millisecond)
	}
	if s.Alive() != want {
		t.Errorf("alive: %t, want %t", s.Alive(), want)
	}
}

// pattern is content that is the same for the same n and has no period that a
// buffer has. A short one is the start of a long one.
func pattern(n int) []byte { return bytes.Clone(patterns()[:n]) }

var patterns = sync.OnceValue(func() []byte {
	b := make([]byte, big)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
})

// stored is what lies in the server's directory.
func stored(t *testing.T, root, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func store(t *testing.T, root, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// localFile is an open file with this content.
func localFile(t *testing.T, b []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "local"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f
}

func discard(size int64) transfer.Sink { return transfer.Sink{W: io.Discard, Size: size} }

func list(t *testing.T, s transfer.Session, dir string) []transfer.Info {
	t.Helper()
	var all []transfer.Info
	err := s.List(t.Context(), dir, func(i transfer.Info) error { all = append(all, i); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// within runs f and fails the test when it takes longer.
func within(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > d {
		t.Errorf("it took %v, and may take %v", took.Round(time.Millisecond), d)
	}
}
