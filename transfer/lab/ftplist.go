package lab

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// pathArg is the path in an argument. LIST and NLST take what starts with "-"
// for options, as most servers do, also where it is the name of a directory.
func pathArg(verb, arg string) string {
	if verb == "LIST" || verb == "NLST" || verb == "STAT" {
		for strings.HasPrefix(arg, "-") {
			_, arg, _ = strings.Cut(arg, " ")
		}
	}
	return arg
}

// list is LIST, NLST and MLSD.
func (s *ftpSession) list(string) {
	listing, err := s.listing(s.verb, s.path)
	if err != nil {
		s.fail(err)
		return
	}
	s.download("Here comes the directory listing.", bytes.NewReader(listing), 0)
}

func (s *ftpSession) listing(verb, p string) ([]byte, error) {
	if s.cfg.Listing != nil {
		if raw := s.cfg.Listing(verb, p); raw != nil {
			return raw, nil
		}
	}
	info, err := s.tree.stat(p)
	if err != nil {
		if s.cfg.EmptyForMissing && verb != "MLSD" {
			return nil, nil
		}
		return nil, err
	}
	infos := []fs.FileInfo{info}
	if info.IsDir() {
		if infos, err = s.tree.readDir(p); err != nil {
			return nil, err
		}
	} else if verb == "MLSD" {
		return nil, fs.ErrInvalid // RFC 3659 §7.1: a directory only
	}
	var b bytes.Buffer
	for _, info := range infos {
		switch verb {
		case "NLST":
			b.WriteString(info.Name())
		case "MLSD":
			b.WriteString(facts(info) + " " + info.Name())
		default:
			b.WriteString(s.unixLine(path.Join(p, info.Name()), info))
		}
		b.WriteString("\r\n")
	}
	return b.Bytes(), nil
}

// facts are those of RFC 3659 §7.5.
func facts(info fs.FileInfo) string {
	kind := "file"
	switch {
	case info.IsDir():
		kind = "dir"
	case info.Mode()&fs.ModeSymlink != 0:
		kind = "OS.unix=symlink"
	}
	return fmt.Sprintf("type=%s;size=%d;modify=%s;UNIX.mode=%04o;",
		kind, info.Size(), info.ModTime().UTC().Format(ftpTime), info.Mode().Perm())
}

// unixLine is a line of "ls -l" in UTC, as vsftpd sends it.
func (s *ftpSession) unixLine(p string, info fs.FileInfo) string {
	name := info.Name()
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err := s.tree.readlink(p); err == nil {
			name += " -> " + target
		}
	}
	return longName(info, name, time.Now())
}

// longName is a line of "ls -l" (POSIX): the time of day for the last six
// months, the year for what is older.
func longName(info fs.FileInfo, name string, now time.Time) string {
	when := info.ModTime().UTC()
	format := "Jan _2 15:04"
	if age := now.Sub(when); age > 182*24*time.Hour || age < -24*time.Hour {
		format = "Jan _2  2006"
	}
	return fmt.Sprintf("%s %4d %-8d %-8d %12d %s %s",
		modeString(info.Mode()), 1, ownerID, ownerID, info.Size(), when.Format(format), name)
}

// ownerID is who owns everything here: Windows has no such number.
const ownerID = 1000

func modeString(m fs.FileMode) string {
	kind := "-"
	switch {
	case m.IsDir():
		kind = "d"
	case m&fs.ModeSymlink != 0:
		kind = "l"
	case m&fs.ModeNamedPipe != 0:
		kind = "p"
	case m&fs.ModeSocket != 0:
		kind = "s"
	case m&fs.ModeCharDevice != 0:
		kind = "c"
	case m&fs.ModeDevice != 0:
		kind = "b"
	}
	return kind + m.Perm().String()[1:]
}

// mlst, as that of proftpd and pure-ftpd, does not say why it can't.
func (s *ftpSession) mlst(string) {
	info, err := s.tree.stat(s.path)
	if err != nil {
		s.reply(550, "It cannot be listed.")
		return
	}
	s.reply(250, fmt.Sprintf("Listing %s\n %s %s\nEnd", s.path, facts(info), s.path))
}

// status is STAT: without an argument about the session, with one a listing on
// the control connection (RFC 959 §4.1.3).
func (s *ftpSession) status(arg string) {
	if arg == "" {
		s.reply(211, "FTP server status:\n Connected and logged in.\nEnd of status")
		return
	}
	listing, err := s.listing("LIST", s.path)
	if err != nil {
		s.fail(err)
		return
	}
	lines := strings.ReplaceAll(string(listing), "\r\n", "\n ")
	s.reply(213, "Status follows:\n "+strings.TrimSuffix(lines, "\n ")+"\nEnd of status")
}
