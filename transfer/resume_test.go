package transfer

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// anyOther gives other content of n bytes.
func anyOther(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }

// TestPutThatNeverBegan: a try that failed before a byte was sent has not made what
// is at the target ours; the next one decides anew.
func TestPutThatNeverBegan(t *testing.T) {
	content := random(4_000_000)
	for _, tt := range []struct {
		name  string
		job   Job
		there func(temp string) string
	}{
		{"a part of something else", Job{}, func(temp string) string { return temp }},
		{"no resume", Job{NoResume: true}, func(temp string) string { return temp }},
		{"in place", Job{InPlace: true}, func(string) string { return "big" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				src := b.write("big", content)
				s, err := openSource(Job{Local: src})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
				b.server.files[tt.there(tempName("big", s.identity()))] = anyOther(2_500_000)
				b.server.fault = failing(2, "put", func(p string) error { return reset(policy.Data, "EPSV", p) })
				tt.job.Local, tt.job.Remote = src, "big"
				res, err := b.put(tt.job)
				if err != nil || res.Tries != 3 || res.Resumed != 0 {
					b.Errorf("%d tries, resumed at %d: %v", res.Tries, res.Resumed, err)
				}
				b.wantOnly(map[string]string{"big": string(content)})
			})
		})
	}
}

// TestRelayThatNeverBegan is the same between two servers.
func TestRelayThatNeverBegan(t *testing.T) {
	content := random(4_000_000)
	for _, inPlace := range []bool{false, true} {
		onBench(t, func(b *bench) {
			from := newMemServer()
			from.files["a"] = content
			source := NewLink(Location{Scheme: SchemeFTP, Host: "source", Port: 21}, from.dial, ModeAuto, nil)
			there := "a"
			if !inPlace {
				there = tempName("a", (&relaySource{link: source, path: "a", info: Info{Size: int64(len(content))}}).identity())
			}
			b.server.files[there] = anyOther(2_500_000)
			b.server.fault = failing(2, "put", func(p string) error { return reset(policy.Data, "EPSV", p) })
			res, err := Relay(b.Context(), source, "a", b.link, Job{Remote: "a", Local: "a", InPlace: inPlace}, b.engine, Observer{})
			if err != nil || res.Tries != 3 || res.Resumed != 0 {
				b.Errorf("%d tries, resumed at %d: %v", res.Tries, res.Resumed, err)
			}
			b.wantOnly(map[string]string{"a": string(content)})
		})
	}
}

// TestGetThatNeverCompared: a part that an earlier run left is compared before it is
// continued, also if the connection breaks in the middle of that.
func TestGetThatNeverCompared(t *testing.T) {
	content := random(3_000_000)
	for _, cut := range []int64{0, 1000} {
		onBench(t, func(b *bench) {
			b.server.files["a"] = content
			part := b.breakGet()
			if err := os.WriteFile(part, anyOther(2_000_000), 0o644); err != nil {
				b.Fatal(err)
			}
			b.engine.Limits.Tries = 4
			b.server.cut = cuts("get", cut)
			if _, err := b.get(Job{Remote: "a", Local: b.local("a")}); err != nil {
				b.Fatal(err)
			}
			b.wantLocal(map[string]string{"a": string(content)})
		})
	}
}

// TestPutBegins: the look for a part is the session's where that makes the file at
// once, with its mode; a later try asks what has arrived.
func TestPutBegins(t *testing.T) {
	content := random(4_000_000)
	onBench(t, func(b *bench) {
		var begun []string
		b.server.extras.Begin = func(ctx context.Context, path string, mode fs.FileMode) (Info, error) {
			begun = append(begun, fmt.Sprintf("%s %o", path, mode))
			_, there := b.server.files[path]
			b.server.files[path] = append([]byte{}, b.server.files[path]...)
			if !there {
				return Info{}, missing("STAT", path)
			}
			return Info{Size: int64(len(b.server.files[path]))}, nil
		}
		src := b.write("big", content)
		b.server.cut = cuts("put", 3_000_000)
		res, err := b.put(Job{Local: src, Remote: "big", Mode: 0o440})
		if err != nil || res.Tries != 2 || res.Resumed != 3_000_000 {
			b.Errorf("%d tries, resumed at %d: %v", res.Tries, res.Resumed, err)
		}
		if len(begun) != 1 || !strings.HasSuffix(begun[0], ".part 640") {
			b.Errorf("begun: %q", begun)
		}
		b.wantOnly(map[string]string{"big": string(content)})

		// Where nothing can be continued, nothing is looked for.
		for _, job := range []Job{{NoResume: true}, {InPlace: true}} {
			job.Local, job.Remote = src, "big"
			if _, err := b.put(job); err != nil {
				b.Error(err)
			}
		}
		job := Job{Local: b.write("small", []byte("x")), Remote: "small"}
		if _, err := b.put(job); err != nil || len(begun) != 1 {
			b.Errorf("begun: %q, %v", begun, err)
		}
	})
}

// TestPartTooLong: a part that is longer than the file is none of it.
func TestPartTooLong(t *testing.T) {
	content := random(3_000_000)
	longer := append(bytes.Clone(content), "more"...)
	onBench(t, func(b *bench) {
		src := b.write("a", content)
		s, err := openSource(Job{Local: src})
		if err != nil {
			b.Fatal(err)
		}
		s.Close()
		b.server.files[tempName("a", s.identity())] = longer
		if _, err := b.put(Job{Local: src, Remote: "a"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": string(content)})
	})
	onBench(t, func(b *bench) {
		b.server.files["a"] = content
		b.engine.Limits.Tries = 1
		b.server.cut = cuts("get", 2_000_000)
		if _, err := b.get(Job{Remote: "a", Local: b.local("a")}); err == nil {
			b.Fatal("the cut did not happen")
		}
		parts, _ := filepath.Glob(b.local(".a.xfer-*.part"))
		if len(parts) != 1 {
			b.Fatalf("parts: %v", parts)
		}
		if err := os.WriteFile(parts[0], longer, 0o644); err != nil {
			b.Fatal(err)
		}
		if _, err := b.get(Job{Remote: "a", Local: b.local("a")}); err != nil {
			b.Fatal(err)
		}
		b.wantLocal(map[string]string{"a": string(content)})
	})
}

// TestRelayOfAChangingSource: what was sent may be a mixture of two versions, also
// if their sizes are the same.
func TestRelayOfAChangingSource(t *testing.T) {
	onBench(t, func(b *bench) {
		from := newMemServer()
		from.files["a"], from.times["a"] = []byte("one"), time.Unix(1_700_000_000, 0)
		from.after = func(op, _ string) error {
			if op == "get" {
				from.files["a"], from.times["a"] = []byte("two"), time.Unix(1_700_000_001, 0)
			}
			return nil
		}
		source := NewLink(Location{Scheme: SchemeFTP, Host: "source", Port: 21}, from.dial, ModeAuto, nil)
		_, err := Relay(b.Context(), source, "a", b.link, Job{Remote: "a", Local: "a"}, b.engine, Observer{})
		if err == nil || policy.FaultOf(err).Cause != policy.CauseRemoteChanged {
			b.Errorf("%v", err)
		}
		b.wantOnly(nil)
	})
}

// TestRelayDoesNotContinueSomethingElse: a part is compared with the source before
// it is continued.
func TestRelayDoesNotContinueSomethingElse(t *testing.T) {
	content := random(4_000_000)
	for _, part := range [][]byte{anyOther(2_500_000), content[:2_500_000]} {
		onBench(t, func(b *bench) {
			from := newMemServer()
			from.files["a"] = content
			source := NewLink(Location{Scheme: SchemeFTP, Host: "source", Port: 21}, from.dial, ModeAuto, nil)
			info := Info{Size: int64(len(content))}
			b.server.files[tempName("a", (&relaySource{link: source, path: "a", info: info}).identity())] = part
			res, err := Relay(b.Context(), source, "a", b.link, Job{Remote: "a", Local: "a"}, b.engine, Observer{})
			if err != nil || (res.Resumed > 0) != (part[0] == content[0]) {
				b.Errorf("resumed at %d: %v", res.Resumed, err)
			}
			b.wantOnly(map[string]string{"a": string(content)})
		})
	}
}
