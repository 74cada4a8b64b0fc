package main

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn) // its end is what the tests look at
				_ = conn.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// through connects to an echo and says when it began to.
func through(t *testing.T, p *proxy) (*net.TCPConn, time.Time) {
	t.Helper()
	t.Cleanup(p.Close)
	port, err := p.Listen("127.0.0.1:0", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), began
}

// TestProxyDelays: nothing arrives before its time, and the bytes under way are
// limited by nothing that a transfer notices.
func TestProxyDelays(t *testing.T) {
	t.Parallel()
	const rtt = 60 * time.Millisecond
	conn, began := through(t, newProxy(rtt, 0))
	// The handshake and the way there and back.
	roundTrip(t, conn, 1)
	if took := time.Since(began); took < 5*rtt/2 {
		t.Errorf("the first byte came back after %v, want at least %v", took, 5*rtt/2)
	}
	began = time.Now()
	roundTrip(t, conn, 1)
	if took := time.Since(began); took < rtt {
		t.Errorf("a byte came back after %v, want at least %v", took, rtt)
	}
	roundTrip(t, conn, 32*MiB)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}

// roundTrip sends n bytes and reads them back.
func roundTrip(t *testing.T, conn net.Conn, n int) {
	t.Helper()
	sent := make([]byte, n)
	for i := range sent {
		sent[i] = byte(i * 7 >> 3)
	}
	go func() { _, _ = conn.Write(sent) }() // the reader sees when it fails
	got := make([]byte, n)
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != sent[i] {
			t.Fatalf("byte %d of %d is wrong", i, n)
		}
	}
}

// TestProxyCuts: every so many bytes all connections end, and new ones work.
func TestProxyCuts(t *testing.T) {
	t.Parallel()
	p := newProxy(0, MiB)
	conn, _ := through(t, p)
	go func() { _, _ = conn.Write(make([]byte, 4*MiB)) }() // it must fail
	// The reset may show in the write, and then the end of the stream here.
	if n, _ := io.Copy(io.Discard, conn); n > MiB {
		t.Errorf("%d bytes came back", n)
	}
	again, err := net.Dial("tcp", conn.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	roundTrip(t, again, KiB)
}
