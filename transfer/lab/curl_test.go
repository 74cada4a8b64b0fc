package lab

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// curl says whether the lab is a credible server to somebody who does not know it.
func TestCurl(t *testing.T) {
	curl := tool(t, "curl")
	data := noise(2<<20 + 17)
	local := t.TempDir()
	file(t, local, "src", data)
	tests := []struct {
		name   string
		cfg    FTPConfig
		scheme string
		args   []string
		mode   string // that the data connections came by
	}{
		{"passive", FTPConfig{}, "ftp", nil, "EPSV"},
		{"PASV", FTPConfig{Without: []string{"EPSV"}}, "ftp", nil, "PASV"},
		{"active", FTPConfig{}, "ftp", []string{"--ftp-port", "-"}, "EPRT"},
		{"PORT", FTPConfig{}, "ftp", []string{"--ftp-port", "-", "--disable-eprt"}, "PORT"},
		{"IPv6", FTPConfig{Addr: "[::1]:0"}, "ftp", nil, "EPSV"},
		{"IPv6 active", FTPConfig{Addr: "[::1]:0"}, "ftp", []string{"--ftp-port", "-"}, "EPRT"},
		{"150 first", FTPConfig{MarkFirst: true}, "ftp", nil, "EPSV"},
		{"explicit TLS", FTPConfig{TLS: Explicit, DemandTLS: 530, DemandProt: true, Reuse: ReuseOr522}, "ftp", []string{"--ssl-reqd"}, "EPSV"},
		{"implicit TLS", FTPConfig{TLS: Implicit}, "ftps", nil, "EPSV"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			tt.cfg.Root, tt.cfg.User, tt.cfg.Password = root, "demo", "demo"
			srv := startFTP(t, tt.cfg)
			base := tt.scheme + "://" + srv.Addr() + "/"
			args := append([]string{"-sS", "--max-time", "20", "--user", "demo:demo"}, tt.args...)
			if srv.CAFile() != "" {
				args = append(args, "--cacert", srv.CAFile())
			}
			run := func(more ...string) string {
				t.Helper()
				cmd := exec.CommandContext(t.Context(), curl, append(args, more...)...)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("curl %v: %v\n%s\n%s", more, err, out, srv.Log())
				}
				return string(out)
			}
			run("--ftp-create-dirs", "-T", filepath.Join(local, "src"), base+"in/a%20file")
			if !bytes.Equal(content(t, root, "in/a file"), data) {
				t.Error("uploaded differently")
			}
			back := filepath.Join(t.TempDir(), "back")
			file(t, filepath.Dir(back), "back", data[:1000])
			run("-C", "-", "-o", back, base+"in/a%20file")
			if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
				t.Errorf("downloaded differently: %v", err)
			}
			if list := run(base + "in/"); !strings.Contains(list, "2097169") || !strings.Contains(list, "a file\n") {
				t.Errorf("list: %q", list)
			}
			if err := os.Truncate(filepath.Join(root, "in/a file"), 5000); err != nil {
				t.Fatal(err)
			}
			run("-C", "-", "-T", filepath.Join(local, "src"), base+"in/a%20file")
			if !bytes.Equal(content(t, root, "in/a file"), data) {
				t.Error("resumed differently")
			}
			if log := srv.Log(); log.Data(tt.mode) != 4 {
				t.Errorf("want 4 data connections by %s:\n%s", tt.mode, log)
			}
		})
	}
}

// lftp does what curl 7.88 can't: TLS on active data connections.
func TestLFTP(t *testing.T) {
	lftp := tool(t, "lftp")
	data := noise(2<<20 + 17)
	local := t.TempDir()
	file(t, local, "src", data)
	for _, passive := range []string{"on", "off"} {
		root := t.TempDir()
		srv := startFTP(t, FTPConfig{
			Root: root, User: "demo", Password: "demo", TLS: Explicit,
			DemandTLS: 530, DemandProt: true, Reuse: ReuseOr425, MarkFirst: true,
		})
		script := strings.Join([]string{
			"set net:max-retries 1", "set net:timeout 10", "set cmd:fail-exit yes", "set bmk:save-passwords no",
			"set ftp:ssl-force yes", "set ftp:ssl-protect-data yes", "set ssl:ca-file " + srv.CAFile(),
			"set ftp:passive-mode " + passive, "open -u demo,demo ftp://" + srv.Addr(),
			"mkdir in", "put " + local + "/src -o in/a", "cls -l in", "mv in/a in/b", "get in/b -o " + local + "/back" + passive, "bye",
		}, "; ")
		cmd := exec.CommandContext(t.Context(), lftp, "--norc", "-c", script)
		cmd.Env = append(os.Environ(), "LFTP_HOME="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("passive %s: %v\n%s\n%s", passive, err, out, srv.Log())
		}
		if !bytes.Equal(content(t, root, "in/b"), data) || !bytes.Equal(content(t, local, "back"+passive), data) {
			t.Errorf("passive %s: a file differs", passive)
		}
	}
}

func TestCurlSFTP(t *testing.T) {
	curl := tool(t, "curl")
	version, err := exec.CommandContext(t.Context(), curl, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(version), " sftp ") {
		missing(t, "a curl with sftp")
	}
	data := noise(1<<20 + 17)
	local, root := t.TempDir(), t.TempDir()
	file(t, local, "src", data)
	srv := startSFTP(t, SFTPConfig{Root: root, User: "demo", Password: "demo"})
	run := func(more ...string) string {
		t.Helper()
		args := append([]string{"-sS", "--insecure", "--max-time", "20", "--user", "demo:demo"}, more...)
		out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl %v: %v\n%s\n%s", more, err, out, srv.Log())
		}
		return string(out)
	}
	run("-T", filepath.Join(local, "src"), "sftp://"+srv.Addr()+"/a%20file")
	if !bytes.Equal(content(t, root, "a file"), data) {
		t.Error("uploaded differently")
	}
	back := filepath.Join(local, "back")
	run("-o", back, "sftp://"+srv.Addr()+"/a%20file")
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, data) {
		t.Errorf("downloaded differently: %v", err)
	}
	if list := run("sftp://" + srv.Addr() + "/"); !strings.Contains(list, "a file\n") {
		t.Errorf("list: %q", list)
	}
}

// OpenSSH's own client, with the host key checked and a key to log in.
func TestOpenSSHClient(t *testing.T) {
	posix(t)
	sftp := tool(t, "sftp")
	keygen := tool(t, "ssh-keygen")
	local, root := t.TempDir(), t.TempDir()
	key := filepath.Join(local, "id")
	if out, err := exec.CommandContext(t.Context(), keygen, "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data := noise(3<<20 + 17)
	file(t, local, "src", data)
	srv := startSFTP(t, SFTPConfig{
		Root: root, Home: "/home/demo", User: "demo", Keys: []ssh.PublicKey{readKey(t, key+".pub")},
	})
	batch := strings.Join([]string{
		"pwd", "mkdir in", "cd in", "put -p " + local + "/src 'a file'", "ls -la", "chmod 600 'a file'",
		"rename 'a file' b", "ln -s b link", "ln b hard", "get b " + local + "/back", "df", "rm link", "rm hard",
		"!truncate -s 1000 " + local + "/back", "reget b " + local + "/back", "mkdir sub", "rmdir sub", "bye",
	}, "\n")
	cmd := exec.CommandContext(t.Context(), sftp, "-b", "-", "-P", port(srv.Addr()), "-i", key,
		"-F", "none", "-o", "IdentityAgent=none", "-o", "UserKnownHostsFile="+srv.KnownHostsFile(), "-o", "StrictHostKeyChecking=yes",
		"demo@127.0.0.1")
	cmd.Stdin = strings.NewReader(batch)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, srv.Log())
	}
	if !strings.Contains(string(out), "Remote working directory: /home/demo") || !strings.Contains(string(out), "a file") {
		t.Errorf("output:\n%s", out)
	}
	if !bytes.Equal(content(t, root, "home/demo/in/b"), data) || !bytes.Equal(content(t, local, "back"), data) {
		t.Error("a file differs")
	}
	info, err := os.Stat(filepath.Join(root, "home/demo/in/b"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	src, err := os.Stat(filepath.Join(local, "src"))
	if err != nil || !src.ModTime().Truncate(time.Second).Equal(info.ModTime()) {
		t.Errorf("time %v, want %v", info.ModTime(), src.ModTime())
	}
	logins := srv.Log().Of("login")
	if len(logins) != 1 || logins[0].Text != "accepted" || logins[0].Arg != "publickey demo" {
		t.Errorf("logins %+v", logins)
	}
}

func readKey(t *testing.T, name string) ssh.PublicKey {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
