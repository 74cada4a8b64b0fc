package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Keys are the private keys that can prove who we are. Their order is that of
// OpenSSH: explicit files, the agent, and the default files only if no file was
// named. A Keys may be used from several goroutines; it must not be copied.
type Keys struct {
	// Files are private keys, or public ones whose private half the agent
	// holds. A certificate beside a key ("id_ed25519-cert.pub") is used, too.
	Files []string
	// Certificates are files with certificates for any of the keys.
	Certificates []string
	// NoDefaults: an empty Files means none, not the default files.
	NoDefaults bool
	// Agent is the socket of the agent, usually AgentSocket(); "" uses none.
	Agent string
	// IdentitiesOnly uses the agent's keys only if they are also in Files.
	IdentitiesOnly bool
	// Passphrase decrypts every encrypted key, usually $XFER_KEY_PASSPHRASE.
	Passphrase Secret
	// Keyring looks for passphrases in the operating system's keyring, account
	// "key:FILE".
	Keyring bool
	// Prompter is asked for a passphrase, up to three times for each key.
	Prompter Prompter
	// Warn is told of default keys and of an agent that can't be used.
	Warn func(text string)

	mu     sync.Mutex
	loaded map[string]*keyFile
}

// defaultKeys are the files that are tried below ~/.ssh. Keys on a token
// (id_ed25519_sk) come from the agent, which can talk to it.
var defaultKeys = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// KeyFileError says that a key file can't be used.
type KeyFileError struct {
	File string
	Err  error
}

func (e *KeyFileError) Error() string { return fmt.Sprintf("key %s: %v", e.File, e.Err) }

// Unwrap gives the cause.
func (e *KeyFileError) Unwrap() error { return e.Err }

// PassphraseError says that a key is encrypted and no passphrase fits, or that
// there is none.
type PassphraseError struct {
	File string
	Err  error
}

func (e *PassphraseError) Error() string {
	return fmt.Sprintf("key %s is encrypted: %v", e.File, e.Err)
}

// Unwrap gives the cause.
func (e *PassphraseError) Unwrap() error { return e.Err }

var (
	// errWrongPassphrase replaces the library's, which speaks of x509.
	errWrongPassphrase = errors.New("the passphrase does not fit")
	errNoPassphrase    = errors.New("there is no passphrase (set XFER_KEY_PASSPHRASE, or add the key to the ssh agent)")
)

// Signers gives the keys for one login, each once. Passphrases are asked for
// only when the server has said that it accepts the key. The closer is needed
// until the login is done.
func (k *Keys) Signers(ctx context.Context, pause Pause) ([]ssh.Signer, io.Closer, error) {
	held, closer := k.agentKeys(pause)
	files, explicit := k.Files, true
	if len(files) == 0 && !k.NoDefaults {
		files, explicit = defaultKeyFiles(), false
	}
	list := &signerList{seen: map[string]bool{}}
	var fromFiles []ssh.Signer
	for _, file := range files {
		kf, err := k.load(file, explicit)
		if err != nil {
			_ = closer.Close()
			return nil, nil, err
		}
		if kf != nil {
			fromFiles = append(fromFiles, kf.signers(ctx, k, held, pause)...)
		}
	}
	list.add(k.certified(slices.Concat(fromFiles, held))...)
	if explicit {
		list.add(fromFiles...)
	}
	if !k.IdentitiesOnly {
		list.add(held...)
	}
	list.add(fromFiles...)
	return list.signers, closer, nil
}

// certified pairs the certificates with the keys that they are for.
func (k *Keys) certified(signers []ssh.Signer) (list []ssh.Signer) {
	for _, file := range k.Certificates {
		cert, ok := readPublic(file).(*ssh.Certificate)
		if !ok {
			k.warn("certificate " + file + ": is none, or can't be read")
			continue
		}
		for _, s := range signers {
			if certified, err := ssh.NewCertSigner(cert, s); err == nil {
				list = append(list, certified)
				break
			}
		}
	}
	return list
}

// agentKeys gives what the agent holds. An agent that does not answer is as good
// as none.
func (k *Keys) agentKeys(pause Pause) ([]ssh.Signer, io.Closer) {
	if k.Agent == "" {
		return nil, io.NopCloser(nil)
	}
	held, closer, err := openAgent(k.Agent, pause)
	if err != nil {
		if k.Agent != defaultAgent {
			k.warn(err.Error())
		}
		return nil, io.NopCloser(nil)
	}
	return held, closer
}

func (k *Keys) warn(text string) {
	if k.Warn != nil {
		k.Warn(text)
	}
}

func defaultKeyFiles() []string {
	home := Home()
	if home == "" {
		return nil
	}
	var files []string
	for _, name := range defaultKeys {
		p := filepath.Join(home, ".ssh", name)
		if _, err := os.Stat(p); err == nil {
			files = append(files, p)
		}
	}
	return files
}

// signerList keeps the first of equal keys.
type signerList struct {
	signers []ssh.Signer
	seen    map[string]bool
}

func (l *signerList) add(signers ...ssh.Signer) {
	for _, s := range signers {
		if id := string(s.PublicKey().Marshal()); !l.seen[id] {
			l.seen[id] = true
			l.signers = append(l.signers, s)
		}
	}
}

// keyFile is one file, read and perhaps already decrypted.
type keyFile struct {
	path   string
	pem    []byte
	public ssh.PublicKey    // nil if only decryption would tell
	cert   *ssh.Certificate // nil if there is none
	// onlyPublic: the agent has to sign.
	onlyPublic bool
	passphrase *Source

	mu     sync.Mutex
	signer ssh.Signer // nil until decrypted
}

// load reads a key file, once. An explicit file has to be usable; a default one
// is left out with a warning.
func (k *Keys) load(path string, explicit bool) (*keyFile, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if kf := k.loaded[path]; kf != nil {
		return kf, nil
	}
	kf, err := readKeyFile(path)
	if err != nil {
		err = &KeyFileError{File: path, Err: bare(err)}
		if explicit {
			return nil, err
		}
		k.warn(err.Error())
		return nil, nil
	}
	kf.passphrase = &Source{Given: k.Passphrase, GivenBy: "XFER_KEY_PASSPHRASE"}
	if k.Keyring {
		kf.passphrase.Account = "key:" + path
	}
	if k.loaded == nil {
		k.loaded = map[string]*keyFile{}
	}
	k.loaded[path] = kf
	return kf, nil
}

func readKeyFile(path string) (*keyFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, err
	}
	kf := &keyFile{path: path, pem: pem}
	if public, _, _, _, err := ssh.ParseAuthorizedKey(pem); err == nil {
		kf.public, kf.onlyPublic = public, true
		return kf, nil
	}
	if err := checkPrivate(f); err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if missing, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
		kf.public = missing.PublicKey
		if kf.public == nil { // the old PEM format keeps it in a file of its own
			kf.public = readPublic(path + ".pub")
		}
	} else if err != nil {
		// The private half of a key on a token is of no use without it.
		if kf.public = readPublic(path + ".pub"); kf.public == nil {
			return nil, fmt.Errorf("is no private key that can be used: %w", err)
		}
		kf.onlyPublic = true
	} else {
		kf.signer, kf.public = signer, signer.PublicKey()
	}
	kf.cert = readCertificate(path+"-cert.pub", kf.public)
	return kf, nil
}

func readPublic(path string) ssh.PublicKey {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil
	}
	return key
}

// readCertificate reads the certificate of a key, nil if there is none for it.
func readCertificate(path string, key ssh.PublicKey) *ssh.Certificate {
	cert, ok := readPublic(path).(*ssh.Certificate)
	if !ok || key == nil || !bytes.Equal(cert.Key.Marshal(), key.Marshal()) {
		return nil
	}
	return cert
}

// signers gives the file's signers: with the certificate first, as OpenSSH does,
// then without. The agent's copy of the key is preferred: it asks nobody.
func (kf *keyFile) signers(ctx context.Context, k *Keys, held []ssh.Signer, pause Pause) []ssh.Signer {
	var plain ssh.Signer
	if kf.public != nil {
		id := kf.public.Marshal()
		for _, h := range held {
			if bytes.Equal(h.PublicKey().Marshal(), id) {
				plain = h
			}
		}
	}
	if plain == nil && kf.onlyPublic {
		k.warn("key " + kf.path + ": the agent does not hold it")
		return nil
	}
	if plain == nil {
		lazy := &lazySigner{ctx: ctx, file: kf, public: kf.public, prompter: k.Prompter, pause: pause}
		if lazy.public == nil {
			// Nothing tells which key it is: it has to be decrypted to be offered.
			signer, err := lazy.decrypted()
			if err != nil {
				k.warn(err.Error())
				return nil
			}
			lazy.public = signer.PublicKey()
		}
		plain = lazy
	}
	if kf.cert != nil {
		if certified, err := ssh.NewCertSigner(kf.cert, plain); err == nil {
			return []ssh.Signer{certified, plain}
		}
	}
	return []ssh.Signer{plain}
}

// lazySigner decrypts its key when it has to sign.
type lazySigner struct {
	ctx      context.Context // of the login; a Signer's methods take none
	file     *keyFile
	public   ssh.PublicKey
	prompter Prompter
	pause    Pause
}

func (s *lazySigner) PublicKey() ssh.PublicKey { return s.public }

func (s *lazySigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

// SignWithAlgorithm is needed for RSA keys: without it they would sign SHA-1.
func (s *lazySigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := s.decrypted()
	if err != nil {
		return nil, err
	}
	return signWith(signer, rand, data, algorithm)
}

// passphraseTries is how often a person is asked for one passphrase, as by ssh.
const passphraseTries = 3

// decrypted opens the key, with a stored passphrase first.
func (s *lazySigner) decrypted() (ssh.Signer, error) {
	kf := s.file
	kf.mu.Lock()
	defer kf.mu.Unlock()
	if kf.signer != nil {
		return kf.signer, nil
	}
	defer s.pause.begin()()
	passphrase, origin, err := kf.passphrase.Stored(s.ctx)
	if err == nil && origin == "" {
		err = errNoPassphrase
	} else if err == nil {
		err = kf.open(passphrase)
	}
	for range passphraseTries {
		if err == nil || s.prompter == nil || !errors.Is(err, errNoPassphrase) && !errors.Is(err, errWrongPassphrase) {
			break
		}
		if passphrase, err = s.prompter.Secret(s.ctx, "Passphrase for "+kf.path); err == nil {
			err = kf.open(passphrase)
		}
	}
	if err != nil {
		return nil, &PassphraseError{File: kf.path, Err: err}
	}
	return kf.signer, nil
}

func (kf *keyFile) open(passphrase Secret) error {
	signer, err := ssh.ParsePrivateKeyWithPassphrase(kf.pem, []byte(passphrase.Reveal()))
	if errors.Is(err, x509.IncorrectPasswordError) {
		return errWrongPassphrase
	}
	kf.signer = signer
	return err
}

// Fingerprint names a key as ssh-keygen -l does: "ED25519 SHA256:…".
func Fingerprint(key ssh.PublicKey) string {
	return KeyType(key) + " " + ssh.FingerprintSHA256(key)
}

// KeyType is the short name of a key's type: "ED25519", "RSA", "ECDSA".
func KeyType(key ssh.PublicKey) string {
	name := key.Type()
	if cert, ok := key.(*ssh.Certificate); ok {
		return KeyType(cert.Key) + "-CERT"
	}
	name = strings.TrimSuffix(name, "@openssh.com")
	switch {
	case strings.HasPrefix(name, "ecdsa-"):
		return "ECDSA"
	case strings.HasPrefix(name, "sk-ecdsa-"):
		return "ECDSA-SK"
	case strings.HasPrefix(name, "sk-ssh-"):
		return strings.ToUpper(strings.TrimPrefix(name, "sk-ssh-")) + "-SK"
	default:
		return strings.ToUpper(strings.TrimPrefix(name, "ssh-"))
	}
}
