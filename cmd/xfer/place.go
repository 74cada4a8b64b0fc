package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xfer-cli/xfer/transfer"
)

// place is a file on a server, with everything that was said about the server.
type place struct {
	loc  transfer.Location
	site Site
	opt  Options
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
		p.site = site
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
	p.opt = builtin().over(cfg.Defaults, p.site.Options, a.flags.options)
	return p, nil
}

func unknownSite(name string, cfg *Config) error {
	names := slices.Sorted(maps.Keys(cfg.Sites))
	if best := closest(name, names); best != "" {
		return usagef("no site %q in the configuration; did you mean %s?", name, best)
	}
	return usagef("no site %q in the configuration; a server is a URL (sftp://host/path) or SITE:PATH", name)
}

// isURL says whether an argument is meant as a URL.
func isURL(arg string) bool { return strings.Contains(arg, "://") }

// isRemote says whether an argument names a server.
func isRemote(arg string) bool {
	_, _, site := transfer.SplitSite(arg)
	return site || isURL(arg)
}

// link gives the link to the place's server, one for each server and user.
func (a *app) link(p place) *transfer.Link {
	key := fmt.Sprintf("%s %s %s", p.loc.Site, p.loc.Server(), p.loc.User)
	if l := a.links[key]; l != nil {
		return l
	}
	l := transfer.NewLink(p.loc, a.dialer(p), *p.opt.Mode, nil)
	a.links[key] = l
	return l
}

// once warns, the first time that something is to be warned of.
func (a *app) once(text string, args ...any) {
	if !a.warned[text] {
		a.warned[text] = true
		a.out.log.Warn(text, args...)
	}
}
