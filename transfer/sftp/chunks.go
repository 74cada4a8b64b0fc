package sftp

import (
	"math"
	"sync"
)

// unknownEnd is the end of a file whose size nobody told.
const unknownEnd = math.MaxInt64

// room is what a WRITE needs in front of its data: header, handle (at most 256
// bytes, draft-ietf-secsh-filexfer-02 §6.3), offset and length.
const room = headerLen + 4 + 256 + 8 + 4

// chunk is one piece of a file.
type chunk struct {
	off int64
	n   int    // bytes of data
	raw []byte // room, then the data; nil for a download that has not come
	// filled: the data has been read from the source and is still to be sent.
	filled bool
}

func (p *chunk) data() []byte { return p.raw[room : room+p.n] }

// buffers are those of files that fit one packet: many at a time, and soon over.
var buffers sync.Pool

func buffer(n int) []byte {
	if b, ok := buffers.Get().(*[]byte); ok && cap(*b) >= n {
		return (*b)[:n]
	}
	return make([]byte, n)
}

func giveBack(b []byte) { buffers.Put(&b) }

// chunks is the work list of one transfer, shared by all its workers on all its
// channels. It hands out pieces in order, takes back those of a channel that was
// lost, and knows the mark: everything below it is across, without a gap. The
// mark alone decides where a transfer can be resumed.
//
// No piece is handed out that begins spread or more above the mark. The size of
// a broken upload minus spread is therefore a safe place to resume from, even
// for a process that knows nothing else; and a download never holds more than
// spread in memory, usually only what came before its turn.
type chunks struct {
	size   int   // of a piece, in bytes
	spread int64 // in bytes
	// fill reads a piece from the source and says how much of it there is, less
	// at the end; nil for a download. inOrder: the source is a stream.
	fill    func(*chunk) (int, error)
	inOrder bool
	// deliver takes the pieces in order, one at a time; nil for an upload.
	deliver func(*chunk) error
	// progress is told the mark.
	progress func(int64)

	reading sync.Mutex // one piece at a time from a stream

	mu       sync.Mutex
	changed  *sync.Cond
	finished chan struct{} // closed when nothing more will happen
	isOver   bool
	next     int64 // where the first piece begins that was never handed out
	end      int64 // of the file, or unknownEnd
	mark     int64
	again    []*chunk         // pieces of a lost channel
	parked   map[int64]*chunk // done, above the mark
	busy     int              // handed out
	moving   bool             // a piece is being delivered
	shut     bool             // nothing more is delivered
	lanes    int              // channels at work
	lost     error            // why the first of them was lost
	err      error            // why it has stopped
	free     [][]byte
}

// newChunks makes the list of the pieces from off to end.
func newChunks(off, end int64, size int, spread int64) *chunks {
	c := &chunks{
		size: size, spread: max(spread, int64(size)), next: off, mark: off, end: end,
		parked: map[int64]*chunk{}, finished: make(chan struct{}),
	}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// begin puts the first piece in, which has been read already.
func (c *chunks) begin(p *chunk) {
	c.again = append(c.again, p)
	c.next = p.off + int64(p.n)
}

// take hands out a piece, with its data if it is an upload. It waits while there
// may be one later, and returns nil when there will be none.
func (c *chunks) take() *chunk {
	if c.inOrder {
		c.reading.Lock()
		defer c.reading.Unlock()
	}
	for {
		p := c.reserve()
		if p == nil || p.filled || c.fill == nil {
			return p
		}
		n, err := c.fill(p)
		if err != nil {
			c.fail(err)
			c.drop(p)
			return nil
		}
		if n < p.n {
			c.endsAt(p.off + int64(n))
		}
		if n > 0 {
			p.n, p.filled = n, true
			return p
		}
		c.drop(p)
	}
}

func (c *chunks) reserve() *chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.err != nil:
			return nil
		case len(c.again) > 0:
			p := c.again[0]
			c.again = c.again[1:]
			c.busy++
			return p
		case c.next < c.end && c.next-c.mark < c.spread:
			p := &chunk{off: c.next, n: int(min(int64(c.size), c.end-c.next))}
			if c.fill != nil {
				p.raw = c.buffer()
			}
			c.next += int64(p.n)
			c.busy++
			return p
		case c.next >= c.end && c.busy == 0:
			c.settle()
			return nil
		}
		c.changed.Wait()
	}
}

// provide gets a buffer for a piece whose data comes.
func (c *chunks) provide(p *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.raw == nil {
		p.raw = c.buffer()
	}
}

// buffer takes a buffer from the free ones.
func (c *chunks) buffer() []byte {
	if n := len(c.free); n > 0 {
		b := c.free[n-1]
		c.free = c.free[:n-1]
		return b
	}
	return make([]byte, room+c.size)
}

// done takes a piece that is across.
func (c *chunks) done(p *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.parked[p.off] = p
	if c.deliver == nil {
		c.recycle(p)
	}
	for !c.moving && !c.shut {
		p, ok := c.parked[c.mark]
		if !ok {
			break
		}
		if c.deliver != nil && !c.handOver(p) {
			break
		}
		delete(c.parked, c.mark)
		c.mark += int64(p.n)
		c.recycle(p)
		if c.progress != nil {
			c.progress(c.mark)
		}
	}
	c.settle()
}

// handOver delivers a piece, without the lock.
func (c *chunks) handOver(p *chunk) bool {
	c.moving = true
	c.mu.Unlock()
	err := c.deliver(p)
	c.mu.Lock()
	c.moving = false
	if err != nil {
		c.shut = true
		if c.err == nil {
			c.err = err
		}
	}
	return !c.shut
}

// drop takes back a piece that turned out to be beyond the end.
func (c *chunks) drop(p *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.recycle(p)
	c.settle()
}

// repeat takes back a piece whose channel was lost, for another one.
func (c *chunks) repeat(p *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.again = append(c.again, p)
	c.settle()
}

// endsAt says that the file ends at off. What was handed out beyond is dropped
// by its workers.
func (c *chunks) endsAt(off int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = min(c.end, off)
}

// laneAdded and laneLost count the channels, those too that are being opened.
// With the last one the transfer ends, for the reason of the first one that was
// lost; err is nil for one that never came to be.
func (c *chunks) laneAdded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes++
}

func (c *chunks) laneLost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes--
	if c.lost == nil {
		c.lost = err
	}
	if c.lanes == 0 && c.err == nil {
		c.err = c.lost
	}
	c.settle()
}

// fail stops the transfer; the first reason is kept. Pieces under way are
// finished, no others are handed out.
func (c *chunks) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.settle()
}

// abandon stops the transfer without waiting for the pieces under way. Nothing
// is delivered any more once it has returned, unless the sink hangs.
func (c *chunks) abandon(err error) {
	c.mu.Lock()
	c.shut = true
	c.mu.Unlock()
	c.fail(err)
}

// settle wakes whoever waits, and closes finished when nothing is left to do.
func (c *chunks) settle() {
	c.changed.Broadcast()
	if c.isOver || c.busy > 0 || c.moving {
		return
	}
	if c.err != nil || c.mark >= c.end && len(c.again) == 0 {
		c.isOver = true
		close(c.finished)
	}
}

func (c *chunks) recycle(p *chunk) {
	if len(p.raw) == room+c.size { // the first piece may have less
		c.free = append(c.free, p.raw)
	}
	p.raw = nil
}

// result gives the mark, how far pieces were handed out, and why it stopped.
func (c *chunks) result() (mark, reached int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mark, c.next, c.err
}

// way gives the mark and the end, which may be unknownEnd.
func (c *chunks) way() (mark, end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mark, c.end
}
