package batch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Links are the connections to one server: opened when they are needed, never
// more than the limit. When the server says that it has too many of ours, the
// limit falls to what it bears.
type Links struct {
	loc    transfer.Location
	open   func() *transfer.Link
	engine *policy.Engine

	mu     sync.Mutex
	limit  int
	opened int // idle or in use
	idle   []*transfer.Link
	// connecting: one link is about to log in. The others wait for it: a wrong
	// password is sent once, and a refusal says how many the server bears.
	connecting bool
	refused    error         // the login
	changed    chan struct{} // closed when there may be a link for who waits
}

// NewLinks prepares up to limit connections to the server of loc. open makes a
// link, which dials nothing yet.
func NewLinks(loc transfer.Location, open func() *transfer.Link, e *policy.Engine, limit int) *Links {
	return &Links{loc: loc, open: open, engine: e, limit: max(1, limit), changed: make(chan struct{})}
}

// Location is the server that the connections go to.
func (p *Links) Location() transfer.Location { return p.loc }

// errCrowded ends the patience of a connection that others can stand in for.
var errCrowded = errors.New("the server wants fewer connections")

// Use runs f on a connection that nobody else uses, after waiting for one if
// need be. When the server has too many connections and this one is not the
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
		switch {
		case isCrowded(err) && p.retire(l):
			_ = l.Close(ctx) // it has no connection, that is why it goes
		case errors.Is(err, errCrowded): // it became the last one meanwhile
			p.release(l)
		default:
			p.release(l)
			return err
		}
	}
}

// try runs f. Only on the last connection the engine may wait for the server to
// have room again: the others give theirs up at once.
func (p *Links) try(ctx context.Context, l *transfer.Link, fresh bool, name string, f func(context.Context, *transfer.Link, *policy.Engine) error) error {
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
		if err := p.connect(ctx, l, name, e); err != nil {
			return err
		}
	}
	return f(context.WithValue(ctx, p, held{l, e}), l, e)
}

// held is the connection of a context, by its Links.
type held struct {
	link   *transfer.Link
	engine *policy.Engine
}

// connect logs in.
func (p *Links) connect(ctx context.Context, l *transfer.Link, name string, e *policy.Engine) error {
	err := e.Do(ctx, l.Op(name, 0, func(context.Context, transfer.Session) error { return nil }))
	p.mu.Lock()
	defer p.mu.Unlock()
	if g, ok := errors.AsType[*policy.GaveUp](err); ok && g.Verdict.Login {
		p.refused = err
	}
	p.connecting = false
	p.tellChanged()
	return err
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

func (p *Links) acquire(ctx context.Context) (l *transfer.Link, fresh bool, err error) {
	for {
		p.mu.Lock()
		changed := p.changed
		switch n := len(p.idle); {
		case p.refused != nil:
			err = p.refused
		case n > 0:
			l, p.idle = p.idle[n-1], p.idle[:n-1]
		case !p.connecting && p.opened < p.limit:
			l, fresh = p.open(), true
			p.connecting = true
			p.opened++
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

func (p *Links) release(l *transfer.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, l)
	p.tellChanged()
}

// retire takes a link away for good, unless it is the last.
func (p *Links) retire(l *transfer.Link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened == 1 {
		return false
	}
	p.opened--
	p.limit = p.opened
	p.tellChanged()
	return true
}

func (p *Links) isLast() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened == 1
}

func (p *Links) tellChanged() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close ends the idle connections; none may be in use.
func (p *Links) Close(ctx context.Context) error {
	p.mu.Lock()
	idle := slices.Clone(p.idle)
	p.idle, p.opened = nil, p.opened-len(p.idle)
	p.mu.Unlock()
	var errs []error
	for _, l := range idle {
		errs = append(errs, l.Close(ctx))
	}
	return errors.Join(errs...)
}
