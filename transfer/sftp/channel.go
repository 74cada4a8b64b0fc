package sftp

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/policy"
)

const (
	// safePacket is the data of a READ or WRITE that every server takes
	// (draft-ietf-secsh-filexfer-02 §3), in bytes.
	safePacket = 32 << 10
	// bestPacket is what OpenSSH takes: 255 KiB. More does not fit a packet.
	bestPacket = 255 << 10
)

// channel is one SFTP server on a connection: with OpenSSH a process of its own.
type channel struct {
	conn *connection
	tap  *tap
	// paths makes the requests about paths; nil on a channel for file data.
	paths *sftp.Client
	// packet is the most data in one READ or WRITE, in bytes, once asked is
	// closed.
	packet int
	asked  chan struct{}

	mu    sync.Mutex
	words string // what the server's process printed, and how it ended
}

// open starts an SFTP server on the connection. Errors are *ssh.OpenChannelError
// when the server allows no more channels, errNotSFTP when there is no SFTP.
//
// foretold, if not nil, are the extensions of a server that is known to take requests
// before it has greeted: its greeting is not waited for.
func (c *connection) open(ctx context.Context, from func() (slot, error), foretold []string) (*channel, error) {
	ch, err := call(ctx, c, c.limits.Reply, func() (*channel, error) {
		ch := &channel{conn: c, packet: safePacket, asked: make(chan struct{})}
		at, err := from()
		if err == nil {
			err = ch.start(at, true)
		}
		if err == nil {
			err = ch.greet(foretold)
		}
		return ch, err
	})
	if err != nil {
		return nil, err
	}
	go ch.askLimits() // beside what is wanted first
	return ch, nil
}

// another starts a further server like the first one, for file data, in one round
// trip instead of three: what works once is not asked about again, and requests
// may follow the greeting at once. That it did not come shows in their answers.
func (c *connection) another(ctx context.Context, from func() (slot, error)) (*channel, error) {
	return call(ctx, c, c.limits.Reply, func() (*channel, error) {
		at, err := from()
		if err != nil {
			return nil, err
		}
		next := &channel{conn: c}
		if err := next.start(at, false); err != nil {
			return nil, err
		}
		go func() { _, _ = io.Copy(io.Discard, next.tap) }() // ends with the channel
		_, err = next.tap.Write(request{0, 0, 0, 5, fxpInit}.uint32(protocolVersion))
		return next, err
	})
}

// slot is a channel on which nothing runs yet.
type slot struct {
	ssh.Channel
	requests <-chan *ssh.Request
}

// slot opens one. Not with ssh.Session: it loses how the server's process ended.
func (c *connection) slot() (slot, error) {
	began := time.Now()
	ch, requests, err := c.client.OpenChannel("session", nil)
	if err == nil {
		c.sawRTT(time.Since(began)) // what follows takes longer: a process is started
	}
	return slot{ch, requests}, err
}

// start asks for the subsystem, confirm whether it is there.
func (ch *channel) start(at slot, confirm bool) error {
	go ch.listen(at, at.requests)
	if ch.conn.forwards {
		_, _ = at.SendRequest("auth-agent-req@openssh.com", false, nil) // fails with what follows
	}
	ok, err := at.SendRequest("subsystem", confirm, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && confirm && !ok {
		err = fmt.Errorf("%w: there is no subsystem sftp", errNotSFTP)
	}
	if err != nil {
		_ = at.Close() // never used
		return err
	}
	ch.tap = newTap(&counted{at, &ch.conn.moved})
	return nil
}

// greet agrees on the version.
func (ch *channel) greet(foretold []string) (err error) {
	began := time.Now()
	if foretold != nil {
		ch.tap.foretell(foretold)
	}
	if ch.paths, err = sftp.NewClientPipe(ch.tap, ch.tap); err != nil {
		return ch.noSFTP(err)
	}
	if foretold == nil {
		ch.conn.sawRTT(time.Since(began))
	}
	return nil
}

// noSFTP explains a channel on which the first packet did not come.
func (ch *channel) noSFTP(err error) error {
	if err := ch.tap.failed(); err != nil && err != errLost {
		return err
	}
	if ch.conn.why() != nil {
		return errLost
	}
	// The program ended at once: no sftp-server, or no shell to run it.
	return fmt.Errorf("%w: %s", errNotSFTP, cmp.Or(ch.lastWords(), err.Error()))
}

// listen collects what the server says beside SFTP: its error output, and how
// its process ended.
func (ch *channel) listen(raw ssh.Channel, requests <-chan *ssh.Request) {
	go func() {
		_, _ = io.Copy(wordsWriter{ch}, raw.Stderr()) // ends with the channel
	}()
	for r := range requests {
		f := fields{b: r.Payload}
		switch r.Type {
		case "exit-status":
			if n := f.uint32(); n != 0 {
				ch.say(fmt.Sprintf("the SFTP server exited with status %d", n))
			}
		case "exit-signal":
			ch.say("the SFTP server was ended by signal " + f.string())
		}
		if r.WantReply {
			_ = r.Reply(false, nil) // fails only if the channel is gone
		}
	}
}

// wordsWriter keeps the error output.
type wordsWriter struct{ ch *channel }

func (w wordsWriter) Write(p []byte) (int, error) {
	w.ch.say(string(p))
	return len(p), nil
}

func (ch *channel) say(text string) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if len(ch.words) < greetingLen {
		ch.words += text[:min(len(text), greetingLen)] + "\n"
	}
}

// lastWords is what the server said beside SFTP, safe to print.
func (ch *channel) lastWords() string {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return policy.Sanitize(ch.words)
}

// askLimits learns how large packets may be (OpenSSH PROTOCOL §4.8). A server
// that is silent about it for too long loses the connection, like any other.
func (ch *channel) askLimits() {
	defer close(ch.asked)
	if !ch.tap.offers("limits@openssh.com") {
		return
	}
	f, err := ch.request(context.Background(), fxpExtendedReply, newRequest(fxpExtended).string("limits@openssh.com"))
	if err != nil {
		return // refused; a lost connection shows in what is wanted next
	}
	f.uint64() // longest packet
	read, write := f.uint64(), f.uint64()
	// 0 means that the server names no limit, and then nothing is promised.
	if most := min(read, write); f.err == nil && most > safePacket {
		ch.packet = int(min(most, bestPacket))
	}
}

// packetFor is how much data of n bytes goes in one READ or WRITE. It waits for
// the server's limits where they matter.
func (ch *channel) packetFor(ctx context.Context, n int64) int {
	if n <= safePacket {
		return safePacket
	}
	select {
	case <-ch.asked:
		return ch.packet
	case <-ctx.Done():
		return safePacket // for what fails next
	}
}

// usable is false once the channel has ended.
func (ch *channel) usable() bool { return ch.tap.failed() == nil && ch.conn.alive() }

// exchange makes a request of our own and waits for the answer, which the
// caller checks and releases.
func (ch *channel) exchange(ctx context.Context, limit time.Duration, r request) (*reply, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	began := time.Now()
	answer := ch.tap.start(r, nil)
	if err := ch.conn.wait(ctx, limit, answer.done); err != nil {
		return answer, err
	}
	ch.conn.sawRTT(time.Since(began))
	return answer, nil
}

// request makes a request of our own and gives the fields of its answer.
func (ch *channel) request(ctx context.Context, kind byte, r request) (fields, error) {
	answer, err := ch.exchange(ctx, ch.conn.limits.Reply, r)
	if err != nil {
		return fields{}, err
	}
	defer answer.release()
	return answer.fields, answer.is(kind)
}

// ask makes a request through the library.
func ask[T any](ctx context.Context, ch *channel, f func(*sftp.Client) (T, error)) (T, error) {
	value, err := call(ctx, ch.conn, ch.conn.limits.Reply, func() (T, error) { return f(ch.paths) })
	return value, fromLibrary(err)
}
