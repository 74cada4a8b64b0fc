package ftp_test

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// TestSwitchMode: a data connection that can't be opened is a fault that the
// policy answers with the other mode, and that works on the same login.
func TestSwitchMode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		cfg   lab.FTPConfig
		code  int
		cause policy.Cause
	}{
		{"PASV and EPSV unknown", lab.FTPConfig{Modes: lab.ActiveOnly(lab.DataUnknown)}, 502, policy.CauseDataConnect},
		{"425 before 150", lab.FTPConfig{Modes: lab.ActiveOnly(lab.Data425)}, 425, ""},
		{"425 after 150", lab.FTPConfig{Modes: lab.ActiveOnly(lab.Data425After150)}, 425, ""},
		{"port closed", lab.FTPConfig{Modes: lab.ActiveOnly(lab.DataDead)}, 0, policy.CauseDataConnect},
		{"nobody behind the port", lab.FTPConfig{Modes: lab.ActiveOnly(lab.DataSilent), DataTimeout: 200 * time.Millisecond}, 425, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := start(t, test.cfg)
			s := dial(t, srv, limits(quick))
			_, err := s.Put(t.Context(), "file", 0, source(pattern(100_000)))
			f := is(t, err, "STOR", policy.Data, test.code, test.cause)
			if v := policy.Classify(f); v.Remedy != policy.SwitchMode {
				t.Errorf("%v: remedy %v, want the other mode", f, v.Remedy)
			}
			if !s.Alive() {
				t.Fatal("the session is over")
			}
			if err := s.Extras().SwitchMode(t.Context()); err != nil {
				t.Fatal(err)
			}
			works(t, s)
			if n := srv.Log().Count("login"); n != 1 {
				t.Errorf("%d logins", n)
			}
			learned := s.Extras().Facts()["mode"]
			if learned.Value != "active" || !strings.HasPrefix(learned.Reason, "passive: ") {
				t.Errorf("learned %+v", learned)
			}
		})
	}
}

// TestSwitchToPassive is the other way round.
func TestSwitchToPassive(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		mode  lab.DataMode
		code  int
		cause policy.Cause
	}{
		{"PORT and EPRT unknown", lab.DataUnknown, 502, policy.CauseDataConnect},
		{"425 before 150", lab.Data425, 425, ""},
		{"425 after 150", lab.Data425After150, 425, ""},
		{"connect refused", lab.DataDead, 425, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := start(t, lab.FTPConfig{Modes: lab.PassiveOnly(test.mode)})
			s := dial(t, srv, limits(quick), mode(transfer.ModeActive))
			_, err := s.Put(t.Context(), "file", 0, source(pattern(100_000)))
			is(t, err, "STOR", policy.Data, test.code, test.cause)
			if err := s.Extras().SwitchMode(t.Context()); err != nil {
				t.Fatal(err)
			}
			works(t, s)
		})
	}
}

// TestActiveDropped: the server's SYN is dropped, so it sits in connect(2) and
// says nothing. That is a matter of the mode, and of a new login.
func TestActiveDropped(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{Modes: lab.PassiveOnly(lab.DataSilent), DataTimeout: time.Minute})
	s := dial(t, srv, limits(quick), mode(transfer.ModeActive))
	_, err := s.Put(t.Context(), "file", 0, source(pattern(1000)))
	is(t, err, "STOR", policy.Data, 0, policy.CauseDataConnect)
	if s.Alive() {
		t.Error("the session is alive: its next reply would be this one's")
	}
	if s.Extras().SwitchMode == nil {
		t.Error("the mode can't be switched, and the link would not try")
	}
}

// TestEPSVOutOfSequence: what may be about the command before is not remembered.
func TestEPSVOutOfSequence(t *testing.T) {
	t.Parallel()
	for _, code := range []int{501, 503} {
		s := dial(t, start(t, lab.FTPConfig{Script: []lab.Rule{{On: "EPSV", Times: 1, Do: lab.Reply(code, "Bad sequence of commands.")}}}))
		works(t, s)
		if fact, ok := s.Extras().Facts()["epsv"]; ok {
			t.Errorf("learned %+v", fact)
		}
	}
}

// TestEPSVDead: EPSV answers with a port that nobody reaches, PASV works. It is
// found out once.
func TestEPSVDead(t *testing.T) {
	t.Parallel()
	for _, dead := range []lab.DataMode{lab.DataDead, lab.DataUnknown} {
		srv := start(t, lab.FTPConfig{Modes: map[string]lab.DataMode{"EPSV": dead}})
		s := dial(t, srv, limits(quick))
		works(t, s)
		if n := srv.Log().Count("EPSV"); n != 1 {
			t.Errorf("%d EPSV, want one", n)
		}
		facts := s.Extras().Facts()
		if v := facts["epsv"].Value; v != "dead" && v != "refused" {
			t.Errorf("learned %+v", facts["epsv"])
		}
		if facts["mode"].Value != "passive" {
			t.Errorf("learned %+v", facts["mode"])
		}

		// The next session knows.
		before := srv.Log().Count("EPSV")
		again := dial(t, srv, func(o *ftp.Options) { o.Hints.Facts = facts })
		works(t, again)
		if n := srv.Log().Count("EPSV") - before; n != 0 {
			t.Errorf("%d EPSV with the knowledge of the last session", n)
		}
	}
}

// TestOldServer: what FEAT does not list is not tried first.
func TestOldServer(t *testing.T) {
	srv := start(t, lab.FTPConfig{Without: []string{"EPSV", "EPRT"}})
	s := dial(t, srv)
	works(t, s)
	if err := s.Extras().SwitchMode(t.Context()); err != nil {
		t.Fatal(err)
	}
	works(t, s)
	if n := srv.Log().Count("EPSV") + srv.Log().Count("EPRT"); n != 0 {
		t.Errorf("%d EPSV and EPRT, and FEAT lists neither", n)
	}
}

// TestPASVAddress: the address in a 227 is never dialled, whatever it is.
func TestPASVAddress(t *testing.T) {
	srv := start(t, lab.FTPConfig{Without: []string{"EPSV"}, PasvHost: "192.0.2.1"})
	works(t, dial(t, srv, limits(quick)))
}

// TestEPRTRefused: PORT where EPRT is unknown, and only where the refusal is for
// good.
func TestEPRTRefused(t *testing.T) {
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "EPRT", Do: lab.Reply(500, "Unknown command.")}}})
	works(t, dial(t, srv, mode(transfer.ModeActive)))
	if l := srv.Log(); l.Count("EPRT") != 1 || l.Data("PORT") == 0 {
		t.Errorf("%d EPRT, %d connections by PORT", l.Count("EPRT"), l.Data("PORT"))
	}

	srv.SetScript(lab.Rule{On: "EPRT", Do: lab.Reply(425, "Not now.")})
	s := dial(t, srv, mode(transfer.ModeActive))
	ports := srv.Log().Count("PORT")
	_, err := s.Put(t.Context(), "file", 0, source(nil))
	is(t, err, "STOR", policy.Data, 425, "")
	if n := srv.Log().Count("PORT"); n != ports {
		t.Error("PORT was tried after a 425")
	}
}

// TestIPv6 has only EPSV and EPRT.
func TestIPv6(t *testing.T) {
	srv := start(t, lab.FTPConfig{Addr: "[::1]:0"})
	works(t, dial(t, srv))
	works(t, dial(t, srv, mode(transfer.ModeActive)))
	if l := srv.Log(); l.Data("EPSV") == 0 || l.Data("EPRT") == 0 {
		t.Errorf("%d by EPSV, %d by EPRT", l.Data("EPSV"), l.Data("EPRT"))
	}
}

// TestIntruder: whoever else finds the port of active mode is sent away, and the
// transfer goes on.
func TestIntruder(t *testing.T) {
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "data", Do: lab.Wait(300 * time.Millisecond)}}})
	s := dial(t, srv, mode(transfer.ModeActive))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Await(t.Context(), func(l lab.Log) bool { return l.Count("EPRT") > 0 }); err != nil {
			return
		}
		fields := strings.Split(srv.Log().Of("EPRT")[0].Arg, "|")
		port, _ := strconv.Atoi(fields[3])
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Errorf("the intruder did not get through: %v", err)
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("not your data")) // it may be closed already
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("the intruder was given %d bytes", n)
		}
	}()
	put(t, s, "file", pattern(100_000))
	<-done
	if got := get(t, s, "file"); string(got) != string(pattern(100_000)) {
		t.Error("the file is not what was sent")
	}
}

// TestActivePorts: the listening port is one of those that the firewall lets in.
func TestActivePorts(t *testing.T) {
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv, mode(transfer.ModeActiveOnly), func(o *ftp.Options) {
		o.ActivePorts = ftp.PortRange{First: 41210, Last: 41219}
	})
	works(t, s)
	for _, e := range srv.Log().Of("EPRT") {
		port, _ := strconv.Atoi(strings.Split(e.Arg, "|")[3])
		if port < 41210 || port > 41219 {
			t.Errorf("port %d", port)
		}
	}
	if s.Extras().SwitchMode != nil {
		t.Error("active-only, and the mode can be switched")
	}
}

// TestActivePortsTaken: that nothing is free here is a matter of the mode too.
func TestActivePortsTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv, mode(transfer.ModeActive), func(o *ftp.Options) {
		o.ActivePorts = ftp.PortRange{First: port, Last: port}
	})
	_, err = s.Put(t.Context(), "file", 0, source(nil))
	is(t, err, "STOR", policy.Data, 0, policy.CauseDataConnect)
	works(t, dial(t, srv))
}

// TestActiveAddress: the configured address is the one that is told.
func TestActiveAddress(t *testing.T) {
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv, mode(transfer.ModeActive), func(o *ftp.Options) { o.ActiveAddress = netip.MustParseAddr("192.0.2.7") })
	_, err := s.Put(t.Context(), "file", 0, source(nil))
	is(t, err, "STOR", policy.Data, 500, policy.CauseDataConnect) // the lab refuses foreign addresses
	if e := srv.Log().Of("EPRT"); len(e) == 0 || !strings.HasPrefix(e[0].Arg, "|1|192.0.2.7|") {
		t.Errorf("%v", e)
	}
}
