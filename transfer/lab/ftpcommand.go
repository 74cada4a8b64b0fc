package lab

import (
	"errors"
	"strings"
)

// maxLine is the longest command line that is accepted, in bytes, as in proftpd
// and vsftpd.
const maxLine = 4096

var (
	errLineTooLong = errors.New("line too long")
	errBadCommand  = errors.New("not a command")
)

// parseCommand splits a line without its end (RFC 959 §5.3.1). The argument is
// kept byte for byte: names may be in any encoding and have blanks at both ends.
func parseCommand(line string) (verb, arg string, err error) {
	if len(line) >= maxLine {
		return "", "", errLineTooLong
	}
	line = trimTelnet(line)
	if strings.ContainsAny(line, "\x00\r\n") {
		return "", "", errBadCommand
	}
	verb, arg, _ = strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	if verb == "" || len(verb) > 12 {
		return "", "", errBadCommand
	}
	for i := range len(verb) {
		if c := verb[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return "", "", errBadCommand
		}
	}
	return verb, arg, nil
}

// trimTelnet removes the telnet signals IAC IP IAC DM that precede ABOR (RFC 959
// §4.1.3); some of their bytes get lost on the way as urgent data.
func trimTelnet(line string) string {
	for line != "" && line[0] >= 0xf0 {
		line = line[1:]
	}
	return line
}

// ftpCommand is what the server does at a command.
type ftpCommand struct {
	run func(s *ftpSession, arg string)
	// early: allowed before login.
	early bool
	// path: the argument is a path, for Rule.Path.
	path bool
}

var ftpCommands = map[string]ftpCommand{
	"USER": {run: (*ftpSession).user, early: true},
	"PASS": {run: (*ftpSession).pass, early: true},
	"ACCT": {run: (*ftpSession).acct, early: true},
	"AUTH": {run: (*ftpSession).auth, early: true},
	"PBSZ": {run: (*ftpSession).pbsz, early: true},
	"PROT": {run: (*ftpSession).protect, early: true},
	"CCC":  {run: fixed(534, "CCC is not allowed here."), early: true},
	"HOST": {run: fixed(220, "Host accepted."), early: true},
	"CLNT": {run: fixed(200, "Noted."), early: true},
	"QUIT": {run: (*ftpSession).quit, early: true},
	"NOOP": {run: fixed(200, "NOOP ok."), early: true},
	"SYST": {run: (*ftpSession).syst, early: true},
	"FEAT": {run: (*ftpSession).feat, early: true},
	"OPTS": {run: (*ftpSession).opts, early: true},
	"HELP": {run: fixed(214, "Ask the RFC."), early: true},

	"TYPE": {run: (*ftpSession).transferType},
	"MODE": {run: only("S")},
	"STRU": {run: only("F")},
	"ALLO": {run: fixed(202, "ALLO command ignored.")},

	"PWD":  {run: (*ftpSession).pwd},
	"XPWD": {run: (*ftpSession).pwd},
	"CWD":  {run: (*ftpSession).chdir, path: true},
	"XCWD": {run: (*ftpSession).chdir, path: true},
	"CDUP": {run: func(s *ftpSession, _ string) { s.chdir("..") }},
	"XCUP": {run: func(s *ftpSession, _ string) { s.chdir("..") }},
	"MKD":  {run: (*ftpSession).mkdir, path: true},
	"XMKD": {run: (*ftpSession).mkdir, path: true},
	"RMD":  {run: (*ftpSession).rmdir, path: true},
	"XRMD": {run: (*ftpSession).rmdir, path: true},
	"DELE": {run: (*ftpSession).dele, path: true},
	"RNFR": {run: (*ftpSession).renameFrom, path: true},
	"RNTO": {run: (*ftpSession).renameTo, path: true},
	"SITE": {run: (*ftpSession).site},
	"SIZE": {run: (*ftpSession).size, path: true},
	"MDTM": {run: (*ftpSession).mdtm, path: true},
	"MFMT": {run: (*ftpSession).mfmt},
	"AVBL": {run: (*ftpSession).avbl, path: true},

	"PASV": {run: (*ftpSession).passive},
	"EPSV": {run: (*ftpSession).passive},
	"PORT": {run: (*ftpSession).port},
	"EPRT": {run: (*ftpSession).eprt},
	"PRET": {run: (*ftpSession).pret},
	"REST": {run: (*ftpSession).restart},
	"RETR": {run: (*ftpSession).retr, path: true},
	"STOR": {run: (*ftpSession).stor, path: true},
	"APPE": {run: (*ftpSession).stor, path: true},
	"ABOR": {run: fixed(226, "ABOR command successful.")},
	"LIST": {run: (*ftpSession).list, path: true},
	"NLST": {run: (*ftpSession).list, path: true},
	"MLSD": {run: (*ftpSession).list, path: true},
	"MLST": {run: (*ftpSession).mlst, path: true},
	"STAT": {run: (*ftpSession).status, path: true},

	"HASH":    {run: (*ftpSession).hash, path: true},
	"XCRC":    {run: (*ftpSession).xhash},
	"XMD5":    {run: (*ftpSession).xhash},
	"XSHA1":   {run: (*ftpSession).xhash},
	"XSHA256": {run: (*ftpSession).xhash},
	"XSHA512": {run: (*ftpSession).xhash},
	"MD5":     {run: (*ftpSession).md5, path: true},
}

// optional are the names for FTPConfig.With and Without, with the line that
// FEAT shows. The rare ones are off unless asked for.
var optional = []struct {
	name, feat string
	rare       bool
}{
	{name: "FEAT"},
	{name: "EPRT", feat: "EPRT"},
	{name: "EPSV", feat: "EPSV"},
	{name: "PASV"},
	{name: "PORT"},
	{name: "MDTM", feat: "MDTM"},
	{name: "MFMT", feat: "MFMT"},
	{name: "MLST", feat: "MLST type*;size*;modify*;UNIX.mode*;"},
	{name: "MLSD"},
	{name: "REST", feat: "REST STREAM"},
	{name: "SIZE", feat: "SIZE"},
	{name: "UTF8", feat: "UTF8"},
	{name: "APPE"},
	{name: "STAT"},
	{name: "SITE CHMOD", feat: "SITE CHMOD"},
	{name: "MDTM SET", rare: true},
	{name: "SITE UTIME", feat: "SITE UTIME", rare: true},
	{name: "PRET", feat: "PRET", rare: true},
	{name: "HOST", feat: "HOST", rare: true},
	{name: "CLNT", feat: "CLNT", rare: true},
	{name: "AVBL", feat: "AVBL", rare: true},
	{name: "HASH", feat: "HASH SHA-256*;SHA-512;SHA-1;MD5;CRC32", rare: true},
	{name: "XCRC", feat: "XCRC filename;start;end", rare: true},
	{name: "XMD5", feat: "XMD5 filename;start;end", rare: true},
	{name: "XSHA1", feat: "XSHA1 filename;start;end", rare: true},
	{name: "XSHA256", feat: "XSHA256 filename;start;end", rare: true},
	{name: "XSHA512", feat: "XSHA512 filename;start;end", rare: true},
	{name: "MD5", feat: "MD5", rare: true},
}

func fixed(code int, text string) func(*ftpSession, string) {
	return func(s *ftpSession, _ string) { s.reply(code, text) }
}

func only(letter string) func(*ftpSession, string) {
	return func(s *ftpSession, arg string) {
		if strings.EqualFold(arg, letter) {
			s.reply(200, "OK.")
			return
		}
		s.reply(504, "Not implemented for that parameter.")
	}
}
