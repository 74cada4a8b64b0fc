package ftp

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// abortGrace is how long a reply is waited for after a transfer was broken off
// by us. The four servers this was tried on answer a closed data connection at
// once; ABOR instead has two replies, in either order, and desynchronises.
const abortGrace = 2 * time.Second

// dataConn is one data connection, from the agreement on its port to the reply
// that ends it. For the library it is a net.Conn.
type dataConn struct {
	x *interposer
	// ctx ends with the operation, or with errFinal when the server has said
	// its last word.
	ctx    context.Context
	cancel context.CancelCauseFunc

	upload   bool
	port     int   // passive
	extended bool  // passive: the port is from EPSV
	behind   bool  // passive: the port was asked for behind a download
	door     *door // active
	// dialling gives the TCP connection, passive, while it is being opened.
	dialling chan dialled

	s       *stream      // nil until the TCP connection is up
	tls     *tls.Conn    // on records, nil before the handshake and without TLS
	records *records     // on s, of tls
	idle    atomic.Int64 // of s
	// started: the server has answered the command with a 1xx.
	started bool
	// complete: everything was sent and the connection closed in order.
	complete bool
	// early: the server ended an upload before we did.
	early bool
	// err is the first failure of the connection itself.
	err error

	closed atomic.Bool
	end    chan outcome // one, from watch
	over   *outcome     // the same, once it was waited for
}

// outcome is how a transfer ended on the control connection.
type outcome struct {
	reply reply
	err   error
}

func newDataConn(x *interposer) *dataConn {
	d := &dataConn{x: x, upload: x.op == "STOR", end: make(chan outcome, 1)}
	d.idle.Store(int64(x.o.Timeouts.Idle))
	d.ctx, d.cancel = context.WithCancelCause(x.ctx)
	return d
}

// opened takes the TCP connection.
func (d *dataConn) opened(conn net.Conn) {
	d.s = newStream(conn, &d.idle)
	context.AfterFunc(d.ctx, func() { d.s.interrupt(context.Cause(d.ctx)) })
}

// up says whether the server is at the other end of a TCP connection.
func (d *dataConn) up() bool { return d.s != nil || d.door != nil && d.door.knocked() }

// start sends the command that moves data and gives the code of its first
// reply, 150 for any that lets the data flow.
func (x *interposer) start(line string) int {
	d := x.data
	if d == nil {
		return x.fail(x.lost(policy.Data, x.op, x.path, badSyntax("%s without a data connection", x.op)))
	}
	if err := x.sendMove(line); err != nil {
		d.release()
		return x.fail(policy.FaultOf(err))
	}
	limit := x.w.limit
	unconnected := d.join()
	if unconnected != nil {
		limit = abortGrace // the server may have closed its port, and then says why
	}
	other := x.takes != nil && !x.takes(x.found)
	if other {
		limit = abortGrace // it is not wanted, and may be a pipe that nobody writes to
	}
	r, err := x.w.next(x.ctx, limit)
	if err == nil && r.class() < 4 && d.dialling != nil {
		err = x.w.err // the server has gone, and nobody waits for the data connection
	}
	if unconnected != nil && (err != nil || r.class() < 4) {
		f := x.notConnected(unconnected)
		switch {
		case x.ctx.Err() != nil:
		case d.behind:
			x.w.ahead.lostPort()
		case d.extended:
			x.modes.withoutEPSV(epsvDead, "no connection to its port: "+plainText(unconnected))
		}
		_ = x.w.fail(errNoReply) // it waits for the connection
		d.release()
		return x.fail(f)
	}
	switch {
	case err != nil && other && x.ctx.Err() == nil:
		d.release()
		return x.fail(x.otherVersion())
	case err != nil:
		f := x.lost(policy.Data, x.op, x.path, err)
		if f.Cause == policy.CauseNoReply && d.door != nil && !d.up() {
			// A server whose SYN is dropped sits in connect(2) and answers
			// nothing meanwhile: vsftpd, proftpd.
			f.Cause = policy.CauseDataConnect
		}
		d.release()
		return x.fail(f)
	case r.class() == 1:
		d.started = true
		go d.watch()
	case r.completed():
		// The end without a beginning: some servers do that for small files.
		d.started = true
		d.early = true
		d.end <- outcome{reply: r}
	default:
		f := x.refused(r)
		d.release()
		return x.fail(f)
	}
	return 150
}

// sendMove sends the command, and with it what is to be asked: what the file is,
// which comes before the answer to the command, and the port of the next one.
func (x *interposer) sendMove(line string) error {
	if x.takes != nil {
		x.w.ask(x.ctx, append(x.askVersion(x.arg), line)...)
	} else if err := x.w.send(x.ctx, line, ""); err != nil {
		return x.lost(policy.Data, x.op, x.path, err)
	}
	if x.w.ahead.patient && x.op == "RETR" {
		x.askPortBehind()
	}
	if x.takes == nil {
		return nil
	}
	if err := x.version(x.arg); err != nil {
		return err
	}
	if err := x.w.send(x.ctx, line, ""); err != nil { // it is under way
		return x.lost(policy.Data, x.op, x.path, err)
	}
	return nil
}

// watch waits for the final reply while the data flows. On an upload the reply
// may come in the middle (552), and then the server takes nothing any more.
func (d *dataConn) watch() {
	w := d.x.w
	var noop <-chan time.Time
	if every := d.x.o.KeepAlive; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		noop = t.C
	}
	for {
		var o outcome
		select {
		case o.reply = <-w.replies:
		case <-w.dead:
			o.reply, o.err = w.last()
		case <-noop:
			w.keepAlive()
			continue
		}
		if o.err == nil && d.passOver(o.reply) {
			continue
		}
		d.ended(o)
		return
	}
}

// passOver says whether a reply during the transfer is not the one that ends
// it: a second preliminary one, or the answer to a NOOP. After we have closed
// the connection any reply is the last: pure-ftpd ends an aborted RETR with 150.
func (d *dataConn) passOver(r reply) bool {
	if r.class() == 1 {
		return !d.closed.Load()
	}
	return d.x.w.answersNOOP(r)
}

// ended passes the final reply on and ends the flow of data that it forbids.
func (d *dataConn) ended(o outcome) {
	if o.err == nil && o.reply.code == 421 {
		_ = d.x.w.fail(&strayReply{o.reply})
	}
	d.end <- o
	switch {
	case o.err != nil:
		// The data may well arrive without its control connection, which a NAT
		// drops when it is silent for long.
	case d.upload:
		d.cancel(errFinal)
	case !o.reply.completed():
		d.idle.Store(int64(abortGrace)) // what is on its way is still welcome
	}
}

// ready makes the connection fit for bytes, once the server has answered with a
// 1xx: it lets the server in (active mode) and shakes hands (TLS). A handshake
// before the 1xx meets a server that does not listen yet.
func (d *dataConn) ready() error {
	if d.s == nil {
		conn, err := d.admit()
		if err != nil {
			return err
		}
		d.opened(conn)
	}
	if d.x.tls == nil || d.tls != nil {
		return nil
	}
	r := newRecords(d.s)
	conn := tls.Client(r, d.x.tls)
	ctx, cancel := context.WithTimeout(d.ctx, d.x.o.Timeouts.Connect)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return &handshakeError{d.cause(err)}
	}
	d.tls, d.records = conn, r
	return nil
}

// handshakeError is a TLS handshake on the data connection that failed.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS on the data connection: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// admit waits for the server's connection in active mode.
func (d *dataConn) admit() (net.Conn, error) {
	t := time.NewTimer(d.x.w.limit)
	defer t.Stop()
	select {
	case conn, ok := <-d.door.conns:
		if !ok {
			return nil, errNotAdmitted
		}
		return conn, nil
	case <-t.C:
		return nil, errNotAdmitted
	case <-d.ctx.Done():
		return nil, context.Cause(d.ctx)
	}
}

var errNotAdmitted = fmt.Errorf("active: the server did not connect")

// cause replaces an error that only says "closed" or "timed out" by the reason
// for which we ended the connection.
func (d *dataConn) cause(err error) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	return err
}

// failed keeps the first error of the connection.
func (d *dataConn) failed(err error) error {
	if err != nil && err != io.EOF && d.err == nil {
		d.err = d.cause(err)
	}
	return err
}

// conn is what the bytes go through.
func (d *dataConn) conn() net.Conn {
	if d.tls != nil {
		return d.tls
	}
	return d.s
}

// Read is for listings and downloads that are not spliced.
func (d *dataConn) Read(b []byte) (int, error) {
	if err := d.ready(); err != nil {
		return 0, d.failed(err)
	}
	n, err := d.conn().Read(b)
	return n, d.failed(err)
}

// Write sends a block of an upload.
func (d *dataConn) Write(b []byte) (int, error) {
	if err := d.ready(); err != nil {
		return 0, d.failed(err)
	}
	n, err := d.write(b)
	return n, d.failed(err)
}

// write is Write on a connection that is ready.
func (d *dataConn) write(b []byte) (int, error) {
	if d.tls != nil {
		return d.records.write(d.tls, b)
	}
	return d.s.Write(b)
}

// Close ends the connection. The library calls it after the last byte, and
// also after an error.
func (d *dataConn) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	if d.started && d.s != nil {
		d.hangUp()
	}
	d.release()
	return nil
}

// hangUp ends the data so that neither side loses any. After an upload our side
// is closed first, and the rest of the server's is read: otherwise the TLS 1.3
// tickets that lie unread make the kernel send a reset, on which vsftpd 3.0.3
// says 426 and pyftpdlib 1.5.7 truncates the file and says 226.
func (d *dataConn) hangUp() {
	if !d.upload {
		if d.tls != nil && d.err == nil {
			_ = d.tls.CloseWrite() // good manners; everything has arrived
		}
		return
	}
	d.early = d.early || len(d.end) > 0
	if !d.complete {
		// Broken off, by us or by the server. A resumed upload gains from every
		// byte that still gets there, and without a close_notify pyftpdlib would
		// never answer; but nobody waits long for that.
		d.s.lastWords(abortGrace)
	}
	if d.tls != nil {
		if err := d.tls.CloseWrite(); err != nil {
			d.complete = false
			_ = d.failed(err)
		}
	}
	if d.s.tcp == nil {
		return
	}
	_ = d.s.tcp.CloseWrite() // if it is gone, the final reply says so
	if d.tls != nil || !d.complete {
		_, _ = io.Copy(io.Discard, d.conn())
	}
}

// release frees what the connection holds.
func (d *dataConn) release() {
	d.closed.Store(true)
	if d.door != nil {
		d.door.close()
	}
	if d.s != nil {
		_ = d.s.conn.Close() // hangUp has done what can be done
	}
	d.cancel(net.ErrClosed)
	if d.dialling != nil {
		if r := <-d.dialling; r.err == nil {
			_ = r.conn.Close()
		}
		d.dialling = nil
	}
}

// finish waits for the reply that ends the transfer and gives its code, 226 for
// any success.
func (x *interposer) finish() int {
	d := x.data
	limit := x.w.limit
	switch {
	case d.complete:
		limit = x.o.Timeouts.Final
	case d.upload || d.err != nil || x.ctx.Err() != nil:
		limit = abortGrace
	}
	o := d.await(limit)
	if o.err == nil && x.w.ahead.takes(o.reply) {
		o.reply, o.err = x.w.final(x.ctx, x.w.limit)
	}
	d.over = &o
	switch {
	case o.err != nil:
		return 421
	case o.reply.completed():
		return 226
	case o.reply.class() < 4:
		return 426
	}
	return o.reply.code
}

// await gives the outcome. When none comes the control connection is ended,
// because the reply would be taken for that to the next command.
func (d *dataConn) await(limit time.Duration) outcome {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case o := <-d.end:
		return o
	case <-t.C:
	case <-d.x.ctx.Done():
		select {
		case o := <-d.end:
			return o
		case <-time.After(min(limit, abortGrace)):
		}
	}
	_ = d.x.w.fail(errNoReply)
	return <-d.end
}

// The rest of net.Conn.

func (d *dataConn) SetDeadline(time.Time) error      { return nil }
func (d *dataConn) SetReadDeadline(time.Time) error  { return nil }
func (d *dataConn) SetWriteDeadline(time.Time) error { return nil }
func (d *dataConn) LocalAddr() net.Addr              { return anyAddr }
func (d *dataConn) RemoteAddr() net.Addr             { return anyAddr }
