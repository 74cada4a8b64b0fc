package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it):\n%s", file, got)
	}
}

func TestWorkloads(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range workloads {
		name := w.String()
		if seen[name] {
			t.Errorf("two rows are called %q", name)
		}
		seen[name] = true
		if servers[w.Server] == nil {
			t.Errorf("%s: no server %q", name, w.Server)
		}
		if !slices.Contains([]string{"put", "get", "sync"}, w.Op) {
			t.Errorf("%s: no such operation", name)
		}
		for _, peer := range w.Peers {
			if !slices.ContainsFunc(clients, func(c client) bool { return c.name == peer }) {
				t.Errorf("%s: no client %q", name, peer)
			}
		}
		q := w.quick()
		if q.Size > 64*MiB || !w.Huge && q.Files > 1000 {
			t.Errorf("%s: quick is %s", name, q)
		}
		if w.Cut > 0 && q.Cut >= q.Size {
			t.Errorf("%s: quick is never cut", name)
		}
	}
}

func TestWorkloadName(t *testing.T) {
	tests := []struct {
		w    workload
		want string
	}{
		{workload{Server: "sftp", Op: "put", Size: GiB}, "sftp put 1 GiB"},
		{workload{Server: "ftp", Op: "get", Size: 4 * KiB, Files: 1000, RTT: 20 * ms}, "ftp get 1000 × 4 KiB, RTT 20 ms"},
		{workload{Server: "sftp", Op: "put", Size: GiB, Cut: 100 * MiB}, "sftp put 1 GiB, cut every 100 MiB"},
		{workload{Server: "sftp", Op: "put", Size: 1, InPlace: true}, "sftp put 1 B, in place"},
	}
	for _, tt := range tests {
		if got := tt.w.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestCommands pins what each client is told to do. Whether it then does it, the
// program checks on every run.
func TestCommands(t *testing.T) {
	ssh := &site{scheme: "sftp", host: "127.0.0.1", port: 2022, user: "u", root: "/r", keyFile: "/k", knownHosts: "/kh", sshConfig: "/cfg"}
	plain := &site{scheme: "ftp", host: "127.0.0.1", port: 2021, user: "u", password: "secret", obscured: "hidden", root: "/"}
	tls := &site{scheme: "ftpes", host: "127.0.0.1", port: 2021, user: "u", password: "secret", obscured: "hidden", root: "/", caFile: "/ca"}
	tasks := []task{
		{workload: workload{Op: "put", Size: MiB}, site: ssh, local: "/l/f", remote: "/r/in"},
		{workload: workload{Op: "get", Size: KiB, Files: 2, RTT: 20 * ms}, site: ssh, local: "/down", remote: "/r/out/t", files: []string{"a", "b"}, jobs: []string{"-j", "64"}},
		{workload: workload{Op: "sync", Files: 2}, site: ssh, local: "/l/t", remote: "/r/in"},
		{workload: workload{Op: "put", Size: MiB, Cut: KiB}, site: plain, local: "/l/f", remote: "/in"},
		{workload: workload{Op: "put", Size: KiB, Files: 2, InPlace: true}, site: plain, local: "/l/t", remote: "/in", files: []string{"a", "b"}},
		{workload: workload{Op: "get", Size: MiB}, site: tls, local: "/down", remote: "/out/f"},
	}
	var out strings.Builder
	for _, task := range tasks {
		task.script = "/script"
		out.WriteString("== " + task.scheme + task.String() + "\n")
		for _, c := range clients {
			if !c.takes(task) {
				continue
			}
			argv := strings.Join(c.argv(task), " ")
			if strings.Contains(argv, "secret") {
				t.Errorf("%s: the password is among the arguments: %s", c.name, argv)
			}
			out.WriteString("\n" + c.name + ": " + argv + "\n")
			if c.env != nil {
				out.WriteString("  " + strings.Join(c.env(task), "\n  ") + "\n")
			}
			if c.script != nil {
				out.WriteString(c.script(task))
			}
		}
		out.WriteString("\n")
	}
	golden(t, "commands.golden", out.String())
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prints := func() (outline, content print) {
		t.Helper()
		outline, err := fingerprint(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if content, err = fingerprint(dir, true); err != nil {
			t.Fatal(err)
		}
		return outline, content
	}
	write("a", "one")
	outline, content := prints()
	if outline.files != 1 || outline.bytes != 3 {
		t.Errorf("one file of three bytes is %v", outline)
	}
	write("a", "two")
	if o, c := prints(); o != outline || c == content {
		t.Error("other content of the same size must show in the second only")
	}
	write("a", "longer")
	if o, _ := prints(); o == outline {
		t.Error("another size does not show")
	}
	write("a", "one")
	write("b", "")
	if o, _ := prints(); o == outline {
		t.Error("another file does not show")
	}
}

func TestHopeless(t *testing.T) {
	tests := []struct {
		program string
		warmUp  time.Duration
		want    bool
	}{
		{"scp", time.Minute, true},
		{"scp", 20 * time.Second, false},
		{"", time.Minute, false},
	}
	for _, tt := range tests {
		e := &entrant{client: client{program: tt.program}, warmUp: measurement{Wall: tt.warmUp}}
		if got := e.hopeless(10 * time.Second); got != tt.want {
			t.Errorf("%q after %v: %v, want %v", tt.program, tt.warmUp, got, tt.want)
		}
	}
}

// TestStub: what fails as a test does must not end the program, and what was
// started must be cleaned up, the last first.
func TestStub(t *testing.T) {
	var tb stub
	var order []int
	tb.Cleanup(func() { order = append(order, 1) })
	err := tb.try(func() {
		tb.Cleanup(func() { order = append(order, 2) })
		tb.Fatalf("no %s", "server")
	})
	if err == nil || err.Error() != "no server" {
		t.Errorf("try gives %v", err)
	}
	tb.close()
	if !slices.Equal(order, []int{2, 1}) {
		t.Errorf("cleaned up in the order %v", order)
	}
}
