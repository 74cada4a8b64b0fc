// Package ledger is what xfer remembers outside a single run, and what all
// processes of one user on one machine share.
//
// It owns the database of host facts, refused logins, runs, deliveries and what
// was begun, the kernel locks that keep two processes off the same work, and the
// connections and bytes per second that a host is given. It refuses to know what
// is transferred and how, and decides nothing about failures.
//
// What must outlive a process is in the database (Ledger). What must die with
// it, however it dies, is a kernel lock (Locks, Slots). Waiting for either is
// queueing and obeys the context; nothing here tries again what a server
// refused.
//
// # Connections
//
// Slots is the transfer.Budget of a machine: each transfer.Link takes a slot
// before it dials and gives it back when it is closed, or when it could not dial.
// When a server refuses a connection because it has too many of ours, those that
// are open are the limit from then on. A link that finds the limit reached waits
// for other processes, but never for its own: it fails at once with a fault of
// policy.CauseBudget, whose verdict is Crowded like that of the server's refusal.
// A pool of links that meets a Crowded verdict gives the file to another link,
// and lets the last one wait.
//
// # Deliveries
//
// A delivery is written down before the act, and again at every step after
// which a crash would mean something else:
//
//	run, _ := l.StartRun(ctx, "orders")
//	match, _ := l.Delivered(ctx, d)         // Same: skip it, Other: the name is used again
//	id, _ := l.Intend(ctx, d)               // on the disk before anything is done
//	l.Stage(ctx, id, "sent", note)          // the stages are the caller's own
//	l.Settle(ctx, id, result)
//	l.EndRun(ctx, run, summary)
//
// What a killed process leaves unsettled is what Leftovers gives to the next;
// Adopt makes it the business of one process only.
package ledger
