package sftp

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// diagnosed makes s do something that fails with a code, and asks why.
func diagnosed(t *testing.T, s *session, need int64, do func(context.Context, *session) error) (*policy.Fault, policy.Verdict) {
	t.Helper()
	err := do(t.Context(), s)
	f, ok := err.(*policy.Fault)
	if !ok || f.Code == 0 {
		t.Fatalf("got %s, want a code", describe(err))
	}
	return f, s.Extras().Diagnose(t.Context(), f, need)
}

func wantVerdict(t *testing.T, f *policy.Fault, v policy.Verdict, cause policy.Cause, evidence string) {
	t.Helper()
	if v.Rule != string(cause) {
		t.Errorf("%s: found %s (%s), want %s", describe(f), v.Rule, v.Evidence, cause)
	}
	if !strings.Contains(v.Evidence, evidence) {
		t.Errorf("evidence %q, want %q in it", v.Evidence, evidence)
	}
	if v.Remedy == policy.Diagnose {
		t.Error("the verdict of a diagnosis is to diagnose")
	}
}

// ask is one request that is refused.
type askFunc = func(context.Context, *session) error

func doPut(path string, size int) askFunc {
	return func(ctx context.Context, s *session) error {
		_, err := s.Put(ctx, path, 0, transfer.Source{R: bytes.NewReader(make([]byte, size)), Size: int64(size)})
		return err
	}
}

func doGet(path string) askFunc {
	return func(ctx context.Context, s *session) error {
		_, err := s.Get(ctx, path, 0, transfer.Sink{W: &bytes.Buffer{}, Size: -1})
		return err
	}
}

func doMkdir(path string) askFunc {
	return func(ctx context.Context, s *session) error { return s.Mkdir(ctx, path) }
}

func doRmdir(path string) askFunc {
	return func(ctx context.Context, s *session) error { return s.Rmdir(ctx, path) }
}

func doRemove(path string) askFunc {
	return func(ctx context.Context, s *session) error { return s.Remove(ctx, path) }
}

func doRename(from, to string) askFunc {
	return func(ctx context.Context, s *session) error { return s.Rename(ctx, from, to) }
}

func doReplace(from, to string) askFunc {
	return func(ctx context.Context, s *session) error { return s.posixRename(ctx, from, to) }
}

func doSymlink(target, link string) askFunc {
	return func(ctx context.Context, s *session) error { return s.symlink(ctx, target, link) }
}

func doReadlink(path string) askFunc {
	return func(ctx context.Context, s *session) error { _, err := s.readlink(ctx, path); return err }
}

func doList(path string) askFunc {
	return func(ctx context.Context, s *session) error {
		return s.List(ctx, path, func(transfer.Info) error { return nil })
	}
}

func doChmod(path string) askFunc {
	return func(ctx context.Context, s *session) error { return s.chmod(ctx, path, 0o600) }
}

// TestDiagnoseOnLab covers what needs no real file system.
func TestDiagnoseOnLab(t *testing.T) {
	noStatVFS := []string{"posix-rename@openssh.com", "fsync@openssh.com"}
	tests := map[string]struct {
		config   lab.SFTPConfig
		probe    Probe
		need     int64
		do       askFunc
		cause    policy.Cause
		evidence string
	}{
		"disk full": {
			lab.SFTPConfig{Volumes: []lab.Volume{{Capacity: 2 << 20}}}, ProbeSafe, 3 << 20, doPut("f", 3<<20),
			policy.CauseRemoteSpace, "the file needs 3.0 MiB",
		},
		"quota, seen by elimination": {
			lab.SFTPConfig{Volumes: []lab.Volume{{Quota: 2 << 20}}}, ProbeSafe, 3 << 20, doPut("f", 3<<20),
			policy.CauseRemoteQuota, "most likely a quota",
		},
		"quota, seen by a probe": {
			lab.SFTPConfig{Volumes: []lab.Volume{{Quota: 1}}}, ProbeWrite, 1000, doPut("f", 1000),
			policy.CauseRemoteQuota, "a file of one byte was refused, too",
		},
		"file size limit, seen by a probe": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "WRITE", Path: "big", Do: lab.Reply(4, "Failure")}}}, ProbeWrite, 1000, doPut("big", 1000),
			policy.CauseRemotePolicy, "limits how large a file may be",
		},
		"no inodes": {
			lab.SFTPConfig{Volumes: []lab.Volume{{NoInodes: true}}}, ProbeSafe, 5, doPut("f", 5),
			policy.CauseRemoteInodes, "no inodes, but ",
		},
		"read-only": {
			lab.SFTPConfig{Volumes: []lab.Volume{{ReadOnly: true}}}, ProbeSafe, 5, doPut("new", 5),
			policy.CauseRemoteReadOnly, "mounted read-only",
		},
		"read-only server": {
			lab.SFTPConfig{Quirks: lab.Quirks{ReadOnly: true, Extensions: []string{"statvfs@openssh.com"}}}, ProbeSafe, 5, doPut("new", 5),
			policy.CauseRemoteReadOnly, "sftp-server -R",
		},
		"busy, seen by a probe": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "OPEN", Path: "a", Do: lab.Reply(4, "Failure")}}}, ProbeWrite, 5, doPut("a", 5),
			policy.CauseRemoteBusy, "another file can be written there",
		},
		"busy, seen by its mode": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "OPEN", Path: "x", Do: lab.Reply(4, "Failure")}}}, ProbeSafe, 5, doPut("x", 5),
			policy.CauseRemoteBusy, "most likely it is being executed",
		},
		"handles": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "OPEN", Do: lab.Reply(4, "Failure")}, {On: "OPENDIR", Do: lab.Reply(4, "Failure")}}}, ProbeSafe, 5, doPut("new", 5),
			policy.CauseRemoteHandles, "no file handles left",
		},
		"full or quota, no statvfs": {
			lab.SFTPConfig{Quirks: lab.Quirks{Extensions: noStatVFS}, Volumes: []lab.Volume{{Capacity: 2 << 20}}}, ProbeSafe, 3 << 20, doPut("f", 3<<20),
			policy.CauseRemoteSpaceOrQuota, "does not tell how much space",
		},
		"full or quota, no statvfs, probed": {
			lab.SFTPConfig{Quirks: lab.Quirks{Extensions: noStatVFS}, Volumes: []lab.Volume{{Quota: 1}}}, ProbeWrite, 1000, doPut("f", 1000),
			policy.CauseRemoteSpaceOrQuota, "a file of one byte was refused, too",
		},
		"exists, no statvfs": {
			lab.SFTPConfig{Quirks: lab.Quirks{Extensions: noStatVFS}}, ProbeSafe, 0, doMkdir("a"),
			policy.CauseRemoteExists, "a exists and is a file",
		},
		"directory, no statvfs": {
			lab.SFTPConfig{Quirks: lab.Quirks{Extensions: noStatVFS}}, ProbeSafe, 5, doPut("d", 5),
			policy.CauseRemoteDirectory, "d exists and is a directory",
		},
		"bind mount, by elimination": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "RENAME", Do: lab.Reply(4, "Failure")}}}, ProbeSafe, 0, doRename("a", "d/a"),
			policy.CauseRemoteCrossDevice, "most likely one is a bind mount",
		},
		"bind mount, seen by a probe": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "RENAME", Do: lab.Reply(4, "Failure")}}}, ProbeWrite, 0, doRename("a", "d/a"),
			policy.CauseRemoteCrossDevice, "different mounts",
		},
		"nothing to be seen": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "SETSTAT", Do: lab.Reply(4, "Failure")}}}, ProbeWrite, 0, doChmod("a"),
			policy.CauseRemoteUnknown, "nothing is in the way that can be seen",
		},
		"everybody may write, the server forbids": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "MKDIR", Do: lab.Reply(3, "Permission denied")}}}, ProbeSafe, 0, doMkdir("open/new"),
			policy.CauseRemotePolicy, "everybody may write there",
		},
		"permission": {
			lab.SFTPConfig{Script: []lab.Rule{{On: "MKDIR", Do: lab.Reply(3, "Permission denied")}}}, ProbeSafe, 0, doMkdir("d/new"),
			policy.CauseRemotePermission, "d is drwxr-xr-x, owner",
		},
		"name not allowed": {
			lab.SFTPConfig{Quirks: lab.Quirks{BadNames: ":"}}, ProbeSafe, 5, doPut("d/a:b", 5),
			policy.CauseRemoteName, `does not take the name "a:b"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.config.Root = fill(t)
			err := errors.Join(
				os.WriteFile(filepath.Join(tt.config.Root, "x"), []byte("#!"), 0o755),
				os.Mkdir(filepath.Join(tt.config.Root, "open"), 0o777), os.Chmod(filepath.Join(tt.config.Root, "open"), 0o777))
			if err != nil {
				t.Fatal(err)
			}
			srv := startLab(t, tt.config)
			s := dialLab(t, srv, func(o *Options) { o.Probe = tt.probe })
			f, v := diagnosed(t, s, tt.need, tt.do)
			wantVerdict(t, f, v, tt.cause, tt.evidence)
			left, err := filepath.Glob(filepath.Join(tt.config.Root, "*", ".xfer-probe-*"))
			more, _ := filepath.Glob(filepath.Join(tt.config.Root, ".xfer-probe-*"))
			if err != nil || len(left)+len(more) > 0 {
				t.Errorf("probes are left behind: %q %q", left, more)
			}
			if tt.probe == ProbeSafe {
				for _, e := range srv.Log() {
					if strings.Contains(e.Arg, "probe") {
						t.Errorf("a safe diagnosis sent %s %s", e.Verb, e.Arg)
					}
				}
			}
		})
	}
}

// TestDiagnoseIsOneRoundTrip: the first wave asks everything at once.
func TestDiagnoseIsOneRoundTrip(t *testing.T) {
	const rtt = 100 * time.Millisecond
	srv := startLab(t, lab.SFTPConfig{Root: fill(t)})
	_, via := through(t, srv.Addr(), rtt)
	s := dialLab(t, srv, via)
	err := s.Mkdir(t.Context(), "a")
	began := time.Now()
	v := s.Extras().Diagnose(t.Context(), policy.FaultOf(err), 0)
	if d := time.Since(began); d > 2*rtt {
		t.Errorf("it took %v", d)
	}
	wantVerdict(t, policy.FaultOf(err), v, policy.CauseRemoteExists, "")
}

// TestProbeThatCanNotBeRemoved is left once, and said so; then no more.
func TestProbeThatCanNotBeRemoved(t *testing.T) {
	root := fill(t)
	srv := startLab(t, lab.SFTPConfig{Root: root, Script: []lab.Rule{
		{On: "OPEN", Path: "a", Do: lab.Reply(4, "Failure")}, {On: "REMOVE", Do: lab.Reply(3, "Permission denied")},
	}})
	s := dialLab(t, srv, func(o *Options) { o.Probe = ProbeWrite })
	for range 3 {
		_, v := diagnosed(t, s, 5, doPut("a", 5))
		if v.Evidence == "" {
			t.Error("no evidence")
		}
	}
	left, err := filepath.Glob(filepath.Join(root, ".xfer-probe-*"))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %q", left)
	}
}

func TestProbeOff(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	if dialLab(t, srv, func(o *Options) { o.Probe = ProbeOff }).Extras().Diagnose != nil {
		t.Error("a diagnosis is offered")
	}
}

func TestProbeNames(t *testing.T) {
	for p, name := range map[Probe]string{ProbeSafe: "safe", ProbeWrite: "write", ProbeOff: "off"} {
		var got Probe
		if err := got.UnmarshalText([]byte(name)); err != nil || got != p || p.String() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	var p Probe
	if err := p.UnmarshalText([]byte("maybe")); err == nil {
		t.Error("maybe was taken")
	}
}

func TestAmount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10 << 10: "10 KiB", 734 << 20: "734 MiB", 1 << 30: "1.0 GiB",
		1<<30 - 1: "1.0 GiB", 1<<20 - 1: "1.0 MiB", 1 << 62: "4.0 EiB", 9_999_999: "9.5 MiB",
	} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// mount mounts a file system for one test, or ends the test where it can't.
func mount(t *testing.T, target string, args ...string) {
	t.Helper()
	if err := os.MkdirAll(target, 0o777); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, target)...).CombinedOutput(); err != nil {
		t.Fatalf("mount %v %s: %v: %s", args, target, err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", target).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v: %s", target, err, out)
		}
	})
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestDiagnoseOnOpenSSH is the table of what OpenSSH answers, on real file
// systems: each row is made to happen, and has to be named.
func TestDiagnoseOnOpenSSH(t *testing.T) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{Unprivileged: true, External: true})
	s := dial(t, sshdOptions(srv, func(o *Options) { o.Probe = ProbeWrite }))
	at := func(elem ...string) string { return filepath.Join(append([]string{srv.Dir}, elem...)...) }
	const tmpfs = "mode=777,size="
	mount(t, at("full"), "-t", "tmpfs", "-o", tmpfs+"1m", "tmpfs")
	mount(t, at("brim"), "-t", "tmpfs", "-o", tmpfs+"1m", "tmpfs")
	if err := os.WriteFile(at("brim", "f"), make([]byte, 2<<20), 0o666); err == nil {
		t.Fatal("2 MiB fit into 1 MiB")
	}
	mount(t, at("noinodes"), "-t", "tmpfs", "-o", tmpfs+"1m,nr_inodes=2", "tmpfs")
	mount(t, at("other"), "-t", "tmpfs", "-o", tmpfs+"4m", "tmpfs")
	mount(t, at("ro"), "-t", "tmpfs", "-o", tmpfs+"4m", "tmpfs")
	must(t, os.WriteFile(at("ro", "file"), nil, 0o666), os.Mkdir(at("ro", "dir"), 0o777), os.Chmod(at("ro", "file"), 0o666))
	if out, err := exec.Command("mount", "-o", "remount,ro", at("ro")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	must(t, os.Mkdir(at("bound"), 0o777), os.Chmod(at("bound"), 0o777))
	mount(t, at("bind"), "--bind", at("bound"))
	must(t,
		os.WriteFile(at("noinodes", "last"), nil, 0o666),
		os.Mkdir(at("mine"), 0o777), os.Chmod(at("mine"), 0o777),
		os.WriteFile(at("mine", "file"), []byte("hello"), 0o666), os.Chmod(at("mine", "file"), 0o666),
		os.Mkdir(at("mine", "empty"), 0o777), os.Mkdir(at("mine", "dir"), 0o777), os.Chmod(at("mine", "dir"), 0o777),
		os.WriteFile(at("mine", "dir", "x"), nil, 0o666),
		os.Symlink("loop", at("mine", "loop")), os.Symlink("nowhere/x", at("mine", "dangling")),
		os.Mkdir(at("foreign"), 0o755), os.WriteFile(at("foreign", "file"), nil, 0o644),
	)
	running := at("mine", "running")
	sleep, err := os.ReadFile("/usr/bin/sleep")
	must(t, err, os.WriteFile(running, sleep, 0o777), os.Chmod(running, 0o777))
	cmd := exec.Command(running, "600")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if out, err := exec.Command("chattr", "+i", at("foreign", "file")).CombinedOutput(); err != nil {
		t.Logf("chattr: %v: %s", err, out) // not on every file system; it is foreign anyway
	} else {
		t.Cleanup(func() { _ = exec.Command("chattr", "-i", at("foreign", "file")).Run() })
	}

	tests := []struct {
		name     string
		do       askFunc
		need     int64
		code     int
		cause    policy.Cause
		evidence string
	}{
		{"disk full", doPut(at("full", "f"), 2<<20), 2 << 20, 4, policy.CauseRemoteSpace, "of 1.0 MiB free on " + at("full") + "; the file needs 2.0 MiB"},
		{"disk full, small file", doPut(at("brim", "g"), 100), 100, 4, policy.CauseRemoteSpace, "0 B of 1.0 MiB free"},
		{"no inodes", doPut(at("noinodes", "f"), 5), 5, 4, policy.CauseRemoteInodes, "free on " + at("noinodes")},
		{"no inodes, mkdir", doMkdir(at("noinodes", "d")), 0, 4, policy.CauseRemoteInodes, ""},

		{"mkdir exists", doMkdir(at("mine", "dir")), 0, 4, policy.CauseRemoteExists, "dir exists and is a directory"},
		{"mkdir onto a file", doMkdir(at("mine", "file")), 0, 4, policy.CauseRemoteExists, "file exists and is a file"},
		{"rename onto a file", doRename(at("mine", "empty"), at("mine", "file")), 0, 4, policy.CauseRemoteExists, ""},
		{"rename onto a directory", doRename(at("mine", "file"), at("mine", "dir")), 0, 4, policy.CauseRemoteExists, ""},
		{"symlink exists", doSymlink("x", at("mine", "file")), 0, 4, policy.CauseRemoteExists, ""},

		{"put onto a directory", doPut(at("mine", "dir"), 5), 5, 4, policy.CauseRemoteDirectory, "dir exists and is a directory"},
		{"replace a directory by a file", doReplace(at("mine", "file"), at("mine", "dir")), 0, 4, policy.CauseRemoteDirectory, ""},
		{"remove a directory", doRemove(at("mine", "dir")), 0, 4, policy.CauseRemoteDirectory, ""},

		{"rename across", doRename(at("mine", "file"), at("other", "file")), 0, 4, policy.CauseRemoteCrossDevice, "different file systems"},
		{"replace across", doReplace(at("mine", "file"), at("other", "file")), 0, 4, policy.CauseRemoteCrossDevice, "different file systems"},
		{"replace across a bind mount", doReplace(at("mine", "file"), at("bind", "file")), 0, 4, policy.CauseRemoteCrossDevice, "different mounts"},

		{"read-only, create", doPut(at("ro", "new"), 5), 5, 4, policy.CauseRemoteReadOnly, "mounted read-only"},
		{"read-only, write", doPut(at("ro", "file"), 5), 5, 4, policy.CauseRemoteReadOnly, ""},
		{"read-only, mkdir", doMkdir(at("ro", "d")), 0, 4, policy.CauseRemoteReadOnly, ""},
		{"read-only, remove", doRemove(at("ro", "file")), 0, 4, policy.CauseRemoteReadOnly, ""},
		{"read-only, rmdir", doRmdir(at("ro", "dir")), 0, 4, policy.CauseRemoteReadOnly, ""},
		{"read-only, rename", doRename(at("ro", "file"), at("ro", "file2")), 0, 4, policy.CauseRemoteReadOnly, ""},
		{"read-only, replace", doReplace(at("ro", "file"), at("ro", "file2")), 0, 4, policy.CauseRemoteReadOnly, ""},

		{"not empty", doRmdir(at("mine", "dir")), 0, 4, policy.CauseRemoteNotEmpty, "holds 1 entry"},
		{"replace a full directory", doReplace(at("mine", "empty"), at("mine", "dir")), 0, 4, policy.CauseRemoteNotEmpty, ""},
		{"running binary", doPut(running, 5), 5, 4, policy.CauseRemoteBusy, ""},

		{"name too long", doPut(at("mine", strings.Repeat("n", 256)), 5), 5, 5, policy.CauseRemoteNameTooLong, "the name has 256 bytes, the file system allows 255"},
		{"path too long", doMkdir(at("mine", strings.Repeat("d/", 2500))), 0, 5, policy.CauseRemoteNameTooLong, "the path has "},
		{"rename into itself", doRename(at("mine", "dir"), at("mine", "dir", "sub")), 0, 5, policy.CauseRemoteName, "inside"},
		{"replace into itself", doReplace(at("mine", "dir"), at("mine", "dir", "sub")), 0, 5, policy.CauseRemoteName, "inside"},
		{"readlink on a file", doReadlink(at("mine", "file")), 0, 5, policy.CauseRemoteName, "is a file, not a symbolic link"},

		{"missing file", doGet(at("mine", "none")), 0, 2, policy.CauseRemoteMissing, "does not exist"},
		{"missing source", doRename(at("mine", "none"), at("mine", "new")), 0, 2, policy.CauseRemoteMissing, "none does not exist"},
		{"missing parent", doPut(at("mine", "none", "f"), 5), 5, 2, policy.CauseRemoteParentMissing, "none does not exist"},
		{"parent is a file", doPut(at("mine", "file", "f"), 5), 5, 2, policy.CauseRemoteNotDirectory, "file is a file"},
		{"symlink loop", doGet(at("mine", "loop")), 0, 2, policy.CauseRemoteLoop, "leads nowhere"},
		{"dangling symlink", doPut(at("mine", "dangling"), 5), 5, 2, policy.CauseRemoteLoop, "nowhere/x"},
		{"rmdir on a file", doRmdir(at("mine", "file")), 0, 2, policy.CauseRemoteNotDirectory, ""},
		{"list a file", doList(at("mine", "file")), 0, 2, policy.CauseRemoteNotDirectory, ""},
		{"replace a file by a directory", doReplace(at("mine", "empty"), at("mine", "file")), 0, 2, policy.CauseRemoteNotDirectory, ""},

		{"no permission, create", doPut(at("foreign", "new"), 5), 5, 3, policy.CauseRemotePermission, "foreign is drwxr-xr-x, owner"},
		{"no permission, write", doPut(at("foreign", "file"), 5), 5, 3, policy.CauseRemotePermission, ""},
		{"no permission, mkdir", doMkdir(at("foreign", "d")), 0, 3, policy.CauseRemotePermission, ""},
		{"no permission, remove", doRemove(at("foreign", "file")), 0, 3, policy.CauseRemotePermission, ""},
		{"foreign chmod", doChmod(at("foreign", "file")), 0, 3, policy.CauseRemotePermission, "owner"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, v := diagnosed(t, s, tt.need, tt.do)
			if f.Code != tt.code {
				t.Errorf("the server answered %d, the table says %d", f.Code, tt.code)
			}
			wantVerdict(t, f, v, tt.cause, tt.evidence)
		})
	}
	left, err := exec.Command("find", srv.Dir, "-name", ".xfer-probe-*").Output()
	if err != nil || len(left) > 0 {
		t.Errorf("probes are left behind: %s %v", left, err)
	}
}

func TestDiagnoseLimitsOfOpenSSH(t *testing.T) {
	t.Run("read-only server", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{SFTPArgs: []string{"-R"}})
		f, v := diagnosed(t, dial(t, sshdOptions(srv)), 5, doPut(filepath.Join(srv.Dir, "new"), 5))
		wantVerdict(t, f, v, policy.CauseRemoteReadOnly, "sftp-server -R")
	})
	t.Run("requests on a blacklist", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{SFTPArgs: []string{"-P", "mkdir"}})
		must(t, os.Chmod(srv.Dir, 0o777))
		f, v := diagnosed(t, dial(t, sshdOptions(srv)), 0, doMkdir(filepath.Join(srv.Dir, "new")))
		wantVerdict(t, f, v, policy.CauseRemotePolicy, "everybody may write there")
	})
	t.Run("file size limit", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{External: true, Unprivileged: true, FileSize: 1 << 20})
		s := dial(t, sshdOptions(srv, func(o *Options) { o.Probe = ProbeWrite }))
		err := doPut(filepath.Join(srv.Dir, "big"), 1<<20+100<<10)(t.Context(), s)
		f, ok := err.(*policy.Fault)
		if !ok {
			t.Fatalf("got %v", err)
		}
		if f.Code == 0 { // the write behind the short one kills sftp-server
			if f.Cause != policy.CauseReset {
				t.Errorf("got %s", describe(err))
			}
			return
		}
		wantVerdict(t, f, s.Extras().Diagnose(t.Context(), f, 0), policy.CauseRemotePolicy, "limits how large a file may be")
	})
	t.Run("too many open files", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{External: true, Unprivileged: true, OpenFiles: 24})
		s := dial(t, sshdOptions(srv))
		must(t, os.WriteFile(filepath.Join(srv.Dir, "f"), []byte("x"), 0o644))
		var err error
		for range 100 {
			if _, err = s.control.openFile(t.Context(), filepath.Join(srv.Dir, "f"), openRead); err != nil {
				break
			}
		}
		f := s.control.fault(policy.Data, "open", filepath.Join(srv.Dir, "f"), err)
		if f.Code != 4 {
			t.Fatalf("got %s", describe(f))
		}
		wantVerdict(t, f, s.Extras().Diagnose(t.Context(), f, 0), policy.CauseRemoteHandles, "no file handles left")
	})
	t.Run("mount point", func(t *testing.T) {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{})
		mount(t, filepath.Join(srv.Dir, "m"), "-t", "tmpfs", "tmpfs")
		f, v := diagnosed(t, dial(t, sshdOptions(srv)), 0, doRmdir(filepath.Join(srv.Dir, "m")))
		wantVerdict(t, f, v, policy.CauseRemoteBusy, "is a mount point")
	})
}
