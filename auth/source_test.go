package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"
)

// person is a Prompter with prepared answers.
type person struct {
	secrets []string
	lines   []string
	yes     bool
	asked   []string
}

func (p *person) Secret(_ context.Context, q string) (Secret, error) {
	p.asked = append(p.asked, q)
	if len(p.secrets) == 0 {
		return Secret{}, errors.New("the person left")
	}
	s := p.secrets[0]
	p.secrets = p.secrets[1:]
	return NewSecret(s), nil
}

func (p *person) Line(_ context.Context, q string) (string, error) {
	p.asked = append(p.asked, q)
	if len(p.lines) == 0 {
		return "", errors.New("the person left")
	}
	l := p.lines[0]
	p.lines = p.lines[1:]
	return l, nil
}

func (p *person) Confirm(_ context.Context, q string) (bool, error) {
	p.asked = append(p.asked, q)
	return p.yes, nil
}

func writeFile(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func needShell(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
}

// TestSourceOrder takes the places away one by one: each must be reached only
// when all before it are empty.
func TestSourceOrder(t *testing.T) {
	needShell(t)
	keyring.MockInit()
	if err := keyring.Set(KeyringService, "acme@h", "from-keyring"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XFER_TEST_PW", "from-env")
	t.Setenv("NETRC", writeFile(t, "netrc", "machine h login acme password from-netrc\n", 0o600))
	s := &Source{
		Given:   NewSecret("from-given"),
		Env:     "XFER_TEST_PW",
		File:    writeFile(t, "pw", "from-file\n", 0o600),
		Command: []string{"sh", "-c", "echo from-command; echo second line"},
		Account: "acme@h", NetrcHost: "h", NetrcUser: "acme",
		Question: "Password?", Prompter: &person{secrets: []string{"from-prompt"}},
	}
	steps := []struct {
		want   string
		remove func()
	}{
		{"from-given", func() { s.Given = Secret{} }},
		{"from-env", func() { t.Setenv("XFER_TEST_PW", "") }},
		{"from-file", func() { s.File = "" }},
		{"from-command", func() { s.Command = nil }},
		{"from-keyring", func() { s.Account = "nobody@h" }},
		{"from-netrc", func() { s.NetrcHost = "other" }},
		{"from-prompt", func() { s.Prompter = nil }},
	}
	for _, step := range steps {
		got, origin, err := s.Get(t.Context())
		if err != nil || got.Reveal() != step.want || origin == "" {
			t.Errorf("got %q from %q, %v; want %q", got.Reveal(), origin, err, step.want)
		}
		s.Forget()
		step.remove()
	}
	if _, _, err := s.Get(t.Context()); !errors.Is(err, ErrNoSecret) {
		t.Errorf("with nothing left: %v, want ErrNoSecret", err)
	}
}

func TestSourceAsksOnce(t *testing.T) {
	p := &person{secrets: []string{"once"}}
	s := &Source{Question: "Password?", Prompter: p}
	for range 3 {
		if got, _, err := s.Get(t.Context()); err != nil || got.Reveal() != "once" {
			t.Fatalf("got %q, %v", got.Reveal(), err)
		}
	}
	if len(p.asked) != 1 {
		t.Errorf("asked %d times", len(p.asked))
	}
}

// TestSourceBroken: a named place that is broken ends the search, and no error
// gives the secret away.
func TestSourceBroken(t *testing.T) {
	needShell(t)
	const secret = "S3cret"
	tests := map[string]struct {
		source *Source
		want   string
	}{
		"readable by the group": {&Source{File: writeFile(t, "pw", secret, 0o640)}, "chmod 600"},
		"readable by others":    {&Source{File: writeFile(t, "pw", secret, 0o604)}, "chmod 600"},
		"missing file":          {&Source{File: filepath.Join(t.TempDir(), "none")}, "password_file"},
		"empty file":            {&Source{File: writeFile(t, "pw", "\n", 0o600)}, "empty"},
		"failing command":       {&Source{Command: []string{"sh", "-c", "echo " + secret + "; exit 3"}}, "exit status 3"},
		"missing command":       {&Source{Command: []string{"/nonexistent/pass"}}, "password_command"},
		"silent command":        {&Source{Command: []string{"true"}}, "printed nothing"},
		"no shell":              {&Source{Command: []string{"echo pw; true"}}, "password_command"},
		"the person leaves":     {&Source{Question: "?", Prompter: &person{}}, "prompt: the person left"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := tt.source
			if s.Prompter == nil {
				s.Question, s.Prompter = "?", &person{secrets: []string{"never"}}
			}
			got, _, err := s.Get(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v; want an error with %q", got.Reveal(), err, tt.want)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, got), secret) {
				t.Errorf("the secret is in %v", err)
			}
		})
	}
}

func TestSourceCommandIsCancelled(t *testing.T) {
	needShell(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	s := &Source{Command: []string{"sh", "-c", "sleep 60 & wait"}, Pause: func() func() {
		cancel(why)
		return func() {}
	}}
	if _, _, err := s.Get(ctx); !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
}

func TestSecretFileLineBreaks(t *testing.T) {
	for text, want := range map[string]string{
		"pw": "pw", "pw\n": "pw", "pw\r\n": "pw", " p w \n": " p w ", "pw\n\n": "pw", "pw\nuser: acme\n": "pw",
	} {
		s := &Source{File: writeFile(t, "pw", text, 0o600)}
		if got, _, err := s.Get(t.Context()); err != nil || got.Reveal() != want {
			t.Errorf("%q: got %q, %v; want %q", text, got.Reveal(), err, want)
		}
	}
}

func TestNetrc(t *testing.T) {
	const file = `
# comment with machine h password wrong
machine other login o password o1
machine h
	login acme password "quoted \"one\""   # curl
	account billing
machine h login bob password p#1
macdef init
machine h login carol password wrong

machine p password only-password
machine e login "" password ""
default login anonymous password me@here
machine after login a password after-default
`
	tests := []struct{ host, user, login, password, account string }{
		{"other", "", "o", "o1", ""},
		{"h", "", "acme", `quoted "one"`, "billing"},
		{"H", "bob", "bob", "p#1", ""},
		{"h", "carol", "anonymous", "me@here", ""},
		{"p", "whoever", "", "only-password", ""},
		{"nowhere", "anonymous", "anonymous", "me@here", ""},
		{"e", "", "", "", ""},
	}
	for _, tt := range tests {
		got, ok := findNetrc(file, tt.host, tt.user)
		if tt.user == "carol" {
			// The entry in the macro is none, and the default is another user's.
			if ok {
				t.Errorf("%s@%s: found %q", tt.user, tt.host, got.Login)
			}
			continue
		}
		if !ok || got.Login != tt.login || got.Password.Reveal() != tt.password || got.Account.Reveal() != tt.account {
			t.Errorf("%s@%s: got %v %q %q %q", tt.user, tt.host, ok, got.Login, got.Password.Reveal(), got.Account.Reveal())
		}
	}
	if got, ok := findNetrc("machine h login x", "nowhere", ""); ok {
		t.Errorf("found %+v for a host that is not there", got)
	}
}

func TestNetrcOthersCanRead(t *testing.T) {
	needShell(t)
	path := writeFile(t, "netrc", "machine h login acme password S3cret\n", 0o644)
	if _, _, err := LookupNetrc(path, "h", ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, ok, err := LookupNetrc(path, "elsewhere", ""); ok || err != nil {
		t.Errorf("another host: %v, %v; the file is no business of ours", ok, err)
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine h login acme password \"a\\\"b\" # x\nmacdef m\n\ndefault password p", "h", "acme")
	f.Add("machine", "", "")
	f.Add("\"", "h", "")
	f.Add("# no line break", "h", "")
	f.Fuzz(func(t *testing.T, text, host, user string) {
		entry, ok := findNetrc(text, host, user)
		if ok && user != "" && entry.Login != "" && entry.Login != user {
			t.Errorf("asked for %q, got %q", user, entry.Login)
		}
	})
}
