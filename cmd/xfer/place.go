package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// place is a file on a server, with everything that was said about the server.
type place struct {
	loc  transfer.Location
	site Site
	opt  Options
	// said are the options without the built-in ones, port the one that was
	// named, 0 if none was: what OpenSSH's configuration says comes after them.
	said Options
	port int
	// ssh is how to log in to an SFTP server.
	ssh sftp.Options
}

// place reads an argument that names a server: a URL or SITE:PATH.
func (a *app) place(arg string) (place, error) {
	cfg, err := a.config()
	if err != nil {
		return place{}, err
	}
	p := place{}
	if name, path, ok := transfer.SplitSite(arg); ok {
		site, known := cfg.Sites[name]
		if !known {
			return place{}, unknownSite(name, cfg)
		}
		p.site, p.port = site, site.Port
		p.loc = transfer.Location{
			Site: name, Scheme: site.Protocol, User: site.User, Host: site.Host, Port: site.Port,
			Path: transfer.Resolve(site.Path, path),
		}
		if p.loc.Port == 0 {
			p.loc.Port = transfer.DefaultPort(site.Protocol)
		}
		if err := transfer.ValidPath(p.loc.Path); err != nil {
			return place{}, usageError{err}
		}
	} else if p.loc, err = transfer.ParseURL(arg); err != nil {
		return place{}, usageError{err}
	}
	if !p.loc.Password.Empty() {
		a.once("password in the URL: it shows in the process list and the shell's history; "+
			"use XFER_PASSWORD, --password-file or a site of the configuration", "host", p.loc.Host)
	}
	if hasPort(arg) {
		p.port = p.loc.Port
	}
	p.said = Options{}.over(cfg.Defaults, p.site.Options, a.flags.options)
	p.opt = builtin().over(p.said)
	if *p.opt.RequireTLS && p.loc.Scheme == transfer.SchemeFTP {
		return place{}, configError{fmt.Errorf("require_tls is set, and %s has no TLS: use ftpes (explicit) or ftps (implicit)", p.loc.WithPath(""))}
	}
	if p.loc.Scheme == transfer.SchemeSFTP {
		if p.ssh, err = a.sftpOptions(p); err != nil {
			return place{}, err
		}
	}
	return p, nil
}

func unknownSite(name string, cfg *Config) error {
	names := slices.Sorted(maps.Keys(cfg.Sites))
	if best := closest(name, names); best != "" {
		return usagef("no site %q in the configuration; did you mean %s?", name, best)
	}
	return usagef("no site %q in the configuration; a server is a URL (sftp://host/path) or SITE:PATH", name)
}

// hasPort says whether a URL names its port.
func hasPort(arg string) bool {
	_, rest, isURL := strings.Cut(arg, "://")
	authority, _, _ := strings.Cut(rest, "/")
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	return isURL && strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']')
}

// shown is an argument as messages repeat it: without the password of a URL.
func shown(arg string) string {
	scheme, rest, isURL := strings.Cut(arg, "://")
	authority, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	if user, _, hasPassword := strings.Cut(authority[:max(0, at)], ":"); isURL && hasPassword {
		arg = scheme + "://" + user + rest[at:]
	}
	return policy.Sanitize(arg)
}

// isURL says whether an argument is meant as a URL.
func isURL(arg string) bool { return strings.Contains(arg, "://") }

// isRemote says whether an argument names a server.
func isRemote(arg string) bool {
	_, _, site := transfer.SplitSite(arg)
	return site || isURL(arg)
}

// login tells servers and users apart.
func (p place) login() string { return fmt.Sprintf("%s %s %s", p.loc.Site, p.loc.Server(), p.loc.User) }

// link gives the link to the place's server, one for each server and user.
func (a *app) link(p place) *transfer.Link {
	key := p.login()
	if l := a.links[key]; l != nil {
		return l
	}
	l := a.newLink(p, a.dialer(p))
	a.links[key] = l
	return l
}

// once warns, the first time that something is to be warned of.
func (a *app) once(text string, args ...any) {
	if _, warned := a.warned.LoadOrStore(text, true); !warned {
		a.out.log.Warn(text, args...)
	}
}
