package listing

import (
	"io/fs"
	"strings"

	"github.com/xfer-cli/xfer/transfer"
)

// dos reads the lines of IIS and other Windows servers:
// "04-27-00  12:09PM       <DIR>          name", "2002-09-02  19:06   9,730 name".
func (p *Parser) dos(line string) (transfer.Info, bool) {
	s := scanner{line}
	d, ok := dosDate(s.word())
	if !ok || !d.clock(s.word()) {
		return transfer.Info{}, false
	}
	if w := strings.ToUpper(s.peek()); (w == "AM" || w == "PM") && d.hour <= 12 && d.hour > 0 {
		s.word()
		d.hour %= 12
		if w == "PM" {
			d.hour += 12
		}
	}
	t, precision, ok := p.time(d)
	if !ok {
		return transfer.Info{}, false
	}
	info := transfer.Info{Size: -1, ModTime: t, Precision: precision}
	switch word := s.word(); word {
	case "<DIR>":
		info.Mode = fs.ModeDir
		info.Name = unpad(s.rest, len("          "))
	case "<JUNCTION>", "<SYMLINK>", "<SYMLINKD>":
		info.Mode = fs.ModeSymlink
		info.Name = strings.TrimLeft(s.rest, " ")
		if name, target, ok := strings.Cut(info.Name, " ["); ok {
			info.Name, info.Link = name, strings.TrimSuffix(target, "]")
		}
	default:
		number := strings.ReplaceAll(word, ",", "")
		if !digits(number) {
			return transfer.Info{}, false
		}
		info.Size = sizeOf(number)
		info.Name = s.name()
	}
	return info, info.Name != ""
}

// unpad drops the spaces of a column, but not those that belong to the name.
func unpad(s string, column int) string {
	for i := 0; i < column && strings.HasPrefix(s, " "); i++ {
		s = s[1:]
	}
	return s
}

// dosDate reads "04-27-00", "04-27-2000", "2002-09-02", "27.04.2000" and
// "04/27/2000". IIS writes the month first whatever the locale.
func dosDate(w string) (d stamp, ok bool) {
	parts, sep, ok := splitDate(w)
	if !ok || len(parts) != 3 {
		return d, false
	}
	switch {
	case parts[0] > 31:
		d.year, d.month, d.day = parts[0], parts[1], parts[2]
	case sep == '.' || parts[0] > 12:
		d.day, d.month, d.year = parts[0], parts[1], fullYear(parts[2])
	default:
		d.month, d.day, d.year = parts[0], parts[1], fullYear(parts[2])
	}
	d.hasYear = true
	return d, validDay(&d)
}
