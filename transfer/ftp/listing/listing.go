// Package listing reads what servers answer to LIST and MLSD.
//
// It owns the formats: the facts of RFC 3659 and the many habits of LIST, which
// no standard describes. It is pure: a line in, an entry out. It refuses to
// guess: a line that it can't read is handed over with Info.Bad, never dropped,
// and a figure that is not the exact size of a file in bytes (blocks of VMS,
// tracks of z/OS, "33.5k") is no size.
package listing

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// ErrFormat is the Info.Bad of a line in no known format; Info.Name is the line.
var ErrFormat = errors.New("a line of the listing that can't be read")

// Parser reads the lines of one LIST, in order: some formats have a heading,
// and others spread an entry over two lines.
type Parser struct {
	// Now dates the entries that have no year.
	Now time.Time
	// Zone is the server's time zone; nil is UTC.
	Zone *time.Location

	pending string // a VMS name whose line goes on
	table   table  // of z/OS
}

// formats are tried in this order, behind the Unix one; each takes only what it
// is sure of.
var formats = []func(*Parser, string) (transfer.Info, bool){
	(*Parser).dos,
	(*Parser).eplf,
	(*Parser).netware,
	(*Parser).vms,
	(*Parser).as400,
	(*Parser).numeric,
	(*Parser).mvs,
}

// Line reads a line, without its line end, and calls add for each entry that is
// complete with it: mostly one; none for headings, sums, "." and "..". It
// returns the error of add.
func (p *Parser) Line(line string, add func(transfer.Info) error) error {
	if p.pending != "" {
		if info, ok := p.vms(p.pending + " " + line); ok {
			p.pending = ""
			return emit(info, add)
		}
		if err := p.End(add); err != nil {
			return err
		}
	}
	if info, ok := p.unix(line); ok { // the most frequent by far
		return emit(info, add)
	}
	if strings.TrimSpace(line) == "" || p.heading(line) {
		return nil
	}
	for _, format := range formats {
		if info, ok := format(p, line); ok {
			return emit(info, add)
		}
	}
	if isVMSName(line) {
		p.pending = strings.TrimSpace(line)
		return nil
	}
	return add(transfer.Info{Name: line, Size: -1, Mode: fs.ModeIrregular, Bad: ErrFormat})
}

// End reports what waited for a line that never came.
func (p *Parser) End(add func(transfer.Info) error) error {
	if p.pending == "" {
		return nil
	}
	line := p.pending
	p.pending = ""
	return add(transfer.Info{Name: line, Size: -1, Mode: fs.ModeIrregular, Bad: ErrFormat})
}

// emit judges the name, which is the same work for every format.
func emit(info transfer.Info, add func(transfer.Info) error) error {
	if info.Name == "." || info.Name == ".." {
		return nil
	}
	if err := transfer.ValidName(info.Name); err != nil {
		info.Bad = err
	}
	return add(info)
}

// heading says whether a line is about the listing and not an entry of it:
// "total 8", in any language, and the headings of z/OS and VMS.
func (p *Parser) heading(line string) bool {
	f := strings.Fields(line)
	switch {
	case len(f) == 2 && digits(f[1]) && strings.IndexFunc(f[0], isDigit) < 0:
		return true
	case p.tableHeading(f):
		return true
	case len(f) == 2 && f[0] == "Directory" && strings.ContainsAny(f[1], "[:"):
		return true // VMS
	case len(f) >= 4 && (f[0] == "Total" && f[1] == "of" || f[0] == "Grand" && f[1] == "total"):
		return true // VMS
	}
	return false
}

// eplf reads D. J. Bernstein's Easily Parsed LIST Format: "+i8388621.48594,m825718503,r,s280,\tdjb.html"
// (https://cr.yp.to/ftp/list/eplf.html).
func (p *Parser) eplf(line string) (transfer.Info, bool) {
	facts, name, ok := strings.Cut(line, "\t")
	if !ok || !strings.HasPrefix(facts, "+") {
		return transfer.Info{}, false
	}
	info := transfer.Info{Name: name, Size: -1}
	for fact := range strings.SplitSeq(facts[1:], ",") {
		switch {
		case fact == "/":
			info.Mode |= fs.ModeDir
		case strings.HasPrefix(fact, "s"):
			info.Size = sizeOf(fact[1:])
		case strings.HasPrefix(fact, "m"):
			if sec, err := strconv.ParseInt(fact[1:], 10, 64); err == nil {
				info.ModTime, info.Precision = time.Unix(sec, 0).UTC(), time.Second
			}
		case strings.HasPrefix(fact, "up"):
			setPerm(&info, fact[2:])
		}
	}
	return info, true
}

// numeric reads "0100644   500  101   12345    123456789       name": mode,
// owner, group, size and seconds since 1970.
func (p *Parser) numeric(line string) (transfer.Info, bool) {
	s := scanner{line}
	mode, owner, group, size, sec := s.word(), s.word(), s.word(), s.word(), s.word()
	name := strings.TrimLeft(s.rest, " ")
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || len(mode) < 6 || mode[0] != '0' || !digits(owner) || !digits(group) || !digits(size) || !digits(sec) || name == "" {
		return transfer.Info{}, false
	}
	t, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return transfer.Info{}, false
	}
	return transfer.Info{
		Name: name, Size: sizeOf(size), Owner: owner, Group: group,
		Mode: permOf(uint32(bits)) | typeOf(uint32(bits)), HasPerm: true,
		ModTime: time.Unix(t, 0).UTC(), Precision: time.Second,
	}, true
}

// typeOf is the type in the S_IFMT bits of a Unix mode.
func typeOf(bits uint32) fs.FileMode {
	switch bits & 0o170000 {
	case 0o100000, 0:
		return 0
	case 0o040000:
		return fs.ModeDir
	case 0o120000:
		return fs.ModeSymlink
	case 0o060000:
		return fs.ModeDevice
	case 0o020000:
		return fs.ModeDevice | fs.ModeCharDevice
	case 0o010000:
		return fs.ModeNamedPipe
	case 0o140000:
		return fs.ModeSocket
	}
	return fs.ModeIrregular
}

// permOf turns the lower twelve bits of a Unix mode into fs's.
func permOf(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	if bits&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if bits&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if bits&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// setPerm reads octal permission bits.
func setPerm(info *transfer.Info, octal string) {
	if bits, err := strconv.ParseUint(octal, 8, 32); err == nil {
		info.Mode |= permOf(uint32(bits) & 0o7777)
		info.HasPerm = true
	}
}

// sizeOf reads a size in bytes, decimal also with leading zeros, -1 if it is
// none or does not fit.
func sizeOf(s string) int64 {
	if !digits(s) {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }

// digits says whether s is a decimal number.
func digits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !isDigit(r) }) < 0
}

// scanner takes words off a line, and leaves the rest untouched: spaces in
// names count.
type scanner struct{ rest string }

// word takes the next word and the spaces before it.
func (s *scanner) word() string {
	s.rest = strings.TrimLeft(s.rest, " ")
	i := strings.IndexByte(s.rest, ' ')
	if i < 0 {
		i = len(s.rest)
	}
	w := s.rest[:i]
	s.rest = s.rest[i:]
	return w
}

// peek is the next word.
func (s scanner) peek() string { return s.word() }

// name is what remains behind one space.
func (s scanner) name() string { return strings.TrimPrefix(s.rest, " ") }
