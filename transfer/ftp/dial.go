package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	jlaffaye "github.com/jlaffaye/ftp"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/tcp"
)

// Security is how TLS begins.
type Security uint8

// The kinds of FTP and FTPS.
const (
	Clear    Security = iota // ftp:// without TLS
	Explicit                 // ftpes:// AUTH TLS on the normal port (RFC 4217)
	Implicit                 // ftps:// TLS from the first byte
)

// PortRange are the ports that active mode may listen on, both ends included.
// The zero value leaves the choice to the system.
type PortRange struct{ First, Last uint16 }

// Options says where to log in and how. Only Address and User are required.
type Options struct {
	// Address is "host:port".
	Address string
	// Security says how TLS begins; it never falls back to clear text.
	Security Security
	// TLS is the configuration of auth.TLS; nil is the zero value of that.
	TLS *tls.Config
	// VirtualHost is sent with HOST (RFC 7151) before the login, where one
	// address serves several sites; "" sends nothing.
	VirtualHost string

	User string
	// Password is asked only when the server wants one. Whoever provides it
	// keeps it, so that a second login asks nobody.
	Password func(ctx context.Context) (auth.Secret, error)
	// Account answers a 332; empty if there is none.
	Account auth.Secret

	// Mode is the person's wish, and Hints where to begin and what is
	// remembered about the host.
	Mode  transfer.Mode
	Hints transfer.Hints
	// ActiveAddress is the address that active mode tells the server, invalid
	// for that of the control connection. ActivePorts are those that it
	// listens on.
	ActiveAddress netip.Addr
	ActivePorts   PortRange

	Timeouts transfer.Timeouts
	// KeepAlive is how often a NOOP is sent while data flows, 0 for never: it
	// keeps a NAT from forgetting a silent control connection, and some servers
	// take it badly.
	KeepAlive time.Duration

	// Encoding is the code page of names on the server, "" for UTF-8.
	Encoding string
	// Zone is the server's time zone, for LIST; nil to find out.
	Zone *time.Location

	// DialContext opens TCP connections, through a proxy for instance. Data
	// connections are then dialled by the name in Address, and active mode is
	// not possible. nil dials directly.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Log gets the wire at debug level, without passwords; nil for none.
	Log *slog.Logger
}

// host is Address without the port.
func (o *Options) host() string {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return o.Address
	}
	return host
}

func (o *Options) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if o.DialContext != nil {
		return o.DialContext(ctx, network, address)
	}
	return tcp.Dial(ctx, network, address)
}

// complete gives every field that was left out its default.
func (o *Options) complete() {
	defaults := transfer.WithTimeout(0)
	for _, d := range []struct{ field, value *time.Duration }{
		{&o.Timeouts.Connect, &defaults.Connect},
		{&o.Timeouts.Reply, &defaults.Reply},
		{&o.Timeouts.Idle, &defaults.Idle},
		{&o.Timeouts.Final, &defaults.Final},
	} {
		if *d.field <= 0 {
			*d.field = *d.value
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// lineBreaks end a command (RFC 959 §5.3.1; vsftpd 3.0.3 turns NUL into LF).
const lineBreaks = "\r\n\x00"

// Dial connects and logs in, once. The error is a *policy.Fault, or says that
// an option can't be used.
func Dial(ctx context.Context, o Options) (transfer.Session, error) {
	o.complete()
	page, err := newCharset(o.Encoding)
	if err != nil {
		return nil, err
	}
	for what, value := range map[string]string{"user": o.User, "account": o.Account.Reveal(), "virtual host": o.VirtualHost} {
		if strings.ContainsAny(value, lineBreaks) {
			return nil, &policy.Fault{
				Protocol: policy.Local, Phase: policy.Connect, Op: "configure", Host: o.host(),
				Cause: policy.CauseConfig, Text: "the " + what + " contains a control character",
			}
		}
	}
	x := &interposer{o: &o, charset: page, able: newAbilities(o.Hints.Facts)}
	if o.Security != Clear {
		if x.tls, err = tlsConfig(&o); err != nil {
			return nil, err
		}
	}
	s := newSession(x)
	ctx, end := s.bound(ctx)
	defer end()
	x.begin(ctx, "dial", "", "")
	if err := s.connect(ctx); err != nil {
		s.abandon()
		return nil, err
	}
	if err := s.logIn(ctx); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func tlsConfig(o *Options) (*tls.Config, error) {
	c := o.TLS
	if c == nil {
		var err error
		if c, err = (auth.TLS{}).Config(); err != nil {
			return nil, err
		}
	}
	c = auth.ForConnection(c, o.host())
	c.DynamicRecordSizingDisabled = true // small records are for who looks at the first bytes of a page
	return c, nil
}

// connect goes from the address to a server that is ready for USER: TCP,
// greeting, TLS, HOST.
func (s *session) connect(ctx context.Context) error {
	x := s.x
	raw, err := s.reach(ctx)
	if err != nil {
		return unreachable(ctx, x.o, err)
	}
	x.ends = endsOf(x.o, raw)
	x.modes = newModes(x.o, x.ends)
	conn := raw
	if x.o.Security == Implicit {
		c := tls.Client(raw, x.tls)
		handshake, cancel := context.WithTimeout(ctx, x.o.Timeouts.Connect)
		defer cancel()
		if err := c.HandshakeContext(handshake); err != nil {
			_ = raw.Close()
			return noTLS(ctx, x.o, err)
		}
		s.secured(c.ConnectionState())
		conn = c
	}
	x.w = newWire(raw, conn, x.o.Timeouts.Reply, x.o.Log)
	if err := s.greeting(ctx); err != nil {
		return err
	}
	if x.o.Security == Explicit {
		if err := s.startTLS(ctx); err != nil {
			return err
		}
	}
	return s.virtualHost()
}

func (s *session) reach(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.x.o.Timeouts.Connect)
	defer cancel()
	return s.x.o.dial(ctx, "tcp", s.x.o.Address)
}

// endsOf reads the addresses of a direct connection.
func endsOf(o *Options, conn net.Conn) ends {
	if o.DialContext != nil {
		return ends{host: o.host()}
	}
	e := ends{local: addrOf(conn.LocalAddr()), remote: addrOf(conn.RemoteAddr())}
	e.host = e.remote.String()
	return e
}

func (s *session) greeting(ctx context.Context) error {
	x := s.x
	r, err := x.w.final(ctx, x.w.limit)
	switch {
	case err != nil:
		return x.lost(policy.Connect, "greeting", "", err)
	case !r.completed():
		return x.said(policy.Connect, "greeting", "", r)
	}
	s.software = policy.Sanitize(r.lines[0])
	x.w.ahead.decide(r.text(), x.o.Hints.Facts)
	return nil
}

// startTLS never goes on in clear text, whatever the server answers (RFC 4217
// §15.1 leaves that to the client's policy, and this is ours).
func (s *session) startTLS(ctx context.Context) error {
	x := s.x
	x.w.upgrading.Store(true)
	r, err := x.exchange("AUTH TLS", "")
	switch {
	case err != nil:
		return x.lost(policy.Connect, "AUTH", "", err)
	case r.code != 234:
		f := x.said(policy.Connect, "AUTH", "", r)
		if r.unsupported() || r.completed() {
			f.Cause = policy.CauseClearText
		}
		return f
	}
	handshake, cancel := context.WithTimeout(ctx, x.o.Timeouts.Connect)
	defer cancel()
	state, err := x.w.startTLS(handshake, x.tls)
	switch {
	case errors.Is(err, errInjected):
		return x.lost(policy.Connect, "AUTH", "", err)
	case err != nil:
		return noTLS(ctx, x.o, err)
	}
	s.secured(state)
	return nil
}

// virtualHost names the site, where one address serves several. A server that
// does not know HOST has only one (RFC 7151 §3.2).
func (s *session) virtualHost() error {
	if s.x.o.VirtualHost == "" {
		return nil
	}
	r, ok, err := s.x.optional("HOST", s.x.o.VirtualHost)
	if err != nil || !ok || r.completed() {
		return err
	}
	return s.x.said(policy.Connect, "HOST", "", r)
}

// logIn lets the library log in over the interposer.
func (s *session) logIn(ctx context.Context) error {
	x := s.x
	x.begin(ctx, "USER", "", "")
	x.out.WriteString("220 \r\n") // the greeting has been read
	data := false
	options := []jlaffaye.DialOption{
		jlaffaye.DialWithDisabledEPSV(true),
		jlaffaye.DialWithDisabledUTF8(true), // a refused OPTS would fail the login
		jlaffaye.DialWithDialFunc(func(string, string) (net.Conn, error) {
			if !data {
				data = true
				return x, nil
			}
			return x.connect()
		}),
	}
	if x.tls != nil {
		// The library then sends PBSZ 0 and PROT P; TLS itself is ours.
		options = append(options, jlaffaye.DialWithTLS(x.tls))
	}
	lib, err := jlaffaye.Dial(x.o.Address, options...)
	if err != nil {
		return x.result("greeting", err)
	}
	s.lib = lib
	user := x.charset.mustEncode(x.o.User)
	if err := x.result("USER", lib.Login(user, "")); err != nil {
		return err
	}
	if err := s.speakUTF8(); err != nil || !x.w.ahead.has("PWD") {
		return err
	}
	_, err = s.homeDir()
	return err
}

// factUTF8: the server makes it a question, and needs no CLNT before.
const (
	factUTF8    = "utf8"
	utf8Offered = "offered"
)

// speakUTF8 asks for names in UTF-8 where the server makes it a question (the
// draft behind RFC 2640; Serv-U wants to know the client first). Any answer will do.
func (s *session) speakUTF8() error {
	x := s.x
	if x.charset.page != nil || !x.able.offers("UTF8") {
		return nil
	}
	if x.able.offers("CLNT") {
		if _, _, err := x.optional("CLNT", "xfer"); err != nil {
			return err
		}
	}
	_, _, err := x.optional("OPTS UTF8", "ON")
	return err
}
