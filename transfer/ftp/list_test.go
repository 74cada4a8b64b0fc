package ftp_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/ftp/listing"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// lines is a Listing that is the same whatever is asked for.
func lines(all ...string) func(verb, dir string) []byte {
	return func(string, string) []byte { return []byte(strings.Join(all, "\r\n") + "\r\n") }
}

// TestNothingDropped: of 24 and 11 odd lines the library drops 13 and 3; here
// each is an entry, or is handed over as unreadable.
func TestNothingDropped(t *testing.T) {
	long := strings.Repeat("n", 100<<10)
	raw := []string{
		"total 3",
		"-rw-r--r-- 1 u g 5 2024-05-01 12:34 iso date",
		"-rw-r--r--. 1 u g 5 May 18 09:05 selinux",
		"prw-r--r-- 1 u g 0 May 18 09:05 fifo",
		"-rw-r--r-- 1 u g 5 xyz 18 09:05 month nobody knows",
		"-rw-r--r-- 1 u g 010 May 18 09:05 ten",
		"-rw-r--r-- 1 u g 5 May 18 09:05 ../evil",
		"-rw-r--r-- 1 u g 5 May 18 09:05 " + long,
		"what is this",
		"-rw-r--r-- 1 u g 5 May 18 09:05 last",
	}
	srv := start(t, lab.FTPConfig{Without: []string{"MLST", "MLSD"}, Listing: lines(raw...)})
	got := list(t, dial(t, srv), ".")
	if len(got) != len(raw)-1 {
		t.Fatalf("%d entries of %d lines: %+v", len(got), len(raw)-1, got)
	}
	for i, want := range []struct {
		name string
		bad  error
	}{
		{"iso date", nil}, {"selinux", nil}, {"fifo", nil}, {"month nobody knows", nil}, {"ten", nil},
		{"../evil", transfer.ErrBadName}, {raw[7][:64<<10], listing.ErrFormat}, {"what is this", listing.ErrFormat}, {"last", nil},
	} {
		if got[i].Name != want.name || !errors.Is(got[i].Bad, want.bad) {
			t.Errorf("%d: %.60q, %v; want %.60q, %v", i, got[i].Name, got[i].Bad, want.name, want.bad)
		}
	}
	if got[4].Size != 10 {
		t.Errorf("size %d, want 10: zeros in front don't make it octal", got[4].Size)
	}

	facts := []string{
		"type=file;size=3; good", "type=file;size=3; ../evil", "no facts", "type=cdir; .",
		"type=file; " + long, "type=file;size=4; last",
	}
	srv = start(t, lab.FTPConfig{Listing: lines(facts...)})
	got = list(t, dial(t, srv), ".")
	if len(got) != len(facts)-1 || got[0].Bad != nil || got[1].Bad == nil || got[2].Bad == nil || got[3].Bad == nil || got[4].Name != "last" {
		t.Errorf("%d entries", len(got))
	}
}

// TestListMissing: a directory that is not there is a fault, also where the
// server lists it as empty.
func TestListMissing(t *testing.T) {
	for _, cfg := range []lab.FTPConfig{
		{}, {EmptyForMissing: true},
		{Without: []string{"MLST", "MLSD"}}, {Without: []string{"MLST", "MLSD"}, EmptyForMissing: true},
		{Script: []lab.Rule{{On: "MLSD", Path: "missing", Do: lab.Reply(501, "No such directory.")}}}, // pyftpdlib
		{Script: []lab.Rule{{On: "PWD", Do: lab.Reply(502, "No.")}}, Without: []string{"MLST", "MLSD"}},
	} {
		cfg.Root = t.TempDir()
		if err := os.Mkdir(filepath.Join(cfg.Root, "empty"), 0o755); err != nil {
			t.Fatal(err)
		}
		store(t, cfg.Root, "file", nil)
		s := dial(t, start(t, cfg))
		if got := list(t, s, "empty"); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		err := s.List(t.Context(), "missing", func(i transfer.Info) error { return fmt.Errorf("%+v", i) })
		kind(t, s, err, policy.KindMissing)
		err = s.List(t.Context(), "missing/below", func(i transfer.Info) error { return fmt.Errorf("%+v", i) })
		kind(t, s, err, policy.KindMissing)
		works(t, s)
	}
}

// kind checks the verdict, after a diagnosis where the policy asks for one.
func kind(t *testing.T, s transfer.Session, err error, want policy.Kind) policy.Verdict {
	t.Helper()
	f := faultOf(t, err)
	v := policy.Classify(f)
	if v.Remedy == policy.Diagnose {
		v = s.Extras().Diagnose(t.Context(), f, 0)
	}
	if v.Kind != want {
		t.Errorf("%v (%+v): kind %v, want %v", f, f, v.Kind, want)
	}
	return v
}

// TestListOptions: the name of a directory is never an option, a pattern, or
// cut at a space.
func TestListOptions(t *testing.T) {
	for _, without := range [][]string{nil, {"MLST", "MLSD"}} {
		root := t.TempDir()
		for _, dir := range []string{"-a", "-lR", "*", "a b", "[x]", "~"} {
			if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
			store(t, root, dir+"/in "+dir, nil)
		}
		srv := start(t, lab.FTPConfig{Root: root, Without: without})
		s := dial(t, srv)
		for _, dir := range []string{"-a", "-lR", "*", "a b", "[x]", "~"} {
			if got := list(t, s, dir); len(got) != 1 || got[0].Name != "in "+dir {
				t.Errorf("%q: %+v", dir, got)
			}
		}
	}
}

// TestHidden: LIST -a is used where it shows more, and not where "-a" is taken
// for a name.
func TestHidden(t *testing.T) {
	unix := func(verb, dir string) []byte { // a server like vsftpd
		return []byte("-rw-r--r-- 1 u g 5 May 18 09:05 plain\r\n")
	}
	srv := start(t, lab.FTPConfig{Without: []string{"MLST", "MLSD"}, Listing: unix})
	s := dial(t, srv)
	for range 2 {
		if got := list(t, s, "."); len(got) != 1 || got[0].Name != "plain" {
			t.Errorf("%+v", got)
		}
	}
	var args []string
	for _, e := range srv.Log().Of("LIST") {
		args = append(args, e.Arg)
	}
	if !slices.Equal(args, []string{"-a", "", ""}) {
		t.Errorf("asked %q; \"-a\" showed nothing of its own, so it is asked for once", args)
	}

	srv = start(t, lab.FTPConfig{Without: []string{"MLST", "MLSD"}, Script: []lab.Rule{{On: "LIST", Times: 1, Do: lab.Reply(550, "-a: no such file.")}}})
	works(t, dial(t, srv))
	if got := list(t, dial(t, srv), "."); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestZone: the server's zone is found out by MDTM, or taken from the options.
func TestZone(t *testing.T) {
	root := t.TempDir()
	modified := time.Date(2024, 5, 18, 9, 5, 30, 0, time.UTC)
	store(t, root, "file", nil)
	if err := os.Chtimes(filepath.Join(root, "file"), modified, modified); err != nil {
		t.Fatal(err)
	}
	plusTwo := lines(
		"-rw-r--r-- 1 u g 5 2024-05-18 11:05 file",
		"-rw-r--r-- 1 u g 5 2024-01-18 11:05 older",
	)
	for name, test := range map[string]struct {
		cfg  lab.FTPConfig
		zone *time.Location
		want string
	}{
		"found out":  {lab.FTPConfig{Listing: plusTwo}, nil, "2024-05-18 09:05"},
		"configured": {lab.FTPConfig{Listing: plusTwo}, time.FixedZone("", -3600), "2024-05-18 12:05"},
		"no MDTM":    {lab.FTPConfig{Listing: plusTwo, Without: []string{"MDTM"}}, nil, "2024-05-18 11:05"},
		"nonsense": {lab.FTPConfig{Listing: plusTwo, Script: []lab.Rule{{On: "MDTM", Do: lab.Reply(213, "20240518081700")}}}, nil,
			"2024-05-18 11:05"}, // 2 h 48 min is no zone
	} {
		test.cfg.Root = root
		test.cfg.Without = append(test.cfg.Without, "MLST", "MLSD")
		srv := start(t, test.cfg)
		s := dial(t, srv, func(o *ftp.Options) { o.Zone = test.zone })
		for range 2 {
			got := list(t, s, ".")
			if at := got[0].ModTime.UTC().Format("2006-01-02 15:04"); at != test.want || got[0].Precision != time.Minute {
				t.Errorf("%s: %s of precision %v, want %s", name, at, got[0].Precision, test.want)
			}
		}
		if n := srv.Log().Count("MDTM"); n > 1 {
			t.Errorf("%s: %d MDTM", name, n)
		}
		zone := s.Extras().Facts()["zone"].Value
		if want := map[string]string{"found out": "+02:00"}[name]; zone != want {
			t.Errorf("%s: learned %q, want %q", name, zone, want)
		}
	}

	// The next session knows, and asks nothing.
	srv := start(t, lab.FTPConfig{Root: root, Listing: plusTwo, Without: []string{"MLST", "MLSD"}})
	s := dial(t, srv, func(o *ftp.Options) {
		o.Hints.Facts = transfer.Facts{"zone": {Value: "+02:00", At: time.Now()}, "list-a": {Value: "no", At: time.Now()}}
	})
	if got := list(t, s, "."); !got[0].ModTime.Equal(modified.Truncate(time.Minute)) {
		t.Errorf("%v", got[0].ModTime)
	}
	if l := srv.Log(); l.Count("MDTM") != 0 || l.Count("LIST") != 1 {
		t.Errorf("%d MDTM, %d LIST", l.Count("MDTM"), l.Count("LIST"))
	}
}

// TestListFallback: a server that lists MLSD in FEAT and does not know it.
func TestListFallback(t *testing.T) {
	root := t.TempDir()
	store(t, root, "file", nil)
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "MLSD", Do: lab.Reply(500, "Unknown.")}}})
	s := dial(t, srv)
	for range 2 {
		if got := list(t, s, "."); len(got) != 1 || got[0].Name != "file" {
			t.Errorf("%+v", got)
		}
	}
	if n := srv.Log().Count("MLSD"); n != 1 {
		t.Errorf("%d MLSD", n)
	}
	if s.Extras().Facts()["no:MLSD"].Value == "" {
		t.Error("not learned")
	}
}

// TestTruncated: pure-ftpd stops after 10,000 entries and says so only in words.
func TestTruncated(t *testing.T) {
	root := t.TempDir()
	store(t, root, "file", nil)
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "MLSD", When: lab.Finally, Do: lab.Reply(226, "Output truncated to 10000 matches")}}})
	got := list(t, dial(t, srv), ".")
	if len(got) != 2 || got[0].Bad != nil || got[1].Bad == nil {
		t.Errorf("%+v; the missing ones must not be taken for deleted", got)
	}
}

// TestListBroken: a listing that breaks off is a fault, not a short listing.
func TestListBroken(t *testing.T) {
	many := func(string, string) []byte {
		return bytes.Repeat([]byte("type=file;size=3; name\r\n"), 100_000)
	}
	for _, test := range []struct {
		do    lab.Action
		code  int
		cause policy.Cause
	}{
		{lab.DropData(lab.RST), 426, ""},
		{lab.Reply(451, "Read error."), 451, ""},
		{lab.Drop(lab.RST).Then(lab.DropData(lab.RST)), 0, policy.CauseReset},
		{lab.Stall(), 0, policy.CauseTimeout},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			srv := start(t, lab.FTPConfig{Listing: many, Script: []lab.Rule{{On: "MLSD", When: lab.During, After: 100_000, Do: test.do}}})
			n := 0
			err := dial(t, srv, limits(quick)).List(t.Context(), ".", func(transfer.Info) error { n++; return nil })
			is(t, err, "MLSD", policy.Data, test.code, test.cause)
			if n == 0 {
				t.Error("nothing was handed over before")
			}
		})
	}
}

// TestListHuge: 100,000 entries are not collected.
func TestListHuge(t *testing.T) {
	const count = 100_000
	var b bytes.Buffer
	for i := range count {
		fmt.Fprintf(&b, "-rw-r--r-- 1 u g %d May 18 09:05 file %06d\r\n", i, i)
	}
	srv := start(t, lab.FTPConfig{Without: []string{"MLST", "MLSD"}, Listing: func(string, string) []byte { return b.Bytes() }})
	s := dial(t, srv)
	n, most := 0, uint64(0)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	within(t, 20*time.Second, func() {
		err := s.List(t.Context(), ".", func(i transfer.Info) error {
			if i.Bad != nil || i.Name != fmt.Sprintf("file %06d", n) {
				return fmt.Errorf("entry %d: %+v", n, i)
			}
			if n++; n%20_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapAlloc)
			}
			return nil
		})
		if err != nil || n != count {
			t.Errorf("%d entries, %v", n, err)
		}
	})
	if grown := int64(most) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// TestListStops: the callback's error ends the listing and comes back, and the
// session works on.
func TestListStops(t *testing.T) {
	many := func(string, string) []byte { return bytes.Repeat([]byte("type=file;size=3; name\r\n"), 200_000) }
	stop := errors.New("enough")
	s := dial(t, start(t, lab.FTPConfig{Listing: many}))
	for range 20 {
		n := 0
		err := s.List(t.Context(), ".", func(transfer.Info) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("%v after %d entries", err, n)
		}
		works(t, s)
	}
}

// TestEncoding: names in the server's code page come and go without a change.
func TestEncoding(t *testing.T) {
	for _, test := range []struct {
		encoding string
		encode   func(string) (string, error)
		name     string
		foreign  string // a name that the code page can't spell
	}{
		{"gbk", simplifiedchinese.GBK.NewEncoder().String, "报表 2024", "emoji 📁"},
		{"windows-1251", charmap.Windows1251.NewEncoder().String, "Отчёт", "日本"},
		{"cp437", charmap.CodePage437.NewEncoder().String, "Übersicht", "日本"},
	} {
		wire, err := test.encode(test.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, without := range [][]string{nil, {"MLST", "MLSD"}} {
			root := t.TempDir()
			srv := start(t, lab.FTPConfig{Root: root, Without: without})
			s := dial(t, srv, func(o *ftp.Options) { o.Encoding = test.encoding })
			ctx := t.Context()
			put(t, s, test.name, []byte("abc"))
			if _, err := os.Stat(filepath.Join(root, wire)); err != nil {
				t.Errorf("%s: stored under another name: %v", test.encoding, err)
			}
			if got := list(t, s, "."); len(got) != 1 || got[0].Name != test.name || got[0].Bad != nil {
				t.Errorf("%s: %+v", test.encoding, got)
			}
			if err := errors.Join(
				s.Rename(ctx, test.name, test.name+"2"), s.Rename(ctx, test.name+"2", test.name),
				s.Mkdir(ctx, test.name+" dir"), s.Rmdir(ctx, test.name+" dir"),
			); err != nil {
				t.Error(err)
			}
			if info, err := s.Stat(ctx, test.name); err != nil || info.Name != test.name || info.Size != 3 {
				t.Errorf("%+v, %v", info, err)
			}
			_, err := s.Put(ctx, test.foreign, 0, source(nil))
			if f := faultOf(t, err); f.Cause != policy.CauseBadName || f.Protocol != policy.Local {
				t.Errorf("%s: %+v", test.foreign, f)
			}
			if srv.Log().Count("OPTS") != 0 {
				t.Errorf("%s: UTF-8 was asked for", test.encoding)
			}
		}
	}

	// A name that is no GBK can't be spelled, so it is reported and marked.
	srv := start(t, lab.FTPConfig{Listing: lines("type=file;size=3; \xff\xfe\x80", "type=file;size=3; ok")})
	got := list(t, dial(t, srv, func(o *ftp.Options) { o.Encoding = "gbk" }), ".")
	if len(got) != 2 || !errors.Is(got[0].Bad, transfer.ErrBadName) || got[1].Bad != nil {
		t.Errorf("%+v", got)
	}

	// Without a code page any bytes go through as they are.
	root := t.TempDir()
	s := dial(t, start(t, lab.FTPConfig{Root: root}))
	put(t, s, "caf\xe9", []byte("abc"))
	if got := list(t, s, "."); len(got) != 1 || got[0].Name != "caf\xe9" || got[0].Bad != nil {
		t.Errorf("%+v", got)
	}
	if got := get(t, s, "caf\xe9"); string(got) != "abc" {
		t.Errorf("%q", got)
	}
}

// TestStat: each way to look at a path gives the same answer.
func TestStat(t *testing.T) {
	modified := time.Date(2024, 5, 18, 9, 5, 30, 0, time.UTC)
	for _, without := range [][]string{nil, {"MLST", "MLSD"}, {"MLST", "MLSD", "SIZE"}, {"MLST", "MLSD", "SIZE", "MDTM", "FEAT"}} {
		root := t.TempDir()
		store(t, root, "file", pattern(777))
		if err := errors.Join(
			os.Chtimes(filepath.Join(root, "file"), modified, modified),
			os.Mkdir(filepath.Join(root, "dir"), 0o755),
			os.Symlink("file", filepath.Join(root, "link")),
			os.Symlink("dir", filepath.Join(root, "dirlink")),
		); err != nil {
			t.Fatal(err)
		}
		s := dial(t, start(t, lab.FTPConfig{Root: root, Without: without}))
		stat := func(path string) transfer.Info {
			i, err := s.Stat(t.Context(), path)
			if err != nil {
				t.Errorf("without %q: %s: %v", without, path, err)
			}
			return i
		}
		if i := stat("file"); i.Name != "file" || i.Size != 777 || !i.IsRegular() {
			t.Errorf("without %q: %+v", without, i)
		}
		if i := stat("/file"); i.Name != "file" || i.Size != 777 {
			t.Errorf("without %q: %+v", without, i)
		}
		for _, dir := range []string{"dir", "/", ".", "dir/", "dirlink"} {
			if i := stat(dir); !i.IsDir() {
				t.Errorf("without %q: %s: %+v", without, dir, i)
			}
		}
		if len(without) < 3 {
			if i := stat("link"); i.Size != 777 || !i.IsRegular() {
				t.Errorf("without %q: the link is not followed: %+v", without, i)
			}
			if i := stat("file"); !i.ModTime.Equal(modified) || i.Precision != time.Second {
				t.Errorf("without %q: %v of precision %v", without, i.ModTime, i.Precision)
			}
		}
		for _, missing := range []string{"missing", "missing/below", "missing/be/low", "dir/missing/be/low", "/missing"} {
			_, err := s.Stat(t.Context(), missing)
			if !transfer.IsMissing(err) {
				t.Errorf("without %q: %s: %v", without, missing, err)
			}
		}
		for _, below := range []string{"file/below", "file/be/low"} {
			_, err := s.Stat(t.Context(), below)
			if v := policy.Classify(faultOf(t, err)); v.Kind != policy.KindTarget {
				t.Errorf("without %q: %s: %v, %+v", without, below, err, v)
			}
		}
		works(t, s)
	}
}

// TestStatBusy: "not now" is not "not there".
func TestStatBusy(t *testing.T) {
	for verb, without := range map[string][]string{"MLST": nil, "SIZE": {"MLST", "MLSD"}} {
		srv := start(t, lab.FTPConfig{Without: without, Script: []lab.Rule{{On: verb, Do: lab.Reply(450, "Busy.")}}})
		_, err := dial(t, srv).Stat(t.Context(), "file")
		is(t, err, verb, policy.Command, 450, "")
	}
}

// TestForbidden: what may not be looked at is not missing.
func TestForbidden(t *testing.T) {
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{
		{On: "MLST", Path: "/closed/file", Do: lab.Reply(550, "Permission denied.")},
		{On: "CWD", Path: "/closed", Do: lab.Reply(550, "Permission denied.")},
		{On: "MLST", Path: "/closed", Do: lab.Reply(250, "Here:\n type=dir; /closed\nEnd")},
	}})
	s := dial(t, srv)
	_, err := s.Stat(t.Context(), "/closed/file")
	f := is(t, err, "MLST", policy.Command, 550, "")
	if v := policy.Classify(f); v.Kind != policy.KindPermission {
		t.Errorf("%+v", v)
	}
}

// TestNoWayBack: when the login directory can't be found again every relative
// path would mean something else.
func TestNoWayBack(t *testing.T) {
	srv := start(t, lab.FTPConfig{Without: []string{"MLST", "MLSD"}, Script: []lab.Rule{{On: "CWD", Nth: 2, Do: lab.Reply(550, "No.")}}})
	s := dial(t, srv)
	err := s.List(t.Context(), ".", func(transfer.Info) error { return nil })
	is(t, err, "CWD", policy.Command, 550, "")
	if s.Alive() {
		t.Error("alive")
	}
}

// TestStatOfLink: proftpd's MLST gives a link to a file the size and time of the link.
func TestStatOfLink(t *testing.T) {
	modified := time.Date(2024, 5, 18, 9, 5, 30, 0, time.UTC)
	root := t.TempDir()
	store(t, root, "file", pattern(777))
	if err := errors.Join(
		os.Chtimes(filepath.Join(root, "file"), modified, modified),
		os.Symlink("file", filepath.Join(root, "link")),
	); err != nil {
		t.Fatal(err)
	}
	for facts, perm := range map[string]bool{
		"size=4;modify=20250101000000;":   false, // of the link
		"size=777;modify=20240518090530;": true,  // of a file with that mode
		"size=777;":                       false,
	} {
		s := dial(t, start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{
			On: "MLST", Do: lab.Reply(250, "Start\n type=file;UNIX.mode=0777;"+facts+" /link\nEnd"),
		}}}))
		i, err := s.Stat(t.Context(), "link")
		if err != nil || i.Size != 777 || !i.ModTime.Equal(modified) || i.HasPerm != perm {
			t.Errorf("%s: %+v, %v", facts, i, err)
		}
		works(t, s)
	}
}

// TestListUnread: a directory that could not be read is not an empty one, and tells
// nothing of how the server lists.
func TestListUnread(t *testing.T) {
	t.Parallel()
	const vsftpd = "Transfer done (but failed to open directory)."
	empty := func(string, string) []byte { return []byte{} }
	for name, test := range map[string]struct {
		cfg     lab.FTPConfig
		known   string
		cause   policy.Cause
		learned string
	}{
		"said":               {lab.FTPConfig{Listing: empty, Script: []lab.Rule{{On: "LIST", When: lab.Finally, Do: lab.Reply(226, vsftpd)}}}, "", policy.CauseRemotePermission, ""},
		"not even itself":    {lab.FTPConfig{Listing: empty}, "list-a=yes", policy.CauseRemotePermission, "yes"},
		"nobody knows":       {lab.FTPConfig{Listing: empty}, "", "", ""},
		"no data connection": {lab.FTPConfig{Script: []lab.Rule{{On: "EPSV", Do: lab.Reply(550, "Permission denied.")}, {On: "PASV", Do: lab.Reply(550, "Permission denied.")}}}, "", policy.CauseDataConnect, ""},
		"refused at all":     {lab.FTPConfig{Script: []lab.Rule{{On: "LIST", Do: lab.Reply(553, "No.")}}}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			test.cfg.Without = noMLST
			facts := []string{}
			if test.known != "" {
				facts = append(facts, test.known, "zone=+00:00")
			}
			s := dial(t, start(t, test.cfg), known(facts...), limits(quick))
			err := s.List(t.Context(), ".", func(transfer.Info) error { return nil })
			switch {
			case test.cause != "":
				if f := faultOf(t, err); f.Cause != test.cause {
					t.Errorf("%v", err)
				}
			case name == "refused at all":
				is(t, err, "LIST", policy.Command, 553, "")
			case err != nil:
				t.Error(err)
			}
			if got := s.Extras().Facts()["list-a"].Value; got != test.learned {
				t.Errorf("learned %q, want %q", got, test.learned)
			}
		})
	}
}
