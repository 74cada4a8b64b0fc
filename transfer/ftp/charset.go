package ftp

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"github.com/xfer-cli/xfer/policy"
)

// charset translates between names here, in UTF-8, and on the wire. The zero
// value passes bytes on as they are, which is right for UTF-8 and exact for
// anything else.
type charset struct {
	name string
	page encoding.Encoding // nil: bytes as they are
}

// CheckEncoding fails for a value of Options.Encoding that is not known.
func CheckEncoding(name string) error {
	_, err := newCharset(name)
	return err
}

// newCharset finds a code page by the name that IANA or the web has for it:
// "gbk", "windows-1251", "shift_jis", "cp437", "iso-8859-1".
func newCharset(name string) (charset, error) {
	if name == "" {
		return charset{}, nil
	}
	page, err := ianaindex.IANA.Encoding(name)
	if err != nil || page == nil {
		page, err = htmlindex.Get(name)
	}
	if err != nil {
		return charset{}, fmt.Errorf("encoding %q: not known", name)
	}
	if canonical, err := htmlindex.Name(page); err == nil && canonical == "utf-8" {
		return charset{}, nil
	}
	return charset{name, page}, nil
}

// encode spells s for the server, or fails if its code page has no such letter.
func (c charset) encode(s string) (string, error) {
	if c.page == nil {
		return s, nil
	}
	out, err := c.page.NewEncoder().String(s)
	if err == nil && strings.ContainsAny(out, lineBreaks) {
		err = errors.New("it would break the command line") // UTF-16, EBCDIC
	}
	if err != nil {
		return "", &policy.Fault{
			Protocol: policy.Local, Op: "path", Path: s, Cause: policy.CauseBadName,
			Text: fmt.Sprintf("can't be written in %s, the encoding of this server", c.name), Err: err,
		}
	}
	return out, nil
}

// mustEncode is encode for what is better sent as it is than not at all.
func (c charset) mustEncode(s string) string {
	if out, err := c.encode(s); err == nil {
		return out
	}
	return s
}

// decode reads a name of the server. exact is false when encode would not give
// the same bytes again, so that the name could never be asked for.
func (c charset) decode(s string) (text string, exact bool) {
	if c.page == nil {
		return s, true
	}
	text = c.show(s)
	back, err := c.encode(text)
	return text, err == nil && back == s
}

// show reads the server's words for a person.
func (c charset) show(s string) string {
	if c.page == nil {
		return s
	}
	text, err := c.page.NewDecoder().String(s)
	if err != nil {
		return s
	}
	return text
}
