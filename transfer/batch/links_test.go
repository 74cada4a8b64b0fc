package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// crowded is a server that bears so many connections and refuses more with 421.
type crowded struct {
	synthetic
	bears  int64
	now    atomic.Int64
	dials  atomic.Int64
	refuse *policy.Fault
	login  time.Duration // how long it takes
}

type crowdedSession struct {
	*crowded
	once sync.Once
}

func (s *crowdedSession) Close() error {
	s.once.Do(func() { s.now.Add(-1) })
	return nil
}

func (c *crowded) links(n int, limits policy.Limits) *Links {
	loc := transfer.Location{Scheme: transfer.SchemeFTP, Host: "crowded"}
	dial := func(context.Context, transfer.Hints) (transfer.Session, error) {
		c.dials.Add(1)
		time.Sleep(c.login)
		if n := c.now.Add(1); n > c.bears {
			c.now.Add(-1)
			refusal := *c.refuse // each login has a fault of its own
			return nil, &refusal
		}
		return &crowdedSession{crowded: c}, nil
	}
	return NewLinks(loc, func() *transfer.Link { return transfer.NewLink(loc, dial, transfer.ModeAuto, nil) },
		&policy.Engine{Limits: limits}, n)
}

func full() *policy.Fault {
	return &policy.Fault{Protocol: policy.FTP, Phase: policy.Connect, Op: "connect", Code: 421, Text: "Too many connections"}
}

// TestLinksShrink: a server that bears fewer connections than there are workers
// costs no file anything, whether or not the engine would try again.
func TestLinksShrink(t *testing.T) {
	for _, tries := range []int{1, 8} {
		synctest.Test(t, func(t *testing.T) {
			c := &crowded{bears: 2, refuse: full()}
			limits := policy.DefaultLimits()
			limits.Tries = tries
			links := c.links(5, limits)
			failed, began := 0, time.Now()
			err := Ordered(t.Context(), 5, numbers(50), func(ctx context.Context, _ int) error {
				return links.Use(ctx, "put", func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
					return e.Do(ctx, l.Op("put", 0, func(context.Context, transfer.Session) error {
						time.Sleep(time.Second)
						return nil
					}))
				})
			}, func(err error) error {
				if err != nil {
					failed++
				}
				return nil
			})
			if err != nil || failed > 0 {
				t.Errorf("%d failed, %v", failed, err)
			}
			if links.limit != 2 {
				t.Errorf("goes on with %d connections, want 2", links.limit)
			}
			if took := time.Since(began); took > 26*time.Second {
				t.Errorf("50 files of a second took %v on two connections", took)
			}
			if err := links.Close(t.Context()); err != nil || c.now.Load() != 0 {
				t.Errorf("%d connections are left, %v", c.now.Load(), err)
			}
		})
	}
}

// TestLinksNear: a server whose login takes time gets more connections than one
// that is near.
func TestLinksNear(t *testing.T) {
	for _, tt := range []struct {
		login time.Duration
		want  int64
	}{{0, 2}, {nearLogin, 6}} {
		synctest.Test(t, func(t *testing.T) {
			c := &crowded{bears: 10, login: tt.login}
			links := c.links(6, policy.DefaultLimits())
			links.Near = 2
			err := Ordered(t.Context(), 6, numbers(50), func(ctx context.Context, _ int) error {
				return links.Use(ctx, "put", func(context.Context, *transfer.Link, *policy.Engine) error {
					time.Sleep(time.Second)
					return nil
				})
			}, func(err error) error { return err })
			if n := c.dials.Load(); err != nil || n != tt.want {
				t.Errorf("%d connections, want %d; %v", n, tt.want, err)
			}
			if err := links.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLinksLastIsPatient: with no other connection, the engine's patience holds.
func TestLinksLastIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowded{bears: 0, refuse: full()}
		links := c.links(4, policy.DefaultLimits())
		time.AfterFunc(20*time.Second, func() { c.now.Store(-1) })
		for range 3 {
			err := links.Use(t.Context(), "put", func(ctx context.Context, l *transfer.Link, e *policy.Engine) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestLinksLoginOnce: a password that is refused is sent once, however many
// workers wait.
func TestLinksLoginOnce(t *testing.T) {
	c := &crowded{refuse: &policy.Fault{Protocol: policy.FTP, Phase: policy.Auth, Op: "PASS", Code: 530, Text: "Login incorrect"}}
	links := c.links(4, policy.DefaultLimits())
	stop := errors.New("stop")
	_ = Ordered(t.Context(), 4, numbers(100), func(ctx context.Context, _ int) error {
		return links.Use(ctx, "put", func(context.Context, *transfer.Link, *policy.Engine) error { return nil })
	}, func(err error) error {
		if err == nil {
			t.Error("no error")
		}
		return stop
	})
	if n := c.dials.Load(); n != 1 {
		t.Errorf("%d logins, want 1", n)
	}
}

// TestLinksCancelled: who waits for a connection obeys the context.
func TestLinksCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowded{bears: 1}
		links := c.links(1, policy.DefaultLimits())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			_ = links.Use(t.Context(), "long", func(context.Context, *transfer.Link, *policy.Engine) error {
				time.Sleep(time.Minute)
				return nil
			})
		})
		synctest.Wait()
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := links.Use(ctx, "put", func(context.Context, *transfer.Link, *policy.Engine) error { return nil })
		g, ok := errors.AsType[*policy.GaveUp](err)
		if !ok || g.Verdict.Kind != policy.KindCancelled || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// TestCrowdedServer: a real FTP conversation with a server that allows two.
func TestCrowdedServer(t *testing.T) {
	root := t.TempDir()
	names := make([]string, 40)
	for i := range names {
		names[i] = "in/" + strings.Repeat("x", i+1)
	}
	tree(t, root, names...)
	links := ftpLinks(t, root, 2, 6)
	dir := t.TempDir()
	n := 0
	err := Ordered(t.Context(), 6, func(ctx context.Context, yield func(Entry) error) error {
		return Remote(ctx, links, "get", "/in", Selection{Recursive: true}, func(e Entry) error {
			if e.Dir {
				return e.Err
			}
			return yield(e)
		})
	}, func(ctx context.Context, e Entry) error {
		return links.Use(ctx, "get", func(ctx context.Context, l *transfer.Link, engine *policy.Engine) error {
			job := transfer.Job{Direction: transfer.Get, Remote: e.Path, Local: filepath.Join(dir, filepath.Base(e.Rel))}
			_, err := transfer.Run(ctx, l, job, engine, transfer.Observer{})
			return err
		})
	}, func(err error) error {
		n++
		return err
	})
	if err != nil || n != len(names) {
		t.Fatalf("%d files, %v", n, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
		if err != nil || string(b) != name {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}
