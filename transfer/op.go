package transfer

import (
	"context"

	"github.com/xfer-cli/xfer/policy"
)

// Op makes try an operation of the engine, with the remedies of this link. need
// is how many bytes it writes, for the diagnosis; 0 if none.
func (l *Link) Op(name string, need int64, try func(context.Context, Session) error) policy.Op {
	return l.user().op(name, need, try)
}

func (u *user) op(name string, need int64, try func(context.Context, Session) error) policy.Op {
	return policy.Op{
		Name: name,
		Try: func(ctx context.Context) error {
			s, err := u.session(ctx)
			if err != nil {
				return err
			}
			return u.link.annotate(try(ctx, s))
		},
		Reconnect:  u.reconnect,
		SwitchMode: u.switchMode,
		Diagnose: func(ctx context.Context, f *policy.Fault) policy.Verdict {
			return u.link.diagnose(ctx, f, need)
		},
		Can:   u.can,
		About: u.about,
	}
}

// user is one operation on a link that others may use at the same time.
type user struct {
	link *Link
	// dials is how many dials of the link it has heard of. Without a later one
	// the session is the one that it used last.
	dials int
}

func (l *Link) user() *user {
	_, n := l.live()
	return &user{l, n}
}

// session is Link.Session.
func (u *user) session(ctx context.Context) (s Session, err error) {
	s, u.dials, err = u.link.connect(ctx, u.dials)
	return s, err
}

// reconnect drops the session that the operation has used, unless another did
// already, and gets a new one.
func (u *user) reconnect(ctx context.Context) error {
	u.link.dropIf(func(dials int) bool { return dials == u.dials })
	_, err := u.session(ctx)
	return err
}

// switchMode changes between passive and active, on the same login where the
// session can, else with a new one. Sessions that can are not Parallel.
func (u *user) switchMode(ctx context.Context) error {
	l := u.link
	before := l.mode
	l.mode = before.other()
	if s, _ := l.live(); s != nil {
		if f := s.Extras().SwitchMode; f != nil && f(ctx) == nil {
			return nil
		}
	}
	err := u.reconnect(ctx)
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

func (u *user) can(r policy.Remedy) bool { return r != policy.SwitchMode || u.link.canSwitch() }

func (u *user) about(r policy.Remedy) string {
	if r == policy.SwitchMode {
		return "switching to " + u.link.mode.other().String()
	}
	return ""
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
