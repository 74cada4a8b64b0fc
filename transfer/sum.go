package transfer

import (
	"context"
	"encoding/hex"
	"hash"
	"io"
)

// sumAlgorithm is that of Result.SHA256.
const sumAlgorithm = "SHA-256"

// sum is the Result.SHA256 of the first n bytes, if the job asks for it.
func (r *run) sum(ctx context.Context, ours digester, n int64) (string, error) {
	if !r.job.Hash {
		return "", nil
	}
	sum, err := ours.digest(ctx, sumAlgorithm, n)
	return hex.EncodeToString(sum), err
}

// summing computes the sum of a file beside its transfer: sendfile(2) shows the
// bytes to nobody, and SFTP reads them in any order. It reads what the transfer
// reads at the same time, so that the disk is read once.
type summing struct {
	stop context.CancelFunc
	wait func() (string, error)
}

func (r *run) summing(ctx context.Context, src *source) summing {
	if src.stream || !r.job.Hash {
		return summing{stop: func() {}, wait: func() (string, error) { return r.sum(ctx, src, src.size) }}
	}
	ctx, cancel := context.WithCancel(ctx)
	var sum string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		sum, err = r.sum(ctx, src, src.size)
	}()
	wait := func() (string, error) {
		<-done
		return sum, err
	}
	// The file is closed afterwards.
	return summing{stop: func() { cancel(); <-done }, wait: wait}
}

// passed hashes what passes in order. A try that begins before the end of what
// has passed shows it again; one that begins after it leaves a gap.
type passed struct {
	hash hash.Hash
	n    int64 // bytes hashed
	gap  bool
}

// beside is w, and hashes what is written from off on. Only one writer may be in
// use at a time. p may be nil.
func (p *passed) beside(w io.Writer, off int64) io.Writer {
	if p == nil {
		return w
	}
	return &sumWriter{p, w, off}
}

// all is the sum of a file of n bytes, "" if not all of it has passed.
func (p *passed) all(n int64) string {
	if p == nil || p.gap || p.n != n {
		return ""
	}
	return hex.EncodeToString(p.hash.Sum(nil))
}

type sumWriter struct {
	*passed
	w   io.Writer
	off int64
}

func (p *sumWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	fresh := b[min(int64(n), max(0, p.n-p.off)):n]
	if p.off > p.n {
		p.gap = true
	}
	p.off += int64(n)
	_, _ = p.hash.Write(fresh) // a hash never fails
	p.passed.n += int64(len(fresh))
	return n, err
}
