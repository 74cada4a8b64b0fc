package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// Packet types of draft-ietf-secsh-filexfer-02 §3.
const (
	protocolVersion = 3

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
	fxpStat          = 17
	fxpRename        = 18
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

// Status codes of §7 that this package treats specially.
const (
	fxOK          = 0
	fxEOF         = 1
	fxNoSuchFile  = 2
	fxPermission  = 3
	fxFailure     = 4
	fxBadMessage  = 5
	fxUnsupported = 8
)

// Flags of SSH_FXP_OPEN, §6.3.
const (
	openRead   = 0x01
	openWrite  = 0x02
	openCreate = 0x08
	openTrunc  = 0x10
	openExcl   = 0x20
)

// Flags of ATTRS, §5.
const (
	attrSize     = 0x00000001
	attrOwner    = 0x00000002
	attrMode     = 0x00000004
	attrTime     = 0x00000008
	attrExtended = 0x80000000
)

// request is a packet under construction: length, type, id, then the fields.
type request []byte

// headerLen is the part of a packet before its fields.
const headerLen = 4 + 1 + 4

func newRequest(kind byte) request {
	return append(make(request, 0, 128), 0, 0, 0, 0, kind, 0, 0, 0, 0)
}

func (r request) uint32(n uint32) request { return binary.BigEndian.AppendUint32(r, n) }
func (r request) uint64(n uint64) request { return binary.BigEndian.AppendUint64(r, n) }
func (r request) string(s string) request { return append(r.uint32(uint32(len(s))), s...) }

// errMalformed: a packet that is not what the draft says.
var errMalformed = errors.New("malformed packet")

// fields reads the fields of a packet. After the first that is missing all
// others are zero, and err is set.
type fields struct {
	b   []byte
	err error
}

func (f *fields) take(n int) []byte {
	if f.err != nil || n < 0 || len(f.b) < n {
		f.b, f.err = nil, errMalformed
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

func (f *fields) string() string { return string(f.take(int(int32(f.uint32())))) }

// attrs is what a server tells about a file; flags says which fields it sent.
type attrs struct {
	flags       uint32
	size        uint64
	uid, gid    uint32
	mode        uint32
	atime, time uint32
}

func (f *fields) attrs() attrs {
	a := attrs{flags: f.uint32()}
	if a.flags&attrSize != 0 {
		a.size = f.uint64()
	}
	if a.flags&attrOwner != 0 {
		a.uid, a.gid = f.uint32(), f.uint32()
	}
	if a.flags&attrMode != 0 {
		a.mode = f.uint32()
	}
	if a.flags&attrTime != 0 {
		a.atime, a.time = f.uint32(), f.uint32()
	}
	if a.flags&attrExtended != 0 {
		for n := f.uint32(); n > 0 && f.err == nil; n-- {
			f.string()
			f.string()
		}
	}
	return a
}

// fits says whether ATTRS can hold the time, in seconds. The zero time does not fit.
func fits(t time.Time) bool { return t.Unix() == int64(uint32(t.Unix())) }

// info makes the attributes those of a file called name. longname is the line
// of "ls -l" that comes with a listing (§7, SSH_FXP_NAME), else "".
func (a attrs) info(name, longname string) transfer.Info {
	info := transfer.Info{Name: name, Size: -1}
	if a.flags&attrSize != 0 && a.size < 1<<63 {
		info.Size = int64(a.size)
	}
	if a.flags&attrTime != 0 {
		info.ModTime, info.Precision = time.Unix(int64(a.time), 0), time.Second
	}
	var line [9]string // "drwxr-xr-x 2 acme users 4096 Nov 22 12:00 in"
	n := 0
	for field := range strings.FieldsSeq(longname) {
		line[n] = field
		if n++; n == len(line) {
			break
		}
	}
	isLine := n == len(line) && len(line[0]) >= 10
	switch {
	case isLine:
		info.Owner, info.Group = line[2], line[3]
	case a.flags&attrOwner != 0:
		info.Owner, info.Group = strconv.FormatUint(uint64(a.uid), 10), strconv.FormatUint(uint64(a.gid), 10)
	}
	switch {
	case a.flags&attrMode != 0:
		info.Mode, info.HasPerm = fileMode(a.mode), true
	case isLine && line[0][0] == 'd':
		info.Mode = fs.ModeDir
	case isLine && line[0][0] == 'l':
		info.Mode = fs.ModeSymlink
	}
	return info
}

// fileMode translates st_mode, whose values the draft takes from POSIX.
func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o140000:
		mode |= fs.ModeSocket
	case 0o060000:
		mode |= fs.ModeDevice
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	for _, special := range [...]struct {
		bit  uint32
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if m&special.bit != 0 {
			mode |= special.mode
		}
	}
	return mode
}

// status is the answer SSH_FXP_STATUS other than OK.
type status struct {
	code uint32
	text string
}

func (s *status) Error() string { return fmt.Sprintf("status %d %s", s.code, s.text) }

// is says whether err is the answer of the server with this code.
func is(err error, code uint32) bool {
	s, ok := errors.AsType[*status](err)
	return ok && s.code == code
}
