package policy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNetCause(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want Cause
	}{
		{"nothing", nil, ""},
		{"a port nobody listens on", dialClosedPort(t), CauseRefused},
		{"a read after its deadline", readPastDeadline(t), CauseTimeout},
		{"a connection that the peer reset", readAfterReset(t), CauseReset},
		{"our own end closed", readAfterClose(t), CauseReset},
		{"the end in the middle", io.ErrUnexpectedEOF, CauseReset},
		{"the end", fmt.Errorf("read: %w", io.EOF), CauseReset},
		{"a closed pipe", io.ErrClosedPipe, CauseReset},
		{"no such host", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "nowhere.invalid", IsNotFound: true}}, CauseHostNotFound},
		{"name server silent", &net.DNSError{Name: "h", IsTimeout: true}, CauseDNS},
		{"name server failing", &net.DNSError{Name: "h", IsTemporary: true}, CauseDNS},
		{"a deadline of a context", fmt.Errorf("dial: %w", context.DeadlineExceeded), CauseTimeout},
		{"cancelled", context.Canceled, ""},
		{"a certificate that may not sign", x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, CauseCertUntrusted},
		{"an unknown authority", x509.UnknownAuthorityError{}, CauseCertUntrusted},
		{"a certificate refused otherwise", &tls.CertificateVerificationError{Err: errors.New("x")}, CauseCertUntrusted},
		{"an alert of QUIC", tls.AlertError(40), CauseTLS},
		{"a file", &fs.PathError{Op: "open", Path: "a", Err: fs.ErrNotExist}, ""},
		{"anything else", errors.New("connection refused"), ""}, // never from the text
	} {
		if got := NetCause(c.err); got != c.want {
			t.Errorf("%s: %q, want %q (%v)", c.name, got, c.want, c.err)
		}
	}
}

func TestTLSCauses(t *testing.T) {
	now := time.Now()
	ours, foreign := newAuthority(t), newAuthority(t)
	good := ours.issue(t, "partner.example", now.Add(-time.Hour), now.Add(time.Hour))
	for _, c := range []struct {
		name string
		cert tls.Certificate
		host string
		want Cause
	}{
		{"trusted", good, "partner.example", ""},
		{"signed by an unknown authority", foreign.issue(t, "partner.example", now.Add(-time.Hour), now.Add(time.Hour)), "partner.example", CauseCertUntrusted},
		{"expired", ours.issue(t, "partner.example", now.Add(-2*time.Hour), now.Add(-time.Hour)), "partner.example", CauseCertExpired},
		{"not valid yet", ours.issue(t, "partner.example", now.Add(time.Hour), now.Add(2*time.Hour)), "partner.example", CauseCertExpired},
		{"for another name", good, "other.example", CauseCertName},
		{"for no address", good, "127.0.0.1", CauseCertName},
	} {
		client := &tls.Config{ServerName: c.host, RootCAs: ours.pool}
		err := handshake(t, client, &tls.Config{Certificates: []tls.Certificate{c.cert}})
		if got := NetCause(err); got != c.want || (c.want == "") != (err == nil) {
			t.Errorf("%s: %q, want %q (%T %v)", c.name, got, c.want, err, err)
		}
	}

	// A server that greets in clear text, as FTP and SSH do.
	client, server := pipe(t)
	go func() {
		_, _ = io.CopyN(io.Discard, server, 5)
		_, _ = io.WriteString(server, "220 FTP ready\r\n")
		_ = server.Close()
	}()
	err := tls.Client(client, &tls.Config{ServerName: "partner.example"}).HandshakeContext(t.Context())
	if got := NetCause(err); got != CauseNotTLS {
		t.Errorf("clear text: %q (%T %v)", got, err, err)
	}

	// No version in common. The alert has no exported type outside QUIC: who
	// knows that this was a handshake says CauseTLS.
	err = handshake(t, &tls.Config{ServerName: "partner.example", RootCAs: ours.pool, MaxVersion: tls.VersionTLS12},
		&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS13})
	if got := NetCause(err); err == nil || got != "" {
		t.Errorf("no version in common: %q (%T %v)", got, err, err)
	}
}

func TestLocalCause(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, missing := os.Open(filepath.Join(dir, "missing"))
	_, exists := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	for _, c := range []struct {
		op   string
		err  error
		want Cause
	}{
		{"open", missing, CauseLocalMissing},
		{"create", missing, CauseLocalParent},
		{"mkdir", missing, CauseLocalParent},
		{"rename", &os.LinkError{Op: "rename", Old: "a", New: "b", Err: fs.ErrNotExist}, CauseLocalParent},
		{"create", exists, CauseLocalExists},
		{"open", &fs.PathError{Op: "open", Path: "a", Err: fs.ErrPermission}, CauseLocalPermission},
		{"read", context.Canceled, CauseCancelled},
		{"read", fmt.Errorf("read: %w", context.DeadlineExceeded), CauseDeadline},
		{"read", errors.New("something else"), CauseLocalIO},
	} {
		f := LocalFault(c.op, "a", c.err)
		if f.Cause != c.want || f.Protocol != Local || f.Op != c.op || f.Text == "" || !errors.Is(f, c.err) {
			t.Errorf("%s: %v: %+v, want %q", c.op, c.err, f, c.want)
		}
	}
	if f := LocalFault("", "", missing); f.Op != "local" || strings.Contains(f.Text, "missing") {
		t.Errorf("%+v: the path is not said twice", f)
	}
}

func dialClosedPort(t *testing.T) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
		t.Fatal("somebody else listens there")
	}
	return err
}

func readPastDeadline(t *testing.T) error {
	t.Helper()
	client, _ := pipe(t)
	if err := client.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := client.Read(make([]byte, 1))
	return err
}

func readAfterReset(t *testing.T) error {
	t.Helper()
	client, server := pipe(t)
	if err := server.(*net.TCPConn).SetLinger(0); err != nil { // close with RST
		t.Fatal(err)
	}
	_ = server.Close()
	_, err := client.Read(make([]byte, 1))
	return err
}

func readAfterClose(t *testing.T) error {
	t.Helper()
	client, _ := pipe(t)
	_ = client.Close()
	_, err := client.Read(make([]byte, 1))
	return err
}

// pipe is a TCP connection over loopback.
func pipe(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

// handshake lets both ends talk TLS and gives what the client made of it.
func handshake(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	c, s := pipe(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(s, server).HandshakeContext(t.Context()) // the client's view is what counts
		_ = s.Close()
	}()
	err := tls.Client(c, client).HandshakeContext(t.Context())
	_ = c.Close()
	<-done
	return err
}

// authority signs certificates for the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{cert, key, pool}
}

func (a authority) issue(t *testing.T, host string, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
