package batch

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/disk"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// ends are the kinds of session that a relay can have at either end, over a
// directory, with faults.
var ends = map[string]func(t *testing.T, root string, script []lab.Rule) *transfer.Link{
	"ftp": func(t *testing.T, root string, script []lab.Rule) *transfer.Link {
		srv, err := lab.StartFTP(lab.FTPConfig{Root: root, User: "u", Password: "p", Script: script})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		return newTestLink(t, transfer.SchemeFTP, func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
			return ftp.Dial(ctx, ftp.Options{Address: srv.Addr(), User: "u", Hints: hints,
				Password: func(context.Context) (auth.Secret, error) { return auth.NewSecret("p"), nil }})
		})
	},
	"sftp": func(t *testing.T, root string, script []lab.Rule) *transfer.Link {
		srv, err := lab.StartSFTP(lab.SFTPConfig{Root: root, User: "u", Password: "p", Script: script})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		return newTestLink(t, transfer.SchemeSFTP, func(ctx context.Context, _ transfer.Hints) (transfer.Session, error) {
			return sftp.Dial(ctx, sftp.Options{Address: srv.Addr(),
				Login:    &auth.Login{User: "u", Password: &auth.Source{Given: auth.NewSecret("p"), GivenBy: "the test"}},
				HostKeys: &auth.HostKeys{Files: []string{srv.KnownHostsFile()}}})
		})
	},
	"disk": func(t *testing.T, root string, _ []lab.Rule) *transfer.Link {
		return newTestLink(t, "file", disk.Dialer(root))
	},
}

// servers counts the test's, so that no two have one address.
var servers atomic.Int32

func newTestLink(t *testing.T, scheme string, dial transfer.Dialer) *transfer.Link {
	l := transfer.NewLink(transfer.Location{Scheme: scheme, Host: "127.0.0.1", Port: int(servers.Add(1)), User: "u"}, dial, transfer.ModeAuto, nil)
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

func impatient() *policy.Engine {
	return &policy.Engine{Limits: policy.Limits{Tries: 4, Few: 2, Base: time.Millisecond, Cap: time.Millisecond, Factor: 1, Slow: 1}}
}

// randomBytes never repeat, so that no shift goes unseen.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b) // never fails
	return b
}

// onlyFile says what is in dir, which must be the one file.
func onlyFile(t *testing.T, dir, name string, want []byte) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != name {
		t.Errorf("%s holds %v %v, want only %s", dir, list, err, name)
	}
	if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v; want the %d of the source", name, len(got), err, len(want))
	}
}

func TestRelay(t *testing.T) {
	for fromName, from := range ends {
		for toName, to := range ends {
			t.Run(fromName+" to "+toName, func(t *testing.T) {
				for _, size := range []int{0, 1, 32 << 10, 3_000_001} {
					src, dst := t.TempDir(), t.TempDir()
					want := randomBytes(size)
					if err := os.WriteFile(filepath.Join(src, "a"), want, 0o644); err != nil {
						t.Fatal(err)
					}
					old := time.Unix(1_500_000_000, 0)
					if err := os.Chtimes(filepath.Join(src, "a"), old, old); err != nil {
						t.Fatal(err)
					}
					last := int64(-1)
					r, err := transfer.Relay(t.Context(), from(t, src, nil), "/a", to(t, dst, nil), transfer.Job{Remote: "/b"}, impatient(),
						transfer.Observer{Progress: func(pos int64) { last = pos }})
					if err != nil || r.Size != int64(size) || r.Sent != int64(size) || last != int64(size) {
						t.Errorf("%d bytes: %+v %v, progress to %d", size, r, err, last)
					}
					onlyFile(t, dst, "b", want)
					if info, err := os.Stat(filepath.Join(dst, "b")); err != nil || !info.ModTime().Equal(old) {
						t.Errorf("modified %v %v, want %v", info.ModTime(), err, old)
					}
				}
			})
		}
	}
}

// TestRelayMode: the copy gets the permission bits that were asked for.
func TestRelayMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	for fromName, from := range ends {
		for toName, to := range ends {
			for want, job := range map[fs.FileMode]transfer.Job{0o640: {KeepMode: true}, 0o600: {Mode: 0o600}, 0o400: {Mode: 0o400, KeepMode: true}} {
				job.Remote = "/b"
				src, dst := t.TempDir(), t.TempDir()
				if err := errors.Join(os.WriteFile(filepath.Join(src, "a"), []byte("x"), 0o600), os.Chmod(filepath.Join(src, "a"), 0o640)); err != nil {
					t.Fatal(err)
				}
				r, err := transfer.Relay(t.Context(), from(t, src, nil), "/a", to(t, dst, nil), job, impatient(), transfer.Observer{})
				if err != nil || len(r.Warnings) > 0 {
					t.Fatalf("%+v %v", r, err)
				}
				if info, err := os.Stat(filepath.Join(dst, "b")); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s to %s: %v %v, want %v", fromName, toName, info.Mode(), err, want)
				}
			}
		}
	}
}

// TestRelayResumes: whichever server breaks off, the rest is sent, not all again.
func TestRelayResumes(t *testing.T) {
	const size = 8_000_000
	cut := map[string][]lab.Rule{
		"ftp source":  {{On: "RETR", When: lab.During, After: size / 2, Times: 1, Do: lab.DropData(lab.RST).Then(lab.Drop(lab.RST))}},
		"ftp target":  {{On: "STOR", When: lab.During, After: size / 2, Times: 1, Do: lab.DropData(lab.RST).Then(lab.Drop(lab.RST))}},
		"sftp source": {{On: "data", When: lab.During, After: size / 2, Times: 1, Do: lab.Drop(lab.RST)}},
		"sftp target": {{On: "data", When: lab.During, After: size / 2, Times: 1, Do: lab.Drop(lab.RST)}},
	}
	for name, script := range cut {
		t.Run(name, func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			want := randomBytes(size)
			if err := os.WriteFile(filepath.Join(src, "a"), want, 0o644); err != nil {
				t.Fatal(err)
			}
			kind, side, _ := strings.Cut(name, " ")
			var from, to *transfer.Link
			if side == "source" {
				from, to = ends[kind](t, src, script), ends["ftp"](t, dst, nil)
			} else {
				from, to = ends["ftp"](t, src, nil), ends[kind](t, dst, script)
			}
			events := 0
			r, err := transfer.Relay(t.Context(), from, "/a", to, transfer.Job{Remote: "/b"}, impatient(), transfer.Observer{Event: func(policy.Event) { events++ }})
			if err != nil || r.Tries != 2 || events == 0 || r.Sent >= 2*size-size/4 || r.Resumed == 0 {
				t.Errorf("%+v %v, %d events", r, err, events)
			}
			onlyFile(t, dst, "b", want)
		})
	}
}

// TestRelayFaults: the fault names the server that it came from, and nothing is
// left at the target.
func TestRelayFaults(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "a"), randomBytes(3_000_000), 0o644); err != nil {
		t.Fatal(err)
	}
	denied := func(verb string) []lab.Rule { return []lab.Rule{{On: verb, Do: lab.Reply(550, "Permission denied.")}} }
	for _, tt := range []struct {
		name     string
		from, to *transfer.Link
		path, op string
	}{
		{"missing", ends["ftp"](t, src, nil), ends["ftp"](t, dst, nil), "/none", ""},
		{"refused source", ends["ftp"](t, src, denied("RETR")), ends["sftp"](t, dst, nil), "/a", "RETR"},
		{"refused target", ends["sftp"](t, src, nil), ends["ftp"](t, dst, denied("STOR")), "/a", "STOR"},
	} {
		_, err := transfer.Relay(t.Context(), tt.from, tt.path, tt.to, transfer.Job{Remote: "/b"}, impatient(), transfer.Observer{})
		g, ok := errors.AsType[*policy.GaveUp](err)
		if !ok || tt.op != "" && g.Last.Op != tt.op {
			t.Errorf("%s: %v (%+v)", tt.name, err, g)
		}
		if list, err := os.ReadDir(dst); err != nil || len(list) > 0 {
			t.Errorf("%s: left behind: %v %v", tt.name, list, err)
		}
	}
}

// TestRelayCancelled: an interruption ends both ends, and leaves a part for the
// next run to continue.
func TestRelayCancelled(t *testing.T) {
	const size = 8_000_000
	src, dst := t.TempDir(), t.TempDir()
	want := randomBytes(size)
	if err := os.WriteFile(filepath.Join(src, "a"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	from, to := ends["sftp"](t, src, nil), ends["disk"](t, dst, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := transfer.Relay(ctx, from, "/a", to, transfer.Job{Remote: "/b"}, impatient(), transfer.Observer{Progress: func(pos int64) {
		if pos > size/2 {
			cancel()
		}
	}})
	if g, ok := errors.AsType[*policy.GaveUp](err); !ok || g.Verdict.Kind != policy.KindCancelled {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dst, "b")); err == nil {
		t.Fatal("half a file under its final name")
	}
	r, err := transfer.Relay(t.Context(), from, "/a", to, transfer.Job{Remote: "/b"}, impatient(), transfer.Observer{})
	if err != nil || r.Resumed < size/2 {
		t.Errorf("%+v %v", r, err)
	}
	onlyFile(t, dst, "b", want)
}
