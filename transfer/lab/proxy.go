package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// Cut says when a Proxy breaks a connection.
type Cut struct {
	// Up and Down are the bytes of one connection, from and to the client, that
	// still pass; 0 is no limit.
	Up, Down int64
	How      End
	// Times is how many connections are cut, 0 all.
	Times int
}

// Proxy is a TCP relay on loopback that makes the way to any server long, and
// breaks it. All methods may be called from any goroutine.
type Proxy struct {
	target string
	delay  time.Duration // one way
	ln     *net.TCPListener
	ctx    context.Context
	cancel context.CancelFunc

	running sync.WaitGroup
	closing sync.Once

	mu       sync.Mutex
	links    map[*link]bool
	accepted int
	up, down int64
	cut      Cut
	cuts     int
	refuse   bool
	gate     chan struct{} // closed while bytes may pass
}

// link is one relayed connection.
type link struct {
	ctx            context.Context
	cancel         context.CancelFunc
	client, server *net.TCPConn
	up, down       int64 // bytes, guarded by Proxy.mu
}

// close ends both sides.
func (l *link) close(how End) {
	l.cancel()
	closeConn(l.client, how)
	closeConn(l.server, how)
}

// StartProxy relays to the target, "host:port", with the round-trip time on top
// of what there is. It does not limit the bandwidth. The caller must Close it.
func StartProxy(target string, rtt time.Duration) (*Proxy, error) {
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	p := &Proxy{target: target, delay: rtt / 2, ln: ln, links: make(map[*link]bool), gate: make(chan struct{})}
	close(p.gate)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.serve)
	return p, nil
}

// Addr is where to connect instead of the target.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// SetCut breaks connections from now on, also those that are open.
func (p *Proxy) SetCut(c Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.cuts = c, 0
}

// CutNow breaks all open connections.
func (p *Proxy) CutNow(how End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close(how)
	}
}

// Stall holds all bytes back, on, or lets them go again, off.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.gateOpen()
	if on && open {
		p.gate = make(chan struct{})
	} else if !on && !open {
		close(p.gate)
	}
}

func (p *Proxy) gateOpen() bool {
	select {
	case <-p.gate:
		return true
	default:
		return false
	}
}

// Refuse resets every new connection while on, as if the server were stopped.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Moved is how many bytes passed from (up) and to (down) the clients so far.
func (p *Proxy) Moved() (up, down int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up, p.down
}

// Accepted is how many connections were relayed so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Cuts is how many connections were broken since SetCut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Close breaks everything and waits for the goroutines.
func (p *Proxy) Close() error {
	var err error
	p.closing.Do(func() {
		p.cancel()
		err = p.ln.Close()
		p.running.Wait()
	})
	return err
}

func (p *Proxy) serve() {
	for {
		conn, err := p.ln.AcceptTCP()
		if err != nil {
			if p.ctx.Err() != nil || !sleep(p.ctx, time.Millisecond) {
				return
			}
			continue
		}
		p.running.Go(func() { p.relay(conn) })
	}
}

func (p *Proxy) relay(client *net.TCPConn) {
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse {
		closeConn(client, RST)
		return
	}
	var d net.Dialer
	conn, err := d.DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		closeConn(client, RST)
		return
	}
	l := &link{client: client, server: conn.(*net.TCPConn)}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	stop := context.AfterFunc(p.ctx, func() { l.close(RST) })
	defer stop()
	p.mu.Lock()
	p.links[l] = true
	p.accepted++
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.pump(l, l.client, l.server, true) })
	both.Go(func() { p.pump(l, l.server, l.client, false) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	l.close(FIN)
}

// parcel is data on its way; empty is the end of the stream.
type parcel struct {
	due  time.Time
	data []byte
}

// maxParcels of at most parcelSize bytes may be under way in one direction: at
// 64 MiB it limits memory, and bandwidth only beyond 64 MiB per one-way delay.
const (
	maxParcels = 1024
	parcelSize = 64 << 10
)

// pump moves one direction: one goroutine reads and stamps, this one delivers.
func (p *Proxy) pump(l *link, from, to *net.TCPConn, up bool) {
	way := make(chan parcel, maxParcels)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		defer close(way)
		buf := make([]byte, parcelSize)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case way <- parcel{time.Now().Add(p.delay), slices.Clone(buf[:n])}:
				case <-l.ctx.Done():
					return
				}
			}
			if err == io.EOF {
				select {
				case way <- parcel{due: time.Now().Add(p.delay)}:
				case <-l.ctx.Done():
				}
				return
			}
			if err != nil {
				l.close(RST)
				return
			}
		}
	})
	for pc := range way {
		if d := time.Until(pc.due); d > 0 && !sleep(l.ctx, d) {
			return
		}
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		select {
		case <-gate:
		case <-l.ctx.Done():
			return
		}
		if len(pc.data) == 0 {
			_ = to.CloseWrite() // the other side may be gone
			return
		}
		n, cut, how := p.admit(l, len(pc.data), up)
		if _, err := to.Write(pc.data[:n]); err != nil {
			l.close(RST)
			return
		}
		if cut {
			l.close(how)
			return
		}
	}
}

// admit counts n bytes, or as many as pass before the cut.
func (p *Proxy) admit(l *link, n int, up bool) (pass int, cut bool, how End) {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit, moved, total := p.cut.Down, &l.down, &p.down
	if up {
		limit, moved, total = p.cut.Up, &l.up, &p.up
	}
	if limit > 0 && (p.cut.Times == 0 || p.cuts < p.cut.Times) && *moved+int64(n) >= limit {
		n = int(max(0, limit-*moved))
		p.cuts++
		cut = true
	}
	*moved += int64(n)
	*total += int64(n)
	return n, cut, p.cut.How
}
