package transfer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
)

// TestPassed: what passes is hashed once, whatever tries it takes; what did not
// pass leaves no sum.
func TestPassed(t *testing.T) {
	const content = "0123456789"
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
	for name, tt := range map[string]struct {
		tries [][2]int // from, to
		want  string
	}{
		"at once":              {[][2]int{{0, 10}}, want},
		"in two tries":         {[][2]int{{0, 6}, {6, 10}}, want},
		"overlapping":          {[][2]int{{0, 6}, {2, 4}, {3, 10}}, want},
		"from the beginning":   {[][2]int{{0, 6}, {0, 10}}, want},
		"not from the start":   {[][2]int{{5, 10}}, ""},
		"a gap, then filled":   {[][2]int{{0, 3}, {5, 10}, {3, 10}}, ""},
		"not to the end":       {[][2]int{{0, 9}}, ""},
		"nothing of something": {nil, ""},
	} {
		p := &passed{hash: sha256.New()}
		for _, try := range tt.tries {
			var out bytes.Buffer
			w := p.beside(&out, int64(try[0]))
			for i := try[0]; i < try[1]; i += 2 {
				if _, err := w.Write([]byte(content[i:min(i+2, try[1])])); err != nil {
					t.Fatal(err)
				}
			}
			if got := out.String(); got != content[try[0]:try[1]] {
				t.Errorf("%s: %q was written", name, got)
			}
		}
		if got := p.all(10); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	var none *passed
	if w := new(bytes.Buffer); none.beside(w, 0) != w || none.all(0) != "" {
		t.Error("a sum that nobody asked for")
	}
}
