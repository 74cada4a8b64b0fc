// Package proxy opens TCP connections through a SOCKS5 proxy (RFC 1928, 1929)
// or an HTTP proxy with CONNECT (RFC 9110 §9.3.6), and finds the proxy that the
// environment names for a host. It knows nothing of what is said over them.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
)

// Proxy is one proxy. Names are resolved by it, not here.
type Proxy struct {
	scheme, address string
	// User logs in to the proxy, "" for nobody.
	User     string
	Password auth.Secret
}

// The default ports, as curl has them.
var ports = map[string]string{"socks5": "1080", "socks5h": "1080", "http": "1080"}

// Parse reads "socks5://user@host:1080" or the same with http, which is CONNECT;
// socks5h means socks5. Without a scheme it is http, as for curl. The error does
// not repeat the text, which may hold a password.
func Parse(s string) (*Proxy, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New(`must be like "socks5://host:1080" or "http://host:3128"`)
	}
	port, known := ports[u.Scheme]
	switch {
	case !known:
		return nil, errors.New("must begin with socks5:// or http://")
	case u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("must be a host and a port, and nothing behind them")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	p := &Proxy{scheme: u.Scheme, address: net.JoinHostPort(u.Hostname(), port), User: u.User.Username()}
	if password, ok := u.User.Password(); ok {
		p.Password = auth.NewSecret(password)
	}
	return p, nil
}

// String is the proxy without its password.
func (p *Proxy) String() string { return p.scheme + "://" + p.address }

// DialContext opens a TCP connection to address through the proxy. The error of
// a proxy that can't be reached or that refuses is a *policy.Fault.
func (p *Proxy) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, p.address)
	if err != nil {
		return nil, p.fault(ctx, address, policy.CauseProxy, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	ask := connect
	if strings.HasPrefix(p.scheme, "socks5") {
		ask = socks5
	}
	err = ask(conn, address, p)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		return conn, nil
	}
	_ = conn.Close() // it is of no use
	if r, ok := errors.AsType[*refusal](err); ok {
		return nil, p.fault(ctx, address, r.cause, err)
	}
	return nil, p.fault(ctx, address, policy.CauseProxy, err)
}

// refusal is the proxy's answer that it has no connection for us.
type refusal struct {
	cause policy.Cause
	said  string
}

func (r *refusal) Error() string { return r.said }

func (p *Proxy) fault(ctx context.Context, address string, cause policy.Cause, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	host, _, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		host = address
	}
	return &policy.Fault{
		Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Host: host, Cause: cause,
		Text: policy.Sanitize(fmt.Sprintf("proxy %s: %v", p, innermost(err))), Err: err,
	}
}

// innermost is the message without the addresses that package net adds.
func innermost(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
