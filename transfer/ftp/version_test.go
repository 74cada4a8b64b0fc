package ftp_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// getListed gets a file as it was listed, and gives what was written.
func getListed(t *testing.T, s transfer.Session, name string, listed transfer.Info) (string, time.Time, error) {
	t.Helper()
	var got bytes.Buffer
	n, err := s.Get(t.Context(), name, 0, transfer.Sink{W: &got, Size: listed.Size, Version: &listed})
	if err == nil && n != int64(got.Len()) {
		t.Errorf("%d of %d bytes were counted", n, got.Len())
	}
	return got.String(), listed.ModTime, err
}

// TestFlightOfVersion: what the file is now is asked for together with the file.
func TestFlightOfVersion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg   lab.FTPConfig
		perm  fs.FileMode
		asked string
	}{
		"MLST":        {lab.FTPConfig{}, 0o644, "MLST"},
		"SIZE":        {lab.FTPConfig{Without: noMLST}, 0o644, "SIZE"},
		"patient":     {lab.FTPConfig{Without: noMLST, Greeting: "(vsFTPd 3.0.3)"}, 0o644, "MDTM"},
		"like a link": {lab.FTPConfig{}, 0o777, "SIZE"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			store(t, root, "file", []byte("content"))
			test.cfg.Root, test.cfg.Script = root, []lab.Rule{{On: test.asked, Times: 3, Do: lab.Until("RETR")}}
			srv := start(t, test.cfg)
			s := dial(t, srv, known("pipelining=works"), limits(quick))
			now := modTime(t, root, "file")
			listed := transfer.Info{Size: 7, ModTime: now.Truncate(time.Minute), Precision: time.Minute, Mode: test.perm, HasPerm: true}
			for range 3 {
				if got, when, err := getListed(t, s, "file", listed); err != nil || got != "content" || !when.Equal(now) {
					t.Errorf("%q of %v, want %v: %v", got, when, now, err)
				}
			}
			if n := srv.Fired(test.asked); n != 3 {
				t.Errorf("%d of three", n)
			}
			works(t, s)
		})
	}
}

// TestOtherVersion: of a file that is not what was listed nothing is written, and the
// session can be used. It does not compare any more.
func TestOtherVersion(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]lab.FTPConfig{"MLST": {}, "SIZE": {Without: noMLST}, "TLS": {TLS: lab.Explicit}} {
		for _, size := range []int{0, 100, 3 << 20} {
			for _, facts := range []string{"pipelining=works", "pipelining=dropped"} {
				t.Run(name, func(t *testing.T) {
					root := t.TempDir()
					cfg.Root = root
					store(t, root, "file", pattern(size))
					srv := start(t, cfg)
					s := dial(t, srv, known(facts), limits(quick))
					now := modTime(t, root, "file")
					for what, listed := range map[string]transfer.Info{
						"size": {Size: int64(size) + 1, ModTime: now},
						"time": {Size: int64(size), ModTime: now.Add(-time.Hour), Precision: time.Minute},
					} {
						got, _, err := getListed(t, s, "file", listed)
						is(t, err, "RETR", policy.Data, 0, policy.CauseRemoteChanged)
						if got != "" {
							t.Errorf("%s: %d bytes were written", what, len(got))
						}
					}
					if s.Extras().GetCompares {
						t.Error("it still compares")
					}
					works(t, s)
				})
			}
		}
	}
}

// TestVersionRefused: a file that can't be fetched is told of as always.
func TestVersionRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store(t, root, "file", []byte("content"))
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "RETR", Times: 1, Do: lab.Reply(550, "Permission denied.")}}})
	s := dial(t, srv, known("pipelining=works"), limits(quick))
	listed := transfer.Info{Size: 7, ModTime: modTime(t, root, "file")}
	_, _, err := getListed(t, s, "file", listed)
	is(t, err, "RETR", policy.Command, 550, "")
	_, _, err = getListed(t, s, "missing", listed)
	is(t, err, "RETR", policy.Command, 550, "")
	if got, _, err := getListed(t, s, "file", listed); err != nil || got != "content" {
		t.Errorf("%q, %v", got, err)
	}
	works(t, s)
}

// modTime is the time of a file, as FTP tells it.
func modTime(t *testing.T, root, name string) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime().Truncate(time.Second)
}

// TestOtherVersionIsNotAwaited: what is not wanted may be a pipe, of which nothing
// comes.
func TestOtherVersionIsNotAwaited(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	store(t, root, "file", []byte("content"))
	srv := start(t, lab.FTPConfig{Root: root, Script: []lab.Rule{{On: "RETR", Do: lab.Stall()}}})
	s := dial(t, srv, known("pipelining=works"))
	within(t, 20*time.Second, func() {
		_, _, err := getListed(t, s, "file", transfer.Info{Size: 8, ModTime: modTime(t, root, "file")})
		is(t, err, "RETR", policy.Data, 0, policy.CauseRemoteChanged)
	})
}
