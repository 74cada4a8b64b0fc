package ledger

import (
	"context"
	"database/sql"

	"github.com/xfer-cli/xfer/transfer"
)

// Recall gives the facts about a host that are not too old to be believed. It
// implements transfer.Memory.
func (l *Ledger) Recall(ctx context.Context, host string) (transfer.Facts, error) {
	hosts, err := l.hosts(ctx, `WHERE host = ?`, host)
	if err != nil || len(hosts) == 0 {
		return transfer.Facts{}, err
	}
	return hosts[0].Facts, nil
}

// Learn keeps facts about a host, in place of older ones with the same names. One
// that is too old to be believed, as the zero Fact is, is forgotten. It implements
// transfer.Memory.
func (l *Ledger) Learn(ctx context.Context, host string, learned transfer.Facts) error {
	return l.write(ctx, func(tx *sql.Tx) error {
		for name, f := range learned {
			if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)`,
				host, name, f.Value, f.Reason, f.At.UnixMilli()); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM facts WHERE at < ?`, oldest())
		return err
	})
}

// Host is what is remembered about one server.
type Host struct {
	// Server is "scheme://host:port".
	Server   string
	Facts    transfer.Facts
	Refusals []Refusal
}

// Hosts are all servers of which something is remembered, by name.
func (l *Ledger) Hosts(ctx context.Context) ([]Host, error) {
	return l.hosts(ctx, ``)
}

// hosts reads the servers that a clause on the column host chooses.
func (l *Ledger) hosts(ctx context.Context, where string, args ...any) (list []Host, err error) {
	err = l.read(ctx, func(db *sql.DB) error {
		list = nil
		rows, err := db.QueryContext(ctx, `SELECT host, 1, name, value, reason, at FROM (SELECT * FROM facts `+where+`) WHERE at >= ?
			UNION ALL SELECT host, 0, user, '', said, at FROM (SELECT * FROM refusals `+where+`) ORDER BY host, at`,
			append(append(append([]any{}, args...), oldest()), args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var host, name, value, text string
			var isFact bool
			var at int64
			if err := rows.Scan(&host, &isFact, &name, &value, &text, &at); err != nil {
				return err
			}
			if n := len(list); n == 0 || list[n-1].Server != host {
				list = append(list, Host{Server: host, Facts: transfer.Facts{}})
			}
			h := &list[len(list)-1]
			if isFact {
				h.Facts[name] = transfer.Fact{Value: value, Reason: text, At: atMillis(at)}
			} else {
				h.Refusals = append(h.Refusals, Refusal{User: name, Said: text, At: atMillis(at)})
			}
		}
		return rows.Err()
	})
	return list, err
}

// Forget drops everything about the servers and opens their closed logins.
func (l *Ledger) Forget(ctx context.Context, servers ...string) error {
	return l.write(ctx, func(tx *sql.Tx) error {
		for _, s := range servers {
			for _, table := range []string{"facts", "refusals"} {
				if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE host = ?`, s); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
