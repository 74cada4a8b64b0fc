package ftp_test

import (
	"context"
	"testing"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// servers are the real ones, each with the kinds of TLS that it has.
var servers = []struct {
	name  string
	start func(testing.TB, transfertest.FTPOptions) *transfertest.Server
	kinds []transfertest.TLS
	// config is added to the server's own.
	config []string
}{
	{"vsftpd", transfertest.VSFTPD, allKinds, nil},
	{"proftpd", transfertest.ProFTPD, allKinds, nil},
	// The suite lists more than pure-ftpd's default of 10,000 entries.
	{"pure-ftpd", transfertest.PureFTPd, allKinds[:2], []string{"--limitrecursion", "20000:5"}},
	{"pyftpdlib", transfertest.PyFTPDLib, allKinds, nil},
}

var allKinds = []transfertest.TLS{transfertest.PlainText, transfertest.ExplicitTLS, transfertest.ImplicitTLS}

// TestRealServers runs the conformance suite on each server, with each kind of
// TLS, in both modes.
func TestRealServers(t *testing.T) {
	for _, server := range servers {
		for _, kind := range server.kinds {
			for _, mode := range []transfer.Mode{transfer.ModePassive, transfer.ModeActive} {
				t.Run(server.name+"/"+kind.String()+"/"+mode.String(), func(t *testing.T) {
					t.Parallel()
					srv := server.start(t, transfertest.FTPOptions{TLS: kind, Config: server.config})
					srv.Can.Chmod, srv.Can.Realpath = true, true
					o := optionsFor(t, srv)
					o.Mode = mode
					f := srv.Fixture(func(ctx context.Context) (transfer.Session, error) { return ftp.Dial(ctx, o) })
					f.Beside, f.Again = true, kind != transfertest.PlainText || mode != transfer.ModePassive
					transfertest.Run(t, f)
				})
			}
		}
	}
}

// optionsFor logs in to a server of package transfertest.
func optionsFor(t *testing.T, srv *transfertest.Server) ftp.Options {
	t.Helper()
	o := ftp.Options{
		Address: srv.Address(), User: srv.User,
		Password: func(context.Context) (auth.Secret, error) { return auth.NewSecret(srv.Password), nil },
		Log:      testLog(t),
	}
	switch srv.Scheme {
	case transfer.SchemeFTPES:
		o.Security = ftp.Explicit
	case transfer.SchemeFTPS:
		o.Security = ftp.Implicit
	}
	if srv.CAFile != "" {
		c, err := auth.TLS{CAFile: srv.CAFile}.Config()
		if err != nil {
			t.Fatal(err)
		}
		o.TLS = c
	}
	return o
}

// TestRealFlights: what is sent together suits each server, from the login on.
func TestRealFlights(t *testing.T) {
	for _, server := range servers {
		for _, kind := range server.kinds {
			t.Run(server.name+"/"+kind.String(), func(t *testing.T) {
				t.Parallel()
				o := optionsFor(t, server.start(t, transfertest.FTPOptions{TLS: kind, Config: server.config}))
				known("pipelining=works", "mode=passive", "epsv=works")(&o)
				s, err := ftp.Dial(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				publishes(t, s, "a", "b", "c")
				for _, name := range []string{"a", "b", "c"} {
					if _, err := s.Stat(t.Context(), name); err != nil {
						t.Error(err)
					}
					if got := get(t, s, name); string(got) != "content" {
						t.Errorf("%s: %q", name, got)
					}
					fetch(t, s, name, 7)
				}
				if learned := s.Extras().Facts()["pipelining"]; learned.Value != "works" {
					t.Errorf("learned %+v", learned)
				}
			})
		}
	}
}

// TestRealRenameBegun: proftpd obeys nothing but RNTO behind RNFR, which goes ahead
// of its turn. A time that is refused, and a file that is not renamed after all,
// leave the session usable.
func TestRealRenameBegun(t *testing.T) {
	t.Parallel()
	o := optionsFor(t, transfertest.ProFTPD(t, transfertest.FTPOptions{
		Config: []string{"<Limit MFMT MDTM SITE_UTIME>", "DenyAll", "</Limit>"},
	}))
	known("pipelining=works")(&o)
	s, err := ftp.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	src := func() transfer.Source {
		src := source([]byte("content"))
		src.ModTime, src.Temporary = afternoon, true
		return src
	}
	if _, err := s.Put(t.Context(), "temp", 0, src()); err != nil {
		t.Fatal(err)
	}
	is(t, s.Extras().SetModTime(t.Context(), "temp", afternoon), "MFMT", policy.Command, 550, "")
	if err := s.Rename(t.Context(), "temp", "file"); err != nil {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "temp", 0, src()); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "temp"); err != nil {
		t.Error(err)
	}
	works(t, s)
}
