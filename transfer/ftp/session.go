package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	jlaffaye "github.com/jlaffaye/ftp"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// session is one login. Its methods are the verbs of transfer.Session; what they
// say to the server goes through the library or the interposer.
type session struct {
	x   *interposer
	lib *jlaffaye.ServerConn // on x, nil before the login

	// mu is held by the method under way, so that Close can tell whether the
	// server listens to a QUIT.
	mu sync.Mutex
	// life ends with the session, and every method with it.
	life context.Context
	kill context.CancelFunc

	software   string // from the greeting
	tlsVersion transfer.Fact
	home       string // the login directory as PWD says it, "" before it was asked for
	// goodDir is a directory that was entered: what is not found in it is missing.
	goodDir string
	manners manners
	// differs: a file was not as a listing had it. Some servers list other times
	// than they tell of the file.
	differs bool
	// hashing is the algorithm that HASH uses, "" for the server's choice.
	hashing string
}

func newSession(x *interposer) *session {
	s := &session{x: x, manners: newManners(x.o)}
	s.life, s.kill = context.WithCancel(context.Background())
	x.life = s.life
	return s
}

// bound ends ctx with the session.
func (s *session) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// begin starts a method: it checks the path, spells it for the wire, and refuses
// a session that is over. end must be called.
func (s *session) begin(ctx context.Context, op, path string) (arg string, end func(), err error) {
	if err := transfer.ValidPath(path); err != nil {
		return "", nil, err
	}
	arg, err = s.x.charset.encode(path)
	if err != nil {
		return "", nil, err
	}
	s.mu.Lock()
	ctx, unbind := s.bound(ctx)
	end = func() {
		if d := s.x.data; d != nil && !d.closed.Load() {
			_ = d.Close()
		}
		unbind()
		s.mu.Unlock()
	}
	s.x.begin(ctx, op, arg, path)
	switch {
	case ctx.Err() != nil:
		err = s.x.lost(policy.Command, op, path, context.Cause(ctx))
	case !s.x.w.alive():
		err = s.x.lost(policy.Command, op, path, s.x.w.err)
	}
	if err != nil {
		end()
		return "", nil, err
	}
	s.x.dialAhead()
	return arg, end, nil
}

// Put sends STOR, behind REST when off > 0. It returns 0 on failure: how much
// arrived only the server knows.
func (s *session) Put(ctx context.Context, path string, off int64, src transfer.Source) (int64, error) {
	arg, end, err := s.begin(ctx, "STOR", path)
	if err != nil {
		return 0, err
	}
	defer end()
	if off > 0 && !s.x.able.may("REST") {
		return 0, s.noRest("STOR", path)
	}
	u := &upload{src: src, off: off}
	err = s.lib.StorFrom(arg, u, uint64(off))
	if err := s.x.uploaded(u, err); err != nil {
		return 0, err
	}
	s.x.moved("STOR")
	s.askAbout(arg, off > 0, src)
	if off > 0 {
		if err := s.x.mustHold(off + u.sent); err != nil {
			return 0, err
		}
	}
	return u.sent, nil
}

// askAbout sends together what comes behind an upload: in a series the port for
// the next file, how large this one is, for a resumed one also from here, its time,
// and the first half of its new name.
func (s *session) askAbout(arg string, resumed bool, src transfer.Source) {
	x := s.x
	var lines []string
	if x.series {
		lines = x.askPort()
	}
	if resumed && x.able.may("SIZE") {
		lines = append(lines, "SIZE "+arg)
	}
	switch {
	case x.able.offers("MLST"):
		lines = append(lines, "MLST "+arg)
	case x.able.may("SIZE"):
		lines = append(lines, "SIZE "+arg)
	}
	if way := s.timeSetter(); way != nil && !src.ModTime.IsZero() {
		verb, args := way.spell(arg, src.ModTime)
		lines = append(lines, verb+" "+args)
	}
	if src.Temporary {
		lines = append(lines, "RNFR "+arg)
	}
	if len(lines) > 1 {
		x.w.ask(x.ctx, lines...)
	}
}

// Get sends RETR, behind REST when off > 0.
func (s *session) Get(ctx context.Context, path string, off int64, dst transfer.Sink) (int64, error) {
	arg, end, err := s.begin(ctx, "RETR", path)
	if err != nil {
		return 0, err
	}
	defer end()
	if off > 0 && !s.x.able.may("REST") {
		return 0, s.noRest("RETR", path)
	}
	if err := s.compare(arg, off, dst); err != nil {
		return 0, err
	}
	w := &download{sink: dst, off: off}
	r, err := s.lib.RetrFrom(arg, uint64(off))
	if err != nil {
		return 0, s.x.result("RETR", err)
	}
	if w.fault = s.other(dst); w.fault == nil {
		err = s.x.data.receive(w)
	} else {
		err = s.refuse(w.fault)
	}
	if err == nil && w.whole() {
		s.x.w.ahead.answered = true // by the 1xx
		s.x.askPortBehind()
	}
	err = errors.Join(err, r.Close())
	return w.received, s.downloaded(w, arg, err)
}

// noRest is the fault of a server that is known to have no REST.
func (s *session) noRest(op, path string) error {
	return s.x.because(policy.Data, op, path, policy.CauseNoRest, s.x.able.refused["REST"].fact.Reason)
}

// uploaded says what came of a STOR. The library's error says less than we know.
func (x *interposer) uploaded(u *upload, libErr error) error {
	d := x.data
	if x.fault != nil || d == nil || d.over == nil {
		return x.result(x.op, libErr)
	}
	o := *d.over
	switch {
	case o.err == nil && o.reply.completed() && d.complete && !d.early:
		x.modes.succeeded(d)
		return nil
	case u.fault != nil:
		return u.fault
	case o.err == nil && o.reply.completed() && d.early && x.ctx.Err() == nil:
		return x.endedEarly(u)
	default:
		return x.broken(d, o)
	}
}

// endedEarly: the server said success before we had sent the end. What it has
// by then is all that counts.
func (x *interposer) endedEarly(u *upload) error {
	want := u.src.Size
	if want < 0 {
		want = u.off + u.sent
	}
	size, ok, err := x.size(x.arg)
	if err != nil || ok && size == want && (x.data.complete || u.left() == 0) {
		return err
	}
	has := "an unknown number"
	if ok {
		has = strconv.FormatInt(size, 10)
	}
	return x.because(policy.Data, x.op, x.path, policy.CauseSize,
		fmt.Sprintf("the server ended the transfer with a success, and has %s of %d bytes", has, want))
}

// mustHold checks the size of a file that was resumed, where the server tells
// it: FTP has no command that discards what lies behind the new bytes.
func (x *interposer) mustHold(want int64) error {
	size, ok, err := x.size(x.arg)
	if err != nil || !ok || size == want {
		return err
	}
	return x.because(policy.Data, x.op, x.path, policy.CauseSize,
		fmt.Sprintf("the file has %d bytes after a resumed upload, not %d", size, want))
}

// broken is the fault of a transfer that failed after its 1xx.
func (x *interposer) broken(d *dataConn, o outcome) *policy.Fault {
	f := x.brokenBy(d, o)
	x.modes.note(f)
	return f
}

func (x *interposer) brokenBy(d *dataConn, o outcome) *policy.Fault {
	phase := policy.Data
	if d.complete {
		phase = policy.Finish
	}
	handshake, shaking := errors.AsType[*handshakeError](d.err)
	switch {
	case x.ctx.Err() != nil:
		return x.lost(phase, x.op, x.path, context.Cause(x.ctx))
	case shaking && certificateRefused(handshake.err):
		f := noTLS(x.ctx, x.o, handshake.err)
		f.Phase, f.Op, f.Path = phase, x.op, x.path
		return f
	case o.err == nil && o.reply.class() >= 4:
		f := x.refused(o.reply)
		f.Err = d.err
		if r := o.reply.code; r != 425 && r != 522 { // these say that there was no data connection
			f.Phase = phase
		}
		if shaking && d.up() {
			f.Cause = policy.CauseDataTLS
		}
		return f
	case errors.Is(d.err, errNotAdmitted):
		return x.because(phase, x.op, x.path, policy.CauseDataConnect, d.err.Error())
	case d.err != nil && !errors.Is(d.err, errFinal):
		f := x.lost(phase, x.op, x.path, d.err)
		if shaking && f.Cause == policy.CauseReset {
			f.Cause = policy.CauseDataTLS
		}
		return f
	case o.err != nil:
		return x.lost(phase, x.op, x.path, o.err)
	default:
		// A success in the middle of an upload, or a 1xx or 3xx as the end.
		f := x.said(phase, x.op, x.path, o.reply)
		f.Cause = policy.CauseDesync
		return f
	}
}

// refused is the fault of a negative reply to a command that moves data. A 425
// behind a 1xx with the data connection up is not about the mode: proftpd 1.3.8
// and FileZilla Server say so when the TLS session was not resumed, where
// vsftpd 3.0.3 says 522.
func (x *interposer) refused(r reply) *policy.Fault {
	phase := policy.Command
	if r.class() == 4 || r.code == 522 {
		phase = policy.Data
	}
	f := x.said(phase, x.op, x.path, r)
	if x.tls != nil && (r.code == 522 || r.code == 425 && x.data.started && x.data.up()) {
		f.Cause = policy.CauseDataTLS
	}
	return f
}

// downloaded says what came of a RETR.
func (s *session) downloaded(w *download, arg string, libErr error) error {
	x := s.x
	d := x.data
	if x.fault != nil || d.over == nil {
		return x.result(x.op, libErr)
	}
	o := *d.over
	switch {
	case w.fault != nil:
		return w.fault
	case d.err == nil && o.err != nil && w.whole() && x.ctx.Err() == nil:
		// Everything is here; only its confirmation is lost with the session.
		return nil
	case d.err != nil || o.err != nil || !o.reply.completed():
		return x.broken(d, o)
	}
	x.modes.succeeded(d)
	x.moved("RETR")
	if w.sink.Size < 0 || w.whole() {
		return nil
	}
	return s.wrongLength(w, arg)
}

// wrongLength: the server says success, and it is not what was announced. A TLS
// connection that is cut at a record boundary looks like an end, too.
func (s *session) wrongLength(w *download, arg string) error {
	x := s.x
	f := x.because(policy.Data, x.op, x.path, policy.CauseSize,
		fmt.Sprintf("%d of %d bytes came", w.off+w.received, w.sink.Size))
	size, ok, err := x.size(arg)
	if err != nil {
		return err
	}
	if ok && size != w.sink.Size {
		f.Cause = policy.CauseRemoteChanged
		f.Text += fmt.Sprintf("; the file has %d now", size)
	}
	return f
}

// Rename sends RNFR and RNTO.
func (s *session) Rename(ctx context.Context, from, to string) error {
	if err := transfer.ValidPath(to); err != nil {
		return err
	}
	target, err := s.x.charset.encode(to)
	if err != nil {
		return err
	}
	arg, end, err := s.begin(ctx, "RNFR", from)
	if err != nil {
		return err
	}
	defer end()
	s.x.target = to
	return s.x.result("RNFR", s.lib.Rename(arg, target))
}

// Remove sends DELE. Some servers let it delete an empty directory.
func (s *session) Remove(ctx context.Context, path string) error {
	arg, end, err := s.begin(ctx, "DELE", path)
	if err != nil {
		return err
	}
	defer end()
	return s.x.result("DELE", s.lib.Delete(arg))
}

// Mkdir sends MKD.
func (s *session) Mkdir(ctx context.Context, path string) error {
	arg, end, err := s.begin(ctx, "MKD", path)
	if err != nil {
		return err
	}
	defer end()
	return s.x.result("MKD", s.lib.MakeDir(arg))
}

// Rmdir sends RMD.
func (s *session) Rmdir(ctx context.Context, path string) error {
	arg, end, err := s.begin(ctx, "RMD", path)
	if err != nil {
		return err
	}
	defer end()
	return s.x.result("RMD", s.lib.RemoveDir(arg))
}

// Alive is false once the control connection can't be used any more.
func (s *session) Alive() bool { return s.life.Err() == nil && s.x.w.alive() }

// quitLimit is how long a server may take to say goodbye. One that is near has
// then ended its side, and has room for another connection; one that is far does
// so by itself, and the answer is not worth a round trip.
const quitLimit = 20 * time.Millisecond

// Close says QUIT to a server that listens, and ends whatever is under way.
func (s *session) Close() error {
	if s.mu.TryLock() {
		if s.Alive() {
			ctx, cancel := context.WithTimeout(s.life, quitLimit)
			_, _ = s.x.w.exchange(ctx, "QUIT", "") // any answer will do
			cancel()
		}
		s.mu.Unlock()
	}
	s.abandon()
	return nil
}

// abandon frees everything, at once.
func (s *session) abandon() {
	s.kill()
	if w := s.x.w; w != nil {
		_ = w.fail(io.ErrClosedPipe)
		<-w.stopped
	}
}

// secured notes the TLS version, which is worth remembering.
func (s *session) secured(state tls.ConnectionState) {
	s.tlsVersion = transfer.Fact{Value: tls.VersionName(state.Version), Reason: "it was negotiated", At: time.Now()}
	s.x.o.Log.Debug("ftp_tls", "version", tls.VersionName(state.Version), "cipher", tls.CipherSuiteName(state.CipherSuite))
}

// certificateRefused says whether a handshake failed on the certificate.
func certificateRefused(err error) bool {
	switch policy.NetCause(err) {
	case policy.CauseCertExpired, policy.CauseCertName, policy.CauseCertUntrusted:
		return true
	}
	return isPinError(err)
}
