package batch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/disk"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/ledger"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// moveSetup is a move that another process can run too.
type moveSetup struct {
	From, To   endSetup
	State      string // the directory of the ledger
	Claim      string
	Archive    string
	Marker     string
	Quarantine string
	Failures   int
	Unsettled  Unsettled
	// DieAt is the failpoint at which the process kills itself.
	DieAt string
}

type endSetup struct {
	Kind, Addr, KnownHosts, Dir string
	// OtherTimes: the server gives other times for a file than it lists.
	OtherTimes bool
	// Caseless: the server's file system does not tell upper from lower case.
	Caseless bool
}

type otherTimes struct{ transfer.Session }

func (s otherTimes) Stat(ctx context.Context, path string) (transfer.Info, error) {
	i, err := s.Session.Stat(ctx, path)
	i.ModTime = i.ModTime.Add(-time.Hour)
	return i, err
}

func (e endSetup) end() End { return e.remembering(nil) }

func (e endSetup) remembering(m transfer.Memory) End {
	loc := transfer.Location{Scheme: "file"}
	dial := disk.Dialer(e.Dir)
	switch e.Kind {
	case "ftp":
		loc = transfer.Location{Scheme: transfer.SchemeFTP, Host: "127.0.0.1", User: "u"}
		dial = func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
			return ftp.Dial(ctx, ftp.Options{Address: e.Addr, User: "u", Hints: hints,
				Password: func(context.Context) (auth.Secret, error) { return auth.NewSecret("p"), nil }})
		}
	case "sftp":
		loc = transfer.Location{Scheme: transfer.SchemeSFTP, Host: "127.0.0.1", User: "u"}
		dial = func(ctx context.Context, _ transfer.Hints) (transfer.Session, error) {
			return sftp.Dial(ctx, sftp.Options{Address: e.Addr,
				Login:    &auth.Login{User: "u", Password: &auth.Source{Given: auth.NewSecret("p"), GivenBy: "the test"}},
				HostKeys: &auth.HostKeys{Files: []string{e.KnownHosts}}})
		}
	}
	if e.OtherTimes {
		honest := dial
		dial = func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
			s, err := honest(ctx, hints)
			return otherTimes{s}, err
		}
	}
	if e.Caseless {
		exact := dial
		dial = func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
			s, err := exact(ctx, hints)
			return caseless{s, e.Dir}, err
		}
	}
	end := End{Path: "/", Links: NewLinks(loc, func() *transfer.Link { return transfer.NewLink(loc, dial, transfer.ModeAuto, m) }, impatient(), 2)}
	if e.Kind == "disk" {
		end.Local = e.Dir
	}
	return end
}

// startEnd starts a server, or makes a directory.
func startEnd(t *testing.T, kind string, script ...lab.Rule) endSetup {
	t.Helper()
	e := endSetup{Kind: kind, Dir: t.TempDir()}
	switch kind {
	case "ftp":
		srv, err := lab.StartFTP(lab.FTPConfig{Root: e.Dir, User: "u", Password: "p", Script: script})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		e.Addr = srv.Addr()
	case "sftp":
		srv, err := lab.StartSFTP(lab.SFTPConfig{Root: e.Dir, User: "u", Password: "p", Script: script})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = srv.Close() })
		e.Addr, e.KnownHosts = srv.Addr(), srv.KnownHostsFile()
	}
	return e
}

// run is one run of the move. It gives what became of each file, by name.
func (s moveSetup) run(ctx context.Context) (told map[string]string, warned []string, err error) {
	books := ledger.Open(filepath.Join(s.State, "ledger.db"))
	m := &Move{
		From: s.From.remembering(books), To: s.To.remembering(books), Claim: s.Claim, Archive: s.Archive, Ready: Ready{Marker: s.Marker},
		Quarantine: s.Quarantine, Failures: s.Failures, Unsettled: s.Unsettled, Key: "test", Name: "move", Ledger: books,
		Job:  transfer.Job{Lock: ledger.Locks{Dir: filepath.Join(s.State, "locks")}.Lock},
		Warn: func(text, file string) { warned = append(warned, text+": "+file) },
	}
	told = map[string]string{}
	deliver := func(p Pickup) error {
		r, err := m.Deliver(ctx, p, transfer.Observer{})
		switch {
		case err != nil:
			told[p.Name] = "failed: " + err.Error()
		case r.Skipped != "":
			told[p.Name] = "skipped: " + r.Skipped
		default:
			told[p.Name] = "done"
		}
		return nil
	}
	err = errors.Join(m.Unfinished(ctx, deliver), m.Pickups(ctx, deliver))
	return told, warned, errors.Join(err, m.From.Links.Close(ctx), m.To.Links.Close(ctx), books.Close())
}

const crashEnv = "XFER_TEST_MOVE"

// TestMain lets the test run itself as a process that is killed.
func TestMain(m *testing.M) {
	if setup := os.Getenv(crashEnv); setup != "" {
		var s moveSetup
		if err := json.Unmarshal([]byte(setup), &s); err != nil {
			panic(err)
		}
		failpoint = func(name string) {
			if name == s.DieAt {
				self, _ := os.FindProcess(os.Getpid())
				_ = self.Kill()
				select {}
			}
		}
		_, _, err := s.run(context.Background())
		fmt.Fprintln(os.Stderr, "survived:", err)
		os.Exit(3)
	}
	os.Exit(m.Run())
}

// crash runs the move in a process of its own that is killed at a failpoint.
func (s moveSetup) crash(t *testing.T, at string) {
	t.Helper()
	s.DieAt = at
	setup, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(setup))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Exited() {
		t.Fatalf("the process was not killed at %q: %v\n%s", at, err, out)
	}
}

// failpoints are all of a move with a claim, a marker and an archive.
var failpoints = []string{
	"intended", "claimed", "before sending", "sending", "before publishing", "publishing", "published",
	"before delivered", "delivered", "unmarked", "finished",
}

// TestMoveCrash: wherever a move is killed, the next run leaves the file once at
// the target and once in the archive, even if the receiver has taken it away in
// between, and there is no other trace.
func TestMoveCrash(t *testing.T) {
	const body = "exactly once"
	for _, pair := range []string{"disk ftp", "sftp disk", "ftp sftp"} {
		from, to, _ := strings.Cut(pair, " ")
		for _, at := range failpoints {
			t.Run(pair+" "+at, func(t *testing.T) {
				t.Parallel()
				s := moveSetup{
					From: startEnd(t, from), To: startEnd(t, to), State: t.TempDir(),
					Claim: "NAME.claimed", Archive: "done/NAME", Marker: "NAME.ok",
				}
				// What came before was taken away, so that is what happens there.
				tree(t, s.From.Dir, "other.txt", "0.csv", "0.csv.ok")
				if told, _, err := s.run(t.Context()); err != nil || told["0.csv"] != "done" {
					t.Fatalf("%v %v", told, err)
				}
				if err := os.Remove(filepath.Join(s.To.Dir, "0.csv")); err != nil {
					t.Fatal(err)
				}
				for name, content := range map[string]string{"a.csv": body, "a.csv.ok": ""} {
					if err := os.WriteFile(filepath.Join(s.From.Dir, name), []byte(content), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				s.crash(t, at)

				arrived := 0
				take := func() { // the receiver takes what it sees
					b, err := os.ReadFile(filepath.Join(s.To.Dir, "a.csv"))
					if err != nil {
						return
					}
					if string(b) != body {
						t.Errorf("half a file: %q", b)
					}
					arrived++
					if err := os.Remove(filepath.Join(s.To.Dir, "a.csv")); err != nil {
						t.Fatal(err)
					}
				}
				take()
				told, _, err := s.run(t.Context())
				if err != nil || strings.HasPrefix(told["a.csv"], "failed") {
					t.Fatalf("%v %v", told, err)
				}
				take()
				again, _, err := s.run(t.Context())
				if err != nil || len(again) > 0 {
					t.Errorf("a third run: %v %v", again, err)
				}
				take()
				if arrived != 1 {
					t.Errorf("it arrived %d times", arrived)
				}
				if got, want := contents(t, s.From.Dir), map[string]string{"done": "/", "done/0.csv": "0.csv", "done/a.csv": body, "other.txt": "other.txt"}; !maps.Equal(got, want) {
					t.Errorf("the source holds %v, want %v", got, want)
				}
				if got := contents(t, s.To.Dir); len(got) > 0 {
					t.Errorf("left at the target: %v", got)
				}
				books := ledger.Open(filepath.Join(s.State, "ledger.db"))
				defer books.Close()
				list, err := books.Deliveries(t.Context(), ledger.Query{})
				if err != nil || len(list) != 2 || list[0].Outcome != ledger.Done || list[0].SHA256 != sumOf(body) {
					t.Errorf("ledger: %+v %v", list, err)
				}
			})
		}
	}
}

// TestMoveCrashNotUTF8: a file whose name is no UTF-8 is found again after a kill.
func TestMoveCrashNotUTF8(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the file systems of other systems hold no such names")
	}
	const name = "b\xe9t\xe9"
	for _, at := range []string{"claimed", "publishing", "published", "delivered"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := moveSetup{From: startEnd(t, "ftp"), To: startEnd(t, "sftp"), State: t.TempDir(), Claim: "NAME.claimed", Archive: "done"}
			tree(t, s.From.Dir, name)
			s.crash(t, at)
			if told, _, err := s.run(t.Context()); err != nil || told[name] != "done" {
				t.Errorf("%q %v", told, err)
			}
			if got := contents(t, s.From.Dir); len(got) != 2 || got["done/"+name] != name {
				t.Errorf("the source holds %q", got)
			}
			if got := contents(t, s.To.Dir); len(got) != 1 || got[name] != name {
				t.Errorf("the target holds %q", got)
			}
		})
	}
}

func sumOf(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

// TestMoveUnsettled: a file that is under neither name after a kill stays at the
// source, and is not sent again, until somebody says what became of it.
func TestMoveUnsettled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		at        string
		arrived   bool // in truth
		unsettled Unsettled
		want      int
	}{
		{"publishing", false, Resend, 1},
		{"published", true, Arrived, 0},
		{"published", true, Resend, 1},
	} {
		t.Run(fmt.Sprint(tt.at, " ", tt.unsettled), func(t *testing.T) {
			t.Parallel()
			s := moveSetup{From: startEnd(t, "disk"), To: startEnd(t, "sftp"), State: t.TempDir()}
			tree(t, s.From.Dir, "stays")
			if _, _, err := s.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			tree(t, s.From.Dir, "a")
			s.crash(t, tt.at)
			for name := range contents(t, s.To.Dir) {
				if name == "stays" {
					continue
				}
				if transfer.IsTemp(name) == tt.arrived {
					t.Fatalf("the target holds %s", name)
				}
				if err := os.Remove(filepath.Join(s.To.Dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if act, err := s.outlook(t.Context()); err != nil || act != "report" {
					t.Errorf("outlook: %q %v", act, err)
				}
				told, _, err := s.run(t.Context())
				if err != nil || told["a"] != "skipped: an earlier delivery of the name is not settled: xfer recover" {
					t.Errorf("%v %v", told, err)
				}
				if _, err := os.Stat(filepath.Join(s.From.Dir, "a")); err != nil {
					t.Error(err)
				}
			}
			s.Unsettled = tt.unsettled
			if _, warned, err := s.run(t.Context()); err != nil || len(warned) != 1 {
				t.Errorf("%v %v", warned, err)
			}
			if got := contents(t, s.To.Dir); len(got) != 1+tt.want || len(contents(t, s.From.Dir)) > 0 {
				t.Errorf("target %v, source %v", got, contents(t, s.From.Dir))
			}
		})
	}
}

// outlook is what recover tells of the one file that is left.
func (s moveSetup) outlook(ctx context.Context) (act string, err error) {
	books := ledger.Open(filepath.Join(s.State, "ledger.db"))
	m := &Move{From: s.From.end(), To: s.To.end(), Key: "test", Name: "move", Ledger: books, Archive: s.Archive}
	err = m.Unfinished(ctx, func(p Pickup) error {
		var why string
		act, why, err = m.Outlook(ctx, p)
		if why == "" {
			act = "no reason"
		}
		return err
	})
	return act, errors.Join(err, m.From.Links.Close(ctx), m.To.Links.Close(ctx), books.Close())
}

// TestMoveOutlook: what recover tells is what the next run does, and nothing
// changes by telling it.
func TestMoveOutlook(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"intended": "send", "claimed": "send", "sending": "send", "publishing": "send", "published": "finish", "delivered": "finish", "finished": "finish",
	} {
		for _, changed := range []bool{false, true} {
			t.Run(fmt.Sprint(at, " ", changed), func(t *testing.T) {
				t.Parallel()
				s := moveSetup{From: startEnd(t, "sftp"), To: startEnd(t, "disk"), State: t.TempDir(), Claim: "NAME.claimed", Archive: "done"}
				tree(t, s.From.Dir, "a")
				s.crash(t, at)
				want := want
				if changed {
					if want == "send" {
						want = "undo"
					}
					for _, name := range []string{"a", "a.claimed"} {
						if _, err := os.Stat(filepath.Join(s.From.Dir, name)); err == nil {
							if err := os.WriteFile(filepath.Join(s.From.Dir, name), []byte("longer"), 0o644); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				from, to := contents(t, s.From.Dir), contents(t, s.To.Dir)
				if act, err := s.outlook(t.Context()); err != nil || act != want {
					t.Errorf("outlook: %q %v, want %q", act, err, want)
				}
				if !maps.Equal(from, contents(t, s.From.Dir)) || !maps.Equal(to, contents(t, s.To.Dir)) {
					t.Error("telling changed something")
				}
				if changed {
					return
				}
				if told, _, err := s.run(t.Context()); err != nil || told["a"] != "done" || contents(t, s.To.Dir)["a"] != "a" {
					t.Errorf("%v %v", told, err)
				}
			})
		}
	}
}

// TestMoveNextVersion: a file that is written anew after its delivery, and before
// its source is taken away, is delivered too.
func TestMoveNextVersion(t *testing.T) {
	t.Parallel()
	for _, claim := range []string{"", "NAME.claimed"} {
		s := moveSetup{From: startEnd(t, "sftp"), To: startEnd(t, "disk"), State: t.TempDir(), Marker: "NAME.ok", Claim: claim}
		tree(t, s.From.Dir, "a", "a.ok")
		s.crash(t, "delivered")
		name := strings.ReplaceAll(cmp.Or(claim, "NAME"), "NAME", "a")
		if err := os.WriteFile(filepath.Join(s.From.Dir, name), []byte("next version"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, warned, err := s.run(t.Context())
		if err != nil || len(warned) != 2 {
			t.Errorf("claim %q: %q %v", claim, warned, err)
		}
		if got := contents(t, s.To.Dir)["a"]; got != "next version" || len(contents(t, s.From.Dir)) > 0 {
			t.Errorf("claim %q: %q arrived; source %v", claim, got, contents(t, s.From.Dir))
		}
	}
}

// TestMoveSameByChance: a file of the same name, size and time as one that was
// delivered is not taken for it when its content is another.
func TestMoveSameByChance(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"disk", "sftp", "ftp"} {
		s := moveSetup{From: startEnd(t, kind), To: startEnd(t, "disk"), State: t.TempDir()}
		when := time.Now().Add(-time.Hour)
		for i, content := range []string{"one", "two", "two"} {
			path := filepath.Join(s.From.Dir, "a")
			if err := errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, when, when)); err != nil {
				t.Fatal(err)
			}
			told, warned, err := s.run(t.Context())
			want := []string{"done", "done", "skipped"}[i]
			if err != nil || !strings.HasPrefix(told["a"], want) || len(warned) != min(i, 1)-i/2 {
				t.Errorf("%s, delivery %d: %v %q %v", kind, i, told, warned, err)
			}
			if got := contents(t, s.To.Dir)["a"]; got != content {
				t.Errorf("%s: %q arrived, want %q", kind, got, content)
			}
		}
	}
}

// TestMoveReady: what is still being written stays.
func TestMoveReady(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"grows", "stays", "marked", "marked.ok", "young", ".x.xfer-0123456789ab.part", "x.claimed"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte("1"), 0o644), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if err := os.Chtimes(filepath.Join(dir, "young"), now, now); err != nil {
		t.Fatal(err)
	}
	end := localEnd(t, dir)
	picked := func(r Ready) (names []string) {
		m := &Move{From: end, Ready: r, Claim: "NAME.claimed", Name: "move"}
		err := m.Pickups(t.Context(), func(p Pickup) error {
			names = append(names, p.Name)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if got := picked(Ready{MinAge: time.Minute}); !slices.Equal(got, []string{"grows", "marked", "marked.ok", "stays"}) {
		t.Errorf("older than a minute: %q", got)
	}
	if got := picked(Ready{Marker: "NAME.ok"}); !slices.Equal(got, []string{"marked"}) {
		t.Errorf("marked: %q", got)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = os.WriteFile(filepath.Join(dir, "grows"), []byte("12"), 0o644)
	}()
	if got := picked(Ready{Settle: 300 * time.Millisecond}); !slices.Equal(got, []string{"marked", "marked.ok", "stays", "young"}) {
		t.Errorf("settled: %q", got)
	}
}

// TestMoveOnce: what was delivered and could not be deleted is not sent again; a
// name that is used again is.
func TestMoveOnce(t *testing.T) {
	s := moveSetup{From: startEnd(t, "ftp", lab.Rule{On: "DELE", Times: 1, Do: lab.Reply(550, "Permission denied.")}), To: startEnd(t, "disk"), State: t.TempDir()}
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.From.Dir, "a"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	told, _, err := s.run(t.Context())
	if err != nil || !strings.HasPrefix(told["a"], "failed") {
		t.Fatalf("%v %v", told, err)
	}
	if err := os.Remove(filepath.Join(s.To.Dir, "a")); err != nil {
		t.Fatal(err)
	}
	if told, _, err = s.run(t.Context()); err != nil || told["a"] == "" {
		t.Errorf("%v %v", told, err)
	}
	if len(contents(t, s.To.Dir))+len(contents(t, s.From.Dir)) > 0 {
		t.Errorf("target %v, source %v: want nothing", contents(t, s.To.Dir), contents(t, s.From.Dir))
	}
	write("other")
	told, warned, err := s.run(t.Context())
	if err != nil || told["a"] != "done" || len(warned) != 1 {
		t.Errorf("%v %q %v", told, warned, err)
	}
	if got := contents(t, s.To.Dir); got["a"] != "other" {
		t.Errorf("target %v", got)
	}
}

// TestMoveQuarantine: a file that the target refuses is put aside after so many
// failures, with the verdict, and what was claimed has its name back before.
func TestMoveQuarantine(t *testing.T) {
	s := moveSetup{
		From: startEnd(t, "sftp"), To: startEnd(t, "ftp", lab.Rule{On: "STOR", Path: "*bad*", Do: lab.Reply(553, "Name not allowed.")}),
		State: t.TempDir(), Claim: "NAME.claimed", Quarantine: "aside", Failures: 2,
	}
	tree(t, s.From.Dir, "bad", "good")
	for n := range 2 {
		if _, err := os.Stat(filepath.Join(s.From.Dir, "bad")); err != nil {
			t.Fatalf("run %d: %v", n, err)
		}
		told, _, err := s.run(t.Context())
		if err != nil || !strings.HasPrefix(told["bad"], "failed") || n == 0 && told["good"] != "done" {
			t.Fatalf("run %d: %v %v", n, told, err)
		}
	}
	got := contents(t, s.From.Dir)
	if got["aside/bad"] != "bad" || !strings.Contains(got["aside/bad.verdict.txt"], "553 Name not allowed") || len(got) != 3 {
		t.Errorf("source %v", got)
	}
	if told, _, err := s.run(t.Context()); err != nil || len(told) > 0 {
		t.Errorf("again: %v %v", told, err)
	}
}

// TestMoveSourceChanges: a file that changes while it is sent is not delivered,
// and stays; also one that another takes the place of, of the same size and in the
// same second.
func TestMoveSourceChanges(t *testing.T) {
	second := time.Now().Add(-time.Hour).Truncate(time.Second)
	for content, tt := range map[string]struct {
		to   string
		want policy.Cause
	}{
		"longer": {"disk", policy.CauseRemoteChanged}, "two": {"sftp", policy.CauseLocalChanged},
	} {
		s := moveSetup{From: startEnd(t, "disk"), To: startEnd(t, tt.to), State: t.TempDir()}
		file := filepath.Join(s.From.Dir, "a")
		if err := errors.Join(os.WriteFile(file, []byte("one"), 0o644), os.Chtimes(file, second, second)); err != nil {
			t.Fatal(err)
		}
		m, end := s.move(t)
		var changed bool
		err := m.Pickups(t.Context(), func(p Pickup) error {
			_, err := m.Deliver(t.Context(), p, transfer.Observer{Progress: func(int64) {
				if changed {
					return
				}
				next, later := filepath.Join(t.TempDir(), "next"), second.Add(time.Millisecond)
				changed = true
				if err := errors.Join(os.WriteFile(next, []byte(content), 0o644), os.Chtimes(next, later, later), os.Rename(next, file)); err != nil {
					t.Error(err)
				}
			}})
			return err
		})
		if err == nil || policy.FaultOf(err).Cause != tt.want {
			t.Errorf("%s: %v, want %s", content, err, tt.want)
		}
		if len(contents(t, s.To.Dir)) > 0 || contents(t, s.From.Dir)["a"] != content {
			t.Errorf("target %v, source %v", contents(t, s.To.Dir), contents(t, s.From.Dir))
		}
		end()
	}
}

// TestMoveWaits: a file that is written anew while it waits for its turn is not
// complete any more.
func TestMoveWaits(t *testing.T) {
	for _, kind := range []string{"disk", "sftp", "ftp", "sftp, other times"} {
		server, _, hasOther := strings.Cut(kind, ",")
		s := moveSetup{From: startEnd(t, server), To: startEnd(t, "disk"), State: t.TempDir()}
		s.From.OtherTimes = hasOther
		tree(t, s.From.Dir, "a", "b")
		m, end := s.move(t)
		var waiting []Pickup
		if err := m.Pickups(t.Context(), func(p Pickup) error {
			waiting = append(waiting, p)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.From.Dir, "b"), []byte("half of wh"), 0o644); err != nil {
			t.Fatal(err)
		}
		var skipped []string
		for _, p := range waiting {
			r, err := m.Deliver(t.Context(), p, transfer.Observer{})
			if err != nil {
				t.Error(err)
			}
			if r.Skipped != "" {
				skipped = append(skipped, p.Name)
			}
		}
		if !slices.Equal(skipped, []string{"b"}) || !maps.Equal(contents(t, s.To.Dir), map[string]string{"a": "a"}) || len(contents(t, s.From.Dir)) != 1 {
			t.Errorf("%s: skipped %q; target %v, source %v", kind, skipped, contents(t, s.To.Dir), contents(t, s.From.Dir))
		}
		end()
		if told, _, err := s.run(t.Context()); err != nil || told["b"] != "done" {
			t.Errorf("%s: %v %v", kind, told, err)
		}
	}
}

func TestExpandPath(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for pattern, want := range map[string]string{
		"done": "done/a.csv", "done/": "done/a.csv", "done/%Y/%m/%d/NAME": "done/2026/03/04/a.csv", "NAME.%H%M%S": "a.csv.050607", "100%%/NAME": "100%/a.csv",
	} {
		if got := expandPath(pattern, "a.csv", at); got != want {
			t.Errorf("%q: %q, want %q", pattern, got, want)
		}
	}
}

// TestMoveTogether: twenty processes' worth of runs over one directory deliver
// each file once.
func TestMoveTogether(t *testing.T) {
	t.Parallel()
	s := moveSetup{From: startEnd(t, "sftp"), To: startEnd(t, "disk"), State: t.TempDir(), Archive: "done"}
	names := make([]string, 25)
	for i := range names {
		names[i] = fmt.Sprintf("f%02d", i)
	}
	tree(t, s.From.Dir, names...)
	type result struct {
		told map[string]string
		err  error
	}
	results := make(chan result)
	const runs = 20
	for range runs {
		go func() {
			told, _, err := s.run(t.Context())
			results <- result{told, err}
		}()
	}
	done := map[string]int{}
	for range runs {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		for name, what := range r.told {
			switch {
			case what == "done":
				done[name]++
			case !strings.HasPrefix(what, "skipped"):
				t.Errorf("%s: %s", name, what)
			}
		}
	}
	for _, name := range names {
		if done[name] != 1 {
			t.Errorf("%s was delivered %d times", name, done[name])
		}
	}
	if from, to := contents(t, s.From.Dir), contents(t, s.To.Dir); len(to) != len(names) || len(from) != len(names)+1 {
		t.Errorf("target %v, source %v", to, from)
	}
}

// TestMoveClaimedByAnother: of machines with the same pattern for claims, each with
// a ledger of its own, one delivers a file, and the others leave it alone.
func TestMoveClaimedByAnother(t *testing.T) {
	for name, another := range map[string]func(file string) error{
		"renamed": func(file string) error { return os.Rename(file, file+".taken") },
		"gone":    os.Remove,
	} {
		s := moveSetup{From: startEnd(t, "sftp"), To: startEnd(t, "disk"), State: t.TempDir(), Claim: "NAME.taken", Failures: 1, Quarantine: "aside"}
		tree(t, s.From.Dir, "a")
		failpoint = func(at string) {
			if at == "intended" {
				if err := another(filepath.Join(s.From.Dir, "a")); err != nil {
					t.Error(err)
				}
			}
		}
		told, _, err := s.run(t.Context())
		failpoint = func(string) {}
		if err != nil || told["a"] != "skipped: another has claimed it" {
			t.Errorf("%s: %v %v", name, told, err)
		}
		left := contents(t, s.From.Dir)
		if delete(left, "a.taken"); len(left)+len(contents(t, s.To.Dir)) > 0 {
			t.Errorf("%s: source %v, target %v", name, contents(t, s.From.Dir), contents(t, s.To.Dir))
		}
		books := ledger.Open(filepath.Join(s.State, "ledger.db"))
		list, err := books.Deliveries(t.Context(), ledger.Query{})
		if err != nil || len(list) != 1 || list[0].Outcome != ledger.Undone {
			t.Errorf("%s: ledger %+v %v", name, list, err)
		}
		_ = books.Close()
	}
}

// TestMoveClaims: machines that pick up the same files at the same time.
func TestMoveClaims(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sftp", "ftp", "disk"} {
		from := startEnd(t, kind)
		names := make([]string, 20)
		for i := range names {
			names[i] = fmt.Sprintf("f%02d", i)
		}
		tree(t, from.Dir, names...)
		type result struct {
			told map[string]string
			to   map[string]string
			err  error
		}
		results := make(chan result)
		const machines = 4
		for range machines {
			s := moveSetup{From: from, To: startEnd(t, "disk"), State: t.TempDir(), Claim: "NAME.taken"}
			go func() {
				told, _, err := s.run(t.Context())
				results <- result{told, contents(t, s.To.Dir), err}
			}()
		}
		arrived := map[string]int{}
		for range machines {
			r := <-results
			for name, what := range r.told {
				if what != "done" && !strings.HasPrefix(what, "skipped") {
					t.Errorf("%s: %s: %s", kind, name, what)
				}
			}
			for name, content := range r.to {
				if content == name {
					arrived[name]++
				}
			}
			if r.err != nil {
				t.Errorf("%s: %v", kind, r.err)
			}
		}
		for _, name := range names {
			if arrived[name] != 1 {
				t.Errorf("%s: %s arrived %d times", kind, name, arrived[name])
			}
		}
		if left := contents(t, from.Dir); len(left) > 0 {
			t.Errorf("%s: source %v", kind, left)
		}
	}
}

// move is the move in this process, to be looked at in the middle of a run.
func (s moveSetup) move(t *testing.T) (m *Move, end func()) {
	t.Helper()
	books := ledger.Open(filepath.Join(s.State, "ledger.db"))
	m = &Move{From: s.From.end(), To: s.To.end(), Key: "test", Name: "move", Ledger: books,
		Job: transfer.Job{Lock: ledger.Locks{Dir: filepath.Join(s.State, "locks")}.Lock}}
	return m, func() {
		if err := errors.Join(m.From.Links.Close(t.Context()), m.To.Links.Close(t.Context()), books.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestMoveSideBySide: more workers than connections, each of which needs one for
// the transfer and looks at the source in the middle of it.
func TestMoveSideBySide(t *testing.T) {
	t.Parallel()
	for _, pair := range []string{"disk ftp", "sftp disk", "ftp sftp"} {
		from, to, _ := strings.Cut(pair, " ")
		s := moveSetup{From: startEnd(t, from), To: startEnd(t, to), State: t.TempDir()}
		names := make([]string, 20)
		for i := range names {
			names[i] = fmt.Sprintf("f%02d", i)
		}
		tree(t, s.From.Dir, names...)
		m, end := s.move(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := Ordered(ctx, 4, func(ctx context.Context, yield func(Pickup) error) error {
			return m.Pickups(ctx, yield)
		}, func(ctx context.Context, p Pickup) error {
			_, err := m.Deliver(ctx, p, transfer.Observer{})
			return err
		}, func(err error) error { return err })
		cancel()
		if err != nil {
			t.Errorf("%s: %v", pair, err)
		}
		if got := contents(t, s.To.Dir); len(got) != len(names) || len(contents(t, s.From.Dir)) > 0 {
			t.Errorf("%s: target %v", pair, got)
		}
		end()
	}
}
