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
	"strconv"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Slots are the connections of all processes of this user to each host. A slot
// is a kernel lock on a numbered file: a process that is killed frees its slots.
// It implements transfer.Budget. A Slots must not be copied.
type Slots struct {
	// Dir holds a directory for each host; it is made when it is missing.
	Dir string
	// Waiting, if set, is called when a link begins to wait for a slot, with the
	// limit that it waits for.
	Waiting func(host string, limit int)
	// Lowered, if set, is called when a server's refusal has lowered the limit.
	Lowered func(host string, limit int, said string)
	// Warn, if set, is told, once, that the files can't be used. Connections are
	// then not counted: that must not keep anybody from transferring.
	Warn func(error)

	mu     sync.Mutex
	hosts  map[string]*slotHost
	warned sync.Once
}

// maxSlots is how many connections to one host are counted. More are let pass.
const maxSlots = 64

// settling is how long a server may take to notice that a connection is gone.
// A refusal in that time says nothing about its limit.
const settling = 10 * time.Second

// slotHost is what this process knows of one host.
type slotHost struct {
	dir string

	mu    sync.Mutex
	limit int // learned in this run, 0 none
	open  int // connections of this process
	// dialling are about to connect, refused were refused and wait for those to
	// come to an end. A refusal then says exactly how many connections the server
	// allows: those that stand.
	dialling, refused int
	released          time.Time
	changed           chan struct{} // closed when one of the numbers has changed
}

// enterDial waits until one more may dial: the first alone, because nothing is
// known of the server yet, and none while a refusal is being weighed.
func (h *slotHost) enterDial(ctx context.Context) error {
	return h.when(ctx, func() bool {
		if h.refused > 0 || h.open == 0 && h.dialling > 0 {
			return false
		}
		h.dialling++
		return true
	})
}

// when waits until ok, which is asked with h.mu held.
func (h *slotHost) when(ctx context.Context, ok func() bool) error {
	for {
		h.mu.Lock()
		done, changed := ok(), h.changed
		h.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change changes the numbers.
func (h *slotHost) change(how func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	how()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *slotHost) holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open > 0
}

// Take waits until one more connection to the host may be opened. When this
// process has some of those that are open it does not wait for its own: the error
// is a fault of policy.CauseBudget.
func (s *Slots) Take(ctx context.Context, host string, limit int) (transfer.Slot, error) {
	h := s.host(host)
	if err := h.enterDial(ctx); err != nil {
		return nil, policy.LocalFault("wait", "", err)
	}
	taken := &slot{slots: s, host: h, name: host, dialling: true}
	lock, err := s.wait(ctx, h, host, limit)
	switch {
	case ctx.Err() != nil && lock == nil:
		taken.Release()
		return nil, policy.LocalFault("wait", "", context.Cause(ctx))
	case isBudget(err):
		taken.Release()
		return nil, err
	case err != nil:
		s.warned.Do(func() {
			if s.Warn != nil {
				s.Warn(err)
			}
		})
	}
	taken.lock = lock
	return taken, nil
}

// wait polls: a wait for a kernel lock obeys no context.
func (s *Slots) wait(ctx context.Context, h *slotHost, host string, limit int) (*flock.Flock, error) {
	for told := false; ; told = true {
		lock, allowed, err := h.try(ctx, limit)
		if err != nil || lock != nil || allowed == 0 {
			return lock, err
		}
		if h.holds() {
			return nil, &policy.Fault{
				Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Cause: policy.CauseBudget,
				Text: fmt.Sprintf("%d connections may be open", allowed),
			}
		}
		if !told && s.Waiting != nil {
			s.Waiting(host, allowed)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (s *Slots) host(name string) *slotHost {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosts[name]
	if h == nil {
		sum := sha256.Sum256([]byte(name))
		h = &slotHost{dir: filepath.Join(s.Dir, hex.EncodeToString(sum[:12])), changed: make(chan struct{})}
		if s.hosts == nil {
			s.hosts = map[string]*slotHost{}
		}
		s.hosts[name] = h
	}
	return h
}

// try takes a free slot if fewer than the limit are taken. lock is nil if not;
// allowed is the limit that was in force, 0 for none.
func (h *slotHost) try(ctx context.Context, limit int) (lock *flock.Flock, allowed int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	allowed = limit
	if h.limit > 0 && (allowed == 0 || h.limit < allowed) {
		allowed = h.limit
	}
	most := allowed
	if most == 0 || most > maxSlots {
		most = maxSlots
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return nil, allowed, err
	}
	defer leave()
	taken := 0
	var free *flock.Flock
	for i := range maxSlots {
		l := flock.New(filepath.Join(h.dir, strconv.Itoa(i)))
		if _, err := os.Stat(l.Path()); free != nil && errors.Is(err, fs.ErrNotExist) {
			break // slots are made in order, none is removed
		}
		held, err := l.TryLock()
		switch {
		case err != nil:
			_ = l.Close()
			return nil, allowed, errors.Join(policy.LocalFault("lock", l.Path(), err), closeLock(free))
		case !held:
			_ = l.Close()
			if taken++; taken >= most {
				return nil, allowed, closeLock(free)
			}
		case allowed == 0:
			return l, 0, nil
		case free == nil:
			free = l
		default:
			_ = l.Close()
		}
	}
	return free, allowed, nil
}

// count counts the slots that are taken.
func (h *slotHost) count(ctx context.Context) (n int, err error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	for i := range maxSlots {
		l := flock.New(filepath.Join(h.dir, strconv.Itoa(i)))
		if _, err := os.Stat(l.Path()); err != nil {
			break
		}
		if held, err := l.TryLock(); err == nil && !held {
			n++
		}
		_ = l.Close()
	}
	return n, nil
}

// enter keeps other processes from counting and taking at the same time.
func (h *slotHost) enter(ctx context.Context) (leave func(), err error) {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, policy.LocalFault("mkdir", h.dir, err)
	}
	door := flock.New(filepath.Join(h.dir, "door"))
	if _, err := door.TryLockContext(ctx, 2*time.Millisecond); err != nil {
		_ = door.Close()
		return nil, policy.LocalFault("lock", door.Path(), err)
	}
	return func() { _ = door.Close() }, nil
}

func isBudget(err error) bool {
	f, ok := errors.AsType[*policy.Fault](err)
	return ok && f.Cause == policy.CauseBudget
}

func closeLock(l *flock.Flock) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// slot is the right to one connection.
type slot struct {
	slots *Slots
	host  *slotHost
	name  string
	lock  *flock.Flock // nil when connections can't be counted

	mu       sync.Mutex
	dialling bool // the first time
	opened   bool
	released bool
}

// Opened lets the next link dial.
func (s *slot) Opened() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host.change(func() {
		if !s.opened && !s.released {
			s.opened = true
			s.host.open++
		}
		s.dialled()
	})
}

// dialled is called with host.mu held.
func (s *slot) dialled() {
	if s.dialling {
		s.dialling = false
		s.host.dialling--
	}
}

// Release gives the slot back.
func (s *slot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
}

func (s *slot) release() {
	s.released = true
	if s.lock != nil {
		_ = s.lock.Close()
		s.lock = nil
	}
	s.host.change(func() {
		if s.opened {
			s.opened = false
			s.host.open--
			s.host.released = time.Now()
		}
		s.dialled()
	})
}

// Crowded lowers the limit of the host to the connections that stand, and gives
// the slot back. It returns the limit, 0 if there is nothing to learn: no other
// connection is ours, or one of ours has ended just now and the server may not
// have noticed.
func (s *slot) Crowded(ctx context.Context, said string) (limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.release()
	if s.lock == nil || s.opened {
		return 0
	}
	s.host.change(func() {
		s.dialled()
		s.host.refused++
	})
	defer s.host.change(func() {
		s.host.refused--
		_ = s.lock.Close()
		s.lock = nil
	})
	settled, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	if s.host.when(settled, func() bool { return s.host.dialling == 0 }) != nil {
		return 0
	}
	limit, lowered := s.host.lower(ctx)
	if lowered && s.slots.Lowered != nil {
		s.slots.Lowered(s.name, limit, said)
	}
	return limit
}

// lower makes the connections that stand, all that are counted but those that
// were refused, the limit.
func (h *slotHost) lower(ctx context.Context) (limit int, lowered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.released) < settling {
		return 0, false
	}
	n, err := h.count(ctx)
	n -= h.refused
	if err != nil || n <= 0 {
		return 0, false
	}
	if h.limit == 0 || n < h.limit {
		h.limit, lowered = n, true
	}
	return h.limit, lowered
}
