package transfer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
)

// The schemes. ftpes is FTP with explicit TLS (AUTH TLS, RFC 4217), ftps the
// implicit kind that speaks TLS from the first byte.
const (
	SchemeFTP   = "ftp"
	SchemeFTPES = "ftpes"
	SchemeFTPS  = "ftps"
	SchemeSFTP  = "sftp"
)

// defaultPorts are the registered ports of the schemes.
var defaultPorts = map[string]int{SchemeFTP: 21, SchemeFTPES: 21, SchemeFTPS: 990, SchemeSFTP: 22}

// DefaultPort is the port of a scheme, 0 if the scheme is unknown.
func DefaultPort(scheme string) int { return defaultPorts[scheme] }

// Location is a file or directory on a server.
type Location struct {
	// Site is the name in the configuration, "" for a plain URL.
	Site   string
	Scheme string
	User   string
	// Password is set when the URL carried one. It is never printed.
	Password auth.Secret
	Host     string // a name or an address, IPv6 without brackets
	Port     int
	// Path is the server's path; relative ones start at the login directory.
	Path string
}

// ParseURL reads ftp://, ftpes://, ftps:// and sftp:// URLs.
//
// User, password and path may be percent-encoded; a literal "%" is "%25". The
// characters * ? [ ] # stand for themselves, so that globs need no encoding.
//
// Paths, by scheme:
//
//	ftp://h/a/b      a/b, from the login directory      (as curl, RFC 1738 §3.2.2)
//	ftp://h//a/b     /a/b                               (as curl)
//	ftp://h/%2Fa/b   /a/b                               (RFC 1738)
//	sftp://h/a/b     /a/b                               (as curl and OpenSSH)
//	sftp://h/~/a/b   a/b, from the login directory      (as curl)
//
// An error never quotes the URL as a whole: it may hold a password.
func ParseURL(s string) (Location, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok || defaultPorts[scheme] == 0 {
		return Location{}, fmt.Errorf("not a URL of ftp://, ftpes://, ftps:// or sftp://")
	}
	loc := Location{Scheme: scheme, Port: defaultPorts[scheme]}

	authority, rawPath, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if err := loc.setUser(authority[:i]); err != nil {
			return Location{}, err
		}
		authority = authority[i+1:]
	}
	if err := loc.setHost(authority); err != nil {
		if strings.Contains(rawPath, "@") { // what looks like the port is half a password
			err = errors.New("user or password: a / in it is written %2F")
		}
		return Location{}, err
	}
	p, err := url.PathUnescape(rawPath)
	if err != nil {
		return Location{}, fmt.Errorf("path: bad percent-encoding (a literal %% is written %%25)")
	}
	loc.Path = loc.pathOf(p)
	if err := ValidPath(loc.Path); err != nil {
		return Location{}, err
	}
	return loc, nil
}

func (l *Location) setUser(userinfo string) error {
	user, password, hasPassword := strings.Cut(userinfo, ":")
	u, err1 := url.PathUnescape(user)
	p, err2 := url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return errors.New("user or password: bad percent-encoding (a literal % is written %25)")
	}
	if strings.ContainsAny(u+p, "\r\n\x00") {
		return errors.New("user or password: contains a control character")
	}
	l.User = u
	if hasPassword {
		l.Password = auth.NewSecret(p)
	}
	return nil
}

func (l *Location) setHost(authority string) error {
	host, port := authority, ""
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return errors.New("host: missing ]")
		}
		// A zone is written %25eth0 (RFC 6874).
		host, port = strings.Replace(authority[1:end], "%25", "%", 1), strings.TrimPrefix(authority[end+1:], ":")
		if _, err := netip.ParseAddr(host); err != nil || !strings.Contains(host, ":") {
			return fmt.Errorf("host: %q is no IPv6 address", host)
		}
	} else if i := strings.LastIndexByte(authority, ':'); i >= 0 {
		host, port = authority[:i], authority[i+1:]
		if strings.Contains(host, ":") {
			return errors.New("host: an IPv6 address needs brackets: sftp://[::1]/path")
		}
	}
	if host == "" {
		return errors.New("host: missing")
	}
	if !strings.Contains(host, ":") && strings.ContainsAny(host, " \t\r\n\x00/\\?#%[]@") {
		return fmt.Errorf("host: %q is no host name", host)
	}
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("port: %q is not a number from 1 to 65535", port)
		}
		l.Port = n
	}
	l.Host = host
	return nil
}

// pathOf applies the scheme's rule to the decoded path behind the host's "/".
func (l *Location) pathOf(p string) string {
	if l.Scheme == SchemeSFTP {
		if p == "~" || p == "~/" || p == "" {
			return "."
		}
		if home, ok := strings.CutPrefix(p, "~/"); ok {
			return home
		}
		return "/" + p
	}
	if p == "" {
		return "."
	}
	return p
}

// SplitSite splits "site:path". ok is false for a URL, for a local path and for
// a Windows drive ("C:\dir"): a site's name has at least two characters and
// none of "/\".
func SplitSite(s string) (site, p string, ok bool) {
	if strings.Contains(s, "://") {
		return "", "", false
	}
	site, p, ok = strings.Cut(s, ":")
	if !ok || len(site) < 2 || strings.ContainsAny(site, `/\.~ `) {
		return "", "", false
	}
	return site, p, true
}

// Resolve gives the path of a site: p below root, the site's configured path,
// unless p is absolute. An empty p is root itself, and "~/" escapes root to the
// login directory.
func Resolve(root, p string) string {
	switch {
	case p == "" && root == "":
		return "."
	case p == "":
		return root
	case p == "~":
		return "."
	case strings.HasPrefix(p, "~/"):
		return p[2:]
	case strings.HasPrefix(p, "/"):
		return p
	default:
		return Join(root, p)
	}
}

// Address is "host:port" for dialling.
func (l Location) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// Server identifies the server, for what is remembered about it: "scheme://host:port".
func (l Location) Server() string { return l.Scheme + "://" + l.Address() }

// String is the location as an argument of xfer, without the password.
func (l Location) String() string {
	if l.Site != "" {
		return l.Site + ":" + l.Path
	}
	var b strings.Builder
	b.WriteString(l.Scheme + "://")
	if l.User != "" {
		b.WriteString(url.PathEscape(l.User) + "@")
	}
	if strings.Contains(l.Host, ":") {
		b.WriteString("[" + strings.Replace(l.Host, "%", "%25", 1) + "]")
	} else {
		b.WriteString(l.Host)
	}
	if l.Port != DefaultPort(l.Scheme) {
		b.WriteString(":" + strconv.Itoa(l.Port))
	}
	b.WriteByte('/')
	p := l.Path
	switch {
	case p == ".":
		p = ""
		if l.Scheme == SchemeSFTP {
			p = "~/"
		}
	case l.Scheme == SchemeSFTP && strings.HasPrefix(p, "/"):
		p = p[1:]
	case l.Scheme == SchemeSFTP:
		p = "~/" + p
	}
	b.WriteString(strings.ReplaceAll(p, "%", "%25"))
	return b.String()
}

// Protocol is the layer that speaks for this server.
func (l Location) Protocol() policy.Protocol {
	if l.Scheme == SchemeSFTP {
		return policy.SFTP
	}
	return policy.FTP
}

// WithPath is the same server with another path.
func (l Location) WithPath(p string) Location {
	l.Path = p
	return l
}

// Name is the last element of the path.
func (l Location) Name() string { return path.Base(l.Path) }
