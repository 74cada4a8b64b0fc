package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds what a server can put on a terminal or into a log line, in bytes.
const maxText = 1000

// Sanitize makes text from a server safe for a terminal and a log line: control
// characters (among them the escape that starts a terminal sequence), invalid
// UTF-8 and the characters that reorder or hide text become "?", line breaks
// become " / ", and anything beyond 1000 bytes is cut with an ellipsis.
func Sanitize(s string) string {
	s = strings.TrimSpace(s)
	if isPlain(s) {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	for i, r := range s {
		plain := "?"
		switch {
		case r == '\n':
			plain = " / "
		case r == '\t':
			plain = " "
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "�"):
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == '\u2028', r == '\u2029':
		default:
			plain = string(r)
		}
		if b.Len()+len(plain) > maxText {
			b.WriteString("…")
			break
		}
		b.WriteString(plain)
	}
	return b.String()
}

// isPlain spares the common case, short printable ASCII, the copy.
func isPlain(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
