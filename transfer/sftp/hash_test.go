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

	"golang.org/x/crypto/ssh"

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

// TestHashesAtOnce: programs have channels of their own, however many are asked for
// and few are allowed.
func TestHashesAtOnce(t *testing.T) {
	for _, sessions := range []int{10, 3, 2} {
		srv := transfertest.SSHD(t, transfertest.SSHDOptions{MaxSessions: sessions})
		s := dial(t, sshdOptions(srv, func(o *Options) { o.Shell, o.Need = true, 9<<20 }))
		path := filepath.Join(srv.Dir, "f")
		put(t, s, path, content(9<<20)) // takes all the channels that there are
		var all sync.WaitGroup
		for range 3 * sessions / 2 {
			all.Go(func() {
				digest, err := s.Extras().Hash(t.Context(), path, -1)
				f := &policy.Fault{}
				// sshd may still be busy with the end of the channel that made room.
				if want := sha256.Sum256(content(9 << 20)); err == nil && !bytes.Equal(digest.Sum, want[:]) || err != nil && !(errors.As(err, &f) && f.Cause == policy.CauseChannel) {
					t.Errorf("%d sessions: %x, %v", sessions, digest.Sum, err)
				}
			})
		}
		all.Wait()
		wantHashes(t, s, path, content(9<<20), "SHA-256")
		if refused := s.Extras().Facts()[noAbility+execHash]; refused.Value != "" {
			t.Errorf("%d sessions: learned %v", sessions, refused)
		}
	}
}

// TestExitOf: a program that ended is told from a channel that did.
func TestExitOf(t *testing.T) {
	exit := func(status byte) *ssh.Request {
		return &ssh.Request{Type: "exit-status", Payload: []byte{0, 0, 0, status}}
	}
	for _, tt := range []struct {
		told []*ssh.Request
		lost bool
		want string
	}{
		{nil, true, ""},
		{[]*ssh.Request{{Type: "other"}}, true, ""},
		{[]*ssh.Request{exit(0)}, false, ""},
		{[]*ssh.Request{exit(127)}, false, "exit status 127"},
		{[]*ssh.Request{{Type: "exit-signal", Payload: []byte("\x00\x00\x00\x04KILL")}}, false, "ended by signal KILL"},
	} {
		requests := make(chan *ssh.Request, len(tt.told))
		for _, r := range tt.told {
			requests <- r
		}
		close(requests)
		err := exitOf(requests)
		if isLost(err) != tt.lost || !tt.lost && tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%v: %v", tt.told, err)
		}
	}
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
