package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// Gateway is a proxy on loopback through which clients reach other servers: one
// that speaks SOCKS5 (RFC 1928, 1929), or HTTP CONNECT (RFC 9110 §9.3.6).
type Gateway struct {
	scheme, user, password string
	ln                     net.Listener
	ctx                    context.Context
	cancel                 context.CancelFunc
	running                sync.WaitGroup

	mu    sync.Mutex
	asked []string
}

// StartGateway starts one; scheme is "socks5" or "http". With a user it demands
// the login. The caller must Close it.
func StartGateway(scheme, user, password string) (*Gateway, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	g := &Gateway{scheme: scheme, user: user, password: password, ln: ln}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			g.running.Go(func() { g.serve(conn) })
		}
	})
	return g, nil
}

// URL is how a client is told of it, without user and password.
func (g *Gateway) URL() string { return g.scheme + "://" + g.ln.Addr().String() }

// Asked are the addresses that clients wanted to reach, "host:port", in order.
func (g *Gateway) Asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.asked)
}

// Close ends all connections.
func (g *Gateway) Close() error {
	g.cancel()
	err := g.ln.Close()
	g.running.Wait()
	return err
}

func (g *Gateway) serve(client net.Conn) {
	defer client.Close()
	stop := context.AfterFunc(g.ctx, func() { _ = client.Close() })
	defer stop()
	in := bufio.NewReader(client)
	answer := g.connect
	if g.scheme == "socks5" {
		answer = g.socks
	}
	server, err := answer(client, in)
	if err != nil {
		return
	}
	defer server.Close()
	stopServer := context.AfterFunc(g.ctx, func() { _ = server.Close() })
	defer stopServer()
	var up sync.WaitGroup
	up.Go(func() { pipe(server, in) })
	pipe(client, server)
	up.Wait()
}

// pipe copies one direction and passes its end on.
func pipe(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from) // a broken connection ends, which is all there is to it
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

func (g *Gateway) dial(address string) (net.Conn, error) {
	g.mu.Lock()
	g.asked = append(g.asked, address)
	g.mu.Unlock()
	var d net.Dialer
	return d.DialContext(g.ctx, "tcp", address)
}

var errNoTunnel = errors.New("lab: no tunnel")

func (g *Gateway) connect(client net.Conn, in *bufio.Reader) (net.Conn, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	say := func(status string) { _, _ = io.WriteString(client, "HTTP/1.1 "+status+"\r\n\r\n") }
	if r.Method != http.MethodConnect {
		say("405 Method Not Allowed")
		return nil, errNoTunnel
	}
	r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization")) // for BasicAuth
	if user, password, _ := r.BasicAuth(); g.user != "" && (user != g.user || password != g.password) {
		say("407 Proxy Authentication Required")
		return nil, errNoTunnel
	}
	server, err := g.dial(r.Host)
	if err != nil {
		say("502 Bad Gateway")
		return nil, err
	}
	say("200 Connection established")
	return server, nil
}

func (g *Gateway) socks(client net.Conn, in *bufio.Reader) (net.Conn, error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(in, b) // what is missing is zero, and refused
		return b
	}
	say := func(b ...byte) { _, _ = client.Write(b) }
	hello := read(2)
	methods := read(int(hello[1]))
	method := byte(0)
	if g.user != "" {
		method = 2
	}
	if hello[0] != 5 || !slices.Contains(methods, method) {
		say(5, 0xff)
		return nil, errNoTunnel
	}
	say(5, method)
	if method == 2 {
		user := read(int(read(2)[1]))
		password := read(int(read(1)[0]))
		if string(user) != g.user || string(password) != g.password {
			say(1, 1)
			return nil, errNoTunnel
		}
		say(1, 0)
	}
	request := read(4)
	var host string
	switch request[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	}
	port := binary.BigEndian.Uint16(read(2))
	if request[1] != 1 || host == "" {
		say(5, 7, 0, 1, 0, 0, 0, 0, 0, 0)
		return nil, errNoTunnel
	}
	server, err := g.dial(net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		say(5, 5, 0, 1, 0, 0, 0, 0, 0, 0)
		return nil, err
	}
	say(5, 0, 0, 1, 127, 0, 0, 1, 0, 0)
	return server, nil
}
