package batch

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// at reads a time of January 2026 in Berlin's zone; the 1st is a Thursday.
func at(t *testing.T, s string) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	v, err := time.ParseInLocation("2006-01-02 15:04", s, zone)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWindow(t *testing.T) {
	tests := []struct {
		window, now string
		end         string // "" when it is closed, "never"
	}{
		{"", "2026-01-01 12:00", "never"},
		{"08:00-18:30", "2026-01-01 07:59", ""},
		{"08:00-18:30", "2026-01-01 08:00", "2026-01-01 18:30"},
		{"08:00-18:30", "2026-01-01 18:29", "2026-01-01 18:30"},
		{"08:00-18:30", "2026-01-01 18:30", ""},
		{"22:00-05:30", "2026-01-01 21:59", ""},
		{"22:00-05:30", "2026-01-01 22:00", "2026-01-02 05:30"},
		{"22:00-05:30", "2026-01-02 00:00", "2026-01-02 05:30"},
		{"22:00-05:30", "2026-01-02 05:29", "2026-01-02 05:30"},
		{"22:00-05:30", "2026-01-02 05:30", ""},
		{"22:00-00:00", "2026-01-02 23:59", "2026-01-03 00:00"},
		{"00:00-06:00", "2026-01-02 00:00", "2026-01-02 06:00"},
		{"22:00-05:30", "2026-03-28 23:00", "2026-03-29 05:30"}, // an hour shorter
	}
	for _, tt := range tests {
		var w Window
		if err := w.UnmarshalText([]byte(tt.window)); err != nil || w.String() != tt.window {
			t.Fatalf("%q: %v %v", tt.window, w, err)
		}
		open, end := w.Open(at(t, tt.now))
		switch {
		case open != (tt.end != ""):
			t.Errorf("%s at %s: open %v", tt.window, tt.now, open)
		case tt.end == "never" && !end.IsZero(), open && tt.end != "never" && !end.Equal(at(t, tt.end)):
			t.Errorf("%s at %s: ends %v, want %s", tt.window, tt.now, end, tt.end)
		}
	}
	for _, text := range []string{"22", "22:00", "22:00-22:00", "25:00-01:00", "8-9", "-", "08:00-09:00-10:00"} {
		if err := new(Window).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestTimeOfDayLast(t *testing.T) {
	six := TimeOfDay(6 * 60)
	for now, want := range map[string]string{
		"2026-01-02 05:59": "2026-01-01 06:00", "2026-01-02 06:00": "2026-01-02 06:00", "2026-01-02 23:00": "2026-01-02 06:00",
	} {
		if got := six.Last(at(t, now)); !got.Equal(at(t, want)) {
			t.Errorf("%s: %v, want %s", now, got, want)
		}
	}
}

func TestSchedule(t *testing.T) {
	tests := []struct {
		schedule, now, next string
		calendar            []string
	}{
		{"*/5 * * * *", "2026-01-01 00:00", "2026-01-01 00:05", []string{"*-*-* *:00,05,10,15,20,25,30,35,40,45,50,55:00"}},
		{"30 6 * * *", "2026-01-01 06:30", "2026-01-02 06:30", []string{"*-*-* 06:30:00"}},
		{"0 8-10/2 * * mon-fri", "2026-01-02 10:00", "2026-01-05 08:00", []string{"Mon,Tue,Wed,Thu,Fri *-*-* 08,10:00:00"}},
		{"0 0 * * 7", "2026-01-01 00:00", "2026-01-04 00:00", []string{"Sun *-*-* 00:00:00"}},
		{"0 0 1 feb *", "2026-01-01 00:00", "2026-02-01 00:00", []string{"*-02-01 00:00:00"}},
		{"0 0 13 * 5", "2026-01-01 00:00", "2026-01-02 00:00", []string{"*-*-13 00:00:00", "Fri *-*-* 00:00:00"}}, // either of them
		{"0 0 13 * 5", "2026-01-09 00:00", "2026-01-13 00:00", []string{"*-*-13 00:00:00", "Fri *-*-* 00:00:00"}},
		{"0 0 29 2 *", "2026-01-01 00:00", "2028-02-29 00:00", []string{"*-02-29 00:00:00"}},
		{"0 0 31 2 *", "2026-01-01 00:00", "", []string{"*-02-31 00:00:00"}},
		{"@hourly", "2026-01-01 00:00", "2026-01-01 01:00", []string{"*-*-* *:00:00"}},
		{"5/20 3,4 * * *", "2026-01-01 03:26", "2026-01-01 03:45", []string{"*-*-* 03,04:05,25,45:00"}},
		{"30 2 * * *", "2026-03-28 03:00", "2026-03-30 02:30", []string{"*-*-* 02:30:00"}}, // the 29th has no 02:30
		{"", "2026-01-01 00:00", "", nil},
	}
	for _, tt := range tests {
		var s Schedule
		if err := s.UnmarshalText([]byte(tt.schedule)); err != nil {
			t.Errorf("%q: %v", tt.schedule, err)
			continue
		}
		next := s.Next(at(t, tt.now))
		if next.IsZero() != (tt.next == "") || tt.next != "" && !next.Equal(at(t, tt.next)) {
			t.Errorf("%q after %s: %v, want %s", tt.schedule, tt.now, next, tt.next)
		}
		if got := s.OnCalendar(); !slices.Equal(got, tt.calendar) {
			t.Errorf("%q: %q, want %q", tt.schedule, got, tt.calendar)
		}
	}
	for _, text := range []string{"* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1,,2 * * * *", "* * * * * *"} {
		if err := new(Schedule).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add("*/5 8-18 * jan,mar 1-5")
	f.Fuzz(func(t *testing.T, text string) {
		var s Schedule
		if s.UnmarshalText([]byte(text)) != nil || s.String() == "" {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		next := s.Next(now)
		if !next.IsZero() && (!next.After(now) || !s.onDay(next) || !s.has(0, next.Minute()) || !s.has(1, next.Hour())) {
			t.Errorf("%q: next %v", text, next)
		}
		var again Schedule
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q reads back as %v, %v", text, again, err)
		}
	})
}

// counted is a session that counts what it is asked to move.
type counting struct {
	transfer.Session
	moved int
}

func (c *counting) Put(context.Context, string, int64, transfer.Source) (int64, error) {
	c.moved++
	return 0, nil
}

func (c *counting) Get(context.Context, string, int64, transfer.Sink) (int64, error) {
	c.moved++
	return 0, nil
}

// TestInTime: what can't be over at the end is not begun.
func TestInTime(t *testing.T) {
	tests := []struct {
		name  string
		rate  float64
		after time.Duration
		size  int64
		off   int64
		begun bool
	}{
		{"fits", 100, 0, 1000, 0, true},
		{"does not fit", 100, 0, 1001, 0, false},
		{"what is left fits", 100, 0, 5000, 4000, true},
		{"later", 100, time.Second, 1000, 0, false},
		{"no rate yet", 0, 0, 1 << 40, 0, true},
		{"no rate yet, and over", 0, 10 * time.Second, 1, 0, false},
		{"unknown size", 100, 0, -1, 0, true},
		{"huge", 1e-9, 0, 1 << 60, 0, false},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			inner := &counting{}
			dial := InTime(func(context.Context, transfer.Hints) (transfer.Session, error) { return inner, nil }, time.Now().Add(10*time.Second), tt.rate)
			s, err := dial(t.Context(), transfer.Hints{})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(tt.after)
			_, putErr := s.Put(t.Context(), "a", tt.off, transfer.Source{Size: tt.size})
			_, getErr := s.Get(t.Context(), "a", tt.off, transfer.Sink{Size: tt.size})
			for _, err := range []error{putErr, getErr} {
				if begun := err == nil; begun != tt.begun || !begun && policy.FaultOf(err).Cause != policy.CauseNoTime {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
			if want := map[bool]int{true: 2}[tt.begun]; inner.moved != want {
				t.Errorf("%s: %d were begun", tt.name, inner.moved)
			}
		})
	}
}
