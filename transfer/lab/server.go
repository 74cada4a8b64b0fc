package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Server is what the FTP and the SFTP server have in common. All methods may be
// called from any goroutine.
type Server struct {
	scheme, user string
	ln           *net.TCPListener
	ctx          context.Context
	cancel       context.CancelFunc
	running      sync.WaitGroup
	script       script
	record       record
	tree         *tree

	limit   int // connections served at once, 0 any number
	cleanup []func() error
	closing sync.Once

	mu      sync.Mutex
	conns   map[int]*net.TCPConn
	serving map[int]bool // those within the limit
	last    int
}

// newServer listens on addr ("" is a free port on 127.0.0.1) and opens the tree.
func newServer(scheme, user, addr, root, home string, volumes []Volume, rules []Rule) (*Server, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("lab: address: %w", err)
	}
	if !ap.Addr().IsLoopback() {
		return nil, fmt.Errorf("lab: %s is not a loopback address", addr)
	}
	t, err := openTree(root, home, volumes)
	if err != nil {
		return nil, err
	}
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab: %w", err), t.close())
	}
	s := &Server{scheme: scheme, user: user, ln: ln, tree: t, conns: make(map[int]*net.TCPConn), serving: make(map[int]bool)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.script.onFire = func(name string) { s.record.add(Event{Verb: "rule", Arg: name}) }
	s.script.set(rules, false)
	return s, nil
}

// serve accepts connections until Close and runs handle for each; crowded says
// that it is one too many.
func (s *Server) serve(handle func(connect *Event, conn *net.TCPConn, crowded bool)) {
	s.running.Go(func() {
		for {
			conn, err := s.ln.AcceptTCP()
			if err != nil {
				if s.ctx.Err() != nil || !sleep(s.ctx, time.Millisecond) {
					return
				}
				continue // out of descriptors, perhaps: the next one may work
			}
			connect, crowded := s.enter(conn)
			s.running.Go(func() {
				defer s.leave(connect.Conn)
				handle(connect, conn, crowded)
			})
		}
	})
}

func (s *Server) enter(conn *net.TCPConn) (connect *Event, crowded bool) {
	s.mu.Lock()
	s.last++
	id := s.last
	s.conns[id] = conn
	crowded = s.limit > 0 && len(s.serving) >= s.limit
	if !crowded {
		s.serving[id] = true
	}
	s.mu.Unlock()
	return s.record.add(Event{Conn: id, Verb: "connect", Arg: conn.RemoteAddr().String()}), crowded
}

// release gives the place of a connection to the next one. It comes before the
// last word to the client, which may be back at once.
func (s *Server) release(id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.serving, id)
}

func (s *Server) leave(id int) {
	s.release(id)
	s.mu.Lock()
	conn := s.conns[id]
	delete(s.conns, id)
	s.mu.Unlock()
	_ = conn.Close() // it may be closed already
	s.record.add(Event{Conn: id, Verb: "close"})
}

// Addr is "127.0.0.1:port" or "[::1]:port".
func (s *Server) Addr() string { return s.ln.Addr().String() }

// URL is the server's root as an argument of xfer, without the password.
func (s *Server) URL() string {
	u := url.URL{Scheme: s.scheme, Host: s.Addr(), Path: "/"}
	if s.user != "" {
		u.User = url.User(s.user)
	}
	return u.String()
}

// Log is what happened so far: the last 32,768 events at least.
func (s *Server) Log() Log {
	l, _ := s.record.snapshot()
	return l
}

// Await returns when the log satisfies until. If ctx ends first, the error
// carries the log.
func (s *Server) Await(ctx context.Context, until func(Log) bool) error {
	return s.record.await(ctx, until)
}

// SetScript replaces all rules; what happened before is not counted for the new
// ones. It panics on a malformed Path.
func (s *Server) SetScript(rules ...Rule) { s.script.set(rules, false) }

// Add adds rules behind those that are there. It panics on a malformed Path.
func (s *Server) Add(rules ...Rule) { s.script.set(rules, true) }

// Fired is how often rules of that name fired, also those that were replaced.
func (s *Server) Fired(name string) int { return s.script.count(name) }

// SetCapacity changes the capacity of the volume that holds the path, in bytes;
// 0 is no limit.
func (s *Server) SetCapacity(path string, bytes int64) { s.tree.setCapacity(path, bytes) }

// Connections is how many control or SSH connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Kick closes every connection that is open now, as a server that is restarted.
func (s *Server) Kick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		closeConn(conn, RST)
	}
}

// Close stops the server, closes its connections and waits for its goroutines.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		s.cancel()
		err = s.ln.Close()
		s.Kick()
		s.running.Wait()
		err = errors.Join(err, s.tree.close())
		for _, f := range s.cleanup {
			err = errors.Join(err, f())
		}
	})
	return err
}

// tempFile puts data into a file that Close removes.
func (s *Server) tempFile(name string, data []byte) (string, error) {
	dir, err := os.MkdirTemp("", "xfer-lab-")
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	s.cleanup = append(s.cleanup, func() error { return os.RemoveAll(dir) })
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return file, nil
}

// closeConn ends a TCP connection with a FIN or a RST. The kernel sends a RST
// for a FIN when bytes are left unread, as it does for a real server.
func closeConn(conn *net.TCPConn, how End) {
	if how == RST {
		_ = conn.SetLinger(0) // fails only on a closed connection
	}
	_ = conn.Close()
}
