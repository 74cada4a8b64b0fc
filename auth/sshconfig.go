package auth

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// SSHConfig is the configuration of OpenSSH's client (ssh_config(5)), as far as
// it says how to reach a host, log in and trust it. Its files are read anew by
// every Lookup.
type SSHConfig struct {
	// Files are read in this order; of most settings the first value counts. A
	// missing file is empty.
	Files []string
	// Home and User are the person's on this machine: ~, %d and %u.
	Home, User string
	// Warn is told of what is set for a host and not supported.
	Warn func(text string)
}

// DefaultSSHConfig are the files of OpenSSH: the person's, then the system's.
func DefaultSSHConfig(home string) []string {
	return []string{filepath.Join(home, ".ssh", "config"), systemSSHConfig}
}

const systemSSHConfig = "/etc/ssh/ssh_config"

// SSHHost is what the configuration says about one host. A zero field was not
// said. Tokens (%h), ~ and variables are expanded.
type SSHHost struct {
	// HostName is where to connect; it is the host itself if nothing was said.
	HostName string
	Port     int
	User     string
	// HostKeyAlias is the name under which known_hosts has the host.
	HostKeyAlias string

	IdentityFiles, CertificateFiles []string
	IdentitiesOnly                  bool
	// IdentityAgent is the agent's socket, or "none".
	IdentityAgent string
	NoKeys        bool // PubkeyAuthentication no

	// ProxyJump are the hosts on the way, the first one first: "user@host:port".
	ProxyJump []string
	// ProxyCommand is for a shell; its standard input and output are the connection.
	ProxyCommand string

	// UserKnownHosts and GlobalKnownHosts are files.
	UserKnownHosts, GlobalKnownHosts []string
	// StrictHostKeyChecking is yes, accept-new, ask or no.
	StrictHostKeyChecking string
	HashKnownHosts        bool

	// These are lists for Algorithms.
	HostKeyAlgorithms, KexAlgorithms, Ciphers, MACs, PubkeyAcceptedAlgorithms string

	ConnectTimeout      time.Duration
	ServerAliveInterval time.Duration
	ServerAliveCountMax int
}

// SSHConfigError says what is wrong with a configuration.
type SSHConfigError struct {
	File string
	Line int // 0: the file as a whole
	Err  error
}

func (e *SSHConfigError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap gives the cause.
func (e *SSHConfigError) Unwrap() error { return e.Err }

// Lookup finds what is said about a host. user and port are what is known from
// elsewhere, "" and 0 if nothing is: they win, and Match user sees them. The
// error is an *SSHConfigError.
func (c *SSHConfig) Lookup(host, user string, port int) (*SSHHost, error) {
	l := &sshLookup{config: c, given: host, host: strings.ToLower(host), values: map[string][]string{}}
	if user != "" {
		l.values["user"] = []string{user}
	}
	if port != 0 {
		l.values["port"] = []string{strconv.Itoa(port)}
	}
	// "Match final" asks for a second reading, in which it matches, and the host is
	// what the first has found.
	for range 2 {
		for _, file := range c.Files {
			if err := l.read(file, true, 0); err != nil {
				return nil, err
			}
		}
		if !l.wantsFinal {
			break
		}
		l.final, l.given = true, l.host
		l.values["hostname"] = []string{l.hostName()}
	}
	return l.result()
}

// sshLookup is one Lookup.
type sshLookup struct {
	config            *SSHConfig
	given             string              // the host; patterns of Host tell upper and lower case apart
	host              string              // the same in lower case
	values            map[string][]string // by keyword in lower case
	final, wantsFinal bool
}

// maxIncludes is how deep files may include others, as in OpenSSH.
const maxIncludes = 16

// read reads a file; applies is false for one that is included by a block that
// does not match: nothing in it counts.
func (l *sshLookup) read(file string, applies bool, depth int) error {
	fail := func(line int, err error) error { return &SSHConfigError{File: file, Line: line, Err: bare(err)} }
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fail(0, err)
	}
	defer f.Close()
	if !strings.HasPrefix(file, filepath.Dir(systemSSHConfig)+"/") {
		if err := checkOwned(f); err != nil {
			return fail(0, err) // it may name a program to run
		}
	}
	text, err := io.ReadAll(f) // what was checked, not what has its name now
	if err != nil {
		return fail(0, err)
	}
	active := applies
	for i, line := range strings.Split(string(text), "\n") {
		keyword, rest := splitKeyword(line)
		if keyword == "" {
			continue
		}
		args, err := splitArgs(rest)
		if keyword == "proxycommand" { // the rest of the line, as it is
			args, err = []string{strings.TrimSpace(rest)}, nil
		}
		if err == nil && (len(args) == 0 || args[0] == "") {
			err = errors.New(keyword + " needs a value")
		}
		if err != nil {
			return fail(i+1, err)
		}
		switch keyword {
		case "host":
			active = applies && matchesAny(args, l.given)
		case "match":
			matches, err := l.match(args)
			if err != nil {
				l.warn(fmt.Sprintf("%s:%d: %v; the block is left out", file, i+1, err))
			}
			active = applies && matches
		case "include":
			if err := l.include(file, args, active, depth); err != nil {
				return err
			}
		default:
			if active {
				l.set(keyword, args)
			}
		}
	}
	return nil
}

// include reads what the arguments match. Relative paths are those of ~/.ssh, or
// of /etc/ssh in the system's file.
func (l *sshLookup) include(file string, args []string, active bool, depth int) error {
	if depth == maxIncludes {
		return &SSHConfigError{File: file, Err: errors.New("too many levels of Include")}
	}
	for _, pattern := range args {
		pattern = l.local(pattern)
		if !filepath.IsAbs(pattern) {
			dir := filepath.Join(l.config.Home, ".ssh")
			if filepath.Dir(file) == filepath.Dir(systemSSHConfig) {
				dir = filepath.Dir(systemSSHConfig)
			}
			pattern = filepath.Join(dir, pattern)
		}
		files, err := filepath.Glob(pattern)
		if err != nil {
			return &SSHConfigError{File: file, Err: fmt.Errorf("including %s: %w", pattern, err)}
		}
		for _, included := range files {
			if err := l.read(included, active, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// match evaluates the criteria of a Match line. An error says what can't be
// evaluated; the block then does not match, which is never the more permissive
// choice by itself.
func (l *sshLookup) match(args []string) (bool, error) {
	matches := true
	for i := 0; i < len(args); i++ {
		criterion, negated := strings.CutPrefix(strings.ToLower(args[i]), "!")
		criterion, value, joined := strings.Cut(criterion, "=")
		var is bool
		switch criterion {
		case "all":
			is = true
		case "final", "canonical":
			l.wantsFinal = l.wantsFinal || criterion == "final"
			is = l.final
		case "host", "originalhost", "user", "localuser":
			if !joined {
				if i++; i == len(args) {
					return false, fmt.Errorf("the criterion %s of Match needs a pattern", criterion)
				}
				value = args[i]
			}
			is = matchesAny(strings.Split(strings.ToLower(value), ","), l.subject(criterion))
		default:
			return false, fmt.Errorf("the criterion %s of Match is not supported", criterion)
		}
		matches = matches && is != negated
	}
	return matches, nil
}

// subject is what a criterion looks at.
func (l *sshLookup) subject(criterion string) string {
	switch criterion {
	case "host":
		return strings.ToLower(l.hostName())
	case "originalhost":
		return l.host
	case "user":
		return strings.ToLower(cmp.Or(l.first("user"), l.config.User))
	default:
		return strings.ToLower(l.config.User)
	}
}

// several are the keywords whose values add up.
var several = []string{"identityfile", "certificatefile"}

// otherNames are older names of keywords.
var otherNames = map[string]string{
	"pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
	"dsaauthentication":      "pubkeyauthentication",
}

// set takes a value down, unless an earlier one counts.
func (l *sshLookup) set(keyword string, args []string) {
	keyword = cmp.Or(otherNames[keyword], keyword)
	if slices.Contains(several, keyword) {
		if !slices.Contains(l.values[keyword], args[0]) {
			l.values[keyword] = append(l.values[keyword], args[0])
		}
		return
	}
	// Of these two whichever comes first counts.
	rivals := map[string]string{"proxyjump": "proxycommand", "proxycommand": "proxyjump"}
	if _, there := l.values[rivals[keyword]]; there {
		return
	}
	if _, there := l.values[keyword]; !there {
		l.values[keyword] = args
	}
}

func (l *sshLookup) first(keyword string) string {
	if v := l.values[keyword]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (l *sshLookup) is(keyword string) bool {
	v := strings.ToLower(l.first(keyword))
	return v == "yes" || v == "true"
}

// hostName is the host after the substitution by HostName.
func (l *sshLookup) hostName() string {
	name := strings.NewReplacer("%%", "%", "%h", l.host).Replace(l.first("hostname"))
	return cmp.Or(name, l.host)
}

func (l *sshLookup) warn(text string) {
	if l.config.Warn != nil {
		l.config.Warn(text)
	}
}

// result reads the values.
func (l *sshLookup) result() (*SSHHost, error) {
	h := &SSHHost{
		HostName: l.hostName(), User: l.first("user"), HostKeyAlias: l.first("hostkeyalias"),
		IdentitiesOnly: l.is("identitiesonly"), NoKeys: strings.EqualFold(l.first("pubkeyauthentication"), "no"),
		HashKnownHosts:    l.is("hashknownhosts"),
		HostKeyAlgorithms: l.first("hostkeyalgorithms"), KexAlgorithms: l.first("kexalgorithms"),
		Ciphers: l.first("ciphers"), MACs: l.first("macs"), PubkeyAcceptedAlgorithms: l.first("pubkeyacceptedalgorithms"),
		StrictHostKeyChecking: strictness[strings.ToLower(l.first("stricthostkeychecking"))],
	}
	var errs []error
	h.Port = l.number("port", 65535, &errs)
	h.ConnectTimeout = time.Duration(l.number("connecttimeout", 1<<20, &errs)) * time.Second
	h.ServerAliveInterval = time.Duration(l.number("serveraliveinterval", 1<<20, &errs)) * time.Second
	h.ServerAliveCountMax = l.number("serveralivecountmax", 1<<20, &errs)
	if l.first("stricthostkeychecking") != "" && h.StrictHostKeyChecking == "" {
		errs = append(errs, errors.New("StrictHostKeyChecking must be yes, accept-new, ask or no"))
	}

	tokens := l.tokens(h)
	expand := func(s string) string { return l.local(tokens.Replace(s)) }
	files := func(keyword string) (list []string) {
		for _, f := range l.values[keyword] {
			if !strings.EqualFold(f, "none") {
				list = append(list, expand(f))
			}
		}
		return list
	}
	h.IdentityFiles, h.CertificateFiles = files("identityfile"), files("certificatefile")
	h.UserKnownHosts, h.GlobalKnownHosts = files("userknownhostsfile"), files("globalknownhostsfile")
	for keyword, list := range map[string]*[]string{"userknownhostsfile": &h.UserKnownHosts, "globalknownhostsfile": &h.GlobalKnownHosts} {
		if len(l.values[keyword]) > 0 && len(*list) == 0 {
			*list = []string{os.DevNull} // "none"
		}
	}
	h.IdentityAgent = l.agent(expand)
	if v := l.first("proxycommand"); !strings.EqualFold(v, "none") {
		h.ProxyCommand = tokens.Replace(v)
		for token, word := range map[string]string{"%h": h.HostName, "%n": l.host, "%r": h.User} {
			if strings.Contains(v, token) && !isPlainWord(word) {
				errs = append(errs, fmt.Errorf("ProxyCommand is not run: a shell would read more than a word in %q", word))
			}
		}
	}
	if v := l.first("proxyjump"); v != "" && !strings.EqualFold(v, "none") {
		h.ProxyJump = strings.Split(tokens.Replace(v), ",")
	}
	l.warnUnsupported()
	if len(errs) > 0 {
		return nil, &SSHConfigError{File: strings.Join(l.config.Files, ", "), Err: errors.Join(errs...)}
	}
	return h, nil
}

// isPlainWord says whether a shell reads nothing but a word, and no program an
// option, in what comes from outside the configuration: a URL may be somebody
// else's. The characters are those that OpenSSH refuses (CVE-2023-51385).
func isPlainWord(s string) bool {
	return !strings.HasPrefix(s, "-") && !strings.HasSuffix(s, `\`) && !strings.ContainsFunc(s, func(r rune) bool {
		return strings.ContainsRune("'`\"$;&<>|(){}", r) || unicode.IsSpace(r) || unicode.IsControl(r)
	})
}

var strictness = map[string]string{
	"yes": "yes", "true": "yes", "accept-new": "accept-new", "ask": "ask", "no": "no", "off": "no", "false": "no",
}

func (l *sshLookup) agent(expand func(string) string) string {
	switch v := l.first("identityagent"); {
	case v == "SSH_AUTH_SOCK":
		return "" // the default
	case strings.EqualFold(v, "none"):
		return "none"
	case strings.HasPrefix(v, "$") && !strings.HasPrefix(v, "${"): // "$NAME", the whole value
		return os.Getenv(v[1:])
	default:
		return expand(v)
	}
}

// number reads a count; "none" is 0, as for ConnectTimeout.
func (l *sshLookup) number(keyword string, most int, errs *[]error) int {
	v := l.first(keyword)
	if v == "" || strings.EqualFold(v, "none") {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v, "s"))
	if err != nil || n < 0 || n > most {
		*errs = append(*errs, fmt.Errorf("%s must be a number from 0 to %d", keyword, most))
	}
	return n
}

// tokens are those of ssh_config(5), TOKENS, that can be known here.
func (l *sshLookup) tokens(h *SSHHost) *strings.Replacer {
	local, _ := os.Hostname() // "" if the system does not know
	short, _, _ := strings.Cut(local, ".")
	return strings.NewReplacer(
		"%%", "%", "%h", h.HostName, "%n", l.host, "%p", strconv.Itoa(cmp.Or(h.Port, 22)),
		"%r", cmp.Or(h.User, l.config.User), "%u", l.config.User, "%d", l.config.Home,
		"%l", local, "%L", short, "%i", userID(), "%k", cmp.Or(h.HostKeyAlias, h.HostName), "%j", l.first("proxyjump"),
	)
}

// local expands ~ and ${NAME} in a path of this machine.
func (l *sshLookup) local(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(l.config.Home, rest)
	}
	for {
		before, rest, ok := strings.Cut(path, "${")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return path
		}
		path = before + os.Getenv(name) + after
	}
}

// supported are the keywords that Lookup reads; harmless those that change
// nothing about a file transfer, or only how other ways to log in are tried.
var (
	supported = strings.Fields(`hostname port user hostkeyalias identityfile certificatefile identitiesonly
		identityagent pubkeyauthentication proxyjump proxycommand userknownhostsfile globalknownhostsfile
		stricthostkeychecking hashknownhosts hostkeyalgorithms kexalgorithms ciphers macs pubkeyacceptedalgorithms
		connecttimeout serveraliveinterval serveralivecountmax`)
	harmless = strings.Fields(`addkeystoagent batchmode checkhostip clearallforwardings compression connectionattempts
		controlmaster controlpath controlpersist dynamicforward enableescapecommandline escapechar exitonforwardfailure
		fingerprinthash forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted gatewayports
		gssapiauthentication gssapidelegatecredentials hostbasedauthentication hostbasedacceptedalgorithms ignoreunknown
		ipqos kbdinteractiveauthentication kbdinteractivedevices challengeresponseauthentication localcommand
		localforward loglevel logverbose nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming
		passwordauthentication permitlocalcommand permitremoteopen preferredauthentications protocol rekeylimit
		remotecommand remoteforward requesttty requiredrsasize sendenv sessiontype setenv stdinnull streamlocalbindmask
		streamlocalbindunlink syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys usekeychain useroaming
		useprivilegedport verifyhostkeydns visualhostkey warnweakcrypto xauthlocation`)
)

// warnUnsupported names what was set and counts, but not here.
func (l *sshLookup) warnUnsupported() {
	for keyword, args := range l.values {
		off := strings.EqualFold(args[0], "no") || strings.EqualFold(args[0], "none")
		if !off && !slices.Contains(supported, keyword) && !slices.Contains(harmless, keyword) {
			l.warn(fmt.Sprintf("ssh_config: %s is set for %s; xfer does not support it and goes on without", keyword, l.host))
		}
	}
}

// splitKeyword takes the keyword off a line; it is "" on an empty line or a
// comment. One "=" may stand behind it.
func splitKeyword(line string) (keyword, rest string) {
	line = strings.Trim(line, " \t\r\f")
	if line == "" || line[0] == '#' {
		return "", ""
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), ""
	}
	rest = strings.TrimLeft(line[end:], " \t")
	rest = strings.TrimPrefix(rest, "=")
	return strings.ToLower(strings.Trim(line[:end], `"`)), strings.TrimLeft(rest, " \t")
}

// splitArgs splits at blanks outside quotes, up to a comment.
func splitArgs(s string) (args []string, err error) {
	var arg strings.Builder
	inArg, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`"'\`, s[i+1]) >= 0:
			i++
			arg.WriteByte(s[i])
			inArg = true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			arg.WriteByte(c)
		case c == '"' || c == '\'':
			quote, inArg = c, true
		case c == ' ' || c == '\t':
			if inArg {
				args = append(args, arg.String())
				arg.Reset()
			}
			inArg = false
		case c == '#' && !inArg:
			return args, nil
		default:
			arg.WriteByte(c)
			inArg = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inArg {
		args = append(args, arg.String())
	}
	return args, nil
}

// matchesAny is the pattern list of ssh_config(5): a pattern with "!" that
// matches excludes, whatever the others say.
func matchesAny(patterns []string, s string) bool {
	matches := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !matchesPattern(p, s) {
			continue
		}
		if negated {
			return false
		}
		matches = true
	}
	return matches
}

// matchesPattern knows * for any characters and ? for one.
func matchesPattern(pattern, s string) bool {
	for pattern != "" {
		switch {
		case pattern[0] == '*':
			for i := range len(s) + 1 {
				if matchesPattern(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case s == "" || pattern[0] != '?' && pattern[0] != s[0]:
			return false
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}
