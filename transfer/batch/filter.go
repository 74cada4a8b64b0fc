package batch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/xfer-cli/xfer/transfer"
)

// Rule takes or leaves the files that its pattern names.
type Rule struct {
	Include bool
	// Pattern has * ? [ ] { } and ** as in doublestar. Without a "/" it is
	// compared with the name, in any directory; with one, with the path below
	// the source. A "/" at its end means directories only.
	Pattern string
}

// Filter says which files of a tree are wanted. The zero value wants all.
type Filter struct {
	// Rules: the first that fits a file, or a directory it is in, decides. A
	// file that none fits is taken, unless the last rule is an include: then
	// only what was included is wanted.
	Rules []Rule
	// NewerThan and OlderThan compare modification times; zero is no limit. A
	// file whose time is unknown is wanted.
	NewerThan, OlderThan time.Time
	// MinSize and MaxSize are in bytes, 0 is no limit. A file whose size is
	// unknown is wanted.
	MinSize, MaxSize int64
}

// Check refuses patterns that can't be read.
func (f Filter) Check() error {
	for _, r := range f.Rules {
		if r.Pattern == "" || !doublestar.ValidatePattern(r.Pattern) {
			return fmt.Errorf("bad pattern %q", r.Pattern)
		}
	}
	return nil
}

// Wants says whether the file with this path below the source is to be taken.
func (f Filter) Wants(rel string, i transfer.Info) bool {
	switch {
	case !f.NewerThan.IsZero() && !i.ModTime.IsZero() && !i.ModTime.After(f.NewerThan),
		!f.OlderThan.IsZero() && !i.ModTime.IsZero() && !i.ModTime.Before(f.OlderThan),
		f.MinSize > 0 && i.Size >= 0 && i.Size < f.MinSize,
		f.MaxSize > 0 && i.Size > f.MaxSize:
		return false
	}
	for _, r := range f.Rules {
		if r.fitsFile(rel) {
			return r.Include
		}
	}
	return len(f.Rules) == 0 || !f.Rules[len(f.Rules)-1].Include
}

// Enters says whether a directory can hold anything that is wanted.
func (f Filter) Enters(rel string) bool {
	for _, r := range f.Rules {
		if r.Include {
			return true // of what is below, only a look at it can tell
		}
		if r.fitsDir(rel) {
			return false
		}
	}
	return true
}

// looksAtFile says whether more than the path decides.
func (f Filter) looksAtFile() bool {
	return !f.NewerThan.IsZero() || !f.OlderThan.IsZero() || f.MinSize > 0 || f.MaxSize > 0
}

func (r Rule) fitsFile(rel string) bool {
	if !strings.HasSuffix(r.Pattern, "/") && r.fits(rel) {
		return true
	}
	dir, _ := transfer.Split(rel)
	return dir != "." && r.fitsDir(dir)
}

// fitsDir says whether the rule fits the directory or one it is in.
func (r Rule) fitsDir(rel string) bool {
	for {
		if r.fits(rel) {
			return true
		}
		i := strings.LastIndexByte(rel, '/')
		if i < 0 {
			return false
		}
		rel = rel[:i]
	}
}

func (r Rule) fits(rel string) bool {
	pattern := strings.TrimSuffix(r.Pattern, "/")
	if !strings.Contains(pattern, "/") {
		rel = rel[strings.LastIndexByte(rel, '/')+1:]
	}
	return doublestar.MatchUnvalidated(strings.TrimPrefix(pattern, "/"), rel)
}

// ParseSize reads "1000", "10k", "5M", "2GiB"; the units are powers of 1024.
func ParseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "bBiIkKmMgGtT")
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20,
		"g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40}[strings.ToLower(s[len(number):])]
	n, err := strconv.ParseFloat(number, 64)
	if n *= float64(int64(1) << shift); err != nil || !ok || !(n >= 0 && n < 1<<62) {
		return 0, errors.New(`must be a size such as "1000", "10k" or "5MiB"`)
	}
	return int64(n), nil
}

// ParseWhen reads a point in time: how long before now ("12h", "2d", "1w"), or a
// date in now's zone ("2026-01-31", "2026-01-31 06:00", RFC 3339).
func ParseWhen(s string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if days, unit, ok := cutLast(s); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 && n < 1e5 {
			return now.Add(-time.Duration(n * float64(unit))), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, errors.New(`must be an age such as "12h" or "2d", or a date such as "2026-01-31" or "2026-01-31T06:00"`)
}

// cutLast splits off the units that time.ParseDuration does not know.
func cutLast(s string) (number string, unit time.Duration, ok bool) {
	if number, ok = strings.CutSuffix(s, "d"); ok {
		return number, 24 * time.Hour, true
	}
	number, ok = strings.CutSuffix(s, "w")
	return number, 7 * 24 * time.Hour, ok
}
