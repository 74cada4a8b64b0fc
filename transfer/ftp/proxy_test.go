package ftp_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/proxy"
)

// TestProxy: control and data go through the proxy, to the same host, and active
// mode is no choice.
func TestProxy(t *testing.T) {
	for _, scheme := range []string{"socks5", "http"} {
		for _, kind := range []lab.Security{lab.Plain, lab.Explicit, lab.Implicit} {
			g, err := lab.StartGateway(scheme, "acme", "s3cret")
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			p, err := proxy.Parse(g.URL())
			if err != nil {
				t.Fatal(err)
			}
			p.User, p.Password = "acme", auth.NewSecret("s3cret")
			srv := start(t, lab.FTPConfig{TLS: kind, Reuse: lab.ReuseOr425, PasvHost: "192.0.2.1", Without: []string{"EPSV"}})
			s := dial(t, srv, func(o *ftp.Options) {
				o.DialContext = p.DialContext
				if kind == lab.Implicit {
					o.Security = ftp.Implicit
				}
			})
			works(t, s)
			if s.Extras().SwitchMode != nil {
				t.Error("active mode through a proxy")
			}
			host, _, _ := net.SplitHostPort(srv.Addr())
			asked := g.Asked()
			for _, address := range asked {
				if !strings.HasPrefix(address, host+":") {
					t.Errorf("%s was dialled", address)
				}
			}
			if len(asked) != 5 { // the control connection, and four for data
				t.Errorf("dialled %q", asked)
			}
		}
	}
}

// TestProxyRefuses: at the login that is the proxy's fault, for data it is a
// connection that can't be opened.
func TestProxyRefuses(t *testing.T) {
	g, err := lab.StartGateway("socks5", "acme", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	p, err := proxy.Parse(g.URL())
	if err != nil {
		t.Fatal(err)
	}
	srv := start(t, lab.FTPConfig{Modes: lab.ActiveOnly(lab.DataDead)})
	through := func(o *ftp.Options) { o.DialContext = p.DialContext }
	f := refusedDial(t, srv, through)
	if f.Cause != policy.CauseProxyLogin || f.Phase != policy.Connect || !strings.Contains(f.Text, "login") {
		t.Errorf("%+v", f)
	}
	p.User, p.Password = "acme", auth.NewSecret("s3cret")
	s := dial(t, srv, through)
	_, err = s.Put(t.Context(), "file", 0, source(pattern(1000)))
	f = is(t, err, "STOR", policy.Data, 0, policy.CauseDataConnect)
	if !strings.Contains(f.Text, "connection refused") {
		t.Errorf("%q", f.Text)
	}
}

// TestProxyActiveOnly: the wish can't be fulfilled, and is not tried.
func TestProxyActiveOnly(t *testing.T) {
	srv := start(t, lab.FTPConfig{})
	s := dial(t, srv, mode(transfer.ModeActiveOnly), func(o *ftp.Options) { o.DialContext = (&net.Dialer{}).DialContext })
	_, err := s.Put(t.Context(), "file", 0, source(nil))
	is(t, err, "STOR", policy.Data, 0, policy.CauseDataConnect)
	if n := srv.Log().Count("PORT") + srv.Log().Count("EPRT"); n != 0 {
		t.Error(strconv.Itoa(n) + " times our address was told")
	}
}
