package auth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// Unknown says what to do with a host whose key is not known yet. A key that
// differs from a known one is refused whatever this says.
type Unknown uint8

// The choices, as StrictHostKeyChecking of ssh_config(5) has them.
const (
	Refuse    Unknown = iota // "yes", the default
	AcceptNew                // "accept-new": write it down and go on
	Ask                      // "ask": show the fingerprint to the person
)

// HostKeys proves who the server is, from known_hosts files. It may be used from
// several goroutines; it must not be copied.
type HostKeys struct {
	// Files are read; a missing one is empty. New keys are appended to the
	// first. Empty means DefaultKnownHosts.
	Files   []string
	Unknown Unknown
	// Prompter confirms keys when Unknown is Ask; without one they are refused.
	Prompter Prompter
	// Algorithms limits and orders the host key algorithms, as Algorithms gives
	// them; nil are those that are thought to be safe.
	Algorithms []string
	// Hash writes new keys under a hash of the host's name (HashKnownHosts).
	Hash bool
	// Warn is told of lines that can't be read. They are left out.
	Warn func(text string)

	mu     sync.Mutex // writing and asking, one host at a time
	warned sync.Map   // "file:line" of what Warn has been told
}

// DefaultKnownHosts are the files of OpenSSH: the person's, then the system's.
func DefaultKnownHosts() []string {
	files := []string{"/etc/ssh/ssh_known_hosts"}
	if home := Home(); home != "" {
		files = slices.Insert(files, 0, filepath.Join(home, ".ssh", "known_hosts"))
	}
	return files
}

// HostKeyProblem says what is wrong with a host key.
type HostKeyProblem uint8

// The problems.
const (
	// HostKeyUnknown: the host is in no known_hosts file.
	HostKeyUnknown HostKeyProblem = iota
	// HostKeyChanged: the host is known with another key.
	HostKeyChanged
	// HostKeyRevoked: the key, or the authority that signed it, is marked @revoked.
	HostKeyRevoked
	// HostKeyCertificate: the host shows a certificate that is not valid for it.
	HostKeyCertificate
)

// HostKeyError says that the server could not prove who it is.
type HostKeyError struct {
	Problem HostKeyProblem
	// Host and Port are what was dialled.
	Host, Port string
	// Offered is the key that the server showed, as Fingerprint gives it.
	Offered string
	// Known are the entries that it should have matched.
	Known []KnownKey
	// File is where a new key would be written.
	File string
	// Err is the library's error.
	Err error
}

// KnownKey is an entry of a known_hosts file.
type KnownKey struct {
	Fingerprint string
	File        string
	Line        int
}

func (k KnownKey) String() string { return fmt.Sprintf("%s (%s:%d)", k.Fingerprint, k.File, k.Line) }

func (e *HostKeyError) Error() string {
	var known []string
	for _, k := range e.Known {
		known = append(known, k.String())
	}
	switch e.Problem {
	case HostKeyChanged:
		return fmt.Sprintf("the server shows the key %s, but known is %s", e.Offered, strings.Join(known, ", "))
	case HostKeyRevoked:
		return fmt.Sprintf("the server shows the key %s, revoked by %s", e.Offered, strings.Join(known, ", "))
	case HostKeyCertificate:
		return fmt.Sprintf("the server shows the certificate %s: %v", e.Offered, e.Err)
	default:
		return fmt.Sprintf("the server shows the key %s, not in %s", e.Offered, e.File)
	}
}

// Unwrap gives the library's error.
func (e *HostKeyError) Unwrap() error { return e.Err }

// Name is the host as known_hosts spells it: "[127.0.0.1]:2222".
func (e *HostKeyError) Name() string { return knownhosts.Normalize(net.JoinHostPort(e.Host, e.Port)) }

// KnownHostsError says that a known_hosts file could not be read or written.
type KnownHostsError struct {
	File string
	Err  error
}

func (e *KnownHostsError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }

// Unwrap gives the cause.
func (e *KnownHostsError) Unwrap() error { return e.Err }

// Configure makes an SSH handshake with addr ("host:port") check the host key.
// The error is a *KnownHostsError.
func (h *HostKeys) Configure(ctx context.Context, c *ssh.ClientConfig, addr string, pause Pause) error {
	db, err := h.load()
	if err != nil {
		return err
	}
	c.HostKeyAlgorithms = algorithmsFor(db, addr, h.Algorithms)
	c.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := h.check(db, host, remote, key)
		if e, ok := errors.AsType[*HostKeyError](err); ok && e.Problem == HostKeyUnknown && h.Unknown != Refuse {
			return h.accept(ctx, e, remote, key, pause)
		}
		return err
	}
	return nil
}

// algorithmsFor puts those first that known_hosts holds for the host, as OpenSSH
// does: the server then shows the key that we can check. Others follow, so that
// a host whose known key is gone is reported as changed. ssh-rsa with SHA-1 is
// among them only where allowed says so, and certificates only where an
// authority is known.
func algorithmsFor(db *database, addr string, allowed []string) []string {
	var known, others []string
	if allowed == nil {
		allowed = ssh.SupportedAlgorithms().HostKeys
	}
	for _, a := range db.HostKeyAlgorithms(addr) {
		if slices.Contains(allowed, a) {
			known = append(known, a)
		}
	}
	for _, a := range allowed {
		isCert := strings.Contains(a, "-cert-v01@")
		if !isCert && !slices.Contains(known, a) {
			others = append(others, a)
		}
	}
	return append(known, others...)
}

// check looks the key up.
func (h *HostKeys) check(db *database, addr string, remote net.Addr, key ssh.PublicKey) error {
	if remote == nil { // a connection that is no TCP connection
		remote = &net.TCPAddr{IP: net.IPv4zero}
	}
	err := db.HostKeyCallback()(addr, remote, key)
	if err == nil {
		return nil
	}
	host, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		host = addr
	}
	e := &HostKeyError{Host: host, Port: port, Offered: Fingerprint(key), File: h.files()[0], Err: err}
	if revoked := db.revoked(addr, remote, key); revoked != nil {
		e.Problem, e.Known = HostKeyRevoked, []KnownKey{db.known(revoked.Revoked)}
		return e
	}
	unmatched, ok := errors.AsType[*xknownhosts.KeyError](err)
	if !ok {
		e.Problem = HostKeyCertificate
		return e
	}
	for _, want := range unmatched.Want {
		if !db.isAuthority(addr, want.Key) {
			e.Known = append(e.Known, db.known(want))
		}
	}
	if len(e.Known) > 0 {
		e.Problem = HostKeyChanged
	}
	return e
}

// accept takes an unknown key, if the person agrees, and writes it down.
func (h *HostKeys) accept(ctx context.Context, e *HostKeyError, remote net.Addr, key ssh.PublicKey, pause Pause) error {
	defer pause.begin()()
	h.mu.Lock()
	defer h.mu.Unlock()
	// Another connection may have asked the same question meanwhile.
	db, err := h.load()
	if err != nil {
		return err
	}
	if err := h.check(db, net.JoinHostPort(e.Host, e.Port), remote, key); err == nil {
		return nil
	}
	if h.Unknown == Ask {
		if h.Prompter == nil {
			return e
		}
		yes, err := h.Prompter.Confirm(ctx, fmt.Sprintf(
			"The host %s is not known. Its key is %s. Trust it?", e.Name(), e.Offered))
		if err != nil {
			return fmt.Errorf("%w: %w", e, err)
		}
		if !yes {
			return e
		}
	}
	name := e.Name()
	if h.Hash {
		name = xknownhosts.HashHostname(name)
	}
	if err := appendKnownHost(e.File, knownhosts.Line([]string{name}, key)); err != nil {
		// As ssh: a home that can't be written to is no reason not to work.
		h.warn("the host key could not be written down: " + err.Error())
	}
	return nil
}

// appendKnownHost adds a line in one write, so that other programs that append
// at the same time don't mix with it.
func appendKnownHost(file, line string) error {
	fail := func(err error) error { return &KnownHostsError{File: file, Err: bare(err)} }
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	if !endsWithNewline(f) {
		line = "\n" + line
	}
	_, err = f.WriteString(line + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		return fail(err)
	}
	return nil
}

func endsWithNewline(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return true
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return err == nil && last[0] == '\n'
}

func (h *HostKeys) files() []string {
	if len(h.Files) == 0 {
		return DefaultKnownHosts()
	}
	return h.Files
}

// database is what the files hold.
type database struct {
	*knownhosts.HostKeyDB
	// names gives the file that a cleaned copy stands for.
	names map[string]string
}

func (db *database) known(k xknownhosts.KnownKey) KnownKey {
	name := k.Filename
	if original, ok := db.names[name]; ok {
		name = original
	}
	return KnownKey{Fingerprint: Fingerprint(k.Key), File: name, Line: k.Line}
}

// revoked gives the entry that revokes the key, or what a certificate stands on.
func (db *database) revoked(addr string, remote net.Addr, key ssh.PublicKey) *xknownhosts.RevokedError {
	keys := []ssh.PublicKey{key}
	if cert, ok := key.(*ssh.Certificate); ok {
		keys = []ssh.PublicKey{cert.Key, cert.SignatureKey}
	}
	for _, k := range keys {
		if e, ok := errors.AsType[*xknownhosts.RevokedError](db.HostKeyCallback()(addr, remote, k)); ok {
			return e
		}
	}
	return nil
}

// isAuthority says whether a key stands behind @cert-authority: it is then no
// key that the host could have changed.
func (db *database) isAuthority(addr string, key ssh.PublicKey) bool {
	for _, k := range db.HostKeys(addr) {
		if k.Cert && bytes.Equal(k.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}

// load reads the files. The library refuses a whole file for one line that it
// can't read, and takes nothing but files: it gets a cleaned copy then.
func (h *HostKeys) load() (*database, error) {
	db := &database{names: map[string]string{}}
	var paths []string
	for _, file := range h.files() {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, &KnownHostsError{File: file, Err: bare(err)}
		}
		path := file
		if clean, bad := cleanKnownHosts(text); len(bad) > 0 {
			h.warnLines(file, bad)
			if path, err = writeTemp(clean); err != nil {
				return nil, &KnownHostsError{File: file, Err: err}
			}
			defer os.Remove(path)
			db.names[path] = file
		}
		paths = append(paths, path)
	}
	read, err := knownhosts.NewDB(paths...)
	if err != nil {
		return nil, &KnownHostsError{File: strings.Join(h.files(), ", "), Err: err}
	}
	db.HostKeyDB = read
	return db, nil
}

func (h *HostKeys) warnLines(file string, lines []int) {
	for _, n := range lines {
		where := fmt.Sprintf("%s:%d", file, n)
		if _, told := h.warned.LoadOrStore(where, true); !told {
			h.warn(where + " can't be read and is left out")
		}
	}
}

func (h *HostKeys) warn(text string) {
	if h.Warn != nil {
		h.Warn(text)
	}
}

func writeTemp(text []byte) (string, error) {
	f, err := os.CreateTemp("", "xfer-known-hosts-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	return f.Name(), errors.Join(err, f.Close())
}

// cleanKnownHosts empties the lines that the library can't read and keeps their
// numbers. bad lists them, from 1.
func cleanKnownHosts(text []byte) (clean []byte, bad []int) {
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		if !validKnownHost(line) {
			bad = append(bad, i+1)
			lines[i] = nil
		}
	}
	return bytes.Join(lines, []byte("\n")), bad
}

// validKnownHost says whether a line of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT, is
// one that the library reads.
func validKnownHost(line []byte) bool {
	if len(line) >= bufio.MaxScanTokenSize-1 {
		return false
	}
	text := strings.TrimSuffix(string(line), "\r")
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' })
	if len(fields) == 0 || fields[0][0] == '#' {
		return true
	}
	if fields[0] == "@cert-authority" || fields[0] == "@revoked" {
		fields = fields[1:]
	}
	if len(fields) < 3 || fields[0][0] == '@' || !validHosts(fields[0]) {
		return false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil {
		return false
	}
	key, err := ssh.ParsePublicKey(blob)
	return err == nil && key.Type() == fields[1]
}

// validHosts checks the first field: patterns, or one hash "|1|salt|hash".
func validHosts(field string) bool {
	if field[0] == '|' {
		parts := strings.Split(field, "|")
		if len(parts) != 4 || parts[1] != "1" {
			return false
		}
		_, err1 := base64.StdEncoding.DecodeString(parts[2])
		_, err2 := base64.StdEncoding.DecodeString(parts[3])
		return err1 == nil && err2 == nil
	}
	for p := range strings.SplitSeq(field, ",") {
		negated := strings.HasPrefix(p, "!")
		p = strings.TrimPrefix(p, "!")
		if p == "" {
			if negated {
				return false
			}
			continue
		}
		if p[0] == '[' {
			if _, _, err := net.SplitHostPort(p); err != nil {
				return false
			}
		}
	}
	return true
}
