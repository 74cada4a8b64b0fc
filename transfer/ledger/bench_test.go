package ledger

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

func benchLedger(b *testing.B) *Ledger {
	b.Helper()
	b.ReportAllocs()
	l := Open(filepath.Join(b.TempDir(), "ledger.db"))
	b.Cleanup(func() {
		if err := l.Close(); err != nil {
			b.Error(err)
		}
	})
	return l
}

// BenchmarkRecall is what the cold start of every command waits for.
func BenchmarkRecall(b *testing.B) {
	file := benchLedger(b).Path()
	l := Open(file)
	if err := l.Learn(b.Context(), "ftp://h:21", transfer.Facts{"mode": {Value: "active", At: time.Now()}}); err != nil {
		b.Fatal(err)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l := Open(file)
		facts, err := l.Recall(b.Context(), "ftp://h:21")
		if err != nil || len(facts) != 1 {
			b.Fatal(facts, err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDelivery is one file of a job: looked up, intended, settled.
func BenchmarkDelivery(b *testing.B) {
	l := benchLedger(b)
	n := 0
	for b.Loop() {
		n++
		d := Delivery{Source: "out/" + strconv.Itoa(n), Target: "sftp://h:22/in/" + strconv.Itoa(n), Size: 1, ModTime: time.Unix(1, 0)}
		if m, err := l.Delivered(b.Context(), d); err != nil || m.Same != nil {
			b.Fatal(m, err)
		}
		id, err := l.Intend(b.Context(), d)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Settle(b.Context(), id, Result{Outcome: Done}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLock is one file of a put, which no other process may send meanwhile.
func BenchmarkLock(b *testing.B) {
	b.ReportAllocs()
	locks := Locks{Dir: b.TempDir()}
	for b.Loop() {
		release, err := locks.Lock("sftp://h:22/in/file")
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
