package transfertest

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Login is how sshd lets a user in.
type Login uint8

// The methods of RFC 4252 and RFC 4256. All but the first need a temporary
// system user.
const (
	LoginKey Login = iota
	LoginPassword
	LoginKeyboardInteractive
)

// SSHDOptions are the variants of OpenSSH's sshd.
type SSHDOptions struct {
	// Login is the only method that is accepted.
	Login Login
	// Host to listen on, 127.0.0.1 unless set; ::1 is the other choice.
	Host string
	// Unprivileged logs in as a temporary system user instead of the one that
	// runs the test. Passwords and Chroot imply it.
	Unprivileged bool
	// External runs sftp-server instead of internal-sftp.
	External bool
	// Chroot confines the user. Dir is then writable below a directory that is
	// not, as sshd demands.
	Chroot bool
	// SFTPArgs are arguments of sftp-server(8): "-R" is read-only.
	SFTPArgs []string
	// ForceCommand runs instead of what the client asks for; "sftp" stands for
	// the SFTP server itself.
	ForceCommand string
	// MaxSessions and MaxStartups are as in sshd_config(5), 0 and "" the default.
	MaxSessions int
	MaxStartups string
	// FileSize and OpenFiles are resource limits of every session
	// (RLIMIT_FSIZE in bytes, RLIMIT_NOFILE), 0 for none.
	FileSize, OpenFiles uint64
	// Config is added to the configuration, before all else: sshd takes the
	// first value that it finds.
	Config []string
}

// chrootParent is where directories are made that sshd accepts for a chroot:
// everything above has to be root's, and /tmp is everybody's.
const chrootParent = "/var/lib"

// SSHD starts OpenSSH's sshd.
func SSHD(tb testing.TB, o SSHDOptions) *Server {
	tb.Helper()
	s := newServer(tb, "sshd", me())
	binary := s.program("sshd")
	s.Scheme, s.Host = transfer.SchemeSFTP, cmp.Or(o.Host, s.Host)
	s.Can = Abilities{
		Protocol: policy.SFTP, SetModTime: true, Chmod: true, Replace: true, Links: true, Space: true,
		Realpath: true, Parallel: true, Resume: true, GetCompares: true, Begin: true, TimePrecision: time.Second, Truncates: true, NameMax: 255,
	}
	// sshd wants to find it, and the package leaves it to the init script.
	must(tb, os.MkdirAll("/run/sshd", 0o755))

	s.User, s.Root = "root", s.Dir
	if o.Unprivileged || o.Chroot || o.Login != LoginKey {
		s.User, s.user = systemUser(tb, s.Dir, s.Password)
		s.mkdir(s.Dir, s.user)
	}
	if o.Login == LoginKey {
		s.Password = ""
	}
	chroot := "none"
	if o.Chroot {
		chroot = tempDir(tb, chrootParent, "sshd")
		s.Dir, s.Root = filepath.Join(chroot, "files"), "/files"
		s.mkdir(s.Dir, s.user)
	}

	var hostKey ssh.PublicKey
	s.HostKeyFile, hostKey = s.keyPair("host_key")
	s.KeyFile, _ = s.keyPair("user_key")

	server := "internal-sftp"
	if o.External {
		server = "/usr/lib/openssh/sftp-server"
	}
	server = strings.Join(append([]string{server, "-d", s.Root}, o.SFTPArgs...), " ")
	force := o.ForceCommand
	if force == "sftp" {
		force = server
	}
	conf := slices.Concat(o.Config, []string{
		"ListenAddress " + s.Host, "HostKey " + s.HostKeyFile, "PidFile none", "StrictModes no", "PermitRootLogin yes",
		"AuthorizedKeysFile " + s.own("user_key.pub"),
		"PubkeyAuthentication " + lower(o.Login == LoginKey),
		"PasswordAuthentication " + lower(o.Login == LoginPassword),
		"KbdInteractiveAuthentication " + lower(o.Login == LoginKeyboardInteractive),
		// OpenSSH asks keyboard-interactive questions only through PAM.
		"UsePAM " + lower(o.Login == LoginKeyboardInteractive),
		"ChrootDirectory " + chroot, "Subsystem sftp " + server, "LogLevel VERBOSE",
	})
	if force != "" {
		conf = append(conf, "ForceCommand "+force)
	}
	if o.MaxSessions > 0 {
		conf = append(conf, fmt.Sprintf("MaxSessions %d", o.MaxSessions))
	}
	if o.MaxStartups != "" {
		conf = append(conf, "MaxStartups "+o.MaxStartups)
	}
	// sshd names its PAM service after itself. Under a name without a service
	// it gets the system's default, which works in containers, too: Debian's
	// own for sshd demands pam_loginuid.
	link := s.own("xfer-sshd")
	must(tb, os.Symlink(binary, link))
	s.started = func(pid int) { limit(tb, pid, o.FileSize, o.OpenFiles) }
	s.start(func(s *Server) *exec.Cmd {
		lines := append(conf, fmt.Sprintf("Port %d", s.Port))
		return exec.Command(link, "-D", "-e", "-f", s.file("sshd_config", 0o600, strings.Join(lines, "\n")+"\n"))
	})
	s.KnownHosts = knownhosts.Line([]string{knownhosts.Normalize(s.Address())}, hostKey)
	s.KnownHostsFile = s.file("known_hosts", 0o600, s.KnownHosts+"\n")
	return s
}

// keyPair makes a key and writes it to name, its public half to name.pub.
func (s *Server) keyPair(name string) (file string, public ssh.PublicKey) {
	s.tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(s.tb, err)
	block, err := ssh.MarshalPrivateKey(key, "xfer test")
	must(s.tb, err)
	public, err = ssh.NewPublicKey(key.Public())
	must(s.tb, err)
	s.file(name+".pub", 0o644, string(ssh.MarshalAuthorizedKey(public)))
	return s.file(name, 0o600, string(pem.EncodeToMemory(block))), public
}

func lower(b bool) string { return strings.ToLower(yes(b)) }
