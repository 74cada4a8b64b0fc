package lab

import (
	"encoding/binary"
	"io/fs"
	"time"
)

// Packet types of draft-ietf-secsh-filexfer-02 §3.
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpOpen          = 3
	fxpClose         = 4
	fxpRead          = 5
	fxpWrite         = 6
	fxpLstat         = 7
	fxpFstat         = 8
	fxpSetstat       = 9
	fxpFsetstat      = 10
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpRemove        = 13
	fxpMkdir         = 14
	fxpRmdir         = 15
	fxpRealpath      = 16
	fxpStat          = 17
	fxpRename        = 18
	fxpReadlink      = 19
	fxpSymlink       = 20
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

var packetNames = map[byte]string{
	fxpInit: "INIT", fxpOpen: "OPEN", fxpClose: "CLOSE", fxpRead: "READ", fxpWrite: "WRITE",
	fxpLstat: "LSTAT", fxpFstat: "FSTAT", fxpSetstat: "SETSTAT", fxpFsetstat: "FSETSTAT",
	fxpOpendir: "OPENDIR", fxpReaddir: "READDIR", fxpRemove: "REMOVE", fxpMkdir: "MKDIR",
	fxpRmdir: "RMDIR", fxpRealpath: "REALPATH", fxpStat: "STAT", fxpRename: "RENAME",
	fxpReadlink: "READLINK", fxpSymlink: "SYMLINK", fxpExtended: "EXTENDED",
}

// Status codes (§7).
const (
	fxOK               = 0
	fxEOF              = 1
	fxNoSuchFile       = 2
	fxPermissionDenied = 3
	fxFailure          = 4
	fxBadMessage       = 5
	fxOpUnsupported    = 8
)

// statusNames are OpenSSH's messages.
var statusNames = map[uint32]string{
	fxOK: "Success", fxEOF: "End of file", fxNoSuchFile: "No such file",
	fxPermissionDenied: "Permission denied", fxFailure: "Failure", fxBadMessage: "Bad message",
	6: "No connection", 7: "Connection lost", fxOpUnsupported: "Operation unsupported",
}

// fields reads a packet's body; bad is set once it is too short.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.bad = true
		return nil
	}
	b := f.b[:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) uint32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (f *fields) bytes() []byte {
	n := f.uint32()
	if n > 1<<30 { // int has 32 bits on some machines
		f.bad = true
		return nil
	}
	return f.take(int(n))
}

func (f *fields) string() string { return string(f.bytes()) }

func appendString[T string | []byte](b []byte, s T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// Attribute flags (§5).
const (
	attrSize   = 1
	attrUIDGID = 2
	attrPerm   = 4
	attrTimes  = 8
)

type attrs struct {
	flags        uint32
	size         uint64
	uid, gid     uint32
	perm         uint32
	atime, mtime uint32
}

func (f *fields) attrs() attrs {
	a := attrs{flags: f.uint32()}
	if a.flags&attrSize != 0 {
		a.size = f.uint64()
	}
	if a.flags&attrUIDGID != 0 {
		a.uid, a.gid = f.uint32(), f.uint32()
	}
	if a.flags&attrPerm != 0 {
		a.perm = f.uint32()
	}
	if a.flags&attrTimes != 0 {
		a.atime, a.mtime = f.uint32(), f.uint32()
	}
	return a // extended ones come last and mean nothing here
}

// appendAttrs describes a file with the bits of stat(2).
func appendAttrs(b []byte, info fs.FileInfo) []byte {
	b = binary.BigEndian.AppendUint32(b, attrSize|attrUIDGID|attrPerm|attrTimes)
	b = binary.BigEndian.AppendUint64(b, uint64(info.Size()))
	b = binary.BigEndian.AppendUint32(b, ownerID)
	b = binary.BigEndian.AppendUint32(b, ownerID)
	b = binary.BigEndian.AppendUint32(b, unixMode(info.Mode()))
	when := uint32(info.ModTime().Unix())
	b = binary.BigEndian.AppendUint32(b, when)
	return binary.BigEndian.AppendUint32(b, when)
}

func unixMode(m fs.FileMode) uint32 {
	kind := uint32(0o100000)
	switch {
	case m.IsDir():
		kind = 0o040000
	case m&fs.ModeSymlink != 0:
		kind = 0o120000
	case m&fs.ModeNamedPipe != 0:
		kind = 0o010000
	case m&fs.ModeSocket != 0:
		kind = 0o140000
	case m&fs.ModeCharDevice != 0:
		kind = 0o020000
	case m&fs.ModeDevice != 0:
		kind = 0o060000
	}
	return kind | uint32(m.Perm())
}

func unixTime(t uint32) time.Time { return time.Unix(int64(t), 0) }
