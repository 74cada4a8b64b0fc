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
	refused   map[string]bool // abilities that the server does not have
	facts     transfer.Facts  // those of them that this session has found out
	ours      string          // the file that was put last
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

func newSession(c *connection, control *channel, o Options) *session {
	s := &session{o: o, conn: c, control: control, lookAgain: lookAgain, refused: map[string]bool{}, facts: transfer.Facts{}, timed: map[string]timing{}}
	if c.most = maxSessions - 1; o.Shell {
		c.most-- // for programs
	}
	for name := range o.Facts {
		if ability, ok := strings.CutPrefix(name, noAbility); ok {
			s.refused[ability] = true
		}
	}
	return s
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
	_, name := transfer.Split(path)
	if err != nil {
		f := s.control.fault(policy.Command, op, path, err)
		if is(err, fxFailure) && s.isUnlisted(ctx, path) {
			f.Cause = policy.CauseRemoteMissing // servers that answer 4 to everything
		}
		return transfer.Info{}, f
	}
	return a.info(name, ""), nil
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

// ask makes a request about a path that is answered by a status alone.
func (s *session) ask(ctx context.Context, op, path string, f func(*sftp.Client) error) error {
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
	s.refused[ability] = true
	s.facts[noAbility+ability] = transfer.Fact{Value: "refused", Reason: policy.Sanitize(why.Error()), At: time.Now()}
}

// learned is Extras.Facts.
func (s *session) learned() transfer.Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.facts)
}

// Extras is of transfer.Session.
func (s *session) Extras() transfer.Extras {
	x := transfer.Extras{
		Lstat:         s.lstat,
		Facts:         s.learned,
		Parallel:      true,
		Resume:        true,
		NoPutResume:   !s.can("resume", ""),
		Spread:        spread,
		PutVerifies:   !s.cannotVerify.Load(),
		GetCompares:   !s.differs.Load(),
		TimePrecision: time.Second,
		Software:      s.software(),
	}
	if s.can("mtime", "") {
		x.SetModTime = s.setModTime
	}
	if s.can("chmod", "") {
		x.Chmod = s.chmod
	}
	if s.can("posix-rename", "posix-rename@openssh.com") {
		x.Replace = s.posixRename
	}
	if s.can("readlink", "") {
		x.Readlink = s.readlink
	}
	if s.can("symlink", "") {
		x.Symlink = s.symlink
	}
	if s.can("statvfs", "statvfs@openssh.com") {
		x.Space = s.space
	}
	if s.can("realpath", "") {
		x.Realpath = s.realpath
	}
	if s.canHash() {
		x.Hash = s.hash
	}
	if s.o.Probe != ProbeOff {
		x.Diagnose = s.diagnose
	}
	return x
}

// can says whether the server offers the extension, if one is needed, and has
// not refused the request.
func (s *session) can(op, extension string) bool {
	if extension != "" {
		if _, ok := s.control.paths.HasExtension(extension); !ok {
			return false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.refused[op]
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
