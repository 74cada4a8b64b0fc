package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate signed by ca, or by itself when ca is nil.
func issue(t *testing.T, ca *issued, change func(*x509.Certificate)) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "ftp.example"},
		DNSNames:     []string{"ftp.example"},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     time.Now().Add(48 * time.Hour),
	}
	change(template)
	signer := ca
	if ca == nil {
		signer = &issued{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{cert, key}
}

func (i *issued) pair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{i.cert.Raw}, PrivateKey: i.key}
}

func (i *issued) certPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

func (i *issued) keyPEM(t *testing.T) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func pemFile(t *testing.T, parts ...[]byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.pem")
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// shake is a handshake on loopback.
func shake(t *testing.T, client, server *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if s.Handshake() == nil {
			_, _ = s.Write([]byte("x")) // behind the tickets of TLS 1.3
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(conn, client)
	if err = c.Handshake(); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	state := c.ConnectionState()
	_ = conn.Close()
	<-done
	return state, err
}

func TestTLSVerifies(t *testing.T) {
	ca := issue(t, nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	roots := pemFile(t, ca.certPEM())
	good := issue(t, ca, func(*x509.Certificate) {})
	selfSigned := issue(t, nil, func(*x509.Certificate) {})
	expired := issue(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	other := issue(t, ca, func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })
	key := sha256.Sum256(selfSigned.cert.RawSubjectPublicKeyInfo)
	whole := sha256.Sum256(selfSigned.cert.Raw)
	keyPin := "sha256//" + base64.StdEncoding.EncodeToString(key[:])
	opensslStyle := strings.ReplaceAll(fmt.Sprintf("% X", whole), " ", ":")

	isA := func(target any) func(error) bool {
		return func(err error) bool { return errors.As(err, target) }
	}
	for _, test := range []struct {
		name   string
		t      TLS
		server *issued
		bad    func(error) bool // nil: accepted
	}{
		{"authority from a file", TLS{CAFile: roots}, good, nil},
		{"the system's authorities", TLS{}, good, isA(new(x509.UnknownAuthorityError))},
		{"self-signed", TLS{CAFile: roots}, selfSigned, isA(new(x509.UnknownAuthorityError))},
		{"expired", TLS{CAFile: roots}, expired, isA(new(x509.CertificateInvalidError))},
		{"another name", TLS{CAFile: roots}, other, isA(new(x509.HostnameError))},
		{"another name that is asked for", TLS{CAFile: roots, ServerName: "other.example"}, other, nil},
		{"pin of the key", TLS{Pin: keyPin}, selfSigned, nil},
		{"pin of the certificate, as openssl prints it", TLS{Pin: opensslStyle}, selfSigned, nil},
		{"pin in lower case without colons", TLS{Pin: hex.EncodeToString(whole[:])}, selfSigned, nil},
		{"one pin of several", TLS{Pin: "sha256//" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "; " + keyPin}, selfSigned, nil},
		{"pin of another", TLS{Pin: keyPin}, good, func(err error) bool { return errors.Is(err, ErrPin) }},
		{"a pin is not weakened by a good authority", TLS{CAFile: roots, Pin: keyPin}, good, func(err error) bool { return errors.Is(err, ErrPin) }},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c, err := test.t.Config()
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			_, err = shake(t, ForConnection(c, "ftp.example"), &tls.Config{Certificates: []tls.Certificate{test.server.pair()}, MaxVersion: version})
			if test.bad == nil {
				if err != nil {
					t.Errorf("%s: %v", test.name, err)
				}
				continue
			}
			if err == nil || !test.bad(err) {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			cert := CertificateErrorOf(err, "ftp.example")
			if cert == nil || !cert.Cert.Equal(test.server.cert) || !test.bad(cert) {
				t.Fatalf("%s: %v is not about the certificate", test.name, err)
			}
			if !strings.Contains(cert.Error(), cert.Pin()) || !strings.Contains(cert.Error(), "ftp.example") {
				t.Errorf("%s: %v", test.name, cert)
			}
			// What the message says accepts this certificate.
			pinned, err := TLS{Pin: cert.Pin()}.Config()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := shake(t, ForConnection(pinned, "ftp.example"), &tls.Config{Certificates: []tls.Certificate{test.server.pair()}}); err != nil {
				t.Errorf("%s: %s does not accept it: %v", test.name, cert.Pin(), err)
			}
		}
	}
	if e := CertificateErrorOf(&CertificateError{Err: ErrPin}, "127.0.0.1"); e.Host != "127.0.0.1" {
		t.Errorf("a pin of an address: %q", e.Host)
	}
	if CertificateErrorOf(errors.New("reset"), "x") != nil {
		t.Error("an error about something else")
	}
}

// TestTLSSessions: data connections resume the session of their login, also
// pinned ones, and two logins share nothing.
func TestTLSSessions(t *testing.T) {
	server := issue(t, nil, func(*x509.Certificate) {})
	sum := sha256.Sum256(server.cert.RawSubjectPublicKeyInfo)
	c, err := TLS{Pin: "sha256//" + base64.StdEncoding.EncodeToString(sum[:])}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		serverConfig := &tls.Config{Certificates: []tls.Certificate{server.pair()}, MaxVersion: version}
		one, two := ForConnection(c, "127.0.0.1"), ForConnection(c, "127.0.0.1")
		if one.ServerName != "127.0.0.1" || c.ServerName != "" || c.ClientSessionCache != nil {
			t.Error("the shared configuration was changed, or the name not set")
		}
		for i, test := range []struct {
			c    *tls.Config
			want bool
		}{{one, false}, {one, true}, {two, false}, {one, true}, {two, true}} {
			state, err := shake(t, test.c, serverConfig)
			if err != nil || state.DidResume != test.want {
				t.Errorf("%x, %d: resumed %t, %v; want %t", version, i, state.DidResume, err, test.want)
			}
		}
	}
	named := ForConnection(&tls.Config{ServerName: "ftp.example"}, "127.0.0.1")
	if named.ServerName != "ftp.example" {
		t.Errorf("name %q", named.ServerName)
	}
}

func TestTLSClientCertificate(t *testing.T) {
	ca := issue(t, nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true })
	me := issue(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	server := issue(t, ca, func(*x509.Certificate) {})
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	serverConfig := &tls.Config{Certificates: []tls.Certificate{server.pair()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	roots := pemFile(t, ca.certPEM())
	for _, settings := range []TLS{
		{CAFile: roots, ClientCert: pemFile(t, me.certPEM()), ClientKey: pemFile(t, me.keyPEM(t))},
		{CAFile: roots, ClientCert: pemFile(t, me.certPEM(), me.keyPEM(t))},
	} {
		c, err := settings.Config()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shake(t, ForConnection(c, "ftp.example"), serverConfig); err != nil {
			t.Error(err)
		}
	}
}

func TestTLSMinVersion(t *testing.T) {
	server := issue(t, nil, func(*x509.Certificate) {})
	sum := sha256.Sum256(server.cert.Raw)
	for min, works := range map[string]bool{"": false, "1.0": true, "1.1": true, "1.2": false, "1.3": false} {
		c, err := TLS{Pin: hex.EncodeToString(sum[:]), MinVersion: min}.Config()
		if err != nil {
			t.Fatal(err)
		}
		_, err = shake(t, ForConnection(c, "x"), &tls.Config{Certificates: []tls.Certificate{server.pair()}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if (err == nil) != works {
			t.Errorf("%q with a server of 1.1: %v", min, err)
		}
	}
}

func TestTLSConfigRefuses(t *testing.T) {
	noPEM := pemFile(t, []byte("hello"))
	for name, settings := range map[string]TLS{
		"version":            {MinVersion: "2.0"},
		"missing CA file":    {CAFile: filepath.Join(t.TempDir(), "none")},
		"CA file without":    {CAFile: noPEM},
		"client certificate": {ClientCert: noPEM},
		"short pin":          {Pin: "sha256//AAAA"},
		"pin of letters":     {Pin: "not a pin"},
		"empty pin":          {Pin: "sha256//"},
		"one bad of two":     {Pin: strings.Repeat("ab", 32) + ";x"},
	} {
		if c, err := settings.Config(); err == nil {
			t.Errorf("%s: accepted, %+v", name, c)
		}
	}
}
