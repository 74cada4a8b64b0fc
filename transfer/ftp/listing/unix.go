package listing

import (
	"io/fs"
	"strings"

	"github.com/xfer-cli/xfer/transfer"
)

// unix reads the lines of ls -l, as Unix servers, FileZilla and Serv-U send
// them: "-rw-r--r--   1 owner group   531 Jan 29 03:26 name".
func (p *Parser) unix(line string) (transfer.Info, bool) {
	mode, hasPerm, rest, ok := unixMode(line)
	if !ok {
		return transfer.Info{}, false
	}
	info := transfer.Info{Mode: mode, HasPerm: hasPerm}
	name, ok := p.tail(&info, rest)
	if !ok {
		return transfer.Info{}, false
	}
	info.Name = name
	if mode&fs.ModeSymlink != 0 {
		info.Name, info.Link, _ = strings.Cut(name, " -> ")
	}
	return info, true
}

// unixMode reads the ten letters that begin a line, and a mark of an ACL ("+"),
// an SELinux context (".") or extended attributes ("@") behind them.
func unixMode(line string) (mode fs.FileMode, hasPerm bool, rest string, ok bool) {
	if len(line) < 11 {
		return 0, false, "", false
	}
	t, known := unixTypes[line[0]]
	if !known {
		return 0, false, "", false
	}
	perm, ok := unixPerm(line[1:10])
	if !ok {
		return 0, false, "", false
	}
	rest = line[10:]
	if strings.ContainsRune("+.@", rune(rest[0])) {
		rest = rest[1:]
	}
	if rest == "" || rest[0] != ' ' && !isDigit(rune(rest[0])) {
		return 0, false, "", false
	}
	return t | perm, true, rest, true
}

// unixTypes are the types of GNU, BSD, Solaris and HP-UX ls.
var unixTypes = map[byte]fs.FileMode{
	'-': 0, 'f': 0, 'C': 0, // C: contiguous (VxFS)
	'd': fs.ModeDir,
	'l': fs.ModeSymlink,
	'b': fs.ModeDevice,
	'c': fs.ModeDevice | fs.ModeCharDevice,
	'p': fs.ModeNamedPipe, '|': fs.ModeNamedPipe,
	's': fs.ModeSocket, '=': fs.ModeSocket,
	'D': fs.ModeIrregular, 'P': fs.ModeIrregular, 'n': fs.ModeIrregular, 'w': fs.ModeIrregular,
	'm': fs.ModeIrregular, 'M': fs.ModeIrregular, '?': fs.ModeIrregular,
}

// unixPerm reads "rwxr-sr-t".
func unixPerm(s string) (fs.FileMode, bool) {
	var bits uint32
	for i := range 9 {
		bit := uint32(1) << (8 - i)
		switch c := s[i]; {
		case c == '-':
		case c == "rwxrwxrwx"[i]:
			bits |= bit
		case i%3 == 2 && strings.IndexByte("sStTlL", c) >= 0:
			special := []uint32{0o4000, 0o2000, 0o1000}[i/3]
			bits |= special
			if c == 's' || c == 't' {
				bits |= bit
			}
		default:
			return 0, false
		}
	}
	return permOf(bits), true
}

// tail reads what stands between the permissions and the name: link count,
// owner, group, size and date, of which only size and date are always there. It
// looks for the first number that a date follows, and believes the link count
// to be one, and a word to be a month in a foreign language, only last: an
// owner may be called "mark".
func (p *Parser) tail(info *transfer.Info, rest string) (name string, ok bool) {
	for _, try := range []struct {
		skip    int
		foreign bool
	}{{1, false}, {0, false}, {1, true}} {
		if name, ok := p.sizeAndDate(info, rest, try.skip, try.foreign); ok {
			return name, true
		}
	}
	return "", false
}

func (p *Parser) sizeAndDate(info *transfer.Info, rest string, skip int, foreign bool) (name string, ok bool) {
	var before []string
	for s := (scanner{rest}); ; {
		word := s.word()
		if word == "" {
			return "", false
		}
		before = append(before, word)
		after := s
		if len(before) <= skip || !sizeLike(word) {
			continue
		}
		d, ok := after.date(foreign)
		if !ok || after.name() == "" {
			continue
		}
		if info.ModTime, info.Precision, ok = p.time(d); !ok {
			continue
		}
		info.Size = sizeOf(word)
		setOwner(info, before[:len(before)-1])
		return after.name(), true
	}
}

// sizeLike: a size, a minor device number, or a size for people ("33.5k"),
// which can also be glued to a long group name ("longgroup123456"): all end in
// a digit or a unit behind one.
func sizeLike(w string) bool {
	w = strings.TrimRight(w, "BKMGTkmgti")
	return w != "" && isDigit(rune(w[len(w)-1]))
}

// setOwner reads the words between permissions and size.
func setOwner(info *transfer.Info, words []string) {
	if n := len(words); n > 0 && strings.HasSuffix(words[n-1], ",") {
		// "4, 64": the numbers of a device stand where its size would.
		info.Size = -1
		words = words[:n-1]
	}
	if info.Mode&fs.ModeDevice != 0 {
		info.Size = -1
	}
	if len(words) > 0 && digits(words[0]) {
		words = words[1:] // the link count
	}
	if len(words) > 0 {
		info.Owner = words[0]
		info.Group = strings.Join(words[1:], " ")
	}
}

// netware reads "d [RWCEAFMS] supervisor   512   Jan 16 18:53    name".
func (p *Parser) netware(line string) (transfer.Info, bool) {
	if len(line) < 4 || line[0] != 'd' && line[0] != '-' {
		return transfer.Info{}, false
	}
	rights, rest, ok := strings.Cut(strings.TrimLeft(line[1:], " "), "]")
	if !ok || !strings.HasPrefix(rights, "[") || strings.Trim(rights[1:], "-RWCEAFMS ") != "" {
		return transfer.Info{}, false
	}
	info := transfer.Info{}
	if line[0] == 'd' {
		info.Mode = fs.ModeDir
	}
	name, ok := p.tail(&info, rest)
	if !ok {
		return transfer.Info{}, false
	}
	info.Name = strings.TrimLeft(name, " ") // aligned, so a space before a name can't be told
	return info, true
}
