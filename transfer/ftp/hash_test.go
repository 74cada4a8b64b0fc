package ftp_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

func digest(t *testing.T, algorithm string, b []byte) []byte {
	t.Helper()
	h, ok := transfer.NewHash(algorithm)
	if !ok {
		t.Fatalf("%s is not known", algorithm)
	}
	_, _ = h.Write(b)
	return h.Sum(nil)
}

// TestHash: the best of what the server offers, and ranges where it can.
func TestHash(t *testing.T) {
	content := pattern(100_000)
	for _, test := range []struct {
		name     string
		with     []string
		script   []lab.Rule
		whole    string // the algorithm for all of the file
		part     string // for 5000 bytes of it, "" if that can't be
		commands []string
	}{
		{name: "HASH", with: []string{"HASH"}, whole: "SHA-256", commands: []string{"OPTS", "HASH"}},
		{name: "HASH before XSHA256, which alone takes a range", with: []string{"HASH", "XSHA256"}, whole: "SHA-256", part: "SHA-256", commands: []string{"HASH", "XSHA256"}},
		{name: "SHA-512 before MD5", with: []string{"XMD5", "XSHA512", "XCRC"}, whole: "SHA-512", part: "SHA-512", commands: []string{"XSHA512"}},
		{name: "SHA-1 before MD5", with: []string{"XMD5", "XSHA1"}, whole: "SHA-1", part: "SHA-1"},
		{name: "MD5", with: []string{"MD5"}, whole: "MD5"},
		{name: "XMD5 before MD5", with: []string{"MD5", "XMD5"}, whole: "MD5", part: "MD5", commands: []string{"XMD5"}},
		{name: "XCRC", with: []string{"XCRC"}, whole: "CRC32", part: "CRC32"},
		{name: "offered and unknown", with: []string{"HASH", "XCRC"}, whole: "CRC32", part: "CRC32",
			script: []lab.Rule{{On: "HASH", Do: lab.Reply(502, "No.")}}},
		{name: "an answer without a checksum", with: []string{"XSHA256", "XMD5"}, whole: "MD5", part: "MD5",
			script: []lab.Rule{{On: "XSHA256", Do: lab.Reply(250, "Done.")}}},
		{name: "the algorithm can't be chosen", with: []string{"HASH", "XCRC"}, whole: "CRC32", part: "CRC32",
			script: []lab.Rule{{On: "OPTS", Do: lab.Reply(501, "Unknown algorithm.")}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			srv := start(t, lab.FTPConfig{Root: root, With: test.with, Script: test.script})
			s := dial(t, srv)
			for _, name := range []string{"file", "two words", `a "quote"`} {
				store(t, root, name, content)
				for _, ask := range []struct {
					n         int64
					algorithm string
				}{{-1, test.whole}, {5000, test.part}} {
					if name == `a "quote"` && (ask.n >= 0 || test.with[len(test.with)-1][0] == 'X') {
						continue // in quotes it can't be written
					}
					sum, err := s.Extras().Hash(t.Context(), name, ask.n)
					if ask.algorithm == "" {
						is(t, err, "HASH", policy.Command, 0, policy.CauseNoHash)
						continue
					}
					want := content
					if ask.n >= 0 {
						want = content[:ask.n]
					}
					if err != nil || sum.Algorithm != ask.algorithm || !bytes.Equal(sum.Sum, digest(t, ask.algorithm, want)) {
						t.Errorf("%s, %d bytes: %s %x, %v", name, ask.n, sum.Algorithm, sum.Sum, err)
					}
				}
			}
			for _, c := range test.commands {
				if srv.Log().Count(c) == 0 {
					t.Errorf("%s was not used", c)
				}
			}
			if n := srv.Log().Count("OPTS"); n > 6 { // UTF8, and each algorithm once
				t.Errorf("%d OPTS: a refused algorithm is asked for again", n)
			}
			_, err := s.Extras().Hash(t.Context(), "missing", -1)
			if f := faultOf(t, err); f.Code != 550 {
				t.Errorf("%v", f)
			}
			works(t, s)
		})
	}
}

// TestNoHash: a server without checksums says so, and one that refuses all that
// it offers is one without.
func TestNoHash(t *testing.T) {
	t.Parallel()
	if dial(t, start(t, lab.FTPConfig{})).Extras().Hash != nil {
		t.Error("FEAT lists none")
	}
	srv := start(t, lab.FTPConfig{With: []string{"XCRC"}, Script: []lab.Rule{{On: "XCRC", Do: lab.Reply(502, "No.")}}})
	s := dial(t, srv)
	_, err := s.Extras().Hash(t.Context(), "file", -1)
	is(t, err, "HASH", policy.Command, 0, policy.CauseNoHash)
	if s.Extras().Hash != nil {
		t.Error("it is asked again")
	}
	works(t, s)
	again := dial(t, srv, func(o *ftp.Options) { o.Hints.Facts = s.Extras().Facts() })
	if again.Extras().Hash != nil {
		t.Error("it is asked again by the next session")
	}
}

// TestHashRealServer: proftpd's mod_digest.
func TestHashRealServer(t *testing.T) {
	t.Parallel()
	srv := transfertest.ProFTPD(t, transfertest.FTPOptions{Config: []string{
		"LoadModule mod_digest.c", "DigestAlgorithms all",
	}})
	s, err := ftp.Dial(t.Context(), optionsFor(t, srv))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := pattern(3_000_000)
	for _, name := range []string{"file", "two words"} {
		put(t, s, name, content)
		for _, n := range []int64{-1, 1, 2_999_999} {
			sum, err := s.Extras().Hash(t.Context(), name, n)
			want := content
			if n >= 0 {
				want = content[:n]
			}
			if err != nil || sum.Algorithm != "SHA-256" || fmt.Sprintf("%x", sum.Sum) != fmt.Sprintf("%x", digest(t, "SHA-256", want)) {
				t.Errorf("%s, %d: %s %x, %v", name, n, sum.Algorithm, sum.Sum, err)
			}
		}
	}
}
