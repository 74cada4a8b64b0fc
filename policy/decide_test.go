package policy

import (
	"strings"
	"testing"
	"time"
)

// plain are limits without jitter, so that times are exact.
func plain() Limits {
	return Limits{Tries: 4, Few: 3, Base: time.Second, Cap: time.Minute, Factor: 2, Slow: 5}
}

func TestDecide(t *testing.T) {
	const backoff = 2 * time.Second
	var all Remedies
	for r := GiveUp; r <= Reconcile; r++ {
		all = all.With(r)
	}
	none := Remedies(0)
	without := func(r Remedy) Remedies { return all &^ (1 << r) }
	first := History{Tries: 1, Same: 1, Backoff: backoff}
	advanced := first
	advanced.Advanced = true
	at := func(tries, same int) History { return History{Tries: tries, Same: same, Backoff: backoff} }

	for _, c := range []struct {
		name    string
		verdict Verdict
		history History
		can     Remedies
		remedy  Remedy
		delay   time.Duration
	}{
		{"give up", Verdict{Remedy: GiveUp}, first, all, GiveUp, 0},
		{"retry", Verdict{Remedy: Retry}, first, all, Retry, backoff},
		{"retry needs nothing", Verdict{Remedy: Retry}, first, none, Retry, backoff},
		{"reconnect", Verdict{Remedy: Reconnect}, first, all, Reconnect, backoff},
		{"after progress at once", Verdict{Remedy: Reconnect}, advanced, all, Reconnect, 0},
		{"after progress, what is not about the connection", Verdict{Remedy: Retry}, advanced, all, Retry, backoff},
		{"after progress, a crowded server", Verdict{Remedy: Reconnect, Pace: Slow}, advanced, all, Reconnect, 5 * backoff},
		{"after progress, harmless to repeat", Verdict{Remedy: Reconcile}, advanced, without(Reconcile), Reconnect, 0},
		{"after progress, override: delay", Verdict{Remedy: Reconnect, Delay: time.Minute}, advanced, all, Reconnect, time.Minute},
		{"no way to reconnect", Verdict{Remedy: Reconnect}, first, without(Reconnect), Retry, backoff},

		{"switch at once", Verdict{Remedy: SwitchMode}, first, all, SwitchMode, 0},
		{"switch once", Verdict{Remedy: SwitchMode}, History{Tries: 1, Same: 2, Switched: true, Backoff: backoff}, all, Retry, backoff},
		{"no other mode", Verdict{Remedy: SwitchMode}, first, without(SwitchMode), Retry, backoff},
		{"switched, and out of tries", Verdict{Remedy: SwitchMode}, History{Tries: 4, Same: 5, Switched: true, Backoff: backoff}, all, GiveUp, 0},
		{"a switch that is for once only", Verdict{Remedy: SwitchMode, Pace: Once}, History{Tries: 1, Same: 2, Switched: true, Backoff: backoff}, all, GiveUp, 0},

		{"diagnose", Verdict{Remedy: Diagnose}, first, all, Diagnose, 0},
		{"nobody can look", Verdict{Remedy: Diagnose}, first, without(Diagnose), GiveUp, 0},

		{"look at once", Verdict{Remedy: Reconcile}, first, all, Reconcile, 0},
		{"look again later", Verdict{Remedy: Reconcile}, at(2, 2), all, Reconcile, backoff},
		{"harmless to repeat", Verdict{Remedy: Reconcile}, first, without(Reconcile), Reconnect, backoff},
		{"neither look nor connect", Verdict{Remedy: Reconcile}, first, none, Retry, backoff},

		{"out of step", Verdict{Remedy: Proceed}, first, all, Reconnect, backoff},

		{"the last try but one", Verdict{Remedy: Retry}, at(3, 3), all, Retry, backoff},
		{"the last try", Verdict{Remedy: Retry}, at(4, 4), all, GiveUp, 0},
		{"different faults count together", Verdict{Remedy: Retry}, at(4, 1), all, GiveUp, 0},

		{"at once", Verdict{Remedy: Reconnect, Pace: AtOnce}, first, all, Reconnect, 0},
		{"at once, only once", Verdict{Remedy: Reconnect, Pace: AtOnce}, at(2, 2), all, Reconnect, backoff},
		{"slow", Verdict{Remedy: Retry, Pace: Slow}, first, all, Retry, 5 * backoff},
		{"slow uses all tries", Verdict{Remedy: Retry, Pace: Slow}, at(3, 3), all, Retry, 5 * backoff},
		{"few", Verdict{Remedy: Retry, Pace: Few}, at(2, 2), all, Retry, backoff},
		{"few are over", Verdict{Remedy: Retry, Pace: Few}, at(3, 3), all, GiveUp, 0},
		{"few of this kind", Verdict{Remedy: Retry, Pace: Few}, at(3, 2), all, Retry, backoff},
		{"few and slow", Verdict{Remedy: Retry, Pace: FewSlow}, at(2, 2), all, Retry, 5 * backoff},
		{"few and slow are over", Verdict{Remedy: Retry, Pace: FewSlow}, at(3, 3), all, GiveUp, 0},
		{"once", Verdict{Remedy: Reconnect, Pace: Once}, first, all, Reconnect, 0},
		{"not twice", Verdict{Remedy: Reconnect, Pace: Once}, at(2, 2), all, GiveUp, 0},

		{"override: more tries", Verdict{Remedy: Retry, Tries: 9}, at(8, 8), all, Retry, backoff},
		{"override: these tries are over", Verdict{Remedy: Retry, Tries: 9}, at(9, 9), all, GiveUp, 0},
		{"override: one try", Verdict{Remedy: Retry, Tries: 1}, first, all, GiveUp, 0},
		{"override: delay", Verdict{Remedy: Retry, Pace: Slow, Delay: 7 * time.Second}, first, all, Retry, 7 * time.Second},
	} {
		remedy, delay := plain().Decide(c.verdict, c.history, c.can)
		if remedy != c.remedy || delay != c.delay {
			t.Errorf("%s: %v after %v, want %v after %v", c.name, remedy, delay, c.remedy, c.delay)
		}
	}
}

func TestLimits(t *testing.T) {
	if remedy, _ := (Limits{}).Decide(Verdict{Remedy: Retry}, History{Tries: 1, Same: 1}, 0); remedy != GiveUp {
		t.Errorf("the zero value tries again: %v", remedy)
	}
	one := plain()
	one.Tries = 1 // --retries 0
	for _, pace := range []Pace{Steady, AtOnce, Slow, Few, FewSlow, Once} {
		if remedy, _ := one.Decide(Verdict{Remedy: Retry, Pace: pace}, History{Tries: 1, Same: 1}, 0); remedy != GiveUp {
			t.Errorf("%v: %v", pace, remedy)
		}
	}
	if l := DefaultLimits(); l.Tries != 8 || l.Few != 3 || l.Base != time.Second || l.Cap != time.Minute || l.Factor != 2 || l.Slow != 5 {
		t.Errorf("%+v", l)
	}
}

func TestOverrides(t *testing.T) {
	limits := plain()
	limits.Overrides = map[string]Override{
		"452":          {Remedy: GiveUp, Set: true},
		"ftp-451":      {Tries: 7, Delay: time.Minute},
		"550":          {Remedy: Retry, Set: true},
		"ftp-550-busy": {Remedy: Reconnect, Set: true},
		"426":          {Remedy: Retry, Set: true},
		"530":          {Remedy: Retry, Set: true}, // CheckOverride refuses it; it has no effect either
		"421":          {Remedy: Retry, Set: true},
		"sftp-4":       {Remedy: Retry, Set: true},
		"net-refused":  {Remedy: GiveUp, Set: true},
		"tls-expired":  {Remedy: Retry, Set: true},
		"ftp-431":      {Remedy: GiveUp, Set: true},
	}
	for _, c := range []struct {
		fault  Fault
		remedy Remedy
		tries  int
		delay  time.Duration
	}{
		{Fault{Protocol: FTP, Code: 452}, GiveUp, 0, 0},
		{Fault{Protocol: FTP, Code: 451}, Retry, 7, time.Minute},
		{Fault{Protocol: FTP, Phase: Command, Code: 550}, Retry, 0, 0},
		{Fault{Protocol: FTP, Phase: Command, Code: 550, Text: "Permission denied"}, Retry, 0, 0}, // the code covers its refinements
		{Fault{Protocol: FTP, Phase: Command, Code: 550, Text: "locked"}, Reconnect, 0, 0},        // the rule comes first
		{Fault{Protocol: FTP, Phase: Data, Code: 426}, Reconcile, 0, 0},                           // a look comes before any repetition
		{Fault{Protocol: FTP, Phase: Finish, Code: 421}, Reconcile, 0, 0},
		{Fault{Protocol: FTP, Phase: Auth, Code: 530}, GiveUp, 0, 0},
		{Fault{Protocol: FTP, Phase: Auth, Code: 421, Text: "cleartext sessions are not accepted"}, GiveUp, 0, 0},
		{Fault{Protocol: FTP, Phase: Command, Code: 421}, Retry, 0, 0},
		{Fault{Protocol: SFTP, Code: 4}, Retry, 0, 0},
		{Fault{Protocol: SFTP, Code: 421}, Diagnose, 0, 0}, // a number alone means FTP
		{Fault{Protocol: Net, Cause: CauseRefused}, GiveUp, 0, 0},
		{Fault{Protocol: TLS, Cause: CauseCertExpired}, GiveUp, 0, 0},
		{Fault{Protocol: FTP, Code: 450}, Retry, 0, 0},
	} {
		f := c.fault
		v := limits.apply(Classify(&f), &f)
		if v.Remedy != c.remedy || v.Tries != c.tries || v.Delay != c.delay {
			t.Errorf("%s (%s): %v %d %v, want %v %d %v", f.Error(), v.Rule, v.Remedy, v.Tries, v.Delay, c.remedy, c.tries, c.delay)
		}
	}
}

func TestCheckOverride(t *testing.T) {
	set := func(r Remedy) Override { return Override{Remedy: r, Set: true} }
	for _, c := range []struct {
		key      string
		override Override
		problem  string // "" if it is fine
	}{
		{"452", set(GiveUp), ""},
		{"452", set(Retry), ""},
		{"ftp-550-busy", set(Reconnect), ""},
		{"sftp-4", Override{Tries: 2, Delay: time.Second}, ""},
		{"net-refused", Override{}, ""},
		{"499", set(GiveUp), ""}, // an unnamed code has its class
		{"ftp-4yz", set(GiveUp), ""},
		{"530", set(GiveUp), ""},
		{"530", set(Retry), "login or trust"},
		{"ftp-530", Override{Tries: 3}, "login or trust"},
		{"430", set(Reconnect), "login or trust"},
		{"332", set(Retry), "login or trust"},
		{"ssh-auth", set(Retry), "login or trust"},
		{"tls-untrusted", set(Retry), "login or trust"},
		{"ssh-host-key-changed", set(Reconnect), "login or trust"},
		{"631", set(Retry), "login or trust"},
		{"452", set(SwitchMode), "fail, retry or reconnect"},
		{"452", set(Proceed), "fail, retry or reconnect"},
		{"452", set(Reconcile), "fail, retry or reconnect"},
		{"452", set(Diagnose), "fail, retry or reconnect"},
		{"452", Override{Tries: -1}, "negative"},
		{"452", Override{Delay: -time.Second}, "negative"},
		{"700", set(GiveUp), "no such code"},
		{"4", set(GiveUp), "no such code"}, // "sftp-4" is meant
		{"ftp-nonsense", set(GiveUp), "no such code"},
		{"", set(GiveUp), "no such code"},
	} {
		err := CheckOverride(c.key, c.override)
		switch {
		case c.problem == "" && err != nil:
			t.Errorf("%q %+v: %v", c.key, c.override, err)
		case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%q %+v: %v, want %q", c.key, c.override, err, c.problem)
		}
	}
}
