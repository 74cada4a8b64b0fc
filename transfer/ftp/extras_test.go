package ftp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// TestSize: a look at the size alone costs one round trip where Stat needs two,
// and a file that is missing is known to be.
func TestSize(t *testing.T) {
	root := t.TempDir()
	store(t, root, "a file", []byte("four"))
	srv := start(t, lab.FTPConfig{Root: root, Without: []string{"MLST", "MLSD"}})
	s := dial(t, srv)
	before := len(srv.Log())
	n, err := s.Extras().Size(t.Context(), "a file")
	if err != nil || n != 4 {
		t.Errorf("%d, %v", n, err)
	}
	if asked := srv.Log()[before:]; asked.Count("SIZE") != 1 || asked.Count("MDTM")+asked.Count("CWD") != 0 {
		t.Errorf("asked\n%s", asked)
	}
	_, err = s.Extras().Size(t.Context(), "missing")
	kind(t, s, err, policy.KindMissing)

	// Without SIZE the listing tells.
	srv = start(t, lab.FTPConfig{Root: root, Without: []string{"MLST", "MLSD", "SIZE", "FEAT"}})
	s = dial(t, srv)
	for range 2 {
		if size := s.Extras().Size; size != nil {
			if n, err := size(t.Context(), "a file"); err != nil || n != 4 {
				t.Errorf("%d, %v", n, err)
			}
		}
	}
	if n := srv.Log().Count("SIZE"); n != 1 {
		t.Errorf("%d SIZE to a server that does not know it", n)
	}
	if srv := start(t, lab.FTPConfig{Root: root}); dial(t, srv).Extras().Size != nil {
		t.Error("MLST is one round trip, too")
	}
}

// TestSetModTime: by the command that the server has; one that it refuses is not
// tried again, and a missing file is not a missing command.
func TestSetModTime(t *testing.T) {
	when := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, test := range []struct {
		cfg  lab.FTPConfig
		used string
	}{
		{lab.FTPConfig{}, "MFMT"},
		{lab.FTPConfig{Without: []string{"MFMT"}, With: []string{"MDTM SET"}}, "MDTM"},
		{lab.FTPConfig{Without: []string{"MFMT"}, With: []string{"SITE UTIME"}}, "SITE"},
		{lab.FTPConfig{Without: []string{"MFMT", "FEAT"}, With: []string{"SITE UTIME"}}, "SITE"},
	} {
		test.cfg.Root = t.TempDir()
		store(t, test.cfg.Root, "a file", nil)
		srv := start(t, test.cfg)
		s := dial(t, srv)
		set := s.Extras().SetModTime
		err := set(t.Context(), "missing", when)
		kind(t, s, err, policy.KindMissing)
		for range 2 {
			if err := set(t.Context(), "a file", when.In(time.FixedZone("", 7200))); err != nil {
				t.Errorf("%s: %v", test.used, err)
			}
			info, err := os.Stat(filepath.Join(test.cfg.Root, "a file"))
			if err != nil || !info.ModTime().Equal(when) {
				t.Errorf("%s: %v, %v", test.used, info.ModTime(), err)
			}
		}
		if s.Extras().SetModTime == nil {
			t.Errorf("%s: forgotten", test.used)
		}
		if n := srv.Log().Count(test.used); n < 2 {
			t.Errorf("%d %s:\n%s", n, test.used, srv.Log())
		}
	}

	root := t.TempDir()
	store(t, root, "file", nil)
	srv := start(t, lab.FTPConfig{Root: root, Without: []string{"MFMT"}})
	s := dial(t, srv)
	if err := s.Extras().SetModTime(t.Context(), "file", when); err == nil {
		t.Error("no way to set a time, and no error")
	}
	if s.Extras().SetModTime != nil {
		t.Error("not learned")
	}
	works(t, s)
	again := dial(t, srv, func(o *ftp.Options) { o.Hints.Facts = s.Extras().Facts() })
	if again.Extras().SetModTime != nil {
		t.Error("not remembered")
	}
}

// TestTimeRefused: a server that has the command and refuses it has something
// against this file, or this time.
func TestTimeRefused(t *testing.T) {
	t.Parallel()
	when := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, test := range []struct {
		name    string
		cfg     lab.FTPConfig
		on      string
		code    int
		when    time.Time
		learned bool
	}{
		{"offered", lab.FTPConfig{}, "MFMT", 501, when, false},
		{"offered", lab.FTPConfig{}, "MFMT", 550, when, false},
		{"offered, not known", lab.FTPConfig{}, "MFMT", 502, when, true},
		{"tried", lab.FTPConfig{Without: []string{"MFMT"}}, "MDTM", 550, when, true},
		{"tried, before 1970", lab.FTPConfig{Without: []string{"MFMT"}}, "MDTM", 501, time.Date(1965, 1, 1, 0, 0, 0, 0, time.UTC), false},
		{"tried, after 2038", lab.FTPConfig{Without: []string{"MFMT"}}, "MDTM", 501, time.Date(2105, 1, 1, 0, 0, 0, 0, time.UTC), false},
	} {
		t.Run(fmt.Sprint(test.name, " ", test.code), func(t *testing.T) {
			t.Parallel()
			cfg := test.cfg
			cfg.Root = t.TempDir()
			store(t, cfg.Root, "file", nil)
			srv := start(t, cfg)
			srv.SetScript(lab.Rule{On: test.on, Do: lab.Reply(test.code, "No.")})
			s := dial(t, srv)
			if err := s.Extras().SetModTime(t.Context(), "file", test.when); err == nil {
				t.Error("no error")
			}
			works(t, s)
			learned := false
			for name := range s.Extras().Facts() {
				learned = learned || name == "no:MFMT" || name == "no:MDTM-write"
			}
			if learned != test.learned {
				t.Errorf("learned: %+v", s.Extras().Facts())
			}
		})
	}
}

func TestChmod(t *testing.T) {
	root := t.TempDir()
	store(t, root, "a file", nil)
	s := dial(t, start(t, lab.FTPConfig{Root: root}))
	if err := s.Extras().Chmod(t.Context(), "a file", 0o640); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(root, "a file")); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	kind(t, s, s.Extras().Chmod(t.Context(), "missing", 0o640), policy.KindMissing)

	for _, code := range []int{500, 502, 504, 202} {
		s = dial(t, start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "SITE", Do: lab.Reply(code, "Not here.")}}}))
		is(t, s.Extras().Chmod(t.Context(), "a file", fs.ModeSetuid|0o755), "SITE CHMOD", policy.Command, code, "")
		if s.Extras().Chmod != nil {
			t.Errorf("%d: not learned", code)
		}
	}
}

func TestSpace(t *testing.T) {
	srv := start(t, lab.FTPConfig{With: []string{"AVBL"}, Volumes: []lab.Volume{{Capacity: 5000}}})
	s := dial(t, srv)
	put(t, s, "file", pattern(2000))
	got, err := s.Extras().Space(t.Context(), ".")
	if err != nil || got.Free != 3000 || got.Total != -1 || got.FreeFiles != -1 {
		t.Errorf("%+v, %v", got, err)
	}
	if dial(t, start(t, lab.FTPConfig{})).Extras().Space != nil {
		t.Error("offered by a server that can't say")
	}
}

func TestRealpath(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "home/acme/in"), 0o755); err != nil {
		t.Fatal(err)
	}
	srv := start(t, lab.FTPConfig{Root: root, Home: "/home/acme"})
	s := dial(t, srv)
	for in, want := range map[string]string{
		".": "/home/acme", "in": "/home/acme/in", "in/..": "/home/acme", "/home": "/home",
		"new file": "/home/acme/new file", "/x": "/x",
	} {
		if got, err := s.Extras().Realpath(t.Context(), in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	works(t, s) // relative paths still begin at the login directory
	if _, err := os.Stat(filepath.Join(root, "home/acme/works-abc")); err != nil {
		t.Error(err)
	}
	srv.SetScript(lab.Rule{On: "PWD", Do: lab.Reply(257, `"/with ""quotes""" is it`)})
	if got, err := dial(t, srv).Extras().Realpath(t.Context(), "x"); err != nil || got != `/with "quotes"/x` {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFacts: what a session has learned, each with its reason, and nothing that
// a dying server said.
func TestFacts(t *testing.T) {
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "SIZE", Do: lab.Reply(500, "OOPS: dying").Then(lab.Drop(lab.FIN))}}, Without: []string{"MLST", "MLSD"}})
	s := dial(t, srv, limits(quick))
	_, err := s.Stat(t.Context(), "file")
	faultOf(t, err)
	for name, f := range s.Extras().Facts() {
		if strings.HasPrefix(name, "no:") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	srv = start(t, lab.FTPConfig{Without: []string{"SIZE"}})
	s = dial(t, srv)
	works(t, s)
	if _, err := s.Get(t.Context(), "works-abc", 0, discard(7)); err == nil {
		t.Error("3 bytes for 7")
	}
	works(t, s)
	f := s.Extras().Facts()
	if got := f["no:SIZE"]; !strings.Contains(got.Reason, "502") || time.Since(got.At) > time.Minute {
		t.Errorf("%+v", f)
	}
}

// TestDiagnose: the cause behind a bare 550, with what was seen, and nothing is
// written for it.
func TestDiagnose(t *testing.T) {
	for _, without := range [][]string{nil, {"MLST", "MLSD"}} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "dir/full"), 0o755); err != nil {
			t.Fatal(err)
		}
		store(t, root, "file", []byte("abc"))
		long := strings.Repeat("n", 256)
		for _, test := range []struct {
			op, path string
			need     int64
			cause    policy.Cause
			evidence string
		}{
			{"RETR", "missing", 0, policy.CauseRemoteMissing, "missing is not there"},
			{"RETR", "none/file", 0, policy.CauseRemoteMissing, "none is not there"},
			{"RETR", "dir", 0, policy.CauseRemoteDirectory, "dir is there, a directory"},
			{"RETR", "file", 0, policy.CauseRemotePermission, "file is there, a file of 3 bytes"},
			{"DELE", "dir", 0, policy.CauseRemoteDirectory, ""},
			{"DELE", "file", 0, policy.CauseRemotePermission, ""},
			{"RMD", "dir", 0, policy.CauseRemoteNotEmpty, "dir is not empty"},
			{"RMD", "file", 0, policy.CauseRemoteNotDirectory, ""},
			{"RMD", "dir/full", 0, policy.CauseRemotePermission, ""},
			{"RNFR", "missing", 0, policy.CauseRemoteMissing, ""},
			{"LIST", "file", 0, policy.CauseRemoteNotDirectory, ""},
			{"STOR", "none/file", 0, policy.CauseRemoteParentMissing, "none is not there"},
			{"STOR", "file/below", 0, policy.CauseRemoteNotDirectory, "file is there, a file of 3 bytes"},
			{"STOR", "dir", 0, policy.CauseRemoteDirectory, ""},
			{"STOR", "new", 0, policy.CauseRemotePermission, ". is there, a directory"},
			{"STOR", "new", 1 << 40, policy.CauseRemoteSpace, "bytes are free"},
			{"STOR", long, 0, policy.CauseRemoteNameTooLong, "256 bytes"},
			{"MKD", "dir", 0, policy.CauseRemoteExists, ""},
			{"MKD", "none/dir", 0, policy.CauseRemoteParentMissing, ""},
			{"RNTO", "file", 0, policy.CauseRemoteExists, ""},
		} {
			srv := start(t, lab.FTPConfig{Root: root, With: []string{"AVBL"}, Without: without, Volumes: []lab.Volume{{Capacity: 1 << 20}}})
			s := dial(t, srv)
			f := &policy.Fault{Protocol: policy.FTP, Phase: policy.Command, Op: test.op, Path: test.path, Code: 550, Text: "Failed."}
			v := s.Extras().Diagnose(t.Context(), f, test.need)
			if v.Rule != string(test.cause) || !strings.Contains(v.Evidence, test.evidence) {
				t.Errorf("%s %.20s: %s, %q; want %s, %q", test.op, test.path, v.Rule, v.Evidence, test.cause, test.evidence)
			}
			for _, verb := range []string{"STOR", "MKD", "DELE", "RNFR", "RMD", "APPE"} {
				if srv.Log().Count(verb) > 0 {
					t.Errorf("%s %.20s: the diagnosis sent %s", test.op, test.path, verb)
				}
			}
			works(t, s)
		}
	}
	// Where it can't look, the code stands, and nothing is tried again.
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv)
	_ = s.Close()
	f := &policy.Fault{Protocol: policy.FTP, Phase: policy.Command, Op: "RETR", Path: "x", Code: 550, Text: "Failed."}
	if v := s.Extras().Diagnose(t.Context(), f, 0); v.Rule != "ftp-550" || v.Remedy != policy.GiveUp {
		t.Errorf("%+v", v)
	}
}

// TestMkdirAll: the parents that are missing are made, however many.
func TestMkdirAll(t *testing.T) {
	for _, without := range [][]string{nil, noMLST} {
		root := t.TempDir()
		link := linkTo(t, start(t, lab.FTPConfig{Root: root, Without: without}))
		for _, dir := range []string{"k/l/m/n", "/k/x/y"} {
			if err := transfer.MkdirAll(t.Context(), link, impatient(), "mkdir", dir); err != nil {
				t.Error(err)
			}
			if info, err := os.Stat(filepath.Join(root, dir)); err != nil || !info.IsDir() {
				t.Error(err)
			}
		}
		store(t, root, "file", nil)
		err := transfer.MkdirAll(t.Context(), link, impatient(), "mkdir", "file/x/y")
		if g, ok := errors.AsType[*policy.GaveUp](err); !ok || g.Verdict.Rule != string(policy.CauseRemoteNotDirectory) {
			t.Errorf("below a file: %v", err)
		}
	}
}

// story is what happened in a transfer.Run.
type story struct{ events []policy.Event }

func (s *story) observer() transfer.Observer {
	return transfer.Observer{Event: func(e policy.Event) { s.events = append(s.events, e) }}
}

// TestTargetIntact: a put onto an existing file, through each failure, leaves the
// old content or the new and nothing else. A STOR of the target itself would
// have emptied it.
func TestTargetIntact(t *testing.T) {
	old, fresh := pattern(5000), bytes.Repeat([]byte("fresh "), 600_000)
	for _, test := range []struct {
		name   string
		cfg    lab.FTPConfig
		done   bool
		verify transfer.Verify
	}{
		{"425 until active", lab.FTPConfig{Modes: lab.ActiveOnly(lab.Data425)}, true, transfer.VerifySize},
		{"425 after 150 until active", lab.FTPConfig{Modes: lab.ActiveOnly(lab.Data425After150)}, true, transfer.VerifySize},
		{"port closed until active", lab.FTPConfig{Modes: lab.ActiveOnly(lab.DataDead)}, true, transfer.VerifySize},
		{"522, once", lab.FTPConfig{TLS: lab.Explicit, Script: []lab.Rule{{On: "STOR", Times: 1, Do: lab.Reply(150, "Go.").Then(lab.Reply(522, "Reuse required."))}}}, true, transfer.VerifySize},
		{"450, twice", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", Times: 2, Do: lab.Reply(450, "Busy.")}}}, true, transfer.VerifySize},
		{"cut at 60 %, three times", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Times: 3, Do: lab.DropData(lab.RST).Then(lab.Drop(lab.RST))}}}, true, transfer.VerifySize},
		{"data connection lost, TLS", lab.FTPConfig{TLS: lab.Explicit, Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Times: 3, Do: lab.DropData(lab.FIN)}}}, true, transfer.VerifySize},
		{"confirmation lost", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.Finally, Times: 1, Do: lab.Drop(lab.RST)}}}, true, transfer.VerifySize},
		{"rename confirmed by nobody", lab.FTPConfig{Script: []lab.Rule{{On: "RNTO", When: lab.Finally, Times: 1, Do: lab.Drop(lab.RST)}}}, true, transfer.VerifySize},
		{"no REST after a cut", lab.FTPConfig{Without: []string{"REST"}, Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Times: 1, Do: lab.Drop(lab.RST).Then(lab.DropData(lab.RST))}}}, true, transfer.VerifySize},
		{"truncated with a 226", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Times: 1, Do: lab.Truncate()}}}, true, transfer.VerifySize},
		{"forbidden", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", Do: lab.Reply(550, "Permission denied.")}}}, false, transfer.VerifySize},
		{"disk full", lab.FTPConfig{Volumes: []lab.Volume{{Capacity: 1 << 20}}}, false, transfer.VerifySize},
		{"552 in the middle", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Do: lab.Reply(552, "Quota exceeded.")}}}, false, transfer.VerifySize},
		{"another content, once", lab.FTPConfig{With: []string{"HASH"}, Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Times: 1, Do: lab.Corrupt()}}}, true, transfer.VerifyHash},
		{"another content, always", lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.During, After: 500_000, Do: lab.Corrupt()}}}, false, transfer.VerifyReadback},
		{"no checksum on the server", lab.FTPConfig{}, false, transfer.VerifyHash},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			store(t, root, "target", old)
			cfg := test.cfg
			cfg.Root = root
			srv := start(t, cfg)
			link := linkTo(t, srv, limits(quick))
			local := filepath.Join(t.TempDir(), "local")
			if err := os.WriteFile(local, fresh, 0o644); err != nil {
				t.Fatal(err)
			}
			var told story
			job := transfer.Job{Direction: transfer.Put, Local: local, Remote: "target", Verify: test.verify}
			_, err := transfer.Run(t.Context(), link, job, impatient(), told.observer())
			if (err == nil) != test.done {
				t.Errorf("%v", err)
			}
			want := old
			if test.done {
				want = fresh
			}
			if got := stored(t, root, "target"); !bytes.Equal(got, want) {
				t.Errorf("the target has %d bytes, neither the old nor the new content", len(got))
			}
			var names []string
			entries, err := os.ReadDir(root)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if test.done && !slices.Equal(names, []string{"target"}) {
				t.Errorf("left behind: %q", names)
			}
			for _, e := range told.events {
				t.Logf("%v → %v", e.Fault, e.Remedy)
			}
		})
	}
}

// TestStaleLock: as vsftpd does, the server gives no reply while another session
// still holds the file, here that of a run that was killed. That is waited out.
func TestStaleLock(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root, LockUploads: true})
	stale, holding := dial(t, srv), make(chan error, 1)
	waiting, never := io.Pipe()
	defer never.Close()
	go func() {
		_, err := stale.Put(t.Context(), "target", 0, transfer.Source{R: waiting, Size: -1})
		holding <- err
	}()
	if err := srv.Await(t.Context(), func(l lab.Log) bool { return l.Count("STOR") > 0 }); err != nil {
		t.Fatal(err)
	}
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, pattern(100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	var told story
	observer := told.observer()
	tell := observer.Event
	observer.Event = func(e policy.Event) {
		tell(e)
		_ = stale.Close() // the operating system has noticed at last
	}
	short := quick
	short.Reply = 500 * time.Millisecond
	job := transfer.Job{Direction: transfer.Put, Local: local, Remote: "target", InPlace: true}
	_, err := transfer.Run(t.Context(), linkTo(t, srv, limits(short)), job, impatient(), observer)
	if err != nil {
		t.Error(err)
	}
	if len(told.events) == 0 || told.events[0].Fault.Cause != policy.CauseNoReply {
		t.Errorf("%+v: the server should have kept silent first", told.events)
	}
	if err := <-holding; err == nil {
		t.Error("the other upload ended well")
	}
	if got := stored(t, root, "target"); !bytes.Equal(got, pattern(100_000)) {
		t.Errorf("%d bytes", len(got))
	}
}

// linkTo dials a server of the lab as the program would.
func linkTo(t *testing.T, srv *lab.FTP, change ...func(*ftp.Options)) *transfer.Link {
	t.Helper()
	loc, err := transfer.ParseURL("ftp://" + srv.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	link := transfer.NewLink(loc, func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		o := options(t, srv, change...)
		o.Hints = hints
		return ftp.Dial(ctx, o)
	}, transfer.ModeAuto, nil)
	t.Cleanup(func() { _ = link.Close(context.Background()) })
	return link
}

// impatient is the policy with short delays.
func impatient() *policy.Engine {
	l := policy.DefaultLimits()
	l.Base, l.Cap, l.Jitter = time.Millisecond, 5*time.Millisecond, 0
	return &policy.Engine{Limits: l}
}
