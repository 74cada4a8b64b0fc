package sftp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/tcp"
)

// Options say how to reach a server and what it may be asked.
type Options struct {
	// Address is "host:port"; the host is the name that known_hosts holds, unless
	// KnownAs says otherwise (HostKeyAlias).
	Address string
	KnownAs string
	// Login proves who we are, HostKeys who the server is.
	Login    *auth.Login
	HostKeys *auth.HostKeys
	Timeouts transfer.Timeouts
	// Facts are what is remembered about the server.
	Facts transfer.Facts
	// Need is the size in bytes of the file that comes first: the channels for it
	// are opened as soon as there are any. -1: there is one, whose size is not known
	// yet; 0: there may be none.
	Need int64
	// Early: requests may be made before the server greets, where it is known to take
	// that. What it offers is then thought to be what it offered before.
	Early bool
	// Further, if not nil, is Hints.Further: a file that takes long may be carried
	// over several connections.
	Further func(ctx context.Context, dial func(context.Context) error) (release func(), err error)
	// DialContext opens the connection, in place of tcp.Dial: a proxy, a
	// Command.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Jump is the host through which Address is reached, by way of its own Jump
	// (ProxyJump). nil: directly.
	Jump *Options
	// Algorithms limits key exchange, cipher and MAC, as auth.Algorithms gives
	// them; empty lists are those that are thought to be safe. Host keys and
	// signatures are the business of HostKeys and Login.
	Algorithms ssh.Algorithms
	// ForwardAgent is the socket of an agent that the server may use, "" for none.
	ForwardAgent string
	// AliveInterval is how long a connection may rest before the server is asked
	// for a sign of life, AliveLimit how long that may take; 0 derives both from
	// Timeouts.Reply.
	AliveInterval, AliveLimit time.Duration
	// Probe limits what a diagnosis may do on the server.
	Probe Probe
	// Shell: the login may run programs on the server; digests then come from
	// sha256sum where no extension has them.
	Shell bool
	// Sync asks the server to write a file to its disk before it is closed,
	// where the server can (fsync@openssh.com).
	Sync bool
	// Banner is given what the server shows before the login, unsanitised.
	Banner func(text string)
	// Warn is told of outdated algorithms that came into use; nil drops it.
	Warn func(text string)
	// Log takes debug records; nil drops them.
	Log *slog.Logger
}

// Probe is what a diagnosis may do.
type Probe uint8

// The choices, as the configuration names them.
const (
	ProbeSafe  Probe = iota // look, without side effects; the default
	ProbeWrite              // also write a file of one byte, and remove it
	ProbeOff                // nothing: the verdict of the bare code stands
)

var probeNames = [...]string{"safe", "write", "off"}

func (p Probe) String() string { return probeNames[p] }

// MarshalText gives the name.
func (p Probe) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a name; the error lists what it can be.
func (p *Probe) UnmarshalText(text []byte) error {
	for i, name := range probeNames {
		if string(text) == name {
			*p = Probe(i)
			return nil
		}
	}
	return errors.New("must be safe, write or off")
}

// Dial connects, checks the host key, logs in and starts the SFTP server. It
// tries once. The error is a *policy.Fault.
func Dial(ctx context.Context, o Options) (transfer.Session, error) {
	if o.DialContext != nil || o.Jump != nil {
		o.Further = nil // behind a proxy it might be to another server
	}
	o.setDefaults()
	c, err := connect(ctx, &o, nil)
	if err != nil {
		return nil, err
	}
	s := newSession(c, o)
	if err := s.start(ctx); err != nil {
		defer c.abort(net.ErrClosed)
		f := (&channel{conn: c}).fault(policy.Connect, "channel", "", err)
		f.Protocol, f.Host = policy.SSH, o.host()
		f.Text = cmp.Or(f.Text, policy.Sanitize(f.Err.Error()))
		return nil, f
	}
	o.Log.Debug("sftp_session", "host", o.Address, "software", s.software(), "rtt", time.Duration(c.rtt.Load()))
	return s, nil
}

func (o *Options) setDefaults() {
	d := transfer.WithTimeout(0)
	for _, t := range []struct{ value, fallback *time.Duration }{
		{&o.Timeouts.Connect, &d.Connect}, {&o.Timeouts.Reply, &d.Reply},
		{&o.Timeouts.Idle, &d.Idle}, {&o.Timeouts.Final, &d.Final},
	} {
		if *t.value <= 0 {
			*t.value = *t.fallback
		}
	}
	if o.DialContext == nil {
		o.DialContext = tcp.Dial
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	safe := ssh.SupportedAlgorithms()
	for _, list := range []struct{ value, fallback *[]string }{
		{&o.Algorithms.KeyExchanges, &safe.KeyExchanges}, {&o.Algorithms.Ciphers, &safe.Ciphers}, {&o.Algorithms.MACs, &safe.MACs},
	} {
		if len(*list.value) == 0 {
			*list.value = *list.fallback
		}
	}
	if o.Jump != nil {
		o.Jump.setDefaults()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// knownAs is the address under which known_hosts has the server. An alias stands
// there without a port, as the standard port does.
func (o *Options) knownAs() string {
	if o.KnownAs != "" {
		return net.JoinHostPort(o.KnownAs, "22")
	}
	return o.Address
}

func (o *Options) host() string {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return o.Address
	}
	return host
}

// connect gets as far as the login. Beside another connection, if not nil, it is one
// to the same address and with the same host key, and asks nobody.
func connect(ctx context.Context, o *Options, beside *connection) (*connection, error) {
	raw, err := dialServer(ctx, o)
	if err != nil {
		return nil, connectFault(o.host(), policy.Net, policy.Connect, "dial", err)
	}
	s := newSocket(raw, o.Timeouts.Idle)

	// The library has no limits of its own here, and a deadline on the socket
	// does not work through a jump host: the socket is closed instead.
	clock := newClock(o.Timeouts.Connect, func() { _ = s.Close() })
	defer clock.stop()
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()

	attempt := o.Login.Begin(ctx, clock.pause)
	defer attempt.Close()
	config := &ssh.ClientConfig{Config: ssh.Config{
		KeyExchanges: o.Algorithms.KeyExchanges, Ciphers: o.Algorithms.Ciphers, MACs: o.Algorithms.MACs,
	}}
	attempt.Configure(config)
	if o.Banner != nil {
		config.BannerCallback = func(text string) error { o.Banner(text); return nil }
	}
	if err := o.HostKeys.Configure(ctx, config, o.knownAs(), clock.pause); err != nil {
		_ = s.Close()
		return nil, connectFault(o.host(), policy.SSH, policy.Connect, "handshake", err)
	}
	var hostKey ssh.PublicKey
	check := config.HostKeyCallback
	if beside != nil {
		check = ssh.FixedHostKey(beside.hostKey)
	}
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		if hostKey == nil { // else it is about new session keys
			s.turns.begin()
		}
		hostKey = key
		return check(host, remote, key)
	}
	conn, channels, requests, err := ssh.NewClientConn(s, o.knownAs(), config)
	if err != nil {
		_ = s.Close()
		return nil, o.handshakeFault(ctx, err, s, attempt, clock)
	}
	attempt.Succeeded()
	o.warnOutdated(conn, attempt)
	c := newConnection(ssh.NewClient(conn, channels, requests), s, o)
	c.hostKey, c.repeatable = hostKey, attempt.Repeatable()
	c.rtt.Store(int64(s.turns.end()))
	return c, nil
}

// warnOutdated names what was agreed on and is no longer thought to be safe.
func (o *Options) warnOutdated(conn ssh.Conn, a *auth.Attempt) {
	found := a.Outdated()
	if m, ok := conn.(ssh.AlgorithmsConnMetadata); ok {
		if negotiated := auth.Outdated(m.Algorithms()); negotiated != "" {
			found = strings.Trim(negotiated+", "+found, ", ")
		}
	}
	if found != "" {
		o.Warn("the connection to " + o.host() + " uses outdated algorithms, which can be broken: " + found)
	}
}

// dialServer opens the connection to the server, through its jump host if it has
// one. A jump host has limits of its own: somebody may have to type a password.
func dialServer(ctx context.Context, o *Options) (net.Conn, error) {
	if o.Jump == nil {
		return dialTCP(ctx, o)
	}
	via, err := connect(ctx, o.Jump, nil)
	if err != nil {
		return nil, err
	}
	through := *o
	through.DialContext = via.client.DialContext
	conn, err := dialTCP(ctx, &through)
	if err != nil {
		via.abort(net.ErrClosed)
		<-via.dead
		if refused, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
			f := connectFault(o.Jump.host(), policy.SSH, policy.Connect, "dial", err)
			f.Cause, f.Text = policy.CauseProxy, policy.Sanitize("the jump host can't reach "+o.Address+": "+refused.Message)
			return nil, f
		}
		return nil, err
	}
	return &tunnel{conn, via}, nil
}

// tunnel is a connection through a jump host, which ends with it.
type tunnel struct {
	net.Conn
	via *connection
}

func (t *tunnel) Close() error {
	t.via.abort(net.ErrClosed) // takes the channel along; closing that would wait for an answer
	<-t.via.dead
	return nil
}

func dialTCP(ctx context.Context, o *Options) (net.Conn, error) {
	limited, cancel := context.WithTimeoutCause(ctx, o.Timeouts.Connect, &stalled{o.Timeouts.Connect})
	defer cancel()
	conn, err := o.DialContext(limited, "tcp", o.Address)
	if err != nil && limited.Err() != nil {
		// The person's deadline, or ours: the dialler reports both alike.
		return nil, context.Cause(limited)
	}
	return conn, err
}

// handshakeFault tells apart what the library returns as one string of words.
func (o *Options) handshakeFault(ctx context.Context, err error, s *socket, a *auth.Attempt, clock *clock) *policy.Fault {
	fault := func(p policy.Protocol, phase policy.Phase, op string, err error) *policy.Fault {
		return connectFault(o.host(), p, phase, op, err)
	}
	phase, op := policy.Connect, "handshake"
	if a.Began() {
		phase, op = policy.Auth, "auth"
	}
	switch {
	case ctx.Err() != nil:
		return fault(policy.SSH, phase, op, context.Cause(ctx))
	case isHostKey(err):
		return fault(policy.SSH, phase, op, err)
	case clock.expired() && !bytes.Contains(s.said(), []byte("SSH-")) && len(s.said()) > 0:
		return o.notSSH(s)
	case clock.expired():
		return fault(policy.Net, phase, op, &stalled{o.Timeouts.Connect})
	case isCommand(err):
		f := fault(policy.Net, phase, op, err)
		f.Cause = policy.CauseProxy
		return f
	case a.Began() && policy.NetCause(err) == "":
		return fault(policy.SSH, phase, op, a.Failure(err))
	case bytes.Contains(s.said(), []byte("SSH-")):
		return fault(policy.SSH, phase, op, err)
	case policy.NetCause(err) == policy.CauseReset && !speaksHTTP(s.said()):
		// Hung up before the banner: too many logins under way (MaxStartups),
		// or we are not welcome from here. OpenSSH may say which, in a line.
		f := fault(policy.SSH, phase, op, err)
		f.Cause = policy.CauseStartups
		f.Text = cmp.Or(policy.Sanitize(string(s.said())), f.Text)
		return f
	case len(s.said()) > 0:
		return o.notSSH(s)
	default:
		return fault(policy.Net, phase, op, err)
	}
}

func isHostKey(err error) bool {
	_, wrongKey := errors.AsType[*auth.HostKeyError](err)
	_, noFile := errors.AsType[*auth.KnownHostsError](err)
	return wrongKey || noFile
}

func isCommand(err error) bool {
	_, ok := errors.AsType[*CommandError](err)
	return ok
}

// speaksHTTP: a web server answers our banner with an error page and hangs up,
// which a busy sshd does, too.
func speaksHTTP(said []byte) bool { return bytes.HasPrefix(said, []byte("HTTP/")) }

// notSSH: the server greets with something else.
func (o *Options) notSSH(s *socket) *policy.Fault {
	f := connectFault(o.host(), policy.SSH, policy.Connect, "handshake", fmt.Errorf("the server said %q", s.said()))
	line, _, _ := bytes.Cut(s.said(), []byte("\n"))
	f.Cause, f.Text = policy.CauseNotSSH, policy.Sanitize(string(line))
	return f
}

// clock limits the handshake. It stands still while we are the ones who take
// our time.
type clock struct {
	mu      sync.Mutex
	timer   *time.Timer
	left    time.Duration
	since   time.Time
	pauses  int
	isOver  bool
	expires func()
}

func newClock(limit time.Duration, expires func()) *clock {
	c := &clock{left: limit, since: time.Now(), expires: expires}
	c.timer = time.AfterFunc(limit, c.expire)
	return c
}

func (c *clock) expire() {
	c.mu.Lock()
	over := c.pauses == 0
	c.isOver = c.isOver || over
	c.mu.Unlock()
	if over {
		c.expires()
	}
}

// pause is an auth.Pause. Pauses may overlap.
func (c *clock) pause() (resume func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pauses++; c.pauses == 1 && c.timer.Stop() {
		c.left -= time.Since(c.since)
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pauses--; c.pauses == 0 {
			c.since = time.Now()
			c.timer.Reset(max(c.left, time.Second))
		}
	})
}

func (c *clock) expired() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOver
}

func (c *clock) stop() { c.timer.Stop() }
