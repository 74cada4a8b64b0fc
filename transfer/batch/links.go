package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Links are the connections to one server: opened when they are needed, never
// more than the limit. When the server says that it has too many of ours, the
// limit falls to what it bears. A connection that is Parallel (SFTP) is shared.
type Links struct {
	// Near, if not 0, is the limit where a login takes no time to speak of: more
	// connections would cost more than the waiting that they are to hide. To be
	// set before the first use.
	Near int

	loc    transfer.Location
	open   func() *transfer.Link
	engine *policy.Engine

	mu    sync.Mutex
	limit int
	links []*shared
	// connecting is how many are about to log in. Until one has succeeded the
	// others wait for it: a wrong password is sent once.
	connecting int
	proven     bool
	near       bool          // the first login took no time to speak of
	refused    error         // the login
	changed    chan struct{} // closed when there may be a link for who waits
}

// shared is one of the links, and how many use it.
type shared struct {
	*transfer.Link
	users int
	// retired: it goes when its last user is done.
	retired bool
}

const (
	// share is how many use a Parallel link at the same time. It is about what
	// hides a round trip time of 20 ms behind the work of a server's process.
	share = 128
	// logins is how many connections log in at the same time: fewer than the ten
	// from which OpenSSH drops some (MaxStartups).
	logins = 8
	// nearLogin is the longest login of a server that is near: at a round trip
	// time of 20 ms the shortest, that of FTP, takes 100 ms.
	nearLogin = 60 * time.Millisecond
)

// NewLinks prepares connections to the server of loc for limit users at a time:
// as many connections, fewer if they can be shared. open makes a link, which
// dials nothing yet.
func NewLinks(loc transfer.Location, open func() *transfer.Link, e *policy.Engine, limit int) *Links {
	return &Links{loc: loc, open: open, engine: e, limit: max(1, limit), changed: make(chan struct{})}
}

// Location is the server that the connections go to.
func (p *Links) Location() transfer.Location { return p.loc }

// errCrowded ends the patience of a connection that others can stand in for.
var errCrowded = errors.New("the server wants fewer connections")

// Use runs f on a connection that nobody else uses, or that is Parallel, after
// waiting for one if need be. When the server has too many connections and this one is not the
// last, f is begun again on another. name is as in transfer.Stat.
//
// Within f, a Use with f's context gets the same connection: whoever holds one
// and waited for another could wait for ever.
func (p *Links) Use(ctx context.Context, name string, f func(context.Context, *transfer.Link, *policy.Engine) error) error {
	if h, ok := ctx.Value(p).(held); ok {
		return f(ctx, h.link, h.engine)
	}
	for {
		l, fresh, err := p.acquire(ctx)
		if err != nil {
			return gaveUp(name, err)
		}
		err = p.try(ctx, l, fresh, name, f)
		retired := isCrowded(err) && p.retire(l)
		if p.release(l, err) {
			_ = l.Close(ctx) // it has no connection, that is why it goes
		}
		// Or else it became the last one meanwhile.
		if !retired && !errors.Is(err, errCrowded) {
			return err
		}
	}
}

// try runs f. Only on the last connection the engine may wait for the server to
// have room again: the others give theirs up at once.
func (p *Links) try(ctx context.Context, l *shared, fresh bool, name string, f func(context.Context, *transfer.Link, *policy.Engine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e := &policy.Engine{Limits: p.engine.Limits, Observe: func(ev policy.Event) {
		if ev.Verdict.Crowded && !p.isLast() {
			cancel(errCrowded)
		} else if p.engine.Observe != nil {
			p.engine.Observe(ev)
		}
	}}
	if fresh {
		if err := p.connect(ctx, l.Link, name, e); err != nil {
			return err
		}
	}
	return f(context.WithValue(ctx, p, held{l.Link, e}), l.Link, e)
}

// held is the connection of a context, by its Links.
type held struct {
	link   *transfer.Link
	engine *policy.Engine
}

// connect logs in.
func (p *Links) connect(ctx context.Context, l *transfer.Link, name string, e *policy.Engine) error {
	began := time.Now()
	err := e.Do(ctx, l.Op(name, 0, func(context.Context, transfer.Session) error { return nil }))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(err)
	p.connecting--
	if err == nil && !p.proven {
		p.proven, p.near = true, time.Since(began) < nearLogin
	}
	p.tellChanged()
	return err
}

// note keeps a refused login from being sent again. p.mu is held.
func (p *Links) note(err error) {
	if g, ok := errors.AsType[*policy.GaveUp](err); ok && g.Verdict.Login {
		p.refused = err
	}
}

// gaveUp is the end of what got no connection.
func gaveUp(name string, err error) error {
	if g, ok := errors.AsType[*policy.GaveUp](err); ok {
		return &policy.GaveUp{Op: name, Verdict: g.Verdict, Last: g.Last, Why: g.Why}
	}
	return policy.GiveUpOn(name, policy.LocalFault("wait", "", err))
}

func isCrowded(err error) bool {
	g, ok := errors.AsType[*policy.GaveUp](err)
	return ok && (g.Verdict.Crowded || errors.Is(g.Why, errCrowded))
}

func (p *Links) acquire(ctx context.Context) (l *shared, fresh bool, err error) {
	for {
		p.mu.Lock()
		changed := p.changed
		switch l = p.free(); {
		case p.refused != nil:
			l, err = nil, p.refused
		case l == nil && p.mayOpen():
			l, fresh = &shared{Link: p.open()}, true
			p.links = append(p.links, l)
			p.connecting++
		}
		if l != nil {
			l.users++
		}
		p.mu.Unlock()
		if l != nil || err != nil {
			return l, fresh, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// free is a link with room for one more user, nil if there is none.
func (p *Links) free() *shared {
	for _, l := range slices.Backward(p.links) {
		if l.users == 0 || l.users < share && l.Parallel() {
			return l
		}
	}
	return nil
}

// mayOpen says whether one more connection is wanted and allowed now.
func (p *Links) mayOpen() bool {
	atOnce := 1
	if p.proven {
		atOnce = logins
	}
	limit := p.limit
	if p.near && p.Near > 0 {
		limit = min(limit, p.Near*p.perLink())
	}
	return len(p.links)*p.perLink() < limit && p.connecting < atOnce
}

// perLink is how many may use one link.
func (p *Links) perLink() int {
	if slices.ContainsFunc(p.links, func(l *shared) bool { return l.Parallel() }) {
		return share
	}
	return 1
}

// release says whether the link is to be closed: it was retired, and this was
// its last user. err is what came of the use.
func (p *Links) release(l *shared, err error) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(err)
	l.users--
	p.tellChanged()
	return l.retired && l.users == 0
}

// retire takes a link away for good, unless it is the last.
func (p *Links) retire(l *shared) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.retired {
		return true
	}
	if len(p.links) == 1 {
		return false
	}
	l.retired = true
	p.links = slices.DeleteFunc(p.links, func(other *shared) bool { return other == l })
	p.limit = len(p.links) * p.perLink()
	return true
}

func (p *Links) isLast() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links) == 1
}

func (p *Links) tellChanged() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close ends the connections; none may be in use.
func (p *Links) Close(ctx context.Context) error {
	p.mu.Lock()
	links := p.links
	p.links = nil
	p.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(links))
	for i, l := range links {
		wg.Go(func() { errs[i] = l.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
