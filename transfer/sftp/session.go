package sftp

import (
	"cmp"
	"context"
	"io/fs"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// session is one login, a transfer.Session.
type session struct {
	o    Options
	conn *connection
	// control carries the requests about paths, and small files. Larger ones
	// have channels of their own: a WRITE that waits for the window holds up
	// whatever is behind it.
	control *channel

	mu      sync.Mutex
	idle    []*channel      // for file data, without a transfer
	coming  []chan *channel // for file data, asked for ahead of the transfer
	slots   chan slot       // for file data, reserved; nil for none, closed when all answers are in
	full    error           // why some were not given, once slots is closed
	further []*connection   // for file data alone
	dialled int             // how many of those were asked for
	// lookAgain is lookAgain, but for tests.
	lookAgain time.Duration
	refused   map[string]bool  // abilities that the server does not have
	extras    *transfer.Extras // nil until they are asked for, and again when one is refused
	greeting  *[]string        // the tap's extensions that extras are of
	facts     transfer.Facts   // those of them that this session has found out
	ours      string           // the file that was put last
	// begun are the files that begin has opened, for the Put that comes next.
	begun map[string]*file
	// running has an element for each program that runs.
	running chan struct{}
	// timed are the files to which Put gave their time already.
	timed map[string]timing

	cannotVerify atomic.Bool
	// differs: a file was not as a listing had it. Some servers list other times
	// than they give for an open file.
	differs atomic.Bool
	probes  probes
}

// timing is the time that a file was given. In doubt is whether it kept it: a
// handle on another channel may have been closed behind, which makes the time
// that of now (Windows).
type timing struct {
	time    time.Time
	inDoubt bool
}

func newSession(c *connection, o Options) *session {
	s := &session{o: o, conn: c, lookAgain: lookAgain, refused: map[string]bool{}, facts: transfer.Facts{}, begun: map[string]*file{}, running: make(chan struct{}, programs), timed: map[string]timing{}}
	if c.most = maxSessions - 1; o.Shell {
		c.most -= programs
	}
	for name := range o.Facts {
		if ability, ok := strings.CutPrefix(name, noAbility); ok {
			s.refused[ability] = true
		}
	}
	return s
}

// start opens the channels that are wanted first.
func (s *session) start(ctx context.Context) (err error) {
	n := s.atOnce(s.o.Need)
	s.conn.rtt.Store(0) // what comes now measures it better than the login
	s.reserve(n)
	var greeting []string
	if s.o.Early {
		greeting = foretold(s.o.Facts)
	}
	if s.control, err = s.conn.open(ctx, s.slot, greeting); err != nil {
		return err
	}
	s.expect(ctx, s.o.Need)
	return nil
}

// noAbility begins the name of a fact about what a server does not do.
const noAbility = "no:"

// Stat is of transfer.Session.
func (s *session) Stat(ctx context.Context, path string) (transfer.Info, error) {
	return s.look(ctx, "stat", fxpStat, path)
}

func (s *session) lstat(ctx context.Context, path string) (transfer.Info, error) {
	return s.look(ctx, "lstat", fxpLstat, path)
}

func (s *session) look(ctx context.Context, op string, kind byte, path string) (transfer.Info, error) {
	if err := transfer.ValidPath(path); err != nil {
		return transfer.Info{}, err
	}
	a, err := s.control.attrs(ctx, newRequest(kind).string(path))
	return s.seen(ctx, op, path, a, err)
}

// seen is what the answer to a STAT or LSTAT says.
func (s *session) seen(ctx context.Context, op, path string, a attrs, err error) (transfer.Info, error) {
	if err != nil {
		f := s.control.fault(policy.Command, op, path, err)
		if is(err, fxFailure) && s.isUnlisted(ctx, path) {
			f.Cause = policy.CauseRemoteMissing // servers that answer 4 to everything
		}
		return transfer.Info{}, f
	}
	_, name := transfer.Split(path)
	return a.info(name, ""), nil
}

// begin is Extras.Begin: STAT, and behind it the OPEN of the Put that comes next. A
// server that works on several requests at once may be done with the second first:
// then it tells of the file that we have made, which is of no use.
func (s *session) begin(ctx context.Context, path string, mode fs.FileMode) (transfer.Info, error) {
	if err := cmp.Or(transfer.ValidPath(path), ctx.Err()); err != nil {
		return s.Stat(ctx, path) // says so
	}
	s.dropBegun(path)
	ch := s.control
	looked := ch.tap.start(newRequest(fxpStat).string(path), nil)
	f, openErr := ch.openNew(ctx, path, openWrite|openCreate, mode) // whoever puts it says why it can't be
	if err := ch.conn.wait(ctx, ch.conn.limits.Reply, looked.done); err != nil {
		if openErr == nil {
			f.letGo()
		}
		return transfer.Info{}, ch.fault(policy.Command, "stat", path, err)
	}
	a, err := looked.attrs()
	switch {
	case openErr != nil:
	case is(err, fxNoSuchFile):
		s.mu.Lock()
		s.begun[path] = f
		s.mu.Unlock()
	default:
		defer f.letGo()
		if err != nil {
			return s.made(ctx, path, f)
		}
	}
	return s.seen(ctx, "stat", path, a, err)
}

// made looks at what begin has opened, now that it is there. An empty file that can't
// be looked at is taken away again.
func (s *session) made(ctx context.Context, path string, f *file) (transfer.Info, error) {
	info, err := s.Stat(ctx, path)
	if err != nil {
		if a, failed := f.stat(ctx); failed == nil && a.flags&attrSize != 0 && a.size == 0 {
			_ = s.Remove(ctx, path) // the failure that led here is what is reported
		}
	}
	return info, err
}

// takeBegun gives the file that begin has opened, nil if it has not.
func (s *session) takeBegun(path string) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.begun[path]
	delete(s.begun, path)
	return f
}

// dropBegun closes what begin has opened, if it has: the name is to mean something
// else, and Windows keeps what is open.
func (s *session) dropBegun(path string) {
	if f := s.takeBegun(path); f != nil {
		f.letGo()
	}
}

// isUnlisted says whether the nearest directory that can be read does not hold
// the path.
func (s *session) isUnlisted(ctx context.Context, path string) bool {
	dir, name := transfer.Split(path)
	if name == "" || name == "." || name == ".." {
		return false
	}
	err := s.List(ctx, dir, func(i transfer.Info) error {
		if i.Name == name {
			return errEnough
		}
		return nil
	})
	if code(err) == fxFailure {
		return s.isUnlisted(ctx, dir)
	}
	return err == nil
}

// Rename is of transfer.Session. It is SSH_FXP_RENAME: OpenSSH refuses an
// existing target, others replace it.
func (s *session) Rename(ctx context.Context, from, to string) error {
	return s.rename(ctx, "rename", from, to, newRequest(fxpRename))
}

func (s *session) posixRename(ctx context.Context, from, to string) error {
	return s.rename(ctx, "posix-rename", from, to, newRequest(fxpExtended).string("posix-rename@openssh.com"))
}

// rename sends r with both paths. A file whose time is in doubt is looked at behind
// it, in the same flight, and gets its time once more if need be.
func (s *session) rename(ctx context.Context, op, from, to string, r request) error {
	if err := cmp.Or(transfer.ValidPath(from), transfer.ValidPath(to)); err != nil {
		return err
	}
	s.dropBegun(from)
	s.dropBegun(to)
	if err := s.greeted(ctx); err != nil {
		return s.control.fault(policy.Command, op, to, err)
	}
	s.mu.Lock()
	given := s.timed[from]
	s.mu.Unlock()
	ch := s.control
	var looked *reply
	err := context.Cause(ctx)
	if err == nil {
		renamed := ch.tap.start(r.string(from).string(to), nil)
		if given.inDoubt {
			looked = ch.tap.start(newRequest(fxpStat).string(to), nil)
		}
		if err = ch.conn.wait(ctx, ch.conn.limits.Reply, renamed.done); err == nil {
			err = renamed.ok()
		}
	}
	if err != nil {
		if is(err, fxUnsupported) {
			s.refuse(op, err)
		}
		return twoPaths(unconfirmed(ch.fault(policy.Command, op, to, err)), from, to)
	}
	s.mu.Lock()
	delete(s.timed, from)
	s.mu.Unlock()
	if looked == nil || ch.conn.wait(ctx, ch.conn.limits.Reply, looked.done) != nil {
		return nil
	}
	if a, err := looked.attrs(); err != nil || a.flags&attrTime == 0 || int64(a.time) != given.time.Unix() {
		_ = s.setModTime(ctx, to, given.time) // the server took it a moment ago
	}
	return nil
}

// Remove is of transfer.Session. The library's would try RMDIR next.
func (s *session) Remove(ctx context.Context, path string) error {
	if err := transfer.ValidPath(path); err != nil {
		return err
	}
	s.dropBegun(path)
	if err := s.greeted(ctx); err != nil {
		return s.control.fault(policy.Command, "remove", path, err)
	}
	_, err := s.control.request(ctx, fxpStatus, newRequest(fxpRemove).string(path))
	if err != nil {
		return unconfirmed(s.control.fault(policy.Command, "remove", path, err))
	}
	return nil
}

// Mkdir is of transfer.Session.
func (s *session) Mkdir(ctx context.Context, path string) error {
	return s.change(ctx, "mkdir", path, func(c *sftp.Client) error { return c.Mkdir(path) })
}

// Rmdir is of transfer.Session.
func (s *session) Rmdir(ctx context.Context, path string) error {
	return s.change(ctx, "rmdir", path, func(c *sftp.Client) error { return c.RemoveDirectory(path) })
}

// change makes a request that changes something, so that a lost answer leaves
// open whether it happened.
func (s *session) change(ctx context.Context, op, path string, f func(*sftp.Client) error) error {
	err := s.ask(ctx, op, path, f)
	if fault, ok := err.(*policy.Fault); ok {
		return unconfirmed(fault)
	}
	return err
}

// ask makes a request that changes something and is answered by a status alone.
func (s *session) ask(ctx context.Context, op, path string, f func(*sftp.Client) error) error {
	if err := s.greeted(ctx); err != nil {
		return s.control.fault(policy.Command, op, path, err)
	}
	_, err := learn(ctx, s, op, path, func(c *sftp.Client) (struct{}, error) { return struct{}{}, f(c) })
	return err
}

// learn makes a request about a path through the library. One that the server
// does not know is missing from the Extras from then on.
func learn[T any](ctx context.Context, s *session, op, path string, f func(*sftp.Client) (T, error)) (T, error) {
	var none T
	if err := transfer.ValidPath(path); err != nil {
		return none, err
	}
	value, err := ask(ctx, s.control, f)
	if err == nil {
		return value, nil
	}
	if is(err, fxUnsupported) {
		s.refuse(op, err)
	}
	return none, s.control.fault(policy.Command, op, path, err)
}

// refuse takes down what the server does not do, whatever it announces.
func (s *session) refuse(ability string, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused[ability], s.extras = true, nil
	s.facts[noAbility+ability] = transfer.Fact{Value: "refused", Reason: policy.Sanitize(why.Error()), At: time.Now()}
}

// learned is Extras.Facts.
func (s *session) learned() transfer.Facts {
	s.mu.Lock()
	facts := maps.Clone(s.facts)
	s.mu.Unlock()
	t := s.control.tap
	if e := t.extensions.Load(); t.opened.Load() && canRemember(*e) {
		facts[factExtensions] = transfer.Fact{Value: cmp.Or(strings.Join(*e, " "), noExtensions), Reason: "its greeting", At: time.Now()}
	}
	if t.foretold && !t.answered.Load() && !s.control.usable() && !s.conn.leftByUs() {
		facts[factPipelining] = transfer.Fact{
			Value: pipeliningDropped, Reason: "no reply to a request that came before the greeting", At: time.Now(),
		}
	}
	return facts
}

// Extras is of transfer.Session.
func (s *session) Extras() transfer.Extras {
	s.mu.Lock()
	defer s.mu.Unlock()
	if greeting := s.control.tap.extensions.Load(); s.extras == nil || s.greeting != greeting {
		x := s.offered()
		s.extras, s.greeting = &x, greeting
	}
	x := *s.extras
	x.PutVerifies, x.GetCompares = !s.cannotVerify.Load(), !s.differs.Load()
	return x
}

// offered are the Extras without what a single transfer changes. s.mu is held.
func (s *session) offered() transfer.Extras {
	x := transfer.Extras{
		Begin:         s.begin,
		Lstat:         s.lstat,
		Facts:         s.learned,
		Parallel:      true,
		Resume:        true,
		NoPutResume:   !s.offers("resume", ""),
		Spread:        spread,
		TimePrecision: time.Second,
		Software:      s.software(),
	}
	if s.offers("mtime", "") {
		x.SetModTime = s.setModTime
	}
	if s.offers("chmod", "") {
		x.Chmod = s.chmod
	}
	if s.offers("posix-rename", "posix-rename@openssh.com") {
		x.Replace = s.posixRename
	}
	if s.offers("readlink", "") {
		x.Readlink = s.readlink
	}
	if s.offers("symlink", "") {
		x.Symlink = s.symlink
	}
	if s.offers("statvfs", "statvfs@openssh.com") {
		x.Space = s.space
	}
	if s.offers("realpath", "") {
		x.Realpath = s.realpath
	}
	if len(s.hashers()) > 0 {
		x.Hash = s.hash
	}
	if s.o.Probe != ProbeOff {
		x.Diagnose = s.diagnose
	}
	return x
}

// offers says whether the server has the extension, if one is needed, and has not
// refused the request. s.mu is held.
func (s *session) offers(op, extension string) bool {
	return !s.refused[op] && (extension == "" || s.control.tap.offers(extension))
}

// can is offers for who does not hold s.mu.
func (s *session) can(op, extension string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offers(op, extension)
}

// setModTime sets both times: version 3 knows no way to set only one.
func (s *session) setModTime(ctx context.Context, path string, t time.Time) error {
	if !fits(t) {
		return &policy.Fault{
			Protocol: policy.SFTP, Phase: policy.Command, Op: "setstat", Path: path, Cause: policy.CauseNotOffered,
			Text: "SFTP has no times before 1970 and after 2106",
		}
	}
	s.mu.Lock()
	given, done := s.timed[path]
	done = done && given.time.Equal(t)
	if !done || !given.inDoubt { // else the rename that comes next needs it
		delete(s.timed, path)
	}
	s.mu.Unlock()
	if done {
		return nil
	}
	return s.setstat(ctx, "mtime", path, func(c *sftp.Client) error { return c.Chtimes(path, t, t) })
}

func (s *session) chmod(ctx context.Context, path string, mode fs.FileMode) error {
	return s.setstat(ctx, "chmod", path, func(c *sftp.Client) error { return c.Chmod(path, mode) })
}

// setstat changes attributes. A server that refuses it for the file that was just
// written there refuses it for all.
func (s *session) setstat(ctx context.Context, ability, path string, f func(*sftp.Client) error) error {
	err := s.ask(ctx, "setstat", path, f)
	fault, ok := err.(*policy.Fault)
	if !ok {
		return err
	}
	s.mu.Lock()
	ours := s.ours == path
	s.mu.Unlock()
	if fault.Code == fxUnsupported || ours && (fault.Code == fxFailure || fault.Code == fxPermission) {
		s.refuse(ability, fault)
	}
	return err
}

func (s *session) readlink(ctx context.Context, path string) (string, error) {
	return learn(ctx, s, "readlink", path, func(c *sftp.Client) (string, error) { return c.ReadLink(path) })
}

func (s *session) symlink(ctx context.Context, target, link string) error {
	if err := transfer.ValidPath(target); err != nil {
		return err
	}
	return s.change(ctx, "symlink", link, func(c *sftp.Client) error { return c.Symlink(target, link) })
}

func (s *session) realpath(ctx context.Context, path string) (string, error) {
	return learn(ctx, s, "realpath", path, func(c *sftp.Client) (string, error) { return c.RealPath(path) })
}

func (s *session) space(ctx context.Context, path string) (transfer.Space, error) {
	v, err := learn(ctx, s, "statvfs", path, func(c *sftp.Client) (*sftp.StatVFS, error) { return c.StatVFS(path) })
	if err != nil {
		return transfer.Space{}, err
	}
	return spaceOf(v), nil
}

// spaceOf reads statvfs@openssh.com (OpenSSH PROTOCOL §4.4). Bavail and Favail
// are what a user without privileges may use.
func spaceOf(v *sftp.StatVFS) transfer.Space {
	space := transfer.Space{
		Free: int64(v.Bavail * v.Frsize), Total: int64(v.Blocks * v.Frsize), FreeFiles: -1,
		ReadOnly: v.Flag&1 != 0, FSID: v.Fsid, NameMax: int(v.Namemax),
	}
	if v.Files > 0 { // btrfs counts none
		space.FreeFiles = int64(v.Favail)
	}
	return space
}

// software is the server's identification (RFC 4253 §4.2) without the protocol.
func (s *session) software() string {
	version := policy.Sanitize(string(s.conn.client.ServerVersion()))
	if parts := strings.SplitN(version, "-", 3); len(parts) == 3 {
		return parts[2]
	}
	return version
}

// Alive is of transfer.Session.
func (s *session) Alive() bool { return s.control.usable() }

// Close is of transfer.Session. It closes the connections: nothing is under way
// that the server would need to be told about.
func (s *session) Close() error {
	for _, c := range s.abort(net.ErrClosed) {
		<-c.dead
	}
	return nil
}
