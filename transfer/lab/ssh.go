package lab

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// Question is one prompt of a keyboard-interactive login (RFC 4256).
type Question struct {
	Prompt, Answer string
	Echo           bool
}

// NewHostKey makes a host key: "ed25519", "ecdsa" (P-256) or "rsa" (2048 bits).
func NewHostKey(kind string) (ssh.Signer, error) {
	var key any
	var err error
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("unknown kind %q", kind)
	}
	if err != nil {
		return nil, fmt.Errorf("lab: host key: %w", err)
	}
	return ssh.NewSignerFromKey(key)
}

// loginGrace is how long a client may take to log in, as in OpenSSH.
const loginGrace = 2 * time.Minute

// sshConn is one SSH connection.
type sshConn struct {
	*SFTP
	id       int
	raw      *net.TCPConn
	ctx      context.Context // ends with the connection
	sessions atomic.Int32
}

// handle serves one SSH connection until it ends.
func (f *SFTP) handle(connect *Event, raw *net.TCPConn, crowded bool) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	c := &sshConn{SFTP: f, id: connect.Conn, raw: raw, ctx: ctx}
	hello := func(text string) { _, _ = io.WriteString(raw, text) } // a dead client is noticed below
	if e := c.stage("connect", "", sshStage{raw: hello}); e.taken {
		return
	}
	if crowded {
		return // as MaxStartups: without a word
	}
	_ = raw.SetDeadline(time.Now().Add(loginGrace)) // fails only on a dead connection
	conn, channels, requests, err := ssh.NewServerConn(raw, c.config())
	if err != nil {
		return
	}
	_ = raw.SetDeadline(time.Time{})
	f.running.Go(func() { ssh.DiscardRequests(requests) }) // a keepalive gets its "no"
	for channel := range channels {
		c.accept(channel)
	}
	_ = conn.Close() // the channels are closed: it is dead
}

func (c *sshConn) drop(how End) {
	c.release(c.id)
	closeConn(c.raw, how)
}

// sshStage performs an Action outside the file protocol.
type sshStage struct {
	*sshConn
	reply func(code int, text string)
	raw   func(bytes string)
	close func()
}

// stage carries out the rules on a point of the connection.
func (c *sshConn) stage(on, what string, s sshStage) effect {
	s.sshConn = c
	return c.script.carryOut(c.script.occur(on, what, Before), s)
}

func (s sshStage) context() context.Context { return s.ctx }
func (s sshStage) drop(how End)             { s.sshConn.drop(how) }
func (s sshStage) partial(int64)            {}
func (s sshStage) await(string) bool        { return true }
func (s sshStage) take(string)              {}

func (s sshStage) sendReply(code int, text string) {
	if s.reply != nil {
		s.reply(code, text)
	}
}

func (s sshStage) sendRaw(bytes string) {
	if s.raw != nil {
		s.raw(bytes)
	}
}

func (s sshStage) dropData(End) {
	if s.close != nil {
		s.close()
	}
}

// config is made per connection, so that the log knows who logs in.
func (c *sshConn) config() *ssh.ServerConfig {
	first := c.callbacks(nil)
	config := &ssh.ServerConfig{
		Config:                      c.cfg.Crypto,
		MaxAuthTries:                c.cfg.MaxAuthTries,
		ServerVersion:               "SSH-2.0-" + c.cfg.Quirks.Software,
		PasswordCallback:            first.PasswordCallback,
		PublicKeyCallback:           first.PublicKeyCallback,
		KeyboardInteractiveCallback: first.KeyboardInteractiveCallback,
		AuthLogCallback:             c.logLogin,
	}
	if c.cfg.Banner != "" {
		config.BannerCallback = func(ssh.ConnMetadata) string { return c.cfg.Banner }
	}
	for _, key := range c.cfg.HostKeys {
		config.AddHostKey(key)
	}
	return config
}

func (c *sshConn) logLogin(meta ssh.ConnMetadata, method string, err error) {
	if method == "none" {
		return // every client asks so for the list of methods (RFC 4252 §5.2)
	}
	outcome := "refused"
	if err == nil {
		outcome = "accepted"
	} else if _, ok := errors.AsType[*ssh.PartialSuccessError](err); ok {
		outcome = "partial"
	}
	c.record.add(Event{Conn: c.id, Verb: "login", Arg: method + " " + meta.User(), Text: outcome})
}

var errRefused = errors.New("login refused")

// callbacks are the methods that may follow those that are done, as OpenSSH's
// AuthenticationMethods has it.
func (c *sshConn) callbacks(done []string) ssh.ServerAuthCallbacks {
	// try is one attempt: it is scripted, wrong, enough, or one step of several.
	try := func(method string, meta ssh.ConnMetadata, right bool) (*ssh.Permissions, error) {
		if c.stage("auth", method, sshStage{}).taken || !right || c.cfg.User != "" && meta.User() != c.cfg.User {
			return nil, errRefused
		}
		now := append(slices.Clone(done), method)
		if slices.ContainsFunc(c.methods, func(m []string) bool { return slices.Equal(m, now) }) {
			return &ssh.Permissions{}, nil
		}
		return nil, &ssh.PartialSuccessError{Next: c.callbacks(now)}
	}
	var cb ssh.ServerAuthCallbacks
	for _, methods := range c.methods {
		if len(methods) <= len(done) || !slices.Equal(methods[:len(done)], done) {
			continue
		}
		switch methods[len(done)] {
		case "password":
			cb.PasswordCallback = func(meta ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
				return try("password", meta, c.cfg.User == "" || same(string(password), c.cfg.Password))
			}
		case "publickey":
			cb.PublicKeyCallback = func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
				return try("publickey", meta, c.knowsKey(meta, key))
			}
		case "keyboard-interactive":
			cb.KeyboardInteractiveCallback = func(meta ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				return try("keyboard-interactive", meta, c.ask(ask))
			}
		}
	}
	return cb
}

func (c *sshConn) knowsKey(meta ssh.ConnMetadata, key ssh.PublicKey) bool {
	is := func(other ssh.PublicKey) bool { return same(string(other.Marshal()), string(key.Marshal())) }
	if slices.ContainsFunc(c.cfg.Keys, is) {
		return true
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return false
	}
	checker := ssh.CertChecker{IsUserAuthority: func(ca ssh.PublicKey) bool {
		return slices.ContainsFunc(c.cfg.UserCAs, func(known ssh.PublicKey) bool {
			return same(string(known.Marshal()), string(ca.Marshal()))
		})
	}}
	_, err := checker.Authenticate(meta, cert)
	return err == nil
}

func (c *sshConn) ask(ask ssh.KeyboardInteractiveChallenge) bool {
	prompts := make([]string, len(c.cfg.Questions))
	echos := make([]bool, len(c.cfg.Questions))
	for i, q := range c.cfg.Questions {
		prompts[i], echos[i] = q.Prompt, q.Echo
	}
	answers, err := ask("", "", prompts, echos)
	if err != nil || len(answers) != len(prompts) {
		return false
	}
	for i, q := range c.cfg.Questions {
		if !same(answers[i], q.Answer) {
			return false
		}
	}
	return true
}

// accept opens or refuses one channel.
func (c *sshConn) accept(channel ssh.NewChannel) {
	event := c.record.add(Event{Conn: c.id, Verb: "channel", Arg: channel.ChannelType()})
	reject := func(code int, text string) {
		c.record.note(event, func(e *Event) { e.Codes, e.Text = append(e.Codes, code), text })
		_ = channel.Reject(ssh.RejectionReason(code), text) // fails only on a dead connection
	}
	if e := c.stage("channel", channel.ChannelType(), sshStage{reply: reject}); e.taken {
		return
	}
	if channel.ChannelType() == "direct-tcpip" && c.cfg.Forward {
		c.forward(channel, reject)
		return
	}
	if channel.ChannelType() != "session" {
		reject(int(ssh.UnknownChannelType), "unsupported channel type")
		return
	}
	if int(c.sessions.Add(1)) > c.cfg.Quirks.MaxSessions {
		c.sessions.Add(-1)
		reject(int(ssh.ConnectionFailed), "open failed") // OpenSSH past MaxSessions
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		c.sessions.Add(-1)
		return
	}
	c.running.Go(func() {
		defer c.sessions.Add(-1)
		c.session(ch, requests)
	})
}

// forward connects a channel with the address that it asks for.
func (c *sshConn) forward(channel ssh.NewChannel, reject func(code int, text string)) {
	var to struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}
	err := ssh.Unmarshal(channel.ExtraData(), &to)
	if ip := net.ParseIP(to.Host); err != nil || !ip.IsLoopback() {
		reject(int(ssh.Prohibited), "only loopback addresses")
		return
	}
	var dialer net.Dialer
	target, err := dialer.DialContext(c.ctx, "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		reject(int(ssh.ConnectionFailed), "Connection refused")
		return
	}
	ch, requests, err := channel.Accept()
	if err != nil {
		_ = target.Close() // never used
		return
	}
	c.running.Go(func() { refuseAll(requests) })
	both := sync.OnceFunc(func() { _, _ = target.Close(), ch.Close() }) // each end ends the other
	c.running.Go(func() { defer both(); _, _ = io.Copy(target, ch) })
	c.running.Go(func() { defer both(); _, _ = io.Copy(ch, target) })
	context.AfterFunc(c.ctx, both)
}

// session serves the requests of a session channel (RFC 4254 §6).
func (c *sshConn) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	for req := range requests {
		var payload struct{ Text string }
		known := req.Type == "subsystem" || req.Type == "exec"
		if known && ssh.Unmarshal(req.Payload, &payload) != nil {
			known = false
		}
		if !known {
			answer(req, req.Type == "env")
			continue
		}
		stage := sshStage{
			reply: func(int, string) { answer(req, false) },
			raw:   func(bytes string) { answer(req, true); _, _ = io.WriteString(ch, bytes) },
			close: func() { _ = ch.Close() },
		}
		if e := c.stage(req.Type, payload.Text, stage); e.taken {
			continue
		}
		switch {
		case req.Type == "subsystem" && payload.Text == "sftp":
			answer(req, true)
			c.running.Go(func() { refuseAll(requests) })
			newSFTPSession(c, ch).serve()
			exit(ch, 0)
			return
		case req.Type == "exec" && c.cfg.Exec != nil:
			answer(req, true)
			c.record.add(Event{Conn: c.id, Verb: "exec", Arg: payload.Text})
			c.running.Go(func() { refuseAll(requests) })
			exit(ch, c.cfg.Exec(payload.Text, ch, ch.Stderr()))
			return
		default:
			answer(req, false)
		}
	}
}

func answer(req *ssh.Request, ok bool) {
	if req.WantReply {
		_ = req.Reply(ok, nil) // fails only on a dead connection
	}
}

func refuseAll(requests <-chan *ssh.Request) {
	for req := range requests {
		answer(req, false)
	}
}

// exit tells the client how the program on the channel ended (RFC 4254 §6.10).
func exit(ch ssh.Channel, status int) {
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
}

// parseMethods reads OpenSSH's AuthenticationMethods: alternatives separated by
// blanks, each a list of methods separated by commas. "any" is what has a secret.
func parseMethods(s string, keys bool) ([][]string, error) {
	s = cmp.Or(s, "any")
	if s == "any" {
		s = "password keyboard-interactive"
		if keys {
			s = "publickey " + s
		}
	}
	var all [][]string
	for field := range strings.FieldsSeq(s) {
		methods := strings.Split(field, ",")
		for _, m := range methods {
			if m != "password" && m != "publickey" && m != "keyboard-interactive" {
				return nil, fmt.Errorf("lab: unknown authentication method %q", m)
			}
		}
		all = append(all, methods)
	}
	return all, nil
}
