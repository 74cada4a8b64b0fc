package ledger

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// taken is a slot with a connection.
func taken(t *testing.T, s *Slots, host string, limit int) transfer.Slot {
	t.Helper()
	slot, err := s.Take(t.Context(), host, limit)
	must(t, err)
	slot.Opened()
	t.Cleanup(slot.Release)
	return slot
}

// TestSlots of one process: as many as the limit, for each host; a process does
// not wait for itself.
func TestSlots(t *testing.T) {
	s := &Slots{Dir: filepath.Join(t.TempDir(), "state")}
	first := taken(t, s, "a", 2)
	taken(t, s, "a", 2)
	taken(t, s, "b", 1)
	_, err := s.Take(t.Context(), "a", 2)
	wantCause(t, err, policy.CauseBudget)
	if v := policy.Classify(policy.FaultOf(err)); !v.Crowded {
		t.Errorf("the verdict is not Crowded: %+v", v)
	}
	first.Release()
	first.Release() // harmless
	again := taken(t, s, "a", 2)
	_, err = s.Take(t.Context(), "a", 2)
	wantCause(t, err, policy.CauseBudget)
	again.Release()
	again.Opened() // too late: its link was closed while it dialled
	taken(t, s, "a", 2).Release()
	for range 20 {
		taken(t, s, "a", 0) // no limit, no wait
	}
}

// TestSlotOfKilledProcess: a link waits for another process, and no longer than
// that lives.
func TestSlotOfKilledProcess(t *testing.T) {
	waits := make(chan int, 1)
	s := &Slots{Dir: t.TempDir(), Waiting: func(_ string, limit int) { waits <- limit }}
	kill, _ := waiting(t, "hold", s.Dir)

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-waits
		cancel()
	}()
	_, err := s.Take(ctx, "host", 1)
	wantCause(t, err, policy.CauseCancelled)

	taken(t, s, "host", 2).Release() // one more is allowed

	got := make(chan error, 1)
	go func() {
		slot, err := s.Take(t.Context(), "host", 1)
		if err == nil {
			slot.Release()
		}
		got <- err
	}()
	if limit := <-waits; limit != 1 {
		t.Errorf("waits for a limit of %d", limit)
	}
	kill()
	must(t, <-got)
}

// TestSlotsOfManyProcesses: never are more connections open than the limit.
func TestSlotsOfManyProcesses(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := process(t, "crowd", filepath.Join(dir, "slots"), "3", log).Run(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	text := contents(t, log)
	open, most := 0, 0
	for _, c := range text {
		if c == '+' {
			open++
		} else {
			open--
		}
		most = max(most, open)
	}
	if most > 3 || strings.Count(text, "+") != 40 {
		t.Errorf("%d open at once, %d in all: %s", most, strings.Count(text, "+"), text)
	}
}

// TestCrowded: a refusal makes the connections that stand the limit, unless it
// says nothing about it.
func TestCrowded(t *testing.T) {
	ctx := t.Context()
	type lowered struct {
		limit int
		said  string
	}
	var told []lowered
	s := &Slots{Dir: t.TempDir(), Lowered: func(_ string, limit int, said string) { told = append(told, lowered{limit, said}) }}
	refused := func(limit int) int {
		slot, err := s.Take(ctx, "host", limit)
		must(t, err)
		return slot.Crowded(ctx, "421 too many")
	}
	if n := refused(0); n != 0 {
		t.Errorf("without another connection of ours: limit %d", n)
	}
	first := taken(t, s, "host", 0)
	taken(t, s, "host", 0)
	if n := refused(0); n != 2 {
		t.Errorf("with two connections: limit %d", n)
	}
	if _, err := s.Take(ctx, "host", 8); err == nil {
		t.Error("the limit was not lowered for the next link")
	}
	if len(told) != 1 || told[0] != (lowered{2, "421 too many"}) {
		t.Errorf("told %v", told)
	}

	// The server may not have noticed yet that the first is gone.
	first.Release()
	if n := refused(0); n != 0 {
		t.Errorf("just after one ended: limit %d", n)
	}
	// The same for a connection that broke and is being made anew.
	taken(t, s, "another", 0)
	if n := taken(t, s, "another", 0).Crowded(ctx, "421 too many"); n != 0 {
		t.Errorf("when reconnecting: limit %d", n)
	}
}

// TestFirstDialAlone: nothing is known of the server yet, not even whether the
// password is right.
func TestFirstDialAlone(t *testing.T) {
	s := &Slots{Dir: t.TempDir()}
	dialling, err := s.Take(t.Context(), "host", 0)
	must(t, err)
	taken(t, s, "other", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Take(ctx, "host", 0)
	wantCause(t, err, policy.CauseDeadline)
	dialling.Opened()
	taken(t, s, "host", 0)
}

// TestCrowdedAmongOthers: a refusal is weighed when the others that dial at the
// same time have come to an end, and says exactly how many are allowed.
func TestCrowdedAmongOthers(t *testing.T) {
	ctx := t.Context()
	s := &Slots{Dir: t.TempDir()}
	taken(t, s, "host", 0)
	var dialling [4]transfer.Slot
	for i := range dialling {
		slot, err := s.Take(ctx, "host", 0)
		must(t, err)
		dialling[i] = slot
		t.Cleanup(slot.Release)
	}
	// Two are refused before the other two are let in.
	limits := make(chan int)
	for _, slot := range dialling[:2] {
		go func() { limits <- slot.Crowded(ctx, "421 too many") }()
	}
	h := s.host("host")
	must(t, h.when(ctx, func() bool { return h.refused == 2 }))
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := s.Take(short, "host", 0)
	wantCause(t, err, policy.CauseDeadline)
	dialling[2].Opened()
	dialling[3].Opened()
	for range 2 {
		if n := <-limits; n != 3 {
			t.Errorf("limit %d, want the 3 that stand", n)
		}
	}
	_, err = s.Take(ctx, "host", 0)
	wantCause(t, err, policy.CauseBudget)
}

// TestSlotsUnusable: connections that can't be counted are let pass, with one warning.
func TestSlotsUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	warned := 0
	s := &Slots{Dir: filepath.Join(file, "slots"), Warn: func(error) { warned++ }}
	for range 3 {
		taken(t, s, "host", 1).Release()
	}
	if warned != 1 {
		t.Errorf("%d warnings", warned)
	}
}

// TestManySlots: beyond what is counted nobody is kept waiting.
func TestManySlots(t *testing.T) {
	s := &Slots{Dir: t.TempDir()}
	for range maxSlots + 2 {
		taken(t, s, "host", 0)
	}
	if _, err := os.Stat(filepath.Join(s.host("host").dir, strconv.Itoa(maxSlots))); err == nil {
		t.Error("a slot too many")
	}
}
