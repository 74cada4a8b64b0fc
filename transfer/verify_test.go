package transfer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// hashing makes the server compute checksums with this algorithm.
func (m *memServer) hashing(algorithm string) {
	m.extras.Hash = func(_ context.Context, path string, n int64) (Digest, error) {
		m.calls = append(m.calls, fmt.Sprintf("hash %s %d", path, n))
		data := m.files[path]
		if n >= 0 {
			data = data[:n]
		}
		h, _ := NewHash(algorithm)
		_, _ = h.Write(data)
		return Digest{Algorithm: algorithm, Sum: h.Sum(nil)}, nil
	}
}

// spoiling changes one byte of what arrives with the first n calls of op.
func (m *memServer) spoiling(n int, op string) {
	m.after = func(o, path string) error {
		if o == op && n > 0 {
			n--
			m.files[path][len(m.files[path])/2] ^= 1
		}
		return nil
	}
}

// TestVerifyPut: what has the right size and another content never gets the
// final name, and is not continued either.
func TestVerifyPut(t *testing.T) {
	content := string(random(2_000_000))
	for _, test := range []struct {
		name    string
		job     Job
		hash    string // of the server
		spoiled int
		kind    policy.Kind
		puts    int
		done    string // Result.Verified
	}{
		{"size only", Job{}, "", 0, policy.KindOK, 1, ""},
		{"by hash", Job{Verify: VerifyHash}, "SHA-512", 0, policy.KindOK, 1, "SHA-512"},
		{"by hash, spoiled once", Job{Verify: VerifyHash}, "MD5", 1, policy.KindOK, 2, "MD5"},
		{"by hash, spoiled always", Job{Verify: VerifyHash}, "SHA-256", 9, policy.KindContent, 2, ""},
		{"by hash, the server has none", Job{Verify: VerifyHash}, "", 0, policy.KindRefused, 0, ""},
		{"read back", Job{Verify: VerifyReadback}, "", 0, policy.KindOK, 1, "SHA-256"},
		{"read back, spoiled once", Job{Verify: VerifyReadback}, "", 1, policy.KindOK, 2, "SHA-256"},
		{"read back, spoiled always", Job{Verify: VerifyReadback}, "CRC32", 9, policy.KindContent, 2, ""},
		{"in place, spoiled once", Job{Verify: VerifyHash, InPlace: true}, "SHA-1", 1, policy.KindOK, 2, "SHA-1"},
		{"a stream", Job{Verify: VerifyHash, In: strings.NewReader(content)}, "CRC32", 0, policy.KindOK, 1, "CRC32"},
		{"a stream, read back", Job{Verify: VerifyReadback, In: strings.NewReader(content)}, "", 0, policy.KindOK, 1, "SHA-256"},
		{"a stream, spoiled", Job{Verify: VerifyHash, In: strings.NewReader(content)}, "SHA-1", 1, policy.KindLocal, 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.server.files["a"] = []byte("old")
				if test.hash != "" {
					b.server.hashing(test.hash)
				}
				b.server.spoiling(test.spoiled, "put")
				test.job.Local, test.job.Remote = b.write("a", []byte(content)), "a"
				res, err := b.put(test.job)
				want := "old"
				if test.kind == policy.KindOK {
					want = content
					if err != nil {
						b.Error(err)
					}
				} else {
					wantKind(b.T, err, test.kind)
				}
				b.wantOnly(map[string]string{"a": want})
				if n := b.server.count("put"); n != test.puts {
					b.Errorf("%d uploads, want %d", n, test.puts)
				}
				if removed := b.server.count("remove ") > 0; removed != (test.spoiled > 0 && !test.job.InPlace) {
					b.Errorf("the part was removed: %t", removed)
				}
				if err == nil && res.Verified != test.done {
					b.Errorf("verified by %q, want %q", res.Verified, test.done)
				}
			})
		})
	}
}

// TestVerifyAfterALostReply: the look at the size is not the end of it.
func TestVerifyAfterALostReply(t *testing.T) {
	content := string(random(2_000_000))
	onBench(t, func(b *bench) {
		b.server.hashing("SHA-256")
		b.server.after = failing(1, "put", func(path string) error {
			b.server.files[path][1000] ^= 1
			return reset(policy.Finish, "put", path)
		})
		if _, err := b.put(Job{Local: b.write("a", []byte(content)), Remote: "a", Verify: VerifyHash}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"a": content})
	})
}

// TestVerifySourceThatChanges: the fault is the change, not the server.
func TestVerifySourceThatChanges(t *testing.T) {
	onBench(t, func(b *bench) {
		b.server.hashing("SHA-256")
		src := b.write("a", random(2_000_000))
		b.server.after = func(op, _ string) error {
			if op == "put" {
				b.write("a", random(2_000_003)[:2_000_000])
				future := time.Now().Add(time.Hour)
				_ = os.Chtimes(src, future, future)
			}
			return nil
		}
		_, err := b.put(Job{Local: src, Remote: "a", Verify: VerifyHash})
		if f := policy.FaultOf(err); f.Cause != policy.CauseLocalChanged {
			b.Errorf("%v", err)
		}
		if n := b.server.count("put"); n != 1 {
			b.Errorf("%d uploads of a file that changes", n)
		}
	})
}

// TestVerifyGet is the same for downloads; spoiled is on the way.
func TestVerifyGet(t *testing.T) {
	content := random(2_000_000)
	for _, test := range []struct {
		name    string
		verify  Verify
		hash    string
		spoiled int
		kind    policy.Kind
		gets    int
	}{
		{"by hash", VerifyHash, "SHA-256", 0, policy.KindOK, 1},
		{"by hash, spoiled once", VerifyHash, "SHA-256", 1, policy.KindOK, 2},
		{"by hash, spoiled always", VerifyHash, "SHA-256", 9, policy.KindContent, 2},
		{"by hash, the server has none", VerifyHash, "", 0, policy.KindRefused, 0},
		{"read again", VerifyReadback, "", 0, policy.KindOK, 2},
		{"read again, spoiled once", VerifyReadback, "", 1, policy.KindOK, 4},
	} {
		for _, stream := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", test.name, stream), func(t *testing.T) {
				onBench(t, func(b *bench) {
					if test.hash != "" {
						b.server.hashing(test.hash)
					}
					left := test.spoiled
					b.server.files["a"] = bytes.Clone(content)
					spoil := func(op, path string) error {
						if op == "get" && left > 0 {
							left--
							b.server.files[path][5000] ^= 1
						}
						return nil
					}
					b.server.fault, b.server.after = spoil, func(op, path string) error {
						b.server.files[path] = bytes.Clone(content)
						return nil
					}
					job := Job{Remote: "a", Verify: test.verify}
					var out bytes.Buffer
					if stream {
						job.Out, job.Local = &out, "-"
					} else {
						job.Local = b.local("a")
					}
					res, err := b.get(job)
					kind := test.kind
					if stream && test.spoiled > 0 {
						kind = policy.KindContent // what went out can't be called back
					}
					if kind != policy.KindOK {
						wantKind(b.T, err, kind)
						b.wantLocal(nil)
						return
					}
					if err != nil || res.Verified != "SHA-256" {
						b.Fatalf("%v, verified by %q", err, res.Verified)
					}
					if stream {
						if !bytes.Equal(out.Bytes(), content) {
							b.Error("another content")
						}
						return
					}
					b.wantLocal(map[string]string{"a": string(content)})
					if n := b.server.count("get"); n != test.gets {
						b.Errorf("%d downloads, want %d", n, test.gets)
					}
				})
			})
		}
	}
}

// TestPrefixIsHashed: a part with a fault far before its end is not continued
// where the server computes checksums; where it refuses one the end decides.
func TestPrefixIsHashed(t *testing.T) {
	content := random(4_000_000)
	for _, test := range []struct {
		damaged, refuses bool
		resumed          int64
	}{
		{false, false, 2_500_000},
		{true, false, 0},
		{false, true, 2_500_000},
	} {
		t.Run(fmt.Sprintf("put/%+v", test), func(t *testing.T) {
			onBench(t, func(b *bench) {
				src := b.write("big", content)
				b.engine.Limits.Tries = 1
				b.server.cut = cuts("put", 2_500_000)
				if _, err := b.put(Job{Local: src, Remote: "big"}); err == nil {
					b.Fatal("the cut did not happen")
				}
				for name := range b.server.files {
					if test.damaged {
						b.server.files[name][1000] ^= 1
					}
				}
				b.server.hashing("SHA-256")
				if test.refuses {
					b.server.extras.Hash = func(_ context.Context, path string, _ int64) (Digest, error) {
						return Digest{}, reply(504, "HASH", path, "no")
					}
				}
				res, err := b.put(Job{Local: src, Remote: "big"})
				if err != nil || res.Resumed != test.resumed {
					b.Errorf("resumed at %d, %v", res.Resumed, err)
				}
				b.wantOnly(map[string]string{"big": string(content)})
			})
		})
		t.Run(fmt.Sprintf("get/%+v", test), func(t *testing.T) {
			onBench(t, func(b *bench) {
				b.server.files["big"] = content
				b.engine.Limits.Tries = 1
				b.server.cut = cuts("get", 2_500_000)
				if _, err := b.get(Job{Remote: "big", Local: b.local("big")}); err == nil {
					b.Fatal("the cut did not happen")
				}
				parts, _ := filepath.Glob(b.local(".big.xfer-*.part"))
				if test.damaged {
					data, _ := os.ReadFile(parts[0])
					data[1000] ^= 1
					_ = os.WriteFile(parts[0], data, 0o644)
				}
				b.server.hashing("SHA-256")
				if test.refuses {
					b.server.extras.Hash = func(_ context.Context, path string, _ int64) (Digest, error) {
						return Digest{}, reply(504, "HASH", path, "no")
					}
				}
				res, err := b.get(Job{Remote: "big", Local: b.local("big")})
				if err != nil || res.Resumed != test.resumed {
					b.Errorf("resumed at %d, %v", res.Resumed, err)
				}
				b.wantLocal(map[string]string{"big": string(content)})
			})
		})
	}
}

func TestNewHash(t *testing.T) {
	for name, size := range map[string]int{"sha256": 32, "SHA-512": 64, "sha-1": 20, "md5": 16, "CRC32": 4} {
		if h, ok := NewHash(name); !ok || h.Size() != size {
			t.Errorf("%s: %t", name, ok)
		}
	}
	if _, ok := NewHash("whirlpool"); ok {
		t.Error("whirlpool is known")
	}
}

// TestVerifyRelay is the same between two servers; the source is asked for its
// checksum, or fetched once more.
func TestVerifyRelay(t *testing.T) {
	content := string(random(2_000_000))
	for _, test := range []struct {
		name       string
		verify     Verify
		from, hash string // of the servers
		spoiled    int
		kind       policy.Kind
		gets, puts int
		done       string
	}{
		{"size only", VerifySize, "", "", 1, policy.KindOK, 1, 1, ""},
		{"by hash", VerifyHash, "SHA-256", "SHA-256", 0, policy.KindOK, 1, 1, "SHA-256"},
		{"the source has another", VerifyHash, "MD5", "SHA-256", 0, policy.KindOK, 2, 1, "SHA-256"},
		{"spoiled once", VerifyHash, "SHA-256", "SHA-256", 1, policy.KindOK, 2, 2, "SHA-256"},
		{"spoiled always", VerifyHash, "", "MD5", 9, policy.KindContent, 4, 2, ""},
		{"the target has none", VerifyHash, "MD5", "", 0, policy.KindRefused, 0, 0, ""},
		{"read back", VerifyReadback, "", "", 1, policy.KindOK, 4, 2, "SHA-256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			onBench(t, func(b *bench) {
				from := newMemServer()
				from.files["a"] = []byte(content)
				for m, algorithm := range map[*memServer]string{from: test.from, b.server: test.hash} {
					if algorithm != "" {
						m.hashing(algorithm)
					}
				}
				b.server.spoiling(test.spoiled, "put")
				source := NewLink(Location{Scheme: SchemeFTP, Host: "source", Port: 21}, from.dial, ModeAuto, nil)
				res, err := Relay(b.Context(), source, "a", b.link, Job{Remote: "a", Local: "a", Verify: test.verify}, b.engine, Observer{})
				switch {
				case test.kind != policy.KindOK:
					wantKind(b.T, err, test.kind)
					b.wantOnly(nil)
				case err != nil:
					b.Error(err)
				case test.verify != VerifySize:
					b.wantOnly(map[string]string{"a": content})
				}
				if err == nil && res.Verified != test.done {
					b.Errorf("verified by %q, want %q", res.Verified, test.done)
				}
				if gets, puts := from.count("get"), b.server.count("put"); gets != test.gets || puts != test.puts {
					b.Errorf("%d downloads, %d uploads, want %d and %d", gets, puts, test.gets, test.puts)
				}
			})
		})
	}
}

// TestVerifyRelayGoesOn: a source that is lost while it is compared is dialled anew.
func TestVerifyRelayGoesOn(t *testing.T) {
	content := string(random(2_000_000))
	onBench(t, func(b *bench) {
		from := newMemServer()
		from.files["a"] = []byte(content)
		from.cut = cuts("get", -1, 1_000_000)
		b.server.hashing("SHA-256")
		source := NewLink(Location{Scheme: SchemeFTP, Host: "source", Port: 21}, from.dial, ModeAuto, nil)
		res, err := Relay(b.Context(), source, "a", b.link, Job{Remote: "a", Local: "a", Verify: VerifyHash}, b.engine, Observer{})
		if err != nil || res.Verified != "SHA-256" || from.dials != 2 || b.server.dials != 1 {
			b.Errorf("verified by %q, %d and %d logins: %v", res.Verified, from.dials, b.server.dials, err)
		}
		b.wantOnly(map[string]string{"a": content})
	})
}
