package main

import (
	"fmt"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// totals is the one line for files that are transferred side by side: files,
// bytes and rate of all of them.
type totals struct {
	bars *bars

	// Under bars.mu. files and size are what is known of so far.
	files, done   int
	size, arrived int64
}

// follow counts a file that begins. size is -1 when unknown.
func (t *totals) follow(_ string, size int64) (o transfer.Observer, done func()) {
	if !t.bars.enabled {
		return transfer.Observer{}, func() {}
	}
	known, at := int64(0), int64(0)
	t.change(func() { t.files++ })
	setSize := func(n int64) {
		t.change(func() { t.size, known = t.size+n-known, n })
	}
	if size > 0 {
		setSize(size)
	}
	return transfer.Observer{
		Size: setSize,
		Progress: func(pos int64) {
			t.change(func() { t.arrived, at = t.arrived+pos-at, pos })
		},
		Event: t.event,
	}, func() { t.change(func() { t.done++ }) }
}

// change draws what update leaves.
func (t *totals) change(update func()) {
	b := t.bars
	b.mu.Lock()
	defer b.mu.Unlock()
	update()
	if b.held {
		return
	}
	if b.bar == nil {
		b.name, b.base, b.max, b.remedy = "", 0, max(t.size, 1), false
		b.bar = b.newBar()
	}
	b.bar.Describe(fmt.Sprintf("%d/%d files", t.done, t.files))
	// The bar can't leave its end again, and more files may come.
	b.bar.ChangeMax64(max(t.size, t.arrived) + 1)
	_ = b.bar.Set64(max(0, t.arrived))
}

// event writes the remedy above the line.
func (t *totals) event(ev policy.Event) {
	_, _ = fmt.Fprintf(t.bars, "%s: %s\n", policy.Sanitize(ev.Op), remedyText(ev))
}

func (t *totals) end() { t.bars.done() }
