package policy

import (
	"encoding/base64"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// wording is one row of the table of server texts in texts.go: a fault with
// one of these codes, of one of these operations, in one of these phases,
// whose text has these words, is judged by this rule.
type wording struct {
	protocol Protocol
	codes    []int
	ops      []string // nil: any
	phases   []Phase  // nil: any
	words    *pattern // nil: whatever the text
	rule     string
	says     string // which servers say it
}

// pattern is compiled when a text is first held against it: most runs see none,
// and all of them would be a fifth of the start of the program.
type pattern struct {
	expr    string
	compile sync.Once
	regexp  *regexp.Regexp
}

// words matches a text that has one of these wordings, in any case.
func words(expr string) *pattern { return &pattern{expr: `(?i)` + expr} }

func (p *pattern) MatchString(text string) bool {
	p.compile.Do(func() { p.regexp = regexp.MustCompile(p.expr) })
	return p.regexp.MatchString(text)
}

func (w *wording) fits(f *Fault, text string) bool {
	return w.protocol == f.Protocol && slices.Contains(w.codes, f.Code) &&
		(w.ops == nil || slices.Contains(w.ops, f.Op)) &&
		(w.phases == nil || slices.Contains(w.phases, f.Phase)) &&
		(w.words == nil || w.words.MatchString(text))
}

// ruleByText refines a code by the server's own words: the rule of the first
// row of the table that fits, "" where none does.
func ruleByText(f *Fault) string {
	if f.Protocol == FTP && f.Code/100 == 6 {
		return ruleByInnerReply(f)
	}
	text := withoutNames(f)
	for i := range wordings {
		if wordings[i].fits(f, text) {
			return wordings[i].rule
		}
	}
	return ""
}

// OneAtATime says whether a greeting is that of an FTP server that loses commands
// which come together.
func OneAtATime(greeting string) bool { return saysOneAtATime.MatchString(greeting) }

// Patient says whether a greeting is that of an FTP server that keeps a command which
// comes while data moves until it has moved.
func Patient(greeting string) bool { return saysPatient.MatchString(greeting) }

// Unread says whether the reply behind a listing tells that the directory could not be
// read: it is not empty.
func Unread(reply string) bool { return saysUnread.MatchString(reply) }

// Denied says whether a refusal is about permission.
func Denied(reply string) bool { return saysPermission.MatchString(reply) }

// Truncated says whether the reply behind a listing tells that entries were left
// out. Those must not be taken for deleted.
func Truncated(reply string) bool { return saysTruncated.MatchString(reply) }

// AlertCause is the cause of a TLS alert that the server sent, by its words: the
// type of an alert is not exported by package crypto/tls.
func AlertCause(alert string) Cause {
	if saysClientCert.MatchString(alert) {
		return CauseClientCert
	}
	return CauseTLS
}

// foreignNames are the paths that servers quote in their texts: "/home/a/b: …",
// `"/home/a/b" …`, `C:\in\b: …`.
var foreignNames = regexp.MustCompile(`"[^"]*"|(^|\s)(/|[A-Za-z]:\\)\S*`)

// withoutNames is the text without the names in it: a file called
// "quota exceeded.csv" must not turn "permission denied" into a full disk.
func withoutNames(f *Fault) string {
	text := f.Text
	for _, name := range []string{f.Path, path.Base(f.Path)} {
		// Text was sanitised, so the name looks the same only after that.
		if name = Sanitize(name); name == "" || name == "." || name == "/" {
			continue
		}
		whole := regexp.MustCompile(`(?i)(^|[^\pL\pN])` + regexp.QuoteMeta(name) + `($|[^\pL\pN])`)
		text = whole.ReplaceAllString(text, "$1…$2")
	}
	return foreignNames.ReplaceAllString(text, "$1…")
}

// innerReplyForm is a reply inside a protected one: code, text, line end.
var innerReplyForm = regexp.MustCompile(`(?s)^([1-5][0-9]{2})[ -](.*)$`)

// ruleByInnerReply reads a protected reply, "6yz base64(reply)" (RFC 2228
// §5.2). xfer has no security context, so only a reply that was left in clear
// text can be read, and nobody has proved that it is genuine: a refusal inside
// is believed, a success never is.
func ruleByInnerReply(f *Fault) string {
	raw, err := base64.StdEncoding.DecodeString(f.Text)
	if err != nil || !isText(raw) {
		return ""
	}
	m := innerReplyForm.FindStringSubmatch(string(raw))
	if m == nil || m[1] < "400" {
		return ""
	}
	inner := *f
	inner.Code, _ = strconv.Atoi(m[1]) // three digits, as the pattern demands
	inner.Text = Sanitize(m[2])
	if rule := ruleByText(&inner); rule != "" {
		return rule
	}
	row, _ := Lookup(FTP, inner.Code)
	return row.Rule
}

// isText says whether raw could be the lines of a reply, not ciphertext or a
// checksum.
func isText(raw []byte) bool {
	return utf8.Valid(raw) && !strings.ContainsFunc(string(raw), func(r rune) bool {
		return unicode.IsControl(r) && r != '\r' && r != '\n' && r != '\t'
	})
}
