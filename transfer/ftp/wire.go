package ftp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// wire is the real control connection. A goroutine of its own reads the
// replies: so a reply that nobody waits for is seen (552 in the middle of an
// upload, 421 between two commands), every wait has a limit, and TLS 1.3
// tickets are taken in.
//
// Once it has failed it stays failed. After a reply that came too late nobody
// could tell any more which reply belongs to which command.
type wire struct {
	log   *slog.Logger
	limit time.Duration // for a command to be sent, and for its reply

	raw  net.Conn // TCP: what is closed when there is no time for manners
	conn net.Conn // raw, or TLS on it
	br   *bufio.Reader

	replies   chan reply
	unread    *reply        // the next reply, if it was taken out already
	seen      atomic.Int64  // how many replies there were
	owed      int           // replies to NOOPs that are still to come
	ahead     ahead         // commands that were sent before their turn
	upgrading atomic.Bool   // the reader stops behind a 234
	stopped   chan struct{} // closed when the reader has ended

	once sync.Once
	dead chan struct{} // closed when err is set
	err  error
}

// maxUnread bounds the replies that were not asked for.
const maxUnread = 64

var (
	errNoReply  = errors.New("no reply within the limit")
	errInjected = errors.New("the server sent clear text behind its answer to AUTH")
	errFlood    = errors.New("replies that nobody asked for")
)

// newWire starts to read replies from conn, which is raw itself or TLS on it.
func newWire(raw, conn net.Conn, limit time.Duration, log *slog.Logger) *wire {
	w := &wire{
		log: log, limit: limit, raw: raw,
		replies: make(chan reply, maxUnread), dead: make(chan struct{}),
	}
	w.start(conn)
	return w
}

// start reads replies from conn.
func (w *wire) start(conn net.Conn) {
	w.conn, w.br, w.stopped = conn, bufio.NewReader(conn), make(chan struct{})
	go w.read(w.br, w.stopped)
}

func (w *wire) read(br *bufio.Reader, stopped chan struct{}) {
	defer close(stopped)
	for {
		r, err := readReply(br)
		if err != nil {
			w.fail(err)
			return
		}
		r.at = time.Now()
		w.seen.Add(1)
		w.log.Debug("ftp_reply", "code", r.code, "text", policy.Sanitize(r.text()))
		pause := r.code == 234 && w.upgrading.Load()
		select {
		case w.replies <- r:
		default:
			w.fail(errFlood)
			return
		}
		if pause {
			return
		}
	}
}

// startTLS continues in TLS after a 234. Whatever came in clear text behind the
// 234 may be an attacker's and ends the connection.
func (w *wire) startTLS(ctx context.Context, c *tls.Config) (tls.ConnectionState, error) {
	<-w.stopped
	w.upgrading.Store(false)
	if w.br.Buffered() > 0 {
		w.fail(errInjected)
		return tls.ConnectionState{}, errInjected
	}
	conn := tls.Client(w.raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		w.fail(err)
		return tls.ConnectionState{}, err
	}
	w.start(conn)
	return conn.ConnectionState(), nil
}

// send sends one command, unless that was done ahead of its turn, and makes its
// reply the next. secret is what the log must not show of its end.
func (w *wire) send(ctx context.Context, line, secret string) error {
	i := w.ahead.find(line)
	if i >= 0 && w.ahead.queue[i].isPort() {
		if err := w.hear(ctx, i+1); err != nil {
			return err
		}
		i = w.ahead.find(line) // it may have been refused, or be too old
	}
	if i >= 0 {
		return w.claim(ctx, i)
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	logged := line
	if secret != "" {
		logged = strings.TrimSuffix(line, secret) + "[redacted]"
	}
	w.log.Debug("ftp_send", "command", policy.Sanitize(logged))
	return w.write(line + "\r\n")
}

func (w *wire) write(lines string) error {
	_ = w.conn.SetWriteDeadline(time.Now().Add(w.limit)) // fails only on a closed one
	if _, err := w.conn.Write([]byte(lines)); err != nil {
		return w.fail(err)
	}
	// The reader may have to answer a TLS key update at any time.
	_ = w.conn.SetWriteDeadline(time.Time{})
	return nil
}

// settle makes sure that the next reply will be to the next command: it waits
// for those that are owed, and refuses to go on behind one that nobody asked
// for, such as the 421 of a server that is tired of waiting.
func (w *wire) settle(ctx context.Context) error {
	if err := w.land(ctx); err != nil {
		return err
	}
	for ; w.owed > 0; w.owed-- {
		if _, err := w.next(ctx, w.limit); err != nil {
			return err
		}
	}
	select {
	case r := <-w.replies:
		stray := &strayReply{r}
		_ = w.fail(stray)
		return stray
	default:
	}
	select {
	case <-w.dead:
		return w.err
	default:
		return nil
	}
}

// strayReply is a reply to nothing, or a 421, behind which there is nothing.
type strayReply struct{ reply reply }

func (e *strayReply) Error() string { return "the server spoke out of turn" }

// next waits for a reply. Only a reply leaves the connection usable.
func (w *wire) next(ctx context.Context, limit time.Duration) (reply, error) {
	if r := w.unread; r != nil {
		w.unread = nil
		return *r, nil
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case r := <-w.replies:
		w.ahead.heard()
		return r, nil
	case <-w.dead:
		return w.last()
	case <-t.C:
		w.ahead.missed()
		return reply{}, w.fail(errNoReply)
	case <-ctx.Done():
		return reply{}, w.fail(context.Cause(ctx))
	}
}

// last is what remains to be read of a connection that has failed: the reader
// may have delivered a reply and then met the end.
func (w *wire) last() (reply, error) {
	select {
	case r := <-w.replies:
		return r, nil
	default:
		return reply{}, w.err
	}
}

// exchange sends a command and waits for its reply. Preliminary replies are
// passed over: only commands that move data have a use for them.
func (w *wire) exchange(ctx context.Context, line, secret string) (reply, error) {
	if err := w.send(ctx, line, secret); err != nil {
		return reply{}, err
	}
	return w.final(ctx, w.limit)
}

// final waits for a reply that is not preliminary.
func (w *wire) final(ctx context.Context, limit time.Duration) (reply, error) {
	for {
		r, err := w.next(ctx, limit)
		if err != nil || r.class() != 1 {
			if r.code == 421 {
				// RFC 959 §4.2.2: "closing control connection".
				_ = w.fail(&strayReply{r})
			}
			return r, err
		}
	}
}

// keepAlive sends a NOOP during a transfer. Its reply may come at once or behind
// the one that ends the transfer.
func (w *wire) keepAlive() {
	if w.write("NOOP\r\n") == nil { // else it shows soon enough
		w.owed++
	}
}

// answersNOOP counts a reply that belongs to a NOOP. None of its codes ends a
// transfer.
func (w *wire) answersNOOP(r reply) bool {
	if w.owed == 0 || r.code != 200 && !r.unsupported() {
		return false
	}
	w.owed--
	return true
}

// fail ends the connection, for the first reason given, and returns that.
func (w *wire) fail(err error) error {
	w.once.Do(func() {
		w.err = err
		close(w.dead)
		_ = w.raw.Close() // nothing can be done about it
	})
	<-w.dead
	return w.err
}

func (w *wire) alive() bool {
	select {
	case <-w.dead:
		return false
	default:
		return true
	}
}
