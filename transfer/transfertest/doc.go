// Package transfertest holds what every transport is measured with: the
// conformance suite (Run), and real servers to run it on (VSFTPD, ProFTPD,
// PureFTPd, PyFTPDLib, SSHD).
//
// It refuses to know how a transport works: it sees a transfer.Session, the
// files behind it and the catalogue of package policy. Nothing in the suite
// skips. What a server can't do is said in its Abilities and then asserted.
//
// A transport hands in a Fixture and inherits every test:
//
//	func TestVSFTPD(t *testing.T) {
//		for _, kind := range []transfertest.TLS{transfertest.PlainText, transfertest.ExplicitTLS} {
//			t.Run(kind.String(), func(t *testing.T) {
//				srv := transfertest.VSFTPD(t, transfertest.FTPOptions{TLS: kind})
//				transfertest.Run(t, srv.Fixture(func(ctx context.Context) (transfer.Session, error) {
//					return ftp.Dial(ctx, configFor(srv)) // srv.Host, srv.Port, srv.User, srv.CAFile …
//				}))
//			})
//		}
//	}
//
// One test of the suite runs alone with: go test -run 'TestVSFTPD/ftpes/names'.
// Run counts goroutines and open files; parallel tests set Fixture.Beside.
//
// Real servers run only with XFER_REAL_SERVERS=1, and then a missing one fails
// the test. They listen on loopback, need root and Linux, and leave nothing
// behind: no file, no process, no user. Servers that are not installed are
// looked for in the unpacked packages below XFER_SERVERS_DIR.
package transfertest
