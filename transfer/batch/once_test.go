package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// onceSetup copies the file "a" between this machine and a server.
type onceSetup struct {
	direction     transfer.Direction
	server        endSetup
	local, state  string
	entry         ledger.Delivery
	resend        bool
	sourceDir, at string // of the source, and of the target
}

func newOnce(t *testing.T, direction transfer.Direction) *onceSetup {
	s := &onceSetup{direction: direction, server: startEnd(t, "sftp"), local: t.TempDir(), state: t.TempDir()}
	s.sourceDir, s.at = s.local, s.server.Dir
	if direction == transfer.Get {
		s.sourceDir, s.at = s.at, s.sourceDir
	}
	return s
}

func (s *onceSetup) ledger() *ledger.Ledger { return ledger.Open(filepath.Join(s.state, "ledger.db")) }

// write makes the source.
func (s *onceSetup) write(t *testing.T, content string, modified time.Time) {
	t.Helper()
	path := filepath.Join(s.sourceDir, "a")
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, modified, modified)); err != nil {
		t.Fatal(err)
	}
	s.entry = ledger.Delivery{Source: "source", Target: "target", Size: int64(len(content)), ModTime: modified}
}

func (s *onceSetup) run(t *testing.T) (r transfer.Result, warned []string, err error) {
	t.Helper()
	books, links := s.ledger(), s.server.end().Links
	o := &Once{Ledger: books, Resend: s.resend, Warn: func(text, _ string) { warned = append(warned, text) }}
	job := transfer.Job{
		Direction: s.direction, Local: filepath.Join(s.local, "a"), Remote: "/a",
		Lock: ledger.Locks{Dir: filepath.Join(s.state, "locks")}.Lock,
	}
	err = links.Use(t.Context(), "test", func(ctx context.Context, l *transfer.Link, e *policy.Engine) (err error) {
		r, err = o.Copy(ctx, l, e, job, s.entry, transfer.Observer{})
		return err
	})
	if closeErr := errors.Join(links.Close(t.Context()), books.Close()); closeErr != nil {
		t.Error(closeErr)
	}
	return r, warned, err
}

// last is the last delivery of the ledger.
func (s *onceSetup) last(t *testing.T) ledger.Delivery {
	t.Helper()
	books := s.ledger()
	defer books.Close()
	list, err := books.Deliveries(t.Context(), ledger.Query{})
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list[0]
}

// TestOnce: a file is not copied twice, unless it has changed or somebody says so.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, direction := range []transfer.Direction{transfer.Put, transfer.Get} {
		s := newOnce(t, direction)
		when := time.Now().Add(-time.Hour)
		for _, step := range []struct {
			name, content string
			at            time.Time
			resend        bool
			skipped       bool
			warning       string
		}{
			{"first", "one", when, false, false, ""},
			{"again", "one", when, false, true, ""},
			{"resend", "one", when, true, false, ""},
			{"touched", "one", when.Add(time.Minute), false, false, "the same content and another time"},
			{"the name is used again", "three", when.Add(2 * time.Minute), false, false, "other content"},
		} {
			s.write(t, step.content, step.at)
			s.resend = step.resend
			_ = os.Remove(filepath.Join(s.at, "a")) // the receiver took it
			r, warned, err := s.run(t)
			if err != nil || (r.Skipped != "") != step.skipped || !strings.Contains(strings.Join(warned, "\n"), step.warning) || (step.warning == "") != (warned == nil) {
				t.Errorf("%s, %s: %+v %q %v", direction, step.name, r, warned, err)
			}
			if got := contents(t, s.at)["a"]; (got == step.content) == step.skipped {
				t.Errorf("%s, %s: %q arrived", direction, step.name, got)
			}
			if d := s.last(t); d.Outcome != ledger.Done || d.SHA256 != sumOf(step.content) {
				t.Errorf("%s, %s: %+v", direction, step.name, d)
			}
		}
	}
}

// TestOnceLeft: what a killed run left is told apart by the two names.
func TestOnceLeft(t *testing.T) {
	t.Parallel()
	for _, direction := range []transfer.Direction{transfer.Put, transfer.Get} {
		for name, tt := range map[string]struct {
			stage          string
			temp, final    bool // is there
			other          bool // something else has the final name
			resend         bool
			skipped, fails bool
			before         ledger.Outcome // as what the left one ends
		}{
			"sending":             {stage: stageSending, before: ledger.Undone},
			"before the rename":   {stage: stagePublishing, temp: true, before: ledger.Undone},
			"after the rename":    {stage: stagePublishing, final: true, skipped: true, before: ledger.Done},
			"both are gone":       {stage: stagePublishing, fails: true, before: ledger.Unsettled},
			"another is there":    {stage: stagePublishing, other: true, fails: true, before: ledger.Unsettled},
			"somebody is certain": {stage: stagePublishing, resend: true, before: ledger.Undone},
		} {
			s := newOnce(t, direction)
			s.write(t, "content", time.Now().Add(-time.Hour))
			n := note{Temp: ".a.part", Final: "a"}
			dir := "/"
			if direction == transfer.Get {
				dir = s.local
			}
			n.Temp, n.Final = filepath.Join(dir, n.Temp), filepath.Join(dir, n.Final)
			for file, there := range map[string]bool{".a.part": tt.temp, "a": tt.final} {
				if there {
					if err := os.WriteFile(filepath.Join(s.at, file), []byte("content"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			if tt.other {
				if err := os.WriteFile(filepath.Join(s.at, "a"), []byte("an older version"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			books := s.ledger()
			id, err := books.Intend(t.Context(), s.entry)
			if err := errors.Join(err, books.Stage(t.Context(), id, tt.stage, n.String()), books.Close()); err != nil {
				t.Fatal(err)
			}
			s.resend = tt.resend
			r, _, err := s.run(t)
			if (err != nil) != tt.fails || (r.Skipped != "") != tt.skipped {
				t.Errorf("%s, %s: %+v %v", direction, name, r, err)
			}
			if err != nil && policy.FaultOf(err).Cause != policy.CauseUnsettled {
				t.Errorf("%s, %s: %v", direction, name, err)
			}
			if arrived := contents(t, s.at)["a"] == "content"; arrived == tt.fails {
				t.Errorf("%s, %s: arrived: %v", direction, name, arrived)
			}
			books = s.ledger()
			list, err := books.Deliveries(t.Context(), ledger.Query{})
			if err := errors.Join(err, books.Close()); err != nil || list[len(list)-1].Outcome != tt.before {
				t.Errorf("%s, %s: %+v %v", direction, name, list, err)
			}
		}
	}
}
