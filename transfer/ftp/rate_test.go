package ftp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// TestWait: a rate limit is asked before each piece, up and down, of files and of
// streams, with and without TLS; its error ends the transfer and not the session.
func TestWait(t *testing.T) {
	const size = 300_001
	content := pattern(size)
	for _, kind := range []lab.Security{lab.Plain, lab.Explicit} {
		root := t.TempDir()
		store(t, root, "file", content)
		s := dial(t, start(t, lab.FTPConfig{Root: root, TLS: kind}))
		sources := map[string]io.Reader{
			"file": localFile(t, content), "bytes": bytes.NewReader(content), "stream": io.MultiReader(bytes.NewReader(content)),
		}
		moves := map[string]func(ctx context.Context, wait func(context.Context, int) error) error{
			"get a file": func(ctx context.Context, wait func(context.Context, int) error) error {
				_, err := s.Get(ctx, "file", 0, transfer.Sink{W: localFile(t, nil), Size: size, Wait: wait})
				return err
			},
			"get a stream": func(ctx context.Context, wait func(context.Context, int) error) error {
				_, err := s.Get(ctx, "file", 0, transfer.Sink{W: io.Discard, Size: size, Wait: wait})
				return err
			},
		}
		for name, r := range sources {
			moves["put "+name] = func(ctx context.Context, wait func(context.Context, int) error) error {
				if at, ok := r.(io.Seeker); ok {
					_, _ = at.Seek(0, io.SeekStart)
				} else {
					r = io.MultiReader(bytes.NewReader(content))
				}
				_, err := s.Put(ctx, "up", 0, transfer.Source{R: r, Size: size, Wait: wait})
				return err
			}
		}
		for name, move := range moves {
			t.Run(name, func(t *testing.T) {
				asked, largest := 0, 0
				err := move(t.Context(), func(_ context.Context, n int) error {
					asked, largest = asked+n, max(largest, n)
					return nil
				})
				if err != nil || asked != size || largest > 16<<10 {
					t.Errorf("asked for %d bytes of %d, at most %d at once: %v", asked, size, largest, err)
				}

				broken := errors.New("no more")
				err = move(t.Context(), func(context.Context, int) error { return broken })
				if f := faultOf(t, err); f.Protocol != policy.Local || !errors.Is(err, broken) {
					t.Errorf("%+v", f)
				}

				ctx, cancel := context.WithCancel(t.Context())
				err = move(ctx, func(ctx context.Context, _ int) error {
					cancel()
					<-ctx.Done()
					return ctx.Err()
				})
				if f := faultOf(t, err); f.Cause != policy.CauseCancelled {
					t.Errorf("%+v", f)
				}
				if s.Alive() {
					works(t, s)
				} else {
					s = dial(t, start(t, lab.FTPConfig{Root: root, TLS: kind}))
				}
			})
		}
	}
}

// TestWaitRefused: an upload that the server refuses is not waited for.
func TestWaitRefused(t *testing.T) {
	srv := start(t, lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.During, After: 1000, Do: lab.Reply(552, "Quota exceeded.")}}})
	s := dial(t, srv)
	waits := 0
	_, err := s.Put(t.Context(), "file", 0, transfer.Source{R: bytes.NewReader(pattern(100_000)), Size: 100_000, Wait: func(ctx context.Context, _ int) error {
		if waits++; waits > 1 {
			<-ctx.Done() // the next block's turn would be in an hour
			return ctx.Err()
		}
		return nil
	}})
	is(t, err, "STOR", policy.Data, 552, "")
	works(t, s)
}
