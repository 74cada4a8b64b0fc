package sftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// verb is one thing that a session asks of a server.
type verb struct {
	on   string // as the lab calls it
	op   string // as the fault does
	data bool   // its phase
	do   func(context.Context, *session) error
}

// changes are those whose answer, when lost, leaves open what happened.
var changes = []verb{
	{"RENAME", "rename", false, func(ctx context.Context, s *session) error { return s.Rename(ctx, "a", "b") }},
	{"posix-rename@openssh.com", "posix-rename", false, func(ctx context.Context, s *session) error { return s.Extras().Replace(ctx, "a", "b") }},
	{"REMOVE", "remove", false, func(ctx context.Context, s *session) error { return s.Remove(ctx, "a") }},
	{"MKDIR", "mkdir", false, func(ctx context.Context, s *session) error { return s.Mkdir(ctx, "new") }},
	{"RMDIR", "rmdir", false, func(ctx context.Context, s *session) error { return s.Rmdir(ctx, "d") }},
	{"SYMLINK", "symlink", false, func(ctx context.Context, s *session) error { return s.Extras().Symlink(ctx, "a", "l2") }},
	{"CLOSE", "close", true, putSmall},
}

// looks are all others.
var looks = []verb{
	{"STAT", "stat", false, func(ctx context.Context, s *session) error { _, err := s.Stat(ctx, "a"); return err }},
	{"LSTAT", "lstat", false, func(ctx context.Context, s *session) error { _, err := s.Extras().Lstat(ctx, "a"); return err }},
	{"OPENDIR", "opendir", false, list},
	{"READDIR", "readdir", false, list},
	{"SETSTAT", "setstat", false, func(ctx context.Context, s *session) error { return s.Extras().Chmod(ctx, "a", 0o600) }},
	{"SETSTAT", "setstat", false, func(ctx context.Context, s *session) error { return s.Extras().SetModTime(ctx, "a", time.Now()) }},
	{"READLINK", "readlink", false, func(ctx context.Context, s *session) error { _, err := s.Extras().Readlink(ctx, "l"); return err }},
	{"REALPATH", "realpath", false, func(ctx context.Context, s *session) error { _, err := s.Extras().Realpath(ctx, "."); return err }},
	{"statvfs@openssh.com", "statvfs", false, func(ctx context.Context, s *session) error { _, err := s.Extras().Space(ctx, "."); return err }},
	{"OPEN", "open", true, putSmall},
	{"OPEN", "open", true, putLarge},
	{"OPEN", "open", true, getSmall},
	{"OPEN", "open", true, getLarge},
	{"WRITE", "write", true, putSmall},
	{"WRITE", "write", true, putLarge},
	{"READ", "read", true, getSmall},
	{"READ", "read", true, getLarge},
}

func list(ctx context.Context, s *session) error {
	return s.List(ctx, ".", func(transfer.Info) error { return nil })
}

func putSmall(ctx context.Context, s *session) error {
	_, err := s.Put(ctx, "p", 0, sourceOf([]byte("hello")))
	return err
}

func putLarge(ctx context.Context, s *session) error {
	_, err := s.Put(ctx, "p", 0, sourceOf(make([]byte, 3<<20)))
	return err
}

func getSmall(ctx context.Context, s *session) error {
	_, err := s.Get(ctx, "a", 0, transfer.Sink{W: io.Discard, Size: 5})
	return err
}

func getLarge(ctx context.Context, s *session) error {
	_, err := s.Get(ctx, "big", 0, transfer.Sink{W: io.Discard, Size: 3 << 20})
	return err
}

// fill makes what the verbs are about.
func fill(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	err := errors.Join(
		os.WriteFile(filepath.Join(root, "a"), []byte("hello"), 0o644),
		os.WriteFile(filepath.Join(root, "big"), content(3<<20), 0o644),
		os.Mkdir(filepath.Join(root, "d"), 0o755),
		os.Symlink("a", filepath.Join(root, "l")),
	)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func phase(v verb) policy.Phase {
	if v.data {
		return policy.Data
	}
	return policy.Command
}

// TestServersWords: every code reaches the fault with the server's words, also
// those that the library knows and drops.
func TestServersWords(t *testing.T) {
	for _, v := range append(changes, looks...) {
		for _, code := range []int{2, 3, 4} {
			t.Run(v.on, func(t *testing.T) {
				srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: v.on, Do: lab.Reply(code, "no entry,\x1b[31m sorry")}}})
				s := dialLab(t, srv)
				wantFault(t, v.do(t.Context(), s), policy.Fault{Phase: phase(v), Op: v.op, Code: code, Text: "no entry,?[31m sorry"})
				if !s.Alive() {
					t.Error("a refusal has ended the session")
				}
			})
		}
	}
}

// TestEOFIsNoSuccess: to everything but READ and READDIR it is a refusal.
func TestEOFIsNoSuccess(t *testing.T) {
	for _, v := range append(changes, looks...) {
		if v.on == "READ" || v.on == "READDIR" {
			continue
		}
		t.Run(v.on, func(t *testing.T) {
			srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: v.on, Do: lab.Reply(1, "End of file")}}})
			wantFault(t, v.do(t.Context(), dialLab(t, srv)), policy.Fault{Phase: phase(v), Op: v.op, Code: 1})
		})
	}
}

// TestLostAnswers: the connection ends after the request was carried out.
func TestLostAnswers(t *testing.T) {
	for _, v := range append(changes, looks...) {
		for name, end := range map[string]lab.Action{"connection": lab.Drop(lab.RST), "channel": lab.DropData(lab.FIN)} {
			t.Run(v.on+"/"+name, func(t *testing.T) {
				noLeaks(t)
				srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: v.on, When: lab.Finally, Do: end}}})
				s := dialLab(t, srv)
				want := policy.Fault{Phase: phase(v), Op: v.op, Cause: policy.CauseReset}
				for _, c := range changes {
					if c.on == v.on {
						want.Phase = policy.Finish
					}
				}
				f := wantFault(t, v.do(t.Context(), s), want)
				if v.op != "open" && s.Alive() && name == "connection" {
					t.Error("the session thinks that it is alive")
				}
				if verdict := policy.Classify(f); (verdict.Remedy == policy.Reconcile) != (want.Phase == policy.Finish) {
					t.Errorf("remedy %v", verdict.Remedy)
				}
				_ = s.Close()
			})
		}
	}
}

// TestSilence: every wait has a limit, and a server that stays silent costs the
// session, not a goroutine.
func TestSilence(t *testing.T) {
	for _, v := range append(changes, looks...) {
		t.Run(v.on, func(t *testing.T) {
			t.Parallel()
			srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: v.on, Do: lab.Stall()}}})
			s := dialLab(t, srv, withSilence(800*time.Millisecond))
			began := time.Now()
			err := v.do(t.Context(), s)
			f, ok := err.(*policy.Fault)
			if !ok || f.Cause != policy.CauseTimeout || f.Op != v.op {
				t.Errorf("got %s, want a timeout of %s", describe(err), v.op)
			}
			if d := time.Since(began); d > 15*time.Second {
				t.Errorf("it took %v", d)
			}
			if s.Alive() {
				t.Error("the session thinks that it is alive")
			}
		})
	}
}

// TestSilenceLeavesNothingBehind is TestSilence for goroutines.
func TestSilenceLeavesNothingBehind(t *testing.T) {
	noLeaks(t)
	srv := startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{{On: "WRITE", Do: lab.Stall()}, {On: "READ", Do: lab.Stall()}, {On: "STAT", Do: lab.Stall()}}})
	for _, do := range []func(context.Context, *session) error{putSmall, putLarge, getSmall, getLarge, looks[0].do} {
		s := dialLab(t, srv, withSilence(700*time.Millisecond))
		if err := do(t.Context(), s); err == nil {
			t.Error("no error")
		}
		_ = s.Close()
	}
}

// TestIdleSessionNoticesADeadPeer: nothing is asked, and yet it is noticed.
func TestIdleSessionNoticesADeadPeer(t *testing.T) {
	noLeaks(t)
	srv := startLab(t, lab.SFTPConfig{})
	proxy, via := through(t, srv.Addr(), 0)
	s := dialLab(t, srv, via, withSilence(time.Second))
	proxy.Stall(true)
	deadline := time.Now().Add(10 * time.Second)
	for s.Alive() {
		if time.Now().After(deadline) {
			t.Fatal("it is still thought to be alive")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := s.Stat(t.Context(), "/")
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "stat", Cause: policy.CauseTimeout})
	_ = s.Close()
}

// TestKeepaliveRefusedIsAlive: the lab, as OpenSSH, knows no such request.
func TestKeepaliveRefusedIsAlive(t *testing.T) {
	s := dialLab(t, startLab(t, lab.SFTPConfig{}), withSilence(2*time.Second))
	time.Sleep(2500 * time.Millisecond) // two rounds
	if _, err := s.Stat(t.Context(), "/"); err != nil {
		t.Error(describe(err))
	}
}

// TestSlowIsNotSilent: a transfer that takes many times the limit, but moves.
func TestSlowIsNotSilent(t *testing.T) {
	t.Parallel()
	root := fill(t)
	srv := startLab(t, lab.SFTPConfig{Root: root, Quirks: lab.Quirks{Extensions: []string{}}, Script: []lab.Rule{
		{On: "WRITE", When: lab.During, Do: lab.Throttle(200_000)},
		{On: "READ", When: lab.During, Do: lab.Throttle(200_000)},
	}})
	s := dialLab(t, srv, withSilence(silent))
	data := content(600_000) // 3 s in each direction
	put(t, s, "slow", data)
	sameBytes(t, "what arrived", onDisk(t, root, "slow"), data)
	sameBytes(t, "what came back", get(t, s, "slow"), data)
}

// silent is how long a server may be silent in these tests: far longer than this
// machine may be, with everything running beside them.
const silent = 2 * time.Second

// TestAWaitingPipeIsNotTheServersSilence.
func TestAWaitingPipeIsNotTheServersSilence(t *testing.T) {
	t.Parallel()
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t)}), withSilence(silent))
	r, w := io.Pipe()
	go func() {
		for range 3 {
			_, _ = w.Write(make([]byte, 300_000)) // Put may have failed
			time.Sleep(2 * silent)
		}
		_ = w.Close()
	}()
	if n, err := s.Put(t.Context(), "p", 0, transfer.Source{R: r, Size: -1}); err != nil || n != 900_000 {
		t.Errorf("put: %d, %s", n, describe(err))
	}
	if n, err := s.Get(t.Context(), "big", 0, transfer.Sink{W: &slowWriter{}, Size: 3 << 20}); err != nil || n != 3<<20 {
		t.Errorf("get: %d, %s", n, describe(err))
	}
}

type slowWriter struct{ n int }

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.n++; w.n == 2 {
		time.Sleep(2 * silent)
	}
	return len(p), nil
}

// TestShortWriteIsNoticed: the server takes less than it was sent and calls it
// a success.
func TestShortWriteIsNoticed(t *testing.T) {
	for name, size := range map[string]int{"small": 1000, "large": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "WRITE", When: lab.During, After: int64(size / 2), Do: lab.Truncate()}}})
			_, err := dialLab(t, srv).Put(t.Context(), "p", 0, sourceOf(content(size)))
			wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "verify", Cause: policy.CauseSize})
		})
	}
}

// TestCannotVerify: a server that takes the file away, or does not let it be
// looked at, makes the session say that it has not verified.
func TestCannotVerify(t *testing.T) {
	for name, rule := range map[string]lab.Rule{
		"taken away": {On: "CLOSE", When: lab.Finally, Do: lab.TakeTo("/d")},
		"no stat":    {On: "STAT", Do: lab.Reply(3, "Permission denied")},
	} {
		t.Run(name, func(t *testing.T) {
			s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t), Script: []lab.Rule{rule}}))
			if !s.Extras().PutVerifies {
				t.Error("it should verify at first")
			}
			put(t, s, "p", []byte("hello"))
			if s.Extras().PutVerifies {
				t.Error("it still claims to verify")
			}
		})
	}
}

// TestTimesThatDoNotFit: they would come out as others, a hundred years away.
func TestTimesThatDoNotFit(t *testing.T) {
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t)}))
	put(t, s, "p", []byte("hello"))
	before, err := s.Stat(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	for _, year := range []int{1965, 2110} {
		err := s.Extras().SetModTime(t.Context(), "p", time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
		wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "setstat", Cause: policy.CauseNotOffered})
	}
	if after, err := s.Stat(t.Context(), "p"); err != nil || !after.ModTime.Equal(before.ModTime) {
		t.Errorf("the time is %v, %v; want %v", after.ModTime, err, before.ModTime)
	}
}

// TestListingsDiffer: a server that gives no time for an open file, and so none to
// compare with that of the listing, is not asked in vain for each file.
func TestListingsDiffer(t *testing.T) {
	for _, size := range []int{1000, 1 << 20} {
		rule := lab.Rule{On: "FSTAT", Do: lab.Reply(8, "Unsupported")}
		s := dialLab(t, startLab(t, lab.SFTPConfig{Script: []lab.Rule{rule}}))
		put(t, s, "p", content(size))
		info, err := s.Stat(t.Context(), "p")
		if err != nil || !s.Extras().GetCompares {
			t.Fatalf("it should compare at first: %v", err)
		}
		_, err = s.Get(t.Context(), "p", 0, transfer.Sink{W: io.Discard, Size: int64(size), Version: &info})
		wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "read", Cause: policy.CauseRemoteChanged})
		if s.Extras().GetCompares {
			t.Error("it still claims to compare")
		}
	}
}

// TestRefusedAbilities: what a server does not know is offered no more.
func TestRefusedAbilities(t *testing.T) {
	refuse := map[string]uint32{"SETSTAT": 8, "READLINK": 8, "SYMLINK": 8, "REALPATH": 8, "statvfs@openssh.com": 8, "posix-rename@openssh.com": 8}
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t), Quirks: lab.Quirks{Refuse: refuse}}))
	ctx, x := t.Context(), s.Extras()
	_, errReadlink := x.Readlink(ctx, "l")
	_, errRealpath := x.Realpath(ctx, ".")
	_, errSpace := x.Space(ctx, ".")
	wantFault(t, x.SetModTime(ctx, "a", time.Now()), policy.Fault{Phase: policy.Command, Op: "setstat", Code: 8})
	for op, err := range map[string]error{
		"setstat": x.Chmod(ctx, "a", 0o600), "symlink": x.Symlink(ctx, "a", "l2"), "posix-rename": x.Replace(ctx, "a", "b"),
		"readlink": errReadlink, "realpath": errRealpath, "statvfs": errSpace,
	} {
		wantFault(t, err, policy.Fault{Phase: policy.Command, Op: op, Code: 8})
	}
	if x = s.Extras(); x.Chmod != nil || x.SetModTime != nil || x.Symlink != nil || x.Replace != nil || x.Readlink != nil || x.Realpath != nil || x.Space != nil {
		t.Errorf("still offered: %+v", x)
	}
}

func TestRemoveNeverRemovesADirectory(t *testing.T) {
	root := fill(t)
	srv := startLab(t, lab.SFTPConfig{Root: root})
	if err := dialLab(t, srv).Remove(t.Context(), "d"); err == nil {
		t.Error("no error")
	}
	if srv.Log().Count("RMDIR") != 0 {
		t.Error("RMDIR was sent")
	}
}

// TestListIsPipelined: a directory of many packets takes few round trips, and
// loses nothing.
func TestListIsPipelined(t *testing.T) {
	root := t.TempDir()
	const n = 3000
	for i := range n {
		if err := os.WriteFile(filepath.Join(root, strings.Repeat("x", 20)+string(rune('a'+i%26))+time.Duration(i).String()), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	srv := startLab(t, lab.SFTPConfig{Root: root})
	_, via := through(t, srv.Addr(), 50*time.Millisecond)
	s := dialLab(t, srv, via)
	seen := map[string]bool{}
	began := time.Now()
	err := s.List(t.Context(), "/", func(i transfer.Info) error { seen[i.Name] = true; return i.Bad })
	if err != nil || len(seen) != n {
		t.Errorf("%d entries, %s", len(seen), describe(err))
	}
	answers := srv.Log().Count("READDIR")
	if d := time.Since(began); d > time.Duration(answers)*50*time.Millisecond/2 {
		t.Errorf("%d answers took %v: one after the other", answers, d)
	}
}

func TestListStopsWhenToldTo(t *testing.T) {
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t)}))
	stop := errors.New("stop")
	if err := s.List(t.Context(), "/", func(transfer.Info) error { return stop }); err != stop {
		t.Errorf("got %v", err)
	}
	if _, err := s.Stat(t.Context(), "/a"); err != nil {
		t.Error(describe(err))
	}
}

// TestChangedWhileRead: a file that grows, shrinks or is replaced during a
// download is no download.
func TestChangedWhileRead(t *testing.T) {
	const size = 12 << 20 // more than is under way at once
	for name, tt := range map[string]struct {
		expected, off int64
		change        func(path string) error // nil: nothing may arrive
	}{
		"shrinks":                      {size, 0, func(p string) error { return os.Truncate(p, 1<<20) }},
		"shrinks, unsized":             {-1, 0, func(p string) error { return os.Truncate(p, 1<<20) }},
		"grows":                        {size, 0, func(p string) error { return os.Truncate(p, 13<<20) }},
		"was another before":           {size - 1, 0, nil},
		"was another, which was there": {size - 1, size - 1, nil},
		"was empty before":             {0, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := fill(t)
			if err := os.Truncate(filepath.Join(root, "big"), size); err != nil {
				t.Fatal(err)
			}
			s := dialLab(t, startLab(t, lab.SFTPConfig{Root: root, Quirks: lab.Quirks{Extensions: []string{}}}))
			w := &changer{change: func() error {
				if tt.change == nil {
					t.Error("something was written")
					return nil
				}
				return tt.change(filepath.Join(root, "big"))
			}}
			_, err := s.Get(t.Context(), "big", tt.off, transfer.Sink{W: w, Size: tt.expected})
			wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "read", Cause: policy.CauseRemoteChanged})
		})
	}
	t.Run("small", func(t *testing.T) {
		s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t)}))
		for _, expected := range []int64{4, 6} {
			_, err := s.Get(t.Context(), "a", 0, transfer.Sink{W: io.Discard, Size: expected})
			wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "read", Cause: policy.CauseRemoteChanged})
		}
	})
	t.Run("grows, unsized", func(t *testing.T) {
		// "cat" of a log: what was there at first is what was asked for.
		root := fill(t)
		s := dialLab(t, startLab(t, lab.SFTPConfig{Root: root}))
		w := &changer{change: func() error { return os.Truncate(filepath.Join(root, "big"), 4<<20) }}
		if n, err := s.Get(t.Context(), "big", 0, transfer.Sink{W: w, Size: -1}); err != nil || n != 3<<20 {
			t.Errorf("%d, %s", n, describe(err))
		}
	})
}

// changer changes something when the first bytes have arrived.
type changer struct {
	change func() error
	done   bool
}

func (w *changer) Write(p []byte) (int, error) {
	if !w.done {
		w.done = true
		if err := w.change(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// TestFilesWithoutASize: what says that it is empty is read to its end.
func TestFilesWithoutASize(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Root: fill(t), Quirks: lab.Quirks{Refuse: map[string]uint32{"FSTAT": 8}}})
	s := dialLab(t, srv)
	if got := get(t, s, "a"); string(got) != "hello" {
		t.Errorf("got %q", got)
	}
	sameBytes(t, "big", get(t, s, "big"), content(3<<20))
}

func TestShortReadsAreCompleted(t *testing.T) {
	root := fill(t)
	srv := startLab(t, lab.SFTPConfig{Root: root, Script: []lab.Rule{{On: "READ", Do: lab.Partial(1000)}}})
	if err := os.WriteFile(filepath.Join(root, "f"), content(100_000), 0o644); err != nil {
		t.Fatal(err)
	}
	s := dialLab(t, srv)
	sameBytes(t, "unsized", get(t, s, "f"), content(100_000))
	var b bytes.Buffer
	if _, err := s.Get(t.Context(), "f", 0, transfer.Sink{W: &b, Size: 100_000}); err != nil {
		t.Error(describe(err))
	}
	sameBytes(t, "sized", b.Bytes(), content(100_000))
}

func TestGetOfADirectory(t *testing.T) {
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: fill(t)}))
	_, err := s.Get(t.Context(), "d", 0, transfer.Sink{W: io.Discard, Size: -1})
	if f, ok := err.(*policy.Fault); !ok || f.Code == 0 && f.Cause != policy.CauseRemoteDirectory {
		t.Errorf("got %s", describe(err))
	}
}

func TestPutFromAnOffset(t *testing.T) {
	root := fill(t)
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: root}))
	data := content(3 << 20)
	for name, tt := range map[string]struct {
		there, off int
		want       policy.Cause
	}{
		"exactly there":  {1 << 20, 1 << 20, ""},
		"more is there":  {2 << 20, 1 << 20, ""},
		"all is there":   {3 << 20, 3 << 20, ""},
		"less is there":  {1 << 19, 1 << 20, policy.CauseResume},
		"the last bytes": {3<<20 - 5, 3<<20 - 5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(root, "r"), data[:tt.there], 0o644); err != nil {
				t.Fatal(err)
			}
			n, err := s.Put(t.Context(), "r", int64(tt.off), sourceOf(data))
			if tt.want != "" {
				wantFault(t, err, policy.Fault{Phase: policy.Data, Cause: tt.want})
				return
			}
			if err != nil || n != int64(len(data)-tt.off) {
				t.Errorf("%d, %s", n, describe(err))
			}
			sameBytes(t, "file", onDisk(t, root, "r"), data)
		})
	}
	_, err := s.Put(t.Context(), "r", 5, streamOf(data))
	wantFault(t, err, policy.Fault{Phase: policy.Data, Cause: policy.CauseLocalStream})
}

// TestSourceChanges: a local file that is shorter than it was said to be.
func TestSourceChanges(t *testing.T) {
	s := dialLab(t, startLab(t, lab.SFTPConfig{}))
	for name, size := range map[string]int{"small": 1000, "large": 3 << 20} {
		src := sourceOf(content(size))
		src.Size += 10
		_, err := s.Put(t.Context(), "p", 0, src)
		f := wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "read", Cause: policy.CauseLocalChanged})
		if f.Protocol != policy.Local {
			t.Errorf("%s: protocol %v", name, f.Protocol)
		}
	}
}

func TestSync(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	s := dialLab(t, srv, func(o *Options) { o.Sync = true })
	put(t, s, "small", []byte("hello"))
	put(t, s, "large", content(3<<20))
	put(t, s, "empty", nil)
	if n := srv.Log().Count("fsync@openssh.com"); n != 3 {
		t.Errorf("%d fsyncs", n)
	}
	srv.Add(lab.Rule{On: "fsync@openssh.com", Do: lab.Reply(4, "Failure")})
	_, err := s.Put(t.Context(), "p", 0, sourceOf([]byte("hello")))
	wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "fsync", Code: 4})
}

// TestPutSetsTheTime that is asked for next, in the same flight. What shows that
// it is set is the STAT: else it is asked for in its turn.
func TestPutSetsTheTime(t *testing.T) {
	then := time.Unix(1e9, 123)
	once := func(code int, text string) []lab.Rule {
		return []lab.Rule{{On: "SETSTAT", Times: 1, Do: lab.Reply(code, text)}}
	}
	for name, tt := range map[string]struct {
		size         int
		script       []lab.Rule
		given, asked time.Time
		flown, later int // SETSTATs
	}{
		"small":             {1000, nil, then, then, 1, 0},
		"of several pieces": {700 << 10, nil, then, then, 1, 0},
		"another":           {1000, nil, then, time.Unix(2e9, 0), 1, 1},
		"not said":          {1000, nil, time.Time{}, then, 0, 1},
		"not one that fits": {1000, nil, time.Unix(-1, 0), then, 0, 1},
		"dropped":           {1000, once(0, ""), then, then, 1, 1},
		"refused":           {1000, once(4, "Failure"), then, then, 1, 1},
		"not told":          {1000, []lab.Rule{{On: "STAT", Do: lab.Reply(3, "Permission denied")}}, then, then, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			srv := startLab(t, lab.SFTPConfig{Root: root, Script: tt.script})
			s := dialLab(t, srv)
			src := sourceOf(content(tt.size))
			src.ModTime = tt.given
			if _, err := s.Put(t.Context(), "p", 0, src); err != nil {
				t.Fatal(describe(err))
			}
			flown := srv.Log().Count("SETSTAT")
			if err := s.Extras().SetModTime(t.Context(), "p", tt.asked); err != nil {
				t.Fatal(describe(err))
			}
			if later := srv.Log().Count("SETSTAT") - flown; flown != tt.flown || later != tt.later {
				t.Errorf("%d and %d SETSTATs, want %d and %d", flown, later, tt.flown, tt.later)
			}
			if info, err := os.Stat(filepath.Join(root, "p")); err != nil || info.ModTime().Unix() != tt.asked.Unix() {
				t.Errorf("%v, %v, want %v", info, err, tt.asked)
			}
		})
	}
}

// TestTimeBeforeTheEnd: a file that is closed behind the STAT may have another
// time then.
func TestTimeBeforeTheEnd(t *testing.T) {
	const first, second, third = ownIDs, ownIDs | 1, ownIDs | 2
	then := time.Unix(1e9, 0)
	done := statusBody(fxOK, "")
	attributes := request(nil).uint32(attrSize | attrTime).uint64(5).uint32(1e9).uint32(1e9)
	for name, tt := range map[string]struct {
		handles   int
		temporary bool
		answers   []byte
		timed     bool
	}{
		"in turn":      {1, false, slices.Concat(version, packet(fxpStatus, first, done), packet(fxpStatus, second, done), packet(fxpAttrs, third, attributes)), true},
		"not in turn":  {1, false, slices.Concat(version, packet(fxpStatus, second, done), packet(fxpAttrs, third, attributes), packet(fxpStatus, first, done)), false},
		"two channels": {2, false, slices.Concat(version, packet(fxpStatus, first, done), packet(fxpStatus, second, done), packet(fxpAttrs, third, attributes)), false},
		"to be renamed": {2, true, slices.Concat(version, packet(fxpStatus, first, done), packet(fxpStatus, second, done),
			packet(fxpStatus, third, done), packet(fxpAttrs, ownIDs|3, attributes)), true},
	} {
		t.Run(name, func(t *testing.T) {
			tap, _ := tapOn(tt.answers)
			never := transfer.WithTimeout(time.Hour)
			ch := &channel{conn: &connection{limits: never}, tap: tap, paths: &sftp.Client{}}
			s := newSession(ch.conn, Options{})
			s.control = ch
			fl := &flight{path: "p"}
			s.startFinish(fl, slices.Repeat([]*file{{ch, "h"}}, tt.handles), &transfer.Source{ModTime: then, Temporary: tt.temporary})
			if _, err := drain(tap); err != io.EOF {
				t.Fatal(err)
			}
			if err := errors.Join(fl.land(t.Context(), func(string) {}), s.confirm(t.Context(), fl, 5)); err != nil {
				t.Fatal(describe(err))
			}
			given, timed := s.timed["p"]
			if timed != tt.timed || given.inDoubt != (timed && tt.handles > 1) {
				t.Errorf("timed: %v, %+v", timed, given)
			}
		})
	}
}

// TestTimeInDoubt: the rename looks whether the file kept its time, and sets it once
// more if not.
func TestTimeInDoubt(t *testing.T) {
	then := time.Unix(1e9, 0)
	for name, tt := range map[string]struct {
		found time.Time
		again int // SETSTATs
	}{"kept": {then, 0}, "lost": {time.Unix(2e9, 0), 1}} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			srv := startLab(t, lab.SFTPConfig{Root: root})
			s := dialLab(t, srv)
			put(t, s, "part", []byte("hello"))
			if err := os.Chtimes(filepath.Join(root, "part"), tt.found, tt.found); err != nil {
				t.Fatal(err)
			}
			s.timed["part"] = timing{then, true}
			x := s.Extras()
			if err := errors.Join(x.SetModTime(t.Context(), "part", then), x.Replace(t.Context(), "part", "f")); err != nil {
				t.Fatal(describe(err))
			}
			if n := srv.Log().Count("SETSTAT"); n != tt.again {
				t.Errorf("%d SETSTATs, want %d", n, tt.again)
			}
			if info, err := os.Stat(filepath.Join(root, "f")); err != nil || !info.ModTime().Equal(then) {
				t.Errorf("%v, %v", info, err)
			}
			if len(s.timed) > 0 {
				t.Errorf("still known: %v", s.timed)
			}
		})
	}
}

// TestTimeOfAnEarlierPut: another file under the same name has no time yet.
func TestTimeOfAnEarlierPut(t *testing.T) {
	root := t.TempDir()
	s := dialLab(t, startLab(t, lab.SFTPConfig{Root: root}))
	then := time.Unix(1e9, 0)
	src := sourceOf([]byte("hello"))
	src.ModTime = then
	if _, err := s.Put(t.Context(), "p", 0, src); err != nil {
		t.Fatal(describe(err))
	}
	put(t, s, "p", []byte("world"))
	if err := s.Extras().SetModTime(t.Context(), "p", then); err != nil {
		t.Fatal(describe(err))
	}
	if info, err := os.Stat(filepath.Join(root, "p")); err != nil || !info.ModTime().Equal(then) {
		t.Errorf("%v, %v", info, err)
	}
}

// TestFailedPutLeavesNoGap: what a refused upload leaves behind ends at the mark.
func TestFailedPutLeavesNoGap(t *testing.T) {
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root, Script: []lab.Rule{{On: "WRITE", When: lab.During, After: 7 << 20, Do: lab.Reply(4, "Failure")}}})
	data := content(12 << 20)
	s := dialLab(t, srv)
	n, err := s.Put(t.Context(), "p", 0, sourceOf(data))
	wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "write", Code: 4})
	if n < 1<<20 || n >= 12<<20 {
		t.Errorf("%d bytes across", n)
	}
	// The cut is sent without waiting for its answer; this one is behind it.
	if _, err := s.Stat(t.Context(), "p"); err != nil {
		t.Fatal(describe(err))
	}
	deadline := time.Now().Add(5 * time.Second)
	for int64(len(onDisk(t, root, "p"))) != n && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	sameBytes(t, "what is left", onDisk(t, root, "p"), data[:n])
}

func TestModes(t *testing.T) {
	tests := map[uint32]fs.FileMode{
		0o100644: 0o644, 0o040755: fs.ModeDir | 0o755, 0o120777: fs.ModeSymlink | 0o777, 0o010600: fs.ModeNamedPipe | 0o600,
		0o140600: fs.ModeSocket | 0o600, 0o060660: fs.ModeDevice | 0o660, 0o020666: fs.ModeDevice | fs.ModeCharDevice | 0o666,
		0o104755: fs.ModeSetuid | 0o755, 0o102755: fs.ModeSetgid | 0o755, 0o041777: fs.ModeDir | fs.ModeSticky | 0o777,
	}
	for m, want := range tests {
		if got := fileMode(m); got != want {
			t.Errorf("%o: %v, want %v", m, got, want)
		}
	}
}

// TestBegin: a look at what is to be put opens it with the same flight, and the Put
// that comes next takes that handle.
func TestBegin(t *testing.T) {
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root})
	s := dialLab(t, srv, func(o *Options) { o.Sync = true })
	data := content(3 << 20)
	src := sourceOf(data)
	src.Mode = 0o640
	if _, err := s.Extras().Begin(t.Context(), "/f", src.Mode); !transfer.IsMissing(err) {
		t.Fatal(describe(err))
	}
	if n, err := s.Put(t.Context(), "/f", 0, src); err != nil || n != int64(len(data)) {
		t.Fatalf("put: %d, %s", n, describe(err))
	}
	sameBytes(t, "put", onDisk(t, root, "f"), data)
	if info, err := os.Stat(filepath.Join(root, "f")); err != nil || info.Mode().Perm() != 0o640 && runtime.GOOS != "windows" {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if n := opens(srv, "/f"); n != 1+len(s.idle) {
		t.Errorf("%d handles, want one and one for each of %d further channels", n, len(s.idle))
	}

	// What is there is not opened for longer than the look takes, nor what nobody puts.
	for name, then := range map[string]func() error{
		"f": func() error { return nil },
		"g": func() error { return s.Remove(t.Context(), "/g") },
		"h": func() error { _, err := s.Put(t.Context(), "/h", 0, sourceOf(content(10))); return err },
	} {
		closed, opened := srv.Log().Count("CLOSE"), srv.Log().Count("OPEN")
		if _, err := s.Extras().Begin(t.Context(), "/"+name, 0); (err == nil) != (name == "f") {
			t.Fatal(describe(err))
		}
		if err := then(); err != nil {
			t.Fatal(describe(err))
		}
		soon(t, s, "the end of all handles of "+name, func() bool {
			return srv.Log().Count("OPEN") > opened && srv.Log().Count("CLOSE")-closed == srv.Log().Count("OPEN")-opened
		})
	}
	if len(s.begun) != 0 {
		t.Errorf("%d files are still begun", len(s.begun))
	}
	sameBytes(t, "f", onDisk(t, root, "f"), data)
}

// TestBeginIsOneFlight: the OPEN does not wait for what the STAT says.
func TestBeginIsOneFlight(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "STAT", Do: lab.Ignore()}}})
	s := dialLab(t, srv)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := s.Extras().Begin(ctx, "/f", 0)
		done <- err
	}()
	wait, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	if err := srv.Await(wait, func(l lab.Log) bool { return l.Count("OPEN") == 1 }); err != nil {
		t.Error(err)
	}
	cancel()
	wantFault(t, <-done, policy.Fault{Phase: policy.Command, Op: "stat", Cause: policy.CauseCancelled})
	if err := srv.Await(wait, func(l lab.Log) bool { return l.Count("CLOSE") == 1 }); err != nil {
		t.Errorf("the file stays open: %v", err)
	}
}

// TestBegunIsOfItsName: what was opened for a Put that never came is not used for one
// of another file that has the name now.
func TestBegunIsOfItsName(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	s, other := dialLab(t, srv), dialLab(t, srv)
	for _, begunAgain := range []bool{false, true} {
		if _, err := s.Extras().Begin(t.Context(), "/f", 0); !transfer.IsMissing(err) {
			t.Fatal(err)
		}
		moves := s
		if begunAgain {
			moves = other
		}
		if err := moves.Rename(t.Context(), "/f", "/published"); err != nil {
			t.Fatal(err)
		}
		if begunAgain {
			put(t, other, "/f", content(10))
			if info, err := s.Extras().Begin(t.Context(), "/f", 0); err != nil || info.Size != 10 {
				t.Fatalf("%+v, %v", info, err)
			}
		}
		put(t, s, "/f", content(1<<20))
		sameBytes(t, "/f", get(t, s, "/f"), content(1<<20))
		sameBytes(t, "/published", get(t, s, "/published"), nil)
		for _, name := range []string{"/f", "/published"} {
			if err := s.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBeginOnOddServers: what can't be opened is told by the Put, and a server that
// has no word for "missing" has the file after all.
func TestBeginOnOddServers(t *testing.T) {
	for name, tt := range map[string]struct {
		config  lab.SFTPConfig
		missing bool
		put     *policy.Fault
	}{
		"read-only":               {lab.SFTPConfig{Quirks: lab.Quirks{ReadOnly: true}}, true, &policy.Fault{Phase: policy.Data, Op: "open", Code: fxPermission}},
		"4 to everything":         {lab.SFTPConfig{Quirks: lab.Quirks{Codes: map[uint32]uint32{fxNoSuchFile: fxFailure}}}, false, nil},
		"refuses without a start": {lab.SFTPConfig{Quirks: lab.Quirks{Refuse: map[string]uint32{"OPEN+EXISTING": fxFailure}}}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startLab(t, tt.config)
			s := dialLab(t, srv)
			info, err := s.Extras().Begin(t.Context(), "/f", 0)
			if transfer.IsMissing(err) != tt.missing || !tt.missing && (err != nil || info.Size != 0) {
				t.Errorf("%+v, %s", info, describe(err))
			}
			_, err = s.Put(t.Context(), "/f", 0, sourceOf(content(1<<20)))
			if tt.put != nil {
				wantFault(t, err, *tt.put)
			} else if err != nil {
				t.Error(describe(err))
			}
		})
	}
}
