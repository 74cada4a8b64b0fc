package ftp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/tcp"
)

// ahead are the commands that were sent before their turn, several at once, so
// that a server far away answers them in one round trip. When the turn of one
// comes it is not sent again: its reply is waiting. Whoever carries out a command
// need not know, and its failure is found where it always was. A command that was
// not foreseen ends the flight: what is still asked is forgotten.
//
// Behind a command that moves data, before the reply that ends it (RFC 959 §4.2, on
// 1yz), nothing is sent ahead but the question for the port of the next: see askBehind.
type ahead struct {
	queue []asked
	// off: everything is sent in its turn.
	off bool
	// patient: the server keeps what comes while data moves, see policy.Patient.
	patient bool
	// early: the reply that is waited for is to a command sent ahead; answered:
	// there was one already in this flight.
	early, answered bool
	// learned is whether the server takes several commands at once, zero before
	// it has shown.
	learned transfer.Fact
}

// asked is one of them. reply is nil until it has come.
type asked struct {
	line  string
	reply *reply
	// behind: it was asked behind a download, before the reply that ends that.
	behind bool
	// void: the answer is of no use.
	void bool
}

// portLife is how long an agreed port is kept for a data connection that is still
// to come: firewalls forget it some time.
const portLife = 10 * time.Second

// isPort says whether the answer is the port of the next data connection, which
// no other command makes void.
func (a asked) isPort() bool { return a.line == "EPSV" || a.line == "PASV" }

// stale says whether the answer is of no use any more.
func (a asked) stale() bool {
	return a.void || a.isPort() && a.reply != nil && time.Since(a.reply.at) > portLife
}

// factAhead says whether the server takes several commands at once.
const (
	factAhead = "pipelining"

	aheadWorks   = "works"
	aheadDropped = "dropped"
)

// decide, at the greeting, whether anything is sent ahead.
func (a *ahead) decide(greeting string, facts transfer.Facts) {
	a.off = remembered(facts, factAhead) == aheadDropped || policy.OneAtATime(greeting)
	a.patient = policy.Patient(greeting)
}

// works says whether the server is known to take several commands at once.
func (a *ahead) works(facts transfer.Facts) bool {
	return !a.off && (a.learned.Value == aheadWorks || a.learned.Value == "" && remembered(facts, factAhead) == aheadWorks)
}

// port is the answer to the question for one, nil if there is none yet.
func (a *ahead) port() *reply {
	if i := a.findPort(); i >= 0 {
		return a.queue[i].reply
	}
	return nil
}

func (a *ahead) findPort() int {
	return slices.IndexFunc(a.queue, func(q asked) bool { return q.isPort() && !q.stale() })
}

// portBehind says whether the port was asked for behind a download.
func (a *ahead) portBehind() bool {
	i := a.findPort()
	return i >= 0 && a.queue[i].behind
}

// lostPort: there was no way to a port that was asked for behind a download.
// Firewalls that open it must find the answer to the question, and look for it
// where a packet begins.
func (a *ahead) lostPort() {
	a.learned = transfer.Fact{
		Value: aheadDropped, Reason: "no connection to a port that was asked for behind a download", At: time.Now(),
	}
}

// takes says whether r, which came where the end of a download was waited for, is
// the answer to what was asked behind it: no server has to keep the order then.
func (a *ahead) takes(r reply) bool {
	i := slices.IndexFunc(a.queue, func(q asked) bool { return q.behind && q.reply == nil })
	if i < 0 || r.code != 229 && r.code != 227 {
		return false
	}
	a.queue[i].reply = &r
	return true
}

// has says whether the command was sent ahead.
func (a *ahead) has(line string) bool { return a.find(line) >= 0 }

func (a *ahead) find(line string) int {
	return slices.IndexFunc(a.queue, func(q asked) bool { return q.line == line && !q.stale() })
}

// void makes the agreed ports worthless: another mode was chosen.
func (a *ahead) void() {
	for i := range a.queue {
		a.queue[i].void = a.queue[i].void || a.queue[i].isPort()
	}
}

// heard and missed judge the server by whether a reply has come.
func (a *ahead) heard() {
	if a.early && a.answered && a.learned.Value == "" {
		a.learned = transfer.Fact{Value: aheadWorks, Reason: "it worked", At: time.Now()}
	}
	a.answered = true
}

func (a *ahead) missed() {
	if a.early && a.answered {
		a.learned = transfer.Fact{
			Value: aheadDropped, Reason: "no reply to a command that came together with another", At: time.Now(),
		}
	}
}

// ask sends commands ahead of their turn. What goes wrong shows when that comes.
func (w *wire) ask(ctx context.Context, lines ...string) {
	if w.ahead.off || len(lines) == 0 || w.settle(ctx) != nil {
		return
	}
	for _, line := range lines {
		w.log.Debug("ftp_send", "command", policy.Sanitize(line), "ahead", true)
	}
	if w.write(strings.Join(lines, "\r\n")+"\r\n") != nil {
		return
	}
	tcp.AckAtOnce(w.raw)
	w.ahead.answered = false
	for _, line := range lines {
		w.ahead.queue = append(w.ahead.queue, asked{line: line})
	}
}

// askBehind asks for a port behind a download, before the reply that ends it. The
// server has closed the data connection by then, and queues what comes (RFC 959 §4.2,
// on 1yz), or keeps it until then, so that both replies arrive together.
func (w *wire) askBehind(line string) {
	w.log.Debug("ftp_send", "command", line, "ahead", true)
	if w.write(line+"\r\n") != nil {
		return // it shows soon enough
	}
	tcp.AckAtOnce(w.raw)
	w.ahead.queue = append(w.ahead.queue, asked{line: line, behind: true})
}

// claim makes the reply to queue[i] the next one. Those before it are kept for
// their turn.
func (w *wire) claim(ctx context.Context, i int) error {
	if err := w.hear(ctx, i); err != nil {
		return err
	}
	w.unread, w.ahead.early = w.ahead.queue[i].reply, true
	w.ahead.queue = slices.Delete(w.ahead.queue, i, i+1)
	return nil
}

// land waits for all replies that are still to come, and forgets them.
func (w *wire) land(ctx context.Context) error {
	a := &w.ahead
	err := w.hear(ctx, len(a.queue))
	renaming := a.renaming()
	a.queue = slices.DeleteFunc(a.queue, func(q asked) bool { return !q.isPort() || q.stale() })
	a.early = false
	if err != nil || renaming == "" {
		return err
	}
	// proftpd 1.3.8 answers everything but RNTO with 501 now. A file that gets the
	// name that it has stays as it is, whatever the server says to it.
	w.log.Debug("ftp_send", "command", policy.Sanitize("RNTO "+renaming))
	if err := w.write("RNTO " + renaming + "\r\n"); err != nil {
		return err
	}
	_, err = w.final(ctx, w.limit)
	return err
}

// renaming is the file whose rename was begun ahead of its turn, "" if there is
// none: the server waits for RNTO.
func (a *ahead) renaming() string {
	for _, q := range a.queue {
		if from, ok := strings.CutPrefix(q.line, "RNFR "); ok && q.reply != nil && q.reply.class() == 3 {
			return from
		}
	}
	return ""
}

// hear waits for the replies to the first n of the queue.
func (w *wire) hear(ctx context.Context, n int) error {
	for i := range w.ahead.queue[:n] {
		q := &w.ahead.queue[i]
		if q.reply != nil {
			continue
		}
		w.ahead.early = true
		r, err := w.final(ctx, w.limit)
		if err != nil {
			return err
		}
		q.reply = &r
		if q.behind && r.class() >= 4 {
			q.void = true // too early for this server: it is asked again in its turn
		}
	}
	return nil
}
