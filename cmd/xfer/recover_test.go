package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/transfer/ledger"
)

// TestWrittenHoldsNoSecret: a command with a password in it is not written down,
// nor one that could not be read as it was.
func TestWrittenHoldsNoSecret(t *testing.T) {
	for _, test := range []struct {
		proxy, source string
		written       bool
	}{
		{"", "acme:out", true},
		{"acme@proxy:1080", "acme:out", true},
		{"acme:hunter2@proxy:1080", "acme:out", false},
		{"http://acme:hunter2@proxy:1080", "acme:out", false},
		{"", "ftp://acme:hunter2@partner/out", false},
		{"", "b\xe9t\xe9", false}, // JSON would make another name of it
	} {
		a := newApp(system{env: func(string) string { return "" }})
		a.flags.options.Proxy = new(Proxy)
		if err := a.flags.options.Proxy.UnmarshalText([]byte(test.proxy)); err != nil {
			t.Fatal(err)
		}
		a.args = []string{"--proxy", test.proxy, "move", test.source, "in"}
		if w := a.written(); (w != "") != test.written || strings.Contains(w, "hunter2") {
			t.Errorf("%q %q: %q", test.proxy, test.source, w)
		}
	}
}

// TestHooksGetNoSecrets: what is for xfer alone is not in the environment of a hook.
func TestHooksGetNoSecrets(t *testing.T) {
	env := []string{"PATH=/bin", "XFER_PASSWORD=a", "XFER_PROXY_PASSWORD=b", "XFER_KEY_PASSPHRASE=c", "XFER_ACCOUNT=d", "XFER_LAB=PASS"}
	if got := withoutSecrets(env); !slices.Equal(got, []string{"PATH=/bin", "XFER_LAB=PASS"}) {
		t.Errorf("%q", got)
	}
}

// TestRunIsJudgedByItself: sync --watch makes many runs of one command, and a failure
// of one is none of the next.
func TestRunIsJudgedByItself(t *testing.T) {
	home := t.TempDir()
	a := newApp(system{stdout: io.Discard, stderr: io.Discard, env: func(name string) string {
		return map[string]string{"HOME": home}[name]
	}})
	defer a.state.close()
	for _, fails := range []bool{true, false} {
		end, err := a.startRun(t.Context(), CommandLine{Do: "sync"})
		if err != nil {
			t.Fatal(err)
		}
		if fails {
			a.report.failed++
		}
		end()
	}
	runs, err := a.state.ledger().Runs(t.Context(), ledger.Query{})
	if err != nil || len(runs) != 2 || runs[1].Outcome != ledger.Failed || runs[0].Outcome != ledger.Done {
		t.Errorf("%+v %v", runs, err)
	}
}
