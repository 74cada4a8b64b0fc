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
		{line: "EPSV", reply: &reply{at: now.Add(-portLife - time.Second)}},
		{line: "PASV", reply: &reply{at: now}},
		{line: "RNFR file", reply: &reply{at: now.Add(-time.Hour)}},
		{line: "SIZE file"},
	}}
	for line, want := range map[string]bool{"EPSV": false, "PASV": true, "RNFR file": true, "RNFR other": false, "SIZE file": true} {
		if a.has(line) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
	a.void()
	if a.has("PASV") {
		t.Error("a port outlives its mode")
	}
	if !a.has("RNFR file") {
		t.Error("another mode makes other answers void")
	}
}
