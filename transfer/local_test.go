package transfer

import (
	"os"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
)

// TestLockedNamesTheTarget: not the lock, and not the temporary file.
func TestLockedNamesTheTarget(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.files["a"] = []byte("x")
		locked := func(key string) (func(), error) {
			return nil, &policy.Fault{Protocol: policy.Local, Op: "lock", Path: key, Cause: policy.CauseLocalLocked}
		}
		_, err := b.put(Job{Local: b.write("s", nil), Remote: "in/a", Lock: locked})
		if got := wantKind(b.T, err, policy.KindTemporary).Last.Path; !strings.HasSuffix(got, "server/in/a") {
			b.Errorf("put: %s", got)
		}
		_, err = b.get(Job{Local: b.local("t"), Remote: "a", Lock: locked})
		if got := wantKind(b.T, err, policy.KindTemporary).Last.Path; got != b.local("t") {
			b.Errorf("get: %s", got)
		}
	})
}

// TestInterruptedInPlace: half a file in its place is not the file, whatever is to
// be done with those that exist.
func TestInterruptedInPlace(t *testing.T) {
	const whole, half, other = "the whole content", "the who", "something else, and longer"
	noRename := Facts{factNoRename: {Value: "refused", Reason: "502"}}
	for _, c := range []struct {
		name     string
		known    Facts
		inPlace  bool
		onExists OnExists
		there    string
		written  bool
	}{
		{"skip, in place", nil, true, Skip, half, true},
		{"newer, in place", nil, true, Newer, half, true},
		{"skip, learned", noRename, false, Skip, half, true},
		{"skip, whole", nil, true, Skip, whole, false},
		{"skip, larger", nil, true, Skip, other, false},
		{"newer, whole", noRename, false, Newer, whole, false},
		{"fail", nil, true, Fail, half, false},
		{"skip, by rename", nil, false, Skip, half, false},
	} {
		onBench(t, func(b *bench) {
			src := b.write("a", []byte(whole))
			info, err := os.Stat(src)
			if err != nil {
				b.Fatal(err)
			}
			b.anew(c.known)
			b.server.files["a"], b.server.times["a"] = []byte(c.there), info.ModTime()
			res, err := b.put(Job{Local: src, Remote: "a", InPlace: c.inPlace, OnExists: c.onExists})
			want := c.there
			if c.written {
				want = whole
			}
			if (err != nil) != (c.onExists == Fail) || (len(res.Warnings) > 0) != c.written || (res.Skipped != "") != (!c.written && err == nil) {
				b.Errorf("%s: put: %+v, %v", c.name, res, err)
			}
			b.wantOnly(map[string]string{"a": want})

			if c.known != nil {
				return // it is about the server
			}
			b.server.files["b"], b.server.times["b"] = []byte(whole), info.ModTime()
			target := b.write("b", []byte(c.there))
			if err := os.Chtimes(target, info.ModTime(), info.ModTime()); err != nil {
				b.Fatal(err)
			}
			res, err = b.get(Job{Local: target, Remote: "b", InPlace: c.inPlace, OnExists: c.onExists})
			if (err != nil) != (c.onExists == Fail) || (len(res.Warnings) > 0) != c.written {
				b.Errorf("%s: get: %+v, %v", c.name, res, err)
			}
			b.wantLocal(map[string]string{"a": whole, "b": want})
		})
	}
}
