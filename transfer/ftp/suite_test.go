package ftp_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// TestLab runs the conformance suite on servers of the lab: a modern one in both
// modes, with TLS that demands session resumption, over IPv6, and one that knows
// nothing newer than RFC 959. What is missing in this matrix TestRealServers has.
func TestLab(t *testing.T) {
	modern := transfertest.Abilities{
		Protocol: policy.FTP, SetModTime: true, Chmod: true, Realpath: true, Resume: true, GetCompares: true,
		TimePrecision: time.Second, RenameReplaces: true, NameMax: 255,
	}
	for _, test := range []struct {
		name  string
		cfg   lab.FTPConfig
		modes []transfer.Mode
		can   transfertest.Abilities
	}{
		{"plain", lab.FTPConfig{}, bothModes, modern},
		{"explicit", lab.FTPConfig{TLS: lab.Explicit, Reuse: lab.ReuseOr425}, bothModes, modern},
		{"implicit", lab.FTPConfig{TLS: lab.Implicit, Reuse: lab.ReuseOr522}, bothModes[:1], modern},
		{"like vsftpd", lab.FTPConfig{
			Without: []string{"MLST", "MLSD", "MFMT"}, With: []string{"MDTM SET"},
			NotImplemented: 500, EmptyForMissing: true, FullCode: 451, LockUploads: true,
		}, bothModes[:1], modern},
		{"IPv6", lab.FTPConfig{Addr: "[::1]:0"}, bothModes[:1], modern},
	} {
		for _, m := range test.modes {
			t.Run(fmt.Sprintf("%s/%v", test.name, m), func(t *testing.T) {
				t.Parallel()
				cfg := test.cfg
				cfg.Root = t.TempDir()
				srv := start(t, cfg)
				o := options(t, srv, mode(m))
				if test.cfg.TLS == lab.Implicit {
					o.Security = ftp.Implicit
				}
				fixture := transfertest.Fixture{
					Dir: "/", Disk: cfg.Root, Can: test.can,
					Beside: true, Again: test.name != "plain" && test.name != "like vsftpd" || m != transfer.ModePassive,
					Dial: func(ctx context.Context) (transfer.Session, error) { return ftp.Dial(ctx, o) },
				}
				if test.name != "IPv6" { // the relay is on IPv4
					relay, err := lab.StartProxy(srv.Addr(), 0)
					if err != nil {
						t.Fatal(err)
					}
					defer relay.Close()
					o.Address = relay.Addr()
					fixture.Pause = func() func() {
						relay.Stall(true)
						return func() { relay.Stall(false) }
					}
				} else {
					fixture.Pause = func() func() {
						srv.SetScript(lab.Rule{On: "*", Do: lab.Stall()})
						return func() { srv.SetScript() }
					}
				}
				transfertest.Run(t, fixture)
			})
		}
	}
}

var bothModes = []transfer.Mode{transfer.ModePassive, transfer.ModeActive}
