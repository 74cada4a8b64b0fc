package main

import (
	"cmp"
	"context"
	"net/netip"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/ledger"
	"github.com/xfer-cli/xfer/transfer/sftp"
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
func (a *app) dialer(p place) transfer.Dialer { return adapters[p.loc.Scheme](a, p) }

// anonymous is the login of public FTP servers (RFC 1635).
const anonymous = "anonymous"

func ftpDialer(security ftp.Security) func(*app, place) transfer.Dialer {
	return func(a *app, p place) transfer.Dialer {
		user := a.ftpUser(p)
		password := a.passwordOf(p, user)
		if user == anonymous && password.Given.Empty() {
			password = &auth.Source{Given: auth.NewSecret("anonymous@"), GivenBy: "the custom of public servers"}
		}
		tlsConfig := sync.OnceValues(auth.TLS{CAFile: a.file(*p.opt.CAFile)}.Config)
		return func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
			o := ftp.Options{
				Address: p.loc.Address(), Security: security, User: user,
				Password: func(ctx context.Context) (auth.Secret, error) {
					secret, _, err := password.Get(ctx)
					return secret, noSecret(err)
				},
				Account: auth.NewSecret(a.sys.env(cmp.Or(p.site.AccountEnv, "XFER_ACCOUNT"))),
				Mode:    *p.opt.Mode, Hints: hints,
				Timeouts: transfer.WithTimeout(time.Duration(*p.opt.Timeout)),
				Log:      a.out.log,
			}
			var err error
			if security != ftp.Clear {
				if o.TLS, err = tlsConfig(); err != nil {
					return nil, configError{err}
				}
			}
			if p.site.ActiveAddress != "" {
				if o.ActiveAddress, err = netip.ParseAddr(p.site.ActiveAddress); err != nil {
					return nil, configError{err}
				}
			}
			o.ActivePorts, _ = parsePorts(p.site.ActivePorts) // was checked when it was read
			return ftp.Dial(ctx, o)
		}
	}
}

func sftpDialer(a *app, p place) transfer.Dialer {
	user := cmp.Or(p.loc.User, localUser())
	warn := func(text string) { a.once(text, "host", p.loc.Host) }
	hostKeys := &auth.HostKeys{Files: a.knownHosts(p.opt), Prompter: a.prompter(), Warn: warn}
	switch {
	case *p.opt.HostKeys == HostKeysAcceptNew:
		hostKeys.Unknown = auth.AcceptNew
	case hostKeys.Prompter != nil:
		hostKeys.Unknown = auth.Ask
	}
	keys := &auth.Keys{
		Passphrase: auth.NewSecret(a.sys.env(cmp.Or(p.site.PassphraseEnv, "XFER_KEY_PASSPHRASE"))),
		Keyring:    p.site.Keyring, Prompter: a.prompter(), Warn: warn,
	}
	for _, file := range *p.opt.Keys {
		keys.Files = append(keys.Files, a.file(file))
	}
	if *p.opt.Agent {
		keys.Agent = auth.AgentSocket()
	}
	login := &auth.Login{User: user, Keys: keys, Password: a.passwordOf(p, user), Prompter: a.prompter()}
	return func(ctx context.Context, _ transfer.Hints) (transfer.Session, error) {
		return sftp.Dial(ctx, sftp.Options{
			Address: p.loc.Address(), Login: login, HostKeys: hostKeys,
			Timeouts: transfer.WithTimeout(time.Duration(*p.opt.Timeout)),
			Sync:     true,
			Banner:   func(text string) { a.once(policy.Sanitize(text), "host", p.loc.Host, "what", "banner") },
			Log:      a.out.log,
		})
	}
}

// knownHosts are the files with host keys: OpenSSH's, unless others were named.
func (a *app) knownHosts(o Options) []string {
	if *o.KnownHosts == *builtin().KnownHosts {
		return nil
	}
	return []string{a.file(*o.KnownHosts)}
}

// ftpUser is the login: what was said, what netrc has for the host, or anonymous.
func (a *app) ftpUser(p place) string {
	if p.loc.User != "" {
		return p.loc.User
	}
	if p.netrc() {
		if entry, ok, err := auth.LookupNetrc(auth.NetrcPath(), p.loc.Host, ""); err == nil && ok && entry.Login != "" {
			return entry.Login
		}
	}
	return anonymous
}

// localUser is the name on this machine, the default of SSH.
func localUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	name := u.Username
	return name[strings.LastIndexByte(name, '\\')+1:] // DOMAIN\user on Windows
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

// noSecret makes a fault of a password that could not be found: the engine must
// not try again.
func noSecret(err error) error {
	if err == nil {
		return nil
	}
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Auth, Op: "password",
		Cause: policy.CauseNoSecret, Text: policy.Sanitize(err.Error()), Err: err,
	}
}

// file expands ~/ to the home directory.
func (a *app) file(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(a.home(), rest)
	}
	return path
}

// locks keeps other processes of this user off a file that is being transferred.
func (a *app) locks() ledger.Locks {
	dir := a.sys.env("XDG_STATE_HOME")
	if dir == "" {
		dir = filepath.Join(a.home(), ".local", "state")
	}
	return ledger.Locks{Dir: filepath.Join(dir, "xfer", "locks")}
}
