package main

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
)

// nobody is a person who is there and says nothing.
type nobody struct{ auth.Prompter }

func (nobody) Secret(context.Context, string) (auth.Secret, error) {
	return auth.NewSecret("typed"), nil
}

// TestProof: what can be closed is all that a login proves itself with, and
// nothing that a person can still type.
func TestProof(t *testing.T) {
	key := func(name string, seed byte) string {
		private := ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), seed))
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one, other := key("one", 1), key("other", 2)
	given := func(s string) *auth.Source { return &auth.Source{Given: auth.NewSecret(s), GivenBy: "test"} }
	keys := func(files ...string) *auth.Keys { return &auth.Keys{Files: files} }
	typed := &auth.Source{Prompter: nobody{}, Question: "?"}
	if _, _, err := typed.Get(t.Context()); err != nil {
		t.Fatal(err)
	}

	seen := map[string]string{}
	for name, c := range map[string]*credential{
		"password":               {user: "u", password: given("p")},
		"another password":       {user: "u", password: given("q")},
		"password and account":   {user: "u", password: given("p"), account: auth.NewSecret("a")},
		"key":                    {user: "u", keys: keys(one)},
		"another key":            {user: "u", keys: keys(other)},
		"two keys":               {user: "u", keys: keys(one, other)},
		"two keys, turned round": {user: "u", keys: keys(other, one)},
		"key and password":       {user: "u", keys: keys(one), password: given("p")},
	} {
		proof, err := c.proof(t.Context())
		if err != nil || proof == "" {
			t.Errorf("%s: %q %v", name, proof, err)
		}
		if same := seen[proof]; same != "" {
			t.Errorf("%s is taken for %s", name, same)
		}
		seen[proof] = name
	}
	for name, c := range map[string]*credential{
		"anonymous":                     {user: anonymous, password: given("p")},
		"nothing":                       {user: "u", password: &auth.Source{}},
		"a person who can be asked":     {user: "u", password: &auth.Source{Prompter: nobody{}}},
		"what a person typed":           {user: "u", password: typed},
		"keys, and a person besides":    {user: "u", keys: keys(one), password: &auth.Source{Prompter: nobody{}}},
		"keys, and what a person typed": {user: "u", keys: keys(one), password: typed},
	} {
		if proof, err := c.proof(t.Context()); err != nil || proof != "" {
			t.Errorf("%s can be closed: %v", name, err)
		}
	}
}

// TestRefusedBy: only a proof that the server itself saw and refused closes a login.
func TestRefusedBy(t *testing.T) {
	c := &credential{host: "h"}
	ftp := func(phase policy.Phase, op string, code int, text string) *policy.Fault {
		return &policy.Fault{Protocol: policy.FTP, Phase: phase, Op: op, Host: "h", Code: code, Text: text}
	}
	ssh := func(host string, cause policy.Cause, tried ...string) *policy.Fault {
		return &policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "auth", Host: host, Cause: cause, Err: &auth.LoginError{Tried: tried}}
	}
	for name, f := range map[string]*policy.Fault{
		"password":   ftp(policy.Auth, "PASS", 530, "Login incorrect."),
		"pure-ftpd":  ftp(policy.Auth, "PASS", 421, "Too many authentication failures"),
		"account":    ftp(policy.Auth, "ACCT", 530, "no"),
		"SSH":        ssh("h", policy.CauseSSHAuth, "password"),
		"SSH's keys": ssh("h", policy.CauseTooManyKeys, "publickey (9 keys)"),
	} {
		if !c.refusedBy(f) {
			t.Errorf("%s: %v does not close the login", name, f)
		}
	}
	for name, f := range map[string]*policy.Fault{
		"the name alone":      ftp(policy.Auth, "USER", 530, "Permission denied."),
		"too many sessions":   ftp(policy.Auth, "PASS", 530, "Sorry, the maximum number of clients (2) for this user are already connected."),
		"too many of us":      ftp(policy.Connect, "greeting", 421, "There are too many connections from your internet address."),
		"TLS is demanded":     ftp(policy.Auth, "PASS", 530, "Non-anonymous sessions must use encryption."),
		"later":               ftp(policy.Auth, "PASS", 421, "Service not available"),
		"logged out":          ftp(policy.Command, "STOR", 530, "Please login with USER and PASS."),
		"a jump host":         ssh("jump", policy.CauseSSHAuth, "password"),
		"nothing to show":     ssh("h", policy.CauseSSHAuth),
		"no passphrase":       ssh("h", policy.CausePassphrase, "publickey (1 key)"),
		"closed already":      {Protocol: policy.Local, Phase: policy.Auth, Op: "login", Host: "h", Cause: policy.CauseCredentialClosed},
		"no password":         {Protocol: policy.Local, Phase: policy.Auth, Op: "PASS", Host: "h", Cause: policy.CauseNoSecret},
		"the line went down":  {Protocol: policy.FTP, Phase: policy.Auth, Op: "PASS", Host: "h", Cause: policy.CauseReset},
		"an untrusted server": {Protocol: policy.TLS, Phase: policy.Connect, Op: "handshake", Host: "h", Cause: policy.CauseCertUntrusted},
	} {
		if c.refusedBy(f) {
			t.Errorf("%s: %v closes the login", name, f)
		}
	}
}
