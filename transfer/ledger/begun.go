package ledger

import (
	"context"
	"database/sql"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// Begin notes that something was begun that a later run may have to go on with.
// what names it, in the caller's own words.
func (l *Ledger) Begin(ctx context.Context, what string) error {
	return l.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO begun VALUES (?, ?)`, what, time.Now().UnixMilli())
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM begun WHERE at < ?`, oldest())
		}
		return err
	})
}

// Begun says whether it was begun, not longer than transfer.FactLifetime ago, and
// has not ended.
func (l *Ledger) Begun(ctx context.Context, what string) (begun bool, err error) {
	err = l.read(ctx, func(db *sql.DB) error {
		return db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM begun WHERE what = ? AND at >= ?)`, what, oldest()).Scan(&begun)
	})
	return begun, err
}

// End drops the note.
func (l *Ledger) End(ctx context.Context, what string) error {
	return l.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM begun WHERE what = ?`, what)
		return err
	})
}

// oldest is before which nothing is believed any more.
func oldest() int64 { return time.Now().Add(-transfer.FactLifetime).UnixMilli() }
