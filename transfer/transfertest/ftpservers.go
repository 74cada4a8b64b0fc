package transfertest

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TLS is how an FTP server protects its connections.
type TLS uint8

// The kinds of RFC 4217: none, AUTH TLS on the ordinary port, TLS from the
// first byte. With either of the latter clear text is refused.
const (
	PlainText TLS = iota
	ExplicitTLS
	ImplicitTLS
)

// String is the scheme of the URLs that go with it.
func (k TLS) String() string {
	return [...]string{transfer.SchemeFTP, transfer.SchemeFTPES, transfer.SchemeFTPS}[k]
}

// FTPOptions are the variants of an FTP server. An option that a server does
// not have fails the test.
type FTPOptions struct {
	TLS TLS
	// Host to listen on, 127.0.0.1 unless set; ::1 is the other choice.
	Host string
	// ActiveOnly refuses PASV and EPSV, PassiveOnly PORT and EPRT.
	ActiveOnly, PassiveOnly bool
	// MaxPerIP limits the connections of a client, 0 does not.
	MaxPerIP int
	// Config is added to the configuration as it is: lines for vsftpd and
	// proftpd, arguments for pure-ftpd.
	Config []string
}

func (s *Server) apply(o FTPOptions) {
	s.tb.Helper()
	s.Can = Abilities{
		Protocol: policy.FTP, SetModTime: true, Resume: true, GetCompares: true, TimePrecision: time.Second,
		RenameReplaces: true, NameMax: 255,
	}
	s.Scheme, s.Host = o.TLS.String(), cmp.Or(o.Host, s.Host)
	if o.TLS == PlainText {
		return
	}
	c := NewCertificate(s.tb)
	s.CAFile = s.file("ca.pem", 0o644, c.CA)
	s.file("cert.pem", 0o644, c.Cert)
	s.file("key.pem", 0o600, c.Key)
	s.file("both.pem", 0o600, c.Cert+c.Key)
}

// VSFTPD starts vsftpd with a temporary system user, who is confined to Dir.
// With TLS it demands that data connections resume the session.
func VSFTPD(tb testing.TB, o FTPOptions) *Server {
	tb.Helper()
	s := newServer(tb, "vsftpd", nobody)
	binary := s.program("vsftpd")
	s.apply(o)
	s.User, s.user = systemUser(tb, s.Dir, s.Password)
	s.mkdir(s.Dir, s.user)
	s.mkdir(s.own("empty"), owner{})

	ipv6 := strings.Contains(s.Host, ":")
	address := "listen_address="
	if ipv6 {
		address = "listen_address6="
	}
	conf := []string{
		"listen=" + yes(!ipv6), "listen_ipv6=" + yes(ipv6), address + s.Host, "background=NO",
		"local_enable=YES", "anonymous_enable=NO", "write_enable=YES", "local_umask=022",
		"chroot_local_user=YES", "allow_writeable_chroot=YES", "local_root=" + s.Dir,
		"pam_service_name=vsftpd", "secure_chroot_dir=" + s.own("empty"),
		// Containers forbid what the sandbox needs.
		"seccomp_sandbox=NO", "isolate=NO", "isolate_network=NO",
		"xferlog_enable=YES", "log_ftp_protocol=YES", "vsftpd_log_file=" + s.logFile(),
		"pasv_enable=" + yes(!o.ActiveOnly), "port_enable=" + yes(!o.PassiveOnly),
		"max_per_ip=" + strconv.Itoa(o.MaxPerIP),
	}
	if o.TLS != PlainText {
		conf = append(conf, "ssl_enable=YES", "require_ssl_reuse=YES", "implicit_ssl="+yes(o.TLS == ImplicitTLS),
			"force_local_logins_ssl=YES", "force_local_data_ssl=YES", "ssl_ciphers=HIGH",
			"rsa_cert_file="+s.own("cert.pem"), "rsa_private_key_file="+s.own("key.pem"))
	}
	conf = append(conf, o.Config...)
	s.start(func(s *Server) *exec.Cmd {
		lines := append(conf, fmt.Sprintf("listen_port=%d", s.Port))
		return exec.Command(binary, s.file("vsftpd.conf", 0o600, strings.Join(lines, "\n")+"\n"))
	})
	return s
}

func yes(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}

// ProFTPD starts proftpd with a virtual user, who is confined to Dir. With TLS
// it demands that data connections resume the session (mod_tls's default).
func ProFTPD(tb testing.TB, o FTPOptions) *Server {
	tb.Helper()
	s := newServer(tb, "proftpd", nobody)
	binary := s.program("proftpd")
	s.apply(o)
	s.Can.NotDirs = []string{"*", "a*b?c[d]e"} // 550 Invalid directory name
	s.User = "acme"
	passwd := s.file("passwd", 0o600, fmt.Sprintf("%s:%s:%d:%d::%s:/bin/false\n",
		s.User, crypt(tb, s.Password), nobody.uid, nobody.gid, s.Dir))

	conf := []string{
		"ServerName xfer", "ServerType standalone", "DefaultServer on", "UseReverseDNS off",
		"DefaultAddress " + s.Host, "SocketBindTight on", "User nobody", "Group nogroup",
		"AuthUserFile " + passwd, "AuthOrder mod_auth_file.c", "AuthPAM off", "RequireValidShell off",
		"DefaultRoot ~", "AllowOverwrite on", "AllowStoreRestart on", "AllowRetrieveRestart on", "Umask 022",
		"PidFile " + s.own("pid"), "ScoreboardFile " + s.own("scoreboard"), "DelayEngine off",
		"SystemLog " + s.logFile(), "TransferLog none", "WtmpLog off",
		"ModulePath " + filepath.Join(filepath.Dir(binary), "../lib/proftpd"),
	}
	if o.TLS != PlainText {
		conf = append(conf, "LoadModule mod_tls.c", "TLSEngine on", "TLSRequired on", "TLSProtocol TLSv1.2 TLSv1.3", "TLSLog "+s.own("tls.log"),
			"TLSECCertificateFile "+s.own("cert.pem"), "TLSECCertificateKeyFile "+s.own("key.pem"))
	}
	if o.TLS == ImplicitTLS {
		conf = append(conf, "TLSOptions UseImplicitSSL")
	}
	if o.ActiveOnly {
		conf = append(conf, "<Limit PASV EPSV>", "DenyAll", "</Limit>")
	}
	if o.PassiveOnly {
		conf = append(conf, "<Limit PORT EPRT>", "DenyAll", "</Limit>")
	}
	if o.MaxPerIP > 0 {
		conf = append(conf, fmt.Sprintf("MaxClientsPerHost %d", o.MaxPerIP))
	}
	conf = append(conf, o.Config...)
	s.start(func(s *Server) *exec.Cmd {
		lines := append(conf, fmt.Sprintf("Port %d", s.Port))
		return exec.Command(binary, "--nodaemon", "--config", s.file("proftpd.conf", 0o600, strings.Join(lines, "\n")+"\n"))
	})
	return s
}

// PureFTPd starts pure-ftpd with a virtual user, who is confined to Dir. It
// logs only to syslog.
func PureFTPd(tb testing.TB, o FTPOptions) *Server {
	tb.Helper()
	s := newServer(tb, "pure-ftpd", nobody)
	if o.TLS == ImplicitTLS || o.ActiveOnly || o.PassiveOnly {
		tb.Fatal("pure-ftpd has neither implicit TLS nor a way to refuse a mode")
	}
	binary, pw := s.program("pure-ftpd"), s.program("pure-pw")
	s.apply(o)
	s.Can.Truncates = true
	s.Can.Names = map[string]string{"trailing space ": "trailing space_", " ": "_", `back\slash`: "", `\`: ""}
	s.User = "acme"
	passwd := s.file("passwd", 0o600, fmt.Sprintf("%s:%s:%d:%d::%s/./::::::::::::\n",
		s.User, crypt(tb, s.Password), nobody.uid, nobody.gid, s.Dir))
	command(tb, "", pw, "mkdb", s.own("pdb"), "-f", passwd)

	args := []string{
		"--login", "puredb:" + s.own("pdb"), "--chrooteveryone", "--noanonymous", "--dontresolve",
		"--pidfile", s.own("pid"), "--umask", "022:022",
		// The default, 10000, cuts listings off, "." and ".." counted.
		"--limitrecursion", "100000:5",
		// Virtual users have the uid of nobody, which the default refuses.
		"--minuid", "1",
	}
	if o.TLS != PlainText {
		args = append(args, "--tls", "3", "--certfile", s.own("both.pem"))
	}
	if o.MaxPerIP > 0 {
		args = append(args, "--maxclientsperip", strconv.Itoa(o.MaxPerIP))
	}
	args = append(args, o.Config...)
	s.start(func(s *Server) *exec.Cmd {
		return exec.Command(binary, append(args, "--bind", s.Host+","+strconv.Itoa(s.Port))...)
	})
	return s
}

//go:embed pyftpdlib.py
var pyftpdlibScript string

// PyFTPDLib starts a server on pyftpdlib, which runs as nobody.
func PyFTPDLib(tb testing.TB, o FTPOptions) *Server {
	tb.Helper()
	s := newServer(tb, "pyftpdlib", nobody)
	// Debian's own: a Python from elsewhere would not have its packages.
	python := s.program("python3")
	if len(o.Config) > 0 {
		tb.Fatal("pyftpdlib has no configuration file")
	}
	s.apply(o)
	if o.TLS != PlainText {
		s.chown(s.own("both.pem"), nobody)
	}
	s.User = "acme"
	script := s.file("server.py", 0o644, pyftpdlibScript)
	s.start(func(s *Server) *exec.Cmd {
		settings, err := json.Marshal(map[string]any{
			"host": s.Host, "port": s.Port, "user": s.User, "password": s.Password, "dir": s.Dir,
			"tls": o.TLS != PlainText, "implicit": o.TLS == ImplicitTLS, "cert": s.own("both.pem"),
			"active_only": o.ActiveOnly, "passive_only": o.PassiveOnly, "max_per_ip": o.MaxPerIP,
		})
		must(s.tb, err)
		cmd := exec.Command(python, script)
		cmd.Stdin = strings.NewReader(string(settings))
		as(cmd, nobody)
		return cmd
	})
	return s
}
