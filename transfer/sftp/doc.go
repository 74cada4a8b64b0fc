// Package sftp is the SFTP transport: SSH_FILEXFER version 3
// (draft-ietf-secsh-filexfer-02) over SSH, on github.com/pkg/sftp and
// golang.org/x/crypto/ssh.
//
// It owns the way from a dialled socket to a session, the translation of every
// failure into one *policy.Fault, and the search for the cause behind a bare
// SSH_FX_FAILURE. It refuses to decide: it repeats nothing, waits for nothing
// but the server, and chooses no remedy.
//
// Who speaks what on a channel: the library makes the connection and the
// requests about paths. Requests about handles — file data and listings — are
// made by this package, which sits between the library and the channel (tap.go).
// The library's files lose an error of a short last write, allocate a packet for
// every one read, can't be closed before the last answer is in, and know no
// context; its listings are collected in memory, and change hostile names into
// harmless ones. For the same reason the tap hands the library status codes that
// it does not know: for those that it does know it drops the server's words.
//
//	dial.go      Options, Dial: TCP, handshake, login, and their faults
//	socket.go    the connection: large reads and writes, dead peers noticed
//	conn.go      connection: one login; waits with limits
//	channel.go   channel: one SFTP server on a connection
//	tap.go       the packets of a channel, both ways
//	greeting.go  requests that need not wait for the server's greeting
//	wire.go      the encoding
//	session.go   transfer.Session on all that
//	list.go      listings, as they arrive
//	file.go      requests about a handle
//	put.go get.go
//	chunks.go    the scheduler of a transfer's pieces
//	lanes.go     several channels for one file
//	width.go     several connections for one that takes long
//	diagnose.go  what is behind "Failure", with probe.go
//	fault.go     errors into faults
package sftp
