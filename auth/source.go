package auth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/zalando/go-keyring"
)

// KeyringService is the name under which xfer looks in the keyring of the
// operating system.
const KeyringService = "xfer"

// Limits of the waits for what may hold a secret. A password command may itself
// ask a person.
const (
	commandLimit = 2 * time.Minute
	keyringLimit = 10 * time.Second
)

// maxSecret bounds what is read from a file or a command, in bytes.
const maxSecret = 64 << 10

// ErrNoSecret is wrapped by Get's error when every place was looked at and none
// had a secret.
var ErrNoSecret = errors.New("no password")

// Source finds one secret. Get looks in this order and takes the first that is
// there:
//
//  1. Given: what the URL or the environment of the program held
//  2. Env: an environment variable that the site names (password_env)
//  3. File: a file that the site names (password_file)
//  4. Command: a program that the site names (password_command)
//  5. the keyring of the operating system, service "xfer"
//  6. the netrc file: $NETRC or ~/.netrc
//  7. the person, if there is a Prompter
//
// A place that is named but broken — a file that others can read, a command
// that fails — ends the search: the next place would hold another secret, and a
// wrong one can lock an account. An unset variable, an empty keyring and a
// netrc without the host are not broken; the search goes on.
//
// What was found is kept, so that a second login asks nobody. A Source may be
// used from several goroutines; it must not be copied.
type Source struct {
	// Given is a secret that is known already; GivenBy says from where.
	Given   Secret
	GivenBy string
	// Env is the name of an environment variable.
	Env string
	// File holds the secret on its first line. On Unix it is refused if anyone
	// but its owner can read it.
	File string
	// Command is a program and its arguments. It runs without a shell; the
	// first line of its output is the secret. Its error output goes to Stderr.
	Command []string
	Stderr  io.Writer
	// Account is the user name in the keyring: "acme@partner.example". "" does
	// not look there.
	Account string
	// NetrcHost and NetrcUser are looked up in the netrc file, any entry of the
	// host if the user is "". An empty host does not look there.
	NetrcHost, NetrcUser string
	// Question is what the person is asked: "Password for acme@partner.example".
	Question string
	Prompter Prompter
	// Pause is called around the search.
	Pause Pause

	mu     sync.Mutex
	found  Secret
	origin string
}

// SourceError says that a named place could not give its secret. It never
// contains the secret.
type SourceError struct {
	// Place is the setting: "password_file".
	Place string
	// Name is the variable, the file or the program.
	Name string
	Err  error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("%s: %v", strings.TrimSpace(e.Place+" "+e.Name), e.Err)
}

// Unwrap gives the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Get finds the secret. origin says in words where it was.
func (s *Source) Get(ctx context.Context) (secret Secret, origin string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret, origin, err = s.stored(ctx)
	if err != nil || origin != "" {
		return secret, origin, err
	}
	if s.Prompter == nil || s.Question == "" {
		return Secret{}, "", s.nothing()
	}
	defer s.Pause.begin()()
	secret, err = s.Prompter.Secret(ctx, s.Question)
	if err != nil {
		return Secret{}, "", &SourceError{Place: "prompt", Err: err}
	}
	s.found, s.origin = secret, FromPrompt
	return s.found, s.origin, nil
}

// FromPrompt is the origin of a secret that the person typed.
const FromPrompt = "the prompt"

// Stored is Get without asking the person; origin is "" when nothing is stored.
func (s *Source) Stored(ctx context.Context) (secret Secret, origin string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stored(ctx)
}

// Keep remembers a secret that was learned in another way.
func (s *Source) Keep(secret Secret, origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found, s.origin = secret, origin
}

// Forget drops a secret that did not fit, so that the next Get looks again.
func (s *Source) Forget() { s.Keep(Secret{}, "") }

func (s *Source) stored(ctx context.Context) (Secret, string, error) {
	if s.origin != "" {
		return s.found, s.origin, nil
	}
	if !s.Given.Empty() {
		return s.Given, cmp.Or(s.GivenBy, "the caller"), nil
	}
	defer s.Pause.begin()()
	for _, look := range []func(context.Context) (string, string, error){
		s.fromEnv, s.fromFile, s.fromCommand, s.fromKeyring, s.fromNetrc,
	} {
		value, origin, err := look(ctx)
		if err != nil {
			return Secret{}, "", err
		}
		if origin != "" {
			s.found, s.origin = NewSecret(value), origin
			return s.found, s.origin, nil
		}
	}
	return Secret{}, "", nil
}

func (s *Source) fromEnv(context.Context) (value, origin string, err error) {
	if s.Env == "" {
		return "", "", nil
	}
	if v := os.Getenv(s.Env); v != "" {
		return v, "password_env " + s.Env, nil
	}
	return "", "", nil
}

func (s *Source) fromFile(context.Context) (value, origin string, err error) {
	if s.File == "" {
		return "", "", nil
	}
	value, err = readSecretFile(s.File)
	if err == nil && value == "" {
		err = errors.New("is empty")
	}
	if err != nil {
		return "", "", &SourceError{Place: "password_file", Name: s.File, Err: bare(err)}
	}
	return value, "password_file " + s.File, nil
}

// readSecretFile reads a file that only its owner may read.
func readSecretFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := checkPrivate(f); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", err
	}
	return firstLine(string(b)), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r")
}

func (s *Source) fromCommand(ctx context.Context) (value, origin string, err error) {
	if len(s.Command) == 0 {
		return "", "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	cmd.Stdout, cmd.Stderr = &limited{&out, maxSecret}, s.Stderr
	// A grandchild that keeps the pipe open must not hold the login up.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	value = firstLine(out.String())
	if err == nil && value == "" {
		err = errors.New("printed nothing")
	}
	if err != nil {
		return "", "", &SourceError{Place: "password_command", Name: s.Command[0], Err: bare(err)}
	}
	return value, "password_command " + s.Command[0], nil
}

// limited drops what exceeds the limit.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n, err := l.w.Write(p[:min(len(p), l.left)])
	l.left -= n
	if err != nil {
		return n, err
	}
	return len(p), nil
}

// fromKeyring treats a keyring that can't be reached as an empty one: most
// servers and containers have none.
func (s *Source) fromKeyring(ctx context.Context) (value, origin string, err error) {
	if s.Account == "" {
		return "", "", nil
	}
	type answer struct {
		value string
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, keyringLimit)
	defer cancel()
	got := make(chan answer, 1)
	go func() { // the library takes no context
		v, err := keyring.Get(KeyringService, s.Account)
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		if a.err != nil || a.value == "" {
			return "", "", nil
		}
		return a.value, "the keyring, account " + s.Account, nil
	case <-ctx.Done():
		return "", "", nil
	}
}

func (s *Source) fromNetrc(context.Context) (value, origin string, err error) {
	if s.NetrcHost == "" {
		return "", "", nil
	}
	path := NetrcPath()
	entry, ok, err := LookupNetrc(path, s.NetrcHost, s.NetrcUser)
	if err != nil {
		return "", "", &SourceError{Place: "netrc", Name: path, Err: bare(err)}
	}
	if !ok || entry.Password.Empty() {
		return "", "", nil
	}
	return entry.Password.Reveal(), path, nil
}

// nothing lists where the secret could have been.
func (s *Source) nothing() error {
	var places []string
	add := func(set bool, place string) {
		if set {
			places = append(places, place)
		}
	}
	add(s.Env != "", "$"+s.Env)
	add(s.Account != "", "keyring account "+s.Account)
	add(s.NetrcHost != "", NetrcPath())
	if len(places) == 0 {
		return fmt.Errorf("%w given", ErrNoSecret)
	}
	return fmt.Errorf("%w in %s", ErrNoSecret, strings.Join(places, ", "))
}

// bare drops the path that a SourceError says already.
func bare(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}
