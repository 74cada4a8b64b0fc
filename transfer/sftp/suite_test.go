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

// TestProfiles: the plain job on every kind of server that the lab knows.
func TestProfiles(t *testing.T) {
	for _, name := range lab.Profiles() {
		t.Run(name, func(t *testing.T) {
			quirks, _ := lab.Profile(name)
			s := dialLab(t, startLab(t, lab.SFTPConfig{Quirks: quirks}))
			if quirks.ReadOnly {
				_, err := s.Put(t.Context(), "f", 0, sourceOf([]byte("hello")))
				wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "open", Code: fxPermission})
				return
			}
			if err := s.Mkdir(t.Context(), "d"); err != nil {
				t.Fatal(describe(err))
			}
			sizes := map[string]int{"empty": 0, "small": 1000, "medium": 3 << 20, "large": 9 << 20}
			for file, size := range sizes {
				put(t, s, "d/"+file, content(size))
				sameBytes(t, file, get(t, s, "d/"+file), content(size))
			}
			err := s.List(t.Context(), "d", func(i transfer.Info) error {
				if size, ok := sizes[i.Name]; !ok || i.Size != int64(size) {
					t.Errorf("listed %+v", i)
				}
				delete(sizes, i.Name)
				return i.Bad
			})
			if err != nil || len(sizes) > 0 {
				t.Errorf("%s, not listed: %v", describe(err), sizes)
			}
			if err := s.Rename(t.Context(), "d/small", "d/renamed"); err != nil {
				t.Error(describe(err))
			}
			if _, err := s.Stat(t.Context(), "d/renamed"); err != nil {
				t.Error(describe(err))
			}
			if err := s.Remove(t.Context(), "d/renamed"); err != nil {
				t.Error(describe(err))
			}
		})
	}
}
