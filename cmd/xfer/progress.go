package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// bars is stderr with at most one progress bar on its last line. Everything else
// that is written goes above the bar. Without a terminal it is just stderr.
type bars struct {
	w       io.Writer
	enabled bool

	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	name string
	base int64 // where this run began: rate and time left are of what is left
	max  int64
	// remedy says that the line shows one; the next progress takes it away.
	remedy bool
	// held: the last line belongs to a question, and nothing is drawn.
	held bool
}

func newBars(w io.Writer, enabled bool) *bars { return &bars{w: w, enabled: enabled} }

// Write writes above the bar.
func (b *bars) Write(p []byte) (int, error) { return b.above(b.w, p) }

func (b *bars) above(w io.Writer, p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil && !b.held {
		_ = b.bar.Clear() // drawing is best effort
		defer func() { _ = b.bar.RenderBlank() }()
	}
	return w.Write(p)
}

// beside makes another writer of the same terminal keep off the bar's line.
func (b *bars) beside(w io.Writer) io.Writer {
	if !b.enabled {
		return w
	}
	return writerFunc(func(p []byte) (int, error) { return b.above(w, p) })
}

// hold takes the bar away for a question, until release.
func (b *bars) hold() (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	b.held = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.held = false
		if b.bar != nil {
			_ = b.bar.RenderBlank()
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// active says whether a person is looking at bars.
func (b *bars) active() bool { return b.enabled }

// follow gives the observer that draws the transfer called name. done takes the
// bar away.
func (b *bars) follow(name string) (o transfer.Observer, done func()) {
	if !b.enabled {
		return transfer.Observer{}, func() {}
	}
	name = policy.Sanitize(name)
	b.mu.Lock()
	b.name, b.bar, b.max, b.base, b.remedy = name, nil, -1, 0, false
	b.mu.Unlock()
	return transfer.Observer{Size: b.size, Progress: b.progress, Event: b.event}, b.done
}

func (b *bars) size(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.max = n
}

// progress moves the bar; its first call makes it.
func (b *bars) progress(pos int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held {
		return
	}
	if b.max == 0 {
		return // an empty file is done before it could be drawn
	}
	if b.bar == nil {
		b.base = pos
		b.bar = b.newBar()
	}
	if b.remedy {
		b.remedy = false
		b.bar.Describe(b.description())
	}
	// The bar can't leave its end again, so it gets there only when it is done.
	pos = max(0, pos-b.base)
	if b.max > 0 {
		pos = min(pos, b.max-b.base-1)
	}
	_ = b.bar.Set64(pos)
}

func (b *bars) newBar() *progressbar.ProgressBar {
	length := int64(-1)
	if b.max > 0 {
		length = max(1, b.max-b.base)
	}
	return progressbar.NewOptions64(length,
		progressbar.OptionSetWriter(b.w),
		progressbar.OptionSetDescription(b.description()),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(b.max > 0),
		progressbar.OptionSetWidth(24),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetSpinnerChangeInterval(0), // no goroutine of its own
		progressbar.OptionClearOnFinish(),
	)
}

func (b *bars) description() string {
	if b.base > 0 {
		return fmt.Sprintf("%s (from %s)", b.name, byteCount(b.base))
	}
	return b.name
}

// event writes the remedy above the bar, and beside the name while it lasts.
func (b *bars) event(ev policy.Event) {
	text := remedyText(ev)
	_, _ = fmt.Fprintf(b, "%s: %s\n", policy.Sanitize(ev.Op), text)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil && !b.held {
		b.remedy = true
		b.bar.Describe(b.name + "  " + text)
	}
}

func (b *bars) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		if !b.held {
			_ = b.bar.Clear()
		}
		_ = b.bar.Exit()
		b.bar = nil
	}
}

// remedyText is what a person is told while a remedy is under way:
// "425 Can't open data connection: switching to active",
// "450 File busy: next try in 4 s, gives up 03:12".
func remedyText(ev policy.Event) string {
	said := strings.TrimRight(ev.Fault.Said(), ".")
	var does string
	switch ev.Remedy {
	case policy.Diagnose:
		return said + ": looking for the cause"
	case policy.Reconcile:
		does = "looking whether it arrived"
	case policy.SwitchMode:
		does = ev.About
	case policy.Reconnect:
		does = "logging in again"
	default:
		does = "next try"
	}
	if ev.Delay > 0 {
		does += " in " + seconds(ev.Delay)
	}
	switch {
	case ev.Remedy == policy.SwitchMode:
	case !ev.Deadline.IsZero():
		does += ", gives up " + ev.Deadline.Format("15:04")
	default:
		does += fmt.Sprintf(" (%d of %d)", ev.Try+1, ev.Tries)
	}
	return said + ": " + does
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
