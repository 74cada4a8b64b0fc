package batch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// Hook is who is to be told of something: a program, or a web server.
type Hook struct {
	// Command is a program and its arguments. It is not given to a shell, and
	// gets the message on its stdin.
	Command []string
	// URL gets the message by POST. It may hold a secret: nothing here repeats
	// more of it than scheme and host.
	URL string
	// Timeout is what the program, or one POST, may take.
	Timeout time.Duration
	// Env is the program's environment, Output gets what it writes.
	Env    []string
	Output io.Writer
	// Client is for the URL.
	Client *http.Client
}

// Tell sends a JSON message. A POST that may work later is repeated by e, a
// program is not: nobody knows how far it came. id is the same for every
// repetition of one message, so that a receiver can tell it from a new one.
// The error is a *policy.GaveUp.
func (h Hook) Tell(ctx context.Context, e *policy.Engine, id string, message []byte) error {
	if len(h.Command) > 0 {
		if f := h.run(ctx, message); f != nil {
			return policy.GiveUpOn("hook "+policy.Sanitize(filepath.Base(h.Command[0])), f)
		}
		return nil
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		// The error would repeat the URL.
		return policy.GiveUpOn("hook", &policy.Fault{Protocol: policy.Net, Op: "post", Cause: policy.CauseHookRefused, Text: "not an http(s) URL"})
	}
	return e.Do(ctx, policy.Op{
		Name:      "hook " + u.Scheme + "://" + policy.Sanitize(u.Host),
		Try:       func(ctx context.Context) error { return h.post(ctx, u, id, message) },
		Reconnect: func(context.Context) error { return nil }, // every POST may connect anew
	})
}

// run starts the program.
func (h Hook) run(ctx context.Context, message []byte) *policy.Fault {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = bytes.NewReader(message), h.Output, h.Output, h.Env
	endAll(cmd)
	cmd.WaitDelay = time.Second // what left its group may keep its output open
	err := cmd.Run()
	if err == nil {
		return nil
	}
	f := policy.LocalFault("run", h.Command[0], err)
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil && context.Cause(ctx) == context.DeadlineExceeded:
		f.Cause, f.Text = policy.CauseHookFailed, "not over after "+h.Timeout.String()
	case exited:
		f.Cause, f.Text = policy.CauseHookFailed, exit.String()
	}
	return f
}

func (h Hook) post(ctx context.Context, u *url.URL, id string, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	fault := &policy.Fault{Protocol: policy.Net, Phase: policy.Command, Op: "post", Host: policy.Sanitize(u.Hostname())}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(message))
	if err != nil {
		fault.Cause = policy.CauseHookRefused
		return fault
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	client := *h.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // it names the URL
		}
		fault.Cause, fault.Phase, fault.Err = policy.NetCause(err), policy.Connect, err
		return fault
	}
	defer resp.Body.Close() // nothing is owed to it
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil
	}
	fault.Cause, fault.Text = policy.CauseHookRefused, "HTTP "+policy.Sanitize(resp.Status)
	if isPassing(resp.StatusCode) {
		fault.Cause = policy.CauseHookBusy
	}
	return fault
}

// isPassing says whether an HTTP status is one that may be another one later
// (RFC 9110 §15.5.9, §15.6; RFC 8470 §5.2; RFC 6585 §4).
func isPassing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return status >= 500
}
