// Package lab runs FTP and SFTP servers on loopback that misbehave on demand.
//
// It owns two real servers over a real directory (StartFTP, StartSFTP), the
// script that says what goes wrong and when (Rule), the record of what the
// client did (Log), and a relay that delays, cuts and stalls any TCP connection
// (Proxy). The tests, `xfer lab` and `xfer demo` use it.
//
// It refuses to know the program it tests: it imports nothing of it, so a
// mistake in a transport can't hide in the server it is tested against. For the
// same reason its SFTP server speaks the packets itself instead of using the
// server half of the library the client is built on. It never listens on
// anything but loopback.
//
//	srv, err := lab.StartFTP(lab.FTPConfig{
//		Root: dir, User: "demo", Password: "demo",
//		Script: []lab.Rule{
//			{On: "STOR", Times: 1, Do: lab.Reply(450, "File busy.")},
//			{On: "STOR", When: lab.During, After: 600_000, Times: 1, Do: lab.Drop(lab.RST)},
//		},
//	})
//	defer srv.Close()
//	… srv.Addr() … srv.Log().Count("STOR") … srv.Fired("STOR")
//
// The map:
//
//	script.go    Rule and Action: when, what           log.go       what happened
//	server.go    what both servers have in common      tree.go      the directory, its volumes
//	ftp*.go      FTP: session, data connections, lists  tls.go       the certificate authority
//	ssh.go       logins and channels                   sftp*.go     the file protocol
//	profiles.go  SFTP servers of the world, as data    scenes.go    faults to show
//	proxy.go     delay, cut, stall                     gateway.go   SOCKS5, HTTP CONNECT
package lab
