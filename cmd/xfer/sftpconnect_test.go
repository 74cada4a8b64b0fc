package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// sshApp is a program whose person has these files in ~/.ssh and this configuration.
func sshApp(t *testing.T, config string, files map[string]string) *app {
	t.Helper()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(home, "xfer.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", "/agent")
	env := map[string]string{"HOME": home, "XFER_PASSWORD": "hunter2"}
	a := newApp(system{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: func(k string) string { return env[k] }})
	a.flags.config = path
	return a
}

func sshOptionsOf(t *testing.T, a *app, arg string) sftp.Options {
	t.Helper()
	p, err := a.place(arg)
	if err != nil {
		t.Fatal(err)
	}
	return p.ssh
}

const sshConfigText = `
Host web
  HostName www.example
  Port 2222
  User acme
  IdentityFile ~/.ssh/id_web
  IdentityFile ~/.ssh/id_missing
  IdentityFile ~/.ssh/id_token
  IdentitiesOnly yes
  ProxyJump one@first:22,second
  StrictHostKeyChecking accept-new
  HostKeyAlias web-key
  ConnectTimeout 7
  ServerAliveInterval 5
Host second
  HostName second.example
  User two
  ProxyJump ignored
Host first
  ProxyJump zero
`

// TestOpenSSHsConfigurationCounts: all that it says reaches the login.
func TestOpenSSHsConfigurationCounts(t *testing.T) {
	a := sshApp(t, "", map[string]string{"config": sshConfigText, "id_web": "", "id_token.pub": ""})
	o := sshOptionsOf(t, a, "sftp://web/in")
	if o.Address != "www.example:2222" || o.Login.User != "acme" || o.KnownAs != "web-key" {
		t.Errorf("address %s, user %s, known as %s", o.Address, o.Login.User, o.KnownAs)
	}
	dir := filepath.Join(a.home(), ".ssh")
	if want := []string{filepath.Join(dir, "id_web"), filepath.Join(dir, "id_token.pub")}; !slices.Equal(o.Login.Keys.Files, want) {
		t.Errorf("keys %q, want %q", o.Login.Keys.Files, want)
	}
	if !o.Login.Keys.IdentitiesOnly || o.Login.Keys.Agent != "/agent" || o.HostKeys.Unknown != auth.AcceptNew {
		t.Errorf("identities only %v, agent %q, unknown %v", o.Login.Keys.IdentitiesOnly, o.Login.Keys.Agent, o.HostKeys.Unknown)
	}
	if o.Timeouts.Connect != 7*time.Second || o.AliveInterval != 5*time.Second || o.AliveLimit != 15*time.Second {
		t.Errorf("connect %v, alive %v, %v", o.Timeouts.Connect, o.AliveInterval, o.AliveLimit)
	}
	var chain []string
	for via := o.Jump; via != nil; via = via.Jump {
		chain = append(chain, via.Login.User+"@"+via.Address)
		if !via.Login.Password.Given.Empty() {
			t.Errorf("%s would get the password of the server", via.Address)
		}
	}
	if want := []string{"two@second.example:22", "one@first:22", localUser() + "@zero:22"}; !slices.Equal(chain, want) {
		t.Errorf("by way of %q, want %q", chain, want)
	}
}

// TestXfersOwnWordComesFirst: before OpenSSH's configuration.
func TestXfersOwnWordComesFirst(t *testing.T) {
	config := "[defaults]\nkeys = [\"/k\"]\ntimeout = \"9s\"\nhost_keys = \"strict\"\nknown_hosts = \"/kh\"\nagent = false\n"
	a := sshApp(t, config, map[string]string{"config": sshConfigText})
	o := sshOptionsOf(t, a, "sftp://me@web:22/in")
	if o.Address != "www.example:22" || o.Login.User != "me" {
		t.Errorf("address %s, user %s", o.Address, o.Login.User)
	}
	if !slices.Equal(o.Login.Keys.Files, []string{"/k"}) || o.Login.Keys.Agent != "" {
		t.Errorf("keys %q, agent %q", o.Login.Keys.Files, o.Login.Keys.Agent)
	}
	if o.HostKeys.Unknown != auth.Refuse || !slices.Equal(o.HostKeys.Files, []string{"/kh"}) || o.Timeouts.Connect != 9*time.Second {
		t.Errorf("unknown %v, files %q, connect %v", o.HostKeys.Unknown, o.HostKeys.Files, o.Timeouts.Connect)
	}
	off := sshApp(t, "[defaults]\nssh_config = \"none\"\n", map[string]string{"config": sshConfigText})
	if o := sshOptionsOf(t, off, "sftp://web/in"); o.Address != "web:22" || o.Jump != nil {
		t.Errorf("turned off, and still %s by way of %v", o.Address, o.Jump)
	}
}

func TestSiteSwitches(t *testing.T) {
	a := sshApp(t, "[site.old]\nprotocol = \"sftp\"\nhost = \"h\"\nlegacy = true\nshell = true\nforward_agent = true\nprobe = \"write\"\n", nil)
	o := sshOptionsOf(t, a, "old:")
	if !slices.Contains(o.Algorithms.Ciphers, "aes128-cbc") || !slices.Contains(o.Login.Signatures, "ssh-rsa") || !slices.Contains(o.HostKeys.Algorithms, "ssh-rsa") {
		t.Errorf("legacy: %+v, %q", o.Algorithms, o.Login.Signatures)
	}
	if !o.Shell || o.ForwardAgent != "/agent" || o.Probe != sftp.ProbeWrite {
		t.Errorf("shell %v, agent %q, probe %v", o.Shell, o.ForwardAgent, o.Probe)
	}
	if o := sshOptionsOf(t, a, "sftp://h/"); slices.Contains(o.Algorithms.Ciphers, "aes128-cbc") || o.Shell || o.ForwardAgent != "" {
		t.Error("another server gets the switches of the site")
	}
}

func TestJumpHostsInACircle(t *testing.T) {
	a := sshApp(t, "", map[string]string{"config": "Host *\n  ProxyJump a\n"})
	if _, err := a.place("sftp://web/in"); err == nil || !strings.Contains(err.Error(), "circle") {
		t.Errorf("got %v", err)
	}
}

func TestSplitHop(t *testing.T) {
	for spec, want := range map[string]string{
		"h": " h 0", "u@h:22": "u h 22", "ssh://u@h:22": "u h 22", "u@[::1]:22": "u ::1 22", "[::1]": " ::1 0", " h ": " h 0",
	} {
		user, host, port, err := splitHop(spec)
		if got := strings.Join([]string{user, host, strconv.Itoa(port)}, " "); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", spec, got, err, want)
		}
	}
	for _, spec := range []string{"", "u@", "h:0", "h:x"} {
		if _, _, _, err := splitHop(spec); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
}

func TestSizeOf(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int64{file: 5, dir: 0, filepath.Join(dir, "none"): 0} {
		if got := sizeOf(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}
