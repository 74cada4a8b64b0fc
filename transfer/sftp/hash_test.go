package sftp

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// wantHashes asks for the digest of all and of a part.
func wantHashes(t *testing.T, s *session, path string, all []byte, algorithm string) {
	t.Helper()
	sum := func(b []byte) []byte {
		h, ok := transfer.NewHash(algorithm)
		if !ok {
			t.Fatal(algorithm)
		}
		h.Write(b)
		return h.Sum(nil)
	}
	for _, n := range []int64{-1, 700, int64(len(all))} {
		part := all
		if n >= 0 {
			part = all[:n]
		}
		got, err := s.Extras().Hash(t.Context(), path, n)
		if err != nil || got.Algorithm != algorithm || !bytes.Equal(got.Sum, sum(part)) {
			t.Errorf("first %d: %s %x, %s; want %s %x", n, got.Algorithm, got.Sum, describe(err), algorithm, sum(part))
		}
	}
	empty := sha256.Sum256(nil)
	if got, err := s.Extras().Hash(t.Context(), path, 0); err != nil || !bytes.Equal(got.Sum, empty[:]) {
		t.Errorf("first 0: %x, %s", got.Sum, describe(err))
	}
	_, err := s.Extras().Hash(t.Context(), path, int64(len(all))+1)
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "hash", Cause: policy.CauseResume})
	_, err = s.Extras().Hash(t.Context(), path+"-missing", -1)
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "stat", Code: fxNoSuchFile})
}

func TestHashExtensions(t *testing.T) {
	for extension, algorithm := range map[string]string{"check-file": "SHA-256", "md5-hash": "MD5"} {
		t.Run(extension, func(t *testing.T) {
			srv := startLab(t, lab.SFTPConfig{Quirks: lab.Quirks{Extensions: []string{extension}}})
			s := dialLab(t, srv)
			put(t, s, "a b", content(100_000))
			wantHashes(t, s, "a b", content(100_000), algorithm)
		})
	}
}

// TestHashAnswers: how servers word the same answer, and nonsense.
func TestHashAnswers(t *testing.T) {
	short, long := md5.Sum([]byte("x")), sha512.Sum512([]byte("x"))
	packet := func(fields ...string) string {
		r := newRequest(fxpExtendedReply)
		for _, f := range fields[:len(fields)-1] {
			r = r.string(f)
		}
		return string(append(r, fields[len(fields)-1]...))
	}
	tests := map[string]struct {
		body string
		want string
	}{
		"proftpd":      {packet("md5", string(short[:])), "MD5"},
		"paramiko":     {packet("check-file", "sha512", string(long[:])), "SHA-512"},
		"wrong length": {packet("sha256", string(short[:])), ""},
		"unknown":      {packet("crc99", string(short[:])), ""},
		"empty":        {packet(""), ""},
	}
	for name, tt := range tests {
		if d, err := checkFileDigest(fields{b: []byte(tt.body)[headerLen:]}); d.Algorithm != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestHashThatIsOnlyAnnounced: the ability goes when the server does not keep its word.
func TestHashThatIsOnlyAnnounced(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Quirks: lab.Quirks{
		Extensions: []string{"check-file", "md5-hash"}, Refuse: map[string]uint32{"check-file-name": 8, "md5-hash": 4},
	}})
	s := dialLab(t, srv)
	put(t, s, "f", content(1000))
	_, err := s.Extras().Hash(t.Context(), "f", -1)
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "hash", Cause: policy.CauseNoHash})
	if s.Extras().Hash != nil {
		t.Error("it is still offered")
	}
	if dialLab(t, startLab(t, lab.SFTPConfig{}), func(o *Options) { o.Shell = true }).Extras().Hash == nil {
		t.Error("shell = true offers none")
	}
}

func TestHashByShell(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{}) // runs no programs
	s := dialLab(t, srv, func(o *Options) { o.Shell = true })
	put(t, s, "f", content(1000))
	_, err := s.Extras().Hash(t.Context(), "f", -1)
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "hash", Cause: policy.CauseNoHash})
	put(t, s, "g", content(1000)) // the session still works
}

func TestHashOnOpenSSH(t *testing.T) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{})
	s := dial(t, sshdOptions(srv, func(o *Options) { o.Shell = true }))
	for _, name := range []string{"plain", "it's $(a) \"name\" \\ -x"} {
		path := filepath.Join(srv.Dir, name)
		put(t, s, path, content(3<<20))
		wantHashes(t, s, path, content(3<<20), "SHA-256")
	}
	chrooted := transfertest.SSHD(t, transfertest.SSHDOptions{ForceCommand: "internal-sftp"})
	s = dial(t, sshdOptions(chrooted, func(o *Options) { o.Shell = true }))
	put(t, s, "f", content(1000))
	_, err := s.Extras().Hash(t.Context(), "f", -1)
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "hash", Cause: policy.CauseNoHash})
}

// TestRateLimitIsAsked: before every byte, and its error ends the transfer.
func TestRateLimitIsAsked(t *testing.T) {
	s := dialLab(t, startLab(t, lab.SFTPConfig{}))
	for _, size := range []int{1000, 9 << 20} {
		var mu sync.Mutex
		var asked int
		limit := func(_ context.Context, n int) error {
			mu.Lock()
			defer mu.Unlock()
			asked += n
			return nil
		}
		src := sourceOf(content(size))
		src.Wait = limit
		if _, err := s.Put(t.Context(), "f", 0, src); err != nil || asked != size {
			t.Errorf("put: asked for %d of %d, %v", asked, size, err)
		}
		asked = 0
		if _, err := s.Get(t.Context(), "f", 0, transfer.Sink{W: io.Discard, Size: int64(size), Wait: limit}); err != nil || asked != size {
			t.Errorf("get: asked for %d of %d, %v", asked, size, err)
		}
		enough := errors.New("enough")
		src = sourceOf(content(size))
		src.Wait = func(context.Context, int) error { return enough }
		if n, err := s.Put(t.Context(), "f", 0, src); !errors.Is(err, enough) || n != 0 {
			t.Errorf("put: %d, %v", n, err)
		}
		sink := transfer.Sink{W: io.Discard, Size: int64(size), Wait: src.Wait}
		put(t, s, "f", content(size))
		if n, err := s.Get(t.Context(), "f", 0, sink); !errors.Is(err, enough) || n != 0 {
			t.Errorf("get: %d, %v", n, err)
		}
	}
}
