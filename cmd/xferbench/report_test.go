package main

import (
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	tests := []struct {
		values []time.Duration
		want   time.Duration
	}{
		{nil, 0},
		{[]time.Duration{7}, 7},
		{[]time.Duration{9, 1, 5}, 5},
		{[]time.Duration{10, 2, 100, 4}, 7},
	}
	for _, tt := range tests {
		before := append([]time.Duration(nil), tt.values...)
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", before, got, tt.want)
		}
		for i := range before {
			if tt.values[i] != before[i] {
				t.Errorf("median sorted its argument: %v", tt.values)
				break
			}
		}
	}
}

func results(failed string) []result {
	return []result{
		{Client: "xfer", measurement: measurement{Wall: 3 * time.Second, CPU: time.Second, Machine: 5 * time.Second, RSS: 20 * MiB}},
		{Client: "sftp", measurement: measurement{Wall: 4 * time.Second, CPU: 2 * time.Second}},
		{Client: "lftp", measurement: measurement{Wall: 6 * time.Second, CPU: 500 * time.Millisecond}},
		{Client: "curl", measurement: measurement{Wall: time.Second, CPU: time.Millisecond, Err: failed}},
	}
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name    string
		results []result
		want    ratios
	}{
		{"fastest and thriftiest", results("it broke"), ratios{Wall: 0.75, WallPeer: "sftp", CPU: 2, CPUPeer: "lftp", RSS: 20}},
		{"who did not fail counts", results(""), ratios{Wall: 3, WallPeer: "curl", CPU: 1000, CPUPeer: "curl", RSS: 20}},
		{"no peer", results("")[:1], ratios{RSS: 20}},
		{"xfer failed", []result{{Client: "xfer", measurement: measurement{Err: "no"}}, results("")[1]}, ratios{}},
		{"nothing", nil, ratios{}},
	}
	for _, tt := range tests {
		if got := compare(tt.results); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		value, target float64
		want          string
	}{
		{0.5, 0, ""},
		{0, 0.5, "not measured"},
		{0.5, 0.5, "met"},
		{0.501, 0.5, "MISSED"},
	}
	for _, tt := range tests {
		if got := verdict(tt.value, tt.target); got != tt.want {
			t.Errorf("verdict(%v, %v) = %q, want %q", tt.value, tt.target, got, tt.want)
		}
	}
}

func TestDisturbed(t *testing.T) {
	for stolen, want := range map[time.Duration]bool{0: false, time.Second: false, 1010 * time.Millisecond: true} {
		if got := (measurement{Wall: 10 * time.Second, Stolen: stolen}).disturbed(); got != want {
			t.Errorf("%v of 10 s stolen: disturbed is %v", stolen, got)
		}
	}
}

func TestSummarise(t *testing.T) {
	runs := []measurement{{Wall: 3, CPU: 10, Machine: 1, RSS: 5}, {Wall: 1, CPU: 30, Machine: 3, RSS: 4}, {Wall: 2, CPU: 20, Machine: 8, RSS: 9}}
	medians := measurement{Wall: 2, CPU: 20, Machine: 3, RSS: 5}
	failed := medians
	failed.Err = "it broke"
	tests := []struct {
		client   string
		runs     []measurement
		failures []string
		want     measurement
	}{
		{"scp", runs, nil, medians},
		{"scp", runs, []string{"it broke"}, medians},
		{"xfer", runs, []string{"it broke"}, failed},
		{"scp", nil, []string{"once", "it broke"}, measurement{Err: "it broke"}},
	}
	for _, tt := range tests {
		if got := summarise(tt.client, tt.runs, tt.failures); got.measurement != tt.want {
			t.Errorf("%s %v: %+v, want %+v", tt.client, tt.failures, got.measurement, tt.want)
		}
	}
}

// exampleRows are the rows of the golden files.
func exampleRows() []row {
	full := row{workload: workload{Server: "sftp", Op: "put", Size: GiB, Wall: 0.75, CPU: 1, RSS: 16}, Results: results("it broke")}
	full.Results[0].Runs = []measurement{{Wall: 3 * time.Second, Stolen: 200 * time.Millisecond}, {Wall: 3 * time.Second, Stolen: 400 * time.Millisecond}}
	full.Results[1].Failures = []string{"the server hung up"}
	tree := row{workload: workload{Server: "ftp", Op: "get", Size: 4 * KiB, Files: 1000, RTT: 20 * ms, Wall: 0.5}, Results: results("")}
	alone := row{workload: workload{Server: "sftp", Op: "put", Size: 1, Files: 1_000_000, RSS: 128}, Results: results("")[:1]}
	absent := row{workload: workload{Server: "sftp", Op: "sync", Size: 1, Files: 100_000, Wall: 0.5}, Skipped: "xfer has no sync"}
	rows := []row{full, tree, alone, absent}
	for i := range rows {
		rows[i].Name, rows[i].Ratios = rows[i].String(), compare(rows[i].Results)
	}
	return rows
}

func TestTableGolden(t *testing.T) {
	var out strings.Builder
	for _, r := range exampleRows() {
		r.write(&out)
	}
	writeSummary(&out, exampleRows())
	golden(t, "table.golden", out.String())
}

func TestPlotGolden(t *testing.T) { golden(t, "plot.svg", plot(exampleRows())) }
