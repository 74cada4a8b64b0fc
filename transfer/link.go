package transfer

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// Hints is what a Dialer should start with.
type Hints struct {
	// Mode is the FTP mode to start in: passive, active, or the site's wish
	// when nothing better is known.
	Mode Mode
	// Facts is what is remembered about the host.
	Facts Facts
	// Further, if not nil, opens one more connection to the host for the session: it
	// runs dial, which tries once. release is to be called when that connection has
	// ended. It is nil where the number of connections is limited, as another process
	// may need them more; and once a connection was lost, which may have been because
	// of another.
	Further func(ctx context.Context, dial func(context.Context) error) (release func(), err error)
}

// Dialer logs in to one server. It tries once; secrets it had to ask for are
// kept by whoever made it, so that a redial asks nobody.
type Dialer func(ctx context.Context, hints Hints) (Session, error)

// Budget limits how many connections there are to one host, over all links and
// processes of a machine. host is "scheme://host:port".
type Budget interface {
	// Take waits until one more connection to the host may be opened; limit is
	// how many there may be, 0 if that is not known. It waits for other
	// processes, never for a link of this one: then, as when the server refuses,
	// the error is a fault whose verdict is Crowded.
	Take(ctx context.Context, host string, limit int) (Slot, error)
}

// Slot is the right to one connection. Opened, Crowded or Release follows Take
// soon: until then other links of this process may have to wait.
type Slot interface {
	// Opened: the connection stands.
	Opened()
	// Crowded gives the slot back because the server refused the connection: it
	// has too many; said is its reply. limit is how many there may be from now
	// on, 0 when the refusal teaches nothing.
	Crowded(ctx context.Context, said string) (limit int)
	// Release gives the slot back. It may be called more than once.
	Release()
}

// FactMaxConnections is the name of the fact that a server refused more than so
// many connections at once.
const FactMaxConnections = "max-connections"

// Link keeps a session to one server: it dials on first use, and again after
// the session has died. It remembers the mode and what was learned about the
// host.
//
// Several operations may use a Link at the same time if Parallel says so. They
// share the session: one that is lost is dialled anew once, whoever notices it
// first, and each operation goes on by itself. A login that fails has failed for
// all who wait for it. Close may be called from any goroutine.
type Link struct {
	loc    Location
	dial   Dialer
	mode   Mode
	memory Memory // may be nil
	budget Budget // may be nil
	most   int
	wait   func(ctx context.Context, n int) error // may be nil
	// dialling is held by the one who dials.
	dialling chan struct{}

	mu      sync.Mutex
	session Session
	// dials counts those that have come to an end; failed is what the last of
	// them ended with, nil if it gave a session.
	dials    int
	failed   *policy.Fault
	parallel bool
	slot     Slot
	facts    Facts // nil until they are recalled
	learned  Facts // those of them that the memory does not know
}

// NewLink prepares a link; nothing is dialled yet. memory may be nil.
func NewLink(loc Location, dial Dialer, mode Mode, memory Memory) *Link {
	return &Link{loc: loc, dial: dial, mode: mode, memory: memory, dialling: make(chan struct{}, 1)}
}

// LimitConnections makes the link take a slot of the budget before it dials, and
// keep it until it is closed. most is the person's limit for the host, 0 for
// none; what the server taught lowers it. To be called before the first use.
func (l *Link) LimitConnections(b Budget, most int) { l.budget, l.most = b, most }

// LimitRate makes wait the Source.Wait and Sink.Wait of all that the link moves.
// To be called before the first use.
func (l *Link) LimitRate(wait func(ctx context.Context, n int) error) { l.wait = wait }

// Location is the server that the link goes to.
func (l *Link) Location() Location { return l.loc }

// Parallel says whether several operations may use the link at the same time. It
// is known once there has been a session.
func (l *Link) Parallel() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parallel
}

// Session gives the live session, dialling if there is none. While other
// processes use up the budget of the host it waits for them.
func (l *Link) Session(ctx context.Context) (Session, error) {
	return l.user().session(ctx)
}

// connect gives the live session, or else dials, one at a time, with the number
// of the dial that made it. The caller has heard of the dials up to known: how a
// later one ended is news for it, which saves a dial of its own.
func (l *Link) connect(ctx context.Context, known int) (Session, int, error) {
	if s, n := l.live(); s != nil {
		return s, n, nil
	}
	select {
	case l.dialling <- struct{}{}:
		defer func() { <-l.dialling }()
	case <-ctx.Done():
		return nil, known, policy.LocalFault("wait", "", context.Cause(ctx))
	}
	if s, n := l.live(); s != nil {
		return s, n, nil
	}
	if n, f := l.lastFailure(); n > known && f != nil {
		return nil, n, f
	}
	l.drop()
	if err := l.recall(ctx); err != nil {
		return nil, known, err
	}
	s, err := l.open(ctx)
	if err = l.annotate(err); err != nil && ctx.Err() != nil {
		return nil, known, err // it ended with the caller, and is nobody else's
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dials++
	if err != nil {
		f := *policy.FaultOf(err)
		l.failed = &f
		return nil, l.dials, err
	}
	l.failed, l.parallel = nil, s.Extras().Parallel
	if l.wait != nil {
		s = paced{s, l.wait}
	}
	l.session = s
	return s, l.dials, nil
}

// lastFailure is how the last dial failed, nil if it did not. Each caller gets a
// fault of its own, to add to.
func (l *Link) lastFailure() (dials int, f *policy.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		return l.dials, nil
	}
	own := *l.failed
	return l.dials, &own
}

// recall asks the memory, once.
func (l *Link) recall(ctx context.Context) error {
	l.mu.Lock()
	known := l.facts != nil
	l.mu.Unlock()
	if known {
		return nil
	}
	facts := Facts{}
	if l.memory != nil {
		recalled, err := l.memory.Recall(ctx, l.loc.Server())
		if err != nil {
			return policy.LocalFault("recall", "", err)
		}
		maps.Copy(facts, recalled)
	}
	l.mu.Lock()
	l.facts = facts
	l.mu.Unlock()
	return nil
}

// open dials, with a slot of the budget.
func (l *Link) open(ctx context.Context) (Session, error) {
	slot, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	hints := Hints{Mode: l.mode, Facts: maps.Clone(l.facts)}
	first := l.dials == 0
	l.mu.Unlock()
	if first && l.maxConnections() == 0 {
		hints.Further = l.further
	}
	s, err := l.dial(ctx, hints)
	switch {
	case slot == nil:
	case err == nil:
		slot.Opened()
	default:
		l.mu.Lock()
		l.slot = nil
		l.mu.Unlock()
		l.giveBack(ctx, slot, err)
	}
	return s, err
}

// further is Hints.Further.
func (l *Link) further(ctx context.Context, dial func(context.Context) error) (release func(), err error) {
	if l.budget == nil {
		return func() {}, dial(ctx)
	}
	slot, err := l.budget.Take(ctx, l.loc.Server(), 0)
	if err != nil {
		return nil, err
	}
	if err := dial(ctx); err != nil {
		l.giveBack(ctx, slot, err)
		return nil, err
	}
	slot.Opened()
	return slot.Release, nil
}

// take gives the link's slot, nil if connections are not limited.
func (l *Link) take(ctx context.Context) (Slot, error) {
	l.mu.Lock()
	slot := l.slot
	l.mu.Unlock()
	if slot != nil || l.budget == nil {
		return slot, nil
	}
	slot, err := l.budget.Take(ctx, l.loc.Server(), l.maxConnections())
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.slot = slot
	l.mu.Unlock()
	return slot, nil
}

// maxConnections is the lower of what the person and the server allow, 0 if
// neither said.
func (l *Link) maxConnections() int {
	l.mu.Lock()
	n, err := strconv.Atoi(l.facts[FactMaxConnections].Value)
	l.mu.Unlock()
	switch {
	case err != nil || n < 1:
		return l.most
	case l.most == 0:
		return n
	}
	return min(n, l.most)
}

// giveBack gives a slot back after a dial that failed, and learns from it.
func (l *Link) giveBack(ctx context.Context, slot Slot, err error) {
	f := policy.FaultOf(err)
	if !policy.Classify(f).Crowded {
		slot.Release()
		return
	}
	if limit := slot.Crowded(ctx, f.Said()); limit > 0 {
		l.learn(FactMaxConnections, Fact{Value: strconv.Itoa(limit), Reason: f.Said(), At: time.Now()})
	}
}

// learn keeps a fact; only what is news is handed to the memory.
func (l *Link) learn(name string, f Fact) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.facts[name].Value == f.Value {
		return
	}
	if l.learned == nil {
		l.learned = Facts{}
	}
	l.facts[name], l.learned[name] = f, f
}

// known gives the first of these facts that is known about the host, nil if none.
func (l *Link) known(ctx context.Context, names ...string) (*Fact, error) {
	if err := l.recall(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range names {
		if f, ok := l.facts[name]; ok {
			return &f, nil
		}
	}
	return nil, nil
}

// live is the session if there is one that can be used, nil otherwise, and the
// number of dials so far.
func (l *Link) live() (Session, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.session.Alive() {
		return l.session, l.dials
	}
	return nil, l.dials
}

// annotate adds to a fault what the adapter can't know: how a person would
// address the server.
func (l *Link) annotate(err error) error {
	if err == nil {
		return nil
	}
	f := policy.FaultOf(err)
	if f.Protocol == policy.Local {
		return err
	}
	if f.Host == "" {
		f.Host = l.loc.Host
	}
	if f.User == "" {
		f.User = l.loc.User
	}
	if f.Locate == nil {
		f.Locate = func(p string) string { return l.loc.WithPath(p).String() }
	}
	return err
}

// drop closes the session and keeps what it learned, and the slot.
func (l *Link) drop() { l.dropIf(func(int) bool { return true }) }

// dropIf drops the session if the number of dials so far is as it should be.
func (l *Link) dropIf(ok func(dials int) bool) {
	l.mu.Lock()
	s := l.session
	if !ok(l.dials) {
		s = nil
	} else {
		l.session = nil
	}
	l.mu.Unlock()
	if s == nil {
		return
	}
	if f := s.Extras().Facts; f != nil {
		for name, fact := range f() {
			l.learn(name, fact)
		}
	}
	_ = s.Close() // nothing is owed to a session that is being dropped
}

// Close ends the session, gives its slot back and hands what was learned to the
// memory. The link may be used again.
func (l *Link) Close(ctx context.Context) error {
	l.drop()
	l.mu.Lock()
	slot, learned := l.slot, l.learned
	l.slot, l.learned = nil, nil
	l.mu.Unlock()
	if slot != nil {
		slot.Release()
	}
	if l.memory == nil || len(learned) == 0 {
		return nil
	}
	return l.memory.Learn(ctx, l.loc.Server(), learned)
}

// paced is a session whose transfers wait for a rate limit.
type paced struct {
	Session
	wait func(ctx context.Context, n int) error
}

func (p paced) Get(ctx context.Context, path string, off int64, dst Sink) (int64, error) {
	dst.Wait = p.wait
	return p.Session.Get(ctx, path, off, dst)
}

func (p paced) Put(ctx context.Context, path string, off int64, src Source) (int64, error) {
	src.Wait = p.wait
	return p.Session.Put(ctx, path, off, src)
}
