package main

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/xfer-cli/xfer/transfer/tcp"
)

// proxy makes the way to a server long, and breaks it. Unlike package lab's it
// is made to cost little and to limit no bandwidth: what is under way is as much
// as fits the delay, and is read and written in large pieces.
//
// TCP itself ends at the proxy, so that its slow start does not show. Its
// handshake does: a new connection carries nothing for one and a half round
// trips, which is when a real server would see it established.
type proxy struct {
	delay time.Duration // one way
	cut   int64         // all connections break each time so many bytes have passed

	running sync.WaitGroup
	mu      sync.Mutex
	closed  bool
	open    map[io.Closer]bool // listeners and links
	moved   int64
}

func newProxy(rtt time.Duration, cut int64) *proxy {
	return &proxy{delay: rtt / 2, cut: cut, open: map[io.Closer]bool{}}
}

// Listen relays what connects to addr to the target, and gives the port.
func (p *proxy) Listen(addr, target string) (port int, err error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return 0, err
	}
	p.add(ln)
	p.running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.relay(conn.(*net.TCPConn), target) })
		}
	})
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// Close breaks everything and waits for the goroutines.
func (p *proxy) Close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		_ = c.Close() // it may be gone
	}
	p.mu.Unlock()
	p.running.Wait()
}

// add takes care of a listener or a link until it is removed.
func (p *proxy) add(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = true
	if p.closed {
		_ = c.Close()
	}
}

func (p *proxy) remove(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *proxy) relay(client *net.TCPConn, target string) {
	time.Sleep(3 * p.delay)
	server, err := net.Dial("tcp", target)
	if err != nil {
		abort(client)
		return
	}
	l := &link{client, server.(*net.TCPConn)}
	p.add(l)
	defer p.remove(l)
	var both sync.WaitGroup
	both.Go(func() { p.carry(l, l.client, l.server) })
	both.Go(func() { p.carry(l, l.server, l.client) })
	both.Wait()
	_, _ = l.client.Close(), l.server.Close()
}

// link is one relayed connection.
type link struct{ client, server *net.TCPConn }

// Close breaks both sides.
func (l *link) Close() error {
	abort(l.client)
	abort(l.server)
	return nil
}

// abort closes with a reset.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only on a closed one
	_ = c.Close()
}

// count breaks all links when the bytes for one connection's life have passed.
func (p *proxy) count(n int) {
	if p.cut == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.moved / p.cut
	if p.moved += int64(n); p.moved/p.cut == before {
		return
	}
	for c := range p.open {
		if l, ok := c.(*link); ok {
			_ = l.Close()
		}
	}
}

// carry moves one direction: one goroutine reads and stamps, this one delivers.
// A sender that waits for the acknowledgement of a small piece (Nagle) does not
// wait for the proxy's, which would be 40 ms late.
func (p *proxy) carry(l *link, from, to *net.TCPConn) {
	w := newWay(p.delay)
	var reader sync.WaitGroup
	reader.Go(func() {
		buf := make([]byte, parcelSize)
		for {
			n, err := from.Read(buf)
			tcp.AckAtOnce(from)
			if n > 0 && !w.put(buf[:n]) {
				return
			}
			if err == io.EOF {
				w.put(nil)
				return
			}
			if err != nil {
				w.end(err)
				return
			}
		}
	})
	defer reader.Wait()
	for {
		pc, err := w.take()
		if err == nil {
			time.Sleep(time.Until(pc.due))
			if len(pc.data) == 0 {
				_ = to.CloseWrite() // the other side may be gone
				return
			}
			_, err = to.Write(pc.data)
		}
		if err != nil {
			w.end(err)
			_ = l.Close()
			return
		}
		p.count(len(pc.data))
		parcels.Put(pc)
	}
}

const (
	parcelSize = 256 << 10
	// together is how long after its first byte a parcel takes up more.
	together = 100 * time.Microsecond
	// bandwidth is what the way can hold at least, in bytes per second. It is
	// far beyond what a processor encrypts; it limits only memory.
	bandwidth = 2 << 30
)

// parcel is data on its way, up to parcelSize; empty is the end of the stream.
type parcel struct {
	due  time.Time
	data []byte
}

var parcels = sync.Pool{New: func() any { return &parcel{data: make([]byte, 0, parcelSize)} }}

// way is one direction of a link.
type way struct {
	delay time.Duration
	room  int // bytes that may be under way

	mu      sync.Mutex
	changed sync.Cond
	queue   []*parcel
	held    int
	err     error // why nothing more moves
}

func newWay(delay time.Duration) *way {
	w := &way{delay: delay, room: 4*parcelSize + int(delay.Seconds()*bandwidth)}
	w.changed.L = &w.mu
	return w
}

// put sends data on its way, none for the end of the stream. It is false when
// nobody waits for it any more.
func (w *way) put(data []byte) bool {
	due := time.Now().Add(w.delay)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.held > w.room && w.err == nil {
		w.changed.Wait()
	}
	if w.err != nil {
		return false
	}
	w.held += len(data)
	if n := len(w.queue); n > 0 && len(data) > 0 {
		if last := w.queue[n-1]; due.Sub(last.due) < together && len(last.data)+len(data) <= parcelSize {
			last.data = append(last.data, data...)
			return true
		}
	}
	pc := parcels.Get().(*parcel)
	pc.due, pc.data = due, append(pc.data[:0], data...)
	w.queue = append(w.queue, pc)
	w.changed.Broadcast()
	return true
}

// end stops both sides at once; what is under way is lost.
func (w *way) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.changed.Broadcast()
}

// take waits for the next parcel, which may not be due yet.
func (w *way) take() (*parcel, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 && w.err == nil {
		w.changed.Wait()
	}
	if w.err != nil {
		return nil, w.err
	}
	pc := w.queue[0]
	w.queue = w.queue[1:]
	w.held -= len(pc.data)
	w.changed.Broadcast()
	return pc, nil
}
