package batch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// web is a receiver of hooks, without a network: the clock is the test's.
type web struct {
	answers []int // the last one again and again; 0 is a reset connection, -1 anything else
	got     []string
	ids     []string
}

func (w *web) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	w.got = append(w.got, string(body))
	w.ids = append(w.ids, req.Header.Get("Idempotency-Key"))
	status := w.answers[min(len(w.got), len(w.answers))-1]
	if status == 0 {
		return nil, &net.OpError{Op: "read", Err: io.EOF}
	}
	if status < 0 {
		return nil, errors.New("something that nobody knows")
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: req, Body: io.NopCloser(strings.NewReader("")),
		Header: http.Header{"Location": {"http://elsewhere.example/"}},
	}, nil
}

// TestWebhook: what may pass is repeated by the engine, with the same message and
// id; what is said for good is not. The URL is not repeated.
func TestWebhook(t *testing.T) {
	const url = "https://user:hunter2@hooks.example/hunter2?key=hunter2"
	tests := []struct {
		name    string
		answers []int
		posts   int
		rule    policy.Cause // "" for success
	}{
		{"accepted", []int{204}, 1, ""},
		{"busy, then accepted", []int{503, 429, 200}, 3, ""},
		{"reset, then accepted", []int{0, 200}, 2, ""},
		{"always busy", []int{500}, policy.DefaultLimits().Tries, policy.CauseHookBusy},
		{"nobody knows what", []int{-1}, policy.DefaultLimits().Tries, "no-reply-connect"},
		{"gone", []int{404}, 1, policy.CauseHookRefused},
		{"not implemented", []int{501}, 1, policy.CauseHookRefused},
		{"redirected", []int{302}, 1, policy.CauseHookRefused},
		{"unauthorised", []int{401}, 1, policy.CauseHookRefused},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			w := &web{answers: tt.answers}
			said := ""
			engine := &policy.Engine{Limits: policy.DefaultLimits(), Observe: func(ev policy.Event) { said += ev.Op + ev.Fault.Error() }}
			hook := Hook{URL: url, Timeout: 10 * time.Second, Client: &http.Client{Transport: w}}
			err := hook.Tell(t.Context(), engine, "id-1", []byte("message"))
			if len(w.got) != tt.posts {
				t.Errorf("%s: %d posts, want %d", tt.name, len(w.got), tt.posts)
			}
			for i := range w.got {
				if w.got[i] != "message" || w.ids[i] != "id-1" {
					t.Errorf("%s: got %q with id %q", tt.name, w.got[i], w.ids[i])
				}
			}
			g, failed := errors.AsType[*policy.GaveUp](err)
			if failed != (tt.rule != "") || failed && g.Verdict.Rule != string(tt.rule) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if failed {
				said += g.Error() + g.Verdict.Head + g.Verdict.Next + g.Last.Error()
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("%s: the URL is told: %s", tt.name, said)
			}
		})
	}
}

// TestWebhookURL: a URL that can't be one is not repeated either.
func TestWebhookURL(t *testing.T) {
	for _, url := range []string{"", "hunter2", "ftp://hunter2/", "https://\x7fhunter2", "https:hunter2"} {
		err := Hook{URL: url}.Tell(t.Context(), &policy.Engine{}, "", nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestHookCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a POSIX shell")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "got")
	tests := []struct {
		name    string
		command []string
		cause   policy.Cause // "" for success
	}{
		{"gets the message, and its arguments as they are", []string{"sh", "-c", `cat > "$1"; printf %s "$2" >> "$1"`, "sh", file, "$(date) *"}, ""},
		{"fails", []string{"sh", "-c", "exit 3"}, policy.CauseHookFailed},
		{"does not read", []string{"true"}, ""},
		{"hangs, and its child too", []string{"sh", "-c", "(sleep 10; touch \"$0\") & sleep 10", filepath.Join(dir, "over")}, policy.CauseHookFailed},
		{"is missing", []string{filepath.Join(dir, "nothing")}, policy.CauseLocalMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			timeout := 30 * time.Second
			if strings.HasPrefix(tt.name, "hangs") {
				timeout = 50 * time.Millisecond
			}
			err := Hook{Command: tt.command, Timeout: timeout, Output: io.Discard, Env: os.Environ()}.Tell(context.Background(), nil, "", []byte("message "))
			g, failed := errors.AsType[*policy.GaveUp](err)
			if failed != (tt.cause != "") || failed && g.Last.Cause != tt.cause {
				t.Fatalf("%v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, "over")); err == nil {
				t.Error("it was waited for")
			}
			if strings.HasPrefix(tt.name, "gets") {
				if got, err := os.ReadFile(file); err != nil || string(got) != "message $(date) *" {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
}
