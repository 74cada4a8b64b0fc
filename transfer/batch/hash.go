package batch

import (
	"bytes"
	"context"
	"io"
	"os"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// sameContent compares a file on both sides by a checksum: the one that the
// target's server computes, else SHA-256 of what is fetched.
func (s *Sync) sameContent(ctx context.Context, rel string) (bool, error) {
	theirs, err := s.To.digest(ctx, s.Name, rel, "")
	if err != nil {
		return false, err
	}
	ours, err := s.From.digest(ctx, s.Name, rel, theirs.Algorithm)
	return err == nil && bytes.Equal(ours.Sum, theirs.Sum), err
}

// digest hashes a file; algorithm "" is any.
func (e End) digest(ctx context.Context, name, rel, algorithm string) (d transfer.Digest, err error) {
	if e.Local != "" {
		return localDigest(ctx, e.at(rel), algorithm)
	}
	err = e.Links.Use(ctx, name, func(ctx context.Context, l *transfer.Link, engine *policy.Engine) error {
		return engine.Do(ctx, l.Op(name, 0, func(ctx context.Context, s transfer.Session) error {
			if hash := s.Extras().Hash; hash != nil {
				if d, err = hash(ctx, e.remote(rel), -1); err == nil && (algorithm == "" || d.Algorithm == algorithm) {
					return nil
				}
			}
			if d.Algorithm = algorithm; algorithm == "" {
				d.Algorithm = "SHA-256"
			}
			h, ok := transfer.NewHash(d.Algorithm)
			if !ok {
				return unknownHash(d.Algorithm)
			}
			_, err := s.Get(ctx, e.remote(rel), 0, transfer.Sink{W: h, Size: -1})
			d.Sum = h.Sum(nil)
			return err
		}))
	})
	return d, err
}

func localDigest(ctx context.Context, file, algorithm string) (transfer.Digest, error) {
	if algorithm == "" {
		algorithm = "SHA-256"
	}
	h, ok := transfer.NewHash(algorithm)
	if !ok {
		return transfer.Digest{}, unknownHash(algorithm)
	}
	f, err := os.Open(file)
	if err != nil {
		return transfer.Digest{}, policy.LocalFault("open", file, err)
	}
	defer f.Close() // only read from
	if _, err := io.Copy(h, &cancellable{ctx, f}); err != nil {
		return transfer.Digest{}, policy.LocalFault("read", file, err)
	}
	return transfer.Digest{Algorithm: algorithm, Sum: h.Sum(nil)}, nil
}

// cancellable ends a long read with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

func unknownHash(algorithm string) error {
	return &policy.Fault{
		Protocol: policy.Local, Op: "hash", Cause: policy.CauseNoHash, Text: policy.Sanitize(algorithm) + " is not known here",
	}
}
