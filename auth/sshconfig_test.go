package auth

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshConfig writes a configuration; the names of further files stand before
// their texts.
func sshConfig(t *testing.T, text string, more ...string) (c *SSHConfig, warnings *[]string) {
	t.Helper()
	home := t.TempDir()
	dir := filepath.Join(home, ".ssh")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(more); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, more[i]), []byte(more[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	warnings = &[]string{}
	return &SSHConfig{
		Files: []string{file}, Home: home, User: "me", Warn: func(text string) { *warnings = append(*warnings, text) },
	}, warnings
}

func TestSSHConfig(t *testing.T) {
	t.Setenv("SSHTEST", "from-env")
	tests := map[string]struct {
		config     string
		more       []string
		host, user string
		port       int
		want       SSHHost
		warns      string
	}{
		"nothing said": {host: "web", want: SSHHost{HostName: "web"}},
		"an alias": {
			config: "Host web\n  HostName www.example\n  Port 2222\n  User acme\n",
			host:   "web", want: SSHHost{HostName: "www.example", Port: 2222, User: "acme"},
		},
		"the first value counts": {
			config: "Port 1\nHost web\n Port 2\n User a\nHost *\n User b\n",
			host:   "web", want: SSHHost{HostName: "web", Port: 1, User: "a"},
		},
		"what is known comes first": {
			config: "Host web\n Port 2\n User a\n", host: "web", user: "me2", port: 3,
			want: SSHHost{HostName: "web", Port: 3, User: "me2"},
		},
		"files add up": {
			config: "Host web\n IdentityFile ~/.ssh/a\n CertificateFile %d/c\nHost *\n IdentityFile /b\n IdentitiesOnly yes\n",
			host:   "web",
			want:   SSHHost{HostName: "web", IdentityFiles: []string{"HOME/.ssh/a", "/b"}, CertificateFiles: []string{"HOME/c"}, IdentitiesOnly: true},
		},
		"patterns": {
			config: "Host w?b !wob\n Port 2\nHost *.example !no.example\n Port 3\n",
			host:   "web", want: SSHHost{HostName: "web", Port: 2},
		},
		"a pattern excludes": {
			config: "Host w?b !wob\n Port 2\n", host: "wob", want: SSHHost{HostName: "wob"},
		},
		"Host tells cases apart": {config: "Host Web\n Port 2\n", host: "web", want: SSHHost{HostName: "web"}},
		"? is one character":     {config: "Host web?\n Port 2\n", host: "web", want: SSHHost{HostName: "web"}},
		"case, quotes, equals, comments": {
			config: "# no\nhOsT = \"Web\" # no\n\tPORT=2 # no\n UserKnownHostsFile \"/a b\" /c\n",
			host:   "Web", want: SSHHost{HostName: "web", Port: 2, UserKnownHosts: []string{"/a b", "/c"}},
		},
		"Match host sees HostName, originalhost does not": {
			config: "Host web\n HostName www.example\nMatch host www.*\n Port 2\nMatch originalhost www.*\n User no\n",
			host:   "web", want: SSHHost{HostName: "www.example", Port: 2},
		},
		"all criteria of a Match have to match": {
			config: "Match host web user bob\n Port 2\nMatch host web,mail user me localuser me\n Port 3\n",
			host:   "web", want: SSHHost{HostName: "web", Port: 3},
		},
		"Match user sees the user of the URL": {
			config: "Match user bob\n Port 2\n", host: "web", user: "bob", want: SSHHost{HostName: "web", User: "bob", Port: 2},
		},
		"Match negated": {
			config: "Match !host web\n Port 2\nMatch all\n Port 3\n", host: "web", want: SSHHost{HostName: "web", Port: 3},
		},
		"Match final comes last": {
			config: "Match final host www.example\n Port 2\nHost web\n HostName www.example\n User a\nMatch final\n User b\n",
			host:   "web", want: SSHHost{HostName: "www.example", Port: 2, User: "a"},
		},
		"Match exec is left out, the rest is not": {
			config: "Match exec true\n Port 2\nHost *\n Port 3\n", host: "web",
			want: SSHHost{HostName: "web", Port: 3}, warns: "config:1: the criterion exec of Match is not supported; the block is left out",
		},
		"Include": {
			config: "Host web\n Include sub*\nHost *\n Port 9\n",
			more:   []string{"sub1", "Port 2\n", "sub2", "Host other\n User no\nHost web\n User a\n"},
			host:   "web", want: SSHHost{HostName: "web", Port: 2, User: "a"},
		},
		"Include in a block that does not match": {
			config: "Host other\n Include sub\n", more: []string{"sub", "Host web\n Port 2\n"},
			host: "web", want: SSHHost{HostName: "web"},
		},
		"jump hosts": {
			config: "Host web\n ProxyJump a@one:22,two\n ProxyCommand no %h\n", host: "web",
			want: SSHHost{HostName: "web", ProxyJump: []string{"a@one:22", "two"}},
		},
		"a command": {
			config: "Host web\n ProxyCommand nc -X 5 %h %p # %r%%\n ProxyJump no\n HostName www.example\n Port 7\n", host: "web",
			want: SSHHost{HostName: "www.example", Port: 7, ProxyCommand: "nc -X 5 www.example 7 # me%"},
		},
		"none turns off": {
			config: "Host web\n ProxyJump none\n ProxyCommand none\n IdentityFile none\n UserKnownHostsFile none\n IdentityAgent none\nHost *\n ProxyJump bastion\n",
			host:   "web", want: SSHHost{HostName: "web", UserKnownHosts: []string{os.DevNull}, IdentityAgent: "none"},
		},
		"waits": {
			config: "ConnectTimeout 7\nServerAliveInterval 15\nServerAliveCountMax 2\n", host: "web",
			want: SSHHost{HostName: "web", ConnectTimeout: 7 * time.Second, ServerAliveInterval: 15 * time.Second, ServerAliveCountMax: 2},
		},
		"trust": {
			config: "StrictHostKeyChecking off\nHostKeyAlias x\nHashKnownHosts yes\nGlobalKnownHostsFile /g\n", host: "web",
			want: SSHHost{HostName: "web", StrictHostKeyChecking: "no", HostKeyAlias: "x", HashKnownHosts: true, GlobalKnownHosts: []string{"/g"}},
		},
		"algorithms and old names": {
			config: "Ciphers a,b\nMACs ^c\nKexAlgorithms +d\nHostKeyAlgorithms -e\nPubkeyAcceptedKeyTypes f\n", host: "web",
			want: SSHHost{HostName: "web", Ciphers: "a,b", MACs: "^c", KexAlgorithms: "+d", HostKeyAlgorithms: "-e", PubkeyAcceptedAlgorithms: "f"},
		},
		"variables": {
			config: "IdentityAgent ${SSHTEST}/agent\nIdentityFile ${SSHTEST}/%n-%i\n", host: "web",
			want: SSHHost{HostName: "web", IdentityAgent: "from-env/agent", IdentityFiles: []string{"from-env/web-" + strconv.Itoa(os.Getuid())}},
		},
		"keys off": {config: "PubkeyAuthentication no\n", host: "web", want: SSHHost{HostName: "web", NoKeys: true}},
		"what is not supported is said": {
			config: "KnownHostsCommand /bin/x\nCompression yes\nRevokedHostKeys none\n", host: "web",
			want: SSHHost{HostName: "web"}, warns: "knownhostscommand is set for web",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, warnings := sshConfig(t, tt.config, tt.more...)
			got, err := c.Lookup(tt.host, tt.user, tt.port)
			if err != nil {
				t.Fatal(err)
			}
			for _, list := range []*[]string{&tt.want.IdentityFiles, &tt.want.CertificateFiles} {
				for i, f := range *list {
					(*list)[i] = strings.Replace(f, "HOME", c.Home, 1)
				}
			}
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", *got, tt.want)
			}
			if all := strings.Join(*warnings, "\n"); !strings.Contains(all, tt.warns) || (tt.warns == "") != (all == "") {
				t.Errorf("warned of %q, want %q", all, tt.warns)
			}
		})
	}
}

func TestSSHConfigErrors(t *testing.T) {
	for text, want := range map[string]string{
		"Port\n":                                "config:1: port needs a value",
		"Host web\n IdentityFile \"/a\n":        "config:2: a quote is not closed",
		"Port many\n":                           "port must be a number from 0 to 65535",
		"StrictHostKeyChecking perhaps\n":       "StrictHostKeyChecking must be",
		"Include config\n":                      "too many levels of Include",
		"Host web\nServerAliveInterval -3\nX 1": "serveraliveinterval must be",
	} {
		c, _ := sshConfig(t, text)
		if _, err := c.Lookup("web", "", 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	c, _ := sshConfig(t, "ProxyCommand evil\n")
	if err := os.Chmod(c.Files[0], 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lookup("web", "", 0); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a file that others can write: %v", err)
	}
	c.Files = []string{"/nonexistent/config"}
	if h, err := c.Lookup("web", "", 0); err != nil || h.HostName != "web" {
		t.Errorf("a missing file: %v, %v", h, err)
	}
}

// TestProxyCommandGetsWords: what a URL says is never read by the shell that runs a
// ProxyCommand.
func TestProxyCommandGetsWords(t *testing.T) {
	for _, tt := range []struct {
		command, host, user string
		runs                bool
	}{
		{"nc %h %p", "web.example", "", true},
		{"nc %h %p", "2001:db8::1%eth0", "", true},
		{"nc %h %p", "$(touch${ifs}x)", "", false},
		{"nc %n %p", "a;b", "", false},
		{"nc %h %p", "-oProxy", "", false},
		{"nc %h %p", "web", "`touch x`", true}, // it does not ask for the user
		{"nc -l %r %h", "web", "$(touch x)", false},
		{"nc -l %r %h", "web", `DOMAIN\acme`, true},
		{"nc -l %r %h", "web", `acme\`, false},
		{"nc -l %r %h", "web", "a b", false},
	} {
		c, _ := sshConfig(t, "ProxyCommand "+tt.command+"\n")
		h, err := c.Lookup(tt.host, tt.user, 0)
		if (err == nil) != tt.runs {
			t.Errorf("%+v: %+v, %v", tt, h, err)
		}
	}
}

// TestSSHConfigIsOpenSSHs compares with what the ssh of this machine makes of the
// same files.
func TestSSHConfigIsOpenSSHs(t *testing.T) {
	if os.Getenv("XFER_REAL_SERVERS") == "" {
		t.Skip("needs OpenSSH; set XFER_REAL_SERVERS=1")
	}
	const text = `
Host web mail !nomail
  HostName %h.example
  User acme
Match host *.example !originalhost mail
  Port 2222
Match user acme host web.example
  ProxyJump a@one:2022,two
Match user other
  Port 9
Match localuser "*" host "mail*,x*"
  ConnectTimeout 7
Include sub*
Match final host web.example
  ServerAliveInterval 3
Host *
  IdentitiesOnly yes
  StrictHostKeyChecking accept-new
  ProxyCommand nc %h %p
  ServerAliveInterval 9
  HostKeyAlias "alias"
  HashKnownHosts = yes
`
	c, _ := sshConfig(t, text, "sub1", "Host ma??\n  Port 4\n")
	// ssh takes the home of the password file, and relative files from there.
	body := strings.Replace(text, "Include sub*", "Include "+filepath.Join(c.Home, ".ssh", "sub*"), 1)
	if err := os.WriteFile(c.Files[0], []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"web", "mail", "nomail", "MAIL", "x.example", "plain"} {
		for _, user := range []string{"", "other", "acme"} {
			args := []string{"-G", "-F", c.Files[0]}
			if user != "" {
				args = append(args, "-l", user)
			}
			out, err := exec.Command("ssh", append(args, host)...).Output()
			if err != nil {
				t.Fatal(err)
			}
			ssh := map[string]string{}
			for line := range strings.Lines(string(out)) {
				key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
				ssh[key] = value
			}
			h, err := c.Lookup(host, user, 0)
			if err != nil {
				t.Fatal(err)
			}
			command := strings.NewReplacer("%h", h.HostName, "%p", ssh["port"]).Replace(ssh["proxycommand"])
			got := []string{
				h.HostName, strconv.Itoa(cmp.Or(h.Port, 22)), strings.Join(h.ProxyJump, ","), h.ProxyCommand,
				strconv.Itoa(int(h.ServerAliveInterval.Seconds())), h.StrictHostKeyChecking, h.HostKeyAlias,
			}
			want := []string{
				ssh["hostname"], ssh["port"], ssh["proxyjump"], command,
				ssh["serveraliveinterval"], ssh["stricthostkeychecking"], ssh["hostkeyalias"],
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s@%s:\ngot  %q\nwant %q", user, host, got, want)
			}
		}
	}
}

func TestAlgorithmLists(t *testing.T) {
	safe, outdated := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	tests := map[string]struct {
		ciphers string
		legacy  bool
		want    []string
	}{
		"default":         {"", false, safe.Ciphers},
		"legacy":          {"", true, slices.Concat(safe.Ciphers, outdated.Ciphers)},
		"a list":          {"aes256-ctr,unknown,aes128-gcm@openssh.com", false, []string{"aes256-ctr", "aes128-gcm@openssh.com"}},
		"appended":        {"+aes128-cbc", false, append(slices.Clone(safe.Ciphers), "aes128-cbc")},
		"appended twice":  {"+aes128-ctr", false, safe.Ciphers},
		"removed":         {"-*gcm*,chacha*", false, []string{"aes128-ctr", "aes192-ctr", "aes256-ctr"}},
		"in front":        {"^aes256-ctr", false, append([]string{"aes256-ctr"}, slices.DeleteFunc(slices.Clone(safe.Ciphers), func(s string) bool { return s == "aes256-ctr" })...)},
		"outdated, named": {"3des-cbc", false, []string{"3des-cbc"}},
	}
	for name, tt := range tests {
		a, err := Algorithms(&SSHHost{Ciphers: tt.ciphers}, tt.legacy)
		if err != nil || !slices.Equal(a.Ciphers, tt.want) {
			t.Errorf("%s: %q, %v\nwant %q", name, a.Ciphers, err, tt.want)
		}
	}
	if _, err := Algorithms(&SSHHost{KexAlgorithms: "sntrup761x25519-sha512@openssh.com"}, false); err == nil {
		t.Error("a list of which nothing is known is no error")
	}
	a, err := Algorithms(&SSHHost{KexAlgorithms: "curve25519-sha256@libssh.org"}, false)
	if err != nil || !slices.Equal(a.KeyExchanges, []string{ssh.KeyExchangeCurve25519}) {
		t.Errorf("the alias of curve25519: %q, %v", a.KeyExchanges, err)
	}
	a, err = Algorithms(nil, false)
	if err != nil || slices.Contains(a.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1) || slices.Contains(a.HostKeys, ssh.KeyAlgoRSA) || slices.Contains(a.PublicKeyAuths, ssh.KeyAlgoRSA) {
		t.Errorf("SHA-1 is among the defaults: %+v, %v", a, err)
	}
}
