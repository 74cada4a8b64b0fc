package batch

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Ready says when a file is complete, so that it may be picked up. All that is
// set must hold.
type Ready struct {
	// Settle: size and time are the same in two listings that are so far apart.
	Settle time.Duration
	// Marker is the name of a file that says so, with NAME for the file's name:
	// "NAME.done".
	Marker string
	// MinAge is how long ago it was modified, by this machine's clock.
	MinAge time.Duration
}

// Pickups calls each with the files of the source that are complete, sorted by
// name. It lists the directory, twice to see what has settled.
func (m *Move) Pickups(ctx context.Context, each func(Pickup) error) error {
	first, err := m.From.side(m.Name).list(ctx, m.From.at(""))
	if err != nil {
		return err
	}
	second := first
	if m.Ready.Settle > 0 && first.len() > 0 {
		select {
		case <-time.After(m.Ready.Settle):
		case <-ctx.Done():
			return policy.LocalFault("wait", "", context.Cause(ctx))
		}
		if second, err = m.From.side(m.Name).list(ctx, m.From.at("")); err != nil {
			return err
		}
	}
	now := time.Now()
	for before, after := range merge(first, second) {
		if before == nil || after == nil || !m.isCandidate(after) {
			continue
		}
		p := Pickup{Name: after.Name, Info: *after}
		if m.Ready.Marker != "" {
			p.Marker = m.marker(after.Name)
			if !second.has(p.Marker) {
				continue
			}
		}
		if before.Size != after.Size || !before.ModTime.Equal(after.ModTime) {
			continue
		}
		if m.Ready.MinAge > 0 && (after.ModTime.IsZero() || now.Sub(after.ModTime) < m.Ready.MinAge) {
			continue
		}
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

func (m *Move) marker(name string) string { return strings.ReplaceAll(m.Ready.Marker, "NAME", name) }

// isCandidate leaves out what is not a file to be moved: markers, claimed files,
// temporary names.
func (m *Move) isCandidate(i *transfer.Info) bool {
	switch {
	case i.Bad != nil, !i.IsRegular(), transfer.IsTemp(i.Name), !m.Wants(i.Name, *i):
		return false
	}
	return !fitsName(m.Ready.Marker, i.Name) && !fitsName(m.Claim, i.Name)
}

// fitsName says whether name is pattern with something for NAME.
func fitsName(pattern, name string) bool {
	before, after, ok := strings.Cut(path.Base(pattern), "NAME")
	return pattern != "" && ok && path.Dir(pattern) == "." && len(name) > len(before)+len(after) &&
		strings.HasPrefix(name, before) && strings.HasSuffix(name, after)
}

// has says whether a sorted listing has a name.
func (l *listing) has(name string) bool {
	lo, hi := 0, l.len()
	for lo < hi {
		mid := (lo + hi) / 2
		if string(l.name(&l.items[mid])) < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < l.len() && string(l.name(&l.items[lo])) == name
}
