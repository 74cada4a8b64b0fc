package ftp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// TestLoginRefused: every code of a login comes through, also those that the
// library loses, and it is tried once.
func TestLoginRefused(t *testing.T) {
	for _, test := range []struct {
		on    string
		do    lab.Action
		op    string
		phase policy.Phase
		code  int
		cause policy.Cause
	}{
		{"connect", lab.Reply(421, "Too many connections."), "greeting", policy.Connect, 421, ""},
		{"connect", lab.Reply(530, "Not welcome."), "greeting", policy.Connect, 530, ""},
		{"connect", lab.Raw("SSH-2.0-OpenSSH_9.2p1\r\n"), "greeting", policy.Connect, 0, policy.CauseSyntax},
		{"connect", lab.Drop(lab.FIN), "greeting", policy.Connect, 0, policy.CauseReset},
		{"connect", lab.Stall(), "greeting", policy.Connect, 0, policy.CauseNoReply},
		{"USER", lab.Reply(530, "No such user."), "USER", policy.Auth, 530, ""},
		{"USER", lab.Reply(332, "Need account."), "USER", policy.Auth, 332, ""},
		{"USER", lab.Reply(336, "Challenge: 42"), "USER", policy.Auth, 336, ""},
		{"USER", lab.Reply(550, "No."), "USER", policy.Auth, 550, ""},
		{"USER", lab.Reply(421, "Going down."), "USER", policy.Auth, 421, ""},
		{"PASS", lab.Reply(530, "Login incorrect."), "PASS", policy.Auth, 530, ""},
		{"PASS", lab.Reply(332, "Need account."), "PASS", policy.Auth, 332, ""},
		{"PASS", lab.Reply(421, "Too many."), "PASS", policy.Auth, 421, ""},
		{"PASS", lab.Stall(), "PASS", policy.Auth, 0, policy.CauseNoReply},
		{"PASS", lab.Drop(lab.RST), "PASS", policy.Auth, 0, policy.CauseReset},
		{"TYPE", lab.Reply(504, "No binary."), "TYPE", policy.Auth, 504, ""},
		{"FEAT", lab.Drop(lab.FIN), "FEAT", policy.Auth, 0, policy.CauseReset},
	} {
		t.Run(test.on, func(t *testing.T) {
			t.Parallel()
			srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: test.on, Do: test.do}}})
			within(t, soon, func() {
				f := refusedDial(t, srv, limits(quick))
				is(t, f, test.op, test.phase, test.code, test.cause)
				if f.Host != "127.0.0.1" || f.User != "acme" {
					t.Errorf("%v: host %q, user %q", f, f.Host, f.User)
				}
			})
			if n := srv.Log().Count(test.on); n > 1 {
				t.Errorf("%s was tried %d times", test.on, n)
			}
		})
	}
}

// TestGreetingLater: "120 ready in 1 minute" is not yet a greeting.
func TestGreetingLater(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "connect", Do: lab.Raw("120 Soon.\r\n").Then(lab.Stall())}}})
	f := refusedDial(t, srv, limits(quick))
	is(t, f, "greeting", policy.Connect, 0, policy.CauseNoReply)
}

func TestAccount(t *testing.T) {
	srv := start(t, lab.FTPConfig{Account: "billing"})
	account := func(name string) func(*ftp.Options) {
		return func(o *ftp.Options) { o.Account = auth.NewSecret(name) }
	}
	works(t, dial(t, srv, account("billing")))
	is(t, refusedDial(t, srv, account("wrong")), "ACCT", policy.Auth, 530, "")
	is(t, refusedDial(t, srv), "PASS", policy.Auth, 332, "")
}

// TestPassword: it is asked for when the server wants one, and not before.
func TestPassword(t *testing.T) {
	srv := start(t, lab.FTPConfig{})
	asked := 0
	password := func(s string, err error) func(*ftp.Options) {
		return func(o *ftp.Options) {
			o.Password = func(context.Context) (auth.Secret, error) { asked++; return auth.NewSecret(s), err }
		}
	}
	is(t, refusedDial(t, srv, password("wrong", nil)), "PASS", policy.Auth, 530, "")
	errAsk := errors.New("nobody there to ask")
	f := is(t, refusedDial(t, srv, password("", errAsk)), "PASS", policy.Auth, 0, policy.CauseNoSecret)
	if !errors.Is(f, errAsk) {
		t.Errorf("%v does not say why", f)
	}
	is(t, refusedDial(t, srv, password("a\r\nDELE x", nil)), "PASS", policy.Auth, 0, policy.CauseNoSecret)
	is(t, refusedDial(t, srv, func(o *ftp.Options) { o.Password = nil }), "PASS", policy.Auth, 0, policy.CauseNoSecret)
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
	if n := srv.Log().Count("DELE"); n != 0 {
		t.Error("the password has become a command")
	}

	srv.SetScript(lab.Rule{On: "USER", Do: lab.Reply(230, "Come in.")}, lab.Rule{On: "*", Do: lab.Reply(230, "Fine.")})
	s, err := ftp.Dial(t.Context(), options(t, srv, password("x", nil)))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if asked != 3 {
		t.Error("asked for a password that the server does not want")
	}
}

// TestSecretsInLog: the wire is logged, and the secrets in it are not.
func TestSecretsInLog(t *testing.T) {
	srv := start(t, lab.FTPConfig{Account: "billing"})
	var log bytes.Buffer
	s := dial(t, srv, func(o *ftp.Options) {
		o.Account = auth.NewSecret("billing")
		o.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	works(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// What it is must not show it, either.
	refusedDial(t, srv, func(o *ftp.Options) {
		o.Password = func(context.Context) (auth.Secret, error) { return auth.NewSecret("ASS"), nil }
		o.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if strings.Contains(log.String(), "P[redacted] ASS") {
		t.Error("the log shows a password that is a part of its command")
	}
	for _, secret := range []string{"s3cret", "billing"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	for _, want := range []string{"PASS [redacted]", "ACCT [redacted]", "STOR works-abc", `"code":226`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not show %q:\n%s", want, log.String())
		}
	}
}

// TestHostileWords: what a server says is safe to print.
func TestHostileWords(t *testing.T) {
	srv := start(t, lab.FTPConfig{Greeting: "\x1b[2Jpwned", Script: []lab.Rule{{On: "DELE", Do: lab.Reply(550, "\x1b]0;title\x07no\u202egnp")}}})
	s := dial(t, srv)
	if got := s.Extras().Software; got != policy.Sanitize(got) || !strings.Contains(got, "pwned") {
		t.Errorf("software %q", got)
	}
	f := is(t, s.Remove(t.Context(), "x"), "DELE", policy.Command, 550, "")
	if strings.ContainsAny(f.Text, "\x1b\x07\u202e") {
		t.Errorf("text %q", f.Text)
	}
}

// TestUnreachable: what goes wrong before there is a server to talk to.
func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	_ = ln.Close()
	for _, test := range []struct {
		address string
		cause   policy.Cause
	}{
		{closed, policy.CauseRefused},
		{"host.invalid:21", policy.CauseHostNotFound},
	} {
		_, err := ftp.Dial(t.Context(), ftp.Options{Address: test.address, User: "acme"})
		f := faultOf(t, err)
		if f.Protocol != policy.Net || f.Phase != policy.Connect || f.Op != "dial" ||
			f.Cause != test.cause && f.Cause != policy.CauseDNS { // no name service in a sandbox
			t.Errorf("%s: %+v", test.address, f)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = ftp.Dial(ctx, ftp.Options{Address: closed, User: "acme"})
	is(t, err, "dial", policy.Connect, 0, policy.CauseCancelled)

	if _, err := ftp.Dial(t.Context(), ftp.Options{Address: closed, Encoding: "klingon"}); err == nil {
		t.Error("an unknown encoding was accepted")
	}
}

// TestNoCommandInACommand: nothing that goes into a command ends it.
func TestNoCommandInACommand(t *testing.T) {
	srv := start(t, lab.FTPConfig{Account: "billing"})
	for what, set := range map[string]func(*ftp.Options){
		"user":    func(o *ftp.Options) { o.User = "acme\r\nDELE x" },
		"account": func(o *ftp.Options) { o.Account = auth.NewSecret("billing\nDELE x") },
		"host":    func(o *ftp.Options) { o.VirtualHost = "a\x00" },
	} {
		f := refusedDial(t, srv, set)
		is(t, f, "configure", policy.Connect, 0, policy.CauseConfig)
		if strings.Contains(f.Error(), "DELE") {
			t.Errorf("%s: it is repeated: %v", what, f)
		}
	}
	s := dial(t, srv, func(o *ftp.Options) { o.Account, o.Encoding = auth.NewSecret("billing"), "utf-16le" })
	is(t, s.Remove(t.Context(), "ab"), "path", policy.Command, 0, policy.CauseBadName)
	if n := srv.Log().Count("DELE"); n != 0 {
		t.Errorf("DELE was sent %d times", n)
	}
}

// TestNeverClearText: where TLS is asked for nothing goes on without it.
func TestNeverClearText(t *testing.T) {
	for _, test := range []struct {
		code  int
		cause policy.Cause
	}{
		{431, ""}, {421, ""}, {530, ""}, {533, ""}, {534, ""},
		{500, policy.CauseClearText}, {502, policy.CauseClearText}, {504, policy.CauseClearText}, {200, policy.CauseClearText},
	} {
		srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "AUTH", Do: lab.Reply(test.code, "No TLS here.")}}})
		f := refusedDial(t, srv, func(o *ftp.Options) { o.Security = ftp.Explicit })
		is(t, f, "AUTH", policy.Connect, test.code, test.cause)
		if srv.Log().Count("USER")+srv.Log().Count("PASS") > 0 {
			t.Errorf("AUTH → %d: the login went on in clear text", test.code)
		}
	}
	srv := start(t, lab.FTPConfig{TLS: lab.Explicit, Script: []lab.Rule{{On: "PROT", Do: lab.Reply(534, "No.")}}})
	is(t, refusedDial(t, srv), "PROT", policy.Auth, 534, "")
}

// TestInjection: clear text behind the 234 is an attacker's.
func TestInjection(t *testing.T) {
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "AUTH", Do: lab.Raw("234 Go.\r\n230 You are in.\r\n")}}})
	is(t, refusedDial(t, srv, func(o *ftp.Options) { o.Security = ftp.Explicit }), "AUTH", policy.Connect, 0, policy.CauseDesync)
}

// TestCertificates: each thing that can be wrong has its own cause, names the
// key, and is found out before the login.
func TestCertificates(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, security := range []lab.Security{lab.Explicit, lab.Implicit} {
		for _, test := range []struct {
			name    string
			kind    lab.Certificate
			trusted bool
			cause   policy.Cause
		}{
			{"untrusted", lab.CertValid, false, policy.CauseCertUntrusted},
			{"expired", lab.CertExpired, true, policy.CauseCertExpired},
			{"wrong name", lab.CertWrongName, true, policy.CauseCertName},
		} {
			srv := start(t, lab.FTPConfig{TLS: security, CA: ca, Certificate: test.kind})
			settings := auth.TLS{}
			if test.trusted {
				settings.CAFile = srv.CAFile()
			}
			secure := func(settings auth.TLS) func(*ftp.Options) {
				return func(o *ftp.Options) {
					o.TLS = config(t, settings)
					o.Security = map[lab.Security]ftp.Security{lab.Explicit: ftp.Explicit, lab.Implicit: ftp.Implicit}[security]
				}
			}
			f := is(t, refusedDial(t, srv, secure(settings)), "handshake", policy.Connect, 0, test.cause)
			if f.Protocol != policy.TLS {
				t.Errorf("%s: protocol %v", test.name, f.Protocol)
			}
			if srv.Log().Count("USER") > 0 {
				t.Errorf("%s: the login was tried", test.name)
			}
			cert, ok := errors.AsType[*auth.CertificateError](error(f))
			if !ok || !strings.Contains(f.Text, cert.Pin()) {
				t.Fatalf("%s: %v does not name the key", test.name, f)
			}

			// The pin from the message accepts this server, and no other.
			works(t, dial(t, srv, secure(auth.TLS{Pin: cert.Pin()})))
			other := start(t, lab.FTPConfig{TLS: security, CA: ca})
			is(t, refusedDial(t, other, secure(auth.TLS{Pin: cert.Pin()})), "handshake", policy.Connect, 0, policy.CauseCertPin)
		}
	}
}

func config(t *testing.T, settings auth.TLS) *tls.Config {
	t.Helper()
	c, err := settings.Config()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHandshake: what can be wrong with TLS besides certificates.
func TestHandshake(t *testing.T) {
	t.Parallel()
	plain := start(t, lab.FTPConfig{})
	implicit := func(o *ftp.Options) { o.Security = ftp.Implicit }
	is(t, refusedDial(t, plain, implicit, limits(quick)), "handshake", policy.Connect, 0, policy.CauseNotTLS)

	old := start(t, lab.FTPConfig{TLS: lab.Explicit, MaxTLS: tls.VersionTLS11, MinTLS: tls.VersionTLS10})
	f := is(t, refusedDial(t, old), "handshake", policy.Connect, 0, policy.CauseTLS)
	if f.Protocol != policy.TLS {
		t.Errorf("%+v", f)
	}
	works(t, dial(t, old, func(o *ftp.Options) { o.TLS = config(t, auth.TLS{CAFile: old.CAFile(), MinVersion: "1.1"}) }))

	stalled := start(t, lab.FTPConfig{TLS: lab.Explicit, Script: []lab.Rule{{On: "tls", Do: lab.Stall()}}})
	is(t, refusedDial(t, stalled, limits(quick)), "handshake", policy.Connect, 0, policy.CauseTimeout)
	dropped := start(t, lab.FTPConfig{TLS: lab.Explicit, Script: []lab.Rule{{On: "tls", Do: lab.Drop(lab.RST)}}})
	is(t, refusedDial(t, dropped), "handshake", policy.Connect, 0, policy.CauseReset)

	// A server that speaks TLS from the first byte waits for us to begin.
	silent := start(t, lab.FTPConfig{TLS: lab.Implicit})
	is(t, refusedDial(t, silent, limits(quick)), "greeting", policy.Connect, 0, policy.CauseNoReply)
	works(t, dial(t, silent, implicit))
}

// TestClientCertificate: a server that asks for one gets ours.
func TestClientCertificate(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Client("acme")
	if err != nil {
		t.Fatal(err)
	}
	for version, missed := range map[uint16]policy.Cause{
		tls.VersionTLS12: policy.CauseTLS, // "handshake failure", like any other
		tls.VersionTLS13: policy.CauseClientCert,
	} {
		srv := start(t, lab.FTPConfig{TLS: lab.Explicit, CA: ca, ClientCert: true, MaxTLS: version})
		works(t, dial(t, srv, func(o *ftp.Options) { o.TLS.Certificates = []tls.Certificate{cert} }))
		f := refusedDial(t, srv)
		if f.Cause != missed || f.Code != 0 {
			t.Errorf("TLS %x without a certificate: %+v", version, f)
		}
	}
}

// TestVirtualHost: HOST goes out before the login, and a server that does not
// know it has only one site.
func TestVirtualHost(t *testing.T) {
	site := func(o *ftp.Options) { o.VirtualHost = "files.example" }
	srv := start(t, lab.FTPConfig{With: []string{"HOST"}})
	works(t, dial(t, srv, site))
	if e := srv.Log().Of("HOST"); len(e) != 1 || e[0].Arg != "files.example" {
		t.Errorf("%v", e)
	}
	works(t, dial(t, start(t, lab.FTPConfig{}), site))
	srv.SetScript(lab.Rule{On: "HOST", Do: lab.Reply(504, "Unknown host.")})
	works(t, dial(t, srv, site))
	srv.SetScript(lab.Rule{On: "HOST", Do: lab.Reply(421, "Closed.")})
	is(t, refusedDial(t, srv, site), "HOST", policy.Connect, 421, "")
}

// TestClose: a session can be closed at any time, and is over then.
func TestClose(t *testing.T) {
	t.Parallel()
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if srv.Log().Count("QUIT") != 1 {
		t.Error("no QUIT")
	}
	if s.Alive() {
		t.Error("alive")
	}
	is(t, s.Mkdir(t.Context(), "d"), "MKD", policy.Command, 0, policy.CauseReset)

	deaf := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "QUIT", Do: lab.Stall()}}})
	s = dial(t, deaf)
	within(t, soon, func() { _ = s.Close() })

	busy := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "MKD", Do: lab.Stall()}}})
	s = dial(t, busy)
	done := make(chan error, 1)
	go func() { done <- s.Mkdir(t.Context(), "d") }()
	if err := busy.Await(t.Context(), func(l lab.Log) bool { return l.Count("MKD") > 0 }); err != nil {
		t.Fatal(err)
	}
	within(t, soon, func() { _ = s.Close() })
	faultOf(t, <-done)
}
