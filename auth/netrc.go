package auth

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// NetrcEntry is the login for one host.
type NetrcEntry struct {
	Login    string
	Password Secret
	Account  Secret // for the FTP command ACCT
}

// NetrcPath is where the netrc file is: $NETRC, else ~/.netrc (_netrc on
// Windows), as for curl. It is "" when there is no home directory.
func NetrcPath() string {
	if p := os.Getenv("NETRC"); p != "" {
		return p
	}
	home := Home()
	if home == "" {
		return ""
	}
	if runtime.GOOS == "windows" {
		return filepath.Join(home, "_netrc")
	}
	return filepath.Join(home, ".netrc")
}

// LookupNetrc finds the entry for a host, and for a user unless that is "". The
// entry "default" fits every host. A missing file has no entries. A file that
// holds the entry and that others can read is refused, as by ftp(1).
func LookupNetrc(path, host, user string) (entry NetrcEntry, ok bool, err error) {
	if path == "" {
		return NetrcEntry{}, false, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NetrcEntry{}, false, nil
	}
	if err != nil {
		return NetrcEntry{}, false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return NetrcEntry{}, false, err
	}
	entry, ok = findNetrc(string(text), host, user)
	if ok && !entry.Password.Empty() {
		if err := checkPrivate(f); err != nil {
			return NetrcEntry{}, false, err
		}
	}
	return entry, ok, nil
}

// findNetrc reads the format of ftp(1): words separated by blanks, "machine
// NAME" or "default" begins an entry, "login", "password" and "account" fill it,
// "macdef" runs to the next empty line. From curl come double quotes around a
// word, and comments from a "#" that begins a word where a keyword is due.
func findNetrc(text, host, user string) (NetrcEntry, bool) {
	var entry NetrcEntry
	ours := false
	fits := func() bool { return ours && (user == "" || entry.Login == "" || entry.Login == user) }
	for {
		word, rest := netrcWord(text)
		switch {
		case rest == text: // the end
			return entry, fits()
		case strings.HasPrefix(word, "#"):
			_, text, _ = strings.Cut(text[strings.IndexByte(text, '#'):], "\n")
			continue
		case word == "macdef":
			_, text, _ = strings.Cut(rest, "\n\n")
			continue
		case word == "machine" || word == "default":
			if fits() {
				return entry, true
			}
			entry, ours = NetrcEntry{}, true
			if word == "machine" {
				word, rest = netrcWord(rest)
				ours = strings.EqualFold(word, host)
			}
		case word == "login":
			entry.Login, rest = netrcWord(rest)
		case word == "password":
			word, rest = netrcWord(rest)
			entry.Password = NewSecret(word)
		case word == "account":
			word, rest = netrcWord(rest)
			entry.Account = NewSecret(word)
		}
		text = rest
	}
}

// netrcWord cuts the first word off. At the end of the text it returns the text
// unchanged.
func netrcWord(text string) (word, rest string) {
	s := strings.TrimLeft(text, " \t\r\n")
	if s == "" {
		return "", text
	}
	if s[0] != '"' {
		if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}
