package lab

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
)

// tlsConfig trusts the server's authority and resumes sessions.
func tlsConfig(srv *FTP) *tls.Config {
	return &tls.Config{RootCAs: srv.CA().Pool(), ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

func TestTLSWithLibrary(t *testing.T) {
	data := noise(300_000)
	for _, kind := range []Security{Explicit, Implicit} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, reuse := range []SessionReuse{ReuseOptional, ReuseOr522, ReuseOr425} {
				root := t.TempDir()
				srv := startFTP(t, FTPConfig{
					Root: root, User: "demo", Password: "demo", TLS: kind, MaxTLS: version,
					DemandTLS: 530, DemandProt: true, Reuse: reuse,
				})
				option := ftp.DialWithExplicitTLS(tlsConfig(srv))
				if kind == Implicit {
					option = ftp.DialWithTLS(tlsConfig(srv))
				}
				c := client(t, srv, option)
				if err := c.Stor("a", bytes.NewReader(data)); err != nil {
					t.Fatalf("kind %d, TLS %x, reuse %d: %v", kind, version, reuse, err)
				}
				r, err := c.Retr("a")
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || r.Close() != nil || !bytes.Equal(got, data) || !bytes.Equal(content(t, root, "a"), data) {
					t.Errorf("kind %d, TLS %x: came back differently, %v", kind, version, err)
				}
				if caFile, err := os.ReadFile(srv.CAFile()); err != nil || !bytes.Equal(caFile, srv.CA().PEM()) {
					t.Errorf("CA file: %v", err)
				}
			}
		}
	}
}

// secure does AUTH TLS and a login on a control connection.
func secure(t *testing.T, srv *FTP, config *tls.Config) *control {
	t.Helper()
	plain := dial(t, srv)
	plain.want(220)
	plain.cmd(234, "AUTH TLS")
	conn := tls.Client(plain.conn, config)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := newControl(t, conn)
	c.cmd(331, "USER demo")
	c.cmd(230, "PASS demo")
	c.cmd(200, "PBSZ 0")
	c.cmd(200, "PROT P")
	c.cmd(200, "TYPE I")
	return c
}

// A data connection has to resume the session of its own control connection.
func TestSessionReuse(t *testing.T) {
	for reuse, code := range map[SessionReuse]int{ReuseOr522: 522, ReuseOr425: 425} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			root := t.TempDir()
			file(t, root, "target", []byte("old content"))
			srv := startFTP(t, FTPConfig{Root: root, TLS: Explicit, Reuse: reuse, MaxTLS: version})
			mine := tlsConfig(srv)
			c := secure(t, srv, mine)
			other := tlsConfig(srv)
			secure(t, srv, other)

			list := func(config *tls.Config, want int) {
				t.Helper()
				conn := c.passive()
				c.cmd(150, "LIST")
				data := tls.Client(conn, config)
				_ = data.Handshake() // the server may have hung up already
				_, _ = io.Copy(io.Discard, data)
				c.want(want)
			}
			list(mine, 226)
			list(mine, 226)
			for _, wrong := range []*tls.Config{other, {RootCAs: srv.CA().Pool(), ServerName: "localhost"}} {
				list(wrong, code)
				if reuse == ReuseOr522 { // vsftpd is done with this client
					c.send("NOOP")
					c.gone()
					c = secure(t, srv, mine)
				}
			}
			conn := c.passive()
			c.cmd(150, "STOR target")
			_ = tls.Client(conn, &tls.Config{RootCAs: srv.CA().Pool(), ServerName: "localhost"}).Handshake()
			c.want(code)
			if got := content(t, root, "target"); len(got) != 0 {
				t.Errorf("the refused STOR left %q", got)
			}
		}
	}
}

func TestCertificates(t *testing.T) {
	tests := []struct {
		kind Certificate
		is   func(error) bool
	}{
		{CertExpired, func(err error) bool {
			invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
			return ok && invalid.Reason == x509.Expired
		}},
		{CertWrongName, func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok }},
	}
	for _, tt := range tests {
		srv := startFTP(t, FTPConfig{TLS: Implicit, Certificate: tt.kind})
		conn, err := tls.Dial("tcp", srv.Addr(), tlsConfig(srv))
		if !tt.is(err) {
			t.Errorf("certificate %d: %v", tt.kind, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	srv := startFTP(t, FTPConfig{TLS: Implicit})
	_, err := tls.Dial("tcp", srv.Addr(), &tls.Config{ServerName: "localhost"})
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("unknown authority: %v", err)
	}
}

func TestClientCertificate(t *testing.T) {
	ca, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	srv := startFTP(t, FTPConfig{TLS: Implicit, CA: ca, ClientCert: true})
	conn, err := tls.Dial("tcp", srv.Addr(), tlsConfig(srv))
	if err == nil { // TLS 1.3: the refusal comes behind the handshake
		_, err = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	if err == nil {
		t.Error("let in without a certificate")
	}
	cert, err := ca.Client("demo")
	if err != nil {
		t.Fatal(err)
	}
	config := tlsConfig(srv)
	config.Certificates = []tls.Certificate{cert}
	c := client(t, srv, ftp.DialWithTLS(config))
	if err := c.Stor("a", strings.NewReader("x")); err != nil {
		t.Error(err)
	}
}

func TestTLSVersions(t *testing.T) {
	srv := startFTP(t, FTPConfig{TLS: Implicit, MaxTLS: tls.VersionTLS12})
	conn, err := tls.Dial("tcp", srv.Addr(), tlsConfig(srv))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if v := conn.ConnectionState().Version; v != tls.VersionTLS12 {
		t.Errorf("version %x", v)
	}
}

func TestTLSDemands(t *testing.T) {
	for _, code := range []int{530, 534, 421} {
		c := dial(t, startFTP(t, FTPConfig{TLS: Explicit, DemandTLS: code}))
		c.want(220)
		c.cmd(code, "USER demo")
		if code == 421 {
			c.gone()
		}
	}
	srv := startFTP(t, FTPConfig{TLS: Explicit, DemandProt: true})
	c := secure(t, srv, tlsConfig(srv))
	c.cmd(534, "CCC")
	c.cmd(503, "AUTH TLS")
	c.cmd(536, "PROT S")
	c.cmd(200, "PROT C")
	c.passive()
	c.cmd(522, "LIST")
	c = dial(t, srv)
	c.want(220)
	c.cmd(504, "AUTH KERBEROS_V4")
}

func TestTLSFaults(t *testing.T) {
	srv := startFTP(t, FTPConfig{TLS: Explicit, Script: []Rule{{On: "AUTH", Times: 1, Do: Reply(431, "No certificate.")}}})
	c := dial(t, srv)
	c.want(220)
	c.cmd(431, "AUTH TLS")
	c.cmd(331, "USER demo") // the connection goes on in clear

	srv.SetScript(Rule{On: "tls", Times: 1, Do: Stall()}, Rule{On: "tls", Do: Drop(FIN)})
	for _, tt := range []struct {
		patience time.Duration
		want     []error
	}{
		{100 * time.Millisecond, []error{os.ErrDeadlineExceeded}},
		{20 * time.Second, []error{io.EOF, syscall.ECONNRESET}}, // see closeConn
	} {
		c := dial(t, srv)
		c.want(220)
		c.cmd(234, "AUTH TLS")
		_ = c.conn.SetDeadline(time.Now().Add(tt.patience))
		err := tls.Client(c.conn, tlsConfig(srv)).Handshake()
		if !slices.ContainsFunc(tt.want, func(want error) bool { return errors.Is(err, want) }) {
			t.Errorf("handshake: %v, want one of %v", err, tt.want)
		}
	}

	// What is sent in clear behind AUTH must not be taken for a command.
	c = dial(t, srv)
	srv.SetScript()
	c.want(220)
	c.send("AUTH TLS\r\nDELE x")
	c.want(234)
	conn := tls.Client(c.conn, tlsConfig(srv))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	secured := newControl(t, conn)
	secured.cmd(200, "NOOP")
	if n := srv.Log().Count("DELE"); n != 0 {
		t.Errorf("%d DELE came through", n)
	}

	// A client that talks nonsense instead of TLS is let go.
	c = dial(t, srv)
	c.want(220)
	c.cmd(234, "AUTH TLS")
	_, _ = io.WriteString(c.conn, "USER demo\r\n")
	_, _ = io.Copy(io.Discard, c.conn)
}

// The TCP connection under a data connection ends without a close_notify.
func TestTLSDataCutBelow(t *testing.T) {
	root := t.TempDir()
	data := noise(1 << 20)
	file(t, root, "a", data)
	srv := startFTP(t, FTPConfig{Root: root, TLS: Explicit, Script: []Rule{
		{On: "RETR", When: During, After: 500_000, Do: DropData(FIN)},
	}})
	config := tlsConfig(srv)
	c := secure(t, srv, config)
	conn := c.passive()
	c.cmd(150, "RETR a")
	got, _ := io.ReadAll(tls.Client(conn, config)) // a clean EOF or not: the reply tells
	c.want(426)
	if !bytes.HasPrefix(data, got) || len(got) != 500_000 {
		t.Errorf("%d bytes came", len(got))
	}
}

// dialRaw is a plain TCP connection that is closed with the test.
func dialRaw(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}
