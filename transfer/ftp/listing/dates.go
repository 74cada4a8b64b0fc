package listing

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// stamp is a date as listed: with the year or with the time of day, rarely with
// both. A month of 0 stands for a month in an unknown language.
type stamp struct {
	year, month, day  int
	hour, min, sec    int
	hasYear, hasClock bool
	seconds           bool
	zone              *time.Location // where the line itself says it
}

// time resolves a stamp. ok is false when it is no date of the calendar.
func (p *Parser) time(s stamp) (t time.Time, precision time.Duration, ok bool) {
	if s.month == 0 {
		return time.Time{}, 0, true
	}
	zone := s.zone
	if zone == nil {
		zone = p.Zone
	}
	if zone == nil {
		zone = time.UTC
	}
	precision = 24 * time.Hour
	switch {
	case s.seconds:
		precision = time.Second
	case s.hasClock:
		precision = time.Minute
	}
	date := func(year int) (time.Time, bool) {
		if s.hour > 24 || s.min > 59 || s.sec > 60 || s.hour == 24 && s.min > 0 {
			return time.Time{}, false
		}
		midnight := time.Date(year, time.Month(s.month), s.day, 0, 0, 0, 0, zone)
		if midnight.Day() != s.day || int(midnight.Month()) != s.month {
			return time.Time{}, false
		}
		return time.Date(year, time.Month(s.month), s.day, s.hour, s.min, s.sec, 0, zone), true
	}
	if s.hasYear {
		t, ok = date(s.year)
		return t, precision, ok
	}
	// Without a year it is the last such day. A server's clock may be ahead of
	// ours by up to a day, and February 29 may be years ago.
	for year := p.Now.In(zone).Year() + 1; year > p.Now.Year()-9; year-- {
		if t, ok := date(year); ok && !t.After(p.Now.Add(24*time.Hour)) {
			return t, precision, true
		}
	}
	return time.Time{}, 0, false
}

// date takes a date off a line. foreign allows a month that is only a word. ok
// is false when there is none.
func (s *scanner) date(foreign bool) (d stamp, ok bool) {
	for _, form := range dateForms {
		try, d := *s, stamp{}
		if form(&try, &d) && (foreign || d.month != 0) {
			*s = try
			return d, true
		}
	}
	return stamp{}, false
}

// dateForms are tried in this order, the one that takes more words first.
var dateForms = []func(*scanner, *stamp) bool{
	monthFirst, dayFirst, numericDate, ideographic,
}

// monthFirst reads "Jan 29 03:26", "Apr  8  1994", "Oct 08, 2002 09:47" and
// "Feb 12 2024 17:20:01".
func monthFirst(s *scanner, d *stamp) bool {
	var ok bool
	if d.month, ok = monthOf(s.word()); !ok {
		return false
	}
	day := s.word()
	if d.day, ok = dayOf(day); !ok || !clockOrYear(s, d) {
		return false
	}
	// VShell shows both, and a comma. Without it "1994 10:30 notes" is the year
	// and a name.
	if probe := *d; strings.HasSuffix(day, ",") && !d.hasClock && probe.clock(s.peek()) {
		s.word()
		*d = probe
	}
	return true
}

// dayFirst reads "01 oct 2004", "29 Jul 02:27", "26. Juli, 20:10", "2.   Okt.  2003".
func dayFirst(s *scanner, d *stamp) bool {
	var ok bool
	if d.day, ok = dayOf(s.word()); !ok {
		return false
	}
	if d.month, ok = monthOf(s.word()); !ok {
		return false
	}
	return clockOrYear(s, d)
}

// clockOrYear reads "03:26", "1994" or "03:26:41 2024".
func clockOrYear(s *scanner, d *stamp) bool {
	w := s.word()
	if !d.clock(w) {
		d.year, d.hasYear = yearOf(w)
		return d.hasYear
	}
	if y, ok := yearOf(s.peek()); ok && d.seconds {
		s.word() // ls --full-time of old
		d.year, d.hasYear = y, true
	}
	return true
}

// numericDate reads the dates of ls's time styles and of servers that have
// their own: "2005-06-07 21:22", "2024-05-01 12:34:56.000000000 +0200",
// "1999/10/12 17:12", "24-04-2003 17:12", "2004.07.15", "09-26 13:45", "09-26 2000".
func numericDate(s *scanner, d *stamp) bool {
	parts, sep, ok := splitDate(s.word())
	if !ok {
		return false
	}
	switch {
	case len(parts) == 3 && parts[0] > 31:
		d.year, d.month, d.day = parts[0], parts[1], parts[2]
	case len(parts) == 3 && parts[2] > 31 && (sep == '.' || parts[0] > 12):
		d.day, d.month, d.year = parts[0], parts[1], parts[2]
	case len(parts) == 3 && parts[2] > 31:
		d.month, d.day, d.year = parts[0], parts[1], parts[2]
	case len(parts) == 2:
		d.month, d.day = parts[0], parts[1]
		return validDay(d) && clockOrYear(s, d)
	default:
		return false
	}
	d.hasYear = true
	if !validDay(d) {
		return false
	}
	if !d.clock(s.peek()) {
		// ls --time-style=iso pads the date of an old file with one space.
		s.rest = strings.TrimPrefix(s.rest, " ")
		return true
	}
	s.word()
	if z, ok := zoneOf(s.peek()); ok {
		s.word()
		d.zone = z
	}
	return true
}

// ideographic reads the dates of East Asian locales, whatever their encoding:
// "2005年  1月  6日", "8月 17 08:52", "4月 18日 2003年". Only the digits and
// what follows them matter.
func ideographic(s *scanner, d *stamp) bool {
	n1, mark1 := markedNumber(s.word())
	if n1 > 31 { // year, month, day
		n2, mark2 := markedNumber(s.word())
		n3, _ := markedNumber(s.word())
		d.year, d.month, d.day, d.hasYear = n1, n2, n3, true
		return (mark1 || mark2) && validDay(d)
	}
	n2, _ := markedNumber(s.word())
	d.month, d.day = n1, n2
	if !mark1 || !validDay(d) {
		return false
	}
	if y, marked := markedNumber(s.peek()); marked && y > 31 {
		s.word()
		d.year, d.hasYear = y, true
		return true
	}
	return clockOrYear(s, d)
}

// markedNumber reads digits with up to a few letters of another script behind
// them; marked says whether there are any.
func markedNumber(w string) (n int, marked bool) {
	i := 0
	for i < len(w) && w[i] >= '0' && w[i] <= '9' {
		i++
	}
	n, err := strconv.Atoi(w[:i])
	if err != nil || len(w)-i > 4 {
		return 0, false
	}
	if i < len(w) && w[i] < utf8.RuneSelf {
		return 0, false
	}
	return n, i < len(w)
}

// clock reads "3:26", "03:26", "03:26:41", "03:26:41.000000000" and "12:09PM".
func (d *stamp) clock(w string) bool {
	w = strings.TrimSuffix(w, ",")
	half := -1
	if n := len(w); n > 2 && (w[n-1] == 'M' || w[n-1] == 'm') {
		switch w[n-2] {
		case 'A', 'a':
			half = 0
		case 'P', 'p':
			half = 12
		default:
			return false
		}
		w = w[:n-2]
	}
	h, rest, ok := strings.Cut(w, ":")
	m, sec, hasSec := strings.Cut(rest, ":")
	if !ok || len(h) > 2 || len(m) != 2 || !digits(h) || !digits(m) {
		return false
	}
	hour, _ := strconv.Atoi(h)
	minute, _ := strconv.Atoi(m)
	second := 0
	if hasSec {
		whole, fraction, _ := strings.Cut(sec, ".")
		if len(whole) != 2 || !digits(whole) || fraction != "" && !digits(fraction) {
			return false
		}
		second, _ = strconv.Atoi(whole)
	}
	if half >= 0 {
		if hour < 1 || hour > 12 {
			return false
		}
		hour = hour%12 + half
	}
	if hour > 24 || minute > 59 || second > 60 {
		return false
	}
	d.hour, d.min, d.sec, d.hasClock, d.seconds = hour, minute, second, true, hasSec
	return true
}

// zoneOf reads "+0200".
func zoneOf(w string) (*time.Location, bool) {
	if len(w) != 5 || w[0] != '+' && w[0] != '-' || !digits(w[1:]) {
		return nil, false
	}
	hours, _ := strconv.Atoi(w[1:3])
	minutes, _ := strconv.Atoi(w[3:])
	offset := hours*3600 + minutes*60
	if w[0] == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset), true
}

// splitDate reads two or three numbers with the same one of "-/." between them.
func splitDate(w string) (parts []int, sep byte, ok bool) {
	i := strings.IndexAny(w, "-/.")
	if i < 0 {
		return nil, 0, false
	}
	sep = w[i]
	fields := strings.Split(w, string(rune(sep)))
	if len(fields) > 3 {
		return nil, 0, false
	}
	for _, f := range fields {
		if !digits(f) || len(f) > 4 {
			return nil, 0, false
		}
		n, _ := strconv.Atoi(f)
		parts = append(parts, n)
	}
	return parts, sep, true
}

func validDay(d *stamp) bool { return d.month >= 1 && d.month <= 12 && d.day >= 1 && d.day <= 31 }

func dayOf(w string) (int, bool) {
	w = strings.TrimRight(w, ".,")
	n, err := strconv.Atoi(w)
	return n, err == nil && digits(w) && len(w) <= 2 && n >= 1 && n <= 31
}

func yearOf(w string) (int, bool) {
	w = strings.TrimRight(w, ".,")
	n, err := strconv.Atoi(w)
	return n, err == nil && len(w) == 4 && digits(w) && n >= 1900
}

// fullYear completes a year of two digits, or of three of a server that counts
// from 1900.
func fullYear(n int) int {
	switch {
	case n < 70:
		return n + 2000
	case n < 1000:
		return n + 1900
	}
	return n
}

// monthOf reads a month's name in the languages that servers speak. A word of
// letters in any other language is month 0: a date all the same, but which one
// nobody knows.
func monthOf(w string) (month int, ok bool) {
	w = strings.ToLower(strings.TrimRight(w, ".,"))
	if w == "" || strings.IndexFunc(w, isDigit) >= 0 {
		return 0, false
	}
	if m, ok := months[w]; ok {
		return m, true
	}
	letters := utf8.RuneCountInString(w)
	if letters < 2 || letters > 12 || strings.ContainsAny(w, `-/\:;,()[]{}<>"'*?=`) {
		return 0, false
	}
	// Longer names begin with the short ones: "januar", "settembre".
	for cut := range w {
		if cut < 3 {
			continue
		}
		if m, ok := months[w[:cut]]; ok {
			return m, true
		}
	}
	return 0, true
}

// months are abbreviations as strftime(3) has them in glibc's locales, of at
// least three letters where they are unambiguous.
var months = buildMonths(map[string]string{
	"en":        "jan feb mar apr may jun jul aug sep oct nov dec",
	"de":        "jan feb mär apr mai jun jul aug sep okt nov dez",
	"de, old":   "jan feb mrz apr mai juni juli aug sept okt nov dez",
	"fr":        "janv fév mars avr mai juin juil août sept oct nov déc",
	"fr, ascii": "jan fev mar avr mai juin jui aou sep oct nov dec",
	"es":        "ene feb mar abr may jun jul ago sep oct nov dic",
	"it":        "gen feb mar apr mag giu lug ago set ott nov dic",
	"pt":        "jan fev mar abr mai jun jul ago set out nov dez",
	"nl":        "jan feb mrt apr mei jun jul aug sep okt nov dec",
	"sv":        "jan feb mar apr maj jun jul aug sep okt nov dec",
	"no":        "jan feb mar apr mai jun jul aug sep okt nov des",
	"pl":        "sty lut mar kwi maj cze lip sie wrz paź lis gru",
	"cs":        "led úno bře dub kvě čen čec srp zář říj lis pro",
	"hu":        "jan febr márc ápr máj jún júl aug szept okt nov dec",
	"fi":        "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
	"ru":        "янв фев мар апр мая июн июл авг сен окт ноя дек",
	"uk":        "січ лют бер кві тра чер лип сер вер жов лис гру",
	"tr":        "oca şub mar nis may haz tem ağu eyl eki kas ara",
})

// buildMonths turns the lists into one table. A word that means different
// months in different languages ("lis": November in Polish and in Czech, but
// "lip" July) stays out.
func buildMonths(languages map[string]string) map[string]int {
	table, clash := map[string]int{}, map[string]bool{}
	for _, names := range languages {
		for i, name := range strings.Fields(names) {
			if m, ok := table[name]; ok && m != i+1 {
				clash[name] = true
			}
			table[name] = i + 1
		}
	}
	for name := range clash {
		delete(table, name)
	}
	return table
}
