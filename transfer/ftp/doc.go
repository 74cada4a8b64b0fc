// Package ftp is FTP and FTPS as a transfer.Session (RFC 959, 2228, 2389, 2428,
// 3659, 4217).
//
// It owns everything between a verb of Session and the bytes on the two
// connections of FTP, and turns every failure into a *policy.Fault. It refuses
// to decide: it tries once, never sleeps, and knows neither budgets nor
// temporary names.
//
// github.com/jlaffaye/ftp speaks the dialogue of login, STOR, RETR, RNFR/RNTO,
// DELE, MKD and RMD. It never sees the network: its control connection is the
// interposer, which owns the real one. That is how this package knows every
// reply code, also those that the library drops, opens data connections in
// active mode, which the library can't, and sends commands of its own.
//
//	dial.go      Options and Dial: from the address to a login
//	session.go   the verbs of transfer.Session
//	control.go   interposer: the library's control connection
//	wire.go      wire: the server's control connection, its replies and timers
//	ahead.go     commands that are sent several at once
//	reply.go     the parsers of single replies
//	mode.go      passive and active: agreeing on a data connection
//	early.go     ports that are asked for, and connections opened, ahead of time
//	version.go   whether a download is of what was listed
//	data.go      dataConn: one data connection from its first to its last byte
//	stream.go    stream: the rule "a link that moves is alive"; sendfile, splice
//	records.go   records: TLS in blocks
//	copy.go      what goes through a data connection: files and streams
//	list.go      LIST and MLSD     stat.go  MLST, SIZE, MDTM, CWD
//	abilities.go what the server is known to do and to refuse
//	extras.go    times, permissions, space, facts
//	diagnose.go  the cause behind a bare 550
//	hash.go      HASH, XSHA256 and their kin
//	fault.go     from replies and errors to faults
//	charset.go   names in another code page than UTF-8
//	listing/     the parser of listings
package ftp
