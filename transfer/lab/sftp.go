package lab

import (
	"cmp"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SFTPConfig describes an SFTP server. The zero value, with a Root, behaves as
// OpenSSH does and lets anybody in.
type SFTPConfig struct {
	// Root is the directory that is served, and Home the start directory in
	// it, "/" by default, made if missing.
	Root, Home string
	// Addr is a loopback address and port, "127.0.0.1:0" by default.
	Addr string
	// User and Password are the login; no User lets anybody in.
	User, Password string
	// Keys are accepted by publickey, and certificates of UserCAs.
	Keys, UserCAs []ssh.PublicKey
	// Questions are those of keyboard-interactive; by default the password.
	Questions []Question
	// AuthMethods is as in sshd_config: "publickey,password keyboard-interactive"
	// is a key and then the password, or the questions. By default any one.
	AuthMethods string
	// MaxAuthTries is how many attempts a connection has, 6 by default.
	MaxAuthTries int
	// Banner is shown before the login.
	Banner string
	// HostKeys are by default one new ed25519 key.
	HostKeys []ssh.Signer
	// Crypto limits the algorithms.
	Crypto ssh.Config

	// MaxConnections is how many are served at once; more are dropped before
	// the banner, as with OpenSSH's MaxStartups.
	MaxConnections int
	// Volumes limit parts of the tree.
	Volumes []Volume
	// Forward lets clients connect on from here to loopback addresses, as a jump
	// host does (direct-tcpip, RFC 4254 §7.2).
	Forward bool
	// Exec runs commands; nil refuses them, as internal-sftp.
	Exec func(command string, stdout, stderr io.Writer) (status int)

	// Quirks are what this server does differently; Profile has some.
	Quirks Quirks
	Script []Rule
}

// Quirks are how servers differ, as data. The zero value is OpenSSH.
type Quirks struct {
	// Software is the server's name in the SSH banner.
	Software string
	// Extensions are those announced and served: nil is OpenSSH's (see
	// OpenSSHExtensions), an empty slice none.
	Extensions []string
	// MaxPacket kills the session of a client that sends more, in bytes, 256
	// KiB by default. MaxRead caps the data in an answer to READ, 255 KiB by
	// default, and MaxWrite is what limits@openssh.com says, the same.
	MaxPacket, MaxRead, MaxWrite uint32
	// MaxHandles is how many may be open per channel, 0 without limit: the next
	// OPEN gets 4.
	MaxHandles int
	// MaxSessions is how many channels a connection may have, 10 by default.
	MaxSessions int
	// ReadOnly refuses every change with 3, and announces neither posix-rename
	// nor fsync, as OpenSSH's -R.
	ReadOnly bool
	// Refuse gives a status code for packet types and extensions, by name, for
	// kinds of OPEN: "OPEN+APPEND", "OPEN+READ+WRITE", "OPEN+EXISTING" (for
	// writing, without TRUNC: what a resume needs), and for "SETSTAT+MODE".
	Refuse map[string]uint32
	// Codes replaces status codes by others.
	Codes map[uint32]uint32
	// ReplaceOnRename lets RENAME replace a file, as servers built on pkg/sftp.
	ReplaceOnRename bool
	// ErrnoText puts the operating system's words into a status instead of the
	// name of the code.
	ErrnoText bool
	// Drive ("C:") makes paths look like those of OpenSSH for Windows:
	// "/C:/Users"; backslashes separate too.
	Drive string
	// BadNames are characters that no name may have; a client's gets 5.
	BadNames string
	// SlowClose is how long CLOSE takes.
	SlowClose time.Duration
}

// OpenSSHExtensions are announced by default.
var OpenSSHExtensions = []string{
	"posix-rename@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com",
	"hardlink@openssh.com", "fsync@openssh.com", "lsetstat@openssh.com", "limits@openssh.com",
}

// SFTP is a running SFTP server.
type SFTP struct {
	*Server
	cfg        SFTPConfig
	methods    [][]string
	knownHosts string // the file

	mu        sync.Mutex
	transfers map[string]*sftpTransfer // by path, of all channels
}

// StartSFTP starts a server. The caller must Close it.
func StartSFTP(cfg SFTPConfig) (*SFTP, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	methods, err := parseMethods(cfg.AuthMethods, len(cfg.Keys)+len(cfg.UserCAs) > 0)
	if err != nil {
		return nil, err
	}
	server, err := newServer("sftp", cfg.User, cfg.Addr, cfg.Root, cfg.Home, cfg.Volumes, cfg.Script)
	if err != nil {
		return nil, err
	}
	f := &SFTP{Server: server, cfg: cfg, methods: methods, transfers: make(map[string]*sftpTransfer)}
	if f.knownHosts, err = f.tempFile("known_hosts", []byte(f.KnownHosts())); err != nil {
		return nil, errors.Join(err, server.Close())
	}
	f.limit = cfg.MaxConnections
	f.serve(f.handle)
	return f, nil
}

func (c *SFTPConfig) setDefaults() error {
	c.Home = absolute("/", c.Home)
	c.MaxAuthTries = cmp.Or(c.MaxAuthTries, 6)
	if len(c.HostKeys) == 0 {
		key, err := NewHostKey("ed25519")
		if err != nil {
			return err
		}
		c.HostKeys = []ssh.Signer{key}
	}
	if c.Questions == nil {
		c.Questions = []Question{{Prompt: "Password: ", Answer: c.Password}}
	}
	q := &c.Quirks
	q.Software = cmp.Or(q.Software, "OpenSSH_9.2p1")
	q.MaxPacket = cmp.Or(q.MaxPacket, 256<<10)
	q.MaxRead = cmp.Or(q.MaxRead, 256<<10-1024)
	q.MaxWrite = cmp.Or(q.MaxWrite, 256<<10-1024)
	q.MaxSessions = cmp.Or(q.MaxSessions, 10)
	if q.Extensions == nil {
		q.Extensions = OpenSSHExtensions
	}
	return nil
}

// HostKeys are the server's public host keys.
func (f *SFTP) HostKeys() []ssh.PublicKey {
	var keys []ssh.PublicKey
	for _, k := range f.cfg.HostKeys {
		keys = append(keys, k.PublicKey())
	}
	return keys
}

// KnownHosts are the lines for known_hosts, one per host key.
func (f *SFTP) KnownHosts() string {
	var b strings.Builder
	for _, key := range f.HostKeys() {
		b.WriteString(knownhosts.Line([]string{knownhosts.Normalize(f.Addr())}, key) + "\n")
	}
	return b.String()
}

// KnownHostsFile holds KnownHosts; Close removes it.
func (f *SFTP) KnownHostsFile() string { return f.knownHosts }
