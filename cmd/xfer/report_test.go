package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

func refused() error {
	f := &policy.Fault{
		Protocol: policy.FTP, Phase: policy.Data, Op: "STOR", Host: "partner.example", User: "acme", Path: "in/report.csv",
		Code: 550, Text: "Permission denied", Locate: func(p string) string { return "acme:" + p },
	}
	return policy.GiveUpOn("put report.csv", f)
}

// TestThreeLines: what a person sees of a failure.
func TestThreeLines(t *testing.T) {
	got := explainFailure("put report.csv", failureOf(refused()))
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), got)
	}
	for i, want := range []string{
		"xfer: put report.csv: partner.example refused the upload (550 Permission denied)",
		"[ftp-550-permission]",
		"next: ",
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d: %q, want %q in it", i+1, lines[i], want)
		}
	}
	if strings.Contains(got, "{") {
		t.Errorf("a placeholder is left:\n%s", got)
	}
}

func TestFailureForAProgram(t *testing.T) {
	o := transferred(transfer.Put, "report.csv", "acme:in/report.csv", transfer.Result{Tries: 1, Elapsed: 1500 * time.Millisecond}, refused())
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Op, Status string
		Seconds    float64
		Failure    struct {
			Kind, Rule, Protocol, Phase, Command, Text string
			Code, Exit_code                            int
		}
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	f := back.Failure
	if back.Op != "put" || back.Status != "failed" || back.Seconds != 1.5 || f.Kind != "permission" || f.Rule != "ftp-550-permission" ||
		f.Protocol != "ftp" || f.Phase != "data" || f.Command != "STOR" || f.Code != 550 || f.Exit_code != 77 {
		t.Errorf("%s", data)
	}
}

func TestWorstKind(t *testing.T) {
	for _, tt := range []struct{ a, b, want policy.Kind }{
		{policy.KindOK, policy.KindTemporary, policy.KindTemporary},
		{policy.KindTemporary, policy.KindPermission, policy.KindPermission},
		{policy.KindMissing, policy.KindTemporary, policy.KindMissing},
		{policy.KindTrust, policy.KindPermission, policy.KindTrust},
		{policy.KindCancelled, policy.KindTrust, policy.KindCancelled},
	} {
		if got := worse(tt.a, tt.b); got != tt.want || worse(tt.b, tt.a) != tt.want {
			t.Errorf("worse(%s, %s) = %s, want %s", tt.a, tt.b, got, tt.want)
		}
	}
}

// TestEveryKindHasAnExitCode, and no two kinds share one.
func TestEveryKindHasAnExitCode(t *testing.T) {
	seen := map[int]policy.Kind{}
	for kind := policy.Kind(0); !strings.HasPrefix(kind.String(), "unknown"); kind++ {
		code, ok := exitCodes[kind]
		if !ok {
			t.Errorf("kind %s has no exit code", kind)
		}
		if other, taken := seen[code.code]; taken {
			t.Errorf("kinds %s and %s share exit code %d", kind, other, code.code)
		}
		seen[code.code] = kind
		if worse(kind, policy.KindOK) != kind {
			t.Errorf("kind %s is missing in severity", kind)
		}
	}
	if kindOf(errors.New("anything")) == policy.KindOK {
		t.Error("an unknown error is taken for success")
	}
}

func TestByteCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 40: "5.0 TiB"} {
		if got := byteCount(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestRemedyText(t *testing.T) {
	fault := &policy.Fault{Protocol: policy.FTP, Code: 450, Text: "File busy"}
	at := time.Date(2026, 1, 1, 3, 12, 0, 0, time.Local)
	for _, tt := range []struct {
		ev   policy.Event
		want string
	}{
		{policy.Event{Fault: fault, Remedy: policy.Retry, Delay: 4 * time.Second, Deadline: at}, "450 File busy: next try in 4.0 s, gives up 03:12"},
		{policy.Event{Fault: fault, Remedy: policy.Retry, Delay: 64 * time.Second, Try: 1, Tries: 8}, "450 File busy: next try in 1m4s (2 of 8)"},
		{policy.Event{Fault: &policy.Fault{Protocol: policy.FTP, Code: 425}, Remedy: policy.SwitchMode, About: "switching to active"}, "425: switching to active"},
		{policy.Event{Fault: &policy.Fault{Protocol: policy.SFTP, Code: 4, Text: "Failure"}, Remedy: policy.Diagnose}, "4 Failure: looking for the cause"},
	} {
		if got := remedyText(tt.ev); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
