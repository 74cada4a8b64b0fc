package policy

import (
	"cmp"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Row is one entry of the catalogue: a code or a cause, what it means and what
// is done about it. In Head, Means and Next these are replaced by what the
// fault is about: {host}, {user}, {path}, {dir} (the parent of path), {name}
// (its last element), {url} and {dirurl} (path and dir as arguments of xfer,
// quoted for a shell), {said} (code and words), {action} ("the upload", from
// the wire verb).
type Row struct {
	// Rule is the stable id. For a code it is "ftp-425" or "sftp-4"; a
	// refinement adds a word: "ftp-550-permission".
	Rule     string
	Protocol Protocol
	// Code is 0 for a cause.
	Code int
	// Name is the standard's name: "Can't open data connection", "SSH_FX_FAILURE".
	Name string
	// Head is what happened, without the code; "" takes the default of the protocol.
	Head string
	// Means is why, in plain words, and whether trying again can help.
	Means string
	// Causes are the usual reasons, the most frequent first.
	Causes []string
	// Does is what xfer does about it, in words.
	Does string
	// Next is what the person can do.
	Next    string
	Remedy  Remedy
	Pace    Pace
	Kind    Kind
	Crowded bool
	Login   bool
	// Source is where the meaning is defined: "RFC 959 §4.2.1".
	Source string
}

// Verdict fills the row's words with what the fault is about.
func (r Row) Verdict(f *Fault) Verdict {
	head := r.Head
	if head == "" {
		head = defaultHead(&r)
	}
	fill := filler(f)
	return Verdict{
		Rule: r.Rule, Remedy: r.Remedy, Pace: r.Pace, Kind: r.Kind,
		Head: fill.Replace(head), Means: fill.Replace(r.Means), Next: fill.Replace(r.Next),
		Crowded: r.Crowded, Login: r.Login,
	}
}

func defaultHead(r *Row) string {
	switch {
	case r.Protocol == FTP && r.Code >= 400 && r.Code < 500:
		return "{host} could not do {action} now"
	case r.Protocol == FTP || r.Protocol == SFTP:
		return "{host} refused {action}"
	default:
		return r.Name
	}
}

func filler(f *Fault) *strings.Replacer {
	about := cmp.Or(f.Final, f.Path)
	dir, name := "", ""
	if about != "" {
		dir, name = path.Dir(about), path.Base(about)
	}
	where := dir
	if dir == "." {
		where = "the login directory"
	}
	return strings.NewReplacer(
		"{host}", orElse(f.Host, "the server"),
		"{user}", quoted(f.User, "this login"),
		"{path}", orElse(about, "the path"),
		"{dir}", orElse(where, "the directory"),
		"{name}", orElse(name, "the name"),
		"{url}", argument(f, about),
		"{dirurl}", argument(f, dir),
		"{localdir}", ShellQuote(orElse(dir, "DIRECTORY")),
		"{said}", f.Said(),
		"{file}", orElse(f.File, "~/.ssh/known_hosts"),
		"{action}", action(f),
	)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return Sanitize(s)
}

func quoted(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return `"` + Sanitize(s) + `"`
}

// argument spells a path of the fault's server for a command line.
func argument(f *Fault, p string) string {
	if f.Locate == nil {
		return "URL"
	}
	if p == "" {
		p = "."
	}
	return ShellQuote(Sanitize(f.Locate(p)))
}

// ShellQuote quotes s for a POSIX shell, only where it needs to be.
func ShellQuote(s string) string {
	if s != "" && strings.IndexFunc(s, needsQuote) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func needsQuote(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r > '~':
		return false
	}
	return !strings.ContainsRune("/:@%+=,._-", r)
}

// action is the wire verb in a person's words.
func action(f *Fault) string {
	switch f.Op {
	case "STOR", "APPE", "STOU", "ALLO", "write", "put":
		return "the upload"
	case "RETR", "read", "get":
		return "the download"
	case "LIST", "MLSD", "NLST", "opendir", "readdir":
		return "the listing"
	case "MKD", "mkdir":
		return "creating the directory"
	case "RMD", "rmdir":
		return "removing the directory"
	case "DELE", "remove":
		return "the deletion"
	case "RNFR", "RNTO", "rename", "posix-rename":
		return "the rename"
	case "USER", "PASS", "ACCT", "auth":
		return "the login"
	case "open":
		return "opening the file"
	case "stat", "lstat", "SIZE", "MDTM", "MLST":
		return "looking at the file"
	case "setstat", "MFMT":
		return "setting time or mode"
	case "symlink", "link":
		return "the link"
	case "readlink":
		return "reading links"
	case "df":
		return "a look at its free space"
	case "chmod":
		return "changing modes"
	case "hash":
		return "checksums"
	case "greeting", "dial":
		return "the connection"
	case "":
		return "the operation"
	default:
		return "the command " + Sanitize(f.Op)
	}
}

// index finds a row by its rule and by its code. It is built once from the
// literals, and a test holds that no rule stands twice.
var index = buildIndex()

type codeKey struct {
	protocol Protocol
	code     int
}

type catalogueIndex struct {
	all    []Row
	byRule map[string]*Row
	byCode map[codeKey]*Row
}

func buildIndex() catalogueIndex {
	ix := catalogueIndex{byRule: map[string]*Row{}, byCode: map[codeKey]*Row{}}
	ix.all = append(ix.all, ftpRows...)
	ix.all = append(ix.all, sftpRows...)
	ix.all = append(ix.all, causeRows...)
	for i := range ix.all {
		r := &ix.all[i]
		ix.byRule[r.Rule] = r
		if r.Code != 0 || r.Rule == "sftp-0" {
			// The row of the code itself comes before its refinements.
			if k := (codeKey{r.Protocol, r.Code}); ix.byCode[k] == nil {
				ix.byCode[k] = r
			}
		}
	}
	return ix
}

// Rows is the whole catalogue in the order of the source: FTP by code, SFTP by
// code, causes. The caller must not change it.
func Rows() []Row { return index.all }

// RowOf finds a row by its rule.
func RowOf(rule string) (Row, bool) {
	r := index.byRule[rule]
	if r == nil {
		return Row{}, false
	}
	return *r, true
}

// Lookup gives the row of a code. Every FTP code 100–699 has one: where the
// standard names none, the row of its class. An unknown SFTP code gets the row
// of code 4, which says as little. ok is false outside both ranges.
func Lookup(p Protocol, code int) (row Row, ok bool) {
	if r := index.byCode[codeKey{p, code}]; r != nil {
		return *r, true
	}
	switch {
	case p == FTP && code >= 100 && code <= 699:
		return classRow(code), true
	case p == SFTP && code > 31:
		r := *index.byRule["sftp-4"]
		r.Rule, r.Code, r.Name = "sftp-"+strconv.Itoa(code), code, fmt.Sprintf("unassigned status %d", code)
		return r, true
	}
	return Row{}, false
}

// categories are the second digits of RFC 959 §4.2.
var categories = [...]string{"syntax", "information", "connections", "authentication and accounting", "unspecified", "file system"}

// classRow is the row of a code that no standard names, from its digits.
func classRow(code int) Row {
	r := *index.byRule[fmt.Sprintf("ftp-%dyz", code/100)]
	r.Code = code
	category := "unassigned"
	if d := code / 10 % 10; d < len(categories) {
		category = categories[d]
	}
	r.Name = fmt.Sprintf("%s: %s", r.Name, category)
	return r
}
