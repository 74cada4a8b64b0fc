package ftp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// big is more than all buffers between client and server hold.
const big = 24 << 20

// TestPutFaults: what goes wrong with an upload, and what the session is worth
// afterwards.
func TestPutFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   lab.FTPConfig
		rule  lab.Rule
		size  int
		phase policy.Phase
		code  int
		cause policy.Cause
		alive bool
	}{
		{name: "refused", rule: lab.Rule{Do: lab.Reply(550, "Permission denied.")},
			phase: policy.Command, code: 550, alive: true},
		{name: "busy", rule: lab.Rule{Do: lab.Reply(450, "Busy.")},
			phase: policy.Data, code: 450, alive: true},
		{name: "TLS session not resumed, proftpd", cfg: lab.FTPConfig{TLS: lab.Explicit}, rule: lab.Rule{Do: lab.Reply(150, "Go.").Then(lab.Reply(425, "Operation not permitted."))},
			phase: policy.Data, code: 425, cause: policy.CauseDataTLS, alive: true},
		{name: "TLS session not resumed, vsftpd", cfg: lab.FTPConfig{TLS: lab.Explicit}, rule: lab.Rule{Do: lab.Reply(150, "Go.").Then(lab.Reply(522, "SSL connection failed; session reuse required."))},
			phase: policy.Data, code: 522, cause: policy.CauseDataTLS, alive: true},
		{name: "522 at once", cfg: lab.FTPConfig{TLS: lab.Explicit}, rule: lab.Rule{Do: lab.Reply(522, "Data connections must be encrypted.")},
			phase: policy.Data, code: 522, cause: policy.CauseDataTLS, alive: true},
		{name: "425 without TLS is about the mode", rule: lab.Rule{Do: lab.Reply(150, "Go.").Then(lab.Reply(425, "Can't."))},
			phase: policy.Data, code: 425, alive: true},
		{name: "quota in the middle, data connection left open", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(552, "Quota exceeded.")},
			size: big, phase: policy.Data, code: 552, alive: true},
		{name: "the same over TLS", cfg: lab.FTPConfig{TLS: lab.Explicit}, rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(552, "Quota exceeded.")},
			size: big, phase: policy.Data, code: 552, alive: true},
		{name: "disk full, data connection closed", cfg: lab.FTPConfig{Volumes: []lab.Volume{{Capacity: 1 << 20}}},
			size: big, phase: policy.Data, code: 452, alive: true},
		{name: "data connection reset", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.DropData(lab.RST)},
			size: big, phase: policy.Data, code: 426, alive: true},
		{name: "both connections lost", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.DropData(lab.RST).Then(lab.Drop(lab.RST))},
			size: big, phase: policy.Data, cause: policy.CauseReset},
		{name: "421 in the middle", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(421, "Shutting down.")},
			size: big, phase: policy.Data, code: 421},
		{name: "500 OOPS in the middle", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(500, "OOPS: child died").Then(lab.Drop(lab.FIN)).Then(lab.DropData(lab.FIN))},
			size: big, phase: policy.Data, code: 500},
		{name: "OOPS in clear text on a TLS connection", cfg: lab.FTPConfig{TLS: lab.Explicit}, rule: lab.Rule{When: lab.Finally, Do: lab.Drop(lab.FIN)},
			size: 1000, phase: policy.Finish, cause: policy.CauseReset},
		{name: "no first reply: vsftpd while another session holds the file", rule: lab.Rule{Do: lab.Stall()},
			phase: policy.Data, cause: policy.CauseNoReply},
		{name: "confirmation lost", rule: lab.Rule{When: lab.Finally, Do: lab.Drop(lab.RST)},
			size: 1000, phase: policy.Finish, cause: policy.CauseReset},
		{name: "confirmation never comes", rule: lab.Rule{When: lab.Finally, Do: lab.Stall()},
			size: 1000, phase: policy.Finish, cause: policy.CauseNoReply},
		{name: "426 instead of the confirmation", rule: lab.Rule{When: lab.Finally, Do: lab.Reply(426, "Aborted.")},
			size: 1000, phase: policy.Finish, code: 426, alive: true},
		{name: "451 instead of the confirmation", rule: lab.Rule{When: lab.Finally, Do: lab.Reply(451, "Disk full.")},
			size: 1000, phase: policy.Finish, code: 451, alive: true},
		{name: "the server stops reading", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Stall()},
			size: big, phase: policy.Data, cause: policy.CauseTimeout},
		{name: "success before the end", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(226, "Thanks, enough.")},
			size: big, phase: policy.Data, cause: policy.CauseSize, alive: true},
		{name: "success without a beginning", rule: lab.Rule{Do: lab.Reply(226, "Done.")},
			size: 1000, phase: policy.Data, cause: policy.CauseSize, alive: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, test.cfg)
			if test.cfg.Volumes == nil {
				test.rule.On = "STOR"
				srv.SetScript(test.rule)
			}
			s := dial(t, srv, limits(quick))
			content := pattern(max(test.size, 1))
			within(t, soon, func() {
				n, err := s.Put(t.Context(), "file", 0, transfer.Source{R: localFile(t, content), Size: int64(len(content))})
				f := is(t, err, "STOR", test.phase, test.code, test.cause)
				if n != 0 || f.Path != "file" {
					t.Errorf("%d bytes, path %q", n, f.Path)
				}
			})
			isAlive(t, s, test.alive)
			srv.SetScript()
			srv.SetCapacity("/", 0)
			if s.Alive() {
				works(t, s)
			}
			works(t, dial(t, srv))
		})
	}
}

// TestGetFaults is the same for downloads.
func TestGetFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   lab.FTPConfig
		rule  lab.Rule
		size  int64 // as expected by the caller; 0: the real one
		phase policy.Phase
		code  int
		cause policy.Cause
		alive bool
		whole bool // everything arrived
	}{
		{name: "refused", rule: lab.Rule{Do: lab.Reply(550, "Permission denied.")},
			phase: policy.Command, code: 550, alive: true},
		{name: "425 after 150 over TLS", cfg: lab.FTPConfig{TLS: lab.Explicit}, rule: lab.Rule{Do: lab.Reply(150, "Go.").Then(lab.Reply(425, "No."))},
			phase: policy.Data, code: 425, cause: policy.CauseDataTLS, alive: true},
		{name: "data connection reset", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.DropData(lab.RST)},
			phase: policy.Data, code: 426, alive: true},
		{name: "both connections lost", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.DropData(lab.RST).Then(lab.Drop(lab.RST))},
			phase: policy.Data, cause: policy.CauseReset},
		{name: "451 in the middle", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(451, "Read error.")},
			phase: policy.Data, code: 451, alive: true},
		{name: "the server stops sending", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Stall()},
			phase: policy.Data, cause: policy.CauseTimeout},
		{name: "shorter than announced, with a success", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Truncate()},
			phase: policy.Data, cause: policy.CauseSize, alive: true},
		{name: "the file has changed", size: 5,
			phase: policy.Data, cause: policy.CauseRemoteChanged, alive: true, whole: true},
		{name: "a success before the data is no end", rule: lab.Rule{When: lab.During, After: 1 << 20, Do: lab.Reply(226, "Done.").Then(lab.DropData(lab.FIN))},
			phase: policy.Data, cause: policy.CauseSize, alive: true},
	} {
		for _, intoFile := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", test.name, intoFile), func(t *testing.T) {
				t.Parallel()
				content := pattern(big)
				cfg, rule := test.cfg, test.rule
				cfg.Root, rule.On = t.TempDir(), "RETR"
				store(t, cfg.Root, "file", content)
				srv := start(t, cfg)
				size := test.size
				if size == 0 {
					size = big
					srv.SetScript(rule)
				}
				s := dial(t, srv, limits(quick))
				var w bytes.Buffer
				sink := transfer.Sink{W: &w, Size: size}
				if intoFile {
					sink.W = localFile(t, nil)
				}
				within(t, soon, func() {
					n, err := s.Get(t.Context(), "file", 0, sink)
					is(t, err, "RETR", test.phase, test.code, test.cause)
					got := w.Bytes()
					if f, ok := sink.W.(io.ReadSeeker); ok {
						if _, err := f.Seek(0, io.SeekStart); err != nil {
							t.Fatal(err)
						}
						got, _ = io.ReadAll(f)
					}
					if int(n) != len(got) || !bytes.HasPrefix(content, got) || test.whole && n != big {
						t.Errorf("returned %d, wrote %d, a clean prefix: %t", n, len(got), bytes.HasPrefix(content, got))
					}
				})
				isAlive(t, s, test.alive)
				srv.SetScript()
				if s.Alive() {
					works(t, s)
				}
			})
		}
	}
}

// TestGetConfirmationLost: all that was announced is here; who needs a 226?
func TestGetConfirmationLost(t *testing.T) {
	root := t.TempDir()
	store(t, root, "file", pattern(1000))
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "RETR", When: lab.Finally, Do: lab.Drop(lab.RST)}}})
	s := dial(t, srv, limits(quick))
	if n, err := s.Get(t.Context(), "file", 0, discard(1000)); n != 1000 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	isAlive(t, s, false)
	// Without an announced size nobody knows.
	s = dial(t, srv, limits(quick))
	_, err := s.Get(t.Context(), "file", 0, discard(-1))
	is(t, err, "RETR", policy.Data, 0, policy.CauseReset)
}

// TestOddReplies: what servers say instead of what RFC 959 asks for, and the
// library would stumble over.
func TestOddReplies(t *testing.T) {
	for _, rule := range []lab.Rule{
		{On: "STOR", When: lab.Finally, Do: lab.Reply(250, "OK.")},
		{On: "STOR", Do: lab.Reply(150, "First.")}, // and none more: replaced below
		{On: "RETR", When: lab.Finally, Do: lab.Reply(250, "OK.")},
		{On: "MKD", When: lab.Finally, Do: lab.Reply(250, "OK.")},
		{On: "RMD", When: lab.Finally, Do: lab.Reply(200, "OK.")},
		{On: "DELE", When: lab.Finally, Do: lab.Reply(200, "OK.")},
		{On: "RNFR", When: lab.Finally, Do: lab.Reply(350, "Many\nlines\n 350 of\nwords.")},
		{On: "RNTO", When: lab.Finally, Do: lab.Reply(200, "OK.")},
		{On: "TYPE", When: lab.Finally, Do: lab.Reply(250, "OK.")},
	} {
		if rule.On == "STOR" && rule.When == lab.Before {
			continue
		}
		srv := start(t, lab.FTPConfig{Script: []lab.Rule{rule}})
		s := dial(t, srv, limits(quick))
		works(t, s)
		for _, err := range []error{
			s.Mkdir(t.Context(), "d"), s.Rmdir(t.Context(), "d"),
			s.Rename(t.Context(), "works-abc", "r"), s.Remove(t.Context(), "r"),
		} {
			if err != nil {
				t.Errorf("%s → odd: %v", rule.On, err)
			}
		}
	}
}

// TestLostDeeds: when the reply to something that changes the server is lost,
// it may have happened; a look has to decide.
func TestLostDeeds(t *testing.T) {
	do := map[string]func(context.Context, transfer.Session) error{
		"RNTO": func(ctx context.Context, s transfer.Session) error { return s.Rename(ctx, "a", "b") },
		"DELE": func(ctx context.Context, s transfer.Session) error { return s.Remove(ctx, "a") },
		"MKD":  func(ctx context.Context, s transfer.Session) error { return s.Mkdir(ctx, "d") },
		"RMD":  func(ctx context.Context, s transfer.Session) error { return s.Rmdir(ctx, "d") },
	}
	for verb, call := range do {
		for name, action := range map[string]lab.Action{"silent": lab.Stall(), "dropped": lab.Drop(lab.RST)} {
			t.Run(verb+"/"+name, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				store(t, root, "a", nil)
				srv := start(t, lab.FTPConfig{Root: root})
				s := dial(t, srv, limits(quick))
				if verb == "RMD" {
					if err := s.Mkdir(t.Context(), "d"); err != nil {
						t.Fatal(err)
					}
				}
				srv.SetScript(lab.Rule{On: verb, When: lab.Finally, Do: action})
				f := faultOf(t, call(t.Context(), s))
				if f.Op != verb || f.Phase != policy.Finish || policy.Classify(f).Remedy != policy.Reconcile {
					t.Errorf("%+v, remedy %v; want phase finish, and a look", f, policy.Classify(f).Remedy)
				}
				isAlive(t, s, false)
			})
		}
	}
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "RNFR", Do: lab.Stall()}}})
	is(t, dial(t, srv, limits(quick)).Rename(t.Context(), "a", "b"), "RNFR", policy.Command, 0, policy.CauseNoReply)
}

// TestRenamePaths: each half of a rename is about its own path.
func TestRenamePaths(t *testing.T) {
	root := t.TempDir()
	store(t, root, "a", nil)
	srv := start(t, lab.FTPConfig{Root: root, NoReplace: true})
	s := dial(t, srv)
	if f := is(t, s.Rename(t.Context(), "missing", "b"), "RNFR", policy.Command, 550, ""); f.Path != "missing" {
		t.Errorf("path %q", f.Path)
	}
	store(t, root, "b", nil)
	if f := is(t, s.Rename(t.Context(), "a", "b"), "RNTO", policy.Command, 553, ""); f.Path != "b" {
		t.Errorf("path %q", f.Path)
	}
	works(t, s)
}

// TestStray: a reply to nothing means that no later one can be trusted.
func TestStray(t *testing.T) {
	for _, test := range []struct {
		raw   string
		code  int
		cause policy.Cause
	}{
		{"200 OK.\r\n421 Timeout.\r\n", 421, ""},
		{"200 OK.\r\n226 Transfer complete.\r\n", 226, policy.CauseDesync},
		{"200 OK.\r\n500 OOPS: priv_sock_get_result\r\n", 500, ""},
	} {
		srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "DELE", Do: lab.Raw(test.raw)}}})
		s := dial(t, srv, limits(quick))
		if err := s.Remove(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		for range 10_000 {
			if ftp.Unread(s) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		is(t, s.Mkdir(t.Context(), "d"), "MKD", policy.Command, test.code, test.cause)
		if s.Alive() {
			t.Error("alive")
		}
	}
}

// TestLateReply: behind a reply that did not come in time there is no session.
func TestLateReply(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "MKD", Times: 1, Do: lab.Wait(quick.Reply + quick.Reply/2)}}})
	s := dial(t, srv, limits(quick))
	faultOf(t, s.Mkdir(t.Context(), "d"))
	if s.Alive() {
		t.Error("alive")
	}
	is(t, s.Remove(t.Context(), "x"), "DELE", policy.Command, 0, policy.CauseNoReply)
}

// TestEndlessReply: a server can't fill our memory.
func TestEndlessReply(t *testing.T) {
	line := string(bytes.Repeat([]byte("x"), 60<<10))
	for name, raw := range map[string]string{
		"one long line": "257 " + line + line,
		"many lines":    "257-\r\n" + string(bytes.Repeat([]byte(line+"\r\n"), 40)),
		"many replies":  string(bytes.Repeat([]byte("200 yes\r\n"), 1000)),
	} {
		srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "DELE", Do: lab.Raw(raw)}}})
		s := dial(t, srv, limits(quick))
		var err error
		for range 50 { // a reply that has not arrived yet can't be seen to be one too many
			if err = s.Remove(t.Context(), "x"); err != nil {
				break
			}
		}
		if f := faultOf(t, err); f.Cause != policy.CauseSyntax && f.Cause != policy.CauseDesync || s.Alive() {
			t.Errorf("%s: %+v, alive %t", name, f, s.Alive())
		}
	}
}

// TestSlowLink: a link that moves is alive, however slow it is.
func TestSlowLink(t *testing.T) {
	const size = 300_000
	slowly := func(t *testing.T, kind lab.Security) {
		t.Parallel()
		root := t.TempDir()
		store(t, root, "file", pattern(size))
		slow := lab.Throttle(200_000)
		srv := start(t, lab.FTPConfig{Root: root, TLS: kind, Script: []lab.Rule{
			{On: "RETR", When: lab.During, Do: slow}, {On: "STOR", When: lab.During, Do: slow},
		}})
		patient := transfer.Timeouts{Connect: 2 * time.Second, Reply: 2 * time.Second, Idle: 700 * time.Millisecond, Final: 20 * time.Second}
		s := dial(t, srv, limits(patient))
		f := localFile(t, nil)
		if n, err := s.Get(t.Context(), "file", 0, transfer.Sink{W: f, Size: size}); n != size || err != nil {
			t.Errorf("get: %d, %v", n, err)
		}
		if n, err := s.Put(t.Context(), "copy", 0, transfer.Source{R: f, Size: size}); n != size || err != nil {
			t.Errorf("put: %d, %v", n, err)
		}
		if !bytes.Equal(stored(t, root, "copy"), pattern(size)) {
			t.Error("the copy is another file")
		}
	}
	t.Run("plain", func(t *testing.T) { slowly(t, lab.Plain) })
	t.Run("TLS", func(t *testing.T) { slowly(t, lab.Explicit) })
}

// TestPausingLink: bytes come in bursts, with pauses shorter than the limit; one
// deadline for each chunk would have cut it.
func TestPausingLink(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store(t, root, "file", pattern(big))
	patient := quick
	patient.Idle = time.Second
	s := dial(t, start(t, lab.FTPConfig{Root: root}), limits(patient))
	pause := &pausingWriter{w: io.Discard, every: 6 << 20, pause: 600 * time.Millisecond}
	n, err := s.Get(t.Context(), "file", 0, transfer.Sink{W: pause, Size: big})
	if n != big || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

type pausingWriter struct {
	w     io.Writer
	every int
	n     int
	pause time.Duration
}

func (p *pausingWriter) Write(b []byte) (int, error) {
	if p.n += len(b); p.n > p.every {
		p.n = 0
		time.Sleep(p.pause)
	}
	return p.w.Write(b)
}

// TestKeepAlive: NOOPs during a transfer are answered at once by some servers
// and afterwards by others; replies and requests stay in step.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	const size = 400_000
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "STOR", When: lab.During, Do: lab.Throttle(400_000)}}})
	s := dial(t, srv, func(o *ftp.Options) { o.KeepAlive = 100 * time.Millisecond })
	put(t, s, "file", pattern(size))
	if err := s.Mkdir(t.Context(), "d"); err != nil {
		t.Error(err)
	}
	works(t, s)
	if n := srv.Log().Count("NOOP"); n < 3 {
		t.Errorf("%d NOOPs", n)
	}
}

// TestAbort: 220 transfers broken off at random points, up and down, with and
// without TLS. Each leaves a session that works or knows that it is over.
func TestAbort(t *testing.T) {
	t.Parallel()
	rounds := 220
	if testing.Short() {
		rounds = 20
	}
	content := pattern(4 << 20)
	for _, kind := range []lab.Security{lab.Plain, lab.Explicit} {
		root := t.TempDir()
		store(t, root, "file", content)
		store(t, root, "mark", []byte("in step"))
		srv := start(t, lab.FTPConfig{Root: root, TLS: kind})
		var s transfer.Session
		logins := 0
		for i := range rounds / 2 {
			if s == nil || !s.Alive() {
				s = dial(t, srv)
				logins++
			}
			ctx, cancel := context.WithCancel(t.Context())
			after := rand.Int64N(int64(len(content)))
			progress := func(pos int64) {
				if pos >= after {
					cancel()
				}
			}
			var err error
			if i%2 == 0 {
				_, err = s.Put(ctx, "up", 0, transfer.Source{R: bytes.NewReader(content), Size: int64(len(content)), Progress: progress})
			} else {
				_, err = s.Get(ctx, "file", 0, transfer.Sink{W: io.Discard, Size: int64(len(content)), Progress: progress})
			}
			cancel()
			if err != nil {
				if f := faultOf(t, err); f.Cause != policy.CauseCancelled {
					t.Fatalf("round %d: %v, cause %q", i, f, f.Cause)
				}
			}
			if s.Alive() {
				info, err := s.Stat(t.Context(), "file")
				if err != nil || info.Size != int64(len(content)) {
					t.Fatalf("round %d: replies out of step: %+v, %v", i, info, err)
				}
				if got := get(t, s, "mark"); string(got) != "in step" {
					t.Fatalf("round %d: another file: %q", i, got)
				}
			}
		}
		t.Logf("%d logins for %d aborts", logins, rounds/2)
		if logins > 1+rounds/10 {
			t.Errorf("%d logins for %d aborts: they should leave the session usable", logins, rounds/2)
		}
	}
}

// TestResumed: TLS sessions of data connections continue that of the login,
// every time.
func TestResumed(t *testing.T) {
	for _, reuse := range []lab.SessionReuse{lab.ReuseOr425, lab.ReuseOr522} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			srv := start(t, lab.FTPConfig{TLS: lab.Explicit, Reuse: reuse, MinTLS: version, MaxTLS: version})
			one, two := dial(t, srv), dial(t, srv) // two logins must not share tickets
			for range 10 {
				works(t, one)
				works(t, two)
			}
			put(t, one, "empty", nil)
			if got := get(t, one, "empty"); len(got) != 0 {
				t.Errorf("%d bytes", len(got))
			}
			want := tls.VersionName(version)
			if got := one.Extras().Facts()["tls-version"].Value; got != want {
				t.Errorf("learned %q, want %q", got, want)
			}
		}
	}
}

// TestRestRefused: a server without REST is a server without REST.
func TestRestRefused(t *testing.T) {
	root := t.TempDir()
	store(t, root, "file", pattern(1000))
	srv := start(t, lab.FTPConfig{Root: root, Without: []string{"REST"}})
	s := dial(t, srv)
	if !s.Extras().Resume {
		t.Error("not even tried")
	}
	_, err := s.Get(t.Context(), "file", 500, discard(1000))
	is(t, err, "REST", policy.Data, 502, policy.CauseNoRest)
	if s.Extras().Resume {
		t.Error("not learned")
	}
	_, err = s.Put(t.Context(), "file", 500, source(pattern(1000)))
	is(t, err, "STOR", policy.Data, 0, policy.CauseNoRest)
	if n := srv.Log().Count("REST"); n != 1 {
		t.Errorf("%d REST", n)
	}
	works(t, s)
	if v := s.Extras().Facts()["no:REST"]; v.Value == "" {
		t.Errorf("not to be remembered: %+v", s.Extras().Facts())
	}
	if !bytes.Equal(stored(t, root, "file"), pattern(1000)) {
		t.Error("the file was damaged")
	}
}

// TestSourceChanges: a file that shrinks while it is sent is a fault of ours.
func TestSourceChanges(t *testing.T) {
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv)
	for _, src := range []transfer.Source{
		{R: localFile(t, pattern(1000)), Size: 2000},
		{R: bytes.NewReader(pattern(1000)), Size: 2000},
		{R: io.MultiReader(bytes.NewReader(pattern(1000))), Size: 2000},
	} {
		_, err := s.Put(t.Context(), "file", 0, src)
		f := faultOf(t, err)
		if f.Protocol != policy.Local || f.Cause != policy.CauseLocalChanged {
			t.Errorf("%+v", f)
		}
		works(t, s)
	}
	// One that grows is sent as far as it was announced.
	if n, err := s.Put(t.Context(), "file", 0, transfer.Source{R: localFile(t, pattern(2000)), Size: 1000}); n != 1000 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestFullDisk: what the disk here says is about the disk here, also where
// splice reports the local path for everything.
func TestLocalFull(t *testing.T) {
	root := t.TempDir()
	store(t, root, "file", pattern(big))
	srv := start(t, lab.FTPConfig{Root: root})
	s := dial(t, srv)
	full := localFile(t, nil)
	_ = full.Close()
	_, err := s.Get(t.Context(), "file", 0, transfer.Sink{W: full, Size: big})
	f := faultOf(t, err)
	if f.Protocol != policy.Local || f.Path != full.Name() {
		t.Errorf("%+v", f)
	}
	boom := errors.New("boom")
	_, err = s.Get(t.Context(), "file", 0, transfer.Sink{W: writerFunc(func([]byte) (int, error) { return 0, boom }), Size: big})
	if f := faultOf(t, err); f.Protocol != policy.Local || !errors.Is(f, boom) {
		t.Errorf("%+v", f)
	}
	works(t, s)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// TestPRET: a server that wants to know what comes before PASV is told.
func TestPRET(t *testing.T) {
	srv := start(t, lab.FTPConfig{With: []string{"PRET", "CLNT"}})
	s := dial(t, srv)
	works(t, s)
	list(t, s, ".")
	if e := srv.Log().Of("PRET"); len(e) == 0 || e[0].Arg != "STOR works-abc" {
		t.Errorf("%v", e)
	}
	if n := srv.Log().Count("CLNT"); n != 1 {
		t.Errorf("%d CLNT", n)
	}
}

// TestNoFeatures: a server that is older than every extension.
func TestNoFeatures(t *testing.T) {
	for _, code := range []int{500, 502, 504} {
		srv := start(t, lab.FTPConfig{NotImplemented: code, Without: []string{
			"FEAT", "EPSV", "EPRT", "MDTM", "MFMT", "MLST", "MLSD", "REST", "SIZE", "UTF8", "SITE CHMOD", "STAT",
		}})
		s := dial(t, srv)
		put(t, s, "file", pattern(1000))
		if got := get(t, s, "file"); !bytes.Equal(got, pattern(1000)) {
			t.Error("another file")
		}
		info, err := s.Stat(t.Context(), "file")
		if err != nil || info.Size != 1000 {
			t.Errorf("%+v, %v", info, err)
		}
		_, err = s.Stat(t.Context(), "missing")
		if f := faultOf(t, err); policy.Classify(f).Kind != policy.KindMissing {
			t.Errorf("%+v", f)
		}
		info, err = s.Stat(t.Context(), ".")
		if err != nil || !info.IsDir() {
			t.Errorf("%+v, %v", info, err)
		}
		if entries := list(t, s, "."); len(entries) != 1 {
			t.Errorf("%+v", entries)
		}
	}
}
