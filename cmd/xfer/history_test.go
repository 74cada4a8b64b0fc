package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer/ledger"
)

// TestHistory shows what the ledger holds, the latest last.
func TestHistory(t *testing.T) {
	ctx, file := t.Context(), filepath.Join(t.TempDir(), "ledger.db")
	l := ledger.Open(file)
	defer l.Close()
	for _, d := range []ledger.Delivery{
		{Job: "orders", Source: "/out/a.csv", Target: "sftp://h:22/in/a.csv", Size: 2048, ModTime: time.Unix(1, 0),
			Result: ledger.Result{Outcome: ledger.Done, Attempts: 1, Bytes: 2048, SHA256: "aa"}},
		{Source: "/out/b\x1b[31m", Target: "sftp://h:22/in/b", Size: -1,
			Result: ledger.Result{Outcome: ledger.Failed, Attempts: 3, Codes: []int{450, 550}, Rule: "ftp-550", Reply: "550 no"}},
		{Job: "orders", Source: "/out/c.csv", Target: "t", Size: 1, Stage: "sent"},
	} {
		id, err := l.Intend(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		if d.Outcome == ledger.Unsettled {
			continue
		}
		if err := l.Settle(ctx, id, d.Result); err != nil {
			t.Fatal(err)
		}
	}
	history := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		sys := system{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: func(string) string { return "" }}
		if code := run(context.Background(), sys, append([]string{"--ledger-file", file, "history"}, args...)); code != 0 {
			t.Errorf("%q: exit code %d: %s", args, code, &errs)
		}
		return out.String()
	}
	for _, c := range []struct {
		args []string
		want []string // of each line
	}{
		{nil, []string{
			"  done    /out/a.csv → sftp://h:22/in/a.csv  2.0 KiB  job orders", `  failed  /out/b`, "  open    /out/c.csv → t  1 B  job orders  came as far as: sent",
		}},
		{[]string{"--failed"}, []string{"  3 tries  [ftp-550]"}},
		{[]string{"--job", "orders", "--limit", "1"}, []string{"/out/c.csv"}},
		{[]string{"--since", "1h"}, []string{"a.csv", "/out/b", "c.csv"}},
		{[]string{"--job", "none"}, nil},
	} {
		out := history(c.args...)
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if out == "" {
			lines = nil
		}
		if len(lines) != len(c.want) {
			t.Errorf("%q:\n%s", c.args, out)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%q: line %q, want %q in it", c.args, lines[i], want)
			}
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("%q: a name controls the terminal: %q", c.args, out)
		}
	}
	var r deliveryRecord
	if err := json.Unmarshal([]byte(history("--json", "--failed")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Status != "failed" || r.Size != nil || r.Modified != nil || len(r.Codes) != 2 || r.Rule != "ftp-550" || r.Reply != "550 no" || r.Ended == nil {
		t.Errorf("JSON: %+v", r)
	}
}
