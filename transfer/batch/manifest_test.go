package batch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
)

// TestResults: at whatever byte a kill cuts the file, the whole lines before it
// are read and what is added later stands on lines of its own.
func TestResults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	collect := func(lines *[]string) func([]byte) {
		return func(line []byte) { *lines = append(*lines, string(line)) }
	}
	long := `{"b":"longer than what is added"}`
	whole := "{\"a\":1}\n" + long + "\n"
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(path, []byte(whole[:cut]), 0o644); err != nil {
			t.Fatal(err)
		}
		var before, after []string
		r, err := OpenResults(path, collect(&before))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(map[string]int{"c": 3}); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(data), "{\"c\":3}\n") {
			t.Errorf("cut at %d: %q %v", cut, data, err)
		}
		r, err = OpenResults(path, collect(&after))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		want := []string{`{"a":1}`, long}[:strings.Count(whole[:cut], "\n")]
		if !slices.Equal(before, want) || !slices.Equal(after, append(slices.Clone(want), `{"c":3}`)) {
			t.Errorf("cut at %d: %q, then %q", cut, before, after)
		}
	}
	if _, err := OpenResults(filepath.Join(path, "below"), nil); policy.FaultOf(err).Protocol != policy.Local {
		t.Errorf("%v", err)
	}
}
