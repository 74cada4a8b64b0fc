package ledger

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"strings"
	"time"
)

// Refusal is a login that a server refused.
type Refusal struct {
	User string
	// Said is the server's reply.
	Said string
	At   time.Time
}

// stretch is the number of rounds of PBKDF2, about a tenth of a second: who gets
// hold of the file has to pay that for every password that he tries. A variable
// for the tests, which the race detector slows down a hundred times.
var stretch = 100_000

func fingerprint(salt []byte, host, user, proof string) ([]byte, error) {
	return pbkdf2.Key(sha256.New, strings.Join([]string{host, user, proof}, "\x00"), salt, stretch, 32)
}

// Refused says when and how the server refused this very credential, nil if it
// did not. proof gives what the login proves itself with, its secrets and public
// keys; it is called only when a login of this user was refused before.
func (l *Ledger) Refused(ctx context.Context, host, user string, proof func() (string, error)) (*Refusal, error) {
	type row struct {
		Refusal
		fingerprint []byte
	}
	var salt []byte
	var found []row
	err := l.read(ctx, func(db *sql.DB) error {
		found = nil
		rows, err := db.QueryContext(ctx, `SELECT value, fingerprint, said, at FROM refusals, salt WHERE host = ? AND user = ?`, host, user)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			r := row{Refusal: Refusal{User: user}}
			var at int64
			if err := rows.Scan(&salt, &r.fingerprint, &r.Said, &at); err != nil {
				return err
			}
			r.At = atMillis(at)
			found = append(found, r)
		}
		return rows.Err()
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	p, err := proof()
	if err != nil {
		return nil, err
	}
	print, err := fingerprint(salt, host, user, p)
	if err != nil {
		return nil, l.fault("fingerprint", err)
	}
	for _, r := range found {
		if subtle.ConstantTimeCompare(r.fingerprint, print) == 1 {
			return &r.Refusal, nil
		}
	}
	return nil, nil
}

// Refuse closes a credential for all processes of this user, until it changes or
// the host is forgotten. said is the server's reply.
func (l *Ledger) Refuse(ctx context.Context, host, user, proof, said string) error {
	var salt []byte
	// The salt is in the file from its first write on, and the stretching must
	// not keep others from writing.
	if err := l.write(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT value FROM salt`).Scan(&salt)
	}); err != nil {
		return err
	}
	print, err := fingerprint(salt, host, user, proof)
	if err != nil {
		return l.fault("fingerprint", err)
	}
	return l.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)`, host, user, print, said, time.Now().UnixMilli())
		return err
	})
}
