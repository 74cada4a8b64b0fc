package sftp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// greetingFacts are those of a server that need not greet first.
func greetingFacts(extensions ...string) transfer.Facts {
	return transfer.Facts{
		factPipelining: {Value: pipeliningWorks, At: time.Now()},
		factExtensions: {Value: cmp.Or(strings.Join(extensions, " "), noExtensions), At: time.Now()},
	}
}

func withFacts(f transfer.Facts) func(*Options) {
	return func(o *Options) { o.Facts, o.Early = f, true }
}

// TestForetold: the library has its greeting at once, the real one counts when it
// comes, and what is in its place is told as ever.
func TestForetold(t *testing.T) {
	greeting := packet(fxpVersion, 3, request(nil).string("a@x").string("1").string("c@x").string("2"))
	tests := map[string]struct {
		server []byte
		want   error
		offers []string
	}{
		"as foretold": {packet(fxpVersion, 3, request(nil).string("a@x").string("9").string("b@x").string("")), io.EOF, []string{"a@x", "b@x"}},
		"another one": {greeting, io.EOF, []string{"a@x", "c@x"}},
		"none":        {version, io.EOF, nil},
		"version 6":   {packet(fxpVersion, 6, nil), errMalformed, nil},
		"cut off":     {packet(fxpVersion, 3, request(nil).string("a@x").uint32(7)), errMalformed, []string{"a@x"}},
		"text":        {[]byte("Welcome to the server\r\n"), errNotSFTP, []string{"a@x", "b@x"}},
		"an answer":   {packet(fxpStatus, ownIDs, statusBody(0, "")), errNotSFTP, []string{"a@x", "b@x"}},
		"silence":     {nil, io.EOF, []string{"a@x", "b@x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tap, _ := tapOn(slices.Concat(tt.server, packet(fxpStatus, ownIDs, statusBody(0, ""))))
			if len(tt.server) == 0 {
				tap, _ = tapOn(nil)
			}
			tap.foretell([]string{"a@x", "b@x"})
			answer := tap.start(newRequest(fxpRemove), nil)
			got, err := drain(tap)
			if err != tt.want && !errors.Is(err, tt.want) {
				t.Errorf("ended with %v, want %v", err, tt.want)
			}
			foretold := packet(fxpVersion, 3, request(nil).string("a@x").string("").string("b@x").string(""))
			if len(got) != 1 || !slices.Equal(got[0], foretold) {
				t.Errorf("the library got %q, want only %q", got, foretold)
			}
			if e := *tap.extensions.Load(); !slices.Equal(e, tt.offers) {
				t.Errorf("extensions %q, want %q", e, tt.offers)
			}
			<-answer.done
			if worked := tt.want == io.EOF && len(tt.server) > 0; (answer.ok() == nil) != worked || tap.answered.Load() != worked {
				t.Errorf("answered %v, want %v", tap.answered.Load(), worked)
			}
		})
	}
}

// TestGreetingIsLearned: a large file shows that requests may follow the greeting at
// once; then the next session does not wait for it.
func TestGreetingIsLearned(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{})
	first := dialLab(t, srv)
	facts := first.Extras().Facts()
	if v := facts[factExtensions].Value; v != strings.Join(lab.OpenSSHExtensions, " ") {
		t.Errorf("extensions: %q", v)
	}
	if foretold(facts) != nil {
		t.Error("nothing has shown that the greeting need not be waited for")
	}
	put(t, first, "/f", content(9<<20))
	facts = first.Extras().Facts()
	if !slices.Equal(foretold(facts), lab.OpenSSHExtensions) {
		t.Fatalf("foretold %q by %v", foretold(facts), facts)
	}
	second := dialLab(t, srv, withFacts(facts))
	if !second.control.tap.foretold || second.Extras().Replace == nil {
		t.Error("the second session waited, or knows of no extensions")
	}
	sameBytes(t, "get", get(t, second, "/f"), content(9<<20))
	if again := second.Extras().Facts(); again[factPipelining].Value != "" || again[factExtensions].Value != facts[factExtensions].Value {
		t.Errorf("learned %v", again)
	}
}

// TestGreetingIsNotAwaited: the server stalls with its greeting, and only who does
// not need it has a session. What comes of it is remembered.
func TestGreetingIsNotAwaited(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "INIT", Times: 2, Do: lab.Stall()}}})
	facts := greetingFacts(lab.OpenSSHExtensions...)
	s := dialLab(t, srv, withFacts(facts), withSilence(time.Second))
	if learned := s.Extras().Facts(); learned[factPipelining].Value != "" {
		t.Errorf("learned %v before anything was asked", learned)
	}
	_, err := s.Stat(t.Context(), "/")
	wantFault(t, err, policy.Fault{Phase: policy.Command, Op: "stat", Cause: policy.CauseTimeout})
	learned := s.Extras().Facts()
	if learned[factPipelining].Value != pipeliningDropped {
		t.Errorf("learned %v", learned)
	}
	if foretold(learned) != nil {
		t.Error("the next session would not wait either")
	}
	if _, err := Dial(t.Context(), labOptions(srv, withFacts(learned), withSilence(time.Second))); err == nil {
		t.Error("a session without a greeting")
	}
	// The third INIT is answered.
	if _, err := dialLab(t, srv, withFacts(learned)).Stat(t.Context(), "/"); err != nil {
		t.Error(err)
	}
}

// TestNothingIsChangedBeforeTheGreeting: nobody knows yet what is at the other end. Only
// a temporary file may be begun.
func TestNothingIsChangedBeforeTheGreeting(t *testing.T) {
	temporary := sourceOf(content(10))
	temporary.Temporary = true
	for name, change := range map[string]func(ctx context.Context, s *session) error{
		"remove":  func(ctx context.Context, s *session) error { return s.Remove(ctx, "/f") },
		"rename":  func(ctx context.Context, s *session) error { return s.Rename(ctx, "/f", "/g") },
		"replace": func(ctx context.Context, s *session) error { return s.Extras().Replace(ctx, "/f", "/g") },
		"mkdir":   func(ctx context.Context, s *session) error { return s.Mkdir(ctx, "/d") },
		"rmdir":   func(ctx context.Context, s *session) error { return s.Rmdir(ctx, "/d") },
		"chmod":   func(ctx context.Context, s *session) error { return s.Extras().Chmod(ctx, "/f", 0o600) },
		"mtime": func(ctx context.Context, s *session) error {
			return s.Extras().SetModTime(ctx, "/f", time.Unix(1e9, 0))
		},
		"symlink": func(ctx context.Context, s *session) error { return s.Extras().Symlink(ctx, "f", "/l") },
		"put": func(ctx context.Context, s *session) error {
			_, err := s.Put(ctx, "/f", 0, sourceOf(content(10)))
			return err
		},
		"put of a temporary file": func(ctx context.Context, s *session) error { _, err := s.Put(ctx, "/f", 0, temporary); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "INIT", Do: lab.Wait(300 * time.Millisecond).Then(lab.Drop(lab.FIN))}}})
			s := dialLab(t, srv, withFacts(greetingFacts("posix-rename@openssh.com"))) // asks for no limits
			before := s.conn.moved.Load()
			if err := change(t.Context(), s); err == nil {
				t.Error("no error")
			}
			sent := s.conn.moved.Load() - before // nothing comes
			if (sent > 0) != (name == "put of a temporary file") {
				t.Errorf("%d bytes were sent before the greeting", sent)
			}
		})
	}
}

// TestGreetingHasChanged: what a server offers no more is not used.
func TestGreetingHasChanged(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Quirks: lab.Quirks{Extensions: []string{"fsync@openssh.com"}}})
	s := dialLab(t, srv, withFacts(greetingFacts("posix-rename@openssh.com", "statvfs@openssh.com")))
	if _, err := s.Stat(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	if x := s.Extras(); x.Replace != nil || x.Space != nil {
		t.Error("it still offers what was remembered")
	}
	if v := s.Extras().Facts()[factExtensions].Value; v != "fsync@openssh.com" {
		t.Errorf("remembered %q", v)
	}
	put(t, s, "/f", content(100))
}

// TestLeavingTeachesNothing: a session that we end before anything was answered.
func TestLeavingTeachesNothing(t *testing.T) {
	srv := startLab(t, lab.SFTPConfig{Script: []lab.Rule{{On: "INIT", Do: lab.Stall()}}})
	s := dialLab(t, srv, withFacts(greetingFacts()))
	_ = s.Close()
	soon(t, s, "the end of the channel", func() bool { return s.control.tap.failed() != nil })
	if f := s.Extras().Facts()[factPipelining]; f.Value != "" {
		t.Errorf("learned %v", f)
	}
}

// TestExtensionsToRemember: names that would not come back out of a fact as they are.
func TestExtensionsToRemember(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  bool
	}{
		{nil, true}, {[]string{"a@x", "b@y"}, true}, {make([]string, 65), false}, {[]string{""}, false},
		{[]string{"a b"}, false}, {[]string{"a\n"}, false}, {[]string{"é"}, false}, {[]string{strings.Repeat("x", 65)}, false},
	} {
		if got := canRemember(tt.names); got != tt.want {
			t.Errorf("%q: %v", tt.names, got)
		}
	}
}
