package ftp

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// hasher is one way to have the server compute a digest.
type hasher struct{ algorithm, command string }

// hashers in the order in which they are tried: the better algorithm first, and
// HASH (draft-ietf-ftpext2-hash-03) before the commands that each server
// invented for itself. FEAT must list them.
var hashers = []hasher{
	{"SHA-256", "HASH"}, {"SHA-256", "XSHA256"}, {"SHA-256", "SITE SHA256"},
	{"SHA-512", "HASH"}, {"SHA-512", "XSHA512"},
	{"SHA-1", "HASH"}, {"SHA-1", "XSHA1"}, {"SHA-1", "XSHA"}, {"SHA-1", "SITE SHA1"},
	{"MD5", "HASH"}, {"MD5", "XMD5"}, {"MD5", "MD5"}, {"MD5", "SITE MD5"},
	{"CRC32", "HASH"}, {"CRC32", "XCRC"},
}

// partial: the command takes a range. HASH would obey a RANG before it, but
// proftpd 1.3.8 ignores that and answers for the whole file.
func (h hasher) partial() bool { return h.command[0] == 'X' }

// canHash says whether any way is left.
func (s *session) canHash() bool { return slices.ContainsFunc(hashers, s.offersHash) }

func (s *session) offersHash(h hasher) bool {
	able := s.x.able
	if !able.offers(h.command) || h.command != "HASH" {
		return able.offers(h.command)
	}
	for name := range strings.SplitSeq(able.features["HASH"], ";") {
		if strings.EqualFold(strings.TrimSuffix(strings.TrimSpace(name), "*"), h.algorithm) {
			return able.may(optsHash + h.algorithm)
		}
	}
	return false
}

// optsHash chooses the algorithm of HASH.
const optsHash = "OPTS HASH "

// hash has the server compute a digest of the first n bytes of a file, of all
// of it with n < 0.
func (s *session) hash(ctx context.Context, path string, n int64) (transfer.Digest, error) {
	arg, end, err := s.begin(ctx, "HASH", path)
	if err != nil {
		return transfer.Digest{}, err
	}
	defer end()
	x := s.x
	for _, h := range hashers {
		spelled, ok := h.argument(arg, n)
		if !ok || !s.offersHash(h) {
			continue
		}
		if ok, err := s.chooseHash(h); err != nil || !ok {
			if err != nil {
				return transfer.Digest{}, err
			}
			continue
		}
		r, err := s.askHash(h.command + " " + spelled)
		if err != nil {
			return transfer.Digest{}, err
		}
		if sum, ok := h.sum(r); ok {
			return transfer.Digest{Algorithm: h.algorithm, Sum: sum}, nil
		}
		if !r.unsupported() && !r.completed() {
			return transfer.Digest{}, x.said(policy.Command, h.command, path, r)
		}
		x.able.refuse(h.command, r, x.w.seen.Load())
	}
	return transfer.Digest{}, x.because(policy.Command, "HASH", path, policy.CauseNoHash, "")
}

// argument spells path and range. The commands that take a range take a name
// with blanks only in quotes, and so none with a quote.
func (h hasher) argument(path string, n int64) (string, bool) {
	if !h.partial() {
		return path, n < 0
	}
	switch {
	case strings.Contains(path, `"`):
		return "", false
	case strings.Contains(path, " "):
		path = `"` + path + `"`
	}
	if n >= 0 {
		path += fmt.Sprintf(" 0 %d", n) // the end is not included: proftpd 1.3.8, measured
	}
	return path, true
}

// chooseHash makes the algorithm that of the next HASH.
func (s *session) chooseHash(h hasher) (ok bool, err error) {
	if h.command != "HASH" || s.hashing == h.algorithm {
		return true, nil
	}
	r, err := s.x.cmd("OPTS", "HASH "+h.algorithm)
	switch {
	case err != nil:
		return false, err
	case !r.completed():
		s.x.able.refuse(optsHash+h.algorithm, r, s.x.w.seen.Load())
		return false, nil
	}
	s.hashing = h.algorithm
	return true, nil
}

// hashPatience is how many times longer than for a final reply a server may
// take: it reads the whole file before it answers.
const hashPatience = 10

func (s *session) askHash(line string) (r reply, err error) {
	x := s.x
	if err = x.w.send(x.ctx, line, ""); err == nil {
		r, err = x.w.final(x.ctx, hashPatience*x.o.Timeouts.Final)
	}
	if err != nil {
		verb, _, _ := strings.Cut(line, " ")
		return r, x.lost(policy.Command, verb, x.path, err)
	}
	return r, nil
}

// sum finds the digest in a reply:
//
//	213 SHA-256 0-49 6691… name      HASH
//	250 84D8…                        XSHA256 and its kin
//	251 name 781E…                   MD5 (draft-twine-ftpmd5)
//	200 781e… name                   SITE MD5 (libunftp)
func (h hasher) sum(r reply) ([]byte, bool) {
	if !r.completed() {
		return nil, false
	}
	algorithm, ok := transfer.NewHash(h.algorithm)
	if !ok {
		return nil, false
	}
	fields := strings.Fields(r.lines[len(r.lines)-1])
	switch h.command {
	case "HASH":
		if len(fields) < 3 || !strings.EqualFold(fields[0], h.algorithm) || !strings.HasPrefix(fields[1], "0-") {
			return nil, false
		}
		fields = fields[2:3]
	case "MD5":
		slices.Reverse(fields)
	}
	for _, field := range fields {
		if h.algorithm == "CRC32" && len(field) < 8 { // a number without its leading zeros
			field = strings.Repeat("0", 8-len(field)) + field
		}
		if sum, err := hex.DecodeString(field); err == nil && len(sum) == algorithm.Size() {
			return sum, true
		}
	}
	return nil, false
}
