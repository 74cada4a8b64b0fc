// Package disk makes a directory of this machine a transfer.Session, so that
// what works between servers works with files that are here.
//
// It owns the local file system as the other end of a relay, a sync or a move.
// Every name stays below the directory: os.Root refuses what leads out of it,
// symbolic links included. It refuses to know transfers between a local file
// and a server, for which transfer.Run has its own, shorter way.
package disk
