package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// Login is how to prove to an SSH server who we are: with keys, a password, or
// the answers of a person. It may serve any number of attempts, also at once.
type Login struct {
	User string
	// Keys are the private keys, nil for none.
	Keys *Keys
	// Password is where the password comes from, nil for nowhere. It answers
	// the methods password and keyboard-interactive.
	Password *Source
	// Prompter answers the questions of keyboard-interactive that are not about
	// the password; nil if there is nobody.
	Prompter Prompter
	// Signatures are the algorithms that keys may sign with, as Algorithms gives
	// them; nil are all but those with SHA-1.
	Signatures []string
}

// The methods in the order of OpenSSH. keyboard-interactive comes before
// password: where both are offered, only the former can ask for a second factor.
var methods = []string{"publickey", "keyboard-interactive", "password"}

// Attempt is one login. Every method is used once and the password sent once,
// also if two methods would take it: a wrong one counts against the account each
// time. Only when the server says that the login so far was right, and wants
// more (RFC 4252 §5.1, partial success), may a method or the password be used
// again.
type Attempt struct {
	login *Login
	ctx   context.Context // of the login; the library's callbacks take none
	pause Pause
	agent io.Closer

	began   bool
	offered []string // the methods that the server takes now
	tried   []string // since the last partial success
	refused []string // in all, in words
	partial int
	keys    int // offered in the last publickey
	used    map[string]bool
	sent    bool // the password, since the last partial success
	asked   int  // rounds of keyboard-interactive
	person  bool // has answered some of them
	typed   Secret
	reasons []error
	here    bool   // the last method failed on this side
	done    bool   // nothing was left to try
	signed  string // the algorithm of the last signature
}

// Begin prepares one login. Close it when the login is done.
func (l *Login) Begin(ctx context.Context, pause Pause) *Attempt {
	return &Attempt{login: l, ctx: ctx, pause: pause, used: map[string]bool{}}
}

// Close lets the agent go.
func (a *Attempt) Close() {
	if a.agent != nil {
		_ = a.agent.Close() // only asked, never told anything
		a.agent = nil
	}
}

// Configure sets the user and the methods.
func (a *Attempt) Configure(c *ssh.ClientConfig) {
	c.User = a.login.User
	c.AuthCallback = a.next
}

// Began says whether the server has been asked for a login yet.
func (a *Attempt) Began() bool { return a.began }

// Succeeded is called when the server let us in: an answer that turned out to be
// the password is kept for the next login.
func (a *Attempt) Succeeded() {
	if a.asked == 1 && a.partial == 0 && !a.typed.Empty() && a.login.Password != nil {
		a.login.Password.Keep(a.typed, FromPrompt)
	}
}

// Repeatable says whether a login that succeeded can be made again without a person:
// nobody answered questions, touched a token or was asked for a second proof.
func (a *Attempt) Repeatable() bool {
	return a.partial == 0 && !a.person && !strings.HasPrefix(a.signed, "sk-")
}

// Outdated names the algorithm that a key of ours signed with, if it is no longer
// thought to be safe, else "".
func (a *Attempt) Outdated() string {
	if slices.Contains(ssh.InsecureAlgorithms().PublicKeyAuths, a.signed) {
		return "signature " + a.signed
	}
	return ""
}

// LoginError says that the server did not let us in, or that there was nothing
// left to try.
type LoginError struct {
	User string
	// Tried are the methods that were refused: "publickey (3 keys)".
	Tried []string
	// Accepts are the methods that the server named.
	Accepts []string
	// TooManyKeys: the server hung up while keys were offered (MaxAuthTries).
	TooManyKeys bool
	// Err is what went wrong on this side: a passphrase, a missing password.
	Err error
}

func (e *LoginError) Error() string {
	var b strings.Builder
	if len(e.Tried) == 0 {
		fmt.Fprintf(&b, "nothing to log in with as %q", e.User)
	} else {
		fmt.Fprintf(&b, "user %q refused with %s", e.User, strings.Join(e.Tried, ", "))
	}
	if len(e.Accepts) > 0 {
		fmt.Fprintf(&b, "; the server accepts %s", strings.Join(e.Accepts, ", "))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, "; %v", e.Err)
	}
	return b.String()
}

// Unwrap gives what went wrong on this side.
func (e *LoginError) Unwrap() error { return e.Err }

// Failure describes why the login failed; err is what the handshake returned.
func (a *Attempt) Failure(err error) *LoginError {
	if e, ok := errors.AsType[*LoginError](err); ok {
		return e
	}
	e := a.failure()
	if a.done {
		return e
	}
	// The library did not come back for another method: the server hung up.
	e.TooManyKeys = a.keys > 1 && len(a.tried) > 0 && a.tried[len(a.tried)-1] == "publickey"
	e.Err = errors.Join(e.Err, err)
	return e
}

func (a *Attempt) failure() *LoginError {
	return &LoginError{
		User: a.login.User, Tried: a.refused, Accepts: cleanAll(a.offered), Err: errors.Join(a.reasons...),
	}
}

// next chooses the method, once the server has said what it takes. The library
// comes here after every method that did not let us in, and does not say why: it
// may have been refused, or have failed on this side, or the connection is lost.
// Only where nothing is left to try, it tells of the last.
func (a *Attempt) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	a.began, a.offered = true, c.AllowedMethods
	failedHere := a.here
	if a.here = false; failedHere {
		a.refused = a.refused[:len(a.refused)-1]
	}
	if n := len(c.PartialSuccessMethods); n > a.partial {
		a.partial, a.tried, a.sent = n, nil, false
		a.refused = a.refused[:len(a.refused)-1] // the last one was right
	}
	for _, name := range methods {
		if slices.Contains(a.tried, name) || !slices.Contains(a.offered, name) {
			continue
		}
		if m := a.method(name); m != nil {
			a.tried = append(a.tried, name)
			return m, nil
		}
	}
	if failedHere {
		return nil, a.failure()
	}
	a.done = true
	return nil, nil
}

// method prepares one method, nil if we have nothing for it.
func (a *Attempt) method(name string) ssh.AuthMethod {
	switch name {
	case "publickey":
		signers := a.signers()
		if len(signers) == 0 {
			return nil
		}
		a.keys = len(signers)
		a.refused = append(a.refused, fmt.Sprintf("%s (%s)", name, count(len(signers), "key")))
		return ssh.PublicKeys(signers...)
	case "keyboard-interactive":
		if a.sent || a.login.Password == nil && a.login.Prompter == nil {
			return nil
		}
		a.refused = append(a.refused, name)
		return ssh.KeyboardInteractive(a.answer)
	default:
		if a.sent || a.login.Password == nil {
			return nil
		}
		password, err := a.password()
		if err != nil {
			a.reasons = append(a.reasons, err)
			return nil
		}
		a.sent = true
		a.refused = append(a.refused, name)
		return ssh.Password(password.Reveal())
	}
}

func (a *Attempt) password() (Secret, error) {
	defer a.pause.begin()()
	secret, _, err := a.login.Password.Get(a.ctx)
	return secret, err
}

// signers gives the keys that have not been part of this login yet.
func (a *Attempt) signers() []ssh.Signer {
	if a.login.Keys == nil {
		return nil
	}
	signers, agent, err := a.login.Keys.Signers(a.ctx, a.pause)
	if err != nil {
		a.reasons = append(a.reasons, err)
		return nil
	}
	a.Close()
	a.agent = agent
	var fresh []ssh.Signer
	for _, s := range signers {
		if !a.used[string(s.PublicKey().Marshal())] {
			fresh = append(fresh, &noting{Signer: s, attempt: a})
		}
	}
	return fresh
}

// noting notes that its key was used, and why it could not be.
type noting struct {
	ssh.Signer
	attempt *Attempt
}

// Algorithms makes it an ssh.MultiAlgorithmSigner: an RSA key would sign with
// SHA-1 where the server does not say what it takes. A kind of key that is not
// known here, as an agent may hold, is left alone.
func (s *noting) Algorithms() []string {
	names := []string{keyFormat(s.PublicKey())}
	if names[0] == ssh.KeyAlgoRSA {
		names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}
	}
	safe, outdated := ssh.SupportedAlgorithms().PublicKeyAuths, ssh.InsecureAlgorithms().PublicKeyAuths
	allowed := s.attempt.login.Signatures
	if allowed == nil {
		allowed = safe
	}
	return slices.DeleteFunc(names, func(name string) bool {
		isKnown := slices.Contains(safe, name) || slices.Contains(outdated, name)
		return isKnown && !slices.Contains(allowed, name)
	})
}

// keyFormat is the type of the key, of a certificate that of the key in it. An
// agent's keys know no more than their names (OpenSSH PROTOCOL.certkeys).
func keyFormat(key ssh.PublicKey) string {
	name, isCert := strings.CutSuffix(key.Type(), "-cert-v01@openssh.com")
	if isCert && strings.HasPrefix(name, "sk-") {
		name += "@openssh.com"
	}
	return name
}

func (s *noting) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	sig, err := signWith(s.Signer, rand, data, algorithm)
	if err != nil {
		s.attempt.failed(err)
		return nil, err
	}
	s.attempt.used[string(s.PublicKey().Marshal())] = true
	s.attempt.signed = algorithm
	return sig, nil
}

// answer answers one round of keyboard-interactive (RFC 4256): a single hidden
// question is the one for the password, anything else is put to the person.
func (a *Attempt) answer(name, instruction string, questions []string, echos []bool) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	a.asked++
	alone := len(questions) == 1 && !echos[0]
	if alone && !a.sent && a.login.Password != nil {
		defer a.pause.begin()()
		secret, origin, err := a.login.Password.Stored(a.ctx)
		if err != nil {
			a.failed(err)
			return nil, err
		}
		if origin != "" {
			a.sent = true
			return []string{secret.Reveal()}, nil
		}
	}
	answers := make([]string, len(questions))
	for i, q := range questions {
		text := strings.Join([]string{name, instruction, q}, " ")
		secret, err := a.ask(clean(strings.Trim(text, " :\r\n")), echos[i])
		if err != nil {
			a.failed(err)
			return nil, err
		}
		answers[i] = secret.Reveal()
		if alone {
			a.sent, a.typed = true, secret
		}
		name, instruction = "", ""
	}
	return answers, nil
}

// failed notes why a method can't go on: the server has not refused it.
func (a *Attempt) failed(err error) {
	a.reasons, a.here = append(a.reasons, err), true
}

func (a *Attempt) ask(question string, echo bool) (Secret, error) {
	if a.login.Prompter == nil {
		return Secret{}, fmt.Errorf("%w: the server asks %q and there is nobody to answer", ErrNoSecret, question)
	}
	defer a.pause.begin()()
	a.person = true
	if !echo {
		return a.login.Prompter.Secret(a.ctx, question)
	}
	line, err := a.login.Prompter.Line(a.ctx, question)
	return NewSecret(line), err
}

// clean makes a server's words safe for a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}

func cleanAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(s)
	}
	return out
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
