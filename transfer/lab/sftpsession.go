package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// sftpSession is one channel with the sftp subsystem. It answers one packet
// after the other, as OpenSSH's sftp-server does, with one buffer for requests
// and one for replies.
type sftpSession struct {
	*sshConn
	ch      ssh.Channel
	handles map[string]*sftpHandle
	last    uint32
	in, out []byte
	gone    bool

	req   request
	event *Event
}

// request is the packet in hand.
type request struct {
	kind   byte
	name   string // of the type or the extension
	id     uint32
	path   string // what Rule.Path looks at
	shown  string // what the Log shows
	old    string // RENAME
	handle *sftpHandle
	off    int64  // READ and WRITE
	length int64  // READ and WRITE
	data   []byte // WRITE
	args   fields // what follows
}

// sftpHandle is an open file, or a directory being read.
type sftpHandle struct {
	name     string
	path     string
	f        *os.File
	dir      bool
	dots     bool // "." and ".." were listed
	append   bool
	transfer *sftpTransfer
}

// sftpTransfer is what all handles that are open on one file share: for the
// rules with During it is one transfer.
type sftpTransfer struct {
	mu       sync.Mutex
	handles  int
	progress progress
	rate     int64
	cut      int64 // Truncate: nothing from this offset on; -1 is not set
}

func newSFTPSession(c *sshConn, ch ssh.Channel) *sftpSession {
	return &sftpSession{sshConn: c, ch: ch, handles: make(map[string]*sftpHandle)}
}

// serve answers packets until the channel ends.
func (s *sftpSession) serve() {
	defer func() {
		for _, h := range s.handles {
			_ = s.closeHandle(h) // there is nobody to tell
		}
	}()
	r := bufio.NewReaderSize(s.ch, 64<<10)
	for !s.gone {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n < 1 || n > s.cfg.Quirks.MaxPacket {
			return // OpenSSH's sftp-server exits
		}
		if int(n) > cap(s.in) {
			s.in = make([]byte, n)
		}
		s.in = s.in[:n]
		if _, err := io.ReadFull(r, s.in); err != nil {
			return
		}
		s.answer(s.in)
	}
}

// answer obeys one packet, or the script.
func (s *sftpSession) answer(packet []byte) {
	s.parse(packet)
	q := &s.req
	s.event = s.record.add(Event{Conn: s.id, Verb: q.name, Arg: q.shown, Offset: q.off, Bytes: q.length})
	s.out = s.out[:0]

	e := s.script.carryOut(s.script.occur(q.name, q.path, Before), s)
	if !e.taken && (q.kind == fxpRead || q.kind == fxpWrite) && q.handle != nil && !q.handle.dir {
		e.add(s.progress(q.length))
	}
	if e.dropped || e.ended {
		s.gone = true
	}
	if e.taken {
		return
	}
	if !e.partial {
		s.perform()
	}
	final := s.script.carryOut(s.script.occur(q.name, q.path, Finally), s)
	if final.dropped || final.ended {
		s.gone = true
	}
	if !final.taken {
		s.send()
	}
}

// parse takes the packet apart as far as the script and the log need it.
func (s *sftpSession) parse(packet []byte) {
	s.req = request{kind: packet[0], args: fields{b: packet[1:]}}
	q := &s.req
	q.name = packetNames[q.kind]
	if q.kind != fxpInit {
		q.id = q.args.uint32()
	}
	if q.kind == fxpExtended {
		q.name = q.args.string()
	}
	switch q.name {
	case "CLOSE", "READ", "WRITE", "FSTAT", "FSETSTAT", "READDIR",
		"fstatvfs@openssh.com", "fsync@openssh.com", "check-file-handle", "md5-hash-handle":
		if q.handle = s.handles[q.args.string()]; q.handle != nil {
			q.path, q.shown = q.handle.path, q.handle.path
		}
	case "OPEN", "LSTAT", "SETSTAT", "OPENDIR", "REMOVE", "MKDIR", "RMDIR", "REALPATH", "STAT", "READLINK",
		"statvfs@openssh.com", "lsetstat@openssh.com", "check-file-name", "md5-hash":
		q.path = s.clean(q.args.string())
		q.shown = q.path
	case "RENAME", "posix-rename@openssh.com", "hardlink@openssh.com":
		q.old, q.path = s.clean(q.args.string()), s.clean(q.args.string())
		q.shown = q.old + " " + q.path
	case "SYMLINK": // OpenSSH has the two the other way round than the draft
		q.old, q.path = q.args.string(), s.clean(q.args.string())
		q.shown = q.old + " " + q.path
	}
	switch q.kind {
	case fxpRead:
		q.off, q.length = int64(q.args.uint64()), int64(min(q.args.uint32(), s.cfg.Quirks.MaxRead))
	case fxpWrite:
		q.off, q.data = int64(q.args.uint64()), q.args.bytes()
		q.length = int64(len(q.data))
	}
}

// progress carries out the rules with During.
func (s *sftpSession) progress(n int64) effect {
	q := &s.req
	t := q.handle.transfer
	t.mu.Lock()
	due, _ := s.script.advance(q.name, q.path, &t.progress, t.progress.moved+n)
	t.progress.moved += n
	t.mu.Unlock()

	e := s.script.carryOut(due, s)

	t.mu.Lock()
	defer t.mu.Unlock()
	if e.taken {
		t.progress.moved -= n
		return e
	}
	if e.truncate {
		t.cut = e.cut
	}
	if e.corrupt && len(q.data) > 0 {
		q.data[0] ^= 0xff
	}
	if e.rate > 0 {
		t.rate = e.rate
	}
	if t.rate > 0 && !sleep(s.ctx, time.Duration(n)*time.Second/time.Duration(t.rate)) {
		e.taken, e.ended = true, true
	}
	return e
}

// send puts the reply in s.out on the wire.
func (s *sftpSession) send() {
	if len(s.out) == 0 {
		return
	}
	code := fxOK
	if s.out[0] == fxpStatus {
		code = int(binary.BigEndian.Uint32(s.out[5:]))
	}
	s.record.note(s.event, func(e *Event) { e.Codes = append(e.Codes, code) })
	s.write(s.out)
}

func (s *sftpSession) write(packet []byte) {
	// One Write per packet: the SSH channel sends each on its own.
	framed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(packet)), uint32(len(packet)))
	if _, err := s.ch.Write(append(framed, packet...)); err != nil {
		s.gone = true
	}
}

// begin starts a reply of the type to the request in hand.
func (s *sftpSession) begin(kind byte) {
	s.out = binary.BigEndian.AppendUint32(append(s.out[:0], kind), s.req.id)
}

// status replies with a status packet, for nil with OK.
func (s *sftpSession) status(err error) {
	code := statusOf(err)
	text := statusNames[code]
	if s.cfg.Quirks.ErrnoText && err != nil {
		text = rootCause(err).Error()
	}
	if other, ok := s.cfg.Quirks.Codes[code]; ok {
		code = other
		if !s.cfg.Quirks.ErrnoText {
			text = statusNames[code]
		}
	}
	s.statusCode(code, text)
}

func (s *sftpSession) statusCode(code uint32, text string) {
	s.begin(fxpStatus)
	s.out = binary.BigEndian.AppendUint32(s.out, code)
	s.out = appendString(s.out, text)
	s.out = appendString(s.out, "") // language
}

// statusOf is OpenSSH's errno_to_portable.
func statusOf(err error) uint32 {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	if code, ok := errors.AsType[statusError](err); ok {
		return uint32(code)
	}
	switch {
	case err == nil:
		return fxOK
	case is(io.EOF):
		return fxEOF
	case is(fs.ErrNotExist, syscall.ENOTDIR, syscall.EBADF, syscall.ELOOP):
		return fxNoSuchFile
	case is(fs.ErrPermission):
		return fxPermissionDenied
	case is(syscall.ENAMETOOLONG, syscall.EINVAL):
		return fxBadMessage
	case is(syscall.ENOSYS):
		return fxOpUnsupported
	}
	return fxFailure
}

// statusError is a code that no errno stands for.
type statusError uint32

func (e statusError) Error() string { return statusNames[uint32(e)] }

func (s *sftpSession) context() context.Context { return s.ctx }

func (s *sftpSession) sendReply(code int, text string) {
	s.record.note(s.event, func(e *Event) { e.Codes, e.Text = append(e.Codes, code), text })
	s.statusCode(uint32(code), text)
	s.write(s.out)
}

func (s *sftpSession) sendRaw(bytes string) {
	_, _ = io.WriteString(s.ch, bytes) // a dead channel is noticed at the next read
}

// dropData ends the channel as when sftp-server is killed.
func (s *sftpSession) dropData(End) {
	_, _ = s.ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
		Signal     string
		Core       bool
		Text, Lang string
	}{"KILL", false, "", ""}))
	_ = s.ch.Close() // the client may have closed it
	s.gone = true
}

// await means nothing in SFTP, where requests have no turn.
func (s *sftpSession) await(string) bool { return true }

// partial does the first n bytes of a READ or WRITE; its reply waits in s.out.
func (s *sftpSession) partial(n int64) {
	q := &s.req
	q.length = min(q.length, n)
	if q.kind == fxpWrite {
		q.data = q.data[:q.length]
	}
	s.record.note(s.event, func(e *Event) { e.Bytes = q.length })
	s.perform()
}

func (s *sftpSession) take(dir string) { s.tree.take(s.req.path, dir) }

// clean makes a client's path absolute.
func (s *sftpSession) clean(p string) string {
	if drive := s.cfg.Quirks.Drive; drive != "" {
		p = strings.ReplaceAll(p, `\`, "/")
		bare := strings.TrimPrefix(p, "/")
		if len(bare) >= len(drive) && strings.EqualFold(bare[:len(drive)], drive) {
			p = "/" + bare[len(drive):]
		}
	}
	return absolute(s.cfg.Home, p)
}

// show is a path as this server would print it.
func (s *sftpSession) show(p string) string {
	if drive := s.cfg.Quirks.Drive; drive != "" {
		return "/" + drive + p
	}
	return p
}
