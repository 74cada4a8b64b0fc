// Package ledger is what xfer remembers outside a single run, on this machine.
//
// It owns the locks that keep two processes off the same file. It refuses to
// know what is transferred and how.
package ledger
