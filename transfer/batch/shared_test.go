package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// parallel is a server whose sessions bear any number of operations at once.
type parallel struct {
	mu    sync.Mutex
	dials int
	// answer is what dial n, counted from 1, fails with.
	answer func(n int) error
	// busy is how many operations are under way, most how many there were.
	busy, most int
	session    *parallelSession
}

type parallelSession struct {
	synthetic
	server *parallel
	dead   bool // under server.mu
}

func (s *parallelSession) Extras() transfer.Extras { return transfer.Extras{Parallel: true} }

func (s *parallelSession) Alive() bool {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	return !s.dead
}

func (s *parallelSession) Close() error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.dead = true
	return nil
}

func (p *parallel) dial(context.Context, transfer.Hints) (transfer.Session, error) {
	time.Sleep(time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
	if p.answer != nil {
		if err := p.answer(p.dials); err != nil {
			return nil, err
		}
	}
	p.session = &parallelSession{server: p}
	return p.session, nil
}

// work takes a second, and fails if the session has ended by then.
func (p *parallel) work(s transfer.Session) error {
	p.mu.Lock()
	p.busy++
	p.most = max(p.most, p.busy)
	p.mu.Unlock()
	time.Sleep(time.Second)
	p.mu.Lock()
	p.busy--
	p.mu.Unlock()
	if !s.Alive() {
		return &policy.Fault{Protocol: policy.SFTP, Phase: policy.Data, Op: "write", Cause: policy.CauseReset, Err: syscall.ECONNRESET}
	}
	return nil
}

// run has n files dealt with by 64 workers, and cuts the connection once half of
// them are done. It says what became of each.
func (p *parallel) run(t *testing.T, n int) (errs []error) {
	loc := transfer.Location{Scheme: transfer.SchemeSFTP, Host: "parallel", User: "u"}
	links := NewLinks(loc, func() *transfer.Link { return transfer.NewLink(loc, p.dial, transfer.ModeAuto, nil) },
		&policy.Engine{Limits: policy.DefaultLimits()}, share)
	told := 0
	err := Ordered(t.Context(), share, numbers(n), func(ctx context.Context, i int) error {
		return links.Use(ctx, "put", func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
			return e.Do(ctx, l.Op("put", 0, func(_ context.Context, s transfer.Session) error { return p.work(s) }))
		})
	}, func(err error) error {
		if told++; told == n/2 && p.session != nil {
			_ = p.session.Close()
		}
		errs = append(errs, err)
		return nil
	})
	if err != nil || len(errs) != n {
		t.Errorf("%d told, %v", len(errs), err)
	}
	if err := links.Close(context.Background()); err != nil {
		t.Error(err)
	}
	return errs
}

func refusedLogin() error {
	return &policy.Fault{Protocol: policy.SSH, Phase: policy.Auth, Op: "login", Cause: policy.CauseSSHAuth, Text: "no"}
}

// TestSharedConnection: 64 workers use one connection. Its loss costs one dial,
// and a dial that fails is not repeated by each of them.
func TestSharedConnection(t *testing.T) {
	refused := func(int) error {
		return &policy.Fault{Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Cause: policy.CauseRefused, Err: syscall.ECONNREFUSED}
	}
	for _, tt := range []struct {
		name   string
		answer func(n int) error
		dials  int
		fail   bool
	}{
		{"cut", nil, 2, false},
		{"cut, then no server for a while", func(n int) error {
			if n > 1 && n < 5 {
				return refused(n)
			}
			return nil
		}, 5, false},
		{"cut, then the login is refused", func(n int) error {
			if n > 1 {
				return refusedLogin()
			}
			return nil
		}, 2, true},
		{"the first login is refused", func(int) error { return refusedLogin() }, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &parallel{answer: tt.answer}
			const files = 640
			failed := 0
			for _, err := range p.run(t, files) {
				if g, ok := errors.AsType[*policy.GaveUp](err); ok && g.Verdict.Login {
					failed++
				} else if err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
			}
			if p.dials != tt.dials || (failed > 0) != tt.fail {
				t.Errorf("%s: %d dials, want %d; %d files failed", tt.name, p.dials, tt.dials, failed)
			}
			if failed < files && p.most != share {
				t.Errorf("%s: %d at a time, want %d", tt.name, p.most, share)
			}
		})
	}
}

// TestSharedConnectionCut: 64 files at a time over one real SFTP connection that
// is cut in the middle, twice; all of them arrive, each under its own name.
func TestSharedConnectionCut(t *testing.T) {
	t.Parallel()
	const files = 300
	src := t.TempDir()
	names := make([]string, files)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	tree(t, src, names...)
	server := startEnd(t, "sftp",
		lab.Rule{On: "WRITE", Nth: 60, Times: 1, Do: lab.Drop(lab.RST)},
		lab.Rule{On: "posix-rename@openssh.com", Nth: 150, Times: 1, When: lab.Finally, Do: lab.Drop(lab.FIN)})
	links := server.end().Links
	links.limit = share
	var dials atomic.Int64
	open := links.open
	links.open = func() *transfer.Link {
		l := open()
		return transfer.NewLink(l.Location(), func(ctx context.Context, _ transfer.Hints) (transfer.Session, error) {
			dials.Add(1)
			return l.Session(ctx)
		}, transfer.ModeAuto, nil)
	}
	var order []string
	err := Ordered(t.Context(), share, func(_ context.Context, yield func(string) error) error {
		for _, name := range names {
			if err := yield(name); err != nil {
				return err
			}
		}
		return nil
	}, func(ctx context.Context, name string) string {
		err := links.Use(ctx, "put", func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
			_, err := transfer.Run(ctx, l, transfer.Job{Direction: transfer.Put, Local: filepath.Join(src, name), Remote: "/" + name}, e, transfer.Observer{})
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return name
	}, func(name string) error {
		order = append(order, name)
		return nil
	})
	if err != nil || fmt.Sprint(order) != fmt.Sprint(names) {
		t.Errorf("%v, told in the order %q", err, order)
	}
	if got, want := contents(t, server.Dir), contents(t, src); !maps.Equal(got, want) {
		t.Errorf("the server holds %d entries, want %d: %q", len(got), len(want), difference(got, want))
	}
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
	if err := links.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
