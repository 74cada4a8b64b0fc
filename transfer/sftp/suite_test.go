package sftp

import (
	"context"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// openssh is what a session on OpenSSH offers.
var openssh = transfertest.Abilities{
	Protocol: policy.SFTP, SetModTime: true, Chmod: true, Replace: true, Links: true, Space: true,
	Realpath: true, Parallel: true, Resume: true, TimePrecision: time.Second, Truncates: true, NameMax: 255,
}

func TestSuiteOnLab(t *testing.T) {
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root})
	proxy, viaProxy := through(t, srv.Addr(), 0)
	transfertest.Run(t, transfertest.Fixture{
		Dial: func(ctx context.Context) (transfer.Session, error) { return Dial(ctx, labOptions(srv, viaProxy)) },
		Dir:  "/", Disk: root, Can: openssh,
		Pause: func() func() {
			proxy.Stall(true)
			return func() { proxy.Stall(false) }
		},
	})
}

func TestSuiteOnOpenSSH(t *testing.T) {
	for name, o := range map[string]transfertest.SSHDOptions{
		"key, internal":                  {},
		"password, chrooted":             {Login: transfertest.LoginPassword, Chroot: true},
		"questions, external, 1 channel": {Login: transfertest.LoginKeyboardInteractive, External: true, MaxSessions: 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := transfertest.SSHD(t, o)
			f := srv.Fixture(func(ctx context.Context) (transfer.Session, error) { return Dial(ctx, sshdOptions(srv)) })
			f.Can = openssh
			transfertest.Run(t, f)
		})
	}
}
