package sftp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestChunksHandOutEverythingOnce(t *testing.T) {
	c := newChunks(10, 1010, 300, 1<<20)
	var got []string
	for {
		c.mu.Lock()
		over := c.next >= c.end
		c.mu.Unlock()
		if over {
			break
		}
		p := c.take()
		got = append(got, fmt.Sprintf("%d+%d", p.off, p.n))
	}
	if want := "[10+300 310+300 610+300 910+100]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestMarkHasNoGaps: the mark is where the first piece is missing, whatever
// else is done.
func TestMarkHasNoGaps(t *testing.T) {
	var seen []int64
	c := newChunks(0, 40, 10, 1<<20)
	c.progress = func(pos int64) { seen = append(seen, pos) }
	p := []*chunk{c.take(), c.take(), c.take(), c.take()}
	for _, step := range []struct {
		done int
		mark int64
	}{{2, 0}, {1, 0}, {0, 30}, {3, 40}} {
		c.done(p[step.done])
		if got, _ := c.way(); got != step.mark {
			t.Errorf("after piece %d: mark %d, want %d", step.done, got, step.mark)
		}
	}
	select {
	case <-c.finished:
	default:
		t.Error("not finished")
	}
	if fmt.Sprint(seen) != "[10 20 30 40]" {
		t.Errorf("progress %v", seen)
	}
}

// TestSpread: a piece that does not come keeps those away that are too far ahead.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChunks(0, 1000, 10, 30)
		slow := c.take()
		a, b := c.take(), c.take()
		var further *chunk
		go func() { further = c.take() }()
		c.done(b)
		c.done(a)
		synctest.Wait()
		if further != nil {
			t.Errorf("handed out %d with the mark at %d", further.off, c.mark)
		}
		c.done(slow)
		synctest.Wait()
		if further == nil || further.off != 30 {
			t.Errorf("got %+v", further)
		}
		c.fail(io.EOF)
	})
}

// TestLostLaneRepeats: pieces of a lost channel go to another one, first, and
// with their data.
func TestLostLaneRepeats(t *testing.T) {
	c := newChunks(0, 100, 10, 1<<20)
	c.fill = func(p *chunk) (int, error) {
		for i := range p.data() {
			p.data()[i] = byte(p.off)
		}
		return p.n, nil
	}
	c.laneAdded()
	c.laneAdded()
	a, b := c.take(), c.take()
	c.repeat(a)
	c.laneLost(errLost)
	again := c.take()
	if again.off != 0 || !again.filled || again.data()[0] != 0 {
		t.Errorf("got %+v", again)
	}
	c.done(again)
	c.repeat(b)
	c.laneLost(errLost)
	select {
	case <-c.finished:
	default:
		t.Error("not finished without a channel")
	}
	if mark, reached, err := c.result(); mark != 10 || reached != 20 || err != errLost {
		t.Errorf("mark %d, reached %d, %v", mark, reached, err)
	}
}

// TestMarkMovesAfterAFailure: what is answered after the failure still counts.
func TestMarkMovesAfterAFailure(t *testing.T) {
	c := newChunks(0, 100, 10, 1<<20)
	a, b := c.take(), c.take()
	broken := errors.New("broken")
	c.fail(broken)
	c.drop(b)
	c.done(a)
	if mark, _, err := c.result(); mark != 10 || err != broken {
		t.Errorf("mark %d, %v", mark, err)
	}
	if p := c.take(); p != nil {
		t.Errorf("handed out %+v after the failure", p)
	}
}

// TestDeliveryIsInOrder, one at a time, and stops at the first error.
func TestDeliveryIsInOrder(t *testing.T) {
	c := newChunks(0, 50, 10, 1<<20)
	full := errors.New("full")
	var got []int64
	c.deliver = func(p *chunk) error {
		got = append(got, p.off)
		if p.off == 20 {
			return full
		}
		return nil
	}
	var p []*chunk
	for range 5 {
		p = append(p, c.take())
	}
	for _, i := range []int{4, 2, 1, 0, 3} {
		c.done(p[i])
	}
	if mark, _, err := c.result(); fmt.Sprint(got) != "[0 10 20]" || mark != 20 || err != full {
		t.Errorf("delivered %v, mark %d, %v", got, mark, err)
	}
}

// TestChunksUnderFire: channels that come and go, pieces in any order; every
// byte arrives once, in order, and the mark never runs ahead.
func TestChunksUnderFire(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			size := 1 + random.IntN(5000)
			want := content(size)
			for name, direction := range map[string]func(*chunks, []byte) func(*chunk) error{
				"upload": func(c *chunks, server []byte) func(*chunk) error {
					c.fill = func(p *chunk) (int, error) { return bytes.NewReader(want).ReadAt(p.data(), p.off) }
					return func(p *chunk) error { copy(server[p.off:], p.data()); return nil }
				},
				"download": func(c *chunks, server []byte) func(*chunk) error {
					next := int64(0)
					c.deliver = func(p *chunk) error {
						if p.off != next {
							t.Errorf("delivered %d, want %d", p.off, next)
						}
						next += int64(p.n)
						copy(server[p.off:], p.data())
						return nil
					}
					return func(p *chunk) error { c.provide(p); copy(p.data(), want[p.off:]); return nil }
				},
			} {
				server := make([]byte, size)
				c := newChunks(0, int64(size), 1+random.IntN(200), int64(random.IntN(2000)))
				work := direction(c, server)
				var mu sync.Mutex // of random
				pick := func(n int) int { mu.Lock(); defer mu.Unlock(); return random.IntN(n) }
				for lane := range 4 {
					c.laneAdded()
					lost := sync.OnceFunc(func() { c.laneLost(errLost) })
					for range 3 {
						go func() {
							for p := c.take(); p != nil; p = c.take() {
								time.Sleep(time.Duration(pick(50)) * time.Millisecond)
								if lane > 0 && pick(20) == 0 { // the first one stays
									c.repeat(p)
									lost()
									return
								}
								if err := work(p); err != nil && err != io.EOF {
									t.Error(err)
								}
								c.done(p)
							}
						}()
					}
				}
				<-c.finished
				if mark, _, err := c.result(); err != nil || mark != int64(size) || !bytes.Equal(server, want) {
					t.Errorf("%s, seed %d: mark %d of %d, %v, same: %v", name, seed, mark, size, err, bytes.Equal(server, want))
				}
			}
		})
	}
}

// TestUnknownEnd: the end is where the first short piece was.
func TestUnknownEnd(t *testing.T) {
	for _, size := range []int{0, 1, 9, 10, 11, 25} {
		var got bytes.Buffer
		c := newChunks(0, unknownEnd, 10, 1<<20)
		c.deliver = func(p *chunk) error { got.Write(p.data()); return nil }
		want := content(size)
		c.laneAdded()
		var workers sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				for p := c.take(); p != nil; p = c.take() {
					n := max(0, min(p.n, size-int(p.off)))
					if n < p.n {
						c.endsAt(p.off + int64(n))
					}
					p.n = n
					if n == 0 {
						c.drop(p)
						continue
					}
					c.provide(p)
					copy(p.data(), want[p.off:])
					c.done(p)
				}
			})
		}
		workers.Wait()
		<-c.finished
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes: got %d", size, got.Len())
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	c := newChunks(0, unknownEnd, 1, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		c.done(c.take())
	}
}
