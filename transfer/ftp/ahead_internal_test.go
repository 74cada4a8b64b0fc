package ftp

import (
	"testing"
	"time"
)

// TestPortLife: an agreed port is not kept for ever; other replies wait for the
// next command.
func TestPortLife(t *testing.T) {
	now := time.Now()
	a := ahead{queue: []asked{
		{line: "EPSV", at: now.Add(-portLife - time.Second)},
		{line: "PASV", at: now},
		{line: "RNFR file", at: now.Add(-time.Hour)},
	}}
	for line, want := range map[string]bool{"EPSV": false, "PASV": true, "RNFR file": true, "RNFR other": false} {
		if a.has(line) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
	a.void()
	if a.has("PASV") {
		t.Error("a port outlives its mode")
	}
}
