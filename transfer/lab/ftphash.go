package lab

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
)

// digests are the algorithms by their names in HASH (draft-ietf-ftpext2-hash-03).
var digests = map[string]func() hash.Hash{
	"CRC32":   func() hash.Hash { return crc32.NewIEEE() },
	"MD5":     md5.New,
	"SHA-1":   sha1.New,
	"SHA-256": sha256.New,
	"SHA-512": sha512.New,
}

// digest hashes the bytes from start to end of a file; end -1 is its size.
func (t *tree) digest(p, algorithm string, start, end int64) (sum []byte, stop int64, err error) {
	f, err := t.open(p, os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if end < 0 || end > info.Size() {
		end = info.Size()
	}
	h := digests[algorithm]()
	if _, err := io.Copy(h, io.NewSectionReader(f, start, max(0, end-start))); err != nil {
		return nil, 0, err
	}
	return h.Sum(nil), end, nil
}

func (s *ftpSession) hash(arg string) {
	sum, end, err := s.tree.digest(s.path, s.hashName, 0, -1)
	if err != nil {
		s.fail(err)
		return
	}
	s.reply(213, fmt.Sprintf("%s 0-%d %s %s", s.hashName, end, hex.EncodeToString(sum), arg))
}

// xhash is XCRC, XMD5, XSHA1, XSHA256 and XSHA512: a name, in quotes if it has
// blanks, and optionally start and end.
func (s *ftpSession) xhash(arg string) {
	algorithm := map[string]string{
		"XCRC": "CRC32", "XMD5": "MD5", "XSHA1": "SHA-1", "XSHA256": "SHA-256", "XSHA512": "SHA-512",
	}[s.verb]
	name, start, end := hashRange(arg)
	sum, _, err := s.tree.digest(absolute(s.cwd, name), algorithm, start, end)
	if err != nil {
		s.fail(err)
		return
	}
	s.reply(250, strings.ToUpper(hex.EncodeToString(sum)))
}

func hashRange(arg string) (name string, start, end int64) {
	end = -1
	rest := ""
	if quoted, ok := strings.CutPrefix(arg, `"`); ok {
		name, rest, _ = strings.Cut(quoted, `"`)
	} else {
		name, rest, _ = strings.Cut(arg, " ")
	}
	var numbers []int64
	for field := range strings.FieldsSeq(rest) {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n < 0 {
			return arg, 0, -1 // no numbers: the blanks belong to the name
		}
		numbers = append(numbers, n)
	}
	if len(numbers) > 0 {
		start = numbers[0]
	}
	if len(numbers) > 1 {
		end = numbers[1]
	}
	return name, start, end
}

// md5 is the command of draft-twine-ftpmd5.
func (s *ftpSession) md5(arg string) {
	sum, _, err := s.tree.digest(s.path, "MD5", 0, -1)
	if err != nil {
		s.fail(err)
		return
	}
	s.reply(251, arg+" "+strings.ToUpper(hex.EncodeToString(sum)))
}
