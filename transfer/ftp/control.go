package ftp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// interposer is the control connection that the library sees. Each command it
// writes is carried out on the wire before Write returns, and the answer that
// the library can work with waits in out. What really went wrong is kept in
// fault: the library drops codes (USER → 332, 530), joins errors, and knows only
// one code for each success.
//
// It never fails a Write: the library's buffered writer would keep the error,
// and every later command would fail with it.
type interposer struct {
	o       *Options
	w       *wire
	ends    ends
	tls     *tls.Config // of the data connections, nil without TLS
	charset charset
	able    *abilities
	modes   *modes

	// life ends with the session.
	life context.Context
	// early is the next data connection, if it was opened ahead.
	early *early

	// The operation under way. Sessions are used by one goroutine at a time.
	ctx    context.Context
	op     string // the wire verb, for faults
	arg    string // its argument as it goes on the wire
	path   string // as the caller spells it, for faults
	target string // likewise, of a rename
	fault  *policy.Fault
	data   *dataConn
	// found is what the server says of the file now, by MLST or by SIZE and MDTM. If
	// it says so beside RETR, takes says whether that is what is wanted.
	found  transfer.Info
	byMLST bool
	takes  func(transfer.Info) bool
	// last is the command that moved the last file; series: also the one before.
	last   string
	series bool

	in  []byte       // of a command, until its LF
	out bytes.Buffer // replies for the library
}

// begin starts an operation: the verb, its argument as it goes on the wire, and
// the path that it is about.
func (x *interposer) begin(ctx context.Context, op, arg, path string) {
	x.ctx, x.op, x.arg, x.path, x.fault, x.data, x.takes = ctx, op, arg, path, nil, nil, nil
	x.in = nil
	x.out.Reset()
}

// moved notes that a file was moved.
func (x *interposer) moved(verb string) { x.last, x.series = verb, x.last == verb }

// Write takes commands from the library.
func (x *interposer) Write(p []byte) (int, error) {
	x.in = append(x.in, p...)
	for {
		i := bytes.IndexByte(x.in, '\n')
		if i < 0 {
			return len(p), nil
		}
		line := string(bytes.TrimSuffix(x.in[:i], []byte("\r")))
		x.in = x.in[i+1:]
		x.serve(line)
	}
}

// Read gives the library its replies. The only one it waits for without having
// sent a command is the one that ends a transfer.
func (x *interposer) Read(p []byte) (int, error) {
	if x.out.Len() == 0 {
		if x.data == nil {
			return 0, io.EOF
		}
		x.answer(x.finish())
	}
	return x.out.Read(p)
}

// success is the one code that the library takes as success of a verb. Servers
// answer with others of the same class: 200 to RMD, 250 to MKD.
var success = map[string]int{
	"TYPE": 200, "PBSZ": 200, "PROT": 200, "USER": 230, "PASS": 230,
	"REST": 350, "RNFR": 350, "RNTO": 250, "DELE": 250, "MKD": 257, "RMD": 250,
}

// serve carries out one command of the library.
func (x *interposer) serve(line string) {
	verb, _, _ := strings.Cut(line, " ")
	switch verb {
	case "USER":
		x.answer(x.logIn(line, ""))
	case "PASS":
		x.answer(x.password())
	case "FEAT":
		// What the server can do is abilities' to know. The library, told of no
		// feature, uses none: no PRET, MLSD or MDTM behind our back.
		x.learnFeatures()
		x.answer(502)
	case "PASV":
		// The address is never used: the data connection is prepared already.
		if code := x.prepare(); code != 227 {
			x.answer(code)
		} else {
			x.out.WriteString("227 (0,0,0,0,0,1)\r\n")
		}
	case "STOR", "RETR":
		x.answer(x.start(line))
	case "QUIT":
		x.answer(221) // Session.Close ends the connection
	default:
		x.answer(x.command(verb, line))
	}
}

// answer queues a reply for the library, which reads nothing but the code.
func (x *interposer) answer(code int) { fmt.Fprintf(&x.out, "%d \r\n", code) }

// fail keeps the first fault of the operation and gives the code that stands
// for it: the real one, or 421 where there was none.
func (x *interposer) fail(f *policy.Fault) int {
	if x.fault == nil {
		x.fault = f
	}
	x.modes.note(f)
	if f.Code < 400 {
		return 421
	}
	return f.Code
}

// command passes a command on and its reply back.
func (x *interposer) command(verb, line string) int {
	phase, path := phaseOf(verb), x.path
	if verb == "RNTO" {
		path = x.target
	}
	if err := x.w.send(x.ctx, line, ""); err != nil {
		return x.fail(x.lost(phase, verb, path, err))
	}
	r, err := x.w.final(x.ctx, x.w.limit)
	switch {
	case err != nil && changes[verb]:
		return x.fail(x.lost(policy.Finish, verb, path, err))
	case err != nil:
		return x.fail(x.lost(phase, verb, path, err))
	case r.class() == 2 || r.class() == 3:
		if code := success[verb]; code != 0 {
			return code
		}
		return r.code
	}
	f := x.said(phase, verb, path, r)
	if verb == "REST" && (r.unsupported() || r.code == 501) {
		f.Cause = policy.CauseNoRest
		x.able.refuse("REST", r, x.w.seen.Load())
	}
	return x.fail(f)
}

// changes are the commands after which the server is not as before: when their
// reply is lost, only a look can tell whether it happened.
var changes = map[string]bool{"RNTO": true, "DELE": true, "MKD": true, "RMD": true}

func phaseOf(verb string) policy.Phase {
	switch verb {
	case "USER", "PASS", "ACCT", "TYPE", "PBSZ", "PROT":
		return policy.Auth
	case "REST":
		return policy.Data
	}
	return policy.Command
}

func (x *interposer) exchange(line, secret string) (reply, error) {
	return x.w.exchange(x.ctx, line, secret)
}

// cmd is a command of our own. A reply of any code is no error; one that never
// came is a fault.
func (x *interposer) cmd(verb, arg string) (reply, error) {
	line := verb
	if arg != "" {
		line += " " + arg
	}
	r, err := x.exchange(line, "")
	if err != nil {
		return r, x.lost(policy.Command, verb, x.path, err)
	}
	return r, nil
}

// logIn sends USER or PASS, and ACCT where the server asks for an account.
func (x *interposer) logIn(line, secret string) int {
	verb, _, _ := strings.Cut(line, " ")
	r, err := x.exchange(line, secret)
	if err == nil && r.code == 332 && !x.o.Account.Empty() {
		verb = "ACCT"
		account := x.o.Account.Reveal()
		r, err = x.exchange("ACCT "+account, account)
	}
	switch {
	case err != nil:
		return x.fail(x.lost(policy.Auth, verb, "", err))
	case r.completed():
		x.askSetup()
		return 230
	case r.code == 331 && verb == "USER":
		return 331
	}
	return x.fail(x.said(policy.Auth, verb, "", r))
}

// askSetup sends together what the library is about to send behind a login, what
// logIn asks then, and the question that comes before the first file. That is for servers that have
// shown that they take it: from a login that fails nobody learns anything.
func (x *interposer) askSetup() {
	if remembered(x.o.Hints.Facts, factAhead) != aheadWorks {
		return
	}
	var lines []string
	if x.tls == nil {
		lines = x.askPort()
	}
	if x.able.may("FEAT") {
		lines = append(lines, "FEAT")
	}
	lines = append(lines, "TYPE I")
	if x.charset.page == nil && remembered(x.o.Hints.Facts, factUTF8) == utf8Offered {
		lines = append(lines, "OPTS UTF8 ON")
	}
	if x.able.may("PWD") {
		lines = append(lines, "PWD")
	}
	if x.tls != nil {
		lines = append(append(lines, "PBSZ 0", "PROT P"), x.askPort()...) // of a protected connection
	}
	x.w.ask(x.ctx, lines...)
}

// password asks for the password only now that the server wants one, so that it
// never passes through the library.
func (x *interposer) password() int {
	secret, err := auth.Secret{}, errNoPassword
	if x.o.Password != nil {
		secret, err = x.o.Password(x.ctx)
	}
	if err != nil {
		return x.fail(x.noSecret(err))
	}
	password := x.charset.mustEncode(secret.Reveal())
	if strings.ContainsAny(password, lineBreaks) {
		return x.fail(x.noSecret(errors.New("the password contains a control character")))
	}
	return x.logIn("PASS "+password, password)
}

var errNoPassword = errors.New("the server asks for a password and there is none")

func (x *interposer) noSecret(err error) *policy.Fault {
	if f, ok := errors.AsType[*policy.Fault](err); ok {
		return f
	}
	f := &policy.Fault{
		Protocol: policy.Local, Phase: policy.Auth, Op: "PASS", Host: x.o.host(), User: x.o.User,
		Cause: policy.CauseNoSecret, Text: policy.Sanitize(err.Error()), Err: err,
	}
	if x.ctx.Err() != nil {
		f.Cause = lostCause(x.ctx, err)
	}
	return f
}

// result is what an operation of the library came to: our fault, which knows
// more, or its own error.
func (x *interposer) result(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case x.fault != nil:
		return x.fault
	default:
		return x.lost(policy.Command, op, x.path, badSyntax("%s", policy.Sanitize(err.Error())))
	}
}

// The rest of net.Conn. Deadlines are the wire's own, and closing is the
// session's.

func (x *interposer) Close() error                     { return nil }
func (x *interposer) SetDeadline(time.Time) error      { return nil }
func (x *interposer) SetReadDeadline(time.Time) error  { return nil }
func (x *interposer) SetWriteDeadline(time.Time) error { return nil }
func (x *interposer) LocalAddr() net.Addr              { return anyAddr }
func (x *interposer) RemoteAddr() net.Addr             { return anyAddr }

// anyAddr satisfies the library, which wants a *net.TCPAddr and uses it only to
// compare it with the address of a 227, also ours.
var anyAddr = &net.TCPAddr{IP: net.IPv4zero}
