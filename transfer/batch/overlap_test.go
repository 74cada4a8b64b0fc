package batch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TestMoveOntoItself: under whatever names a move finds its source again at the
// target, the files stay.
func TestMoveOntoItself(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"sftp", "ftp"} {
		server := startEnd(t, kind)
		local := endSetup{Kind: "disk", Dir: server.Dir}
		for name, ends := range map[string][2]endSetup{
			"a server": {server, server}, "a directory": {local, local}, "up": {local, server}, "down": {server, local},
		} {
			tree(t, server.Dir, "a", "b")
			s := moveSetup{From: ends[0], To: ends[1], State: t.TempDir()}
			told, _, err := s.run(t.Context())
			if err != nil || !strings.Contains(told["a"], "the source itself") || !strings.Contains(told["b"], "the source itself") {
				t.Errorf("%s, %s: %v, %v", kind, name, told, err)
			}
			if got, want := contents(t, server.Dir), map[string]string{"a": "a", "b": "b"}; !maps.Equal(got, want) {
				t.Errorf("%s, %s: the source holds %v", kind, name, got)
			}
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	server := startEnd(t, "sftp")
	local := func(rel string) End {
		return endSetup{Kind: "disk", Dir: filepath.Join(server.Dir, filepath.FromSlash(rel))}.end()
	}
	remote := func(rel string) End {
		e := server.end()
		e.Path = rel
		t.Cleanup(func() { _ = e.Links.Close(context.Background()) })
		return e
	}
	overlapTree(t, server.Dir)
	testOverlap(t, local, overlaps, linkedOverlaps)
	testOverlap(t, remote, overlaps) // the server of the lab tells of no links here
	if o, err := overlapOf(t.Context(), "test", local("a"), remote("a")); err != nil || o.rel != "" {
		t.Errorf("a server and this machine: %+v, %v", o, err)
	}
}

// TestOverlapRealServers needs OpenSSH.
func TestOverlapRealServers(t *testing.T) {
	l, dir := openSSH(t)
	overlapTree(t, dir)
	links := NewLinks(l.Location(), func() *transfer.Link { return l }, impatient(), 1)
	remote := func(rel string) End { return End{Links: links, Path: rel} }
	testOverlap(t, remote, overlaps, linkedOverlaps)
	testOverlap(t, func(rel string) End { return remote(transfer.Join(dir, rel)) }, overlaps, linkedOverlaps)
	if o, err := overlapOf(t.Context(), "test", remote("a"), remote(transfer.Join(dir, "a/b/"))); err != nil || o.rel != "b" {
		t.Errorf("relative and absolute: %+v, %v", o, err)
	}
}

type overlapCase struct {
	from, to string
	want     overlap
}

// The cases are of overlapTree, where link leads to a/b.
var overlaps = []overlapCase{
	{"a", "a", overlap{rel: "."}},
	{"a", "a/b/..", overlap{rel: "."}},
	{"a", "a/b", overlap{rel: "b"}},
	{"a", "a/new/er", overlap{rel: "new/er"}},
	{"a/b", "a", overlap{rel: "b", source: true}},
	{"a", "ab", overlap{}},
	{"ab", "a", overlap{}},
	{"a", "new", overlap{}},
}

var linkedOverlaps = []overlapCase{
	{"link", "a/b", overlap{rel: "."}},
	{"a", "link", overlap{rel: "b"}},
	{"a", "link/new/er", overlap{rel: "b/new/er"}},
	{"link", "a", overlap{rel: "b", source: true}},
}

func overlapTree(t *testing.T, dir string) {
	t.Helper()
	tree(t, dir, "a/b/file", "ab/file")
	if err := os.Symlink(filepath.Join(dir, "a", "b"), filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
}

func testOverlap(t *testing.T, end func(string) End, cases ...[]overlapCase) {
	t.Helper()
	for _, tt := range slices.Concat(cases...) {
		from, to := end(tt.from), end(tt.to)
		got, err := overlapOf(t.Context(), "test", from, to)
		if err != nil || got != tt.want {
			t.Errorf("%s to %s: %+v, %v, want %+v", from.String(""), to.String(""), got, err, tt.want)
		}
	}
}

// TestSyncIntoItself: a sync into itself would go on until the names are too long.
func TestSyncIntoItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tree(t, dir, "a/b/file", Trash+"/1/file")
	end := func(rel string) End {
		return endSetup{Kind: "disk", Dir: filepath.Join(dir, filepath.FromSlash(rel))}.end()
	}
	for _, tt := range []struct{ from, to, exclude, want string }{
		{"a", "a", "", "the source itself"},
		{"a", "a/b", "", "inside the source"},
		{"a/b", "a", "", "the source is inside it"},
		{"a", "a/b/c", "b/", ""},
		{Trash + "/1", "", "", ""},
	} {
		s := &Sync{From: end(tt.from), To: end(tt.to), Name: "sync"}
		if tt.exclude != "" {
			s.Rules = []Rule{{Pattern: tt.exclude}}
		}
		steps := 0
		err := s.Plan(t.Context(), func(Step) error { steps++; return nil })
		s.Close()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) ||
			policy.FaultOf(err).Cause != policy.CauseOverlap || steps > 0) {
			t.Errorf("%s to %s: %v, %d steps", tt.from, tt.to, err, steps)
		}
	}
}
