package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// diagnose finds what is behind a code that says little: OpenSSH answers 4
// (SSH_FX_FAILURE) for more than a dozen causes, 5 for bad names, and 2 or 3
// where it matters whether the file is meant or its directory.
//
// It looks in up to three waves. The first has no side effects and takes one
// round trip; the second reads directories; the third writes a file of one byte
// and removes it, if Options.Probe allows it.
func (s *session) diagnose(ctx context.Context, f *policy.Fault, need int64) policy.Verdict {
	if f.Protocol != policy.SFTP || f.Code < fxNoSuchFile || f.Code > fxBadMessage {
		v := policy.Classify(f)
		v.Remedy = policy.GiveUp
		return v
	}
	d := &diagnosis{s: s, ctx: ctx, fault: f, need: need, path: f.Path}
	if pair, ok := errors.AsType[*os.LinkError](f.Err); ok {
		d.from, d.path = pair.Old, pair.New
	}
	d.look()
	found := d.conclude()
	g := *f
	g.Path = cmp.Or(found.path, d.path)
	return policy.Found(&g, string(found.cause), found.evidence)
}

// finding is what a diagnosis comes to.
type finding struct {
	cause    policy.Cause
	evidence string
	path     string // what it is about, if not the fault's path
}

// diagnosis is what is known about one fault.
type diagnosis struct {
	s     *session
	ctx   context.Context // of the one call that this value serves
	fault *policy.Fault
	need  int64  // bytes that were to be written
	path  string // the target
	from  string // the source of a rename, "" for other requests

	target, followed, dir, source seen
	space, sourceSpace            *transfer.Space // nil unknown
}

// seen is what a look at a path brought.
type seen struct {
	info transfer.Info
	err  error
}

func (v seen) exists() bool  { return v.err == nil }
func (v seen) missing() bool { return transfer.IsMissing(v.err) }
func (v seen) isDir() bool   { return v.exists() && v.info.IsDir() }

// code is what the server answered, 0 for success or no answer.
func code(err error) int {
	if f, ok := errors.AsType[*policy.Fault](err); ok {
		return f.Code
	}
	return 0
}

// look is the first wave.
func (d *diagnosis) look() {
	var wave sync.WaitGroup
	at := func(v *seen, path string, f func(context.Context, string) (transfer.Info, error)) {
		wave.Go(func() { v.info, v.err = f(d.ctx, path) })
	}
	free := func(v **transfer.Space, path string) {
		wave.Go(func() {
			if space, err := d.s.space(d.ctx, path); err == nil {
				*v = &space
			}
		})
	}
	at(&d.target, d.path, d.s.lstat)
	at(&d.followed, d.path, d.s.Stat)
	at(&d.dir, d.parent(), d.s.Stat)
	canStatVFS := d.s.can("statvfs", "statvfs@openssh.com")
	if canStatVFS {
		free(&d.space, d.parent())
	}
	if d.from != "" {
		at(&d.source, d.from, d.s.lstat)
		if dir, _ := transfer.Split(d.from); canStatVFS {
			free(&d.sourceSpace, dir)
		}
	}
	wave.Wait()
}

func (d *diagnosis) parent() string {
	dir, _ := transfer.Split(d.path)
	return dir
}

// conclude goes from what is certain to what is left.
func (d *diagnosis) conclude() finding {
	for _, question := range []func() *finding{d.name, d.place, d.permission, d.kind, d.fileSystem, d.closerLook} {
		if found := question(); found != nil {
			return *found
		}
	}
	return d.rest()
}

// Lengths that hold nearly everywhere, for servers that don't tell theirs.
const (
	commonNameMax = 255
	commonPathMax = 4095
)

// name asks whether the name can't be had there at all.
func (d *diagnosis) name() *finding {
	_, name := transfer.Split(d.path)
	limit, says := commonNameMax, "nearly every file system"
	if d.space != nil && d.space.NameMax > 0 {
		limit, says = d.space.NameMax, "the file system"
	}
	switch {
	case d.fault.Code != fxFailure && d.fault.Code != fxBadMessage:
	case len(name) > limit:
		return found(policy.CauseRemoteNameTooLong, "the name has %d bytes, %s allows %d", len(name), says, limit)
	case len(d.path) > commonPathMax:
		return found(policy.CauseRemoteNameTooLong, "the path has %d bytes, systems allow %d", len(d.path), commonPathMax)
	case d.from != "" && strings.HasPrefix(d.path, strings.TrimRight(d.from, "/")+"/"):
		return found(policy.CauseRemoteName, "%s lies inside %s itself", d.path, d.from)
	case d.fault.Op == "readlink" && d.target.exists():
		return found(policy.CauseRemoteName, "%s is a %s, not a symbolic link", d.path, kindOf(d.target.info))
	case d.fault.Code == fxBadMessage && !d.target.exists() && d.dir.isDir():
		return found(policy.CauseRemoteName, "the directory is there; the server does not take the name %q", name)
	}
	return nil
}

// place asks whether something on the way there is missing or is no directory.
func (d *diagnosis) place() *finding {
	switch {
	case d.from != "" && d.source.missing():
		return &finding{policy.CauseRemoteMissing, d.from + " does not exist", d.from}
	case d.dir.missing():
		return &finding{policy.CauseRemoteParentMissing, d.parent() + " does not exist", ""}
	case d.dir.exists() && !d.dir.isDir():
		return &finding{policy.CauseRemoteNotDirectory, fmt.Sprintf("%s is a %s", d.parent(), kindOf(d.dir.info)), d.parent()}
	case d.target.exists() && d.followed.missing():
		to, err := d.s.readlink(d.ctx, d.path)
		if err != nil {
			to = "something"
		}
		return found(policy.CauseRemoteLoop, "%s is a symbolic link to %s, which leads nowhere", d.path, policy.Sanitize(to))
	case d.fault.Code == fxFailure && code(d.target.err) == fxFailure && d.target.missing() && d.needsTarget():
		return found(policy.CauseRemoteMissing, "its directory does not list it") // this server says 4 to everything
	case d.fault.Code != fxNoSuchFile:
	case (d.fault.Op == "rmdir" || d.fault.Op == "opendir") && d.followed.exists() && !d.followed.isDir():
		return found(policy.CauseRemoteNotDirectory, "%s is a %s", d.path, kindOf(d.followed.info))
	case d.fault.Op == "posix-rename" && d.source.isDir() && d.target.exists() && !d.target.isDir():
		return found(policy.CauseRemoteNotDirectory, "%s is a directory, %s is a %s", d.from, d.path, kindOf(d.target.info))
	default:
		return found(policy.CauseRemoteMissing, "%s does not exist, its directory does", d.path)
	}
	return nil
}

// permission is about code 3.
func (d *diagnosis) permission() *finding {
	if d.fault.Op == "rmdir" && d.target.isDir() && d.isMountPoint() {
		return found(policy.CauseRemoteBusy, "%s is a mount point", d.path) // 4 for root, 3 for others
	}
	if d.fault.Code != fxPermission {
		return nil
	}
	posixRename, fsync := d.s.control.tap.offers("posix-rename@openssh.com"), d.s.control.tap.offers("fsync@openssh.com")
	writes := d.writes()
	switch {
	case writes && d.space != nil && !posixRename && !fsync:
		return found(policy.CauseRemoteReadOnly, "the server offers none of its requests that change something: it runs read-only (sftp-server -R)")
	case writes && d.space != nil && d.space.ReadOnly:
		return found(policy.CauseRemoteReadOnly, "the file system of %s is mounted read-only", d.parent())
	case code(d.dir.err) == fxPermission:
		return &finding{policy.CauseRemotePermission, "not even " + d.parent() + " may be looked at", d.parent()}
	}
	decides, path := d.dir, d.parent()
	inPlace := d.fault.Op == "open" || d.fault.Op == "write" || d.fault.Op == "setstat" || d.fault.Op == "opendir"
	if inPlace && d.followed.exists() {
		decides, path = d.followed, d.path
	}
	if !decides.exists() || !decides.info.HasPerm {
		return found(policy.CauseRemotePermission, "")
	}
	info := decides.info
	what := fmt.Sprintf("%s is %v, owner %s, group %s", path, info.Mode, policy.Sanitize(info.Owner), policy.Sanitize(info.Group))
	openToAll := info.Mode.Perm()&0o002 != 0 && info.Mode&os.ModeSticky == 0
	if writes && openToAll && d.fault.Op != "setstat" {
		return found(policy.CauseRemotePolicy, "%s: everybody may write there, so it is the server that forbids it", what)
	}
	return found(policy.CauseRemotePermission, "%s", what)
}

// needsTarget says whether the request is about a file that has to be there.
func (d *diagnosis) needsTarget() bool {
	switch d.fault.Op {
	case "open":
		return d.need == 0
	case "remove", "rmdir", "setstat", "opendir", "readlink":
		return true
	}
	return false
}

// writes says whether the request changes something.
func (d *diagnosis) writes() bool {
	switch d.fault.Op {
	case "opendir", "readdir", "read", "stat", "lstat", "fstat", "readlink", "realpath", "statvfs":
		return false
	}
	return d.fault.Op != "open" || d.need > 0
}

func (d *diagnosis) isMountPoint() bool {
	if d.space == nil {
		return false
	}
	own, err := d.s.space(d.ctx, d.path)
	return err == nil && own.FSID != d.space.FSID
}

// kind asks whether what is there already is in the way.
func (d *diagnosis) kind() *finding {
	there := func(c policy.Cause) *finding {
		return found(c, "%s exists and is a %s", d.path, kindOf(d.target.info))
	}
	switch op := d.fault.Op; {
	case (op == "opendir" || op == "readdir" || op == "rmdir") && d.followed.exists() && !d.followed.isDir():
		return there(policy.CauseRemoteNotDirectory)
	case !d.target.exists():
	case op == "mkdir" || op == "rename" || op == "symlink" || op == "link":
		return there(policy.CauseRemoteExists)
	case op == "posix-rename" && d.target.isDir() && !d.source.isDir():
		return there(policy.CauseRemoteDirectory)
	case (op == "open" || op == "write" || op == "read" || op == "remove") && d.followed.isDir():
		return there(policy.CauseRemoteDirectory)
	}
	return nil
}

// oneBlock is the least that a file system gives to a file, in bytes.
const oneBlock = 4096

// fileSystem asks what statvfs says.
func (d *diagnosis) fileSystem() *finding {
	if d.space == nil || !d.writes() {
		return nil
	}
	left := d.need
	if d.target.exists() && d.fault.Op != "open" {
		left -= max(d.target.info.Size, 0)
	}
	switch creates := d.fault.Op == "mkdir" || d.fault.Op == "symlink" || d.fault.Op == "open" && d.target.missing(); {
	case d.space.ReadOnly:
		return found(policy.CauseRemoteReadOnly, "the file system of %s is mounted read-only", d.parent())
	case d.sourceSpace != nil && d.sourceSpace.ReadOnly:
		return &finding{policy.CauseRemoteReadOnly, "the file system of " + d.from + " is mounted read-only", d.from}
	case d.sourceSpace != nil && d.sourceSpace.FSID != d.space.FSID:
		return found(policy.CauseRemoteCrossDevice, "%s and %s are on different file systems (%x and %x)", d.from, d.path, d.sourceSpace.FSID, d.space.FSID)
	case d.fault.Op == "rmdir" || d.fault.Op == "remove":
		return nil
	case creates && d.space.FreeFiles == 0:
		return found(policy.CauseRemoteInodes, "no inodes, but %s", d.free())
	case d.space.Free < max(left, oneBlock):
		return found(policy.CauseRemoteSpace, "%s%s", d.free(), d.needs())
	}
	return nil
}

// free says what the file system has: "0 B of 1.0 GiB free on /in".
func (d *diagnosis) free() string {
	if d.space.Total <= 0 {
		return fmt.Sprintf("%s free on %s", amount(d.space.Free), d.parent())
	}
	return fmt.Sprintf("%s of %s free on %s", amount(d.space.Free), amount(d.space.Total), d.parent())
}

func (d *diagnosis) needs() string {
	if d.need <= 0 {
		return ""
	}
	return "; the file needs " + amount(d.need)
}

// closerLook is the second wave: it opens and reads directories.
func (d *diagnosis) closerLook() *finding {
	if (d.fault.Op == "rmdir" || d.fault.Op == "posix-rename") && d.target.isDir() {
		if n := d.countEntries(); n != "" {
			return found(policy.CauseRemoteNotEmpty, "%s holds %s", d.path, n)
		}
	}
	dir := d.parent()
	if d.fault.Op == "opendir" {
		dir = d.path
	}
	err := d.s.List(d.ctx, dir, func(transfer.Info) error { return errEnough })
	if code(err) == fxFailure {
		return found(policy.CauseRemoteHandles, "%s is there, but the server can't open it either: it has no file handles left", dir)
	}
	return nil
}

// errEnough ends a listing that has told what was asked.
var errEnough = errors.New("enough")

// countEntries counts a directory's entries, "" for none.
func (d *diagnosis) countEntries() string {
	n := 0
	err := d.s.List(d.ctx, d.path, func(transfer.Info) error {
		if n++; n > 100 {
			return errEnough
		}
		return nil
	})
	switch {
	case n == 0:
		return ""
	case err == errEnough:
		return "more than 100 entries"
	case n == 1:
		return "1 entry"
	default:
		return fmt.Sprintf("%d entries", n)
	}
}

// rest is what can't be seen from outside. The third wave may tell; without it
// the verdict says what is only likely.
func (d *diagnosis) rest() finding {
	room := "the server does not tell how much space is free, nor whether the file system is read-only"
	if d.space != nil {
		room = d.free()
	}
	tried, probed := d.probe()
	if probed && tried.cause != "" {
		return finding{cause: tried.cause, evidence: room + "; " + tried.evidence}
	}
	likely := func(c policy.Cause, why string) finding {
		if tried.evidence != "" {
			why += " (" + tried.evidence + ")"
		}
		return finding{cause: c, evidence: room + "; " + why}
	}
	executable := d.target.exists() && d.target.info.HasPerm && d.target.info.Mode.Perm()&0o111 != 0
	switch op := d.fault.Op; {
	case d.fault.Code == fxBadMessage:
		return likely(policy.CauseRemoteName, "the server calls the request malformed, which OpenSSH does for arguments that the system refuses")
	case op == "open" && executable && d.space != nil:
		return likely(policy.CauseRemoteBusy, "the file is executable, so most likely it is being executed")
	case op == "open" && d.need == 0 && !d.target.missing():
		return likely(policy.CauseRemoteUnknown, "the file exists and nothing is in the way that can be seen")
	case op == "rename" || op == "posix-rename" || op == "link":
		if d.space == nil {
			return likely(policy.CauseRemoteUnknown, "it may be another file system, a read-only or a full one")
		}
		return likely(policy.CauseRemoteCrossDevice, "both ends report the same file system, so most likely one is a bind mount")
	case d.space != nil && (op == "open" || op == "write" || op == "close" || op == "fsync" || op == "mkdir" || op == "symlink"):
		return likely(policy.CauseRemoteQuota, "so most likely a quota is used up"+strings.Replace(d.needs(), ";", ",", 1))
	case op == "open" || op == "write" || op == "close" || op == "fsync" || op == "mkdir" || op == "symlink":
		return likely(policy.CauseRemoteSpaceOrQuota, "the disk may be full, a quota used up, or the file system read-only")
	default:
		return likely(policy.CauseRemoteUnknown, "nothing is in the way that can be seen")
	}
}

func found(c policy.Cause, evidence string, args ...any) *finding {
	return &finding{cause: c, evidence: fmt.Sprintf(evidence, args...)}
}

func kindOf(i transfer.Info) string {
	switch mode := i.Mode; {
	case mode.IsDir():
		return "directory"
	case mode&os.ModeSymlink != 0:
		return "symbolic link"
	case mode.IsRegular():
		return "file"
	default:
		return "special file"
	}
}

// amount writes bytes for a person: "734 MiB", "1.0 GiB".
func amount(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1023.95 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %ciB", value, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", value, units[unit])
}
