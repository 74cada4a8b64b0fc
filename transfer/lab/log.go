package lab

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is one thing that a client did, with what it was told.
type Event struct {
	Time time.Time
	// Conn is the connection, 1 for the first, 0 of a rule.
	Conn int
	// Verb is an FTP command ("?" if it can't be read), an SFTP packet type or
	// extension name, or one of "connect", "close", "tls" (a handshake that
	// failed), "login", "data", "channel", "exec", and "rule" for one that fired.
	Verb string
	// Arg is the command's argument ("****" for PASS and ACCT), the path of an
	// SFTP request ("old new" of a rename), the method and user of a login, how
	// the data connection was negotiated (PASV, EPSV, PORT, EPRT), the Name of
	// a rule.
	Arg string
	// Codes are all replies sent, in order. "login" and "data" have none.
	Codes []int
	// Text is the text of the last reply; "accepted", "partial" or "refused" of
	// a login that the server judged (not a rule); "" of a data connection that
	// came to be, else why not.
	Text string
	// Offset and Bytes are what a READ or WRITE asked for, and what an FTP
	// transfer moved.
	Offset, Bytes int64
}

// Log is what happened, in order.
type Log []Event

// Of is every event of the verb.
func (l Log) Of(verb string) Log {
	var of Log
	for _, e := range l {
		if e.Verb == verb {
			of = append(of, e)
		}
	}
	return of
}

// Count is how often the verb occurred.
func (l Log) Count(verb string) int { return len(l.Of(verb)) }

// Data is how many data connections came to be by PASV, EPSV, PORT or EPRT.
func (l Log) Data(negotiatedBy string) int {
	n := 0
	for _, e := range l.Of("data") {
		if e.Arg == negotiatedBy && e.Text == "" {
			n++
		}
	}
	return n
}

// String is a transcript for the message of a failing test.
func (l Log) String() string {
	var b strings.Builder
	for _, e := range l {
		fmt.Fprintf(&b, "%d  %s %s", e.Conn, e.Verb, e.Arg)
		if e.Bytes != 0 || e.Offset != 0 {
			fmt.Fprintf(&b, " [%d+%d]", e.Offset, e.Bytes)
		}
		if len(e.Codes) > 0 {
			fmt.Fprintf(&b, "  → %v", e.Codes)
		}
		if e.Text != "" {
			fmt.Fprintf(&b, "  %s", e.Text)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// maxEvents bounds the record: `xfer lab` may run for days.
const maxEvents = 1 << 16

// record is the Log of a running server.
type record struct {
	mu      sync.Mutex
	events  []*Event
	changed chan struct{} // closed at the next change
}

// add starts an event; note completes it.
func (r *record) add(e Event) *Event {
	e.Time = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) >= maxEvents {
		r.events = slices.Delete(r.events, 0, maxEvents/2)
	}
	r.events = append(r.events, &e)
	r.notify()
	return &e
}

func (r *record) note(e *Event, change func(*Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(e)
	r.notify()
}

func (r *record) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *record) snapshot() (Log, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := make(Log, len(r.events))
	for i, e := range r.events {
		l[i] = *e
		l[i].Codes = slices.Clone(e.Codes)
	}
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return l, r.changed
}

// await returns when the log satisfies until, or with the error of ctx.
func (r *record) await(ctx context.Context, until func(Log) bool) error {
	for {
		l, changed := r.snapshot()
		if until(l) {
			return nil
		}
		select {
		case <-changed:
			sleep(ctx, time.Millisecond) // one look at many changes
		case <-ctx.Done():
			return fmt.Errorf("lab: what was awaited did not happen: %w; the log:\n%s", ctx.Err(), l)
		}
	}
}
