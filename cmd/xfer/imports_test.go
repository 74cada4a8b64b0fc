package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/xfer-cli/xfer"

// TestImports holds the lines between the rooms: who may not import whom, also
// not through others, and why.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	rules := []struct{ room, never, why string }{
		{"policy", module + "/*", "policy is pure: it knows no other room"},
		{"policy", "log/slog", "policy tells observers, it does not log"},
		{"auth", module + "/*", "auth proves identity and knows nothing of transfers or their failures"},
		{"transfer", module + "/transfer/*", "the root defines what its subpackages implement"},
		{"transfer", module + "/cmd/*", "nothing imports the program"},
		{"transfer/ftp", module + "/transfer/sftp", "adapters do not know each other"},
		{"transfer/sftp", module + "/transfer/ftp", "adapters do not know each other"},
		{"transfer/ftp", module + "/transfer/proxy", "an adapter dials; through what is the program's to say"},
		{"transfer/sftp", module + "/transfer/proxy", "an adapter dials; through what is the program's to say"},
		{"transfer/ftp", module + "/transfer/batch", "an adapter knows one session"},
		{"transfer/sftp", module + "/transfer/batch", "an adapter knows one session"},
		{"transfer/batch", module + "/transfer/ftp", "batch works on any Session"},
		{"transfer/batch", module + "/transfer/sftp", "batch works on any Session"},
		{"transfer/batch", module + "/transfer/lab", "the lab is for tests and the demo"},
		{"transfer/ledger", module + "/transfer/batch", "the ledger keeps books, it does not run transfers"},
		{"transfer/lab", module + "/transfer/ftp", "the lab must not share the adapters' mistakes"},
		{"transfer/lab", module + "/transfer/sftp", "the lab must not share the adapters' mistakes"},
		{"*", "github.com/schollz/progressbar/v3", "only the program draws"},
		{"*", "github.com/spf13/cobra", "only the program has a command line"},
		{"*", "github.com/pelletier/go-toml/v2", "only the program reads the configuration"},
		{"*", "modernc.org/sqlite", "only transfer/ledger has a database, and those who use it"},
		{"*", "github.com/jlaffaye/ftp", "only transfer/ftp speaks through it"},
		{"*", "github.com/pkg/sftp", "only transfer/sftp, and the lab's server, speak through it"},
	}
	mayImport := map[string][]string{
		"modernc.org/sqlite":      {"transfer/ledger", "transfer/batch", "transfer/fleet", "cmd/xfer"},
		"github.com/jlaffaye/ftp": {"transfer/ftp", "cmd/xfer", "cmd/xferbench"},
		"github.com/pkg/sftp":     {"transfer/sftp", "transfer/lab", "cmd/xfer", "cmd/xferbench"},
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		room := strings.TrimPrefix(fields[0], module+"/")
		seen[room] = true
		for _, rule := range rules {
			if rule.room == "*" {
				allowed := mayImport[rule.never]
				if allowed == nil {
					allowed = []string{"cmd/xfer"}
				}
				if slices.Contains(allowed, room) {
					continue
				}
			} else if room != rule.room {
				continue
			}
			tree, isTree := strings.CutSuffix(rule.never, "*")
			for _, dep := range fields[1:] {
				if dep == rule.never || isTree && strings.HasPrefix(dep, tree) {
					t.Errorf("%s depends on %s: %s", room, dep, rule.why)
				}
			}
		}
	}
	for _, rule := range rules {
		if rule.room != "*" && !seen[rule.room] {
			t.Errorf("the rule about %s guards nothing: there is no such package", rule.room)
		}
	}
}
