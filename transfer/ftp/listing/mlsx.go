package listing

import (
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// Facts reads a line of MLSD or MLST (RFC 3659 §7): "type=file;size=3;modify=20240501123456; name".
// ok is false for the directory itself and its parent, and for an empty line.
func Facts(line string) (info transfer.Info, ok bool) {
	if strings.TrimSpace(line) == "" {
		return info, false
	}
	facts, name, found := strings.Cut(line, "; ")
	if !found {
		// No facts at all, or a draft older than mlst-07: no ";" at the end.
		// One server writes a tab.
		i := strings.IndexAny(line, " \t")
		if i < 0 || !strings.Contains(line[:i], "=") && i > 0 {
			return transfer.Info{Name: line, Size: -1, Mode: fs.ModeIrregular, Bad: ErrFormat}, true
		}
		facts, name = line[:i], line[i+1:]
	}
	info = transfer.Info{Name: name, Size: -1}
	self := false
	for fact := range strings.SplitSeq(facts, ";") {
		key, value, _ := strings.Cut(fact, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "type":
			self = setType(&info, value)
		case "size":
			info.Size = sizeOf(value)
		case "modify":
			setModify(&info, value)
		case "unix.mode":
			setPerm(&info, value)
		case "unix.owner", "unix.ownername":
			info.Owner = value
		case "unix.uid":
			setDefault(&info.Owner, value)
		case "unix.group", "unix.groupname":
			info.Group = value
		case "unix.gid":
			setDefault(&info.Group, value)
		}
	}
	if self {
		return info, false
	}
	if err := transfer.ValidName(info.Name); err != nil {
		info.Bad = err
	}
	return info, true
}

// Entry reads the one entry in a reply to MLST. Its name is the path, in a form
// of the server's choice, and says nothing new.
func Entry(line string) (info transfer.Info, ok bool) {
	line = strings.TrimLeft(line, " ")
	facts, _, _ := strings.Cut(line, " ")
	if !strings.Contains(facts, "=") {
		return info, false
	}
	info, ok = Facts(line)
	if !ok {
		// cdir: the path named the current directory.
		info.Mode |= fs.ModeDir
	}
	info.Name, info.Bad = "", nil
	return info, true
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// setType reads the type fact. self is true for the listed directory and its parent.
func setType(info *transfer.Info, value string) (self bool) {
	kind, link, _ := strings.Cut(value, ":")
	switch strings.ToLower(kind) {
	case "file":
	case "dir":
		info.Mode |= fs.ModeDir
	case "cdir", "pdir":
		info.Mode |= fs.ModeDir
		return true
	case "os.unix=slink", "os.unix=symlink", "os.unix=slink-", "link":
		info.Mode |= fs.ModeSymlink
		info.Link = link
	case "os.unix=fifo", "os.unix=pipe":
		info.Mode |= fs.ModeNamedPipe
	case "os.unix=socket":
		info.Mode |= fs.ModeSocket
	default:
		info.Mode |= fs.ModeIrregular
	}
	return false
}

// setModify reads a time-val (RFC 3659 §2.3), always UTC.
func setModify(info *transfer.Info, value string) {
	whole, _, _ := strings.Cut(value, ".")
	if len(whole) == 15 && strings.HasPrefix(whole, "191") {
		// A year counted from 1900 behind a literal "19" (ibid., note).
		if n, err := strconv.Atoi(whole[2:5]); err == nil {
			whole = strconv.Itoa(1900+n) + whole[5:]
		}
	}
	if t, err := time.ParseInLocation("20060102150405", whole, time.UTC); err == nil {
		info.ModTime, info.Precision = t, time.Second
	}
}
