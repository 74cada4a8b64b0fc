package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// server accepts SSH logins and notes what was sent.
type server struct {
	config *ssh.ServerConfig

	mu   sync.Mutex
	sent []string // "password:x", "publickey:ED25519", "answer:x"
	// repeatable: the login that succeeded can be made again without a person.
	repeatable bool
}

func (s *server) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, what)
}

func (s *server) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// allowPassword and the others add a method; then is what follows a success.
func (s *server) allowPassword(right string, then error) {
	s.config.PasswordCallback = s.password(right, then)
}

func (s *server) password(right string, then error) func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
	return func(_ ssh.ConnMetadata, pw []byte) (*ssh.Permissions, error) {
		s.note("password:" + string(pw))
		if string(pw) != right {
			return nil, errors.New("wrong")
		}
		return nil, then
	}
}

func (s *server) questions(then error, rounds ...question) func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
	return func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		for _, q := range rounds {
			answers, err := ask("", "", []string{q.text}, []bool{q.echo})
			if err != nil {
				return nil, err
			}
			s.note("answer:" + answers[0])
			if answers[0] != q.right {
				return nil, errors.New("wrong")
			}
		}
		return nil, then
	}
}

type question struct {
	text, right string
	echo        bool
}

func (s *server) publicKey(right ssh.PublicKey, then error) func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
	return func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.note("publickey:" + KeyType(key))
		if string(key.Marshal()) != string(right.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, then
	}
}

// handshake logs in once and returns the error of the login.
func (s *server) handshake(t *testing.T, l *Login) error {
	t.Helper()
	s.config.AddHostKey(newSigner(t))
	here, there := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, chans, reqs, err := ssh.NewServerConn(there, s.config)
		if err != nil {
			there.Close()
			return
		}
		go ssh.DiscardRequests(reqs)
		go func() {
			for c := range chans {
				c.Reject(ssh.Prohibited, "")
			}
		}()
		_ = conn.Wait()
	}()
	defer func() { here.Close(); <-done }()

	a := l.Begin(t.Context(), nil)
	defer a.Close()
	c := &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	a.Configure(c)
	conn, chans, reqs, err := ssh.NewClientConn(here, "h:22", c)
	if err != nil {
		if !a.Began() {
			t.Fatalf("the login was not reached: %v", err)
		}
		return a.Failure(err)
	}
	a.Succeeded()
	s.repeatable = a.Repeatable()
	go ssh.DiscardRequests(reqs)
	go func() {
		for range chans {
		}
	}()
	return conn.Close()
}

func tcpPair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return here, there
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keyOnDisk writes a private key and returns its path and public half.
func keyOnDisk(t *testing.T, name string, key crypto.PrivateKey, passphrase string) (string, ssh.PublicKey) {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, name, string(pem.EncodeToMemory(block)), 0o600), s.PublicKey()
}

func ed25519Key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func password(pw string) *Source { return &Source{Given: NewSecret(pw), GivenBy: "the test"} }

// TestPasswordIsSentOnce holds the rule that no credential is sent twice in one
// login, whatever the server offers.
func TestPasswordIsSentOnce(t *testing.T) {
	ask := question{text: "Password: ", right: "right"}
	tests := map[string]struct {
		setup func(*server)
		login Login
		sent  []string
		ok    bool
	}{
		"password, right": {
			func(s *server) { s.allowPassword("right", nil) },
			Login{Password: password("right")}, []string{"password:right"}, true,
		},
		"password, wrong": {
			func(s *server) { s.allowPassword("right", nil) },
			Login{Password: password("wrong"), Prompter: &person{secrets: []string{"right"}}}, []string{"password:wrong"}, false,
		},
		"both methods, wrong": {
			func(s *server) {
				s.allowPassword("right", nil)
				s.config.KeyboardInteractiveCallback = s.questions(nil, ask)
			},
			Login{Password: password("wrong"), Prompter: &person{secrets: []string{"right"}}}, []string{"answer:wrong"}, false,
		},
		"keyboard-interactive without a question, then password": {
			func(s *server) {
				s.allowPassword("right", nil)
				s.config.KeyboardInteractiveCallback = s.questions(errors.New("not set up"))
			},
			Login{Password: password("right")}, []string{"password:right"}, true,
		},
		"keyboard-interactive, typed": {
			func(s *server) { s.config.KeyboardInteractiveCallback = s.questions(nil, ask) },
			Login{Prompter: &person{secrets: []string{"right"}}}, []string{"answer:right"}, true,
		},
		"a second factor is put to the person": {
			func(s *server) {
				s.config.KeyboardInteractiveCallback = s.questions(nil, ask,
					question{text: "Verification code: ", right: "123456"},
					question{text: "Your first pet? ", right: "Rex", echo: true})
			},
			Login{Password: password("right"), Prompter: &person{secrets: []string{"123456"}, lines: []string{"Rex"}}},
			[]string{"answer:right", "answer:123456", "answer:Rex"}, true,
		},
		"a second factor with nobody to ask": {
			func(s *server) {
				s.config.KeyboardInteractiveCallback = s.questions(nil, ask, question{text: "Verification code: ", right: "123456"})
			},
			Login{Password: password("right")}, []string{"answer:right"}, false,
		},
		"the server wants the password again, after a partial success": {
			func(s *server) {
				s.allowPassword("right", &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
					KeyboardInteractiveCallback: s.questions(nil, ask),
				}})
			},
			Login{Password: password("right")}, []string{"password:right", "answer:right"}, true,
		},
		"no password where one is wanted": {
			func(s *server) { s.allowPassword("right", nil) },
			Login{Password: &Source{}}, nil, false,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &server{config: &ssh.ServerConfig{}}
			tt.setup(s)
			tt.login.User = "acme"
			err := s.handshake(t, &tt.login)
			if (err == nil) != tt.ok {
				t.Errorf("login: %v", err)
			}
			if !slices.Equal(s.noted(), tt.sent) {
				t.Errorf("the server saw %q, want %q", s.noted(), tt.sent)
			}
		})
	}
}

// TestRepeatable: a second login beside the first must not ask anybody.
func TestRepeatable(t *testing.T) {
	ask := question{text: "Password: ", right: "right"}
	someone := func() *person { return &person{secrets: []string{"right", "123456"}} }
	for name, tt := range map[string]struct {
		setup func(*server)
		login Login
		want  bool
	}{
		"password": {func(s *server) { s.allowPassword("right", nil) }, Login{Password: password("right")}, true},
		"password as an answer": {
			func(s *server) { s.config.KeyboardInteractiveCallback = s.questions(nil, ask) }, Login{Password: password("right")}, true,
		},
		"typed answer": {
			func(s *server) { s.config.KeyboardInteractiveCallback = s.questions(nil, ask) }, Login{Prompter: someone()}, false,
		},
		"second factor": {
			func(s *server) {
				s.config.KeyboardInteractiveCallback = s.questions(nil, ask, question{text: "Code: ", right: "123456"})
			},
			Login{Password: password("right"), Prompter: &person{secrets: []string{"123456"}}}, false,
		},
		"two proofs": {
			func(s *server) {
				s.allowPassword("right", &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
					KeyboardInteractiveCallback: s.questions(nil), // a push to the phone
				}})
			},
			Login{Password: password("right")}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{config: &ssh.ServerConfig{}}
			tt.setup(s)
			tt.login.User = "acme"
			if err := s.handshake(t, &tt.login); err != nil {
				t.Fatal(err)
			}
			if s.repeatable != tt.want {
				t.Errorf("repeatable: %v, want %v", s.repeatable, tt.want)
			}
		})
	}
	if (&Attempt{signed: ssh.KeyAlgoSKED25519}).Repeatable() {
		t.Error("a token wants to be touched")
	}
}

func TestTypedPasswordIsKept(t *testing.T) {
	p := &person{secrets: []string{"right"}}
	l := &Login{User: "acme", Password: &Source{}, Prompter: p}
	for range 2 {
		s := &server{config: &ssh.ServerConfig{}}
		s.config.KeyboardInteractiveCallback = s.questions(nil, question{text: "Password: ", right: "right"})
		if err := s.handshake(t, l); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.asked) != 1 {
		t.Errorf("asked %q", p.asked)
	}
}

func TestRefusedAnswerIsNotKept(t *testing.T) {
	l := &Login{User: "acme", Password: &Source{}, Prompter: &person{secrets: []string{"wrong"}}}
	s := &server{config: &ssh.ServerConfig{}}
	s.config.KeyboardInteractiveCallback = s.questions(nil, question{text: "Password: ", right: "right"})
	if err := s.handshake(t, l); err == nil {
		t.Fatal("a wrong answer was let in")
	}
	if _, origin, _ := l.Password.Stored(t.Context()); origin != "" {
		t.Errorf("kept from %s", origin)
	}
}

func TestLoginErrorSaysWhatWasTried(t *testing.T) {
	key, _ := keyOnDisk(t, "id", ed25519Key(t), "")
	s := &server{config: &ssh.ServerConfig{}}
	s.allowPassword("right", nil)
	s.config.PublicKeyCallback = s.publicKey(newSigner(t).PublicKey(), nil)
	err := s.handshake(t, &Login{User: "acme", Password: password("wrong"), Keys: &Keys{Files: []string{key}}})
	e, ok := errors.AsType[*LoginError](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if want := []string{"publickey (1 key)", "password"}; !slices.Equal(e.Tried, want) {
		t.Errorf("tried %q, want %q", e.Tried, want)
	}
	if want := []string{"password", "publickey"}; !slices.Equal(e.Accepts, want) {
		t.Errorf("accepts %q, want %q", e.Accepts, want)
	}
	if e.TooManyKeys || strings.Contains(e.Error(), "wrong") {
		t.Errorf("%+v", e)
	}
}

// TestUnansweredIsNotRefused: the server has refused nothing that it did not get.
func TestUnansweredIsNotRefused(t *testing.T) {
	key, _ := keyOnDisk(t, "id", ed25519Key(t), "")
	s := &server{config: &ssh.ServerConfig{}}
	s.config.PublicKeyCallback = s.publicKey(newSigner(t).PublicKey(), nil)
	s.config.KeyboardInteractiveCallback = s.questions(nil, question{text: "Code: ", right: "1", echo: true})
	for name, tt := range map[string]struct {
		keys *Keys
		want []string
	}{
		"a question": {nil, nil}, "a refused key and a question": {&Keys{Files: []string{key}}, []string{"publickey (1 key)"}},
	} {
		err := s.handshake(t, &Login{User: "acme", Password: password("x"), Keys: tt.keys})
		e, ok := errors.AsType[*LoginError](err)
		if !ok || !slices.Equal(e.Tried, tt.want) || !errors.Is(err, ErrNoSecret) {
			t.Errorf("%s: %v, refused: %q", name, err, e.Tried)
		}
	}
}

func TestServerWordsAreCleaned(t *testing.T) {
	p := &person{secrets: []string{"x"}}
	s := &server{config: &ssh.ServerConfig{}}
	s.config.KeyboardInteractiveCallback = s.questions(nil, question{text: "\x1b[2JPassword\u202e: ", right: "x"})
	if err := s.handshake(t, &Login{User: "acme", Prompter: p}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"?[2JPassword?"}; !slices.Equal(p.asked, want) {
		t.Errorf("asked %q, want %q", p.asked, want)
	}
}

func TestMultiStepKeys(t *testing.T) {
	first, firstPub := keyOnDisk(t, "a", ed25519Key(t), "")
	second, secondPub := keyOnDisk(t, "b", ed25519Key(t), "")
	s := &server{config: &ssh.ServerConfig{}}
	s.config.PublicKeyCallback = s.publicKey(firstPub, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
		PublicKeyCallback: s.publicKey(secondPub, nil),
	}})
	if err := s.handshake(t, &Login{User: "acme", Keys: &Keys{Files: []string{first, second}}}); err != nil {
		t.Error(err)
	}
}

func TestKeyKinds(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]struct {
		key        crypto.PrivateKey
		passphrase string
	}{
		"rsa": {rsaKey, ""}, "ecdsa": {ecdsaKey, ""}, "ed25519": {ed25519Key(t), ""},
		"rsa, encrypted": {rsaKey, "open sesame"},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			file, public := keyOnDisk(t, "id", kind.key, kind.passphrase)
			s := &server{config: &ssh.ServerConfig{}}
			s.config.PublicKeyCallback = s.publicKey(public, nil)
			k := &Keys{Files: []string{file}, Passphrase: NewSecret(kind.passphrase)}
			if err := s.handshake(t, &Login{User: "acme", Keys: k}); err != nil {
				t.Error(err)
			}
		})
	}
}

// oldKeyOnDisk writes an encrypted key in the old PEM format. It does not tell
// its public half, and decrypts fast.
func oldKeyOnDisk(t *testing.T, passphrase string, withPublic bool) (string, ssh.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 people still have such keys
	block, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES128)
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "id", string(pem.EncodeToMemory(block)), 0o600)
	if withPublic {
		if err := os.WriteFile(file+".pub", ssh.MarshalAuthorizedKey(publicOf(t, key)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return file, publicOf(t, key)
}

func TestOldKeyWithoutPublicHalf(t *testing.T) {
	file, public := oldKeyOnDisk(t, "right", false)
	s := &server{config: &ssh.ServerConfig{}}
	s.config.PublicKeyCallback = s.publicKey(public, nil)
	if err := s.handshake(t, &Login{User: "acme", Keys: &Keys{Files: []string{file}, Passphrase: NewSecret("right")}}); err != nil {
		t.Error(err)
	}
}

func TestPassphrase(t *testing.T) {
	file, public := oldKeyOnDisk(t, "right", true)
	tests := map[string]struct {
		given string
		typed []string
		asked int
		want  string
	}{
		"typed":             {"", []string{"right"}, 1, ""},
		"typed wrong once":  {"", []string{"wrong", "right"}, 2, ""},
		"typed wrong":       {"", []string{"wrong", "wrong", "wrong", "right"}, 3, "does not fit"},
		"given for another": {"wrong", []string{"right"}, 1, ""},
		"given wrong":       {"wrong", nil, 0, "does not fit"},
		"none":              {"", nil, 0, "XFER_KEY_PASSPHRASE"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &Keys{Files: []string{file}, Passphrase: NewSecret(tt.given)}
			p := &person{secrets: tt.typed}
			if tt.typed != nil {
				k.Prompter = p
			}
			s := &server{config: &ssh.ServerConfig{}}
			s.config.PublicKeyCallback = s.publicKey(public, nil)
			err := s.handshake(t, &Login{User: "acme", Keys: k})
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			if tt.want != "" {
				e, ok := errors.AsType[*PassphraseError](err)
				if !ok || !strings.Contains(e.Error(), tt.want) {
					t.Errorf("got %v, want a PassphraseError with %q", err, tt.want)
				}
			}
			if len(p.asked) != tt.asked {
				t.Errorf("asked %q", p.asked)
			}
		})
	}
}

// TestPassphraseIsNotAskedInVain: the server does not know the key, so nobody
// is asked to open it.
func TestPassphraseIsNotAskedInVain(t *testing.T) {
	file, _ := oldKeyOnDisk(t, "secret", true)
	p := &person{secrets: []string{"secret"}}
	s := &server{config: &ssh.ServerConfig{}}
	s.config.PublicKeyCallback = s.publicKey(newSigner(t).PublicKey(), nil)
	s.allowPassword("right", nil)
	l := &Login{User: "acme", Keys: &Keys{Files: []string{file}, Prompter: p}, Password: password("right")}
	if err := s.handshake(t, l); err != nil {
		t.Fatal(err)
	}
	if len(p.asked) != 0 {
		t.Errorf("asked %q", p.asked)
	}
}

func TestKeyFileErrors(t *testing.T) {
	good, _ := keyOnDisk(t, "id", ed25519Key(t), "")
	if runtime.GOOS != "windows" {
		if err := os.Chmod(good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range map[string]string{
		"missing":  filepath.Join(t.TempDir(), "none"),
		"garbage":  writeFile(t, "id", "hello", 0o600),
		"readable": good,
	} {
		if name == "readable" && runtime.GOOS == "windows" {
			continue
		}
		_, _, err := (&Keys{Files: []string{file}}).Signers(t.Context(), nil)
		if e, ok := errors.AsType[*KeyFileError](err); !ok || e.File != file {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaultKeys(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	file, public := keyOnDisk(t, "id", ed25519Key(t), "")
	for name, from := range map[string]string{"id_ed25519": file, "id_rsa": writeFile(t, "x", "broken", 0o600)} {
		if err := os.Rename(from, filepath.Join(home, ".ssh", name)); err != nil {
			t.Fatal(err)
		}
	}
	var warnings []string
	k := &Keys{Warn: func(text string) { warnings = append(warnings, text) }}
	signers, closer, err := k.Signers(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	if len(signers) != 1 || string(signers[0].PublicKey().Marshal()) != string(public.Marshal()) {
		t.Errorf("got %d signers", len(signers))
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "id_rsa") {
		t.Errorf("warnings: %q", warnings)
	}
}

// startAgent serves an agent that holds keys.
func startAgent(t *testing.T, keys ...crypto.PrivateKey) string {
	t.Helper()
	needShell(t) // Unix sockets
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "a") // t.TempDir can exceed the limit of socket names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c)
		}
	}()
	return socket
}

// oddAgent holds keys that no program can make: on tokens, or of a kind that only
// the agent knows.
type oddAgent struct {
	agent.Agent
	kinds []string
}

func (o *oddAgent) List() ([]*agent.Key, error) {
	var keys []*agent.Key
	for _, kind := range o.kinds {
		keys = append(keys, &agent.Key{Format: kind, Blob: ssh.Marshal(struct{ Kind, Rest string }{kind, "x"})})
	}
	return keys, nil
}

// TestNothingFiltersTheAgent: keys on tokens (FIDO, PKCS#11) and certificates
// reach the server, and may sign with what they are.
func TestNothingFiltersTheAgent(t *testing.T) {
	want := map[string][]string{
		"sk-ssh-ed25519@openssh.com":                  {"sk-ssh-ed25519@openssh.com"},
		"sk-ecdsa-sha2-nistp256@openssh.com":          {"sk-ecdsa-sha2-nistp256@openssh.com"},
		"sk-ssh-ed25519-cert-v01@openssh.com":         {"sk-ssh-ed25519@openssh.com"},
		"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": {"sk-ecdsa-sha2-nistp256@openssh.com"},
		"ssh-ed25519-cert-v01@openssh.com":            {"ssh-ed25519"},
		"ecdsa-sha2-nistp384":                         {"ecdsa-sha2-nistp384"},
		"ssh-rsa":                                     {"rsa-sha2-512", "rsa-sha2-256"}, // a PKCS#11 card's, too
		"ssh-rsa-cert-v01@openssh.com":                {"rsa-sha2-512", "rsa-sha2-256"},
		"something-new@vendor.example":                {"something-new@vendor.example"},
	}
	here, there := net.Pipe()
	go agent.ServeAgent(&oddAgent{kinds: slices.Sorted(maps.Keys(want))}, there)
	defer here.Close()
	held, err := agent.NewClient(here).Signers()
	if err != nil || len(held) != len(want) {
		t.Fatalf("%d keys, %v", len(held), err)
	}
	attempt := (&Login{}).Begin(t.Context(), nil)
	for _, s := range held {
		kind := s.PublicKey().Type()
		if got := (&noting{Signer: s, attempt: attempt}).Algorithms(); !slices.Equal(got, want[kind]) {
			t.Errorf("%s signs with %q, want %q", kind, got, want[kind])
		}
	}
	attempt.login.Signatures = []string{"ssh-rsa", "ssh-ed25519"}
	for _, s := range held {
		kind := s.PublicKey().Type()
		got := (&noting{Signer: s, attempt: attempt}).Algorithms()
		if (kind == "ssh-rsa") && !slices.Equal(got, []string{"ssh-rsa"}) || kind == "something-new@vendor.example" && len(got) == 0 {
			t.Errorf("limited: %s signs with %q", kind, got)
		}
	}
}

// TestSHA1Signature: only where it is allowed, and then it is named.
func TestSHA1Signature(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file, public := keyOnDisk(t, "id_rsa", key, "")
	for _, allowed := range [][]string{nil, {ssh.KeyAlgoRSA}} {
		s := &server{config: &ssh.ServerConfig{PublicKeyAuthAlgorithms: []string{ssh.KeyAlgoRSA}}}
		s.config.PublicKeyCallback = s.publicKey(public, nil)
		err := s.handshake(t, &Login{User: "u", Keys: &Keys{Files: []string{file}}, Signatures: allowed})
		if (err == nil) != (allowed != nil) {
			t.Errorf("allowed %q: %v", allowed, err)
		}
	}
	a := (&Login{}).Begin(t.Context(), nil)
	if a.signed = ssh.KeyAlgoRSA; a.Outdated() != "signature ssh-rsa" {
		t.Errorf("outdated: %q", a.Outdated())
	}
	if a.signed = ssh.KeyAlgoRSASHA256; a.Outdated() != "" {
		t.Errorf("outdated: %q", a.Outdated())
	}
}

func TestAgentOrder(t *testing.T) {
	inAgent, both, onDisk := ed25519Key(t), ed25519Key(t), ed25519Key(t)
	socket := startAgent(t, inAgent, both)
	bothFile := writeFile(t, "both.pub", string(ssh.MarshalAuthorizedKey(publicOf(t, both))), 0o644)
	diskFile, _ := keyOnDisk(t, "disk", onDisk, "")
	publicOnly := writeFile(t, "x.pub", string(ssh.MarshalAuthorizedKey(publicOf(t, inAgent))), 0o644)

	tests := map[string]struct {
		keys *Keys
		want []crypto.PrivateKey
	}{
		"agent alone":       {&Keys{}, []crypto.PrivateKey{inAgent, both}},
		"explicit first":    {&Keys{Files: []string{diskFile, bothFile}}, []crypto.PrivateKey{onDisk, both, inAgent}},
		"identities only":   {&Keys{Files: []string{bothFile, diskFile}, IdentitiesOnly: true}, []crypto.PrivateKey{both, onDisk}},
		"public half named": {&Keys{Files: []string{publicOnly}, IdentitiesOnly: true}, []crypto.PrivateKey{inAgent}},
	}
	t.Setenv("HOME", t.TempDir())
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.keys.Agent = socket
			signers, closer, err := tt.keys.Signers(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closer.Close()
			if len(signers) != len(tt.want) {
				t.Fatalf("got %d signers, want %d", len(signers), len(tt.want))
			}
			for i, s := range signers {
				want := publicOf(t, tt.want[i])
				if string(s.PublicKey().Marshal()) != string(want.Marshal()) {
					t.Errorf("signer %d is another key", i)
				}
				sig, err := s.Sign(rand.Reader, []byte("data"))
				if err != nil {
					t.Errorf("signer %d: %v", i, err)
				} else if err := want.Verify([]byte("data"), sig); err != nil {
					t.Errorf("signer %d: %v", i, err)
				}
			}
		})
	}
}

func publicOf(t *testing.T, key crypto.PrivateKey) ssh.PublicKey {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s.PublicKey()
}

func TestAgentLogin(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	s := &server{config: &ssh.ServerConfig{}}
	s.config.PublicKeyCallback = s.publicKey(publicOf(t, rsaKey), nil)
	if err := s.handshake(t, &Login{User: "acme", Keys: &Keys{Agent: startAgent(t, rsaKey)}}); err != nil {
		t.Error(err)
	}
}

func TestDeadAgentIsNoAgent(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	var warnings []string
	k := &Keys{Agent: filepath.Join(t.TempDir(), "none"), Warn: func(text string) { warnings = append(warnings, text) }}
	signers, closer, err := k.Signers(t.Context(), nil)
	if err != nil || len(signers) != 0 || len(warnings) != 1 {
		t.Errorf("%d signers, %v, warnings %q", len(signers), err, warnings)
	}
	closer.Close()
}

func TestTooManyKeys(t *testing.T) {
	var files []string
	for range 4 {
		f, _ := keyOnDisk(t, "id", ed25519Key(t), "")
		files = append(files, f)
	}
	s := &server{config: &ssh.ServerConfig{MaxAuthTries: 2}}
	s.config.PublicKeyCallback = s.publicKey(newSigner(t).PublicKey(), nil)
	err := s.handshake(t, &Login{User: "acme", Keys: &Keys{Files: files}})
	if e, ok := errors.AsType[*LoginError](err); !ok || !e.TooManyKeys {
		t.Errorf("got %v, want TooManyKeys", err)
	}
}

func TestCertificate(t *testing.T) {
	file, public := oldKeyOnDisk(t, "secret", true)
	ca := newSigner(t)
	cert := &ssh.Certificate{
		Key: public, CertType: ssh.UserCert, ValidPrincipals: []string{"acme"},
		ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &server{config: &ssh.ServerConfig{}}
	checker := &ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool {
		return string(k.Marshal()) == string(ca.PublicKey().Marshal())
	}}
	s.config.PublicKeyCallback = checker.Authenticate
	l := &Login{User: "acme", Keys: &Keys{Files: []string{file}, Passphrase: NewSecret("secret")}}
	if err := s.handshake(t, l); err != nil {
		t.Error(err)
	}
}

// TestPauseCoversThePerson: the caller's clock stands still while a person types.
func TestPauseCoversThePerson(t *testing.T) {
	var running, pauses int
	pause := Pause(func() func() {
		running++
		pauses++
		return func() { running-- }
	})
	p := &pausedPerson{check: func() {
		if running == 0 {
			t.Error("asked while the clock runs")
		}
	}}
	file, public := oldKeyOnDisk(t, "right", true)
	s := &server{config: &ssh.ServerConfig{}}
	s.config.PublicKeyCallback = s.publicKey(public, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
		KeyboardInteractiveCallback: s.questions(nil, question{text: "Code:", right: "right"}),
	}})
	l := &Login{User: "acme", Keys: &Keys{Files: []string{file}, Prompter: p}, Prompter: p}
	s.config.AddHostKey(newSigner(t))
	here, there := tcpPair(t)
	go func() {
		_, _, _, _ = ssh.NewServerConn(there, s.config)
	}()
	a := l.Begin(t.Context(), pause)
	defer a.Close()
	c := &ssh.ClientConfig{HostKeyCallback: ssh.InsecureIgnoreHostKey()}
	a.Configure(c)
	conn, _, _, err := ssh.NewClientConn(here, "h:22", c)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if running != 0 || pauses < 2 {
		t.Errorf("%d pauses, %d still on", pauses, running)
	}
}

type pausedPerson struct{ check func() }

func (p *pausedPerson) Secret(context.Context, string) (Secret, error) {
	p.check()
	return NewSecret("right"), nil
}
func (p *pausedPerson) Line(context.Context, string) (string, error)  { return "", nil }
func (p *pausedPerson) Confirm(context.Context, string) (bool, error) { return false, nil }
