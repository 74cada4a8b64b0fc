package transfer

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
)

func TestValidPath(t *testing.T) {
	for _, ok := range []string{"a", "/a/b", "..", "a b", "-x", "é", "a\tb"} {
		if err := ValidPath(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "a\nb", "a\rb", "a\x00b"} {
		f, is := errors.AsType[*policy.Fault](ValidPath(bad))
		if !is || f.Cause != policy.CauseBadName {
			t.Errorf("%q: %v, want a fault of %s", bad, f, policy.CauseBadName)
		}
	}
}

func TestValidName(t *testing.T) {
	for _, ok := range []string{"a", "...", "..a", "-x", " ", `a\b`} {
		if err := ValidName(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "../a", "a\nb", "a\rb", "a\x00"} {
		if err := ValidName(bad); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v, want ErrBadName", bad, err)
		}
	}
}

func TestJoinAndSplit(t *testing.T) {
	for _, tt := range []struct{ dir, name, path string }{
		{".", "a", "a"}, {"/", "a", "/a"}, {"in", "a", "in/a"}, {"/in", "a", "/in/a"}, {"a/b", "c", "a/b/c"},
	} {
		if got := Join(tt.dir, tt.name); got != tt.path {
			t.Errorf("Join(%q, %q) = %q", tt.dir, tt.name, got)
		}
		if dir, name := Split(tt.path); dir != tt.dir || name != tt.name {
			t.Errorf("Split(%q) = %q, %q", tt.path, dir, name)
		}
	}
}

func TestTempName(t *testing.T) {
	a := tempName("in/report.csv", "v1")
	if dir, name := Split(a); dir != "in" || !strings.HasPrefix(name, ".report.csv.xfer-") || !strings.HasSuffix(name, ".part") || !IsTemp(name) {
		t.Errorf("%q", a)
	}
	if a != tempName("in/report.csv", "v1") {
		t.Error("not the same for the same source")
	}
	if a == tempName("in/report.csv", "v2") || a == tempName("in/other.csv", "v1") {
		t.Error("the same for another source or target")
	}
	long := tempName(strings.Repeat("ü", 127), "v1")
	if len(long) > nameMax || !IsTemp(long) {
		t.Errorf("%d bytes: %q", len(long), long)
	}
	for _, no := range []string{"report.csv", ".report.part", ".x.xfer-.part", "x.xfer-0123456789ab.part"} {
		if IsTemp(no) {
			t.Errorf("%q is taken for a temporary file", no)
		}
	}
}

func TestNumbered(t *testing.T) {
	for in, want := range map[string]string{
		"a.csv": "a.1.csv", "dir.d/a": "dir.d/a.1", "in/.profile": "in/.profile.1", "a.tar.gz": "a.tar.1.gz", "a": "a.1",
	} {
		if got := numbered(in, 1); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestLocalize(t *testing.T) {
	unix := runtime.GOOS != "windows"
	for rel, ok := range map[string]bool{
		"a": true, "a/b": true, "..a": true, "é": true, "-x": true,
		"caf\xe9": unix, "d\xfcr/\xe4.txt": unix, `a\b`: unix, "a:b": unix, "CON": unix,
		"": false, "..": false, "../a": false, "a/../../b": false, "/a": false, "a//b": false, "a\x00b": false,
		"\xe9/../..": false, "../\xe9": false, "/\xe9": false, "\xe9\x00": false, "\xe9//b": false,
	} {
		local, err := Localize("create", rel)
		if ok && (err != nil || local != filepath.FromSlash(rel)) {
			t.Errorf("%q: %q, %v", rel, local, err)
		}
		if f, is := errors.AsType[*policy.Fault](err); !ok && (!is || f.Cause != policy.CauseLocalName) {
			t.Errorf("%q: %q, %v, want a fault of %s", rel, local, err, policy.CauseLocalName)
		}
	}
}
