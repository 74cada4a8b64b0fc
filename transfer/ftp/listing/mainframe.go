package listing

import (
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// vms reads "NAME.EXT;1   2/8   7-JAN-2000 18:43:12.50  [GROUP,OWNER]  (RWED,RED,,)".
// The fields behind the name come in any order and may be missing. Sizes are in
// blocks of 512 bytes, rounded up, and so are no sizes.
func (p *Parser) vms(line string) (transfer.Info, bool) {
	s := scanner{line}
	name := s.word()
	if !isVMSName(name) {
		return transfer.Info{}, false
	}
	info := transfer.Info{Name: name, Size: -1}
	if dir, ok := strings.CutSuffix(strings.ToUpper(name), ".DIR;1"); ok {
		info.Name, info.Mode = name[:len(dir)], fs.ModeDir
	}
	dated := false
	for w := s.word(); w != ""; w = s.word() {
		switch {
		case strings.HasPrefix(w, "%"):
			return info, true // "%RMS-E-PRV, insufficient privilege": it exists
		case strings.HasPrefix(w, "["):
			info.Group, info.Owner = vmsOwner(w)
		case !dated:
			var d stamp
			if d, dated = vmsDate(w); dated {
				if probe := d; probe.clock(s.peek()) {
					s.word()
					d = probe
				}
				if t, precision, ok := p.time(d); ok {
					info.ModTime, info.Precision = t, precision
				}
			}
		}
	}
	return info, dated
}

// isVMSName: "NAME.EXT;12" and nothing else.
func isVMSName(s string) bool {
	name, version, ok := strings.Cut(strings.TrimRight(s, " "), ";")
	return ok && name != "" && digits(version) && !strings.ContainsAny(name, " \t")
}

// vmsOwner reads "[GROUP,OWNER]" and "[OWNER]".
func vmsOwner(w string) (group, owner string) {
	w = strings.Trim(w, "[]")
	if group, owner, ok := strings.Cut(w, ","); ok {
		return group, owner
	}
	return "", w
}

// vmsDate reads "7-JAN-2000".
func vmsDate(w string) (d stamp, ok bool) {
	parts := strings.Split(w, "-")
	if len(parts) != 3 {
		return d, false
	}
	var okDay, okMonth, okYear bool
	d.day, okDay = dayOf(parts[0])
	d.month, okMonth = monthOf(parts[1])
	d.year, okYear = yearOf(parts[2])
	d.hasYear = true
	return d, okDay && okMonth && okYear
}

// as400 reads "QSYS   77824 02/23/00 15:09:55 *DIR  name/" and the members
// "QPGMR    *MEM   FILE.MBR", which have neither size nor date.
func (p *Parser) as400(line string) (transfer.Info, bool) {
	s := scanner{line}
	info := transfer.Info{Owner: s.word(), Size: -1}
	size := int64(-1)
	if !strings.HasPrefix(s.peek(), "*") {
		w, date, clock := s.word(), s.word(), s.word()
		var ok bool
		if info.ModTime, info.Precision, ok = p.as400Time(date, clock); !ok || !digits(w) {
			return transfer.Info{}, false
		}
		size = sizeOf(w)
	}
	kind := s.word()
	if len(kind) < 3 || kind[0] != '*' || strings.Trim(kind[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return transfer.Info{}, false
	}
	info.Name = strings.TrimLeft(s.rest, " ")
	switch kind {
	case "*DIR", "*DDIR", "*LIB", "*FLR":
		info.Mode = fs.ModeDir
		info.Name = strings.TrimSuffix(info.Name, "/")
	case "*STMF", "*DSTMF", "*DOC":
		info.Size = size // of the others it is the space they occupy
	case "*FILE":
		// A file holds members, as a directory does; a save file holds bytes.
		if !strings.HasSuffix(info.Name, ".SAVF") {
			info.Mode = fs.ModeDir
		}
		info.Name = strings.TrimSuffix(info.Name, "/")
	case "*MEM":
	default:
		info.Mode = fs.ModeIrregular
	}
	return info, info.Name != ""
}

// as400Time reads a date in the format of the server's job: "02/23/00",
// "23/02/00", "18.09.06", "06-09-18". Which figure is the year, the month and the
// day only the server's operator knows; where more than one reading is a day of
// the past the time stays unknown.
func (p *Parser) as400Time(date, clock string) (t time.Time, precision time.Duration, ok bool) {
	n, sep, ok := splitDate(date)
	if !ok || len(n) != 3 {
		return t, 0, false
	}
	dayFirst := stamp{day: n[0], month: n[1], year: fullYear(n[2])}
	monthFirst := stamp{month: n[0], day: n[1], year: fullYear(n[2])}
	yearFirst := stamp{year: fullYear(n[0]), month: n[1], day: n[2]}
	readings := []stamp{dayFirst, monthFirst, yearFirst}
	switch sep {
	case '.':
		readings = readings[:1] // *DMY of German and other European systems
	case '-':
		readings = readings[2:] // *YMD and *ISO
	}
	valid := 0
	for _, d := range readings {
		d.hasYear = true
		if !d.clock(clock) {
			return t, 0, false
		}
		read, prec, possible := p.time(d)
		if !validDay(&d) || !possible || read.After(p.Now.Add(24*time.Hour)) {
			continue
		}
		if valid == 0 || !read.Equal(t) {
			valid++
		}
		t, precision = read, prec
	}
	if valid > 1 {
		return time.Time{}, 0, true
	}
	return t, precision, valid == 1
}

// table is which table of z/OS the lines belong to, by its heading.
type table uint8

const (
	noTable table = iota
	dataSets
	members
)

// tableHeading recognises the headings of z/OS and remembers them: some lines
// below can only be read with them.
func (p *Parser) tableHeading(f []string) bool {
	switch {
	case len(f) > 8 && f[0] == "Volume" && f[1] == "Unit" && slices.Contains(f, "Dsname"):
		p.table = dataSets
	case len(f) > 2 && f[0] == "Name" && (f[1] == "VV.MM" || f[1] == "Size" && f[2] == "TTR"):
		p.table = members
	default:
		return false
	}
	return true
}

// mvs reads the data sets and members of z/OS.
func (p *Parser) mvs(line string) (transfer.Info, bool) {
	f := strings.Fields(line)
	info := transfer.Info{Size: -1}
	switch {
	case p.table == members:
		info.Name = f[0]
		p.memberTime(&info, f)
		return info, true
	case p.table == dataSets && !isDataSet(f):
		// "Migrated  NAME", "V43525 Tape  NAME", "ARCIVE Not Direct Access Device  NAME",
		// "Pseudo Directory  NAME": the name is what is sure.
		if len(f) < 2 {
			return info, false
		}
		info.Name = f[len(f)-1]
		if f[0] == "Pseudo" && f[1] == "Directory" {
			info.Mode = fs.ModeDir
		}
		return info, true
	case isDataSet(f):
		info.Name = f[len(f)-1]
		if org := f[len(f)-2]; org == "PO" || org == "PO-E" {
			info.Mode = fs.ModeDir // partitioned: it has members
		}
		if d, ok := dosDate(f[2]); ok {
			if t, precision, ok := p.time(d); ok {
				info.ModTime, info.Precision = t, precision
			}
		}
		return info, true
	case isMember(f):
		info.Name = f[0]
		p.memberTime(&info, f)
		return info, true
	}
	return info, false
}

// isDataSet: "VOLUME 3390   2003/05/21  1  200  FB      80  8053  PS  NAME". Ext
// and Used run together when they are large, and the date may be "**NONE**".
func isDataSet(f []string) bool {
	if len(f) < 8 || len(f) > 10 || len(f[0]) > 6 || len(f[1]) != 4 {
		return false
	}
	_, _, dated := splitDate(f[2])
	if !dated && f[2] != "**NONE**" {
		return false
	}
	return slices.Contains([]string{"PS", "PO", "PO-E", "DA", "VS", "IS", "GDG", "PSU", "POU"}, f[len(f)-2])
}

// isMember: "NAME 01.01 2004/06/22 2004/06/22 16:32   128   128    0 USER".
func isMember(f []string) bool {
	if len(f) != 9 || len(f[1]) != 5 || f[1][2] != '.' {
		return false
	}
	created, _, ok1 := splitDate(f[2])
	changed, _, ok2 := splitDate(f[3])
	return ok1 && ok2 && len(created) == 3 && len(changed) == 3 && strings.Contains(f[4], ":")
}

// memberTime reads the date of the last change. Size, Init and Mod count lines.
func (p *Parser) memberTime(info *transfer.Info, f []string) {
	if !isMember(f) {
		return
	}
	d, ok := dosDate(f[3])
	if !ok || !d.clock(f[4]) {
		return
	}
	if t, precision, ok := p.time(d); ok {
		info.ModTime, info.Precision = t, precision
	}
}
