package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/xfer-cli/xfer/policy"
)

// Locks are kernel locks on files of one directory: a process that dies, however
// it dies, holds none.
type Locks struct {
	// Dir is made when it is missing, for this user alone.
	Dir string
}

// Lock takes the lock called key, without waiting. When another process holds it
// the error is a fault of policy.CauseLocalLocked that names the holder.
func (l Locks) Lock(key string) (release func(), err error) {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, policy.LocalFault("lock", l.Dir, err)
	}
	sum := sha256.Sum256([]byte(key))
	path := filepath.Join(l.Dir, hex.EncodeToString(sum[:12])+".lock")
	// A holder removes the file before it lets go, so the lock may turn out to be
	// on a file that is gone; each such turn means that another process finished.
	for range 100 {
		lock := flock.New(path)
		held, err := lock.TryLock()
		if err != nil {
			return nil, policy.LocalFault("lock", path, err)
		}
		if !held {
			return nil, &policy.Fault{
				Protocol: policy.Local, Phase: policy.Command, Op: "lock", Path: path,
				Cause: policy.CauseLocalLocked, Text: "held by " + readHolder(path),
			}
		}
		if isCurrent(lock, path) {
			writeHolder(path)
			return func() { unlock(lock, path) }, nil
		}
		_ = lock.Close()
	}
	return nil, policy.LocalFault("lock", path, errors.New("the lock file keeps disappearing"))
}

// Wait takes the lock called key, and waits up to limit while another process
// holds it. Then the error is that of Lock, or the context's.
func (l Locks) Wait(ctx context.Context, key string, limit time.Duration) (release func(), err error) {
	end := time.Now().Add(limit)
	for {
		release, err = l.Lock(key)
		f, ok := errors.AsType[*policy.Fault](err)
		if !ok || f.Cause != policy.CauseLocalLocked || time.Now().After(end) {
			return release, err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, policy.LocalFault("wait", "", err)
		}
	}
}

// isCurrent says whether the locked file is the one that path names.
func isCurrent(lock *flock.Flock, path string) bool {
	locked, err1 := lock.Stat()
	named, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(locked, named)
}

// unlock removes the files while the lock is held. Where an open file can't be
// removed (Windows) they stay, and are used again.
func unlock(lock *flock.Flock, path string) {
	_ = os.Remove(holderPath(path))
	_ = os.Remove(path)
	_ = lock.Close()
}

// The holder is told in a file of its own: on Windows a locked file can't be read.
func holderPath(lockPath string) string { return strings.TrimSuffix(lockPath, ".lock") + ".holder" }

func writeHolder(path string) {
	text := fmt.Sprintf("process %d since %s", os.Getpid(), time.Now().Format(time.DateTime))
	_ = os.WriteFile(holderPath(path), []byte(text), 0o600) // only for the message
}

func readHolder(path string) string {
	text, err := os.ReadFile(holderPath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(text) == 0:
		return "another process"
	case err != nil:
		return "another process (" + policy.LocalFault("read", path, err).Text + ")"
	}
	return policy.Sanitize(string(text))
}
