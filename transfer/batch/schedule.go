package batch

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is when something is to happen, in the five fields of crontab(5):
// minute, hour, day of the month, month, day of the week. The zero value is never.
type Schedule struct {
	text   string
	fields [5]uint64 // bit n: the value n is in the field
	// either: day of the month and day of the week are both limited, and either
	// of them will do, as in every cron since Vixie's.
	either bool
}

// cronFields are the fields' ranges and the names that are numbers in them.
var cronFields = [5]struct {
	what     string
	min, max int
	names    []string
}{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var cronNames = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
}

// UnmarshalText reads it; "" is never.
func (s *Schedule) UnmarshalText(text []byte) error {
	v := Schedule{text: strings.Join(strings.Fields(string(text)), " ")}
	if v.text == "" {
		*s = v
		return nil
	}
	if long, ok := cronNames[v.text]; ok {
		v.text = long
	}
	fields := strings.Fields(v.text)
	if len(fields) != len(cronFields) {
		return errors.New(`must be five fields as in crontab: minute, hour, day, month, day of the week ("*/5 * * * *")`)
	}
	for i, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			values, ok := cronPart(i, strings.ToLower(part))
			if !ok {
				return fmt.Errorf("the %s must be as in crontab, from %d to %d", cronFields[i].what, cronFields[i].min, cronFields[i].max)
			}
			v.fields[i] |= values
		}
	}
	if v.fields[4]&(1<<7) != 0 {
		v.fields[4] |= 1 // Sunday is 0 and 7
	}
	v.either = !strings.HasPrefix(fields[2], "*") && !strings.HasPrefix(fields[4], "*")
	*s = v
	return nil
}

// cronPart reads "*", "5", "1-5", "*/10", "8-18/2".
func cronPart(field int, part string) (values uint64, ok bool) {
	c := cronFields[field]
	part, every, stepped := strings.Cut(part, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(every)
		if err != nil || n < 1 {
			return 0, false
		}
		step = n
	}
	first, last := c.min, c.max
	if part != "*" {
		a, b, isRange := strings.Cut(part, "-")
		var okA, okB bool
		first, okA = cronNumber(field, a)
		switch {
		case isRange:
			last, okB = cronNumber(field, b)
		case stepped:
			okB = true // "5/10" is from 5 on
		default:
			last, okB = first, true
		}
		if !okA || !okB || first > last {
			return 0, false
		}
	}
	for n := first; n <= last; n += step {
		values |= 1 << n
	}
	return values, true
}

func cronNumber(field int, s string) (int, bool) {
	c := cronFields[field]
	if i := slices.Index(c.names, s); i >= 0 && s != "" {
		return i, true
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= c.min && n <= c.max
}

// String gives the five fields, "" for never.
func (s Schedule) String() string { return s.text }

// Next is the first time after t, zero if there is none within five years.
func (s Schedule) Next(t time.Time) time.Time {
	if s.text == "" {
		return time.Time{}
	}
	start := t.Truncate(time.Minute).Add(time.Minute)
	for day := range 5 * 366 {
		date := time.Date(start.Year(), start.Month(), start.Day()+day, 0, 0, 0, 0, start.Location())
		if !s.onDay(date) {
			continue
		}
		// By the hours that the day really has, where the clocks are changed.
		next := time.Date(date.Year(), date.Month(), date.Day()+1, 0, 0, 0, 0, date.Location())
		for at := later(date, start); at.Before(next); at = at.Add(time.Minute) {
			if s.has(0, at.Minute()) && s.has(1, at.Hour()) {
				return at
			}
		}
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (s Schedule) has(field, n int) bool { return s.fields[field]&(1<<n) != 0 }

func (s Schedule) onDay(date time.Time) bool {
	day, weekday := s.has(2, date.Day()), s.has(4, int(date.Weekday()))
	return s.has(3, int(date.Month())) && (day && weekday || s.either && (day || weekday))
}

// OnCalendar gives the lines of a systemd timer that mean the same
// (systemd.time(7)).
func (s Schedule) OnCalendar() []string {
	if s.text == "" {
		return nil
	}
	list := func(field int, format string) string {
		c := cronFields[field]
		var values []string
		for n := c.min; n <= c.max; n++ {
			if s.has(field, n) {
				values = append(values, fmt.Sprintf(format, n))
			}
		}
		if len(values) == c.max-c.min+1 {
			return "*"
		}
		return strings.Join(values, ",")
	}
	weekdays := ""
	for n, name := range []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"} {
		if s.has(4, n) {
			weekdays += "," + name
		}
	}
	weekdays = strings.TrimPrefix(weekdays, ",") + " "
	if strings.Count(weekdays, ",") == 6 {
		weekdays = ""
	}
	clock := " " + list(1, "%02d") + ":" + list(0, "%02d") + ":00"
	month, day := list(3, "%02d"), list(2, "%02d")
	if s.either {
		return []string{"*-" + month + "-" + day + clock, weekdays + "*-" + month + "-*" + clock}
	}
	return []string{weekdays + "*-" + month + "-" + day + clock}
}
