package ftp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// afternoon is a time that no file gets by itself.
var afternoon = time.Date(2020, 2, 3, 14, 5, 6, 0, time.UTC)

// publish puts a file as a transfer does: under a temporary name, with its size
// compared and its time set before it gets its own.
func publish(t *testing.T, s transfer.Session, name string) error {
	t.Helper()
	temp := name + ".part"
	src := source([]byte("content"))
	src.ModTime, src.Temporary = afternoon, true
	if _, err := s.Put(t.Context(), temp, 0, src); err != nil {
		return err
	}
	info, err := transfer.Info{}, error(nil)
	if size := s.Extras().Size; size != nil {
		info.Size, err = size(t.Context(), temp)
	} else {
		info, err = s.Stat(t.Context(), temp)
	}
	if err != nil {
		return err
	}
	if info.Size != src.Size {
		t.Errorf("%s has %d bytes", temp, info.Size)
	}
	if err := s.Extras().SetModTime(t.Context(), temp, afternoon); err != nil {
		return err
	}
	return s.Rename(t.Context(), temp, name)
}

// publishes publishes the files, and looks whether they are there.
func publishes(t *testing.T, s transfer.Session, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := publish(t, s, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		if info, err := s.Stat(t.Context(), name); err != nil || info.Size != 7 || !info.ModTime.Equal(afternoon) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

// known remembers such facts about the server.
func known(facts ...string) func(*ftp.Options) {
	return func(o *ftp.Options) {
		o.Hints.Facts = transfer.Facts{}
		for _, fact := range facts {
			name, value, _ := strings.Cut(fact, "=")
			o.Hints.Facts[name] = transfer.Fact{Value: value, At: time.Now()}
		}
	}
}

var noMLST = []string{"MLST", "MLSD"}

// TestFlights: the server goes on with the one command only when it has the
// other, which a client that waits for a reply in between never sends.
func TestFlights(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		cfg  lab.FTPConfig
		at   string
		till string
		nth  int
	}{
		{"login", lab.FTPConfig{}, "EPSV", "TYPE", 1},
		{"login over TLS", lab.FTPConfig{TLS: lab.Explicit}, "FEAT", "EPSV", 1},
		{"names in UTF-8", lab.FTPConfig{}, "OPTS", "PWD", 1},
		{"upload", lab.FTPConfig{}, "MLST", "RNFR", 1},
		{"upload, no MLST", lab.FTPConfig{Without: noMLST}, "SIZE", "RNFR", 1},
		{"upload, no MFMT", lab.FTPConfig{Without: []string{"MFMT"}, With: []string{"MDTM SET"}}, "MLST", "MDTM", 1},
		{"second upload", lab.FTPConfig{}, "EPSV", "RNFR", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := test.cfg
			cfg.Script = []lab.Rule{{On: test.at, Nth: test.nth, Times: 1, Do: lab.Until(test.till)}}
			srv := start(t, cfg)
			s := dial(t, srv, known("pipelining=works", "utf8=offered"), limits(quick))
			publishes(t, s, "a", "b", "c")
			if n := srv.Fired(test.at); n != 1 {
				t.Errorf("fired %d times", n)
			}
			if n := srv.Log().Count("RNFR"); n != 3 {
				t.Errorf("RNFR %d times for three files", n)
			}
			if learned := s.Extras().Facts()["pipelining"]; learned.Value != "works" {
				t.Errorf("learned %+v", learned)
			}
		})
	}
}

// TestFlightOfStat: the questions about a file that is to be fetched, from the
// third of a series on with that for its port, unless that was asked for before.
func TestFlightOfStat(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root, Without: noMLST, Script: []lab.Rule{
		{On: "SIZE", Do: lab.Until("MDTM")},
		{On: "EPSV", Nth: 3, Do: lab.Until("SIZE")},
	}})
	store(t, root, "file", pattern(1000))
	s := dial(t, srv, limits(quick), noops)
	for range 4 {
		fetch(t, s, "file", 1000)
	}
	if n := srv.Log().Count("EPSV"); n != 4 {
		t.Errorf("%d ports for four files", n)
	}
}

// TestFlightOfVisit: the way back out of a directory is asked for with the way into
// it, and relative paths go on beginning where they did.
func TestFlightOfVisit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store(t, root, "file", pattern(3))
	srv := start(t, lab.FTPConfig{Root: root, Without: noMLST, Script: []lab.Rule{{On: "CWD", Times: 1, Do: lab.Until("CWD")}}})
	s := dial(t, srv, limits(quick))
	if err := s.Mkdir(t.Context(), "dir"); err != nil {
		t.Fatal(err)
	}
	store(t, root, "dir/inside", pattern(5))
	for _, path := range []string{"dir", "missing", "dir/missing", "dir", "none/missing"} {
		info, err := s.Stat(t.Context(), path)
		if path == "dir" {
			if err != nil || !info.IsDir() {
				t.Errorf("%s: %+v, %v", path, info, err)
			}
		} else if f := faultOf(t, err); f.Cause != policy.CauseRemoteMissing {
			t.Errorf("%s: %v", path, f)
		}
		for path, size := range map[string]int64{"file": 3, "dir/inside": 5} {
			if info, err := s.Stat(t.Context(), path); err != nil || info.Size != size {
				t.Errorf("%s: %+v, %v", path, info, err)
			}
		}
	}
	if n := srv.Fired("CWD"); n != 1 {
		t.Errorf("%d of one", n)
	}
	works(t, s)
	stored(t, root, "works-abc")
	if f := s.Extras().Facts()["utf8"]; f.Value != "offered" {
		t.Errorf("learned %+v", f)
	}
}

// fetch gets a file as a transfer does: knowing its size.
func fetch(t *testing.T, s transfer.Session, name string, size int64) {
	t.Helper()
	if info, err := s.Stat(t.Context(), name); err != nil || info.Size != size || info.ModTime.IsZero() {
		t.Fatalf("%+v, %v", info, err)
	}
	if n, err := s.Get(t.Context(), name, 0, discard(size)); err != nil || n != size {
		t.Fatalf("%d, %v", n, err)
	}
}

// TestPortBehind: behind a download that follows another the port of the next is
// asked for before the reply that ends it.
func TestPortBehind(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{
		{On: "RETR", Nth: 2, Times: 3, When: lab.Finally, Do: lab.Until("EPSV")},
	}})
	store(t, root, "file", pattern(1000))
	s := dial(t, srv, known("pipelining=works"), limits(quick))
	for range 4 {
		fetch(t, s, "file", 1000)
	}
	if n := srv.Fired("RETR"); n != 3 {
		t.Errorf("%d of three", n)
	}
	works(t, s)
}

// TestPortBehindTheCommand: a server that keeps it until then is asked for the next
// port with the command itself, from the second download of a series on.
func TestPortBehindTheCommand(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root, Greeting: "(vsFTPd 3.0.3)", Script: []lab.Rule{
		{On: "RETR", Nth: 2, Times: 3, Do: lab.Until("EPSV")},
		{On: "RETR", Nth: 5, Times: 1, Do: lab.Until("EPSV").Then(lab.Reply(550, "Gone."))},
	}})
	store(t, root, "file", pattern(1000))
	s := dial(t, srv, known("pipelining=works"), limits(quick))
	for range 4 {
		fetch(t, s, "file", 1000)
	}
	_, err := s.Get(t.Context(), "file", 0, discard(1000))
	is(t, err, "RETR", policy.Command, 550, "")
	fetch(t, s, "file", 1000)
	if n := srv.Fired("RETR"); n != 4 {
		t.Errorf("%d of four", n)
	}
	works(t, s)
}

// TestPortBehindRefused: a server that takes nothing behind a download yet is asked
// again in its turn, and is not thought to have no EPSV.
func TestPortBehindRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		code int
	}{{"temporary", 450}, {"permanent", 503}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{
				{On: "EPSV", Nth: 3, Times: 1, Do: lab.Reply(test.code, "A transfer is in progress.")},
			}})
			store(t, root, "file", pattern(1000))
			s := dial(t, srv, known("pipelining=works"))
			for range 3 {
				if _, err := s.Get(t.Context(), "file", 0, discard(1000)); err != nil {
					t.Fatal(err)
				}
			}
			if n, data := srv.Fired("EPSV"), srv.Log().Data("EPSV"); n != 1 || data != 3 {
				t.Errorf("refused %d times, %d data connections", n, data)
			}
			if learned := s.Extras().Facts()["epsv"]; learned.Value != "works" {
				t.Errorf("learned %+v", learned)
			}
			works(t, s)
		})
	}
}

// TestPortBeforeEnd: a server that answers the question before it ends the download
// still has the last word about that.
func TestPortBeforeEnd(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{
		{On: "RETR", Nth: 2, Times: 1, When: lab.Finally, Do: lab.Until("EPSV").Then(lab.Reply(229, "Extended Passive Mode (|||1|)"))},
		{On: "EPSV", Nth: 3, Times: 1, Do: lab.Reply(451, "The disk failed.")},
	}})
	store(t, root, "file", pattern(1000))
	s := dial(t, srv, known("pipelining=works"), limits(quick))
	fetch(t, s, "file", 1000)
	_, err := s.Get(t.Context(), "file", 0, discard(1000))
	is(t, err, "RETR", policy.Data, 451, "")
	if info, err := s.Stat(t.Context(), "file"); err != nil || info.Size != 1000 {
		t.Errorf("out of step: %+v, %v", info, err)
	}
}

// TestPortBehindLost: where no data connection leads to such a port nothing is sent
// ahead any more, and EPSV is not to blame.
func TestPortBehindLost(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root})
	store(t, root, "file", pattern(1000))
	ports := 0
	data := func(ctx context.Context, address string) (net.Conn, error) {
		if ports++; ports == 3 {
			return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
		}
		return dialTCP(ctx, address)
	}
	s := dial(t, srv, known("pipelining=works"), proxied(data))
	fetch(t, s, "file", 1000)
	fetch(t, s, "file", 1000)
	_, err := s.Get(t.Context(), "file", 0, discard(1000))
	is(t, err, "RETR", policy.Data, 0, policy.CauseDataConnect)
	learned := s.Extras().Facts()
	if learned["pipelining"].Value != "dropped" || learned["epsv"].Value != "works" {
		t.Errorf("learned %+v", learned)
	}
}

// noops are sent, or would be.
func noops(o *ftp.Options) { o.KeepAlive = time.Hour }

// TestNoPortBehind: where NOOPs are sent, nothing else is behind a download.
func TestNoPortBehind(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root})
	store(t, root, "file", pattern(1000))
	s := dial(t, srv, known("pipelining=works"), noops)
	for range 3 {
		if _, err := s.Get(t.Context(), "file", 0, discard(1000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := srv.Log().Count("EPSV"); n != 3 {
		t.Errorf("%d ports for three files", n)
	}
}

// watched tells when it is closed.
type watched struct {
	net.Conn
	closed chan struct{}
}

func (w watched) Close() error {
	close(w.closed)
	return w.Conn.Close()
}

// TestDialAhead: a data connection is opened when its port is known, before the
// command that needs it, and ends with the session.
func TestDialAhead(t *testing.T) {
	t.Parallel()
	var opened chan chan struct{} // what is closed with each data connection
	data := func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dialTCP(ctx, address)
		w := watched{conn, make(chan struct{})}
		opened <- w.closed
		return w, err
	}
	for _, test := range []struct {
		name    string
		without []string
		do      func(s transfer.Session) error
	}{
		{"put", noMLST, func(s transfer.Session) error { return errors.Join(publish(t, s, "a"), publish(t, s, "b")) }},
		{"get", nil, func(s transfer.Session) error {
			fetch(t, s, "file", 1000)
			fetch(t, s, "file", 1000)
			_, err := s.Stat(t.Context(), "file")
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			srv := start(t, lab.FTPConfig{Root: root, Without: test.without})
			store(t, root, "file", pattern(1000))
			opened = make(chan chan struct{}, 9)
			s := dial(t, srv, known("pipelining=works", "mode=passive", "epsv=works"), proxied(data))
			if err := test.do(s); err != nil {
				t.Fatal(err)
			}
			var last chan struct{}
			for n := range 3 {
				select {
				case last = <-opened:
				case <-time.After(soon):
					t.Fatalf("%d data connections", n)
				}
			}
			_ = s.Close()
			select {
			case <-last:
			case <-time.After(soon):
				t.Error("the one that was not needed stays open")
			}
			if n := srv.Log().Data("EPSV"); n != 2 {
				t.Errorf("%d data connections were used", n)
			}
		})
	}
}

// TestFirstContact: nothing is risked in the login to a server that is not known,
// and a single file takes no port for a second.
func TestFirstContact(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv)
	if n := srv.Log().Count("EPSV"); n != 0 {
		t.Error("a port was asked for by the login")
	}
	publishes(t, s, "file")
	if n := srv.Log().Count("EPSV"); n != 1 {
		t.Errorf("%d ports for one file", n)
	}
}

// TestFlightRefused: each command of a flight fails where it would have failed
// alone, and what follows is in step.
func TestFlightRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		on    string
		do    lab.Action
		op    string
		phase policy.Phase
		code  int
		cause policy.Cause
		alive bool
	}{
		{"SIZE", lab.Reply(450, "Busy."), "SIZE", policy.Command, 450, "", true},
		{"MFMT", lab.Reply(450, "Busy."), "MFMT", policy.Command, 450, "", true},
		{"RNFR", lab.Reply(550, "No."), "RNFR", policy.Command, 550, "", true},
		{"RNTO", lab.Reply(553, "No."), "RNTO", policy.Command, 553, "", true},
		{"SIZE", lab.Drop(lab.RST), "SIZE", policy.Command, 0, policy.CauseReset, false},
		{"MFMT", lab.Reply(421, "Tired."), "MFMT", policy.Command, 421, "", false},
		{"RNTO", lab.Drop(lab.FIN), "RNTO", policy.Finish, 0, policy.CauseReset, false},
	} {
		t.Run(test.on, func(t *testing.T) {
			t.Parallel()
			srv := start(t, lab.FTPConfig{Without: noMLST})
			s := dial(t, srv)
			publishes(t, s, "first")
			srv.SetScript(lab.Rule{On: test.on, Times: 1, Do: test.do})
			is(t, publish(t, s, "file"), test.op, test.phase, test.code, test.cause)
			isAlive(t, s, test.alive)
			if test.alive {
				works(t, s)
			}
		})
	}
}

// TestFlightOfRefusedTime: a time that can't be set costs a warning, and not the
// rename that was begun with it.
func TestFlightOfRefusedTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		verb    string
		code    int
		without []string
		warned  bool
	}{
		{"MFMT", 501, nil, true},
		{"MFMT", 550, nil, true},
		{"MDTM", 550, []string{"MFMT"}, false}, // a look shows that it sets no times: the next
	} {
		t.Run(fmt.Sprint(test.verb, " ", test.code), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			srv := start(t, lab.FTPConfig{
				Root: root, Without: test.without, With: []string{"SITE UTIME"},
				Script: []lab.Rule{{On: test.verb, Do: lab.Reply(test.code, "No.")}},
			})
			link := linkTo(t, srv)
			local := filepath.Join(t.TempDir(), "local")
			if err := os.WriteFile(local, []byte("content"), 0o644); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				job := transfer.Job{Direction: transfer.Put, Local: local, Remote: "file"}
				result, err := transfer.Run(t.Context(), link, job, impatient(), transfer.Observer{})
				if err != nil || test.warned != (len(result.Warnings) == 1) {
					t.Errorf("%v, warnings %q", err, result.Warnings)
				}
			}
			if got := string(stored(t, root, "file")); got != "content" {
				t.Errorf("%q", got)
			}
			if n := srv.Log().Count("RNTO"); test.warned && n != 2 {
				t.Errorf("%d RNTO for two files: something came between", n)
			}
			for _, e := range srv.Log() {
				if e.Verb != test.verb && slices.Contains(e.Codes, 501) {
					t.Errorf("%s out of sequence", e.Verb)
				}
			}
		})
	}
}

// TestFlightForgotten: what was asked ahead and is not wanted any more harms
// nothing.
func TestFlightForgotten(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv, known("pipelining=works"))
	src := source([]byte("content"))
	src.ModTime, src.Temporary = afternoon, true
	if _, err := s.Put(t.Context(), "temp", 0, src); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "temp"); err != nil {
		t.Fatal(err)
	}
	is(t, s.Rename(t.Context(), "temp", "file"), "RNFR", policy.Command, 550, "")
	works(t, s)
}

// TestPortVoid: a port that was agreed on in one mode is not used after another.
func TestPortVoid(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv, known("pipelining=works"))
	for range 2 {
		if err := s.Extras().SwitchMode(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	works(t, s)
	if n := srv.Log().Data("EPSV"); n != 4 {
		t.Errorf("%d data connections", n)
	}
	if n := srv.Log().Count("EPSV"); n != 5 {
		t.Errorf("%d ports; want one that was void, and four", n)
	}
}

// TestLosesTogether: a server that drops what comes together is found out in a
// session, which is lost, and then given one command at a time.
func TestLosesTogether(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{LosesTogether: true})
	s := dial(t, srv, limits(quick))
	err := publish(t, s, "file")
	is(t, err, "MFMT", policy.Command, 0, policy.CauseNoReply)
	learned := s.Extras().Facts()
	if learned["pipelining"].Value != "dropped" {
		t.Fatalf("learned %+v", learned["pipelining"])
	}
	s = dial(t, srv, limits(quick), func(o *ftp.Options) { o.Hints.Facts = learned })
	publishes(t, s, "a", "b", "c")
}

// TestSilenceIsNotLoss: a server that answers nothing at all teaches nothing.
func TestSilenceIsNotLoss(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{Without: noMLST, Script: []lab.Rule{{On: "SIZE", Do: lab.Stall()}}})
	s := dial(t, srv, limits(quick))
	is(t, publish(t, s, "file"), "SIZE", policy.Command, 0, policy.CauseNoReply)
	if learned := s.Extras().Facts()["pipelining"]; learned.Value != "" {
		t.Errorf("learned %+v", learned)
	}
}

// TestSilenceBesideADownload: nor of one that came with a download and the question
// for the next port.
func TestSilenceBesideADownload(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store(t, root, "file", []byte("content"))
	srv := start(t, lab.FTPConfig{Root: root, Without: noMLST, Greeting: "(vsFTPd 3.0.3)", Script: []lab.Rule{{On: "SIZE", Nth: 3, Do: lab.Stall()}}})
	s := dial(t, srv, known("pipelining=works"), limits(quick))
	listed := transfer.Info{Size: 7, ModTime: modTime(t, root, "file")}
	for range 2 {
		if _, _, err := getListed(t, s, "file", listed); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := getListed(t, s, "file", listed)
	is(t, err, "SIZE", policy.Command, 0, policy.CauseNoReply)
	if learned := s.Extras().Facts()["pipelining"]; learned.Value == "dropped" {
		t.Errorf("learned %+v", learned)
	}
}

// TestInTurn: servers that are known to lose commands get them one at a time.
func TestInTurn(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{LosesTogether: true, Greeting: "Microsoft FTP Service"})
	publishes(t, dial(t, srv, known("pipelining=works"), limits(quick)), "a", "b", "c")
}

// proxied dials through f once the control connection stands, which makes active
// mode impossible.
func proxied(f func(ctx context.Context, address string) (net.Conn, error)) func(*ftp.Options) {
	var control atomic.Bool
	return func(o *ftp.Options) {
		o.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if control.CompareAndSwap(false, true) {
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			return f(ctx, address)
		}
	}
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// TestConnectBeside: where passive mode has worked, the command does not wait for
// the data connection.
func TestConnectBeside(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	srv := start(t, lab.FTPConfig{Root: root})
	store(t, root, "file", pattern(1000))
	files := 1
	behind := func(ctx context.Context, address string) (net.Conn, error) {
		seen := func(l lab.Log) bool { return l.Count("RETR") >= files }
		if err := srv.Await(ctx, seen); err != nil {
			return nil, err
		}
		return dialTCP(ctx, address)
	}
	s := dial(t, srv, known("mode=passive", "epsv=works"), limits(quick), proxied(behind))
	for ; files <= 2; files++ {
		if got := get(t, s, "file"); len(got) != 1000 {
			t.Errorf("%d bytes", len(got))
		}
	}
}

// TestConnectBesideFails: a data connection that fails while the server waits for
// it costs the session. A refusal explains it.
func TestConnectBesideFails(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	fails := false
	data := func(ctx context.Context, address string) (net.Conn, error) {
		if fails {
			return nil, refused
		}
		return dialTCP(ctx, address)
	}
	for _, test := range []struct {
		name  string
		cfg   lab.FTPConfig
		do    []lab.Rule
		phase policy.Phase
		code  int
		cause policy.Cause
		alive bool
	}{
		{"refused", lab.FTPConfig{}, []lab.Rule{{On: "STOR", Times: 1, Do: lab.Reply(553, "No such directory.")}}, policy.Command, 553, "", true},
		{"150 behind the connection", lab.FTPConfig{}, nil, policy.Data, 0, policy.CauseDataConnect, false},
		{"150 before it", lab.FTPConfig{MarkFirst: true}, nil, policy.Data, 0, policy.CauseDataConnect, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := start(t, test.cfg)
			s := dial(t, srv, proxied(data))
			fails = false
			works(t, s)
			fails = true
			srv.SetScript(test.do...)
			_, err := s.Put(t.Context(), "file", 0, source([]byte("content")))
			f := is(t, err, "STOR", test.phase, test.code, test.cause)
			isAlive(t, s, test.alive)
			if test.alive {
				fails = false
				works(t, s)
				return
			}
			if learned := s.Extras().Facts()["epsv"]; learned.Value != "dead" || !errors.Is(f, syscall.ECONNREFUSED) {
				t.Errorf("%v; learned %+v", f, learned)
			}
		})
	}
}

// TestDeadBeforeConnected: a server that is gone behind its 150 is not waited for, and
// the data connection that is still being opened is of no use.
func TestDeadBeforeConnected(t *testing.T) {
	t.Parallel()
	for _, code := range []int{150, 226} {
		srv := start(t, lab.FTPConfig{MarkFirst: true, Script: []lab.Rule{{On: "RETR", Do: lab.Reply(code, "Here it comes.").Then(lab.Drop(lab.FIN))}}})
		hangs := func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := dial(t, srv, known("mode=passive", "epsv=works"), proxied(hangs))
		n, err := s.Get(t.Context(), "file", 0, discard(7))
		if f := faultOf(t, err); n != 0 || f.Phase != policy.Data || f.Op != "RETR" || f.Code != 0 {
			t.Errorf("%d: %d, %+v", code, n, f)
		}
		isAlive(t, s, false)
	}
}

// TestRefusedBeforeConnected: a refusal does not wait for a connection that nobody
// wants any more.
func TestRefusedBeforeConnected(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "STOR", Times: 1, Do: lab.Reply(553, "No.")}}})
	var ended error // of the connection that never came
	hangs := func(ctx context.Context, address string) (net.Conn, error) {
		if ended == nil {
			<-ctx.Done()
			ended = ctx.Err()
			return nil, ended
		}
		return dialTCP(ctx, address)
	}
	s := dial(t, srv, known("mode=passive", "epsv=works"), proxied(hangs))
	_, err := s.Put(t.Context(), "file", 0, source([]byte("content")))
	is(t, err, "STOR", policy.Command, 553, "")
	if !errors.Is(ended, context.Canceled) {
		t.Errorf("it ended with %v, not with the refusal", ended)
	}
	works(t, s)
}
