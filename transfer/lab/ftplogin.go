package lab

import (
	"crypto/subtle"
	"slices"
	"strings"
)

// maxFailures is after how many refused logins the server hangs up, as vsftpd.
const maxFailures = 3

func (s *ftpSession) user(arg string) {
	if s.cfg.DemandTLS != 0 && !s.secure() {
		s.reply(s.cfg.DemandTLS, "Sessions must use encryption.")
		s.over = s.cfg.DemandTLS == 421
		return
	}
	s.login, s.loggedIn = arg, false
	s.reply(331, "Please specify the password.")
}

func (s *ftpSession) pass(arg string) {
	switch {
	case s.login == "":
		s.reply(503, "Login with USER first.")
	case s.cfg.User != "" && (s.login != s.cfg.User || !same(arg, s.cfg.Password)):
		s.refuseLogin()
	case s.cfg.Account != "":
		s.reply(332, "Need account for login.")
	default:
		s.acceptLogin()
	}
}

func (s *ftpSession) acct(arg string) {
	switch {
	case s.loggedIn || s.cfg.Account == "":
		s.reply(202, "Account not needed.")
	case s.login == "":
		s.reply(503, "Login with USER first.")
	case !same(arg, s.cfg.Account):
		s.refuseLogin()
	default:
		s.acceptLogin()
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *ftpSession) acceptLogin() {
	s.loggedIn = true
	s.record.add(Event{Conn: s.id, Verb: "login", Arg: s.login, Text: "accepted"})
	s.reply(230, "Login successful.")
}

func (s *ftpSession) refuseLogin() {
	s.record.add(Event{Conn: s.id, Verb: "login", Arg: s.login, Text: "refused"})
	s.login = ""
	s.failures++
	s.reply(530, "Login incorrect.")
	s.over = s.over || s.failures >= maxFailures
}

func (s *ftpSession) auth(arg string) {
	kind := strings.ToUpper(arg)
	switch {
	case s.cfg.TLS != Explicit:
		s.notImplemented()
	case s.secure():
		s.reply(503, "Already protected.")
	case !slices.Contains([]string{"TLS", "TLS-C", "SSL", "TLS-P"}, kind):
		s.reply(504, "Unknown AUTH type.")
	default:
		s.reply(234, "Proceed with negotiation.")
		if !s.over {
			s.startTLS()
		}
	}
}

func (s *ftpSession) pbsz(string) {
	if !s.secure() {
		s.reply(503, "Use AUTH first.")
		return
	}
	s.reply(200, "PBSZ set to 0.")
}

func (s *ftpSession) protect(arg string) {
	switch {
	case !s.secure():
		s.reply(503, "Use AUTH first.")
	case strings.EqualFold(arg, "P"):
		s.prot = true
		s.reply(200, "PROT now Private.")
	case strings.EqualFold(arg, "C"):
		s.prot = false
		s.reply(200, "PROT now Clear.")
	default:
		s.reply(536, "PROT level not supported.")
	}
}

func (s *ftpSession) quit(string) {
	s.over = true
	s.release(s.id)
	s.reply(221, "Goodbye.")
}

func (s *ftpSession) syst(string) { s.reply(215, s.cfg.System) }

func (s *ftpSession) feat(string) {
	lines := []string{"Features:"}
	if s.cfg.TLS != Plain {
		lines = append(lines, " AUTH TLS", " PBSZ", " PROT")
	}
	for _, o := range optional {
		if o.feat != "" && s.knows[o.name] {
			lines = append(lines, " "+o.feat)
		}
	}
	s.reply(211, strings.Join(append(lines, "End"), "\n"))
}

func (s *ftpSession) opts(arg string) {
	name, value, _ := strings.Cut(strings.ToUpper(arg), " ")
	switch {
	case name == "UTF8" && s.knows["UTF8"]:
		s.reply(200, "Always in UTF8 mode.")
	case name == "MLST" && s.knows["MLST"]:
		s.reply(200, "MLST OPTS type;size;modify;UNIX.mode;")
	case name == "HASH" && s.knows["HASH"] && digests[value] != nil:
		s.hashName = value
		s.reply(200, value)
	default:
		s.reply(501, "Option not understood.")
	}
}
