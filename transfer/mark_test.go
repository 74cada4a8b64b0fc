package transfer

import (
	"slices"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/policy"
)

// brokenOff is an upload to a server that gets bytes out of order, which broke off
// after mark bytes: above them there is a gap. It gives what was remembered.
func brokenOff(b *bench, src string, mark int64) Facts {
	b.Helper()
	b.server.extras.Spread = 1 << 30
	b.engine.Limits.Tries = 1
	b.server.cut = cuts("put", mark)
	memory := b.anew(nil)
	_, err := b.put(Job{Local: src, Remote: "big"})
	wantKind(b.T, err, policy.KindTemporary)
	if err := b.link.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	for name, data := range b.server.files {
		b.server.files[name] = append(slices.Clone(data), make([]byte, 100_000)...)
	}
	if len(memory.told) != 1 {
		b.Fatalf("remembered: %v", memory.told)
	}
	return memory.told[0]
}

// anew makes the next run that of another process, which remembers this.
func (b *bench) anew(known Facts) *memMemory {
	memory := &memMemory{known: known}
	b.link = NewLink(b.link.Location(), b.server.dial, ModeAuto, memory)
	return memory
}

// TestMark: a run of another process goes on where the last one knew that all had
// arrived, however far out of order the server gets its bytes.
func TestMark(t *testing.T) {
	content := random(4_000_000)
	onBench(t, func(b *bench) {
		src := b.write("big", content)
		memory := b.anew(brokenOff(b, src, 2_500_000))
		res, err := b.put(Job{Local: src, Remote: "big"})
		if err != nil {
			b.Fatal(err)
		}
		if res.Resumed != 2_500_000 {
			b.Errorf("resumed at %d, want 2500000", res.Resumed)
		}
		b.wantOnly(map[string]string{"big": string(content)})
		if len(memory.told) != 1 || len(memory.told[0]) != 1 {
			b.Fatalf("told at the end: %v", memory.told)
		}
		for name, fact := range memory.told[0] {
			if fact.Value != "" || !strings.HasPrefix(name, "arrived:acme:") {
				b.Errorf("%s = %q is remembered of a part that is no more", name, fact.Value)
			}
		}
	})
}

// TestMarkOfSomethingElse: what is below the mark is compared as ever.
func TestMarkOfSomethingElse(t *testing.T) {
	content := random(4_000_000)
	onBench(t, func(b *bench) {
		src := b.write("big", content)
		b.anew(brokenOff(b, src, 2_500_000))
		for name, data := range b.server.files {
			clear(data)
			b.server.files[name] = data
		}
		if _, err := b.put(Job{Local: src, Remote: "big"}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"big": string(content)})
	})
}

// TestMarkIsDroppedFirst: before a run sends bytes below the mark, the memory has
// forgotten it: the process may be killed at any time.
func TestMarkIsDroppedFirst(t *testing.T) {
	content := random(4_000_000)
	onBench(t, func(b *bench) {
		src := b.write("big", content)
		memory := b.anew(brokenOff(b, src, 2_500_000))
		b.server.fault = func(op, _ string) error {
			if op == "put" && len(memory.told) != 1 {
				b.Errorf("the first byte is sent, and the memory was told %v", memory.told)
			}
			return nil
		}
		if _, err := b.put(Job{Local: src, Remote: "big", NoResume: true}); err != nil {
			b.Fatal(err)
		}
		b.wantOnly(map[string]string{"big": string(content)})
	})
}
