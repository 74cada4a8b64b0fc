package batch

import (
	"bytes"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// Compare is how a sync tells whether a file is the same on both sides.
type Compare uint8

// The ways. All but BySize need the times that the target keeps.
const (
	BySizeAndTime Compare = iota
	BySize                // only the size
	ByHash                // the size, then the content
)

var compareNames = [...]string{"time", "size", "checksum"}

func (c Compare) String() string { return compareNames[c] }

// UnmarshalText reads a name; the error lists what it can be.
func (c *Compare) UnmarshalText(text []byte) error {
	i := slices.Index(compareNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(compareNames[:], ", "))
	}
	*c = Compare(i)
	return nil
}

// need is what one name of a directory needs at the target.
type need uint8

const (
	nothing  need = iota
	transmit      // the file
	check         // the contents have to be compared
	enter         // the directory is on both sides
	create        // the directory, with all that is in it
	relink        // the symbolic link
	surplus       // it is at the target only
	conflict      // it is a directory on one side only
)

// decide compares what has one name on both sides; nil is missing. It is pure.
// keepsTimes: the target holds the times that it is given.
func decide(src, dst *transfer.Info, c Compare, keepsTimes bool) (n need, reason string) {
	switch {
	case src == nil:
		return surplus, "not at the source"
	case dst == nil && src.IsDir():
		return create, "new"
	case src.IsDir() && dst.IsDir():
		return enter, ""
	case dst != nil && src.IsDir() != dst.IsDir():
		return conflict, "other kind"
	case src.Mode&fs.ModeSymlink != 0:
		if dst != nil && dst.Mode&fs.ModeSymlink != 0 && dst.Link == src.Link {
			return nothing, ""
		}
		return relink, "link"
	case dst == nil:
		return transmit, "new"
	case !dst.IsRegular():
		return transmit, "other kind"
	case src.Size >= 0 && dst.Size >= 0 && src.Size != dst.Size:
		return transmit, "size"
	case c == ByHash:
		return check, "content"
	case c == BySize || sameTime(src, dst, keepsTimes):
		return nothing, ""
	}
	return transmit, "time"
}

// sameTime compares as exactly as the less exact side tells. Where the target
// keeps no times, the file there is the same if it was written after the source.
func sameTime(src, dst *transfer.Info, keepsTimes bool) bool {
	if src.ModTime.IsZero() || dst.ModTime.IsZero() {
		return true // the size has to do
	}
	exact := max(src.Precision, dst.Precision, time.Second) // what is set is set in whole seconds
	d := src.ModTime.Sub(dst.ModTime)
	return d < exact && (d > -exact || !keepsTimes)
}

// merge goes through two sorted directories side by side.
func merge(a, b *listing) iter.Seq2[*transfer.Info, *transfer.Info] {
	return func(yield func(src, dst *transfer.Info) bool) {
		i, j := 0, 0
		for i < a.len() || j < b.len() {
			var src, dst *transfer.Info
			order := 0
			switch {
			case i == a.len():
				order = 1
			case j == b.len():
				order = -1
			default:
				order = bytes.Compare(a.name(&a.items[i]), b.name(&b.items[j]))
			}
			if order <= 0 {
				src = new(a.info(i))
				i++
			}
			if order >= 0 {
				dst = new(b.info(j))
				j++
			}
			if !yield(src, dst) {
				return
			}
		}
	}
}
