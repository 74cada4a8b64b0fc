package batch

import (
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

func TestFilterRules(t *testing.T) {
	in := func(p string) Rule { return Rule{Include: true, Pattern: p} }
	ex := func(p string) Rule { return Rule{Pattern: p} }
	tests := []struct {
		name        string
		rules       []Rule
		takes, not  []string
		enters, out []string
	}{
		{"none", nil, []string{"a", "d/a"}, nil, []string{"d"}, nil},
		{"only csv", []Rule{in("*.csv")}, []string{"a.csv", "d/e/a.csv"}, []string{"a.txt", "d/a.csv.tmp"}, []string{"d", "d/e"}, nil},
		{"no tmp", []Rule{ex("*.tmp")}, []string{"a.csv", "d/a"}, []string{"a.tmp", "d/a.tmp"}, []string{"d"}, []string{"x.tmp"}},
		{"as in rsync", []Rule{in("*.csv"), ex("*")}, []string{"a.csv", "d/a.csv"}, []string{"a", "d/a"}, []string{"d"}, nil},
		{"the first decides", []Rule{ex("old/"), in("*.csv")}, []string{"a.csv", "d/a.csv"}, []string{"old/a.csv", "d/old/a.csv", "a.txt"}, []string{"d"}, []string{"old", "d/old", "d/old/e"}},
		{"a directory by its path", []Rule{ex("/d/tmp")}, []string{"tmp/a", "x/d/tmp/a", "d/a"}, []string{"d/tmp/a", "d/tmp/e/a", "d/tmp"}, []string{"d", "tmp"}, []string{"d/tmp", "d/tmp/e"}},
		{"stars", []Rule{ex("d/**/x")}, []string{"x", "a/x"}, []string{"d/x", "d/e/x", "d/e/x/y"}, []string{"d", "d/e"}, []string{"d/x"}},
		{"directories only", []Rule{ex("tmp/")}, []string{"tmp", "a/tmp"}, []string{"tmp/a"}, []string{"a"}, []string{"tmp"}},
		{"exception below", []Rule{in("log/keep.txt"), ex("log")}, []string{"log/keep.txt", "a"}, []string{"log/a", "log"}, []string{"log"}, nil},
	}
	for _, tt := range tests {
		f := Filter{Rules: tt.rules}
		if err := f.Check(); err != nil {
			t.Fatal(err)
		}
		for _, p := range tt.takes {
			if !f.Wants(p, transfer.Info{}) {
				t.Errorf("%s: %q is left out", tt.name, p)
			}
		}
		for _, p := range tt.not {
			if f.Wants(p, transfer.Info{}) {
				t.Errorf("%s: %q is taken", tt.name, p)
			}
		}
		for _, p := range tt.enters {
			if !f.Enters(p) {
				t.Errorf("%s: directory %q is not entered", tt.name, p)
			}
		}
		for _, p := range tt.out {
			if f.Enters(p) {
				t.Errorf("%s: directory %q is entered", tt.name, p)
			}
		}
	}
	for _, bad := range []string{"", "[", "a{b"} {
		if (Filter{Rules: []Rule{{Pattern: bad}}}).Check() == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestFilterSizeAndTime(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := Filter{NewerThan: now.Add(-time.Hour), OlderThan: now.Add(-time.Minute), MinSize: 10, MaxSize: 20}
	tests := []struct {
		size int64
		age  time.Duration
		want bool
	}{
		{15, 10 * time.Minute, true}, {10, 10 * time.Minute, true}, {20, 10 * time.Minute, true},
		{9, 10 * time.Minute, false}, {21, 10 * time.Minute, false},
		{15, 2 * time.Hour, false}, {15, time.Hour, false}, {15, time.Second, false}, {15, time.Minute, false},
		{-1, 10 * time.Minute, true},
	}
	for _, tt := range tests {
		if got := f.Wants("a", transfer.Info{Size: tt.size, ModTime: now.Add(-tt.age)}); got != tt.want {
			t.Errorf("%d bytes, %v old: %v", tt.size, tt.age, got)
		}
	}
	if !f.Wants("a", transfer.Info{Size: 15}) {
		t.Error("a file of unknown age is left out")
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1000": 1000, "10k": 10240, "1.5M": 3 << 19, "2GiB": 2 << 30, "7B": 7, "1TB": 1 << 40} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "k", "-1", "1x", "1kk", "1e30", "nan"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q: %d, want an error", s, got)
		}
	}
}

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, zone)
	for s, want := range map[string]time.Time{
		"2d": now.Add(-48 * time.Hour), "12h": now.Add(-12 * time.Hour), "1h30m": now.Add(-90 * time.Minute), "1w": now.Add(-7 * 24 * time.Hour),
		"0.5d":       now.Add(-12 * time.Hour),
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, zone), "2026-01-31T06:05": time.Date(2026, 1, 31, 6, 5, 0, 0, zone),
		"2026-01-31 06:05:07": time.Date(2026, 1, 31, 6, 5, 7, 0, zone), "2026-01-31T06:00:00Z": time.Date(2026, 1, 31, 6, 0, 0, 0, time.UTC),
	} {
		if got, err := ParseWhen(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "d", "yesterday", "-2d", "2026-13-01", "nand"} {
		if got, err := ParseWhen(s, now); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2d", "10k", "2026-01-31", "1e9", "*.{csv,txt}", "[a-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && n < 0 {
			t.Errorf("size %q: %d", s, n)
		}
		_, _ = ParseWhen(s, time.Unix(1e9, 0)) // must not panic
		filter := Filter{Rules: []Rule{{Pattern: s}}}
		if filter.Check() == nil {
			filter.Wants("a/b.csv", transfer.Info{})
			filter.Enters("a/b")
		}
	})
}
