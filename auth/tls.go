package auth

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// TLS says how a server proves who it is and, where it asks, how we prove who
// we are. The zero value is right for a server with a certificate of a public
// authority. There is no value that turns the proof off.
type TLS struct {
	// CAFile is a PEM file of authorities that are trusted instead of the
	// system's, as curl's --cacert.
	CAFile string
	// Pin is the SHA-256 of the server's public key (SubjectPublicKeyInfo, as
	// curl's --pinnedpubkey) or of its certificate (as "openssl x509
	// -fingerprint -sha256" prints it): "sha256//" and base64, or 64 hex digits
	// with or without colons. Several are separated by ";". A pin takes the
	// place of authority, name and dates, as a host key does in SSH.
	Pin string
	// ClientCert and ClientKey are PEM files; with ClientKey empty the key is
	// in the file of the certificate.
	ClientCert, ClientKey string
	// MinVersion is the oldest version accepted, "1.0" to "1.3"; "" is "1.2".
	MinVersion string
	// ServerName is the name that the certificate must hold and that is sent
	// to the server (SNI), "" for the name that was dialled.
	ServerName string
}

var tlsVersions = map[string]uint16{
	"": tls.VersionTLS12, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13,
}

// Config reads the files and gives the configuration. Before use it goes
// through ForConnection.
func (t TLS) Config() (*tls.Config, error) {
	version, ok := tlsVersions[t.MinVersion]
	if !ok {
		return nil, fmt.Errorf("TLS version %q: not one of 1.0, 1.1, 1.2, 1.3", t.MinVersion)
	}
	c := &tls.Config{MinVersion: version, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: no certificate in it", t.CAFile)
		}
	}
	if t.ClientCert != "" {
		key := t.ClientKey
		if key == "" {
			key = t.ClientCert
		}
		cert, err := tls.LoadX509KeyPair(t.ClientCert, key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if t.Pin != "" {
		pins, err := parsePins(t.Pin)
		if err != nil {
			return nil, err
		}
		// The pin is the proof, also for certificates that no authority signed.
		c.InsecureSkipVerify = true
		c.VerifyConnection = pins.verify
	}
	return c, nil
}

// ForConnection is a copy of c for one FTP control connection to host and its
// data connections, with a session cache of their own. Servers that demand TLS
// session resumption tie a data connection to the session of its control
// connection: with one cache for two logins proftpd 1.3.8 refuses every second
// data connection. ServerName is always set, because it is the key of the cache.
func ForConnection(c *tls.Config, host string) *tls.Config {
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return c
}

// ErrPin says that the server showed another key than the pinned one.
var ErrPin = errors.New("it is not the pinned one")

// CertificateError is a certificate that was not accepted.
type CertificateError struct {
	// Host is the name that the certificate was to prove.
	Host string
	// Cert is the certificate itself, never nil.
	Cert *x509.Certificate
	// Err is ErrPin or one of package x509's errors.
	Err error
}

// Error names the reason, whose certificate it is, and its key.
func (e *CertificateError) Error() string {
	return fmt.Sprintf("certificate of %s: %s (issued to %s by %s, valid %s to %s, key %s)",
		e.Host, e.Err, orNobody(e.Cert.Subject.String()), orNobody(e.Cert.Issuer.String()),
		e.Cert.NotBefore.Format(time.DateOnly), e.Cert.NotAfter.Format(time.DateOnly), e.Pin())
}

// Unwrap gives the reason.
func (e *CertificateError) Unwrap() error { return e.Err }

// Pin is the value of TLS.Pin that would accept this certificate: "sha256//" and
// the base64 of the SHA-256 of its key. Whoever uses it must have it confirmed
// by the server's operator on another way.
func (e *CertificateError) Pin() string {
	sum := sha256.Sum256(e.Cert.RawSubjectPublicKeyInfo)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// CertificateErrorOf finds the refused certificate in the error of a handshake
// with host, nil if the error is about something else.
func CertificateErrorOf(err error, host string) *CertificateError {
	if e, ok := errors.AsType[*CertificateError](err); ok {
		e.Host = cmp.Or(e.Host, host) // TLS has no name for an address
		return e
	}
	e, ok := errors.AsType[*tls.CertificateVerificationError](err)
	if !ok || len(e.UnverifiedCertificates) == 0 {
		return nil
	}
	return &CertificateError{Host: host, Cert: e.UnverifiedCertificates[0], Err: e.Err}
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

const pinPrefix = "sha256//"

// pinSet holds SHA-256 sums, each of a key or of a certificate.
type pinSet [][]byte

func parsePins(s string) (pinSet, error) {
	var pins pinSet
	for text := range strings.SplitSeq(s, ";") {
		pin, err := parsePin(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	return pins, nil
}

func parsePin(text string) ([]byte, error) {
	var pin []byte
	var err error
	if b64, ok := strings.CutPrefix(text, pinPrefix); ok {
		pin, err = base64.StdEncoding.DecodeString(b64)
	} else {
		pin, err = hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	}
	if err != nil || len(pin) != sha256.Size {
		return nil, fmt.Errorf("TLS pin %q: neither sha256//BASE64 nor 64 hex digits", text)
	}
	return pin, nil
}

func (p pinSet) verify(cs tls.ConnectionState) error {
	cert := cs.PeerCertificates[0]
	key, whole := sha256.Sum256(cert.RawSubjectPublicKeyInfo), sha256.Sum256(cert.Raw)
	matches := func(pin []byte) bool {
		return slices.Equal(pin, key[:]) || slices.Equal(pin, whole[:])
	}
	if slices.ContainsFunc(p, matches) {
		return nil
	}
	return &CertificateError{Host: cs.ServerName, Cert: cert, Err: ErrPin}
}
