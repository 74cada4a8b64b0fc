package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Outcome is how a run or a delivery ended.
type Outcome string

// The outcomes. Unsettled is what is under way, or was when its process died.
const (
	Unsettled Outcome = ""
	Done      Outcome = "done"
	Failed    Outcome = "failed"
	Skipped   Outcome = "skipped" // a run that found another at work
	Undone    Outcome = "undone"  // taken back by a later run: nothing was delivered
)

// Delivery is one file on its way from a source to a target.
type Delivery struct {
	ID int64
	// Run is what StartRun gave, 0 if there is none; Job is the job's name, ""
	// for a command of a person.
	Run int64
	Job string
	// Partner is the other side, for the history: "sftp://acme@partner.example:22".
	Partner string
	// Source and Target are URLs, or absolute local paths.
	Source, Target string
	// Size in bytes, -1 unknown, and ModTime, zero unknown, are the source's.
	Size    int64
	ModTime time.Time
	// Stage is how far it came, in the caller's words; Note is what the caller
	// needs to finish or undo it: a temporary name, an archive path.
	Stage, Note string
	// Began is when it was intended.
	Began time.Time
	Result
}

// Result is what became of a delivery.
type Result struct {
	Outcome Outcome
	// SHA256 of the content, hexadecimal, "" unknown. It may be set when the
	// delivery is intended, and Settle keeps that one unless it has another.
	SHA256 string
	// Attempts is how often the data transfer was started, Codes what the
	// server answered to those that failed, in order.
	Attempts int
	Codes    []int
	// Rule is the verdict's, "" for none; Reply is the server's last word.
	Rule, Reply string
	// Bytes is what went over the wire.
	Bytes int64
	// Ended is set by Settle.
	Ended time.Time
}

// Run is one execution of a job or of a command.
type Run struct {
	ID    int64
	Job   string
	Began time.Time
	// Alive says of a run without outcome whether its process still lives.
	Alive bool
	Summary
}

// Summary is how a run ended.
type Summary struct {
	Outcome                Outcome
	Files, Failed, Skipped int
	Bytes                  int64
	// Note says in words what there is to say: why it was skipped.
	Note string
	// Ended is set by EndRun.
	Ended time.Time
}

// StartRun notes that a run begins. job is "" for a command of a person.
func (l *Ledger) StartRun(ctx context.Context, job string) (id int64, err error) {
	process, err := l.live()
	if err != nil {
		return 0, err
	}
	err = l.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO runs (job, process, began) VALUES (?, ?, ?)`, job, process, time.Now().UnixMilli())
		if err == nil {
			id, err = r.LastInsertId()
		}
		return err
	})
	return id, err
}

// EndRun notes how a run ended.
func (l *Ledger) EndRun(ctx context.Context, id int64, s Summary) error {
	return l.update(ctx, l.write, `UPDATE runs SET outcome = ?, files = ?, failed = ?, skipped = ?, bytes = ?, note = ?, ended = ? WHERE id = ?`,
		s.Outcome, s.Files, s.Failed, s.Skipped, s.Bytes, s.Note, time.Now().UnixMilli(), id)
}

// Intend writes a delivery down before anything is done for it. When it returns
// the intent is on the disk. Of d's ID, Began and Result only SHA256 is used.
func (l *Ledger) Intend(ctx context.Context, d Delivery) (id int64, err error) {
	process, err := l.live()
	if err != nil {
		return 0, err
	}
	err = l.writeToDisk(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO deliveries
			(run, job, process, partner, source, target, size, mtime, sha256, stage, note, began)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			d.Run, d.Job, process, d.Partner, d.Source, d.Target, d.Size, nanos(d.ModTime), d.SHA256, d.Stage, d.Note, time.Now().UnixMilli())
		if err == nil {
			id, err = r.LastInsertId()
		}
		return err
	})
	return id, err
}

// Record writes down a delivery that is over already, of those that nothing has
// to be finished or undone for. Began and all of the Result count.
func (l *Ledger) Record(ctx context.Context, d Delivery) error {
	return l.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO deliveries
			(run, job, process, partner, source, target, size, mtime, sha256, stage, note, began,
			 outcome, attempts, codes, rule, reply, bytes, ended)
			VALUES (?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			d.Run, d.Job, d.Partner, d.Source, d.Target, d.Size, nanos(d.ModTime), d.SHA256, d.Stage, d.Note, millis(d.Began),
			d.Outcome, d.Attempts, joined(d.Codes), d.Rule, d.Reply, d.Bytes, millis(d.Ended))
		return err
	})
}

// Stage notes how far a delivery has come. When it returns the stage is on the
// disk: only then may the caller do what the stage announces.
func (l *Ledger) Stage(ctx context.Context, id int64, stage, note string) error {
	return l.update(ctx, l.writeToDisk, `UPDATE deliveries SET stage = ?, note = ? WHERE id = ? AND outcome = ''`, stage, note, id)
}

// Settle ends a delivery. One that is settled already is an error.
func (l *Ledger) Settle(ctx context.Context, id int64, r Result) error {
	return l.update(ctx, l.write, `UPDATE deliveries SET outcome = ?, attempts = ?, codes = ?, rule = ?, reply = ?, bytes = ?,
		sha256 = CASE ? WHEN '' THEN sha256 ELSE ? END, ended = ? WHERE id = ? AND outcome = ''`,
		r.Outcome, r.Attempts, joined(r.Codes), r.Rule, r.Reply, r.Bytes, r.SHA256, r.SHA256, time.Now().UnixMilli(), id)
}

func joined(codes []int) string {
	texts := make([]string, len(codes))
	for i, c := range codes {
		texts[i] = strconv.Itoa(c)
	}
	return strings.Join(texts, " ")
}

// errNoRow: the caller named what is not there, or is settled already.
var errNoRow = errors.New("the ledger has no such open entry")

func (l *Ledger) update(ctx context.Context, write func(context.Context, func(*sql.Tx) error) error, query string, args ...any) error {
	return write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errNoRow)
		}
		return nil
	})
}

// Match is what the ledger knows about a file that is to be delivered.
type Match struct {
	// Same is the delivery of this very content from this source to this
	// target, nil if it was not delivered yet.
	Same *Delivery
	// Other is the last delivery between the two names when that was of other
	// content: the file was changed, or the name is used again.
	Other *Delivery
	// Open is the latest that is not settled, nil if there is none: it is under
	// way, or its process died.
	Open *Delivery
}

// Delivered looks whether d was delivered before: the same Source and Target,
// and the same content. The content is the same when both hashes are known and
// equal; where one is unknown, when size and modification time, in whole
// seconds, are. What was only recorded does not count: nobody kept others from
// taking it away at the target and asking for it again.
func (l *Ledger) Delivered(ctx context.Context, d Delivery) (Match, error) {
	found, err := l.deliveries(ctx, `WHERE outcome IN ('done', '') AND process <> '' AND source = ? AND target = ? ORDER BY id DESC`, d.Source, d.Target)
	if err != nil {
		return Match{}, err
	}
	var m Match
	for i := range found {
		switch f := &found[i]; {
		case f.Outcome == Unsettled:
			if m.Open == nil {
				m.Open = f
			}
		case d.sameContent(*f):
			if m.Same == nil {
				m.Same = f
			}
		case m.Other == nil:
			m.Other = f
		}
	}
	if m.Same != nil {
		m.Other = nil
	}
	return m, nil
}

func (d Delivery) sameContent(o Delivery) bool {
	if d.SHA256 != "" && o.SHA256 != "" {
		return strings.EqualFold(d.SHA256, o.SHA256)
	}
	return d.Size >= 0 && d.Size == o.Size && !d.ModTime.IsZero() && d.ModTime.Unix() == o.ModTime.Unix()
}

// Leftovers are the unsettled deliveries that a process left behind when it died, the
// oldest first. It changes nothing.
func (l *Ledger) Leftovers(ctx context.Context) ([]Delivery, error) {
	var all []Delivery
	var processes []string
	err := l.read(ctx, func(db *sql.DB) (err error) {
		all, processes, err = scanDeliveries(ctx, db, `WHERE outcome = '' ORDER BY id`)
		return err
	})
	alive := l.aliveness()
	left := all[:0]
	for i, d := range all {
		if !alive(processes[i]) {
			left = append(left, d)
		}
	}
	return left, err
}

// Adopt makes an unsettled delivery this process's own, so that only one of
// several finishes or undoes it. ok is false when another was quicker.
func (l *Ledger) Adopt(ctx context.Context, id int64) (ok bool, err error) {
	process, err := l.live()
	if err != nil {
		return false, err
	}
	alive := l.aliveness()
	err = l.write(ctx, func(tx *sql.Tx) error {
		ok = false
		var owner string
		err := tx.QueryRowContext(ctx, `SELECT process FROM deliveries WHERE id = ? AND outcome = ''`, id).Scan(&owner)
		if errors.Is(err, sql.ErrNoRows) || err == nil && alive(owner) {
			return nil
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE deliveries SET process = ? WHERE id = ?`, process, id)
		}
		ok = err == nil
		return err
	})
	return ok && err == nil, err
}

// Query chooses what the history shows; zero fields choose everything.
type Query struct {
	Job   string
	Since time.Time
	// Source is that of the deliveries; runs have none.
	Source string
	// Failed leaves out what was done.
	Failed bool
	// Limit is how many at most, 0 for 1000.
	Limit int
}

func (q Query) where(deliveries bool) (string, []any) {
	clause, args := `WHERE began >= ?`, []any{millis(q.Since)}
	if q.Job != "" {
		// A delivery may name what it is part of in its own way; its run names the job.
		own := ` AND job = ?`
		if deliveries {
			own = ` AND (job = ? OR run IN (SELECT id FROM runs WHERE job = ?))`
			args = append(args, q.Job)
		}
		clause, args = clause+own, append(args, q.Job)
	}
	if q.Source != "" {
		clause, args = clause+` AND source = ?`, append(args, q.Source)
	}
	if q.Failed {
		clause, args = clause+` AND outcome = ?`, append(args, Failed)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	return clause + ` ORDER BY id DESC LIMIT ?`, append(args, limit)
}

// Deliveries are those that the query chooses, the latest first.
func (l *Ledger) Deliveries(ctx context.Context, q Query) ([]Delivery, error) {
	where, args := q.where(true)
	return l.deliveries(ctx, where, args...)
}

// Runs are those that the query chooses, the latest first.
func (l *Ledger) Runs(ctx context.Context, q Query) ([]Run, error) {
	q.Source = ""
	where, args := q.where(false)
	var list []Run
	alive := l.aliveness()
	err := l.read(ctx, func(db *sql.DB) error {
		list = nil
		rows, err := db.QueryContext(ctx, `SELECT id, job, process, began, ended, outcome, files, failed, skipped, bytes, note FROM runs `+where, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r Run
			var process string
			var began, ended int64
			if err := rows.Scan(&r.ID, &r.Job, &process, &began, &ended, &r.Outcome, &r.Files, &r.Failed, &r.Skipped, &r.Bytes, &r.Note); err != nil {
				return err
			}
			r.Began, r.Ended = atMillis(began), atMillis(ended)
			r.Alive = r.Outcome == Unsettled && alive(process)
			list = append(list, r)
		}
		return rows.Err()
	})
	return list, err
}

func (l *Ledger) deliveries(ctx context.Context, where string, args ...any) (list []Delivery, err error) {
	err = l.read(ctx, func(db *sql.DB) (err error) {
		list, _, err = scanDeliveries(ctx, db, where, args...)
		return err
	})
	return list, err
}

// scanDeliveries reads deliveries and the processes that they belong to.
func scanDeliveries(ctx context.Context, db *sql.DB, where string, args ...any) (list []Delivery, processes []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id, run, job, process, partner, source, target, size, mtime, sha256,
		stage, note, outcome, attempts, codes, rule, reply, bytes, began, ended FROM deliveries `+where, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var d Delivery
		var process, codes string
		var mtime, began, ended int64
		if err := rows.Scan(&d.ID, &d.Run, &d.Job, &process, &d.Partner, &d.Source, &d.Target, &d.Size, &mtime, &d.SHA256,
			&d.Stage, &d.Note, &d.Outcome, &d.Attempts, &codes, &d.Rule, &d.Reply, &d.Bytes, &began, &ended); err != nil {
			return nil, nil, err
		}
		for code := range strings.FieldsSeq(codes) {
			n, err := strconv.Atoi(code)
			if err != nil {
				return nil, nil, err
			}
			d.Codes = append(d.Codes, n)
		}
		if mtime != 0 {
			d.ModTime = time.Unix(0, mtime)
		}
		d.Began, d.Ended = atMillis(began), atMillis(ended)
		list, processes = append(list, d), append(processes, process)
	}
	return list, processes, rows.Err()
}

// live names this process, and takes the lock that says that it lives. A process
// number would not do: the system gives it to another.
func (l *Ledger) live() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leave == nil {
		process := rand.Text()
		leave, err := l.locks().Lock(process)
		if err != nil {
			return "", err
		}
		l.process, l.leave = process, leave
	}
	return l.process, nil
}

func (l *Ledger) locks() Locks { return Locks{Dir: filepath.Join(filepath.Dir(l.path), "locks")} }

// aliveness tells which processes live, and looks only once at each.
func (l *Ledger) aliveness() func(process string) bool {
	known := map[string]bool{}
	return func(process string) bool {
		alive, seen := known[process]
		if !seen {
			release, err := l.locks().Lock(process)
			if err == nil {
				release()
			}
			// What can't be found out is taken for alive: it is left alone.
			alive = err != nil
			known[process] = alive
		}
		return alive
	}
}

// nanos gives 1970 itself, which files without a known age have, as a nanosecond
// later: 0 is unknown, and times are compared in seconds.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return cmp.Or(t.UnixNano(), 1)
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func atMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
