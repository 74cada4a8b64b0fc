package policy

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSanitize(t *testing.T) {
	long := strings.Repeat("a", maxText)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"Permission denied", "Permission denied"},
		{"  spaces around \r\n", "spaces around"},
		{"one\r\ntwo\nthree", "one / two / three"},
		{"a\tb", "a b"},
		{"\x1b[2J\x1b]0;title\x07red\x1b[31m", "?[2J?]0;title?red?[31m"},
		{"nul\x00byte, del\x7f, c1\u0085\u009b", "nul?byte, del?, c1??"},
		{"a\rb", "a?b"}, // would overwrite the line
		{"abc\u202egpj.exe", "abc?gpj.exe"},
		{"zero\u200bwidth\ufeff", "zero?width?"},
		{"line\u2028para\u2029.", "line?para?."},
		{"latin1 \xe9", "latin1 ?"},
		{"genuine \ufffd stays", "genuine \ufffd stays"},
		{"Größe, 文件, 🙂", "Größe, 文件, 🙂"},
		{long, long},
		{long + "b", long + "…"},
		{strings.Repeat("é", maxText), strings.Repeat("é", maxText/2) + "…"},
		{long[:maxText-1] + "é", long[:maxText-1] + "…"},
		{long[:maxText-1] + "\nb", long[:maxText-1] + "…"},
	} {
		if got := Sanitize(c.in); got != c.want {
			t.Errorf("%q\ngot  %q\nwant %q", c.in, got, c.want)
		}
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{"", "550 no", "a\r\nb\tc", "\x1b[31m", "\xff\xfe", "\ufffd", "\u202e", strings.Repeat("\n", maxText), strings.Repeat("aé\x00", maxText)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Sanitize(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: no UTF-8: %q", s, got)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
			t.Errorf("%q: control character at %d: %q", s, i, got)
		}
		if len(got) > maxText+len("…") {
			t.Errorf("%d bytes", len(got))
		}
		if again := Sanitize(got); again != got {
			t.Errorf("not the same again\nonce  %q\ntwice %q", got, again)
		}
	})
}

func TestShellQuote(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "''"},
		{"acme:in/az-AZ_09.csv", "acme:in/az-AZ_09.csv"},
		{"sftp://u@h:2222/in/a%20b", "sftp://u@h:2222/in/a%20b"},
		{"Größe.csv", "Größe.csv"},
		{"a b", "'a b'"},
		{"it's", `'it'\''s'`},
		{"$(rm -rf ~)", "'$(rm -rf ~)'"},
		{"~root", "'~root'"},
		{"a;b", "'a;b'"},
		{"*.csv", "'*.csv'"},
		{"[2001:db8::1]", "'[2001:db8::1]'"},
		{"a\\b", `'a\b'`},
	} {
		if got := ShellQuote(c.in); got != c.want {
			t.Errorf("%q: got %s, want %s", c.in, got, c.want)
		}
	}
}

// What is quoted comes out of a shell as it went in.
func FuzzShellQuote(f *testing.F) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		return // a machine without a POSIX shell
	}
	for _, s := range []string{"", "a", "it's", "$HOME `id` $(id) \\ \" ' ! # & | ; < > ( ) { } * ? [ ] ~ = %", "-n", "a\nb", "é 文", "''", "'\\''"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "\x00") {
			return // no argument of a program can hold it
		}
		out, err := exec.CommandContext(t.Context(), sh, "-c", "printf %s "+ShellQuote(s)).Output()
		if err != nil {
			t.Fatalf("%q → %s: %v", s, ShellQuote(s), err)
		}
		if string(out) != s {
			t.Errorf("%q came out as %q", s, out)
		}
	})
}
