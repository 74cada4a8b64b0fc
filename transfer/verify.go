package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/xfer-cli/xfer/policy"
)

// Verify says how a copy is compared with its source. The size is compared in
// any case.
type Verify uint8

// The ways, as --verify names them.
const (
	VerifySize     Verify = iota
	VerifyHash            // by a checksum that the server computes
	VerifyReadback        // by fetching it once more
)

var verifyNames = [...]string{"size", "hash", "readback"}

func (v Verify) String() string { return verifyNames[v] }

// MarshalText and UnmarshalText use the names of --verify.
func (v Verify) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a name; the error lists what it can be.
func (v *Verify) UnmarshalText(text []byte) error {
	i := slices.Index(verifyNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(verifyNames[:], ", "))
	}
	*v = Verify(i)
	return nil
}

// digester is the end of a transfer that is on this machine.
type digester interface {
	// digest hashes the first n bytes, for a stream all that went through.
	digest(ctx context.Context, algorithm string, n int64) ([]byte, error)
}

// canVerify fails where the server lacks what the person demands, before a
// single byte is sent in vain.
func (r *run) canVerify(s Session) error {
	if r.job.Verify == VerifyHash && s.Extras().Hash == nil {
		return r.fault(policy.CauseNoHash, r.job.Remote)
	}
	return nil
}

// verifySent asks the server for the size of what was sent, unless Put did. A
// reply that says "complete" is not enough: servers have said it of truncated
// files (pyftpdlib over TLS).
func (r *run) verifySent(ctx context.Context, s Session, temp string) error {
	if s.Extras().PutVerifies {
		return nil
	}
	info, err := sizeOrMissing(ctx, s, temp)
	switch {
	case err != nil:
		return err
	case info == nil:
		r.warn("the server does not show the file that it accepted: it may have taken it away, or it keeps uploads hidden; the upload can't be verified")
	case info.Size < 0:
		r.warn("the server does not tell file sizes; the upload can't be verified")
	case info.Size != r.result.Size:
		return r.differs(policy.CauseSize, temp, sizes(info.Size, r.result.Size))
	}
	return nil
}

// verifyContent compares the file on the server with ours, as the job demands.
func (r *run) verifyContent(ctx context.Context, s Session, path string, ours digester) error {
	var theirs Digest
	err := r.canVerify(s)
	switch {
	case err != nil:
	case r.job.Verify == VerifyHash:
		theirs, err = s.Extras().Hash(ctx, path, -1)
	case r.job.Verify == VerifyReadback:
		theirs, err = readBack(ctx, s, path)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	sum, err := ours.digest(ctx, theirs.Algorithm, r.result.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum, theirs.Sum) {
		return r.differs(policy.CauseHash, path, fmt.Sprintf("%s is %x there, %x here", theirs.Algorithm, theirs.Sum, sum))
	}
	r.result.Verified = theirs.Algorithm
	return nil
}

func (r *run) differs(cause policy.Cause, path, text string) error {
	return &policy.Fault{
		Protocol: r.link.Location().Protocol(), Phase: policy.Data, Op: "verify", Path: path, Cause: cause, Text: text,
	}
}

// isSpoiled says whether err is a copy that has the right size and another content.
func isSpoiled(err error) bool {
	f, ok := errors.AsType[*policy.Fault](err)
	return ok && f.Cause == policy.CauseHash
}

// readBack fetches a file only to hash it.
func readBack(ctx context.Context, s Session, path string) (Digest, error) {
	h := sha256.New()
	_, err := s.Get(ctx, path, 0, Sink{W: h, Size: -1})
	return Digest{Algorithm: "SHA-256", Sum: h.Sum(nil)}, err
}

// samePart says whether the first off bytes of a part that an earlier run left
// on the server are the source's: by a checksum where the server computes one,
// else by the last of them.
func (r *run) samePart(ctx context.Context, s Session, src *source, temp string, off, size int64) (bool, error) {
	n := off
	if off == size {
		n = -1 // all of it, which more servers can hash than a range
	}
	same, known, err := sameHash(ctx, s, temp, n, src, off)
	if err != nil || known {
		return same, err
	}
	return sameTail(ctx, s, src, temp, off)
}

// sameHash compares the first n bytes of the file on the server, all with n < 0,
// with the first length of ours. known is false where the server can't tell.
func sameHash(ctx context.Context, s Session, path string, n int64, ours digester, length int64) (same, known bool, err error) {
	if s.Extras().Hash == nil {
		return false, false, nil
	}
	theirs, err := s.Extras().Hash(ctx, path, n)
	if err != nil {
		if s.Alive() && ctx.Err() == nil {
			err = nil // a refusal; there is another way
		}
		return false, false, err
	}
	sum, err := ours.digest(ctx, theirs.Algorithm, length)
	return bytes.Equal(sum, theirs.Sum), err == nil, err
}

// sameTail compares the end of a part with the source. It reads the part from
// overlap bytes before off to its end.
func sameTail(ctx context.Context, s Session, src *source, temp string, off int64) (bool, error) {
	from := max(0, off-overlap)
	check := &compare{want: io.NewSectionReader(src.file, from, off-from), left: off - from}
	_, err := s.Get(ctx, temp, from, Sink{W: check, Size: -1})
	if errors.Is(err, errDiffers) {
		return false, nil
	}
	return err == nil, err
}

// digestOf hashes the first n bytes of a file of this machine.
func digestOf(ctx context.Context, f io.ReaderAt, path, algorithm string, n int64) ([]byte, error) {
	h, ok := NewHash(algorithm)
	if !ok {
		return nil, unknownHash(algorithm)
	}
	if _, err := io.Copy(h, &whileAlive{ctx, io.NewSectionReader(f, 0, n)}); err != nil {
		return nil, policy.LocalFault("read", path, err)
	}
	return h.Sum(nil), nil
}

func unknownHash(algorithm string) error {
	return &policy.Fault{
		Protocol: policy.Local, Op: "hash", Cause: policy.CauseNoHash, Text: policy.Sanitize(algorithm) + " is not known here",
	}
}

// whileAlive ends a long read with its context.
type whileAlive struct {
	ctx context.Context
	r   io.Reader
}

func (w *whileAlive) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}

// passing hashes a stream while it passes, with every algorithm: which one the
// server has is known only afterwards, and a stream can't be read again.
type passing map[string]hash.Hash

// newPassing gives nil where nothing has to be hashed.
func newPassing(j Job) passing {
	switch {
	case j.Verify == VerifySize && !j.Hash:
		return nil
	case j.Verify == VerifySize:
		return passing{bare(sumAlgorithm): sha256.New()}
	}
	p := passing{}
	for _, d := range digests {
		p[bare(d.name)] = d.new()
	}
	return p
}

// Write never fails.
func (p passing) Write(b []byte) (int, error) {
	for _, h := range p {
		_, _ = h.Write(b) // a hash never fails
	}
	return len(b), nil
}

func (p passing) digest(_ context.Context, algorithm string, _ int64) ([]byte, error) {
	h, ok := p[bare(algorithm)]
	if !ok {
		return nil, unknownHash(algorithm)
	}
	return h.Sum(nil), nil
}
