package ftp

import "context"

// askPortBehind asks for the port of the next download behind this one, where one
// follows another: behind its last byte, or behind the command where the server is
// known to keep that for afterwards.
func (x *interposer) askPortBehind() {
	if x.last != "RETR" || x.o.KeepAlive > 0 || !x.w.ahead.works(x.o.Hints.Facts) {
		return // with NOOPs nobody could tell what a reply is to
	}
	for _, line := range x.askPort() {
		x.w.askBehind(line)
	}
}

// early is a data connection that is opened before the command that needs it is
// sent.
type early struct {
	port   int
	result chan dialled
	// drop closes it; keep makes whoever calls it responsible for that, and is
	// false when it was dropped already.
	drop context.CancelFunc
	keep func() bool
}

// dialAhead opens the data connection to a port that was told ahead of its turn.
func (x *interposer) dialAhead() {
	r := x.w.ahead.port()
	if r == nil || x.early != nil || x.modes.active {
		return
	}
	port, extended, ok := portOf(*r)
	if !ok || !x.modes.proven(x.o.Hints.Facts, extended) {
		return
	}
	ctx, cancel := context.WithCancel(x.life)
	result := x.dialBeside(ctx, port)
	keep := context.AfterFunc(ctx, func() {
		if got := <-result; got.err == nil {
			_ = got.conn.Close()
		}
	})
	x.early = &early{port, result, cancel, keep}
}

// takeEarly makes it the data connection if it goes where that goes.
func (d *dataConn) takeEarly() bool {
	e := d.x.early
	d.x.early = nil
	if e == nil {
		return false
	}
	if e.port != d.port || !e.keep() {
		e.drop()
		return false
	}
	d.dialling = e.result
	context.AfterFunc(d.ctx, e.drop)
	return true
}
