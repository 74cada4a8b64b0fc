package lab

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Rule is one fault: when it happens and what happens then. The zero value of
// every field but On and Do means "any".
type Rule struct {
	// Name is what Server.Fired counts the rule under, On if it has none.
	Name string
	// On is what the client does, in capitals as on the wire:
	//
	//	FTP   a command ("STOR"), "connect" (before the greeting), "tls" (before
	//	      the handshake on the control connection), "data" (a data connection
	//	      is about to be opened; with During: any transfer)
	//	SFTP  a packet type ("OPEN", "WRITE"), an extension by its name
	//	      ("statvfs@openssh.com"), "connect" (before the SSH banner), "auth",
	//	      "channel", "subsystem", "exec"; with During also "data"
	//	"*"   any command or packet
	On string
	// Path is a pattern of path.Match: with a "/" for the whole path on the
	// server, without for its last element. RENAME and RNTO match the new name,
	// "auth" the method, "channel", "subsystem" and "exec" what is asked for.
	Path string
	// Nth is the first occurrence that the rule fires at, counted from 1 and
	// over all connections since the rule was set; 0 is 1. Occurrences that an
	// earlier rule takes over count too.
	Nth int
	// Times is how often the rule fires at most; 0 is without end. Two rules
	// with Times 1 fire one after the other.
	Times int
	// When is the point within the command.
	When When
	// After is, with During, how many bytes of file data pass unharmed. FTP
	// counts them in this transfer and fires exactly there. SFTP counts what all
	// handles open on the file have moved and fires instead of the packet that
	// would exceed it.
	After int64
	// Do is what happens.
	Do Action
}

// When is a point within a command.
type When uint8

const (
	// Before anything is done.
	Before When = iota
	// During the transfer of file data.
	During
	// Finally: all is done, and the reply that says so is due.
	Finally
)

// End is how a connection goes down.
type End uint8

// A FIN is a polite close that looks like the end of the data; a RST throws
// away what is still on its way.
const (
	FIN End = iota
	RST
)

// Action is a sequence of steps. One that replies, stalls, ignores or drops
// takes the place of what the server would have done; all others come on top.
type Action struct{ steps []step }

type step struct {
	kind stepKind
	code int
	text string
	d    time.Duration
	n    int64
	end  End
}

type stepKind uint8

const (
	stepReply stepKind = iota
	stepRaw
	stepWait
	stepUntil
	stepStall
	stepIgnore
	stepDrop
	stepDropData
	stepThrottle
	stepTruncate
	stepCorrupt
	stepPartial
	stepTakeTo
)

func single(s step) Action { return Action{steps: []step{s}} }

// Then is a followed by b.
func (a Action) Then(b Action) Action {
	return Action{steps: slices.Concat(a.steps, b.steps)}
}

// Reply answers with the code and the text (several lines: "\n") instead of
// doing it: an FTP reply, an SFTP status, the reason an SSH channel is rejected
// with. Two in a row make "150, then 451". During an upload the data connection
// stays open, as with servers that complain early; add DropData otherwise.
//
// A Reply with 425, 426, 451, 452, 522 or 552 to STOR empties the file first,
// as vsftpd, proftpd, pure-ftpd and pyftpdlib do.
func Reply(code int, text string) Action {
	return single(step{kind: stepReply, code: code, text: text})
}

// Raw sends these bytes, unframed, instead of a reply.
func Raw(bytes string) Action { return single(step{kind: stepRaw, text: bytes}) }

// Wait is a server that takes its time.
func Wait(d time.Duration) Action { return single(step{kind: stepWait, d: d}) }

// Until is an FTP server that goes on only when this command has arrived, too:
// no client gets there that sends one command at a time.
func Until(verb string) Action { return single(step{kind: stepUntil, text: verb}) }

// Stall says and does nothing more until the connection or the server is closed.
func Stall() Action { return single(step{kind: stepStall}) }

// Ignore never answers this one, and goes on with the next.
func Ignore() Action { return single(step{kind: stepIgnore}) }

// Drop closes the control connection, or the SSH connection.
func Drop(how End) Action { return single(step{kind: stepDrop, end: how}) }

// DropData closes the data connection, or the SFTP channel of an SSH connection
// that lives on. What the server then says is what real ones say.
func DropData(how End) Action { return single(step{kind: stepDropData, end: how}) }

// Throttle limits this transfer to so many bytes per second from here on.
func Throttle(bytesPerSecond int64) Action {
	return single(step{kind: stepThrottle, n: bytesPerSecond})
}

// Truncate loses everything from here on (SFTP: from offset After on) and
// reports success.
func Truncate() Action { return single(step{kind: stepTruncate}) }

// Corrupt inverts the next byte of file data.
func Corrupt() Action { return single(step{kind: stepCorrupt}) }

// Partial does only the first n bytes of an SFTP READ or WRITE. Alone it is a
// short one that reports success; with Then(Reply(4, "Failure")) it is what
// OpenSSH does at the end of the disk.
func Partial(n int64) Action { return single(step{kind: stepPartial, n: n}) }

// TakeTo moves the file of the command into the directory, as servers do that
// process what arrives: with Finally on STOR, RNTO, CLOSE or RENAME.
func TakeTo(dir string) Action { return single(step{kind: stepTakeTo, text: dir}) }

// performer is the connection an Action happens to.
type performer interface {
	context() context.Context
	sendReply(code int, text string)
	sendRaw(bytes string)
	drop(how End)
	dropData(how End)
	partial(n int64)
	await(verb string) bool
	take(dir string)
}

// effect is what an Action leaves to be obeyed by whoever asked for it.
type effect struct {
	taken    bool // it was answered, or never will be: don't do it
	replied  bool // an answer was sent
	dropped  bool // the connection was closed by Drop
	ended    bool // the connection or the server ended during a step
	partial  bool // it is half done and has its answer
	truncate bool
	cut      int64 // the After of the rule that truncates
	corrupt  bool
	rate     int64
}

// perform does the steps that can be done now and returns the rest.
func (a Action) perform(p performer) effect {
	var e effect
	for _, s := range a.steps {
		switch s.kind {
		case stepReply:
			p.sendReply(s.code, s.text)
			e.taken, e.replied = true, true
		case stepRaw:
			p.sendRaw(s.text)
			e.taken, e.replied = true, true
		case stepWait:
			if !sleep(p.context(), s.d) {
				e.taken, e.ended = true, true
			}
		case stepUntil:
			if !p.await(s.text) {
				e.taken, e.ended = true, true
			}
		case stepStall:
			<-p.context().Done()
			e.taken, e.ended = true, true
		case stepIgnore:
			e.taken = true
		case stepDrop:
			p.drop(s.end)
			e.taken, e.dropped = true, true
		case stepDropData:
			p.dropData(s.end)
		case stepThrottle:
			e.rate = s.n
		case stepTruncate:
			e.truncate = true
		case stepCorrupt:
			e.corrupt = true
		case stepPartial:
			p.partial(s.n)
			e.partial = true
		case stepTakeTo:
			p.take(s.text)
		}
		if e.ended {
			break
		}
	}
	return e
}

func (e *effect) add(next effect) {
	e.taken = e.taken || next.taken
	e.replied = e.replied || next.replied
	e.dropped = e.dropped || next.dropped
	e.ended = e.ended || next.ended
	e.partial = e.partial || next.partial
	e.truncate = e.truncate || next.truncate
	e.corrupt = e.corrupt || next.corrupt
	if next.rate > 0 {
		e.rate = next.rate
	}
}

// script is the rules of a running server.
type script struct {
	mu     sync.Mutex
	rules  []*armedRule
	fired  map[string]int
	onFire func(name string) // may be nil
}

type armedRule struct {
	Rule
	seen  int // occurrences so far
	fired int
}

// set replaces all rules; add is false, or appends. It panics on a malformed
// pattern, as regexp.MustCompile does: rules are written by programmers.
func (s *script) set(rules []Rule, add bool) {
	armed := make([]*armedRule, len(rules))
	for i, r := range rules {
		if _, err := path.Match(r.Path, ""); err != nil {
			panic(fmt.Sprintf("lab: rule on %q: bad pattern %q", r.On, r.Path))
		}
		if r.Name == "" {
			r.Name = r.On
		}
		armed[i] = &armedRule{Rule: r}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if add {
		armed = append(slices.Clone(s.rules), armed...)
	}
	s.rules = armed
}

func (s *script) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fired[name]
}

// occur tells the script that something happens and returns the rules that are
// due.
func (s *script) occur(on, file string, when When) []*armedRule {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*armedRule
	for _, r := range s.rules {
		if r.When == when && r.matches(on, file) && r.occurs() {
			due = append(due, r)
		}
	}
	return due
}

// progress is how far one transfer has come, for the rules with During.
type progress struct {
	moved   int64 // bytes
	reached map[*armedRule]bool
}

// advance returns the rules whose After lies below end, each once per transfer,
// and how many bytes may pass before the next one.
func (s *script) advance(on, file string, p *progress, end int64) (due []*armedRule, room int64) {
	room = 1 << 62
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if r.When != During || p.reached[r] || !r.matches(on, file) && !r.matches("data", file) {
			continue
		}
		if r.After >= end {
			room = min(room, r.After-p.moved)
			continue
		}
		if p.reached == nil {
			p.reached = make(map[*armedRule]bool)
		}
		p.reached[r] = true
		if r.occurs() {
			due = append(due, r)
		}
	}
	return due, room
}

// carryOut performs the rules in order until one takes over.
func (s *script) carryOut(due []*armedRule, p performer) effect {
	var e effect
	for _, r := range due {
		if !s.fire(r) {
			continue
		}
		if s.onFire != nil {
			s.onFire(r.Name)
		}
		now := r.Do.perform(p)
		if now.truncate {
			e.cut = r.After
		}
		e.add(now)
		if e.taken {
			break
		}
	}
	return e
}

// fire counts a rule that goes off. Another connection may have used it up.
func (s *script) fire(r *armedRule) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.spent() {
		return false
	}
	r.fired++
	if s.fired == nil {
		s.fired = make(map[string]int)
	}
	s.fired[r.Name]++
	return true
}

// stages are what a rule can be On that no client asks for by that name.
var stages = []string{"connect", "tls", "data", "auth", "channel", "subsystem", "exec"}

func (r *armedRule) matches(on, file string) bool {
	if r.On != on && (r.On != "*" || slices.Contains(stages, on)) {
		return false
	}
	if r.Path == "" {
		return true
	}
	if !strings.Contains(r.Path, "/") {
		file = path.Base(file)
	}
	ok, _ := path.Match(r.Path, file) // set has checked the pattern
	return ok
}

// occurs counts one occurrence and says whether the rule is due.
func (r *armedRule) occurs() bool {
	r.seen++
	return r.seen >= r.Nth && !r.spent()
}

func (r *armedRule) spent() bool { return r.Times > 0 && r.fired >= r.Times }

// sleep waits and says whether it was allowed to finish.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
