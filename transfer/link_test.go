package transfer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// memMemory is a Memory that notes what it was told.
type memMemory struct {
	known Facts
	told  []Facts
	err   error
}

func (m *memMemory) Recall(context.Context, string) (Facts, error) { return m.known, m.err }

func (m *memMemory) Learn(_ context.Context, _ string, learned Facts) error {
	m.told = append(m.told, learned)
	return nil
}

// TestLinkLearnsWhatIsNew: what was recalled and is still so is not written again.
func TestLinkLearnsWhatIsNew(t *testing.T) {
	learned := Facts{"mode": {Value: "active", Reason: "425", At: time.Now()}, "epsv": {Value: "works", At: time.Now()}}
	for name, c := range map[string]struct {
		known Facts
		want  []string
	}{
		"nothing known":    {nil, []string{"mode", "epsv"}},
		"one has changed":  {Facts{"mode": {Value: "passive"}, "epsv": {Value: "works"}}, []string{"mode"}},
		"all known":        {Facts{"mode": {Value: "active"}, "epsv": {Value: "works"}}, nil},
		"and more besides": {Facts{"mode": {Value: "active"}, "epsv": {Value: "works"}, "no:MLSD": {Value: "refused"}}, nil},
	} {
		server, memory := newMemServer(), &memMemory{known: c.known}
		server.extras.Facts = func() Facts { return learned }
		var hints Hints
		l := NewLink(Location{Host: "h"}, func(ctx context.Context, h Hints) (Session, error) {
			hints = h
			return server.dial(ctx, h)
		}, ModeAuto, memory)
		if _, err := l.Session(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(hints.Facts) != len(c.known) {
			t.Errorf("%s: the dialler got %v", name, hints.Facts)
		}
		for range 2 {
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if (len(memory.told) == 1) != (len(c.want) > 0) || len(memory.told) > 1 {
			t.Errorf("%s: told %v", name, memory.told)
			continue
		}
		for _, fact := range c.want {
			if memory.told[0][fact] != learned[fact] || len(memory.told[0]) != len(c.want) {
				t.Errorf("%s: told %v, want %v", name, memory.told[0], c.want)
			}
		}
	}
}

// memBudget is a Budget that notes what happens to its slots.
type memBudget struct {
	calls []string
	limit int // what Crowded answers
	err   error
}

func (b *memBudget) note(format string, args ...any) {
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
}

func (b *memBudget) Take(_ context.Context, host string, limit int) (Slot, error) {
	b.note("take %s %d", host, limit)
	return b, b.err
}

func (b *memBudget) Opened() { b.note("opened") }

func (b *memBudget) Crowded(_ context.Context, said string) int {
	b.note("crowded %s", said)
	return b.limit
}

func (b *memBudget) Release() { b.note("release") }

// TestLinkTakesASlot before it dials, keeps it while it reconnects, and gives it
// back however that ends.
func TestLinkTakesASlot(t *testing.T) {
	crowded := &policy.Fault{Protocol: policy.FTP, Phase: policy.Connect, Op: "greeting", Code: 421, Text: "Too many connections"}
	loc := Location{Scheme: SchemeFTP, Host: "h", Port: 21}
	const host = "ftp://h:21"
	for name, c := range map[string]struct {
		dial  []error // of each dial
		known string  // fact
		most  int
		limit int
		want  []string
		learn string
	}{
		"plain":                    {[]error{nil, nil}, "", 0, 0, []string{"take " + host + " 0", "opened", "opened", "release"}, ""},
		"limit of the person":      {[]error{nil, nil}, "", 3, 0, []string{"take " + host + " 3", "opened", "opened", "release"}, ""},
		"limit of the server":      {[]error{nil, nil}, "2", 3, 0, []string{"take " + host + " 2", "opened", "opened", "release"}, ""},
		"both":                     {[]error{nil, nil}, "5", 3, 0, []string{"take " + host + " 3", "opened", "opened", "release"}, ""},
		"nonsense remembered":      {[]error{nil, nil}, "x", 0, 0, []string{"take " + host + " 0", "opened", "opened", "release"}, ""},
		"refused for other causes": {[]error{reset(policy.Connect, "dial", ""), nil}, "", 0, 0, []string{"take " + host + " 0", "release", "take " + host + " 0", "opened", "release"}, ""},
		"crowded": {[]error{crowded, nil}, "", 0, 2, []string{
			"take " + host + " 0", "crowded 421 Too many connections", "take " + host + " 2", "opened", "release",
		}, "2"},
		"crowded by others": {[]error{crowded, nil}, "", 0, 0, []string{
			"take " + host + " 0", "crowded 421 Too many connections", "take " + host + " 0", "opened", "release",
		}, ""},
	} {
		server, budget, memory := newMemServer(), &memBudget{limit: c.limit}, &memMemory{known: Facts{}}
		if c.known != "" {
			memory.known[FactMaxConnections] = Fact{Value: c.known}
		}
		dials := 0
		l := NewLink(loc, func(ctx context.Context, h Hints) (Session, error) {
			dials++
			if err := c.dial[dials-1]; err != nil {
				return nil, err
			}
			return server.dial(ctx, h)
		}, ModeAuto, memory)
		l.LimitConnections(budget, c.most)
		u := l.user()
		if _, err := u.session(t.Context()); (err == nil) != (c.dial[0] == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err := u.reconnect(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(budget.calls) != fmt.Sprint(c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, budget.calls, c.want)
		}
		learned := ""
		if len(memory.told) > 0 {
			learned = memory.told[0][FactMaxConnections].Value
		}
		if learned != c.learn {
			t.Errorf("%s: learned %q, want %q", name, learned, c.learn)
		}
	}
}

// TestLinkGivesFurtherConnections a slot each; none where they are limited, or once
// a connection was lost.
func TestLinkGivesFurtherConnections(t *testing.T) {
	crowded := &policy.Fault{Protocol: policy.FTP, Phase: policy.Connect, Op: "greeting", Code: 421, Text: "Too many connections"}
	for name, c := range map[string]struct {
		most   int
		refuse error
		want   []string // nil: there are none
	}{
		"one":     {0, nil, []string{"take h://:0 0", "opened", "release"}},
		"crowded": {0, crowded, []string{"take h://:0 0", "crowded 421 Too many connections"}},
		"broken":  {0, reset(policy.Connect, "dial", ""), []string{"take h://:0 0", "release"}},
		"limited": {8, nil, nil},
	} {
		server, budget, memory := newMemServer(), &memBudget{limit: 1}, &memMemory{known: Facts{}}
		var hints []Hints
		l := NewLink(Location{Scheme: "h"}, func(ctx context.Context, h Hints) (Session, error) {
			hints = append(hints, h)
			return server.dial(ctx, h)
		}, ModeAuto, memory)
		l.LimitConnections(budget, c.most)
		u := l.user()
		if _, err := u.session(t.Context()); err != nil {
			t.Fatal(err)
		}
		budget.calls = nil
		if further := hints[0].Further; (further != nil) != (c.want != nil) {
			t.Errorf("%s: further connections: %v", name, further != nil)
		} else if further != nil {
			release, err := further(t.Context(), func(context.Context) error { return c.refuse })
			if !errors.Is(err, c.refuse) {
				t.Errorf("%s: %v, want %v", name, err, c.refuse)
			}
			if err == nil {
				release()
			}
			if fmt.Sprint(budget.calls) != fmt.Sprint(c.want) {
				t.Errorf("%s:\ngot  %q\nwant %q", name, budget.calls, c.want)
			}
		}
		if err := u.reconnect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if hints[1].Further != nil {
			t.Errorf("%s: further connections after one was lost", name)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		learned := len(memory.told) > 0 && memory.told[0][FactMaxConnections].Value == "1"
		if learned != (c.refuse == crowded) {
			t.Errorf("%s: learned the limit: %v", name, learned)
		}
	}
}

// TestLinkWithoutSlot does not dial.
func TestLinkWithoutSlot(t *testing.T) {
	server, full := newMemServer(), errors.New("none left")
	l := NewLink(Location{}, server.dial, ModeAuto, nil)
	l.LimitConnections(&memBudget{err: full}, 1)
	if _, err := l.Session(t.Context()); !errors.Is(err, full) || server.dials != 0 {
		t.Errorf("%v, %d dials", err, server.dials)
	}
}

// waitSession gives its chunk to Wait.
type waitSession struct{ memSession }

func (s *waitSession) Get(ctx context.Context, _ string, _ int64, dst Sink) (int64, error) {
	return 0, dst.Wait(ctx, 1)
}

func (s *waitSession) Put(ctx context.Context, _ string, _ int64, src Source) (int64, error) {
	return 0, src.Wait(ctx, 2)
}

// TestLinkLimitsTheRate of all that its sessions move.
func TestLinkLimitsTheRate(t *testing.T) {
	l := NewLink(Location{}, func(context.Context, Hints) (Session, error) {
		return &waitSession{memSession{memServer: newMemServer()}}, nil
	}, ModeAuto, nil)
	asked := ""
	l.LimitRate(func(_ context.Context, n int) error { asked += strconv.Itoa(n); return nil })
	s, err := l.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := s.Get(t.Context(), "p", 0, Sink{})
	_, err2 := s.Put(t.Context(), "p", 0, Source{})
	if err1 != nil || err2 != nil || asked != "12" {
		t.Errorf("%v %v, asked for %q", err1, err2, asked)
	}
}
