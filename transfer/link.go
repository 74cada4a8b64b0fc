package transfer

import (
	"context"
	"maps"
	"sync"

	"github.com/xfer-cli/xfer/policy"
)

// Hints is what a Dialer should start with.
type Hints struct {
	// Mode is the FTP mode to start in: passive, active, or the site's wish
	// when nothing better is known.
	Mode Mode
	// Facts is what is remembered about the host.
	Facts Facts
}

// Dialer logs in to one server. It tries once; secrets it had to ask for are
// kept by whoever made it, so that a redial asks nobody.
type Dialer func(ctx context.Context, hints Hints) (Session, error)

// Link keeps a session to one server: it dials on first use, and again after
// the session has died. It remembers the mode and what was learned about the
// host. A Link is used by one goroutine; Close may be called from any.
type Link struct {
	loc    Location
	dial   Dialer
	mode   Mode
	memory Memory // may be nil

	mu      sync.Mutex
	session Session
	facts   Facts
}

// NewLink prepares a link; nothing is dialled yet. memory may be nil.
func NewLink(loc Location, dial Dialer, mode Mode, memory Memory) *Link {
	return &Link{loc: loc, dial: dial, mode: mode, memory: memory}
}

// Location is the server that the link goes to.
func (l *Link) Location() Location { return l.loc }

// Session gives the live session, dialling if there is none.
func (l *Link) Session(ctx context.Context) (Session, error) {
	if s := l.live(); s != nil {
		return s, nil
	}
	l.drop()
	if l.facts == nil && l.memory != nil {
		facts, err := l.memory.Recall(ctx, l.loc.Server())
		if err != nil {
			return nil, policy.LocalFault("recall", "", err)
		}
		l.facts = facts
	}
	s, err := l.dial(ctx, Hints{Mode: l.mode, Facts: l.facts})
	if err != nil {
		return nil, l.annotate(err)
	}
	l.mu.Lock()
	l.session = s
	l.mu.Unlock()
	return s, nil
}

// live is the session if there is one that can be used, nil otherwise.
func (l *Link) live() Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != nil && l.session.Alive() {
		return l.session
	}
	return nil
}

// Reconnect drops the session and logs in anew.
func (l *Link) Reconnect(ctx context.Context) error {
	l.drop()
	_, err := l.Session(ctx)
	return err
}

// SwitchMode changes between passive and active, on the same login where the
// session can, else with a new one.
func (l *Link) SwitchMode(ctx context.Context) error {
	before := l.mode
	l.mode = before.other()
	if s := l.live(); s != nil {
		if f := s.Extras().SwitchMode; f != nil && f(ctx) == nil {
			return nil
		}
	}
	err := l.Reconnect(ctx)
	if err != nil {
		l.mode = before // the switch is still due
	}
	return err
}

// other is the mode after a switch. A wish that forbids the switch never gets here.
func (m Mode) other() Mode {
	if m == ModeActive {
		return ModePassive
	}
	return ModeActive
}

// canSwitch says whether the other mode is possible now.
func (l *Link) canSwitch() bool {
	if l.mode == ModePassiveOnly || l.mode == ModeActiveOnly {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session != nil && l.session.Extras().SwitchMode != nil
}

// Op makes try an operation of the engine, with the remedies of this link. need
// is how many bytes it writes, for the diagnosis; 0 if none.
func (l *Link) Op(name string, need int64, try func(context.Context, Session) error) policy.Op {
	return policy.Op{
		Name: name,
		Try: func(ctx context.Context) error {
			s, err := l.Session(ctx)
			if err != nil {
				return err
			}
			return l.annotate(try(ctx, s))
		},
		Reconnect:  l.Reconnect,
		SwitchMode: l.SwitchMode,
		Diagnose: func(ctx context.Context, f *policy.Fault) policy.Verdict {
			return l.diagnose(ctx, f, need)
		},
		Can: func(r policy.Remedy) bool { return r != policy.SwitchMode || l.canSwitch() },
		About: func(r policy.Remedy) string {
			if r == policy.SwitchMode {
				return "switching to " + l.mode.other().String()
			}
			return ""
		},
	}
}

// diagnose asks the session for the cause. Where it can't say, the verdict of
// the bare code stands, and nothing is repeated on a guess.
func (l *Link) diagnose(ctx context.Context, f *policy.Fault, need int64) policy.Verdict {
	if s, err := l.Session(ctx); err == nil && s.Extras().Diagnose != nil {
		return s.Extras().Diagnose(ctx, f, need)
	}
	v := policy.Classify(f)
	v.Remedy = policy.GiveUp
	return v
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

// drop closes the session and keeps what it learned.
func (l *Link) drop() {
	l.mu.Lock()
	s := l.session
	l.session = nil
	l.mu.Unlock()
	if s == nil {
		return
	}
	if f := s.Extras().Facts; f != nil {
		if l.facts == nil {
			l.facts = Facts{}
		}
		maps.Copy(l.facts, f())
	}
	_ = s.Close() // nothing is owed to a session that is being dropped
}

// Close ends the session and hands what was learned to the memory.
func (l *Link) Close(ctx context.Context) error {
	l.drop()
	if l.memory == nil || len(l.facts) == 0 {
		return nil
	}
	return l.memory.Learn(ctx, l.loc.Server(), l.facts)
}
