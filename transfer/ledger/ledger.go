package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/xfer-cli/xfer/policy"
)

// Ledger is the database of one file. It is opened when it is first needed and
// made when something is first written, so that what only reads leaves nothing
// behind. It may be used by any number of goroutines and of processes at once.
//
// Errors are *policy.Fault; a file that is damaged, is no ledger, or was written
// by a later version has its own cause and is left as it is.
type Ledger struct {
	path string

	mu      sync.Mutex
	db      *sql.DB
	process string // names this process in the table of deliveries
	leave   func() // lets go of the lock that says that it lives
}

// Open prepares the ledger in the file; nothing is opened yet. The caller must
// Close it.
func Open(path string) *Ledger { return &Ledger{path: path} }

// Path is the file of the ledger.
func (l *Ledger) Path() string { return l.path }

// Close closes the file. What was intended and not settled is from now on
// somebody else's to finish.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leave != nil {
		l.leave()
		l.leave, l.process = nil, ""
	}
	if l.db == nil {
		return nil
	}
	err := l.db.Close()
	l.db = nil
	return l.fault("close", err)
}

// busyLimit is how long others may keep the database to themselves. Every
// transaction here is over in milliseconds; a disk may take longer.
const busyLimit = time.Minute

// read calls f with the database; where there is none yet, f is not called.
func (l *Ledger) read(ctx context.Context, f func(*sql.DB) error) error {
	return l.patiently(ctx, "read", func() error {
		db, err := l.open(ctx, false)
		if err != nil || db == nil {
			return err
		}
		return f(db)
	})
}

// write calls f in a transaction, which begins with the lock for writing: no
// transaction fails half-way because another was quicker. What it wrote outlives
// this process; a loss of power may undo it.
func (l *Ledger) write(ctx context.Context, f func(*sql.Tx) error) error {
	return l.writeWith(ctx, "NORMAL", f)
}

// writeToDisk is write whose result outlives a loss of power, too.
func (l *Ledger) writeToDisk(ctx context.Context, f func(*sql.Tx) error) error {
	return l.writeWith(ctx, "FULL", f)
}

func (l *Ledger) writeWith(ctx context.Context, synchronous string, f func(*sql.Tx) error) error {
	return l.patiently(ctx, "write", func() error {
		db, err := l.open(ctx, true)
		if err != nil {
			return err
		}
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = "+synchronous); err != nil {
			return err
		}
		return inTransaction(ctx, conn, f)
	})
}

func inTransaction(ctx context.Context, conn *sql.Conn, f func(*sql.Tx) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the error that is returned says more
		return err
	}
	return tx.Commit()
}

// sqliteWaits is how long SQLite itself waits for a lock. It does not obey a
// context, so that it is only a moment at a time.
const sqliteWaits = 250 * time.Millisecond

// patiently waits while other processes have the database locked.
func (l *Ledger) patiently(ctx context.Context, op string, f func() error) error {
	limit := time.Now().Add(busyLimit)
	for {
		err := f()
		if primary(err) != sqlite3.SQLITE_BUSY || time.Now().After(limit) {
			return l.fault(op, err)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return l.fault(op, err)
		}
	}
}

// pause waits for up to d, at random, so that processes that wait for the same
// thing do not keep step.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d/10 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// open gives the database, or nil when there is none and none is to be made.
func (l *Ledger) open(ctx context.Context, create bool) (*sql.DB, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db != nil {
		return l.db, nil
	}
	info, err := os.Stat(l.path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case !create && (missing || err == nil && info.Size() == 0):
		return nil, nil
	case missing:
		// SQLite would let others read it; its -wal and -shm take after the file.
		if err := l.touch(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	db, err := sql.Open("sqlite", l.source())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	if err := l.migrate(ctx, db, migrations); err != nil {
		_ = db.Close()
		return nil, err
	}
	l.db = db
	return db, nil
}

func (l *Ledger) touch() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return policy.LocalFault("mkdir", filepath.Dir(l.path), err)
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return policy.LocalFault("create", l.path, err)
	}
	return f.Close()
}

// source spells the file and how to open it as SQLite wants it.
func (l *Ledger) source() string {
	path := l.path
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // a drive of Windows
	}
	options := fmt.Sprintf("mode=rw&_txlock=immediate&_pragma=busy_timeout(%d)&_pragma=synchronous(NORMAL)", sqliteWaits.Milliseconds())
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options}).String()
}

// migrate brings the tables up to date, those of a new file too.
func (l *Ledger) migrate(ctx context.Context, db *sql.DB, steps []string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	version, err := l.version(ctx, conn, len(steps))
	if err != nil || version == len(steps) {
		return err
	}
	if version == 0 {
		if _, err := conn.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
			return err
		}
	}
	return inTransaction(ctx, conn, func(tx *sql.Tx) error {
		version, err := l.version(ctx, tx, len(steps)) // another process may have been quicker
		if err != nil {
			return err
		}
		for _, step := range steps[version:] {
			if _, err := tx.ExecContext(ctx, step); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(steps)))
		return err
	})
}

// version is how many migrations the file has had.
func (l *Ledger) version(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, known int) (int, error) {
	var version, id, tables int
	err := db.QueryRowContext(ctx, `SELECT v.user_version, a.application_id, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_user_version v, pragma_application_id a`).Scan(&version, &id, &tables)
	switch {
	case err != nil:
		return 0, err
	case id != applicationID && (tables > 0 || version > 0):
		return 0, l.unusable(policy.CauseLedgerBroken, "another program's database")
	case version > known:
		return 0, l.unusable(policy.CauseLedgerNewer, fmt.Sprintf("version %d of the tables; this xfer knows %d", version, known))
	}
	return version, nil
}

func (l *Ledger) unusable(cause policy.Cause, text string) *policy.Fault {
	return &policy.Fault{Protocol: policy.Local, Phase: policy.Command, Op: "open", Path: l.path, Cause: cause, Text: text}
}

// fault says in the terms of policy what SQLite and the file system said.
func (l *Ledger) fault(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*policy.Fault](err); ok {
		return err
	}
	f := policy.LocalFault(op, l.path, err)
	if cause := causeOf(resultCode(err)); cause != "" {
		f.Cause = cause
	}
	if f.Cause == policy.CauseLocalLocked {
		f.Text = "other processes have kept the ledger locked for " + busyLimit.String()
	}
	return f
}

// resultCode is SQLite's, 0 for other errors (https://www.sqlite.org/rescode.html).
func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// primary is the result code without its extension.
func primary(err error) int { return resultCode(err) & 0xff }

// causeOf names what a result code means, "" if the system's error says it.
func causeOf(code int) policy.Cause {
	if code == sqlite3.SQLITE_IOERR_SHMSIZE {
		return policy.CauseLocalSpace // the -shm file, made anew by the first process, finds no room
	}
	switch code & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return policy.CauseLedgerBroken
	case sqlite3.SQLITE_FULL:
		return policy.CauseLocalSpace
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return policy.CauseLocalPermission
	case sqlite3.SQLITE_BUSY:
		return policy.CauseLocalLocked
	}
	return ""
}
