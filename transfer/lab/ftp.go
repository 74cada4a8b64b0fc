package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Security is how an FTP server does TLS.
type Security uint8

// The kinds: none, AUTH TLS (RFC 4217), and TLS from the first byte.
const (
	Plain Security = iota
	Explicit
	Implicit
)

// DataMode is what becomes of a data connection negotiated with one command.
type DataMode uint8

const (
	// DataWorks is the zero value.
	DataWorks DataMode = iota
	// DataUnknown answers the command itself with NotImplemented.
	DataUnknown
	// Data425 accepts the command and refuses the transfer with 425.
	Data425
	// Data425After150 refuses it after a 150.
	Data425After150
	// DataDead names a port that nobody listens on; the server waits for
	// DataTimeout and says 425. PORT and EPRT: the server's connect is refused,
	// so it says 425 at once.
	DataDead
	// DataSilent is a firewall that swallows: the port takes connections (the
	// kernel does) but nobody ever serves them; with PORT and EPRT nobody calls.
	// The server says 425 after DataTimeout.
	DataSilent
	// DataDropped takes the connection, or makes it, and closes it at once.
	DataDropped
)

// PassiveOnly are the Modes of a server where active does not work, and how.
func PassiveOnly(active DataMode) map[string]DataMode {
	return map[string]DataMode{"PORT": active, "EPRT": active}
}

// ActiveOnly are the Modes of a server where passive does not work, and how.
func ActiveOnly(passive DataMode) map[string]DataMode {
	return map[string]DataMode{"PASV": passive, "EPSV": passive}
}

// SessionReuse is what becomes of a data connection whose TLS session is not
// that of the control connection.
type SessionReuse uint8

const (
	// ReuseOptional takes any.
	ReuseOptional SessionReuse = iota
	// ReuseOr522 is vsftpd with require_ssl_reuse: 150, then 522, and the
	// control connection is closed at the next command.
	ReuseOr522
	// ReuseOr425 is proftpd without NoSessionReuseRequired: 150, then 425.
	ReuseOr425
)

// FTPConfig describes an FTP server. The zero value, with a Root, is a plain,
// well-behaved server that lets anybody in.
type FTPConfig struct {
	// Root is the directory that is served, and Home the login directory in
	// it, "/" by default, made if missing.
	Root, Home string
	// Addr is a loopback address and port, "127.0.0.1:0" by default.
	Addr string
	// User and Password are the login; no User lets anybody in.
	User, Password string
	// Account, if set, is asked for with 332 after the password.
	Account string

	// TLS is the kind; CA issues the certificate, a new one by default.
	TLS         Security
	CA          *CA
	Certificate Certificate
	// ClientCert demands a certificate issued by the CA.
	ClientCert bool
	// MinTLS and MaxTLS are versions of crypto/tls; 0 is the library's.
	MinTLS, MaxTLS uint16
	// DemandTLS is the reply to USER without TLS: 530 (vsftpd), 534 (RFC 4217),
	// 421 (pure-ftpd, which then hangs up), 0 for allowed.
	DemandTLS int
	// DemandProt answers transfers without PROT P with 522.
	DemandProt bool
	Reuse      SessionReuse

	// Greeting may have several lines.
	Greeting string
	// System is the reply to SYST.
	System string
	// With and Without change what the server knows, by the names in Optional.
	With, Without []string
	// NotImplemented is the code for what it does not know: 502 by default,
	// 500 as vsftpd.
	NotImplemented int
	// Listing, if set, gives the raw bytes of LIST, NLST or MLSD; nil is the
	// server's own listing.
	Listing func(verb, dir string) []byte
	// EmptyForMissing lists a missing directory as empty, as vsftpd and
	// pure-ftpd do; otherwise 550.
	EmptyForMissing bool

	// Modes says what does not work, by PASV, EPSV, PORT, EPRT.
	Modes map[string]DataMode
	// PasvHost is the IPv4 address in the reply to PASV, for servers behind NAT.
	PasvHost string
	// MarkFirst sends the 150 before the data connection is there, as proftpd;
	// otherwise after, as vsftpd.
	MarkFirst bool
	// DataTimeout limits the wait for a data connection, 10 s by default;
	// IdleTimeout that for a command (421), none by default.
	DataTimeout, IdleTimeout time.Duration

	// MaxConnections is how many are served at once; more get a 421.
	MaxConnections int
	// Volumes limit parts of the tree.
	Volumes []Volume
	// FullCode is the reply to an upload that does not fit: 452 by default,
	// 552, or 451 as vsftpd and pure-ftpd.
	FullCode int
	// AbortCode is the reply when the client closes the data connection early:
	// 426 by default, 451, or 150 as pure-ftpd.
	AbortCode int
	// NoRename refuses RNFR with 550; NoReplace refuses RNTO onto an existing
	// file with 553.
	NoRename, NoReplace bool
	// LockUploads is vsftpd: a second STOR, APPE or RETR of a file that is
	// being uploaded gets no reply until that upload has ended.
	LockUploads bool
	// LosesTogether drops what arrives together with a command, as servers do
	// that read their input in blocks.
	LosesTogether bool

	Script []Rule
}

// FTP is a running FTP server.
type FTP struct {
	*Server
	cfg    FTPConfig
	ca     *CA
	caFile string
	tls    *tls.Config // nil: plain
	knows  map[string]bool
	local  netip.Addr

	mu      sync.Mutex
	uploads map[string]chan struct{} // closed when the upload ends
}

// StartFTP starts a server. The caller must Close it.
func StartFTP(cfg FTPConfig) (*FTP, error) {
	cfg.setDefaults()
	knows, err := cfg.knows()
	if err != nil {
		return nil, err
	}
	scheme := map[Security]string{Plain: "ftp", Explicit: "ftpes", Implicit: "ftps"}[cfg.TLS]
	server, err := newServer(scheme, cfg.User, cfg.Addr, cfg.Root, cfg.Home, cfg.Volumes, cfg.Script)
	if err != nil {
		return nil, err
	}
	f := &FTP{Server: server, cfg: cfg, knows: knows, uploads: make(map[string]chan struct{})}
	f.local = server.ln.Addr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if cfg.TLS != Plain {
		if err := f.setUpTLS(); err != nil {
			return nil, errors.Join(err, server.Close())
		}
	}
	f.limit = cfg.MaxConnections
	f.serve(f.handle)
	return f, nil
}

func (c *FTPConfig) setDefaults() {
	c.Home = absolute("/", c.Home)
	if c.Greeting == "" {
		c.Greeting = "Welcome to the xfer lab.\nEverything here is for testing."
	}
	if c.System == "" {
		c.System = "UNIX Type: L8"
	}
	if c.NotImplemented == 0 {
		c.NotImplemented = 502
	}
	if c.FullCode == 0 {
		c.FullCode = 452
	}
	if c.AbortCode == 0 {
		c.AbortCode = 426
	}
	if c.DataTimeout == 0 {
		c.DataTimeout = 10 * time.Second
	}
}

// knows is the set of optional features that the server has.
func (c *FTPConfig) knows() (map[string]bool, error) {
	knows := make(map[string]bool)
	for _, o := range optional {
		knows[o.name] = !o.rare
	}
	for _, name := range slices.Concat(c.With, c.Without) {
		if _, ok := knows[name]; !ok {
			return nil, fmt.Errorf("lab: %q is not an optional feature", name)
		}
		knows[name] = slices.Contains(c.With, name)
	}
	return knows, nil
}

func (f *FTP) setUpTLS() error {
	f.ca = f.cfg.CA
	var err error
	if f.ca == nil {
		if f.ca, err = NewCA(); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	cert, err := f.ca.Server(f.cfg.Certificate)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if f.caFile, err = f.tempFile("ca.pem", f.ca.PEM()); err != nil {
		return err
	}
	f.tls = &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   f.cfg.MinTLS,
		MaxVersion:   f.cfg.MaxTLS,
	}
	if f.cfg.ClientCert {
		f.tls.ClientAuth = tls.RequireAndVerifyClientCert
		f.tls.ClientCAs = f.ca.Pool()
	}
	return nil
}

// CA is the authority behind the server's certificate, nil without TLS.
func (f *FTP) CA() *CA { return f.ca }

// CAFile is a file with the authority's certificate, for --ca-file; it is
// removed by Close. "" without TLS.
func (f *FTP) CAFile() string { return f.caFile }

// lock waits until no upload to the file is under way and, for an upload,
// claims it. The returned func ends the claim; ok is false if done came first.
func (f *FTP) lock(file string, claim bool, done <-chan struct{}) (unlock func(), ok bool) {
	if !f.cfg.LockUploads {
		return func() {}, true
	}
	for {
		f.mu.Lock()
		busy := f.uploads[file]
		if busy == nil {
			break
		}
		f.mu.Unlock()
		select {
		case <-busy:
		case <-done:
			return nil, false
		}
	}
	defer f.mu.Unlock()
	if !claim {
		return func() {}, true
	}
	mine := make(chan struct{})
	f.uploads[file] = mine
	return func() {
		f.mu.Lock()
		delete(f.uploads, file)
		f.mu.Unlock()
		close(mine)
	}, true
}
