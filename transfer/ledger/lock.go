package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// Locks are kernel locks on single bytes of one file: a process that dies,
// however it dies, holds none, and a lock of each file of a large tree costs two
// system calls and leaves nothing on the disk.
type Locks struct {
	// Dir is made when it is missing, for this user alone.
	Dir string
}

// Lock takes the lock called key, without waiting. When somebody else holds it
// the error is a fault of policy.CauseLocalLocked that names the holder; Path is the
// key.
func (l Locks) Lock(key string) (release func(), err error) {
	t, err := l.table()
	if err != nil {
		return nil, policy.LocalFault("lock", l.Dir, err)
	}
	sum := sha256.Sum256([]byte(key))
	at := int64(binary.BigEndian.Uint64(sum[:]) >> 1) // any key has a byte of its own
	holder, err := t.take(at)
	if err == nil && holder == "" {
		return func() { t.release(at) }, nil
	}
	t.close()
	if err != nil {
		return nil, policy.LocalFault("lock", t.path, err)
	}
	return nil, &policy.Fault{
		Protocol: policy.Local, Phase: policy.Command, Op: "lock", Path: key,
		Cause: policy.CauseLocalLocked, Text: "held by " + holder,
	}
}

// Wait takes the lock called key, and waits up to limit while somebody else
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

// lockTable is the open file of Locks. The kernel's locks are those of a whole
// process, and all end when it closes the file anywhere: a process opens a file
// once, and keeps its own goroutines apart by held.
type lockTable struct {
	path string
	file *os.File
	// users are the locks held and being taken; the last one closes the file.
	users int
	held  map[int64]bool
}

// lockTables are those in use, by the directories as they were named and by the
// path without links, so that no two are open on one file.
var (
	lockTablesMu sync.Mutex
	lockTables   = map[string]*lockTable{}
)

// table opens the file, or finds it open. The caller closes it.
func (l Locks) table() (*lockTable, error) {
	lockTablesMu.Lock()
	defer lockTablesMu.Unlock()
	if t := lockTables[l.Dir]; t != nil {
		t.users++
		return t, nil
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(l.Dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "held")
	t := lockTables[path]
	if t == nil {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		t = &lockTable{path: path, file: file, held: map[int64]bool{}}
		lockTables[path] = t
	}
	lockTables[l.Dir] = t
	t.users++
	return t, nil
}

func (t *lockTable) close() {
	lockTablesMu.Lock()
	defer lockTablesMu.Unlock()
	if t.users--; t.users == 0 {
		maps.DeleteFunc(lockTables, func(_ string, open *lockTable) bool { return open == t })
		_ = t.file.Close()
	}
}

// take locks one byte, or tells who holds it.
func (t *lockTable) take(at int64) (holder string, err error) {
	lockTablesMu.Lock()
	defer lockTablesMu.Unlock()
	if t.held[at] {
		return fmt.Sprintf("process %d", os.Getpid()), nil
	}
	holder, err = lockByte(t.file, at)
	if holder == "" && err == nil {
		t.held[at] = true
	}
	return holder, err
}

func (t *lockTable) release(at int64) {
	lockTablesMu.Lock()
	delete(t.held, at)
	_ = unlockByte(t.file, at) // closing the file does it too
	lockTablesMu.Unlock()
	t.close()
}
