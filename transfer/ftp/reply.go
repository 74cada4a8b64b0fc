package ftp

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// What one reply may hold, in bytes. The largest honest ones are those of FEAT
// and HELP.
const (
	maxLine  = 64 << 10
	maxReply = 1 << 20
)

// reply is one complete reply (RFC 959 §4.2).
type reply struct {
	code int
	// lines are the texts: of the first and the last line without the code,
	// of those between as they came.
	lines []string
	// at is when it came.
	at time.Time
}

func (r reply) text() string    { return strings.Join(r.lines, "\n") }
func (r reply) class() int      { return r.code / 100 }
func (r reply) completed() bool { return r.class() == 2 }

// unsupported: the server does not know the command (500, 502) or this form of
// it (504), so that asking again is pointless.
func (r reply) unsupported() bool {
	return r.code == 500 || r.code == 502 || r.code == 504
}

// syntaxError is something from the server that FTP does not allow.
type syntaxError struct{ what string }

func (e *syntaxError) Error() string { return e.what }

func badSyntax(format string, args ...any) error {
	return &syntaxError{fmt.Sprintf(format, args...)}
}

// readReply reads one reply. Empty lines before it are skipped: some servers
// send one behind a multi-line greeting.
func readReply(br *bufio.Reader) (reply, error) {
	line, err := readLine(br)
	for err == nil && line == "" {
		line, err = readLine(br)
	}
	if err != nil {
		return reply{}, err
	}
	code, last, ok := splitReply(line)
	if !ok {
		return reply{}, badSyntax("not an FTP reply: %s", policy.Sanitize(line))
	}
	r := reply{code: code, lines: []string{textOf(line)}}
	for size := len(line); !last; {
		if line, err = readLine(br); err != nil {
			return reply{}, err
		}
		if size += len(line); size > maxReply {
			return reply{}, badSyntax("a reply longer than %d bytes", maxReply)
		}
		// Only the same code and a space end it (RFC 959 §4.2): lines between
		// may begin with other digits.
		if c, end, ok := splitReply(line); ok && end && c == code {
			line, last = textOf(line), true
		}
		r.lines = append(r.lines, line)
	}
	return r, nil
}

// splitReply reads "226 text", "226-text" and the bare "226".
func splitReply(line string) (code int, last, ok bool) {
	if len(line) < 3 {
		return 0, false, false
	}
	for _, c := range []byte(line[:3]) {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = code*10 + int(c-'0')
	}
	if code < 100 || code > 699 {
		return 0, false, false
	}
	switch {
	case len(line) == 3 || line[3] == ' ':
		return code, true, true
	case line[3] == '-':
		return code, false, true
	}
	return 0, false, false
}

func textOf(line string) string {
	if len(line) <= 4 {
		return ""
	}
	return line[4:]
}

// readLine reads up to LF and drops a CR before it.
func readLine(br *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := br.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return "", badSyntax("a line longer than %d bytes", maxLine)
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
	}
}

// parseEPSV reads the port from "Entering Extended Passive Mode (|||6446|)"
// (RFC 2428 §3). The delimiter may be any printable character.
func parseEPSV(text string) (port int, ok bool) {
	for i := 0; i+4 < len(text); i++ {
		d := text[i]
		if d < '!' || d > '~' || (d >= '0' && d <= '9') || text[i+1] != d || text[i+2] != d {
			continue
		}
		digits, _, found := strings.Cut(text[i+3:], string(rune(d)))
		if n, valid := parsePort(digits); found && valid {
			return n, true
		}
	}
	return 0, false
}

// parsePASV reads "Entering Passive Mode (h1,h2,h3,h4,p1,p2)". Servers differ
// in what stands around the six numbers (RFC 1123 §4.1.2.6).
func parsePASV(text string) (netip.AddrPort, bool) {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < '0' || c > '9' {
			continue
		}
		if addr, ok := sixNumbers(text[i:]); ok {
			return addr, true
		}
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			i++
		}
	}
	return netip.AddrPort{}, false
}

func sixNumbers(s string) (netip.AddrPort, bool) {
	var b [6]byte
	for i := range b {
		end := 0
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		n, err := strconv.ParseUint(s[:end], 10, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b[i] = byte(n)
		s = s[end:]
		if i == len(b)-1 {
			break
		}
		if s == "" || s[0] != ',' {
			return netip.AddrPort{}, false
		}
		s = strings.TrimLeft(s[1:], " ")
	}
	port := uint16(b[4])<<8 | uint16(b[5])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port), port != 0
}

func parsePort(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n != 0
}

// formatPORT is the argument of PORT (RFC 959 §4.1.2), for IPv4 only.
func formatPORT(a netip.AddrPort) string {
	ip := a.Addr().As4()
	return fmt.Sprintf("%d,%d,%d,%d,%d,%d", ip[0], ip[1], ip[2], ip[3], a.Port()>>8, a.Port()&0xff)
}

// formatEPRT is the argument of EPRT (RFC 2428 §2).
func formatEPRT(a netip.AddrPort) string {
	family := 1
	if a.Addr().Is6() {
		family = 2
	}
	return fmt.Sprintf("|%d|%s|%d|", family, a.Addr().WithZone(""), a.Port())
}

// parsePWD reads the path from `257 "/a ""b""" is the current directory`: a
// quote inside is doubled (RFC 959 appendix II).
func parsePWD(text string) (string, bool) {
	_, s, ok := strings.Cut(text, `"`)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for {
		part, rest, ok := strings.Cut(s, `"`)
		if !ok {
			return "", false
		}
		b.WriteString(part)
		if !strings.HasPrefix(rest, `"`) {
			return b.String(), b.Len() > 0
		}
		b.WriteByte('"')
		s = rest[1:]
	}
}

// parseSIZE reads the reply to SIZE (RFC 3659 §4): decimal, also with leading
// zeros, which are not octal.
func parseSIZE(text string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return n, err == nil && n >= 0
}

const timeVal = "20060102150405"

// parseTimeVal reads the time-val of MDTM and MLST (RFC 3659 §2.3):
// YYYYMMDDHHMMSS, a fraction is dropped.
func parseTimeVal(s string) (time.Time, bool) {
	s, _, _ = strings.Cut(strings.TrimSpace(s), ".")
	// A server with a Y2K bug writes the year as "19" and the years since
	// 1900: "19104" for 2004 (RFC 3659 §2.3 note).
	if len(s) == len(timeVal)+1 && strings.HasPrefix(s, "191") {
		if n, err := strconv.Atoi(s[2:5]); err == nil {
			s = strconv.Itoa(1900+n) + s[5:]
		}
	}
	t, err := time.ParseInLocation(timeVal, s, time.UTC)
	return t, err == nil
}
