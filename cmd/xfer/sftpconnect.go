package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// sftpDialer logs in as OpenSSH would: what was said to xfer comes first (flags,
// URL, site, [defaults]), then ~/.ssh/config, then the defaults.
func sftpDialer(a *app, p place) transfer.Dialer {
	host, _, _ := net.SplitHostPort(p.ssh.Address)
	user := p.ssh.Login
	login := &credential{server: p.loc.Server(), host: host, user: user.User, password: user.Password, keys: user.Keys}
	return a.guard(login, func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		o := p.ssh
		o.Facts, o.Further = hints.Facts, hints.Further
		return sftp.Dial(ctx, o)
	})
}

// sizeOf is the size in bytes of a file, 0 if it is none.
func sizeOf(path string) int64 {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return 0 // whoever opens it says why
}

// sftpOptions are those of the place's server, and of the jump hosts before it.
func (a *app) sftpOptions(p place) (sftp.Options, error) {
	h, err := a.sshHost(p, p.loc.Host, p.loc.User, p.port)
	if err != nil {
		return sftp.Options{}, err
	}
	h.NoKeys = h.NoKeys && p.said.Keys == nil
	user := cmp.Or(h.User, localUser())
	o, err := a.sshOptions(p, h, user)
	if err != nil {
		return sftp.Options{}, err
	}
	o.Login.Password = a.passwordOf(p, user)
	if p.said.Keys != nil {
		o.Login.Keys.Files, o.Login.Keys.NoDefaults = nil, false
		for _, file := range *p.said.Keys {
			o.Login.Keys.Files = append(o.Login.Keys.Files, a.file(file))
		}
	}
	if p.site.ForwardAgent {
		o.ForwardAgent = auth.AgentSocket()
	}
	o.Sync, o.Probe, o.Shell = true, *p.opt.Probe, p.site.Shell
	return o, a.jumpHosts(&o, p, h, nil)
}

// sshHost is what OpenSSH's configuration says about a host.
func (a *app) sshHost(p place, host, user string, port int) (*auth.SSHHost, error) {
	c := auth.SSHConfig{
		Files: auth.DefaultSSHConfig(a.home()), Home: a.home(), User: localUser(),
		Warn: func(text string) { a.once(text) },
	}
	switch file := *p.opt.SSHConfig; file {
	case "":
	case "none":
		c.Files = nil
	default:
		c.Files = []string{a.file(file)}
		if _, err := os.Stat(c.Files[0]); err != nil {
			return nil, configError{fmt.Errorf("ssh_config: %w", err)}
		}
	}
	h, err := c.Lookup(host, user, port)
	if err != nil {
		return nil, configError{err}
	}
	return h, nil
}

// sshOptions are those that a server and a jump host have in common.
func (a *app) sshOptions(p place, h *auth.SSHHost, user string) (sftp.Options, error) {
	algorithms, err := auth.Algorithms(h, p.site.Legacy)
	if err != nil {
		return sftp.Options{}, configError{err}
	}
	warn := func(text string) { a.once(text, "host", h.HostName) }
	o := sftp.Options{
		Address: net.JoinHostPort(h.HostName, strconv.Itoa(cmp.Or(h.Port, transfer.DefaultPort(transfer.SchemeSFTP)))),
		KnownAs: h.HostKeyAlias,
		Login: &auth.Login{
			User: user, Prompter: a.prompter(), Signatures: algorithms.PublicKeyAuths,
			Keys: a.sshKeys(p, h, warn),
		},
		HostKeys: &auth.HostKeys{
			Files: a.knownHosts(p, h), Prompter: a.prompter(), Warn: warn,
			Algorithms: algorithms.HostKeys, Hash: h.HashKnownHosts, Unknown: a.unknownHosts(p, h),
		},
		Algorithms: algorithms,
		Timeouts:   transfer.WithTimeout(time.Duration(*p.opt.Timeout)),
		Banner:     func(text string) { a.once(policy.Sanitize(text), "host", h.HostName, "what", "banner") },
		Warn:       warn, Log: a.out.log,
		AliveInterval: h.ServerAliveInterval,
		AliveLimit:    h.ServerAliveInterval * time.Duration(cmp.Or(h.ServerAliveCountMax, 3)),
	}
	if p.said.Timeout == nil && h.ConnectTimeout > 0 {
		o.Timeouts.Connect = h.ConnectTimeout
	}
	if h.ProxyCommand != "" && p.said.Proxy == nil {
		o.DialContext = sftp.Command(h.ProxyCommand)
		return o, nil
	}
	o.DialContext, err = a.dialThrough(p, o.Address)
	return o, err
}

// sshKeys are the keys that OpenSSH would use for the host.
func (a *app) sshKeys(p place, h *auth.SSHHost, warn func(string)) *auth.Keys {
	if h.NoKeys {
		return nil
	}
	keys := &auth.Keys{
		Passphrase: auth.NewSecret(a.sys.env(cmp.Or(p.site.PassphraseEnv, "XFER_KEY_PASSPHRASE"))),
		Keyring:    p.site.Keyring, Prompter: a.prompter(), Warn: warn,
		Certificates: h.CertificateFiles, IdentitiesOnly: h.IdentitiesOnly, NoDefaults: len(h.IdentityFiles) > 0,
	}
	for _, file := range h.IdentityFiles {
		// One that is missing is passed over, as by ssh; of a key on a token or in
		// an agent there may be only the public half.
		for _, path := range []string{file, file + ".pub"} {
			if _, err := os.Stat(path); err == nil {
				keys.Files = append(keys.Files, path)
				break
			}
		}
	}
	if *p.opt.Agent && h.IdentityAgent != "none" {
		keys.Agent = cmp.Or(h.IdentityAgent, auth.AgentSocket())
	}
	return keys
}

// knownHosts are the files with host keys; nil are OpenSSH's.
func (a *app) knownHosts(p place, h *auth.SSHHost) []string {
	switch {
	case p.said.KnownHosts != nil:
		return []string{a.file(*p.said.KnownHosts)}
	case h.UserKnownHosts == nil && h.GlobalKnownHosts == nil:
		return nil
	}
	defaults := auth.DefaultKnownHosts() // the person's, then the system's
	system := len(defaults) - 1
	users, global := defaults[:system], defaults[system:]
	if h.UserKnownHosts != nil {
		users = h.UserKnownHosts
	}
	if h.GlobalKnownHosts != nil {
		global = h.GlobalKnownHosts
	}
	return append(append([]string(nil), users...), global...)
}

// unknownHosts says what to do about a host whose key is not known.
func (a *app) unknownHosts(p place, h *auth.SSHHost) auth.Unknown {
	strict := h.StrictHostKeyChecking
	if p.said.HostKeys != nil {
		strict = map[HostKeys]string{HostKeysStrict: "ask", HostKeysAcceptNew: "accept-new"}[*p.said.HostKeys]
	}
	switch {
	case strict == "yes":
		return auth.Refuse
	case strict == "no":
		a.once("StrictHostKeyChecking no: xfer takes new host keys, and refuses changed ones all the same", "host", h.HostName)
		return auth.AcceptNew
	case strict == "accept-new":
		return auth.AcceptNew
	case a.prompter() != nil:
		return auth.Ask
	default:
		return auth.Refuse
	}
}

// jumpHosts puts the hosts of ProxyJump in front. A jump host has a configuration
// of its own, and gets no password that is meant for the server.
func (a *app) jumpHosts(o *sftp.Options, p place, h *auth.SSHHost, on []string) error {
	for i, spec := range h.ProxyJump {
		user, host, port, err := splitHop(spec)
		if err != nil {
			return configError{err}
		}
		if len(on) > 8 {
			return configError{fmt.Errorf("ProxyJump goes in a circle: %s", strings.Join(on, ", "))}
		}
		hop, err := a.sshHost(p, host, user, port)
		if err != nil {
			return err
		}
		user = cmp.Or(hop.User, localUser())
		via, err := a.sshOptions(p, hop, user)
		if err != nil {
			return err
		}
		via.Login.Password = &auth.Source{Question: "Password for " + user + "@" + host, Prompter: a.prompter()}
		if i > 0 { // the hop before takes the place of what its configuration says
			via.Jump, via.DialContext = o.Jump, nil
		} else if err := a.jumpHosts(&via, p, hop, append(on, host)); err != nil {
			return err
		}
		o.Jump = &via
	}
	return nil
}

// splitHop reads "user@host:port" or "ssh://user@host:port".
func splitHop(spec string) (user, host string, port int, err error) {
	rest := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(spec), "ssh://"), "/")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, rest = rest[:i], rest[i+1:]
	}
	host = strings.Trim(rest, "[]")
	if h, p, splitErr := net.SplitHostPort(rest); splitErr == nil {
		host = h
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return "", "", 0, fmt.Errorf("ProxyJump %s: the port must be from 1 to 65535", spec)
		}
	}
	if host == "" {
		return "", "", 0, fmt.Errorf("ProxyJump %s: names no host", spec)
	}
	return user, host, port, nil
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
