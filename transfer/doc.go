// Package transfer moves one file, whole or not at all.
//
// It owns the Session interface that every protocol implements, the URL of a
// remote file, the Link that keeps a session alive, and Run, the story of one
// transfer. It refuses to know protocols (its subpackages ftp and sftp do),
// decides nothing about failures (package policy does) and prints nothing.
//
// The map:
//
//	session.go   Session, Info, Extras: what every transport offers
//	url.go       ftp:// ftpes:// ftps:// sftp:// and site:path
//	link.go      Link: a Session that can be dialled again
//	verbs.go     rename, remove, mkdir, stat and list through the policy engine
//	run.go       Run: the whole story of one put or get
//	relay.go     Relay: the same from one server to another
//	local.go     the end of a transfer that is on this machine
//	verify.go    size, checksum, read back; what may be continued
//	publish.go   temporary names, what to do with an existing target, the rename
//	mark.go      how far an upload got whose part does not say it
//	ftp/         FTP and FTPS            sftp/         SFTP
//	batch/       many transfers          ledger/       what is remembered between runs
//	lab/         servers that misbehave  transfertest/ the suite every transport passes
//	proxy/       SOCKS5 and HTTP CONNECT disk/         a directory of this machine as a Session
//	tcp/         sockets, as bulk transfers want them
//
// The data flow of a put:
//
//	Job ─ Run ─ policy.Engine.Do ─┬─ Session.Put ── adapter ── server
//	                              └─ *policy.Fault ─ Classify ─ Decide ─ Link
//
// An adapter translates, policy decides, the engine acts: no other part of this
// tree repeats anything.
package transfer
