package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// play is an operation on the fake clock: what its tries answer, and a record
// of what was done when.
type play struct {
	start  time.Time
	faults []error // one for each try; a try beyond them succeeds
	steps  []string
	op     Op
}

func newPlay(faults ...error) *play {
	p := &play{start: time.Now(), faults: faults}
	p.op = Op{Name: "put a.csv", Try: func(context.Context) error {
		p.record("try")
		if len(p.faults) == 0 {
			return nil
		}
		err := p.faults[0]
		p.faults = p.faults[1:]
		return err
	}}
	return p
}

func (p *play) record(what string) {
	p.steps = append(p.steps, fmt.Sprintf("%s@%v", what, time.Since(p.start)))
}

// can makes the remedies available that only have to be recorded.
func (p *play) can(remedies ...Remedy) *play {
	for _, r := range remedies {
		switch r {
		case Reconnect:
			p.op.Reconnect = func(context.Context) error { p.record("reconnect"); return nil }
		case SwitchMode:
			p.op.SwitchMode = func(context.Context) error { p.record("switch"); return nil }
		default:
			panic(r)
		}
	}
	return p
}

func (p *play) do(ctx context.Context) error {
	return (&Engine{Limits: plain()}).Do(ctx, p.op)
}

func (p *play) check(t *testing.T, steps string) {
	t.Helper()
	if got := strings.Join(p.steps, " "); got != steps {
		t.Errorf("steps\ngot  %s\nwant %s", got, steps)
	}
}

func gaveUp(t *testing.T, err error, rule string) *GaveUp {
	t.Helper()
	g, ok := errors.AsType[*GaveUp](err)
	if !ok {
		t.Fatalf("%v is no *GaveUp", err)
	}
	if g.Verdict.Rule != rule {
		t.Errorf("gave up by %s, want %s", g.Verdict.Rule, rule)
	}
	if g.Last == nil {
		t.Error("no last fault")
	}
	return g
}

func ftpFault(code int, op string) *Fault {
	return &Fault{Protocol: FTP, Phase: Command, Op: op, Path: "in/a.csv", Host: "partner.example", Code: code}
}

func times(n int, err error) []error { return slices.Repeat([]error{err}, n) }

// The four behaviours of the card.

func TestTransientCodesAreRetriedWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(times(3, ftpFault(450, "STOR"))...)
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s try@1s try@3s try@7s")

		p = newPlay(times(9, ftpFault(450, "STOR"))...)
		g := gaveUp(t, p.do(t.Context()), "ftp-450")
		p.check(t, "try@0s try@1s try@3s try@7s")
		if g.Tries != 4 || !strings.HasSuffix(g.Verdict.Means, "; 4 tries did not help") || g.Why != nil || g.Verdict.Kind != KindTemporary {
			t.Errorf("%+v", g)
		}
		if got, want := g.Error(), "put a.csv: partner.example could not do the upload now (450)"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func Test425SwitchesTheMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(ftpFault(425, "STOR")).can(SwitchMode, Reconnect)
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s switch@0s try@0s")

		// Both modes fail: backoff, no alternating. The switch costs no delay.
		p = newPlay(times(9, ftpFault(425, "STOR"))...).can(SwitchMode, Reconnect)
		g := gaveUp(t, p.do(t.Context()), "ftp-425")
		p.check(t, "try@0s switch@0s try@0s try@1s try@3s")
		if g.Tries != 4 {
			t.Errorf("%d tries", g.Tries)
		}

		// No other mode here.
		p = newPlay(times(9, ftpFault(425, "STOR"))...).can(SwitchMode)
		p.op.Can = func(r Remedy) bool { return r != SwitchMode }
		gaveUp(t, p.do(t.Context()), "ftp-425")
		p.check(t, "try@0s try@1s try@3s try@7s")

		// A switch that can't be made, because the connection died: it stays due.
		p = newPlay(ftpFault(425, "STOR"))
		dead := 2
		p.op.SwitchMode = func(context.Context) error {
			p.record("switch")
			if dead--; dead >= 0 {
				return &Fault{Protocol: Net, Phase: Connect, Op: "dial", Cause: CauseRefused}
			}
			return nil
		}
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s switch@0s switch@1s switch@3s try@3s")
	})
}

func TestPermanentCodesAreTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for code := 500; code <= 599; code++ {
			if code == 503 {
				continue // out of step: one fresh session
			}
			p := newPlay(times(9, ftpFault(code, "STOR"))...).can(SwitchMode, Reconnect)
			if code == 522 || code == 530 {
				p.faults = times(9, ftpFault(code, "NOOP"))
			}
			if code == 530 {
				p.faults = times(9, &Fault{Protocol: FTP, Phase: Auth, Op: "PASS", Code: code})
			}
			g, ok := errors.AsType[*GaveUp](p.do(t.Context()))
			if !ok || g.Tries != 1 || strings.Contains(g.Verdict.Means, "did not help") {
				t.Errorf("%d: %+v", code, g)
			}
			if got := strings.Join(p.steps, " "); got != "try@0s" {
				t.Errorf("%d: %s", code, got)
			}
		}

		p := newPlay(times(9, ftpFault(503, "STOR"))...).can(Reconnect)
		gaveUp(t, p.do(t.Context()), "ftp-503")
		p.check(t, "try@0s reconnect@0s try@0s")
	})
}

func TestSFTP4IsDiagnosed(t *testing.T) {
	failure := &Fault{Protocol: SFTP, Phase: Data, Op: "write", Path: "in/a.csv", Host: "h", Code: 4, Text: "Failure"}
	synctest.Test(t, func(t *testing.T) {
		look := func(p *play, rule string) {
			p.op.Diagnose = func(_ context.Context, f *Fault) Verdict {
				p.record("look")
				return Found(f, rule, "0 B of 1.0 GiB free on /in")
			}
		}
		// Full: few slow tries, although it is looked into only once.
		p := newPlay(times(9, failure)...).can(Reconnect)
		look(p, "remote-space")
		g := gaveUp(t, p.do(t.Context()), "remote-space")
		p.check(t, "try@0s look@0s try@5s try@15s")
		if g.Verdict.Evidence != "0 B of 1.0 GiB free on /in" || g.Verdict.Kind != KindTarget || g.Last != failure || g.Tries != 3 {
			t.Errorf("%+v", g)
		}

		// Space is freed meanwhile.
		p = newPlay(times(2, failure)...)
		look(p, "remote-space")
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s look@0s try@5s try@15s")

		// A cause that stays.
		p = newPlay(times(9, failure)...)
		look(p, "remote-exists")
		gaveUp(t, p.do(t.Context()), "remote-exists")
		p.check(t, "try@0s look@0s")

		// Each distinct fault once.
		other := *failure
		other.Path = "in/b.csv"
		p = newPlay(failure, &other, failure, &other)
		look(p, "remote-busy")
		_ = p.do(t.Context()) // the steps tell
		p.check(t, "try@0s look@0s try@1s look@1s try@3s try@7s")

		// A look that sees no more than the code did ends it; it must not go round.
		p = newPlay(times(9, failure)...)
		p.op.Diagnose = func(_ context.Context, f *Fault) Verdict { p.record("look"); return Classify(f) }
		gaveUp(t, p.do(t.Context()), "sftp-4")
		p.check(t, "try@0s look@0s")

		// Nobody can look.
		p = newPlay(times(9, failure)...)
		gaveUp(t, p.do(t.Context()), "sftp-4")
		p.check(t, "try@0s")

		// What was found can be overridden like any rule.
		p = newPlay(times(9, failure)...)
		look(p, "remote-space")
		limits := plain()
		limits.Overrides = map[string]Override{"remote-space": {Remedy: GiveUp, Set: true}}
		gaveUp(t, (&Engine{Limits: limits}).Do(t.Context(), p.op), "remote-space")
		p.check(t, "try@0s look@0s")
	})
}

// TestSaidWhenEnded: what failed before the end is told, the end itself not twice.
func TestSaidWhenEnded(t *testing.T) {
	for _, tt := range []struct {
		cause Cause
		last  error
		want  string
	}{
		{CauseCancelled, context.Canceled, "put a: interrupted"},
		{CauseDeadline, context.DeadlineExceeded, "put a: the time allowed by --deadline is over"},
		{CauseCancelled, errors.New("connection refused"), "put a: interrupted (connection refused)"},
		{CauseDeadline, errors.New("connection refused"), "put a: the time allowed by --deadline is over (connection refused)"},
	} {
		f := &Fault{Protocol: FTP, Op: "STOR", Text: tt.last.Error(), Err: tt.last}
		g := &GaveUp{Op: "put a", Verdict: index.byRule[string(tt.cause)].Verdict(f), Last: f}
		if g.Error() != tt.want {
			t.Errorf("%q, want %q", g.Error(), tt.want)
		}
	}
}

func TestCancelledDuringTheDiagnosis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		failure := &Fault{Protocol: SFTP, Phase: Data, Op: "write", Code: 4}
		p := newPlay(failure)
		p.op.Diagnose = func(ctx context.Context, f *Fault) Verdict {
			cancel()
			return Found(f, "remote-unknown", "") // its looks failed with the context
		}
		g := gaveUp(t, p.do(ctx), "cancelled")
		if g.Verdict.Kind != KindCancelled || g.Last != failure || !errors.Is(g, context.Canceled) {
			t.Errorf("%+v", g)
		}
	})
}

// Paces and reconnecting.

func TestPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name  string
			fault *Fault
			steps string
		}{
			{"idle: at once, then with backoff", &Fault{Protocol: FTP, Phase: Command, Code: 421, Text: "Idle timeout"}, "try@0s reconnect@0s try@0s reconnect@1s try@1s reconnect@3s try@3s"},
			{"limit: slow", &Fault{Protocol: FTP, Phase: Connect, Code: 421, Text: "Too many connections"}, "try@0s reconnect@5s try@5s reconnect@15s try@15s reconnect@35s try@35s"},
			{"local error: few", &Fault{Protocol: FTP, Phase: Finish, Code: 451}, "try@0s try@1s try@3s"},
			{"space: few and slow", &Fault{Protocol: FTP, Phase: Finish, Code: 452}, "try@0s try@5s try@15s"},
			{"no longer logged in: once", &Fault{Protocol: FTP, Phase: Command, Code: 530}, "try@0s reconnect@0s try@0s"},
			{"TLS session: once", &Fault{Protocol: FTP, Phase: Data, Cause: CauseDataTLS}, "try@0s reconnect@0s try@0s"},
			{"out of step: once", &Fault{Protocol: FTP, Phase: Command, Code: 226}, "try@0s reconnect@0s try@0s"},
			{"can't resume: once, on the same connection", &Fault{Protocol: FTP, Phase: Data, Cause: CauseNoRest}, "try@0s try@0s"},
		} {
			p := newPlay(times(9, c.fault)...).can(Reconnect)
			if err := p.do(t.Context()); err == nil {
				t.Errorf("%s: no error", c.name)
			}
			if got := strings.Join(p.steps, " "); got != c.steps {
				t.Errorf("%s\ngot  %s\nwant %s", c.name, got, c.steps)
			}
		}
	})
}

func TestAReconnectThatFailsStaysDue(t *testing.T) {
	lost := &Fault{Protocol: FTP, Phase: Data, Op: "STOR", Cause: CauseReset}
	refused := &Fault{Protocol: Net, Phase: Connect, Op: "dial", Cause: CauseRefused}
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(lost)
		down := 2
		p.op.Reconnect = func(context.Context) error {
			p.record("reconnect")
			if down--; down >= 0 {
				return refused
			}
			return nil
		}
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s reconnect@1s reconnect@3s reconnect@7s try@7s")

		// The server stays away: each attempt to reach it was a try.
		p = newPlay(lost)
		p.op.Reconnect = func(context.Context) error { p.record("reconnect"); return refused }
		g := gaveUp(t, p.do(t.Context()), "net-refused")
		p.check(t, "try@0s reconnect@1s reconnect@3s reconnect@7s")
		if g.Tries != 4 || g.Last != refused || !strings.HasSuffix(g.Verdict.Means, "; 4 tries did not help") {
			t.Errorf("%+v", g)
		}
	})
}

func TestARefusedLoginIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, refusal := range []*Fault{
			{Protocol: FTP, Phase: Auth, Op: "PASS", Code: 530, Text: "Login incorrect."},
			{Protocol: FTP, Phase: Auth, Op: "PASS", Code: 430},
			{Protocol: FTP, Phase: Auth, Op: "PASS", Code: 421, Text: "Too many authentication failures"},
			{Protocol: FTP, Phase: Auth, Op: "USER", Code: 332},
			{Protocol: SSH, Phase: Auth, Op: "auth", Cause: CauseSSHAuth},
			{Protocol: SSH, Phase: Auth, Op: "auth", Cause: CauseTooManyKeys},
		} {
			limits := plain()
			limits.Overrides = map[string]Override{ // whatever the configuration says
				"530": {Remedy: Retry, Set: true}, "430": {Remedy: Retry, Set: true}, "421": {Remedy: Retry, Set: true},
				"332": {Remedy: Retry, Set: true}, "ssh-auth": {Remedy: Retry, Set: true}, "ssh-too-many-keys": {Remedy: Retry, Set: true},
			}
			p := newPlay(times(9, refusal)...).can(Reconnect)
			err := (&Engine{Limits: limits}).Do(t.Context(), p.op)
			g, ok := errors.AsType[*GaveUp](err)
			if !ok || !g.Verdict.Login || g.Verdict.Kind != KindPermission || len(p.steps) != 1 {
				t.Errorf("%s: %v, %v", refusal, p.steps, err)
			}

			// The same when it is a fresh session after a broken one.
			p = newPlay(&Fault{Protocol: FTP, Phase: Data, Cause: CauseReset})
			logins := 0
			p.op.Reconnect = func(context.Context) error { logins++; return refusal }
			if err := (&Engine{Limits: limits}).Do(t.Context(), p.op); err == nil || logins != 1 {
				t.Errorf("%s: %d logins, %v", refusal, logins, err)
			}
		}
	})
}

// A step that was carried out is not due again.
func TestAStepIsCarriedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(
			&Fault{Protocol: FTP, Phase: Data, Op: "STOR", Cause: CauseReset}, ftpFault(425, "STOR"),
			&Fault{Protocol: FTP, Phase: Finish, Op: "STOR", Cause: CauseReset}, ftpFault(450, "STOR"),
		).can(Reconnect, SwitchMode)
		p.op.Reconcile = func(context.Context) (bool, error) { p.record("look"); return false, nil }
		e := &Engine{Limits: plain()}
		e.Limits.Tries = 8
		if err := e.Do(t.Context(), p.op); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s reconnect@1s try@1s switch@1s try@1s look@1s try@1s try@3s")
	})
}

// Progress and deadlines.

func TestProgressGivesTheTriesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Ten breaks, each a little further: never out of tries, and never a delay.
		p := newPlay(times(10, &Fault{Protocol: FTP, Phase: Data, Cause: CauseReset})...)
		var across int64
		try := p.op.Try
		p.op.Try = func(ctx context.Context) error { across += worthwhile; return try(ctx) }
		p.op.Progress = func() int64 { return across }
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(p.start); got != 0 {
			t.Errorf("took %v", got)
		}

		// Without it the same ends after four.
		p = newPlay(times(10, &Fault{Protocol: FTP, Phase: Data, Cause: CauseReset})...)
		p.op.Progress = func() int64 { return across } // large, but it does not grow
		gaveUp(t, p.do(t.Context()), "net-reset")
		p.check(t, "try@0s try@1s try@3s try@7s")

		// It grows at the first two tries, and then no more.
		p = newPlay(times(10, &Fault{Protocol: FTP, Phase: Data, Cause: CauseReset})...)
		p.op.Progress = func() int64 { return across + min(int64(len(p.steps)), 2)*worthwhile }
		gaveUp(t, p.do(t.Context()), "net-reset")
		p.check(t, "try@0s try@0s try@0s try@1s try@3s")

		// A little gives the tries back too, but the server is given a pause.
		p = newPlay(times(10, &Fault{Protocol: FTP, Phase: Data, Cause: CauseReset})...)
		p.op.Progress = func() int64 { return across + min(int64(len(p.steps)), 2) }
		gaveUp(t, p.do(t.Context()), "net-reset")
		p.check(t, "try@0s try@1s try@2s try@4s try@8s")
	})
}

// The backoff does not count the time of the tries: after an hour of sending it
// still begins with the first delay.
func TestLongTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlay(times(2, &Fault{Protocol: FTP, Phase: Data, Cause: CauseReset})...)
		try := p.op.Try
		p.op.Try = func(ctx context.Context) error { time.Sleep(time.Hour); return try(ctx) }
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@1h0m0s try@2h0m1s try@3h0m3s")
	})
}

func TestProgressDoesNotMoveTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		fault := &Fault{Protocol: FTP, Phase: Data, Cause: CauseRefused} // waits, whatever the progress
		p := newPlay(times(100, fault)...)
		var across int64
		try := p.op.Try
		p.op.Try = func(ctx context.Context) error { across++; return try(ctx) }
		p.op.Progress = func() int64 { return across }
		g := gaveUp(t, p.do(ctx), "net-refused")
		if !errors.Is(g, ErrNoTime) || g.Tries != 6 || g.Last != fault {
			t.Errorf("%+v", g)
		}
		if got := time.Since(p.start); got != 5*time.Second {
			t.Errorf("ended after %v", got)
		}
	})
}

func TestNoTimeForAnotherTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		fault := ftpFault(450, "STOR")
		p := newPlay(times(9, fault)...)
		g := gaveUp(t, p.do(ctx), "ftp-450")
		// The third try would begin at 3 s, when it is too late: nobody waits for that.
		p.check(t, "try@0s try@1s")
		if got := time.Since(p.start); got != time.Second {
			t.Errorf("waited until %v", got)
		}
		if !errors.Is(g, ErrNoTime) || !errors.Is(g, fault) || g.Last != fault {
			t.Errorf("%+v", g)
		}
	})
}

func TestTheDeadlineEndsATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := newPlay()
		p.op.Try = func(ctx context.Context) error {
			<-ctx.Done()
			return &Fault{Protocol: FTP, Phase: Data, Op: "STOR", Cause: CauseTimeout, Err: ctx.Err()}
		}
		g := gaveUp(t, p.do(ctx), "deadline")
		if g.Verdict.Kind != KindTemporary || !errors.Is(g.Why, context.DeadlineExceeded) || g.Last.Cause != CauseTimeout {
			t.Errorf("%+v", g)
		}
		if got := time.Since(p.start); got != time.Minute {
			t.Errorf("ended after %v", got)
		}
	})
}

func TestCancelledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signal := errors.New("signal: interrupt")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(1500*time.Millisecond, func() { cancel(signal) })
		fault := ftpFault(450, "STOR")
		p := newPlay(times(9, fault)...)
		g := gaveUp(t, p.do(ctx), "cancelled")
		p.check(t, "try@0s try@1s")
		if got := time.Since(p.start); got != 1500*time.Millisecond {
			t.Errorf("ended after %v", got)
		}
		if g.Verdict.Kind != KindCancelled || g.Last != fault || !errors.Is(g, signal) || !errors.Is(g, fault) {
			t.Errorf("%+v", g)
		}
		if got := g.Error(); got != "put a.csv: interrupted (450)" {
			t.Errorf("%q", got)
		}
	})
}

func TestCancelledBeforeAnythingIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p := newPlay(times(9, &Fault{Protocol: FTP, Phase: Command, Code: 421, Text: "Idle timeout"})...)
		p.op.Reconnect = func(context.Context) error { p.record("reconnect"); return nil }
		e := &Engine{Limits: plain(), Observe: func(Event) { cancel() }} // during a delay of nothing
		gaveUp(t, e.Do(ctx, p.op), "cancelled")
		p.check(t, "try@0s")
	})
}

// Reconcile.

func TestALostConfirmationIsLookedInto(t *testing.T) {
	lost := &Fault{Protocol: FTP, Phase: Finish, Op: "RNTO", Cause: CauseReset}
	synctest.Test(t, func(t *testing.T) {
		// It took place: nothing is repeated.
		p := newPlay(times(9, lost)...).can(Reconnect)
		p.op.Reconcile = func(context.Context) (bool, error) { p.record("look"); return true, nil }
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s look@0s")

		// It did not: then it is.
		p = newPlay(lost).can(Reconnect)
		p.op.Reconcile = func(context.Context) (bool, error) { p.record("look"); return false, nil }
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s look@0s try@0s")

		// The look itself fails: it stays due, and nothing is repeated before it
		// succeeded, also through other faults and a new connection.
		p = newPlay(lost).can(Reconnect)
		looks := []error{
			&Fault{Protocol: Net, Phase: Connect, Cause: CauseRefused},
			&Fault{Protocol: FTP, Phase: Command, Op: "SIZE", Cause: CauseReset},
		}
		p.op.Reconcile = func(context.Context) (bool, error) {
			p.record("look")
			if len(looks) > 0 {
				err := looks[0]
				looks = looks[1:]
				return false, err
			}
			return false, nil
		}
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s look@0s look@1s reconnect@3s look@3s try@3s")

		// It can't be looked at here, as with a listing: harmless to repeat.
		p = newPlay(lost).can(Reconnect)
		if err := p.do(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s reconnect@1s try@1s")

		// The confirmation is lost again and again.
		p = newPlay(times(9, lost)...)
		p.op.Reconcile = func(context.Context) (bool, error) { return false, nil }
		gaveUp(t, p.do(t.Context()), "net-reset")
		p.check(t, "try@0s try@0s try@1s try@3s")

		// No configuration makes it blind.
		limits := plain()
		limits.Overrides = map[string]Override{"net-reset": {Remedy: Retry, Set: true}}
		p = newPlay(lost)
		p.op.Reconcile = func(context.Context) (bool, error) { p.record("look"); return true, nil }
		if err := (&Engine{Limits: limits}).Do(t.Context(), p.op); err != nil {
			t.Fatal(err)
		}
		p.check(t, "try@0s look@0s")
	})
}

// Errors, events, and the rest.

func TestAnErrorWithoutAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("what is this")
		p := newPlay(cause)
		g := gaveUp(t, p.do(t.Context()), "local-io")
		if !errors.Is(g, cause) || g.Tries != 1 {
			t.Errorf("%+v", g)
		}
	})
}

func TestGaveUpUnwraps(t *testing.T) {
	inner := errors.New("inner")
	f := &Fault{Protocol: FTP, Code: 550, Text: "no", Err: inner}
	g := &GaveUp{Op: "put a.csv", Verdict: Classify(f), Last: f, Why: ErrNoTime}
	wrapped := fmt.Errorf("batch: %w", g)
	for _, want := range []error{g, f, inner, ErrNoTime} {
		if !errors.Is(wrapped, want) {
			t.Errorf("does not lead to %v", want)
		}
	}
	if got := FaultOf(wrapped); got != f {
		t.Errorf("%+v", got)
	}
	// Without words of its own the head is not said twice.
	g = GiveUpOn("get x", &Fault{Protocol: SSH, Cause: CauseKeyFile, Host: "h"})
	g.Verdict.Head = g.Last.Said()
	if got := g.Error(); strings.Count(got, g.Verdict.Head) != 1 {
		t.Errorf("%q", got)
	}
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		p := newPlay(
			ftpFault(450, "STOR"), ftpFault(425, "STOR"), ftpFault(425, "STOR"), ftpFault(452, "STOR"), ftpFault(550, "STOR"),
		).can(SwitchMode)
		p.op.Diagnose = func(_ context.Context, f *Fault) Verdict { return Found(f, "remote-busy", "") }
		p.op.About = func(r Remedy) string {
			if r == SwitchMode {
				return "switching to active"
			}
			return ""
		}
		limits := plain()
		limits.Tries = 8
		var events, also []string
		e := &Engine{Limits: limits, Observe: func(ev Event) {
			events = append(events, fmt.Sprintf("%s: %d → %v in %v (%d of %d) %s", ev.Op, ev.Fault.Code, ev.Remedy, ev.Delay, ev.Try, ev.Tries, ev.About))
			if got := ev.Deadline.Sub(p.start); got != time.Hour {
				t.Errorf("deadline in %v", got)
			}
		}}
		if err := e.Observed(func(ev Event) { also = append(also, ev.Verdict.Rule) }).Do(ctx, p.op); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"put a.csv: 450 → retry in 1s (1 of 8) ",
			"put a.csv: 425 → switch-mode in 0s (2 of 8) switching to active",
			"put a.csv: 425 → retry in 2s (2 of 8) ",
			"put a.csv: 452 → retry in 20s (3 of 5) ",
			"put a.csv: 550 → diagnose in 0s (4 of 8) ",
			"put a.csv: 550 → retry in 8s (4 of 8) ",
		}
		if !slices.Equal(events, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(events, "\n"), strings.Join(want, "\n"))
		}
		if got := strings.Join(also, " "); got != "ftp-450 ftp-425 ftp-425 ftp-452 ftp-550 remote-busy" {
			t.Errorf("the second observer saw %s", got)
		}
		if e.Observed(nil) != e {
			t.Error("an engine without a further observer is another one")
		}
	})
}

func TestJitterAndCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := Limits{Tries: 200, Few: 3, Base: time.Second, Cap: 4 * time.Second, Factor: 2, Jitter: 0.5, Slow: 5}
		p := newPlay(times(100, ftpFault(450, "STOR"))...)
		var delays []time.Duration
		e := &Engine{Limits: limits, Observe: func(ev Event) { delays = append(delays, ev.Delay) }}
		if err := e.Do(t.Context(), p.op); err != nil {
			t.Fatal(err)
		}
		distinct := map[time.Duration]bool{}
		for i, d := range delays {
			middle := min(time.Second<<min(i, 2), 4*time.Second)
			if d < middle/2 || d > middle*3/2 {
				t.Errorf("delay %d is %v, want %v ± half", i, d, middle)
			}
			distinct[d] = true
		}
		if len(delays) != 100 || len(distinct) < 50 {
			t.Errorf("%d delays, %d different ones", len(delays), len(distinct))
		}
	})
}
