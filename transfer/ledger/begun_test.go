package ledger

import (
	"database/sql"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

func TestBegun(t *testing.T) {
	ctx, l := t.Context(), open(t)
	want := func(what string, want bool) {
		t.Helper()
		if begun, err := l.Begun(ctx, what); err != nil || begun != want {
			t.Errorf("%s: begun %t, %v; want %t", what, begun, err, want)
		}
	}
	want("a", false)
	must(t, l.Begin(ctx, "a"))
	must(t, l.Begin(ctx, "a"))
	must(t, l.Begin(ctx, "b"))
	must(t, l.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO begun VALUES ('old', ?)`, time.Now().Add(-transfer.FactLifetime-time.Hour).UnixMilli())
		return err
	}))
	must(t, l.Close()) // the next run
	want("a", true)
	want("b", true)
	want("old", false)
	must(t, l.End(ctx, "a"))
	want("a", false)
	want("b", true)
}
