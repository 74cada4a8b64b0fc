package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ftpTime is the format of MDTM and MLSD, in UTC (RFC 3659 §2.3).
const ftpTime = "20060102150405"

// fail replies to a command that the file system refused.
func (s *ftpSession) fail(err error) {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		s.reply(s.cfg.FullCode, "Transfer aborted: no space left.")
	case errors.Is(err, fs.ErrNotExist):
		s.reply(550, "No such file or directory.")
	case errors.Is(err, fs.ErrExist):
		s.reply(550, "File exists.")
	default:
		s.reply(550, rootCause(err).Error()+".")
	}
}

// rootCause is the innermost error: the outer ones carry paths of this machine.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// quote is a path in a 257 reply (RFC 959, Appendix II).
func quote(p string) string { return `"` + strings.ReplaceAll(p, `"`, `""`) + `"` }

func (s *ftpSession) pwd(string) { s.reply(257, quote(s.cwd)+" is the current directory") }

func (s *ftpSession) chdir(arg string) {
	dir := absolute(s.cwd, arg)
	info, err := s.tree.stat(dir)
	if err != nil || !info.IsDir() {
		s.reply(550, "Failed to change directory.")
		return
	}
	s.cwd = dir
	s.reply(250, "Directory successfully changed.")
}

func (s *ftpSession) mkdir(string) {
	if err := s.tree.mkdir(s.path, 0o755); err != nil {
		s.fail(err)
		return
	}
	s.reply(257, quote(s.path)+" created")
}

func (s *ftpSession) rmdir(string) {
	if err := s.tree.remove(s.path, true); err != nil {
		s.fail(err)
		return
	}
	s.reply(250, "Remove directory operation successful.")
}

func (s *ftpSession) dele(string) {
	if err := s.tree.remove(s.path, false); err != nil {
		s.fail(err)
		return
	}
	s.reply(250, "Delete operation successful.")
}

func (s *ftpSession) renameFrom(string) {
	if s.cfg.NoRename {
		s.reply(550, "Permission denied.")
		return
	}
	if _, err := s.tree.lstat(s.path); err != nil {
		s.fail(err)
		return
	}
	s.oldName = s.path
	s.reply(350, "Ready for RNTO.")
}

func (s *ftpSession) renameTo(string) {
	from := s.oldName
	s.oldName = ""
	if from == "" {
		s.reply(503, "RNFR required first.")
		return
	}
	err := s.tree.rename(from, s.path, s.cfg.NoReplace)
	switch {
	case errors.Is(err, syscall.EEXIST):
		s.reply(553, "Rename refused: file exists.")
	case err != nil:
		s.fail(err)
	default:
		s.reply(250, "Rename successful.")
	}
}

// regular stats a file for SIZE and MDTM. As vsftpd, the server does not say why
// it can't.
func (s *ftpSession) regular(p string) (fs.FileInfo, bool) {
	info, err := s.tree.stat(p)
	if err != nil {
		s.reply(550, "Could not get the file's status.")
		return nil, false
	}
	if !info.Mode().IsRegular() {
		s.reply(550, "Not a plain file.")
		return nil, false
	}
	return info, true
}

func (s *ftpSession) size(string) {
	if s.ascii {
		s.reply(550, "SIZE not allowed in ASCII mode.")
		return
	}
	if info, ok := s.regular(s.path); ok {
		s.reply(213, strconv.FormatInt(info.Size(), 10))
	}
}

func (s *ftpSession) mdtm(arg string) {
	if s.knows["MDTM SET"] {
		if stamp, name, ok := strings.Cut(arg, " "); ok {
			if when, err := time.Parse(ftpTime, stamp); err == nil {
				s.setTime(when, name, "File modification time set.")
				return
			}
		}
	}
	if info, ok := s.regular(s.path); ok {
		s.reply(213, info.ModTime().UTC().Format(ftpTime))
	}
}

func (s *ftpSession) mfmt(arg string) {
	stamp, name, ok := strings.Cut(arg, " ")
	when, err := time.Parse(ftpTime, stamp)
	if !ok || err != nil {
		s.reply(501, "Usage: MFMT YYYYMMDDhhmmss path.")
		return
	}
	s.setTime(when, name, fmt.Sprintf("Modify=%s; %s", stamp, name))
}

func (s *ftpSession) setTime(when time.Time, name, done string) {
	if err := s.tree.chtimes(absolute(s.cwd, name), when, when); err != nil {
		s.fail(err)
		return
	}
	s.reply(213, done)
}

func (s *ftpSession) avbl(string) {
	_, _, free, _ := s.tree.space(s.path)
	s.reply(213, strconv.FormatInt(free, 10))
}

func (s *ftpSession) site(arg string) {
	sub, rest, _ := strings.Cut(arg, " ")
	switch sub = strings.ToUpper(sub); {
	case sub == "CHMOD" && s.knows["SITE CHMOD"]:
		s.siteChmod(rest)
	case sub == "UTIME" && s.knows["SITE UTIME"]:
		s.siteUtime(rest)
	default:
		s.reply(500, "Unknown SITE command.")
	}
}

func (s *ftpSession) siteChmod(arg string) {
	mode, name, ok := strings.Cut(arg, " ")
	bits, err := strconv.ParseUint(mode, 8, 12)
	if !ok || err != nil {
		s.reply(501, "Usage: SITE CHMOD mode path.")
		return
	}
	if err := s.tree.chmod(absolute(s.cwd, name), fs.FileMode(bits)); err != nil {
		s.fail(err)
		return
	}
	s.reply(200, "SITE CHMOD command ok.")
}

// siteUtime knows both forms: "YYYYMMDDhhmm[ss] path" (proftpd, Serv-U) and
// "path atime mtime ctime UTC" (pure-ftpd, proftpd).
func (s *ftpSession) siteUtime(arg string) {
	stamp, name, _ := strings.Cut(arg, " ")
	when, err := time.Parse(ftpTime, (stamp + "00")[:min(len(stamp)+2, len(ftpTime))])
	if fields := strings.Fields(arg); err != nil && len(fields) >= 5 && fields[len(fields)-1] == "UTC" {
		when, err = time.Parse(ftpTime, fields[len(fields)-3])
		name = strings.Join(fields[:len(fields)-4], " ")
	}
	if err != nil || name == "" {
		s.reply(501, "Usage: SITE UTIME YYYYMMDDhhmmss path.")
		return
	}
	s.setTime(when, name, "SITE UTIME ok.")
}

func (s *ftpSession) transferType(arg string) {
	switch strings.ToUpper(arg) {
	case "A", "A N":
		s.ascii = true
		s.reply(200, "Switching to ASCII mode.")
	case "I", "L 8":
		s.ascii = false
		s.reply(200, "Switching to Binary mode.")
	default:
		s.reply(504, "Not implemented for that parameter.")
	}
}

func (s *ftpSession) restart(arg string) {
	off, err := strconv.ParseInt(strings.TrimSpace(arg), 10, 64)
	if err != nil || off < 0 {
		s.reply(501, "REST needs a number.")
		return
	}
	s.rest = off
	s.reply(350, fmt.Sprintf("Restarting at %d. Send STORE or RETRIEVE.", off))
}
