package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/batch"
)

// TestExpectDue: when the files should be there, and since when they count.
func TestExpectDue(t *testing.T) {
	tests := []struct {
		since, by, now string
		due            bool
		from           string
	}{
		{"00:00", "06:00", "02 05:59", false, ""},
		{"00:00", "06:00", "02 06:00", true, "02 00:00"},
		{"00:00", "06:00", "02 23:59", true, "02 00:00"},
		{"00:00", "06:00", "03 00:00", false, ""},        // the next period begins
		{"18:00", "06:00", "02 07:00", true, "01 18:00"}, // over midnight
		{"18:00", "06:00", "02 19:00", false, ""},
		{"18:00", "06:00", "03 05:59", false, ""},
		{"00:00", "00:00", "02 12:00", true, "01 00:00"}, // the day before
	}
	read := func(s string) batch.TimeOfDay {
		var v batch.TimeOfDay
		if err := v.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		return v
	}
	day := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", "2026-01-"+s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range tests {
		e := Expect{Since: read(tt.since), By: new(read(tt.by))}
		due, since, _ := e.due(day(tt.now))
		if due != tt.due || due && !since.Equal(day(tt.from)) {
			t.Errorf("since %s by %s at %s: due %v since %v, want %v since %s", tt.since, tt.by, tt.now, due, since, tt.due, tt.from)
		}
	}
}

// TestCommandLineArgs: an option becomes its flag, and no value can become one.
func TestCommandLineArgs(t *testing.T) {
	l := CommandLine{Do: "sync", Source: "-x", Destination: "acme:in", Options: map[string]any{
		"max_delete": "5%", "delete": true, "delete_hard": false, "include": []any{"*.csv", "--delete-hard"}, "jobs": int64(2),
	}}
	want := "sync --delete --include=*.csv --include=--delete-hard --jobs=2 --max-delete=5% -- -x acme:in"
	if got := strings.Join(l.args(), " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if errs := l.check(); len(errs) > 0 {
		t.Errorf("%v", errs)
	}
}

// TestMetrics: the names and labels are an interface.
func TestMetrics(t *testing.T) {
	runs := []summary{
		{Job: "orders", Began: time.UnixMilli(1_700_000_000_500), Seconds: 1.5, Status: "done", Files: fileCounts{3, 0, 1}, Bytes: 4096, Retries: map[string]int{"ftp-450": 2, "net-reset": 1}},
		{File: "a\"b\\c\n.csv", Status: "missing", ExitCode: 66},
	}
	const want = `# HELP xfer_run_start_timestamp_seconds When the run began.
# TYPE xfer_run_start_timestamp_seconds gauge
xfer_run_start_timestamp_seconds{job="orders"} 1.7000000005e+09
xfer_run_start_timestamp_seconds{job="a\"b\\c\n.csv"} 0
# HELP xfer_run_duration_seconds How long the run took.
# TYPE xfer_run_duration_seconds gauge
xfer_run_duration_seconds{job="orders"} 1.5
xfer_run_duration_seconds{job="a\"b\\c\n.csv"} 0
# HELP xfer_run_success Whether the run ended well.
# TYPE xfer_run_success gauge
xfer_run_success{job="orders"} 1
xfer_run_success{job="a\"b\\c\n.csv"} 0
# HELP xfer_run_missing Whether expected files did not come in time.
# TYPE xfer_run_missing gauge
xfer_run_missing{job="orders"} 0
xfer_run_missing{job="a\"b\\c\n.csv"} 1
# HELP xfer_run_exit_code Exit code of the run.
# TYPE xfer_run_exit_code gauge
xfer_run_exit_code{job="orders"} 0
xfer_run_exit_code{job="a\"b\\c\n.csv"} 66
# HELP xfer_run_files Files by what became of them.
# TYPE xfer_run_files gauge
xfer_run_files{job="orders",status="done"} 3
xfer_run_files{job="orders",status="failed"} 0
xfer_run_files{job="orders",status="skipped"} 1
xfer_run_files{job="a\"b\\c\n.csv",status="done"} 0
xfer_run_files{job="a\"b\\c\n.csv",status="failed"} 0
xfer_run_files{job="a\"b\\c\n.csv",status="skipped"} 0
# HELP xfer_run_bytes Bytes that went over the wire.
# TYPE xfer_run_bytes gauge
xfer_run_bytes{job="orders"} 4096
xfer_run_bytes{job="a\"b\\c\n.csv"} 0
# HELP xfer_run_retries What was tried again, by rule.
# TYPE xfer_run_retries gauge
xfer_run_retries{job="orders",rule="ftp-450"} 2
xfer_run_retries{job="orders",rule="net-reset"} 1
`
	runs[1].Began = time.Unix(0, 0)
	if got := string(metrics(runs)); got != want {
		t.Errorf("%s", got)
	}
	for name := range strings.SplitSeq(want, "\n") {
		if _, rest, ok := strings.Cut(name, "# TYPE "); ok && !strings.Contains(metricsHelp, strings.Fields(rest)[0]) {
			t.Errorf("the help does not name %s", rest)
		}
	}
}

// TestJobWebhook: the outcome goes to the URL of the variable, over TLS that is
// checked, and again when the receiver is busy; the URL is told to nobody.
func TestJobWebhook(t *testing.T) {
	var mu sync.Mutex
	var got []string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.URL.Path+" "+string(body))
		if err != nil || len(got) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	dir := t.TempDir()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	config := fmt.Sprintf(`
[policy]
base = "1ms"
[job.copy]
do = "sync"
source = '%[1]s'
destination = '%[2]s'
on_success = { url_env = "HOOK" }
`, filepath.Join(dir, "from"), filepath.Join(dir, "to"))
	for name, content := range map[string]string{"from/a.txt": "a", "ca.pem": string(ca), "c.toml": config} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOME": dir, "HOOK": srv.URL + "/hunter2"}
	var stdout, stderr bytes.Buffer
	xfer := func(args ...string) int {
		sys := system{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: func(name string) string { return env[name] }}
		return run(t.Context(), sys, append([]string{"--config", filepath.Join(dir, "c.toml")}, args...))
	}
	if code := xfer("--retries", "0", "run", "copy"); code != exitCodes[policy.KindTrust].code || len(got) > 0 {
		t.Errorf("an authority that is not known: exit code %d, %q", code, got)
	}
	if code := xfer("--ca-file", filepath.Join(dir, "ca.pem"), "run", "copy"); code != 0 {
		t.Errorf("exit code %d", code)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 2 || got[0] != got[1] {
		t.Fatalf("got %q\n%s", got, stderr.String())
	}
	path, body, _ := strings.Cut(got[0], " ")
	var s summary
	if err := json.Unmarshal([]byte(body), &s); err != nil || path != "/hunter2" || s.Job != "copy" || s.Status != "done" || s.ExitCode != 0 {
		t.Errorf("%s %+v %v", path, s, err)
	}
	if said := stdout.String() + stderr.String(); strings.Contains(said, "hunter2") || !strings.Contains(said, "hook-busy") {
		t.Errorf("%s", said)
	}
}

// TestJobWindow: outside its window nothing is begun, and that is no failure.
func TestJobWindow(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	config := fmt.Sprintf("[job.later]\ndo = \"sync\"\nsource = '%s'\ndestination = '%s'\nwindow = \"%s-%s\"\n",
		dir, filepath.Join(dir, "to"), now.Add(2*time.Hour).Format("15:04"), now.Add(3*time.Hour).Format("15:04"))
	path := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	sys := system{stdin: strings.NewReader(""), stdout: &stdout, stderr: io.Discard, env: func(name string) string { return map[string]string{"HOME": dir}[name] }}
	code := run(t.Context(), sys, []string{"--config", path, "run", "later"})
	if _, err := os.Stat(filepath.Join(dir, "to")); code != 0 || !os.IsNotExist(err) || !strings.Contains(stdout.String(), "outside the window") {
		t.Errorf("exit code %d, %v: %s", code, err, stdout.String())
	}
}

// FuzzManifest: no text makes the readers panic, or repeats itself in an error.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("source,destination,do\na,acme:b,put\n"))
	f.Add([]byte(`{"source":"a","destination":"acme:b","options":{"jobs":1}}`))
	f.Add([]byte("[[transfer]]\nsource = \"a\"\noptions = { jobs = 1 }\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func(io.Reader, func(manifestEntry) error) error{readCSV, readJSON, readTOML} {
			last := 0
			_ = read(bytes.NewReader(data), func(e manifestEntry) error {
				if e.n <= last {
					t.Errorf("line %d after %d", e.n, last)
				}
				last = e.n
				if e.id(0) == e.id(1) {
					t.Error("two that are alike have one id")
				}
				e.checkEnds()
				return nil
			})
		}
	})
}
