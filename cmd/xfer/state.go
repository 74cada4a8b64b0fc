package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// state is what this run shares with other processes and with later ones.
type state struct {
	app    *app
	ledger func() *ledger.Ledger
	slots  func() *ledger.Slots

	mu    sync.Mutex
	rates map[string]*ledger.Rate // by server
}

func (s *state) init(a *app) {
	s.app = a
	s.ledger = sync.OnceValue(func() *ledger.Ledger { return ledger.Open(a.ledgerPath()) })
	s.slots = sync.OnceValue(s.newSlots)
}

func (s *state) close() error { return s.ledger().Close() }

// stateDir is where a file or directory of the state is.
func (a *app) stateDir(name string) string {
	dir := a.sys.env("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(a.home(), ".local", "state")
	}
	return filepath.Join(dir, "xfer", name)
}

func (a *app) ledgerPath() string {
	file := a.flags.ledgerFile
	if cfg, err := a.config(); file == "" && err == nil {
		file = cfg.LedgerFile
	}
	if file != "" {
		file = a.file(file)
		if abs, err := filepath.Abs(file); err == nil {
			file = abs // recover changes the directory
		}
		return file
	}
	return a.stateDir("ledger.db")
}

// locks keeps other processes of this user off a file that is being transferred.
func (a *app) locks() locks { return locks{ledger.Locks{Dir: a.stateDir("locks")}, a} }

// locks are those of the ledger, where it can have any.
type locks struct {
	ledger.Locks
	app *app
}

// Lock is that of ledger.Locks, except that a place without locks stops nobody.
func (l locks) Lock(key string) (release func(), err error) {
	release, err = l.Locks.Lock(key)
	if f, ok := errors.AsType[*policy.Fault](err); ok && f.Cause != policy.CauseLocalLocked {
		l.app.forgetful(err)
		return func() {}, nil
	}
	return release, err
}

// newLink joins a link with what is remembered and shared. dial may serve any
// number of links.
func (a *app) newLink(p place, dial transfer.Dialer) *transfer.Link {
	if !a.until.IsZero() {
		dial = batch.InTime(dial, a.until, a.pace)
	}
	l := transfer.NewLink(p.loc, dial, *p.opt.Mode, memory{a})
	l.LimitConnections(a.state.slots(), *p.opt.MaxConnections)
	if rate := *p.opt.LimitRate; rate > 0 {
		l.LimitRate(a.state.rate(p.loc.Server(), int64(rate)).Wait)
	}
	return l
}

func (s *state) newSlots() *ledger.Slots {
	log := s.app.out.log
	return &ledger.Slots{
		Dir: s.app.stateDir("connections"),
		Waiting: func(server string, limit int) {
			log.Warn("waiting: other xfer processes have all connections that there may be", "host", server, "max_connections", limit)
		},
		Lowered: func(server string, limit int, said string) {
			log.Warn("learned: the server bears no more connections at once; remembered (xfer hosts show)",
				"host", server, "max_connections", limit, "text", said)
		},
		Warn: s.app.forgetful,
	}
}

func (s *state) rate(server string, limit int64) *ledger.Rate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rates == nil {
		s.rates = map[string]*ledger.Rate{}
	}
	r := s.rates[server]
	if r == nil {
		r = &ledger.Rate{Dir: s.app.stateDir("rates"), Host: server, Limit: limit}
		s.rates[server] = r
	}
	return r
}

// forgetful warns, once, that what is remembered and shared can't be used. That
// keeps no file from being transferred.
func (a *app) forgetful(err error) {
	a.once("what xfer remembers of hosts and shares with other processes can't be used; going on without", "error", err)
}

// memory is the ledger as the links see it.
type memory struct{ app *app }

// Recall implements transfer.Memory.
func (m memory) Recall(ctx context.Context, host string) (transfer.Facts, error) {
	facts, err := m.app.state.ledger().Recall(ctx, host)
	if err != nil && ctx.Err() == nil {
		m.app.forgetful(err)
		return nil, nil
	}
	return facts, err
}

// Learn implements transfer.Memory.
func (m memory) Learn(ctx context.Context, host string, learned transfer.Facts) error {
	if err := m.app.state.ledger().Learn(ctx, host, learned); err != nil {
		m.app.forgetful(err)
	}
	return nil
}

// credential is what a login proves itself with.
type credential struct {
	server, user string
	host         string       // as the adapter's faults name it
	password     *auth.Source // nil for none
	account      auth.Secret
	keys         *auth.Keys // nil for none
}

// proof is all of it, in the order in which the server gets it; "" when there is
// nothing to close: anonymous logins, and those for which a person can still type
// something.
func (c *credential) proof(ctx context.Context) (string, error) {
	if c.user == anonymous {
		return "", nil
	}
	var parts []string
	if c.password != nil {
		secret, origin, err := c.password.Stored(ctx)
		switch {
		case err != nil:
			return "", err
		case origin == auth.FromPrompt, origin == "" && c.password.Prompter != nil:
			return "", nil
		case origin != "":
			parts = append(parts, "password", secret.Reveal())
		}
	}
	if !c.account.Empty() {
		parts = append(parts, "account", c.account.Reveal())
	}
	if c.keys != nil {
		signers, agent, err := c.keys.Signers(ctx, nil)
		if err != nil {
			return "", err
		}
		_ = agent.Close() // only asked for its public keys
		for _, s := range signers {
			parts = append(parts, "key", string(s.PublicKey().Marshal()))
		}
	}
	return strings.Join(parts, "\x00"), nil
}

// loginTurn is how long a login waits for another of the same user.
const loginTurn = 10 * time.Second

// guard keeps a credential that the server has refused from being sent again, by
// any process of this user, until it changes. Logins of one user take turns: when
// five cron jobs start with a wrong password, the server sees it once. After one
// that the server has accepted, this process's further logins need no turn.
func (a *app) guard(c *credential, dial transfer.Dialer) transfer.Dialer {
	var accepted atomic.Bool
	return func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		if !accepted.Load() {
			// A turn that does not come is no reason not to log in.
			if release, err := a.locks().Wait(ctx, "login "+c.server+" "+c.user, loginTurn); err == nil {
				defer release()
			}
		}
		proof := func() (string, error) { return c.proof(ctx) }
		refusal, err := a.state.ledger().Refused(ctx, c.server, c.user, proof)
		switch {
		case refusal != nil:
			return nil, &policy.Fault{
				Protocol: policy.Local, Phase: policy.Auth, Op: "login", Host: hostOf(c.server), User: c.user,
				Cause: policy.CauseCredentialClosed,
				Text:  "refused on " + refusal.At.Format("2006-01-02 15:04") + ": " + refusal.Said,
			}
		case err != nil && ctx.Err() == nil:
			a.forgetful(err)
		}
		s, err := dial(ctx, hints)
		accepted.Store(err == nil)
		if f, ok := errors.AsType[*policy.Fault](err); ok && c.refusedBy(f) {
			if err := a.refuse(ctx, c, f.Said()); err != nil {
				a.forgetful(err)
			}
		}
		return s, err
	}
}

// refusedBy says whether the server itself refused what we proved ourselves with:
// not a jump host, not the name alone before it saw a proof, not the number of
// connections.
func (c *credential) refusedBy(f *policy.Fault) bool {
	v := policy.Classify(f)
	if !v.Login || v.Crowded || v.Remedy != policy.GiveUp || f.Host != c.host {
		return false
	}
	if e, ok := errors.AsType[*auth.LoginError](f); ok {
		return len(e.Tried) > 0
	}
	return f.Phase == policy.Auth && (f.Op == "PASS" || f.Op == "ACCT")
}

func (a *app) refuse(ctx context.Context, c *credential, said string) error {
	// The person may have lost patience; that the login was refused remains true.
	ctx = context.WithoutCancel(ctx)
	proof, err := c.proof(ctx)
	if err != nil || proof == "" {
		return err
	}
	return a.state.ledger().Refuse(ctx, c.server, c.user, proof, said)
}

// hostOf is the host of "scheme://host:port".
func hostOf(server string) string {
	_, rest, _ := strings.Cut(server, "://")
	return strings.Trim(rest[:max(0, strings.LastIndexByte(rest, ':'))], "[]")
}
