package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TestReadingMakesNothing: only what writes makes a file, and only for this user.
func TestReadingMakesNothing(t *testing.T) {
	ctx, l := t.Context(), open(t)
	facts, err := l.Recall(ctx, "ftp://h:21")
	if err != nil || len(facts) != 0 {
		t.Errorf("recall: %v %v", facts, err)
	}
	hosts, err := l.Hosts(ctx)
	if err != nil || len(hosts) != 0 {
		t.Errorf("hosts: %v %v", hosts, err)
	}
	if r, err := l.Refused(ctx, "ftp://h:21", "u", nil); r != nil || err != nil {
		t.Errorf("refused: %v %v", r, err)
	}
	left, err := l.Leftovers(ctx)
	if err != nil || len(left) != 0 {
		t.Errorf("leftovers: %v %v", left, err)
	}
	if _, err := os.Stat(filepath.Dir(l.Path())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading made the directory: %v", err)
	}
	must(t, l.Learn(ctx, "ftp://h:21", transfer.Facts{"mode": {Value: "active", At: time.Now()}}))
	for path, want := range map[string]os.FileMode{l.Path(): 0o600, l.Path() + "-wal": 0o600, filepath.Dir(l.Path()): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want && os.PathSeparator == '/' {
			t.Errorf("%s: %v %v, want mode %v", path, info, err, want)
		}
	}
}

// TestFacts are kept by host, replaced, believed for some time and forgotten.
func TestFacts(t *testing.T) {
	ctx, l := t.Context(), open(t)
	now := time.Now()
	fresh := transfer.Fact{Value: "active", Reason: "passive: 425", At: now.Add(-transfer.FactLifetime + time.Hour).Truncate(time.Millisecond)}
	must(t, l.Learn(ctx, "ftp://a:21", transfer.Facts{"mode": {Value: "passive", At: now.Add(-time.Hour)}}))
	must(t, l.Learn(ctx, "ftp://a:21", transfer.Facts{"mode": fresh}))
	must(t, l.Learn(ctx, "ftp://b:21", transfer.Facts{"epsv": {Value: "dead", At: now}}))
	must(t, l.write(ctx, func(tx *sql.Tx) error { // as if nothing had been learned since
		_, err := tx.Exec(`INSERT INTO facts VALUES ('ftp://a:21', 'old', 'x', '', ?)`, now.Add(-transfer.FactLifetime-time.Hour).UnixMilli())
		return err
	}))
	must(t, l.Close())

	facts, err := l.Recall(ctx, "ftp://a:21")
	if err != nil || len(facts) != 1 || facts["mode"].Value != fresh.Value || facts["mode"].Reason != fresh.Reason || !facts["mode"].At.Equal(fresh.At) {
		t.Errorf("recalled %v %v, want only %v", facts, err, fresh)
	}
	must(t, l.Learn(ctx, "ftp://a:21", transfer.Facts{"mode": {}}))
	if facts, err := l.Recall(ctx, "ftp://a:21"); err != nil || len(facts) > 0 {
		t.Errorf("recalled %v %v of what has no value", facts, err)
	}
	must(t, l.Learn(ctx, "ftp://a:21", transfer.Facts{"mode": fresh}))
	must(t, l.Forget(ctx, "ftp://a:21"))
	hosts, err := l.Hosts(ctx)
	if err != nil || len(hosts) != 1 || hosts[0].Server != "ftp://b:21" {
		t.Errorf("after forget: %v %v, want only b", hosts, err)
	}
}

// TestRefusals: a credential is closed, its neighbours are not, and the file does
// not hold it.
func TestRefusals(t *testing.T) {
	ctx, l := t.Context(), open(t)
	const host, secret = "sftp://h:22", "correct horse"
	must(t, l.Refuse(ctx, host, "u", secret, "530 no"))
	must(t, l.Refuse(ctx, host, "u", secret, "530 still no"))
	for _, c := range []struct {
		host, user, proof string
		closed            bool
	}{
		{host, "u", secret, true},
		{host, "u", "another", false},
		{host, "v", secret, false},
		{"sftp://other:22", "u", secret, false},
	} {
		r, err := open(t, l.Path()).Refused(ctx, c.host, c.user, func() (string, error) { return c.proof, nil })
		if err != nil || (r != nil) != c.closed {
			t.Errorf("%v: %v %v", c, r, err)
		}
		if r != nil && (r.Said != "530 still no" || time.Since(r.At) > time.Minute) {
			t.Errorf("refusal %+v", r)
		}
	}
	if _, err := l.Refused(ctx, host, "v", func() (string, error) { return "", errors.New("asked without need") }); err != nil {
		t.Error(err)
	}
	if text := contents(t, l.Path()) + contents(t, l.Path()+"-wal"); strings.Contains(text, secret) || !strings.Contains(text, host) {
		t.Error("the files hold the secret, or not what they should")
	}
	must(t, l.Forget(ctx, host))
	if r, err := l.Refused(ctx, host, "u", func() (string, error) { return secret, nil }); r != nil || err != nil {
		t.Errorf("after forget: %v %v", r, err)
	}
}

// TestFingerprintsDiffer: nobody sees that two logins have the same password, not
// of two hosts and not in two files.
func TestFingerprintsDiffer(t *testing.T) {
	prints := map[string]bool{}
	for range 2 {
		l := open(t)
		for _, login := range [][2]string{{"h", "u"}, {"h", "v"}, {"g", "u"}} {
			must(t, l.Refuse(t.Context(), login[0], login[1], "p", ""))
			var print []byte
			must(t, l.read(t.Context(), func(db *sql.DB) error {
				return db.QueryRow(`SELECT fingerprint FROM refusals WHERE host = ? AND user = ?`, login[0], login[1]).Scan(&print)
			}))
			prints[string(print)] = true
		}
	}
	if len(prints) != 6 {
		t.Errorf("%d fingerprints for 6 refusals", len(prints))
	}
}

// TestManyProcesses begin one new ledger at the same time.
func TestManyProcesses(t *testing.T) {
	l := open(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := process(t, "learn", l.Path(), strconv.Itoa(i)).Run(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	facts, err := l.Recall(t.Context(), "ftp://h:21")
	if err != nil || len(facts) != 20 {
		t.Errorf("%d facts of 20: %v", len(facts), err)
	}
	list, err := l.Deliveries(t.Context(), Query{})
	if err != nil || len(list) != 20 {
		t.Errorf("%d deliveries of 20: %v", len(list), err)
	}
	if left, err := l.Leftovers(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

// TestManyGoroutines share one Ledger, and two have it opened twice.
func TestManyGoroutines(t *testing.T) {
	l := open(t)
	other := open(t, l.Path())
	var wg sync.WaitGroup
	var ids sync.Map
	for i := range 20 {
		wg.Go(func() {
			use := []*Ledger{l, other}[i%2]
			for range 3 {
				id, err := use.Intend(t.Context(), Delivery{Source: fmt.Sprint(i), Target: "t"})
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := ids.LoadOrStore(id, true); twice {
					t.Errorf("id %d was given twice", id)
				}
				if err := use.Settle(t.Context(), id, Result{Outcome: Failed}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if list, err := l.Deliveries(t.Context(), Query{Failed: true}); err != nil || len(list) != 60 {
		t.Errorf("%d deliveries of 60: %v", len(list), err)
	}
}

// TestKilledWhileWriting: what Intend has confirmed is there, whenever the
// process is killed, and the file is sound.
func TestKilledWhileWriting(t *testing.T) {
	l := open(t)
	for range 5 {
		kill, lines := waiting(t, "deliver", l.Path())
		last := lines.Text()
		for range 5 {
			if lines.Scan() {
				last = lines.Text()
			}
		}
		kill()
		id, err := strconv.ParseInt(last, 10, 64)
		must(t, err)
		var n int64
		var sound string
		must(t, l.read(t.Context(), func(db *sql.DB) error {
			return errors.Join(db.QueryRow(`SELECT count(*) FROM deliveries WHERE id <= ?`, id).Scan(&n),
				db.QueryRow(`PRAGMA integrity_check`).Scan(&sound))
		}))
		if n != id || sound != "ok" {
			t.Errorf("%d of %d deliveries, integrity: %s", n, id, sound)
		}
	}
	left, err := l.Leftovers(t.Context())
	if err != nil || len(left) > 5 {
		t.Errorf("%d left over by 5 processes: %v", len(left), err)
	}
}

// TestUnusable files are told apart, and left as they are.
func TestUnusable(t *testing.T) {
	ctx := t.Context()
	sound := open(t)
	must(t, sound.Learn(ctx, "ftp://h:21", transfer.Facts{"mode": {Value: "active", At: time.Now()}}))
	must(t, sound.Close())
	good := contents(t, sound.Path())
	modified := func(statement string) string {
		l := open(t)
		must(t, os.MkdirAll(filepath.Dir(l.Path()), 0o700))
		must(t, os.WriteFile(l.Path(), []byte(good), 0o600))
		db, err := sql.Open("sqlite", l.Path())
		must(t, err)
		_, err = db.Exec(statement)
		must(t, errors.Join(err, db.Close()))
		return contents(t, l.Path())
	}
	for name, c := range map[string]struct {
		content string
		cause   policy.Cause
	}{
		"text":             {longText, policy.CauseLedgerBroken},
		"short text":       {"no database", policy.CauseLedgerBroken},
		"cut":              {good[:len(good)/2], policy.CauseLedgerBroken},
		"damaged pages":    {good[:4096] + strings.Repeat("x", len(good)-4096), policy.CauseLedgerBroken},
		"another program":  {modified(`PRAGMA application_id = 1`), policy.CauseLedgerBroken},
		"nobody's program": {modified(`PRAGMA application_id = 0`), policy.CauseLedgerBroken},
		"later version":    {modified(`PRAGMA user_version = 99`), policy.CauseLedgerNewer},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ledger.db")
			must(t, os.WriteFile(file, []byte(c.content), 0o600))
			l := open(t, file)
			_, err := l.Recall(ctx, "ftp://h:21")
			wantCause(t, err, c.cause)
			wantCause(t, l.Learn(ctx, "ftp://h:21", transfer.Facts{"mode": {Value: "passive", At: time.Now()}}), c.cause)
			must(t, l.Close())
			if contents(t, file) != c.content {
				t.Error("the file was changed")
			}
		})
	}
}

// TestUnwritable places are local faults.
func TestUnwritable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	l := open(t, filepath.Join(file, "ledger.db"))
	err := l.Learn(t.Context(), "ftp://h:21", transfer.Facts{"mode": {Value: "passive", At: time.Now()}})
	f, ok := errors.AsType[*policy.Fault](err)
	if !ok || f.Protocol != policy.Local {
		t.Errorf("error %v", err)
	}
}

// TestOlderVersion is brought up to date once, whoever comes first.
func TestOlderVersion(t *testing.T) {
	l := open(t)
	must(t, l.Learn(t.Context(), "ftp://h:21", transfer.Facts{"mode": {Value: "active", At: time.Now()}}))
	next := append(migrations[:len(migrations):len(migrations)], `ALTER TABLE facts ADD COLUMN news TEXT NOT NULL DEFAULT 'n'`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			other := Open(l.Path())
			db, err := sql.Open("sqlite", other.source())
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			err = other.patiently(t.Context(), "migrate", func() error { return other.migrate(t.Context(), db, next) })
			if err != nil {
				t.Error(err)
			}
			var value, news string
			if err := db.QueryRow(`SELECT value, news FROM facts`).Scan(&value, &news); err != nil || value != "active" || news != "n" {
				t.Errorf("%q %q %v", value, news, err)
			}
		})
	}
	wg.Wait()
	_, err := open(t, l.Path()).Recall(t.Context(), "ftp://h:21")
	wantCause(t, err, policy.CauseLedgerNewer)
}

// TestLockedDatabase: who waits for another process obeys the context.
func TestLockedDatabase(t *testing.T) {
	l := open(t)
	must(t, l.Learn(t.Context(), "h", transfer.Facts{"a": {Value: "1", At: time.Now()}}))
	ctx, cancel := context.WithCancel(t.Context())
	err := l.write(t.Context(), func(*sql.Tx) error {
		done := make(chan error)
		go func() {
			done <- open(t, l.Path()).Learn(ctx, "h", transfer.Facts{"a": {Value: "2", At: time.Now()}})
		}()
		cancel()
		return <-done
	})
	wantCause(t, err, policy.CauseCancelled)
}

// TestPatience: a database that another process keeps locked for longer than
// SQLite waits is waited for.
func TestPatience(t *testing.T) {
	t.Parallel()
	l := open(t)
	must(t, l.Learn(t.Context(), "h", transfer.Facts{"a": {Value: "1", At: time.Now()}}))
	other, done := open(t, l.Path()), make(chan error, 1)
	must(t, l.write(t.Context(), func(*sql.Tx) error {
		go func() { done <- other.Learn(t.Context(), "h", transfer.Facts{"a": {Value: "2", At: time.Now()}}) }()
		time.Sleep(sqliteWaits + 50*time.Millisecond)
		return nil
	}))
	must(t, <-done)
}

// TestCauses: a full disk is told as one, also where SQLite speaks of its shared
// memory file.
func TestCauses(t *testing.T) {
	for code, want := range map[int]policy.Cause{
		sqlite3.SQLITE_FULL: policy.CauseLocalSpace, sqlite3.SQLITE_IOERR_SHMSIZE: policy.CauseLocalSpace,
		sqlite3.SQLITE_IOERR_READ: "", sqlite3.SQLITE_CORRUPT_INDEX: policy.CauseLedgerBroken,
		sqlite3.SQLITE_READONLY_DIRECTORY: policy.CauseLocalPermission, sqlite3.SQLITE_BUSY_SNAPSHOT: policy.CauseLocalLocked, 0: "",
	} {
		if got := causeOf(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}
