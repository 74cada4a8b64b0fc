package sftp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// hashRate is how fast a server reads its own file at the very least, in bytes
// per second: it says nothing until it is done.
const hashRate = 5 << 20

// hasher is a way to have the server compute a digest.
type hasher struct {
	name string // of the extension in SSH_FXP_VERSION
	ask  func(ctx context.Context, path string, n int64, limit time.Duration) (transfer.Digest, error)
}

// execHash stands for the program sha256sum; it is no extension.
const execHash = "exec"

// hashers are those that the server offers, in the order in which they are tried.
// s.mu is held.
func (s *session) hashers() (all []hasher) {
	// Some announce the requests of check-file instead.
	if s.offers("check-file", "check-file") || s.offers("check-file", "check-file-name") {
		all = append(all, hasher{"check-file", s.checkFile})
	}
	if s.o.Shell && s.offers(execHash, "") {
		all = append(all, hasher{execHash, s.sumByShell})
	}
	if s.offers("md5-hash", "md5-hash") {
		all = append(all, hasher{"md5-hash", s.md5Hash})
	}
	return all
}

// hash has the server compute a digest of the first n bytes of a file, of all of
// it with n < 0.
func (s *session) hash(ctx context.Context, path string, n int64) (transfer.Digest, error) {
	info, err := s.Stat(ctx, path)
	switch {
	case err != nil:
		return transfer.Digest{}, err
	case n == 0 || n < 0 && info.Size == 0:
		// Nothing has one digest, and a length of 0 means "all" to the extensions.
		sum := sha256.Sum256(nil)
		return transfer.Digest{Algorithm: "SHA-256", Sum: sum[:]}, nil
	case n > info.Size && info.Size >= 0:
		return transfer.Digest{}, &policy.Fault{
			Protocol: policy.SFTP, Phase: policy.Command, Op: "hash", Path: path, Cause: policy.CauseResume,
			Text: fmt.Sprintf("it has %d bytes, a digest of %d was asked for", info.Size, n),
		}
	}
	limit := s.conn.limits.Final + time.Duration(max(n, info.Size, 0)/hashRate)*time.Second
	s.mu.Lock()
	offered := s.hashers()
	s.mu.Unlock()
	for _, h := range offered {
		digest, err := h.ask(ctx, path, n, limit)
		if err == nil {
			return digest, nil
		}
		if ctx.Err() != nil || !s.Alive() || isRefused(err) || isLost(err) || is(err, fxNoSuchFile) || is(err, fxPermission) {
			return transfer.Digest{}, s.control.fault(policy.Command, "hash", path, err)
		}
		// It says that it can and then does not: not for this session any more.
		s.refuse(h.name, err)
		s.o.Log.Debug("sftp_hash_refused", "host", s.o.Address, "way", h.name, "error", err)
	}
	return transfer.Digest{}, &policy.Fault{
		Protocol: policy.SFTP, Phase: policy.Command, Op: "hash", Path: path, Cause: policy.CauseNoHash,
	}
}

// hashNames are the algorithms of draft-ietf-secsh-filexfer-extensions-00 §3.
var hashNames = map[string]string{"sha256": "SHA-256", "sha512": "SHA-512", "sha1": "SHA-1", "md5": "MD5"}

// checkFile is draft-ietf-secsh-filexfer-extensions-00 §3, as proftpd has it.
func (s *session) checkFile(ctx context.Context, path string, n int64, limit time.Duration) (transfer.Digest, error) {
	r := newRequest(fxpExtended).string("check-file-name").string(path).string("sha256,sha512,sha1,md5")
	answer, err := s.control.exchange(ctx, limit, r.uint64(0).uint64(uint64(max(n, 0))).uint32(0))
	if err != nil {
		return transfer.Digest{}, err
	}
	defer answer.release()
	if err := answer.is(fxpExtendedReply); err != nil {
		return transfer.Digest{}, err
	}
	return checkFileDigest(answer.fields)
}

func checkFileDigest(f fields) (transfer.Digest, error) {
	name := f.string()
	if name == "check-file" { // paramiko and Apache MINA put it in front
		name = f.string()
	}
	return digestOf(hashNames[name], f.b, f.err)
}

// md5Hash is draft-ietf-secsh-filexfer-09 §9.1.1, without its quick check.
func (s *session) md5Hash(ctx context.Context, path string, n int64, limit time.Duration) (transfer.Digest, error) {
	r := newRequest(fxpExtended).string("md5-hash").string(path)
	answer, err := s.control.exchange(ctx, limit, r.uint64(0).uint64(uint64(max(n, 0))).string(""))
	if err != nil {
		return transfer.Digest{}, err
	}
	defer answer.release()
	if err := answer.is(fxpExtendedReply); err != nil {
		return transfer.Digest{}, err
	}
	f := answer.fields
	f.string() // "md5-hash"
	return digestOf("MD5", []byte(f.string()), f.err)
}

// sumByShell runs sha256sum, or shasum where there is none (macOS, BSD). It reads
// the file from its standard input: names are then in no output.
func (s *session) sumByShell(ctx context.Context, path string, n int64, limit time.Duration) (transfer.Digest, error) {
	// A login may start elsewhere than its SFTP server.
	path, err := s.realpath(ctx, path)
	if err != nil {
		return transfer.Digest{}, err
	}
	line := "{ sha256sum 2>/dev/null || shasum -a 256; } < " + policy.ShellQuote(path)
	if n >= 0 {
		line = fmt.Sprintf("head -c %d < %s | { sha256sum 2>/dev/null || shasum -a 256; }", n, policy.ShellQuote(path))
	}
	out, err := s.exec(ctx, "sh -c "+policy.ShellQuote(line), limit)
	if err != nil {
		return transfer.Digest{}, err
	}
	if len(out) < 2*sha256.Size {
		return transfer.Digest{}, errNoDigest
	}
	sum, err := hex.DecodeString(out[:2*sha256.Size])
	return digestOf("SHA-256", sum, err)
}

// errNoDigest: what came is no digest.
var errNoDigest = errors.New("the answer is no digest")

// digestOf checks that the sum has the algorithm's length.
func digestOf(algorithm string, sum []byte, err error) (transfer.Digest, error) {
	if err != nil {
		return transfer.Digest{}, err
	}
	h, ok := transfer.NewHash(algorithm)
	if !ok || h.Size() != len(sum) {
		return transfer.Digest{}, errNoDigest
	}
	return transfer.Digest{Algorithm: algorithm, Sum: append([]byte(nil), sum...)}, nil
}
