package main

import (
	"cmp"
	"context"
	"fmt"
	"net"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/transfer/proxy"
)

// Proxy is the value of `proxy` and --proxy: "" for what the environment says,
// "none", or a URL.
type Proxy struct {
	none bool
	via  *proxy.Proxy
}

// UnmarshalText reads it. The error does not repeat the text.
func (p *Proxy) UnmarshalText(text []byte) (err error) {
	*p = Proxy{none: string(text) == "none"}
	if !p.none && len(text) > 0 {
		p.via, err = proxy.Parse(string(text))
	}
	return err
}

// hasSecret says whether the URL holds a password.
func (p *Proxy) hasSecret() bool { return p != nil && p.via != nil && !p.via.Password.Empty() }

type dialContext = func(ctx context.Context, network, address string) (net.Conn, error)

// dialThrough dials through the proxy that the place says, or the environment;
// nil is directly. address is the server or the jump host that is dialled.
func (a *app) dialThrough(p place, address string) (dialContext, error) {
	said := *p.opt.Proxy
	if said.none {
		return nil, nil
	}
	via := said.via
	if via == nil {
		var err error
		if via, err = proxy.FromEnvironment(a.sys.env, p.loc.Scheme, address); err != nil {
			return nil, configError{fmt.Errorf("environment: %w", err)}
		}
	}
	if via == nil {
		return nil, nil
	}
	if a.flags.options.Proxy.hasSecret() {
		a.once("password in --proxy: it shows in the process list and the shell's history; use XFER_PROXY_PASSWORD")
	}
	logsIn := *via
	if password := a.sys.env(cmp.Or(*p.opt.ProxyPasswordEnv, "XFER_PROXY_PASSWORD")); via.Password.Empty() {
		logsIn.Password = auth.NewSecret(password)
	}
	a.out.log.Debug("proxy", "host", p.loc.Host, "proxy", via.String())
	return logsIn.DialContext, nil
}
