package lab

import (
	"crypto/md5"
	"encoding/binary"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
)

// extensionVersions are what VERSION says behind each name.
var extensionVersions = map[string]string{
	"posix-rename@openssh.com": "1", "statvfs@openssh.com": "2", "fstatvfs@openssh.com": "2",
	"hardlink@openssh.com": "1", "fsync@openssh.com": "1", "lsetstat@openssh.com": "1",
	"limits@openssh.com": "1",
}

// announcedAs is the name in VERSION of a request that has another one.
var announcedAs = map[string]string{
	"check-file-name": "check-file", "check-file-handle": "check-file", "md5-hash-handle": "md5-hash",
}

// extensions are those announced.
func (s *sftpSession) extensions() []string {
	if !s.cfg.Quirks.ReadOnly {
		return s.cfg.Quirks.Extensions
	}
	return slices.DeleteFunc(slices.Clone(s.cfg.Quirks.Extensions), func(name string) bool {
		return slices.Contains(changes, name)
	})
}

func (s *sftpSession) extended() {
	q := &s.req
	announced := q.name
	if other, ok := announcedAs[q.name]; ok {
		announced = other
	}
	if !slices.Contains(s.extensions(), announced) {
		s.status(syscall.ENOSYS)
		return
	}
	switch q.name {
	case "posix-rename@openssh.com":
		s.status(s.tree.rename(q.old, q.path, false))
	case "hardlink@openssh.com":
		s.status(s.tree.link(q.old, q.path))
	case "statvfs@openssh.com":
		s.statvfs()
	case "fstatvfs@openssh.com":
		if q.handle == nil {
			s.status(syscall.EBADF)
			return
		}
		s.statvfs()
	case "fsync@openssh.com":
		if q.handle == nil || q.handle.dir {
			s.status(syscall.EBADF)
			return
		}
		s.status(q.handle.f.Sync())
	case "lsetstat@openssh.com":
		s.status(s.lsetstat())
	case "limits@openssh.com":
		s.limits()
	case "check-file-name", "check-file-handle":
		s.checkFile()
	case "md5-hash", "md5-hash-handle":
		s.md5Hash()
	default:
		s.status(syscall.ENOSYS)
	}
}

// statvfs answers with the figures of the volume (OpenSSH's PROTOCOL §4.4).
func (s *sftpSession) statvfs() {
	const block = 1024 // bytes; small, so that a small volume shows its size
	if _, err := s.tree.lstat(s.req.path); err != nil {
		s.status(err)
		return
	}
	v, total, free, id := s.tree.space(s.req.path)
	files, freeFiles := uint64(1<<20), uint64(1<<20)
	if v.NoInodes {
		freeFiles = 0
	}
	if v.NoFileCount {
		files, freeFiles = 0, 0
	}
	var flag uint64
	if v.ReadOnly || s.cfg.Quirks.ReadOnly {
		flag = 1 // SSH_FXE_STATVFS_ST_RDONLY
	}
	s.begin(fxpExtendedReply)
	for _, n := range []uint64{
		block, block,
		uint64(total+v.Reserved) / block, uint64(free+v.Reserved) / block, uint64(free) / block,
		files, freeFiles, freeFiles,
		uint64(id), flag, nameMax,
	} {
		s.out = binary.BigEndian.AppendUint64(s.out, n)
	}
}

// nameMax is the longest name of most file systems, in bytes.
const nameMax = 255

// lsetstat is setstat that does not follow a symbolic link; a link itself can't
// be changed here, as there is no portable way.
func (s *sftpSession) lsetstat() error {
	info, err := s.tree.lstat(s.req.path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return syscall.ENOSYS
	}
	return s.setstat(s.req.args.attrs(), nil)
}

// limits is OpenSSH's PROTOCOL §4.8.
func (s *sftpSession) limits() {
	q := &s.cfg.Quirks
	s.begin(fxpExtendedReply)
	for _, n := range []uint64{uint64(q.MaxPacket), uint64(q.MaxRead), uint64(q.MaxWrite), uint64(q.MaxHandles)} {
		s.out = binary.BigEndian.AppendUint64(s.out, n)
	}
}

// checkFile is draft-ietf-secsh-filexfer-extensions-00 §3, with the reply as
// the draft and proftpd have it; paramiko and Apache MINA put "check-file" in
// front.
func (s *sftpSession) checkFile() {
	q := &s.req
	wanted := q.args.string()
	start, length, block := int64(q.args.uint64()), int64(q.args.uint64()), int64(q.args.uint32())
	names := map[string]string{"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}
	for name := range strings.SplitSeq(wanted, ",") {
		algorithm, ok := names[name]
		if !ok {
			continue
		}
		sums, err := s.blockSums(algorithm, start, length, block)
		if err != nil {
			s.status(err)
			return
		}
		s.begin(fxpExtendedReply)
		s.out = appendString(s.out, name)
		s.out = append(s.out, sums...)
		return
	}
	s.status(syscall.EINVAL)
}

// blockSums are the digests one after the other; block 0 is all in one, and the
// smallest otherwise is 256 (§3).
func (s *sftpSession) blockSums(algorithm string, start, length, block int64) ([]byte, error) {
	info, err := s.tree.stat(s.req.path)
	if err != nil {
		return nil, err
	}
	end := info.Size()
	if length > 0 {
		end = min(end, start+length)
	}
	if s.req.args.bad || start < 0 || start > end || block != 0 && block < 256 || (end-start)/max(block, 1) > 4096 && block != 0 {
		return nil, syscall.EINVAL
	}
	if block == 0 {
		block = max(1, end-start)
	}
	var sums []byte
	for off := start; off < end || off == start; off += block {
		sum, _, err := s.tree.digest(s.req.path, algorithm, off, min(end, off+block))
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum...)
	}
	return sums, nil
}

// md5Hash is draft-ietf-secsh-filexfer-09 §9.1.1. The quick check covers the
// first 2048 bytes; if it fails, the hash is empty.
func (s *sftpSession) md5Hash() {
	q := &s.req
	start, length, quick := int64(q.args.uint64()), int64(q.args.uint64()), q.args.bytes()
	end := int64(-1)
	if length > 0 {
		end = start + length
	}
	sum, _, err := s.tree.digest(q.path, "MD5", start, end)
	if err == nil && len(quick) == md5.Size {
		head, _, headErr := s.tree.digest(q.path, "MD5", start, start+2048)
		if headErr != nil || !slices.Equal(head, quick) {
			sum = nil
		}
	}
	if q.args.bad || start < 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		s.status(err)
		return
	}
	s.begin(fxpExtendedReply)
	s.out = appendString(s.out, q.name)
	s.out = appendString(s.out, sum)
}
