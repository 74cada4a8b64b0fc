package batch

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/sftp"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// TestRemoveLink: a link goes, what it leads to stays, whether the server tells
// links from directories (SFTP) or only its listings do (FTP).
func TestRemoveLink(t *testing.T) {
	t.Parallel()
	t.Run("sftp", func(t *testing.T) {
		l, e, root := server(t)
		removeLinks(t, l, e, root)
	})
	root := t.TempDir()
	for name, cfg := range map[string]lab.FTPConfig{
		"MLSD":                       {Root: t.TempDir()},
		"LIST":                       {Root: t.TempDir(), Without: []string{"MLST", "MLSD"}},
		"links as what they lead to": {Root: root, Listing: followed(root)},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.User, cfg.Password = "u", "p"
			srv, err := lab.StartFTP(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			l := ftpLink(srv.Addr(), "u", "p")
			defer l.Close(context.Background())
			removeLinks(t, l, impatient(), cfg.Root)
		})
	}
}

// TestRemoveLinkRealServers needs OpenSSH, vsftpd, proftpd and pure-ftpd.
func TestRemoveLinkRealServers(t *testing.T) {
	t.Run("OpenSSH", func(t *testing.T) {
		l, dir := openSSH(t)
		removeLinks(t, l, impatient(), dir)
	})
	for name, srv := range map[string]struct {
		start  func(testing.TB, transfertest.FTPOptions) *transfertest.Server
		config []string
	}{
		"vsftpd": {transfertest.VSFTPD, nil}, "proftpd": {transfertest.ProFTPD, nil}, "pure-ftpd": {transfertest.PureFTPd, nil},
		"proftpd, links as what they lead to": {transfertest.ProFTPD, []string{"ShowSymlinks off"}},
	} {
		t.Run(name, func(t *testing.T) {
			srv := srv.start(t, transfertest.FTPOptions{Config: srv.config})
			l := ftpLink(srv.Address(), srv.User, srv.Password)
			defer l.Close(context.Background())
			removeLinks(t, l, impatient(), srv.Dir)
		})
	}
}

// followed lists a link as what it leads to.
func followed(root string) func(verb, dir string) []byte {
	return func(_, dir string) (list []byte) {
		entries, _ := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
		for _, e := range entries {
			kind := "file"
			if info, err := os.Stat(filepath.Join(root, filepath.FromSlash(dir), e.Name())); err == nil && info.IsDir() {
				kind = "dir"
			}
			list = fmt.Appendf(list, "type=%s; %s\r\n", kind, e.Name())
		}
		return list
	}
}

func ftpLink(address, user, password string) *transfer.Link {
	dial := func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		return ftp.Dial(ctx, ftp.Options{
			Address: address, Security: ftp.Clear, User: user, Hints: hints,
			Password: func(context.Context) (auth.Secret, error) { return auth.NewSecret(password), nil },
		})
	}
	return transfer.NewLink(transfer.Location{Scheme: transfer.SchemeFTP, Host: "127.0.0.1", User: user}, dial, transfer.ModeAuto, nil)
}

// openSSH is a link to sshd, and the directory in which a login starts.
func openSSH(t *testing.T) (*transfer.Link, string) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{External: true})
	dial := func(ctx context.Context, _ transfer.Hints) (transfer.Session, error) {
		return sftp.Dial(ctx, sftp.Options{
			Address:  srv.Address(),
			Login:    &auth.Login{User: srv.User, Keys: &auth.Keys{Files: []string{srv.KeyFile}}},
			HostKeys: &auth.HostKeys{Files: []string{srv.KnownHostsFile}},
		})
	}
	return newTestLink(t, transfer.SchemeSFTP, dial), srv.Dir
}

func removeLinks(t *testing.T, l *transfer.Link, e *policy.Engine, root string) {
	t.Helper()
	tree(t, root, "precious/gold", "in/sub/x")
	for _, link := range []string{"in/l", "in/sub/l", "top"} {
		to, err := filepath.Rel(filepath.Dir(link), "precious")
		if err == nil {
			err = os.Symlink(to, filepath.Join(root, filepath.FromSlash(link)))
		}
		if err != nil {
			t.Skip(err)
		}
	}
	writable(root)
	for _, p := range []string{"in/l/", "top", "in"} {
		if err := RemoveAll(t.Context(), l, e, "rm", p); err != nil {
			t.Errorf("rm %s: %v", p, err)
		}
	}
	if got, want := contents(t, root), map[string]string{"precious": "/", "precious/gold": "precious/gold"}; !maps.Equal(got, want) {
		t.Errorf("left: %v, want %v", got, want)
	}
}

// writable lets the user of a real server change what is in a directory.
func writable(root string) {
	_ = filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o777)
		}
		return err
	})
}

func TestBare(t *testing.T) {
	for path, want := range map[string]string{"a": "a", "a/": "a", "a//": "a", "/a/b/.": "/a/b", "a/./": "a", "/": "/", "//": "/", "/.": "/", ".": ".", "./": ".", "..": "..", "a/..": "a/.."} {
		if got := bare(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}
