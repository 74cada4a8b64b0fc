package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
)

// adapters says who speaks a scheme.
var adapters = map[string]func(*app, place) transfer.Dialer{
	transfer.SchemeFTP:   ftpDialer(ftp.Clear),
	transfer.SchemeFTPES: ftpDialer(ftp.Explicit),
	transfer.SchemeFTPS:  ftpDialer(ftp.Implicit),
	transfer.SchemeSFTP:  sftpDialer,
}

// dialer logs in to the place's server. What it asks the person is kept for the
// next time.
func (a *app) dialer(p place) transfer.Dialer {
	dial := adapters[p.loc.Scheme](a, p)
	return func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		s, err := dial(ctx, hints)
		if bad, ok := errors.AsType[configError](err); ok {
			err = &policy.Fault{
				Protocol: policy.Local, Phase: policy.Connect, Op: "configure",
				Cause: policy.CauseConfig, Text: policy.Sanitize(bad.Error()), Err: bad,
			}
		}
		return s, err
	}
}

// anonymous is the login of public FTP servers (RFC 1635).
const anonymous = "anonymous"

func ftpDialer(security ftp.Security) func(*app, place) transfer.Dialer {
	return func(a *app, p place) transfer.Dialer {
		user := a.ftpUser(p)
		password := a.passwordOf(p, user)
		if user == anonymous && password.Given.Empty() {
			password = &auth.Source{Given: auth.NewSecret("anonymous@"), GivenBy: "the custom of public servers"}
		}
		account := auth.NewSecret(a.sys.env(cmp.Or(p.site.AccountEnv, "XFER_ACCOUNT")))
		tlsConfig := sync.OnceValues(auth.TLS{
			CAFile: a.file(*p.opt.CAFile), Pin: p.site.TLSPin, MinVersion: *p.opt.TLSMinVersion,
			ClientCert: a.file(*p.opt.ClientCert), ClientKey: a.file(*p.opt.ClientKey),
		}.Config)
		login := &credential{server: p.loc.Server(), host: p.loc.Host, user: user, password: password, account: account}
		return a.guard(login, func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
			o := ftp.Options{
				Address: p.loc.Address(), Security: security, User: user,
				Password: func(ctx context.Context) (auth.Secret, error) {
					secret, _, err := password.Get(ctx)
					return secret, err
				},
				Account: account, Mode: *p.opt.Mode, Hints: hints,
				Timeouts:  transfer.WithTimeout(time.Duration(*p.opt.Timeout)),
				KeepAlive: time.Duration(*p.opt.KeepAlive), VirtualHost: p.site.VirtualHost,
				Encoding: p.site.Encoding, Zone: p.site.TimeZone.Location,
				Log: a.out.log,
			}
			var err error
			if security != ftp.Clear {
				if o.TLS, err = tlsConfig(); err != nil {
					return nil, configError{err}
				}
			} else if user != anonymous && !isLocal(p.loc.Host) {
				a.once("the login and the files go through the network in clear text; if the server has TLS use ftpes://", "host", p.loc.Host)
			}
			if o.DialContext, err = a.dialThrough(p, o.Address); err != nil {
				return nil, err
			}
			if p.site.ActiveAddress != "" {
				if o.ActiveAddress, err = netip.ParseAddr(p.site.ActiveAddress); err != nil {
					return nil, configError{err}
				}
			}
			o.ActivePorts, _ = parsePorts(p.site.ActivePorts) // was checked when it was read
			return ftp.Dial(ctx, o)
		})
	}
}

// isLocal says whether a host is this machine.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// ftpUser is the login: what was said, what netrc has for the host, or anonymous.
func (a *app) ftpUser(p place) string {
	if p.loc.User != "" {
		return p.loc.User
	}
	if p.netrc() {
		entry, ok, err := auth.LookupNetrc(auth.NetrcPath(), p.loc.Host, "")
		if err != nil {
			a.once("netrc can't be used", "file", auth.NetrcPath(), "error", err)
		}
		if ok && entry.Login != "" {
			return entry.Login
		}
	}
	return anonymous
}

// passwordOf says where the password of a login is looked for.
func (a *app) passwordOf(p place, user string) *auth.Source {
	s := &auth.Source{
		Env: p.site.PasswordEnv, File: a.file(p.site.PasswordFile), Command: p.site.PasswordCommand, Stderr: a.bars,
		Question: "Password for " + user + "@" + p.loc.Host, Prompter: a.prompter(),
	}
	if p.site.Keyring {
		s.Account = user + "@" + p.loc.Host
	}
	if p.netrc() {
		s.NetrcHost, s.NetrcUser = p.loc.Host, user
	}
	if a.flags.passwordFile != "" {
		s.Env, s.File, s.Command = "", a.file(a.flags.passwordFile), nil
	}
	if !p.loc.Password.Empty() {
		s.Given, s.GivenBy = p.loc.Password, "the URL"
	} else if env := a.sys.env("XFER_PASSWORD"); env != "" && a.flags.passwordFile == "" {
		s.Given, s.GivenBy = auth.NewSecret(env), "XFER_PASSWORD"
	}
	return s
}

func (p place) netrc() bool { return p.site.Netrc == nil || *p.site.Netrc }

// file expands ~/ to the home directory.
func (a *app) file(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(a.home(), rest)
	}
	return path
}
