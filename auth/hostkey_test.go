package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

const testAddr = "host.example:2222"

func newECDSA(t *testing.T) ssh.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func lineFor(key ssh.PublicKey) string { return knownhosts.Line([]string{testAddr}, key) }

// show lets h check a key as the handshake would.
func show(t *testing.T, h *HostKeys, key ssh.PublicKey) error {
	t.Helper()
	var c ssh.ClientConfig
	if err := h.Configure(t.Context(), &c, testAddr, nil); err != nil {
		return err
	}
	return c.HostKeyCallback(testAddr, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 2222}, key)
}

func hostCert(t *testing.T, ca ssh.Signer, key ssh.PublicKey, principal string) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{
		Key: key, CertType: ssh.HostCert, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostKeys(t *testing.T) {
	key, other, ca := newSigner(t).PublicKey(), newECDSA(t).PublicKey(), newSigner(t)
	caLine := "@cert-authority *.example " + string(ssh.MarshalAuthorizedKey(ca.PublicKey()))
	hashed := xknownhosts.HashHostname(knownhosts.Normalize(testAddr)) + " " + string(ssh.MarshalAuthorizedKey(key))
	unknown, changed := HostKeyUnknown, HostKeyChanged
	revoked, certificate := HostKeyRevoked, HostKeyCertificate
	tests := map[string]struct {
		file  string
		shown ssh.PublicKey
		want  *HostKeyProblem // nil: trusted
	}{
		"known":                     {lineFor(key), key, nil},
		"empty":                     {"", key, &unknown},
		"another host":              {strings.Replace(lineFor(key), "host.", "other.", 1), key, &unknown},
		"another port":              {strings.Replace(lineFor(key), "2222", "2223", 1), key, &unknown},
		"changed":                   {lineFor(newSigner(t).PublicKey()), key, &changed},
		"changed type":              {lineFor(other), key, &changed},
		"two types":                 {lineFor(other) + "\n" + lineFor(key), key, nil},
		"revoked":                   {lineFor(key) + "\n@revoked * " + string(ssh.MarshalAuthorizedKey(key)), key, &revoked},
		"hashed":                    {hashed, key, nil},
		"hashed, changed":           {hashed, other, &changed},
		"wildcard":                  {"*.example " + string(ssh.MarshalAuthorizedKey(key)), key, nil},
		"malformed line before":     {"this is no line\n" + lineFor(key), key, nil},
		"unknown key type before":   {"host.example ssh-future AAAA\n" + lineFor(key), key, nil},
		"authority":                 {caLine, hostCert(t, ca, key, "host.example"), nil},
		"authority, other host":     {caLine, hostCert(t, ca, key, "evil.example"), &certificate},
		"authority, unknown":        {caLine, hostCert(t, newSigner(t), key, "host.example"), &certificate},
		"authority, plain key":      {caLine, key, &unknown},
		"authority, revoked":        {caLine + "@revoked * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey())), hostCert(t, ca, key, "host.example"), &revoked},
		"authority, key is revoked": {caLine + "@revoked * " + string(ssh.MarshalAuthorizedKey(key)), hostCert(t, ca, key, "host.example"), &revoked},
		"CRLF":                      {strings.ReplaceAll("# x\n\n"+lineFor(key)+"\n", "\n", "\r\n"), key, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, "known_hosts", tt.file, 0o600)
			err := show(t, &HostKeys{Files: []string{file}}, tt.shown)
			if tt.want == nil {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			e, ok := errors.AsType[*HostKeyError](err)
			if !ok || e.Problem != *tt.want {
				t.Fatalf("got %v, want problem %d", err, *tt.want)
			}
			if e.Offered != Fingerprint(tt.shown) || e.Host != "host.example" || e.Port != "2222" || e.File != file {
				t.Errorf("%+v", e)
			}
			if (e.Problem == HostKeyChanged || e.Problem == HostKeyRevoked) && (len(e.Known) == 0 || e.Known[0].File != file || e.Known[0].Line == 0) {
				t.Errorf("known: %+v", e.Known)
			}
		})
	}
}

// TestKnownLineKeepsItsNumber: the cleaned copy of a file with a bad line must
// not show in what the person is told.
func TestKnownLineKeepsItsNumber(t *testing.T) {
	file := writeFile(t, "known_hosts", "# c\nbad\n\n"+lineFor(newSigner(t).PublicKey())+"\n", 0o600)
	var warnings []string
	h := &HostKeys{Files: []string{file}, Warn: func(text string) { warnings = append(warnings, text) }}
	for range 2 {
		err := show(t, h, newSigner(t).PublicKey())
		e, ok := errors.AsType[*HostKeyError](err)
		if !ok || len(e.Known) != 1 || e.Known[0].File != file || e.Known[0].Line != 4 {
			t.Errorf("got %v", err)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], file+":2") {
		t.Errorf("warnings: %q", warnings)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "xfer-known-hosts-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestAlgorithms: the server is asked for the key that we can check, never for
// an RSA signature with SHA-1, and for certificates only with an authority.
func TestAlgorithms(t *testing.T) {
	ed, ec, ca := newSigner(t).PublicKey(), newECDSA(t).PublicKey(), newSigner(t).PublicKey()
	tests := map[string]struct {
		file  string
		first string
	}{
		"ed25519":   {lineFor(ed), ssh.KeyAlgoED25519},
		"ecdsa":     {lineFor(ec), ssh.KeyAlgoECDSA256},
		"authority": {"@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca)), ssh.CertAlgoED25519v01},
	}
	for name, tt := range tests {
		var c ssh.ClientConfig
		h := &HostKeys{Files: []string{writeFile(t, "known_hosts", tt.file, 0o600)}}
		if err := h.Configure(t.Context(), &c, testAddr, nil); err != nil {
			t.Fatal(err)
		}
		if c.HostKeyAlgorithms[0] != tt.first {
			t.Errorf("%s: first is %s, want %s", name, c.HostKeyAlgorithms[0], tt.first)
		}
		if slices.Contains(c.HostKeyAlgorithms, ssh.KeyAlgoRSA) || !slices.Contains(c.HostKeyAlgorithms, ssh.KeyAlgoRSASHA256) {
			t.Errorf("%s: %q", name, c.HostKeyAlgorithms)
		}
		certs := slices.ContainsFunc(c.HostKeyAlgorithms, func(a string) bool { return strings.Contains(a, "cert") })
		if certs != (name == "authority") {
			t.Errorf("%s: certificates asked for: %v", name, certs)
		}
	}
}

func TestAcceptNew(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".ssh", "known_hosts")
	key := newSigner(t).PublicKey()
	h := &HostKeys{Files: []string{file, writeFile(t, "system", "", 0o644)}, Unknown: AcceptNew}
	for range 2 {
		if err := show(t, h, key); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("file: %q, %v", text, err)
	}
	if err := show(t, h, newSigner(t).PublicKey()); err == nil {
		t.Error("a changed key was accepted")
	}
	needShell(t)
	for path, want := range map[string]os.FileMode{filepath.Dir(file): 0o700, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if out, err := exec.Command("ssh-keygen", "-F", "[host.example]:2222", "-f", file).CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return
		}
		t.Errorf("ssh-keygen -F: %v\n%s", err, out)
	}
}

func TestAcceptNewHashed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	h := &HostKeys{Files: []string{file}, Unknown: AcceptNew, Hash: true}
	key := newECDSA(t).PublicKey()
	if err := show(t, h, key); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "|1|") {
		t.Errorf("%q, %v", text, err)
	}
	if err := show(t, &HostKeys{Files: []string{file}}, key); err != nil {
		t.Errorf("the hashed entry is not found: %v", err)
	}
}

func TestAcceptNewAfterAMissingLineBreak(t *testing.T) {
	first := newSigner(t).PublicKey()
	file := writeFile(t, "known_hosts", strings.Replace(lineFor(first), "host.", "other.", 1), 0o600)
	key := newSigner(t).PublicKey()
	h := &HostKeys{Files: []string{file}, Unknown: AcceptNew}
	if err := show(t, h, key); err != nil {
		t.Fatal(err)
	}
	h.Unknown = Refuse
	if err := show(t, h, key); err != nil {
		t.Errorf("not found again: %v", err)
	}
}

func TestAcceptNewWhereNothingCanBeWritten(t *testing.T) {
	needShell(t) // symbolic links
	dangling := filepath.Join(t.TempDir(), "ssh")
	if err := os.Symlink("nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	var warned string
	h := &HostKeys{
		Files: []string{filepath.Join(dangling, "known_hosts")}, Unknown: AcceptNew,
		Warn: func(text string) { warned = text },
	}
	if err := show(t, h, newSigner(t).PublicKey()); err != nil || !strings.Contains(warned, "written down") {
		t.Errorf("%v, warned %q", err, warned)
	}
}

func TestAsk(t *testing.T) {
	key := newSigner(t).PublicKey()
	for _, yes := range []bool{true, false} {
		p := &person{yes: yes}
		h := &HostKeys{Files: []string{filepath.Join(t.TempDir(), "known_hosts")}, Unknown: Ask, Prompter: p}
		var wg sync.WaitGroup
		for range 4 { // four connections at once, one question
			wg.Go(func() {
				if err := show(t, h, key); (err == nil) != yes {
					t.Errorf("yes=%v: %v", yes, err)
				}
			})
		}
		wg.Wait()
		if yes && len(p.asked) != 1 {
			t.Errorf("asked %d times", len(p.asked))
		}
		if len(p.asked) == 0 || !strings.Contains(p.asked[0], ssh.FingerprintSHA256(key)) || !strings.Contains(p.asked[0], "[host.example]:2222") {
			t.Errorf("asked %q", p.asked)
		}
	}
	h := &HostKeys{Files: []string{filepath.Join(t.TempDir(), "known_hosts")}, Unknown: Ask}
	if e, ok := errors.AsType[*HostKeyError](show(t, h, key)); !ok || e.Problem != HostKeyUnknown {
		t.Error("accepted with nobody to ask")
	}
}

func TestUnreadableKnownHosts(t *testing.T) {
	err := show(t, &HostKeys{Files: []string{t.TempDir()}}, newSigner(t).PublicKey())
	if _, ok := errors.AsType[*KnownHostsError](err); !ok {
		t.Errorf("got %v, want a KnownHostsError", err)
	}
}

func FuzzKnownHosts(f *testing.F) {
	f.Add("host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ9jJm0cCmYw0Hk0m0d5fQbR7c5oJvXb8m3m1r8a0v2z c\n")
	f.Add("@revoked\t* ssh-rsa AAAA\r\n|1|a|b ssh-rsa AAAA\n[::1 ssh-rsa A\n!,!x a b\n@cert-authority @revoked x y z")
	f.Add(strings.Repeat("x", 70000))
	f.Fuzz(func(t *testing.T, text string) {
		clean, bad := cleanKnownHosts([]byte(text))
		if got, want := strings.Count(string(clean), "\n"), strings.Count(text, "\n"); got != want {
			t.Errorf("%d lines became %d", want, got)
		}
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, clean, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := knownhosts.NewDB(file); err != nil {
			t.Errorf("the library refuses what was cleaned (bad: %v): %v\n%q", bad, err, clean)
		}
	})
}

func ExampleHostKeyError() {
	err := &HostKeyError{
		Problem: HostKeyChanged, Host: "::1", Port: "2222", Offered: "ED25519 SHA256:new",
		Known: []KnownKey{{"RSA SHA256:old", "/home/a/.ssh/known_hosts", 3}},
	}
	fmt.Println(err.Name())
	fmt.Println(err)
	// Output:
	// [::1]:2222
	// the server shows the key ED25519 SHA256:new, but known is RSA SHA256:old (/home/a/.ssh/known_hosts:3)
}
