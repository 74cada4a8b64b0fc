package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// TestBar: what a person sees while a file moves: name, percent, bytes; the
// remedy while it lasts; nothing when it is over.
func TestBar(t *testing.T) {
	var w bytes.Buffer
	b := newBars(&w, true)
	o, done := b.follow("report\x1b[31m.csv")
	o.Size(1000 << 10)
	o.Progress(0)
	time.Sleep(110 * time.Millisecond) // the bar draws ten times a second at most
	o.Progress(500 << 10)
	if got := w.String(); !strings.Contains(got, "report?[31m.csv") || !strings.Contains(got, "50%") || !strings.Contains(got, "500") {
		t.Errorf("drawn: %q", got)
	}
	if strings.Contains(w.String(), "\x1b[31m") {
		t.Error("a name reached the terminal raw")
	}
	w.Reset()
	o.Event(policy.Event{Op: "put report.csv", Fault: &policy.Fault{Protocol: policy.FTP, Code: 450, Text: "busy"}, Remedy: policy.Retry, Delay: 4 * time.Second, Tries: 8})
	if got := w.String(); !strings.Contains(got, "450 busy: next try in 4.0 s") {
		t.Errorf("the remedy is not told: %q", got)
	}
	w.Reset()
	_, _ = fmt.Fprintln(b, "a line of the log")
	if got := w.String(); !strings.Contains(got, "\x1b[2K\ra line of the log\n") {
		t.Errorf("the log is mixed up with the bar: %q", got)
	}
	w.Reset()
	done()
	if got := w.String(); got != "\x1b[2K\r" {
		t.Errorf("left on the terminal: %q", got)
	}
}

// TestBarLeavesAQuestion: what is asked stays in sight until it is answered.
func TestBarLeavesAQuestion(t *testing.T) {
	var w bytes.Buffer
	b := newBars(&w, true)
	all := &totals{bars: b}
	_, done := all.follow("a", 1000)
	release := b.hold()
	w.Reset()
	_, _ = fmt.Fprint(b, "Password: ")
	done()
	_, other := all.follow("b", 1000)
	other()
	if got := w.String(); got != "Password: " {
		t.Errorf("on the terminal: %q", got)
	}
	release()
	if got := w.String(); !strings.Contains(got, "0/1 files") {
		t.Errorf("the bar did not come back: %q", got)
	}
}

// TestNoBarWithoutATerminal: nothing but what is written.
func TestNoBarWithoutATerminal(t *testing.T) {
	var w bytes.Buffer
	b := newBars(&w, false)
	o, done := b.follow("report.csv")
	if o.Progress != nil || o.Event != nil {
		t.Error("there is an observer that would draw")
	}
	_, _ = fmt.Fprint(b, "log")
	done()
	if w.String() != "log" {
		t.Errorf("%q", w.String())
	}
}
