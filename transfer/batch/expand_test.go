package batch

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// tree makes files; a name that ends in "/" is a directory.
func tree(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(root, filepath.FromSlash(name))
		var err error
		if name[len(name)-1] == '/' {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// told is what each was called with: "rel", "rel/" for a directory, "!cause path"
// for what can't be transferred; sorted.
type told struct {
	root string
	list []string
}

func (l *told) each(e Entry) error {
	switch {
	case e.Err != nil:
		rel, err := filepath.Rel(l.root, e.Path)
		if err != nil {
			rel = e.Path
		}
		l.list = append(l.list, "!"+string(policy.FaultOf(e.Err).Cause)+" "+filepath.ToSlash(rel))
	case e.Dir:
		l.list = append(l.list, e.Rel+"/")
	default:
		l.list = append(l.list, e.Rel)
	}
	return nil
}

func (l *told) want(t *testing.T, what string, want ...string) {
	t.Helper()
	slices.Sort(l.list)
	slices.Sort(want)
	if !slices.Equal(l.list, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, l.list, want)
	}
}

func TestLocal(t *testing.T) {
	root := t.TempDir()
	tree(t, root, "a.csv", "b.csv", "c.txt", "d/e.csv", "d/f/g.csv", "d/empty/", "[x].csv", "x.csv")
	in := func(p string) string { return filepath.Join(root, p) }
	tests := []struct {
		name      string
		args      []string
		recursive bool
		want      []string
	}{
		{"files", []string{in("a.csv"), in("c.txt")}, false, []string{"a.csv", "c.txt"}},
		{"pattern", []string{in("?.csv")}, false, []string{"a.csv", "b.csv", "x.csv"}},
		{"a name that looks like a pattern", []string{in("[x].csv")}, false, []string{"[x].csv"}},
		{"across directories", []string{in("**/*.csv")}, false, []string{"a.csv", "b.csv", "x.csv", "[x].csv", "e.csv", "g.csv"}},
		{"no match", []string{in("*.zip"), in("a.csv")}, false, []string{"!local-missing *.zip", "a.csv"}},
		{"missing", []string{in("nowhere")}, false, []string{"!local-missing nowhere"}},
		{"directory without -r", []string{in("d")}, false, []string{"!local-directory d"}},
		{"directory", []string{in("d")}, true, []string{"d/", "d/e.csv", "d/f/", "d/f/g.csv", "d/empty/"}},
	}
	for _, tt := range tests {
		got := told{root: root}
		if err := Local(t.Context(), slices.Values(tt.args), Selection{Recursive: tt.recursive}, got.each); err != nil {
			t.Fatal(err)
		}
		got.want(t, tt.name, tt.want...)
	}
}

// TestLocalLinks: links to files are followed, links to directories are told, so
// that a loop ends.
func TestLocalLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	root := t.TempDir()
	tree(t, root, "d/a", "d/sub/b")
	for link, target := range map[string]string{"d/link": "a", "d/loop": "..", "d/dangling": "nowhere", "top": "d"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	got := told{root: root}
	if err := Local(t.Context(), slices.Values([]string{filepath.Join(root, "d")}), Selection{Recursive: true}, got.each); err != nil {
		t.Fatal(err)
	}
	got.want(t, "links", "d/", "d/a", "d/sub/", "d/sub/b", "d/link", "!link-not-copied d/loop", "!local-missing d/dangling")

	got = told{root: root}
	if err := Local(t.Context(), slices.Values([]string{filepath.Join(root, "top")}), Selection{Recursive: true}, got.each); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(got.list, "top/a") || !slices.Contains(got.list, "top/sub/b") {
		t.Errorf("an argument that is a link to a directory: %q", got.list)
	}
}

// TestLinksFiltered: of a link that is followed the filter sees the file, not the
// few bytes of the link, and what is no file is not waited for.
func TestLinksFiltered(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege on Windows")
	}
	l, e, root := server(t)
	links := NewLinks(l.Location(), func() *transfer.Link { return l }, e, 1)
	tree(t, root, "d/small", "d/sub/")
	if err := os.WriteFile(filepath.Join(root, "large"), make([]byte, 2000), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"to-large": "../large", "to-small": "small", "to-device": "/dev/zero", "to-dir": "sub"} {
		if err := os.Symlink(target, filepath.Join(root, "d", link)); err != nil {
			t.Fatal(err)
		}
	}
	local := func(dir string, sel Selection, got *told) error {
		return Local(t.Context(), slices.Values([]string{filepath.Join(root, dir)}), sel, got.each)
	}
	remote := func(dir string, sel Selection, got *told) error {
		return Remote(t.Context(), links, "get", dir, sel, got.each)
	}
	for name, walk := range map[string]func(string, Selection, *told) error{"local": local, "remote": remote} {
		got := told{root: root}
		if err := walk("d", Selection{Recursive: true, Filter: Filter{MinSize: 1000, Rules: []Rule{{Pattern: "to-device"}}}}, &got); err != nil {
			t.Fatal(err)
		}
		got.want(t, name, "d/", "d/to-large", "!link-not-copied d/to-dir", "d/sub/")
	}
	got := told{root: root}
	if err := local("d", Selection{Recursive: true, Filter: Filter{Rules: []Rule{{Include: true, Pattern: "to-device"}}}}, &got); err != nil {
		t.Fatal(err)
	}
	got.want(t, "device", "d/", "!not-a-regular-file d/to-device", "d/sub/")
}

// server is an SFTP lab over a directory.
func server(t *testing.T) (*transfer.Link, *policy.Engine, string) {
	t.Helper()
	root := t.TempDir()
	srv, err := lab.StartSFTP(lab.SFTPConfig{Root: root, User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	dial := func(ctx context.Context, _ transfer.Hints) (transfer.Session, error) {
		return sftp.Dial(ctx, sftp.Options{
			Address:  srv.Addr(),
			Login:    &auth.Login{User: "u", Password: &auth.Source{Given: auth.NewSecret("p"), GivenBy: "the test"}},
			HostKeys: &auth.HostKeys{Files: []string{srv.KnownHostsFile()}},
		})
	}
	l := transfer.NewLink(transfer.Location{Scheme: transfer.SchemeSFTP, Host: "127.0.0.1", User: "u"}, dial, transfer.ModeAuto, nil)
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l, &policy.Engine{Limits: policy.Limits{Tries: 1}}, root
}

// ftpLinks are up to n connections to an FTP lab that allows so many.
func ftpLinks(t *testing.T, root string, allowed, n int) *Links {
	t.Helper()
	srv, err := lab.StartFTP(lab.FTPConfig{Root: root, User: "u", Password: "p", MaxConnections: allowed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	dial := func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		return ftp.Dial(ctx, ftp.Options{
			Address: srv.Addr(), Security: ftp.Clear, User: "u", Hints: hints,
			Password: func(context.Context) (auth.Secret, error) { return auth.NewSecret("p"), nil },
		})
	}
	loc := transfer.Location{Scheme: transfer.SchemeFTP, Host: "127.0.0.1", User: "u"}
	links := NewLinks(loc, func() *transfer.Link { return transfer.NewLink(loc, dial, transfer.ModeAuto, nil) },
		&policy.Engine{Limits: policy.DefaultLimits()}, n)
	t.Cleanup(func() { _ = links.Close(context.Background()) })
	return links
}

func TestRemote(t *testing.T) {
	l, e, root := server(t)
	links := NewLinks(l.Location(), func() *transfer.Link { return l }, e, 1)
	tree(t, root, "in/a.csv", "in/b.csv", "in/c.txt", "in/d/e.csv", "in/d/empty/", "in/[x].csv", "in/x.csv",
		"in/.a.csv.xfer-0123456789ab.part", "out/a.csv")
	tests := []struct {
		name, pattern string
		recursive     bool
		want          []string
	}{
		{"file", "/in/a.csv", false, []string{"a.csv"}},
		{"relative", "in/a.csv", false, []string{"a.csv"}},
		{"pattern", "/in/?.csv", false, []string{"a.csv", "b.csv", "x.csv"}},
		{"a name that looks like a pattern", "/in/[x].csv", false, []string{"[x].csv"}},
		{"pattern of directories", "/*/a.csv", false, []string{"a.csv", "a.csv"}},
		{"across directories", "/**/*.csv", false, []string{"a.csv", "b.csv", "x.csv", "[x].csv", "a.csv", "e.csv"}},
		{"everything below", "/in/d/**", false, []string{"e.csv"}},
		{"tree", "/in", true, []string{"in/", "in/a.csv", "in/b.csv", "in/c.txt", "in/d/", "in/d/e.csv", "in/d/empty/", "in/[x].csv", "in/x.csv"}},
		{"what is in a tree", "/in/d/.", true, []string{"/", "e.csv", "empty/"}},
	}
	for _, tt := range tests {
		got := told{root: root}
		if err := Remote(t.Context(), links, "get", tt.pattern, Selection{Recursive: tt.recursive}, got.each); err != nil {
			t.Fatal(err)
		}
		got.want(t, tt.name, tt.want...)
	}
	err := Remote(t.Context(), links, "get", "/in/*.zip", Selection{}, new(told).each)
	if !transfer.IsMissing(err) {
		t.Errorf("no match: %v, want a missing file", err)
	}
}

// TestRemoteTells: what the server said of an ordinary file goes along with it.
func TestRemoteTells(t *testing.T) {
	l, e, root := server(t)
	links := NewLinks(l.Location(), func() *transfer.Link { return l }, e, 1)
	tree(t, root, "in/a.csv", "in/d/b.csv")
	if err := os.Chmod(filepath.Join(root, "in", "a.csv"), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		pattern   string
		recursive bool
	}{{"/in", true}, {"/in/*.csv", true}, {"/in/*.csv", false}} {
		pattern, files := tt.pattern, 0
		err := Remote(t.Context(), links, "get", pattern, Selection{Recursive: tt.recursive}, func(e Entry) error {
			if e.Dir {
				return nil
			}
			files++
			want, err := transfer.Stat(t.Context(), l, links.engine, "stat", e.Path)
			if err != nil {
				return err
			}
			if e.Info == nil || e.Size != e.Info.Size {
				t.Errorf("%s: nothing was told", e.Path)
			} else if i := *e.Info; i.Size != want.Size || !i.ModTime.Equal(want.ModTime) || i.Mode != want.Mode || i.HasPerm != want.HasPerm {
				t.Errorf("%s: %+v, want %+v", e.Path, i, want)
			}
			return nil
		})
		if err != nil || files == 0 {
			t.Errorf("%s: %d files, %v", pattern, files, err)
		}
	}
	err := Local(t.Context(), slices.Values([]string{filepath.Join(root, "in")}), Selection{Recursive: true}, func(e Entry) error {
		if e.Info != nil {
			t.Errorf("%s is not a server's", e.Path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRemoveAll: a link goes, what it points to stays.
func TestRemoveAll(t *testing.T) {
	l, e, root := server(t)
	tree(t, root, "keep/a", "gone/b", "gone/sub/c", "gone/.a.xfer-0123456789ab.part")
	if runtime.GOOS != "windows" {
		for _, link := range []string{"gone/link", "toplink"} {
			if err := os.Symlink(map[string]string{"gone/link": "../keep", "toplink": "keep"}[link], filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
		}
		if err := RemoveAll(t.Context(), l, e, "rm", "/toplink"); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveAll(t.Context(), l, e, "rm", "/gone"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 1 || left[0].Name() != "keep" {
		t.Errorf("left: %v %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(root, "keep", "a")); err != nil {
		t.Error("what the link pointed to is gone")
	}
	if err := RemoveAll(t.Context(), l, e, "rm", "/gone"); !transfer.IsMissing(err) {
		t.Errorf("again: %v", err)
	}
}

// TestStaysInside: no link leads out of the tree, also not by way of another.
func TestStaysInside(t *testing.T) {
	for target, want := range map[string]bool{
		"b": true, "./b": true, "../b": true, "c/d": true, "../../t": true, "c//d/": true, "..": true,
		"../../../b": false, "/b": false, "..\\b": false, "a\x00": false,
		"c/../../..": false, "c/../d": false, "./c/d/..": false, // c may be a link to a directory further up
	} {
		if got := staysInside("t/a/link", target); got != want {
			t.Errorf("%q: %v", target, got)
		}
	}
}

// TestNames: what ends the names of a list.
func TestNames(t *testing.T) {
	long := strings.Repeat("x", 1000) + "\n"
	for list, want := range map[string][]string{
		"":                             nil,
		"a\nb\n":                       {"a", "b"},
		"a\r\n\r\nb c\r\n# d":          {"a", "b c", "# d"},
		"a\nb\x00c\r\x00":              {"a\nb", "c\r"},
		strings.Repeat(long, 100):      slices.Repeat([]string{long[:1000]}, 100),
		long + "a\x00" + long + "\x00": {long + "a", long},
	} {
		var got []string
		for name, err := range Names(iotest.HalfReader(strings.NewReader(list))) {
			if err != nil {
				t.Errorf("%.20q: %v", list, err)
			}
			got = append(got, name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%.20q: %.200q", list, got)
		}
	}
	for _, r := range []io.Reader{iotest.ErrReader(io.ErrClosedPipe), strings.NewReader(strings.Repeat("x", 1<<20))} {
		failed := false
		for _, err := range Names(r) {
			failed = failed || err != nil
		}
		if !failed {
			t.Error("a list that can't be read is taken for empty")
		}
	}
}
