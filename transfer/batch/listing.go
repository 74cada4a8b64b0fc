package batch

import (
	"cmp"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// listing is one directory, as small as it gets: 56 bytes and the name for each
// entry. A tree may be of any size, its largest directory has to fit.
type listing struct {
	text  []byte // names and link targets, one after the other
	items []item
	bad   []error
}

type item struct {
	at             int // in text: the name, then the target of a link
	size           int64
	modTime        int64 // ns since 1970, noTime when unknown
	precision      time.Duration
	mode           fs.FileMode
	hasPerm        bool
	bad            int32 // 1 + index in listing.bad
	nameLen, toLen uint16
}

const noTime = -1 << 63

// errTwice: both can't be meant, and nobody knows which is.
var errTwice = errors.New("the name is listed twice")

func (l *listing) add(i transfer.Info) {
	it := item{
		at: len(l.text), size: i.Size, modTime: noTime, precision: i.Precision, mode: i.Mode, hasPerm: i.HasPerm,
		nameLen: uint16(min(len(i.Name), 1<<16-1)), toLen: uint16(min(len(i.Link), 1<<16-1)),
	}
	if !i.ModTime.IsZero() {
		it.modTime = i.ModTime.UnixNano()
	}
	if i.Bad != nil {
		it.bad = l.refuse(i.Bad)
	}
	l.text = append(l.text, i.Name[:it.nameLen]...)
	l.text = append(l.text, i.Link[:it.toLen]...)
	l.items = append(l.items, it)
}

func (l *listing) refuse(err error) int32 {
	l.bad = append(l.bad, err)
	return int32(len(l.bad))
}

func (l *listing) reset() { l.text, l.items, l.bad = l.text[:0], l.items[:0], nil }

func (l *listing) name(it *item) []byte { return l.text[it.at : it.at+int(it.nameLen)] }

// sort orders by name, byte by byte, and marks names that come twice.
func (l *listing) sort() {
	slices.SortFunc(l.items, func(a, b item) int {
		return cmp.Or(slices.Compare(l.name(&a), l.name(&b)), cmp.Compare(a.at, b.at))
	})
	for i := 1; i < len(l.items); i++ {
		a, b := &l.items[i-1], &l.items[i]
		if a.bad == 0 && b.bad == 0 && slices.Equal(l.name(a), l.name(b)) {
			a.bad = l.refuse(errTwice)
			b.bad = a.bad
		}
	}
}

// isDir says whether a sorted listing has a directory of this name.
func (l *listing) isDir(name string) bool {
	n, found := slices.BinarySearchFunc(l.items, []byte(name), func(it item, name []byte) int {
		return slices.Compare(l.name(&it), name)
	})
	return found && l.items[n].mode.IsDir()
}

func (l *listing) len() int { return len(l.items) }

func (l *listing) info(n int) transfer.Info {
	it := &l.items[n]
	i := transfer.Info{Name: string(l.name(it)), Size: it.size, Mode: it.mode, HasPerm: it.hasPerm, Precision: it.precision}
	if it.toLen > 0 {
		end := it.at + int(it.nameLen)
		i.Link = string(l.text[end : end+int(it.toLen)])
	}
	if it.modTime != noTime {
		i.ModTime = time.Unix(0, it.modTime)
	}
	if it.bad > 0 {
		i.Bad = l.bad[it.bad-1]
	}
	return i
}

func (l *listing) all() iter.Seq[transfer.Info] {
	return func(yield func(transfer.Info) bool) {
		for n := range l.items {
			if !yield(l.info(n)) {
				return
			}
		}
	}
}
