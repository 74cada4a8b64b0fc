package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// ftpSession is one control connection. Its goroutine obeys the commands; a
// second one reads them, so that an ABOR and the end of the connection are seen
// while a command is under way.
type ftpSession struct {
	*FTP
	id     int
	ctx    context.Context // ends with the control connection
	cancel context.CancelFunc
	raw    *net.TCPConn
	conn   net.Conn // raw, or TLS on it
	tls    *tls.Config
	lines  chan string
	resume chan net.Conn
	queued queued

	// the command being obeyed
	verb, path string
	event      *Event
	refusing   bool // a rule is about to answer STOR
	over       bool // hang up after it
	dropped    bool // it was hung up already

	// who it is
	login    string
	loggedIn bool
	failures int

	// what it has set
	cwd       string
	ascii     bool
	rest      int64
	oldName   string
	pretGiven bool
	hashName  string
	prot      bool
	offer     dataOffer
	doomed    bool // vsftpd: the next command finds the connection closed

	mu   sync.Mutex
	data *dataConn // open, or kept open after a scripted reply
}

// handle serves one control connection until it ends.
func (f *FTP) handle(connect *Event, conn *net.TCPConn, crowded bool) {
	s := &ftpSession{
		FTP: f, id: connect.Conn, raw: conn, conn: conn,
		verb: "connect", event: connect,
		cwd: f.cfg.Home, ascii: true, hashName: "SHA-256", // RFC 959 §5.1
		lines: make(chan string, 16), resume: make(chan net.Conn),
	}
	s.ctx, s.cancel = context.WithCancel(f.ctx)
	defer s.cancel()
	if f.tls != nil {
		s.tls = sessionTLS(f.tls)
	}
	defer func() {
		s.closeData()
		s.offer.close()
	}()
	if !s.greet(crowded) {
		return
	}
	var reader sync.WaitGroup
	defer func() {
		s.cancel()
		s.release(s.id)
		closeConn(conn, FIN)
		reader.Wait()
	}()
	reader.Go(s.read)
	s.obeyAll()
}

// greet does what comes before the first command.
func (s *ftpSession) greet(crowded bool) bool {
	if s.scripted(Before) {
		return false
	}
	if s.cfg.TLS == Implicit && !s.startTLS() {
		return false
	}
	if crowded {
		s.reply(421, "Too many connections from this address.")
		return false
	}
	s.reply(220, s.cfg.Greeting)
	return true
}

// read passes the client's lines on and ends ctx with the connection.
func (s *ftpSession) read() {
	defer close(s.lines)
	defer s.cancel()
	r := bufio.NewReaderSize(s.conn, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		text := strings.TrimRight(string(line), "\r\n")
		for err == bufio.ErrBufferFull {
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return
		}
		if strings.EqualFold(trimTelnet(text), "ABOR") {
			s.closeData()
		}
		if s.cfg.LosesTogether {
			_, _ = r.Discard(r.Buffered()) // never more than there is
		}
		s.queued.add(text)
		select {
		case s.lines <- text:
		case <-s.ctx.Done():
			return
		}
		if mayStartTLS(text) {
			select {
			case conn := <-s.resume:
				r.Reset(conn) // what came in clear behind AUTH is dropped
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// queued are the verbs that have arrived and whose turn has not come.
type queued struct {
	mu      sync.Mutex
	verbs   []string
	changed chan struct{} // closed at the next add; nil if nobody waits
}

func (q *queued) add(line string) {
	verb, _, _ := parseCommand(line) // "" is waited for by nobody
	q.mu.Lock()
	defer q.mu.Unlock()
	q.verbs = append(q.verbs, verb)
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// drop takes out the first, whose turn it is.
func (q *queued) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.verbs = q.verbs[1:]
}

// await returns when the verb has arrived, false if ctx has ended before.
func (q *queued) await(ctx context.Context, verb string) bool {
	for {
		q.mu.Lock()
		there := slices.Contains(q.verbs, verb)
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		q.mu.Unlock()
		if there {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// mayStartTLS says whether reading has to pause until the command is done.
func mayStartTLS(line string) bool {
	verb, _, err := parseCommand(line)
	return err == nil && verb == "AUTH"
}

func (s *ftpSession) obeyAll() {
	for !s.over {
		var idle <-chan time.Time
		if s.cfg.IdleTimeout > 0 {
			idle = time.After(s.cfg.IdleTimeout)
		}
		select {
		case line, ok := <-s.lines:
			if !ok || s.doomed {
				return
			}
			s.obey(line)
			if mayStartTLS(line) && !s.over {
				select {
				case s.resume <- s.conn:
				case <-s.ctx.Done():
				}
			}
		case <-idle:
			s.verb, s.event = "", nil
			s.reply(421, "Timeout.")
			return
		}
	}
}

// obey carries out one command line.
func (s *ftpSession) obey(line string) {
	s.closeData() // one that a scripted reply left open
	verb, arg, err := parseCommand(line)
	s.verb, s.path = verb, ""
	shown := arg
	switch {
	case err != nil:
		s.verb = "?"
	case verb == "PASS" || verb == "ACCT":
		shown = "****"
	}
	s.event = s.record.add(Event{Conn: s.id, Verb: s.verb, Arg: shown})
	s.queued.drop()
	if err != nil {
		s.reply(500, "Syntax error: "+err.Error()+".")
		return
	}
	cmd, known := ftpCommands[verb]
	if cmd.path {
		s.path = absolute(s.cwd, pathArg(verb, arg))
	}
	if s.scripted(Before) {
		if verb == "RNTO" {
			s.oldName = ""
		}
		return
	}
	if has, isOptional := s.knows[verb]; !known || isOptional && !has {
		s.notImplemented()
		return
	}
	if !cmd.early && !s.loggedIn {
		s.reply(530, "Please login with USER and PASS.")
		return
	}
	if s.oldName != "" && !slices.Contains(renaming, verb) {
		s.reply(501, "Bad sequence of commands.")
		return
	}
	cmd.run(s, arg)
}

// renaming are the commands that are obeyed behind a 350 to RNFR. Most servers
// are not so strict; proftpd 1.3.8 is.
var renaming = []string{"RNTO", "NOOP", "QUIT", "USER", "PASS"}

// scripted carries out the rules that are due and says whether they take the
// command's place.
func (s *ftpSession) scripted(when When) bool {
	s.refusing = when == Before && s.verb == "STOR"
	e := s.script.carryOut(s.script.occur(s.verb, s.path, when), s)
	s.refusing = false
	if e.dropped || e.ended {
		s.over = true
	}
	if e.taken && when == Before && isTransfer(s.verb) {
		s.offer.close()
		s.rest = 0
	}
	return e.taken
}

// reply gives the server's own answer, unless a rule has a better one.
func (s *ftpSession) reply(code int, text string) {
	if code >= 200 && s.scripted(Finally) {
		return
	}
	s.sendReply(code, text)
}

func (s *ftpSession) notImplemented() {
	s.reply(s.cfg.NotImplemented, "Command not implemented.")
}

// sendReply puts a reply on the wire (RFC 959 §4.2). The first and the last of
// several lines carry the code; one in between that starts with a blank is sent
// as it is, as in the reply to FEAT (RFC 2389 §3.2).
func (s *ftpSession) sendReply(code int, text string) {
	if s.dropped {
		return
	}
	if s.refusing {
		s.emptyRefused(code)
	}
	if s.event != nil {
		s.record.note(s.event, func(e *Event) {
			e.Codes = append(e.Codes, code)
			e.Text = text
		})
	}
	s.sendRaw(formatReply(code, text))
}

func formatReply(code int, text string) string {
	var b strings.Builder
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		switch {
		case i == len(lines)-1:
			fmt.Fprintf(&b, "%d %s\r\n", code, line)
		case i > 0 && strings.HasPrefix(line, " "):
			b.WriteString(line + "\r\n")
		default:
			fmt.Fprintf(&b, "%d-%s\r\n", code, line)
		}
	}
	return b.String()
}

func (s *ftpSession) sendRaw(bytes string) {
	_, _ = s.conn.Write([]byte(bytes)) // the reader notices a dead connection
}

func (s *ftpSession) context() context.Context { return s.ctx }

func (s *ftpSession) drop(how End) {
	s.dropped = true
	s.release(s.id)
	closeConn(s.raw, how)
}

func (s *ftpSession) dropData(how End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != nil {
		closeConn(s.data.raw, how)
	}
}

// partial means nothing in FTP: During and After say how much is done.
func (s *ftpSession) partial(int64) {}

func (s *ftpSession) await(verb string) bool { return s.queued.await(s.ctx, verb) }

func (s *ftpSession) take(dir string) { s.tree.take(s.path, dir) }

// startTLS does the handshake on the control connection.
func (s *ftpSession) startTLS() bool {
	verb := s.verb
	s.verb = "tls"
	taken := s.scripted(Before)
	s.verb = verb
	if taken {
		s.over = true
		return false
	}
	conn := tls.Server(s.raw, s.tls)
	ctx, cancel := context.WithTimeout(s.Server.ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		s.record.add(Event{Conn: s.id, Verb: "tls", Text: err.Error()})
		s.over = true
		return false
	}
	s.conn = conn
	return true
}

// handshakeTimeout limits what a client may take to shake hands.
const handshakeTimeout = time.Minute

func (s *ftpSession) secure() bool { return s.conn != net.Conn(s.raw) }
