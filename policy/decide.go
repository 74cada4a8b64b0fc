package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Limits are the numbers of the policy. The zero value gives up at once;
// DefaultLimits is what a person gets.
type Limits struct {
	// Tries is how many consecutive tries may fail without any progress, ≥ 1.
	Tries int
	// Few is the same for what rarely heals by itself (a full disk), ≥ 1.
	Few int
	// Base and Cap are the first and the longest delay between tries.
	Base, Cap time.Duration
	// Factor is how much each delay exceeds the one before, ≥ 1.
	Factor float64
	// Jitter spreads each delay by ± this part of it, 0–1.
	Jitter float64
	// Slow multiplies the delays of the paces Slow and FewSlow, ≥ 1.
	Slow int
	// Overrides change single rules; the key is a rule ("ftp-452") or an FTP code ("452").
	Overrides map[string]Override
}

// DefaultLimits tries for about four minutes: eight tries without progress,
// delays from one second to one minute.
func DefaultLimits() Limits {
	return Limits{Tries: 8, Few: 3, Base: time.Second, Cap: time.Minute, Factor: 2, Jitter: 0.2, Slow: 5}
}

// Override is what the configuration says about one rule.
type Override struct {
	// Remedy replaces the row's when Set.
	Remedy Remedy
	Set    bool
	// Tries and Delay replace the pace's numbers when not 0.
	Tries int
	Delay time.Duration
}

// CheckOverride refuses an override that names no rule, or one that would
// repeat a refused login, accept an unproved identity or do what no config may.
func CheckOverride(key string, o Override) error {
	row, ok := overrideRow(key)
	if !ok {
		return fmt.Errorf("no such code or rule: %q", key)
	}
	if o.Set && !slices.Contains([]Remedy{GiveUp, Retry, Reconnect}, o.Remedy) {
		return fmt.Errorf("%s: remedy can be fail, retry or reconnect", key)
	}
	if o.Set && o.Remedy == GiveUp {
		return nil
	}
	if row.Login || row.Kind == KindTrust {
		return fmt.Errorf("%s: %s can't be retried: it is about login or trust", key, row.Name)
	}
	if o.Tries < 0 || o.Delay < 0 {
		return fmt.Errorf("%s: tries and delay can't be negative", key)
	}
	return nil
}

func overrideRow(key string) (Row, bool) {
	if code, err := strconv.Atoi(key); err == nil {
		return Lookup(FTP, code)
	}
	return RowOf(key)
}

// apply changes a verdict as the overrides say: by rule first, then by FTP code.
func (l Limits) apply(v Verdict, f *Fault) Verdict {
	o, ok := l.Overrides[v.Rule]
	if !ok && f.Protocol == FTP && f.Code != 0 {
		o, ok = l.Overrides[strconv.Itoa(f.Code)]
	}
	if !ok || ((v.Login || v.Kind == KindTrust) && o.Remedy != GiveUp) {
		return v
	}
	// What may have happened is looked at first, whatever the configuration says.
	if o.Set && (v.Remedy != Reconcile || o.Remedy == GiveUp) {
		v.Remedy = o.Remedy
	}
	v.Tries, v.Delay = o.Tries, o.Delay
	return v
}

// History is what happened so far in one Engine.Do.
type History struct {
	// Tries counts consecutive failed tries without progress, this one included.
	Tries int
	// Same counts those of them that had this verdict's rule, this one included.
	Same int
	// Advanced: the last try got a good deal further before it failed.
	Advanced bool
	// Switched: the mode was already changed once.
	Switched bool
	// Backoff is the delay that the backoff proposes for the next try.
	Backoff time.Duration
}

// Remedies is the set of what can be done here: bit r is set when Remedy r is
// available. GiveUp and Retry always are.
type Remedies uint8

// Has says whether r is in the set.
func (s Remedies) Has(r Remedy) bool { return r == GiveUp || r == Retry || s&(1<<r) != 0 }

// With adds r.
func (s Remedies) With(r Remedy) Remedies { return s | 1<<r }

// Decide chooses what to do next and how long to wait before. It is pure.
func (l Limits) Decide(v Verdict, h History, can Remedies) (Remedy, time.Duration) {
	remedy := v.Remedy
	switch remedy {
	case GiveUp:
		return GiveUp, 0
	case Diagnose:
		if !can.Has(Diagnose) {
			return GiveUp, 0
		}
		return Diagnose, 0
	case SwitchMode:
		if !h.Switched && can.Has(SwitchMode) {
			return SwitchMode, 0
		}
		remedy = Retry
	case Reconcile:
		if !can.Has(Reconcile) {
			// Looking, listing, making sure: harmless to repeat.
			remedy = Reconnect
		}
	case Proceed:
		remedy = Reconnect
	}
	if !can.Has(remedy) {
		remedy = Retry
	}

	tries, delay := l.pace(v, h)
	if h.Tries >= max(l.Tries, tries) || h.Same >= tries {
		return GiveUp, 0
	}
	if remedy == Reconcile && h.Same == 1 {
		delay = 0 // a look costs the server nothing
	}
	return remedy, delay
}

// pace gives the numbers of a verdict: how many tries may fail alike, and the
// delay before the next.
func (l Limits) pace(v Verdict, h History) (tries int, delay time.Duration) {
	tries, delay = l.Tries, h.Backoff
	switch v.Pace {
	case Steady:
		// Whoever serves us until the connection breaks is there, and not crowded.
		if h.Advanced && (v.Remedy == Reconnect || v.Remedy == Reconcile) {
			delay = 0
		}
	case AtOnce:
		if h.Same == 1 {
			delay = 0
		}
	case Slow:
		delay *= time.Duration(max(1, l.Slow))
	case Few:
		tries = min(tries, l.Few)
	case FewSlow:
		tries = min(tries, l.Few)
		delay *= time.Duration(max(1, l.Slow))
	case Once:
		tries = min(tries, 2)
		delay = 0
	}
	if v.Tries > 0 {
		tries = v.Tries
	}
	if v.Delay > 0 {
		delay = v.Delay
	}
	return tries, delay
}
