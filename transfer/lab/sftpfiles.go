package lab

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Flags of OPEN (draft-ietf-secsh-filexfer-02 §6.3).
const (
	fxfRead   = 0x01
	fxfWrite  = 0x02
	fxfAppend = 0x04
	fxfCreat  = 0x08
	fxfTrunc  = 0x10
	fxfExcl   = 0x20
)

// changes are the requests that a read-only server refuses.
var changes = []string{
	"WRITE", "SETSTAT", "FSETSTAT", "REMOVE", "MKDIR", "RMDIR", "RENAME", "SYMLINK",
	"posix-rename@openssh.com", "hardlink@openssh.com", "lsetstat@openssh.com", "fsync@openssh.com",
}

// perform does what the request asks for and leaves the reply in s.out.
func (s *sftpSession) perform() {
	q := &s.req
	quirks := &s.cfg.Quirks
	if code, ok := quirks.Refuse[q.name]; ok {
		s.status(statusError(code))
		return
	}
	if quirks.ReadOnly && slices.Contains(changes, q.name) {
		s.status(fs.ErrPermission)
		return
	}
	if quirks.BadNames != "" && strings.ContainsAny(path.Base(q.path), quirks.BadNames) {
		s.status(syscall.EINVAL)
		return
	}
	switch q.kind {
	case fxpInit:
		s.version()
	case fxpOpen:
		s.open()
	case fxpClose:
		s.close()
	case fxpRead:
		s.read()
	case fxpWrite:
		s.status(s.writeFile())
	case fxpLstat:
		s.attrs(s.tree.lstat(q.path))
	case fxpStat:
		s.attrs(s.tree.stat(q.path))
	case fxpFstat:
		s.fstat()
	case fxpSetstat:
		s.status(s.setstat(q.args.attrs(), nil))
	case fxpFsetstat:
		if q.handle == nil || q.handle.dir {
			s.status(syscall.EBADF)
			return
		}
		s.status(s.setstat(q.args.attrs(), q.handle.f))
	case fxpOpendir:
		s.opendir()
	case fxpReaddir:
		s.readdir()
	case fxpRemove:
		s.status(s.tree.remove(q.path, false))
	case fxpRmdir:
		s.status(s.tree.remove(q.path, true))
	case fxpMkdir:
		s.status(s.tree.mkdir(q.path, 0o755))
	case fxpRealpath:
		s.name(s.show(q.path))
	case fxpRename:
		s.status(s.tree.rename(q.old, q.path, !quirks.ReplaceOnRename))
	case fxpReadlink:
		target, err := s.tree.readlink(q.path)
		if err != nil {
			s.status(err)
			return
		}
		s.name(target)
	case fxpSymlink:
		s.status(s.tree.symlink(q.old, q.path))
	case fxpExtended:
		s.extended()
	default:
		s.status(syscall.ENOSYS)
	}
}

// version answers INIT, which has no id (§4).
func (s *sftpSession) version() {
	s.out = binary.BigEndian.AppendUint32(append(s.out[:0], fxpVersion), 3)
	for _, name := range s.extensions() {
		s.out = appendString(s.out, name)
		s.out = appendString(s.out, extensionVersions[name])
	}
}

func (s *sftpSession) open() {
	q := &s.req
	flags := q.args.uint32()
	mode := q.args.attrs()
	if q.args.bad {
		s.status(statusError(fxBadMessage))
		return
	}
	if err := s.mayOpen(flags); err != nil {
		s.status(err)
		return
	}
	flag := os.O_RDONLY
	switch flags & (fxfRead | fxfWrite) {
	case fxfRead | fxfWrite:
		flag = os.O_RDWR
	case fxfWrite:
		flag = os.O_WRONLY
	}
	for bit, f := range map[uint32]int{fxfCreat: os.O_CREATE, fxfTrunc: os.O_TRUNC, fxfExcl: os.O_EXCL} {
		if flags&bit != 0 {
			flag |= f
		}
	}
	perm := fs.FileMode(0o666)
	if mode.flags&attrPerm != 0 {
		perm = fs.FileMode(mode.perm) & fs.ModePerm
	}
	f, err := s.tree.open(q.path, flag, perm)
	if err != nil {
		s.status(err)
		return
	}
	s.reply(&sftpHandle{path: q.path, f: f, append: flags&fxfAppend != 0, transfer: s.join(q.path)})
}

// mayOpen applies the quirks about opening.
func (s *sftpSession) mayOpen(flags uint32) error {
	quirks := &s.cfg.Quirks
	kinds := map[string]bool{
		"OPEN+APPEND":     flags&fxfAppend != 0,
		"OPEN+READ+WRITE": flags&(fxfRead|fxfWrite) == fxfRead|fxfWrite,
	}
	if _, err := s.tree.stat(s.req.path); err == nil {
		kinds["OPEN+EXISTING"] = flags&fxfWrite != 0 && flags&fxfTrunc == 0
	}
	for kind, is := range kinds {
		if code, ok := quirks.Refuse[kind]; is && ok {
			return statusError(code)
		}
	}
	if quirks.ReadOnly && flags&(fxfWrite|fxfAppend|fxfCreat|fxfTrunc) != 0 {
		return fs.ErrPermission
	}
	return s.handlesLeft()
}

func (s *sftpSession) handlesLeft() error {
	if limit := s.cfg.Quirks.MaxHandles; limit > 0 && len(s.handles) >= limit {
		return syscall.EMFILE
	}
	return nil
}

// reply registers a handle and answers with it.
func (s *sftpSession) reply(h *sftpHandle) {
	s.last++
	h.name = string(binary.BigEndian.AppendUint32(nil, s.last))
	s.handles[h.name] = h
	s.begin(fxpHandle)
	s.out = appendString(s.out, h.name)
}

// join counts a handle in on the file's transfer.
func (f *SFTP) join(p string) *sftpTransfer {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.transfers[p]
	if t == nil {
		t = &sftpTransfer{cut: -1}
		f.transfers[p] = t
	}
	t.handles++
	return t
}

func (f *SFTP) leaveTransfer(p string, t *sftpTransfer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.handles--
	if t.handles == 0 && f.transfers[p] == t {
		delete(f.transfers, p)
	}
}

func (s *sftpSession) closeHandle(h *sftpHandle) error {
	delete(s.handles, h.name)
	if h.transfer != nil {
		s.leaveTransfer(h.path, h.transfer)
	}
	return h.f.Close()
}

func (s *sftpSession) close() {
	h := s.req.handle
	if h == nil {
		s.status(syscall.EBADF)
		return
	}
	if d := s.cfg.Quirks.SlowClose; d > 0 && !sleep(s.ctx, d) {
		s.gone = true
	}
	s.status(s.closeHandle(h))
}

func (s *sftpSession) read() {
	q := &s.req
	switch {
	case q.handle == nil:
		s.status(syscall.EBADF)
		return
	case q.handle.dir:
		s.status(statusError(fxFailure))
		return
	}
	n := q.length
	if cut := q.handle.cut(); cut >= 0 {
		n = min(n, cut-q.off)
	}
	if n <= 0 && q.length > 0 {
		s.status(io.EOF)
		return
	}
	s.begin(fxpData)
	head := len(s.out)
	s.out = slices.Grow(s.out, 4+int(n))[:head+4+int(n)]
	got, err := readAt(q.handle.f, s.out[head+4:], q.off)
	if err != nil {
		s.status(err)
		return
	}
	binary.BigEndian.PutUint32(s.out[head:], uint32(got))
	s.out = s.out[:head+4+got]
}

func (h *sftpHandle) cut() int64 {
	h.transfer.mu.Lock()
	defer h.transfer.mu.Unlock()
	return h.transfer.cut
}

func (s *sftpSession) writeFile() error {
	q := &s.req
	switch {
	case q.handle == nil:
		return syscall.EBADF
	case q.handle.dir || q.args.bad:
		return statusError(fxFailure)
	}
	data, off := q.data, q.off
	if cut := q.handle.cut(); cut >= 0 {
		data = data[:min(int64(len(data)), max(0, cut-off))]
	}
	if q.handle.append {
		info, err := q.handle.f.Stat()
		if err != nil {
			return err
		}
		off = info.Size() // OpenSSH ignores the client's offset then
	}
	if len(data) == 0 {
		return nil
	}
	_, err := s.tree.writeAt(q.handle.f, q.handle.path, data, off)
	return err
}

func (s *sftpSession) attrs(info fs.FileInfo, err error) {
	if err != nil {
		s.status(err)
		return
	}
	s.begin(fxpAttrs)
	s.out = appendAttrs(s.out, info)
}

func (s *sftpSession) fstat() {
	h := s.req.handle
	if h == nil || h.dir {
		s.status(syscall.EBADF)
		return
	}
	s.attrs(h.f.Stat())
}

// setstat changes what is asked for and reports the last failure, as OpenSSH. f
// is set for FSETSTAT.
func (s *sftpSession) setstat(a attrs, f *os.File) error {
	p := s.req.path
	if s.req.args.bad {
		return statusError(fxBadMessage)
	}
	var last error
	note := func(err error) {
		if err != nil {
			last = err
		}
	}
	if a.flags&attrSize != 0 {
		if f != nil {
			note(errors.Join(s.tree.writable(p), f.Truncate(int64(a.size))))
		} else {
			note(s.tree.truncate(p, int64(a.size)))
		}
	}
	if code, refused := s.cfg.Quirks.Refuse["SETSTAT+MODE"]; refused && a.flags&attrPerm != 0 {
		return statusError(code)
	}
	if a.flags&attrPerm != 0 {
		note(s.tree.chmod(p, fs.FileMode(a.perm)&fs.ModePerm))
	}
	if a.flags&attrTimes != 0 {
		note(s.tree.chtimes(p, unixTime(a.atime), unixTime(a.mtime)))
	}
	if a.flags&attrUIDGID != 0 && (a.uid != ownerID || a.gid != ownerID) {
		note(fs.ErrPermission) // everything belongs to one who is not root
	}
	return last
}

func (s *sftpSession) opendir() {
	if err := s.handlesLeft(); err != nil {
		s.status(err)
		return
	}
	p := s.req.path
	info, err := s.tree.stat(p)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		s.status(err)
		return
	}
	f, err := s.tree.open(p, os.O_RDONLY, 0)
	if err != nil {
		s.status(err)
		return
	}
	s.reply(&sftpHandle{path: p, f: f, dir: true})
}

// dirBatch is how many entries one READDIR gives, as in OpenSSH.
const dirBatch = 100

func (s *sftpSession) readdir() {
	h := s.req.handle
	if h == nil || !h.dir {
		s.status(syscall.EBADF)
		return
	}
	var names []string
	infos, err := h.f.Readdir(dirBatch)
	for _, info := range infos {
		names = append(names, info.Name())
	}
	if !h.dots {
		h.dots = true
		for _, dot := range []string{".", ".."} {
			if info, err := s.tree.stat(absolute(h.path, dot)); err == nil {
				infos, names = append(infos, info), append(names, dot)
			}
		}
	}
	if len(infos) == 0 {
		s.status(err)
		return
	}
	s.begin(fxpName)
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(len(infos)))
	now := time.Now()
	for i, info := range infos {
		s.out = appendString(s.out, names[i])
		s.out = appendString(s.out, longName(info, names[i], now))
		s.out = appendAttrs(s.out, info)
	}
}

// name answers with one name and no attributes.
func (s *sftpSession) name(name string) {
	s.begin(fxpName)
	s.out = binary.BigEndian.AppendUint32(s.out, 1)
	s.out = appendString(s.out, name)
	s.out = appendString(s.out, name)
	s.out = binary.BigEndian.AppendUint32(s.out, 0)
}
