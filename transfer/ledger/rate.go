package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/xfer-cli/xfer/policy"
)

// Rate is the bytes per second that all processes of this user together move to
// and from one host. Its file holds one figure, the time at which all that was
// asked for so far has been moved; who asks for more waits until then.
type Rate struct {
	// Dir holds a file for each host; it is made when it is missing.
	Dir  string
	Host string
	// Limit is in bytes per second, > 0.
	Limit int64

	mu     sync.Mutex
	credit int64 // bytes that were waited for and not used yet
}

const (
	// portion is for how long a process takes bytes at once: the file is not
	// asked for every chunk.
	portion = 50 * time.Millisecond
	// burst is what a host that was idle gives at once.
	burst = 100 * time.Millisecond
	// absurd is a wait that only a clock which was put back explains.
	absurd = time.Hour
)

// Wait blocks until n more bytes may be moved. It is the Wait of transfer.Source
// and transfer.Sink.
func (r *Rate) Wait(ctx context.Context, n int) error {
	until, err := r.take(ctx, int64(n))
	if err != nil {
		return err
	}
	d := time.Until(until)
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return policy.LocalFault("wait", "", context.Cause(ctx))
	}
}

// take books n bytes and says when they may be moved.
func (r *Rate) take(ctx context.Context, n int64) (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.credit >= n {
		r.credit -= n
		return time.Time{}, nil
	}
	book := max(n-r.credit, int64(float64(r.Limit)*portion.Seconds()))
	until, err := r.book(ctx, time.Duration(float64(book)/float64(r.Limit)*float64(time.Second)))
	if err == nil {
		r.credit += book - n
	}
	return until, err
}

// book moves the time in the file on by d and says when it was before.
func (r *Rate) book(ctx context.Context, d time.Duration) (time.Time, error) {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return time.Time{}, policy.LocalFault("mkdir", r.Dir, err)
	}
	sum := sha256.Sum256([]byte(r.Host))
	path := filepath.Join(r.Dir, hex.EncodeToString(sum[:12])+".rate")
	lock := flock.New(path + ".lock")
	if _, err := lock.TryLockContext(ctx, time.Millisecond); err != nil {
		_ = lock.Close()
		return time.Time{}, policy.LocalFault("lock", lock.Path(), err)
	}
	defer lock.Close()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return time.Time{}, policy.LocalFault("open", path, err)
	}
	defer f.Close()
	now := time.Now()
	next := now
	var figure [8]byte
	if n, _ := f.ReadAt(figure[:], 0); n == len(figure) { // a new file is empty
		next = time.Unix(0, int64(binary.BigEndian.Uint64(figure[:])))
	}
	if earliest := now.Add(-burst); next.Before(earliest) || next.Sub(now) > absurd {
		next = earliest
	}
	binary.BigEndian.PutUint64(figure[:], uint64(next.Add(d).UnixNano()))
	if _, err := f.WriteAt(figure[:], 0); err != nil {
		return time.Time{}, policy.LocalFault("write", path, err)
	}
	return next, nil
}
