package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// TestClientCertificate: a site's own certificate is shown to a server that asks
// for one; without it the server does not let us in.
func TestClientCertificate(t *testing.T) {
	ca, err := lab.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Client("acme")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := lab.StartFTP(lab.FTPConfig{Root: t.TempDir(), TLS: lab.Explicit, CA: ca, ClientCert: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	host, port, _ := strings.Cut(srv.Addr(), ":")
	site := fmt.Sprintf("protocol = \"ftpes\"\nhost = %q\nport = %s\nuser = \"demo\"\nca_file = \"~/ca.pem\"\n", host, port)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"ca.pem":   string(ca.PEM()),
		"cert.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
		"key.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"c.toml":   "[site.with]\n" + site + "client_cert = \"~/cert.pem\"\nclient_key = \"~/key.pem\"\n[site.without]\n" + site,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for site, want := range map[string]int{"with": 0, "without": exitCodes[policy.KindTrust].code} {
		var stderr bytes.Buffer
		env := map[string]string{"HOME": dir, "XFER_PASSWORD": "demo"}
		sys := system{stdin: strings.NewReader(""), stdout: &stderr, stderr: &stderr, env: func(name string) string { return env[name] }}
		code := run(t.Context(), sys, []string{"--config", filepath.Join(dir, "c.toml"), "ls", site + ":/"})
		if code != want || strings.Contains(stderr.String(), "client_cert") != (want != 0) {
			t.Errorf("%s a certificate: exit code %d, want %d\n%s", site, code, want, stderr.String())
		}
	}
}
