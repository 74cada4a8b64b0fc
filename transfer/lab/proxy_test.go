package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
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
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return ln.Addr().String()
}

func startProxy(t *testing.T, target string, rtt time.Duration) *Proxy {
	t.Helper()
	p, err := StartProxy(target, rtt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		start := time.Now()
		if err := p.Close(); err != nil || time.Since(start) > 3*time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
	})
	return p
}

func TestProxyDelay(t *testing.T) {
	const rtt = 60 * time.Millisecond
	p := startProxy(t, echo(t), rtt)
	conn := dialRaw(t, p.Addr()).(*net.TCPConn)
	start := time.Now()
	_, _ = io.WriteString(conn, "x")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil || time.Since(start) < rtt {
		t.Errorf("one byte: %v after %v", err, time.Since(start))
	}
	data := noise(4 << 20)
	start = time.Now()
	go func() {
		_, _ = conn.Write(data)
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if d := time.Since(start); d < rtt || d > 60*rtt { // one window of 64 KiB per round trip would take 64
		t.Errorf("4 MiB there and back took %v", d)
	}
	if up, down := p.Moved(); up != int64(len(data)+1) || down != up || p.Accepted() != 1 {
		t.Errorf("moved %d and %d over %d connections", up, down, p.Accepted())
	}
}

func TestProxyCuts(t *testing.T) {
	target := echo(t)
	data := noise(300_000)
	for _, how := range []End{FIN, RST} {
		p := startProxy(t, target, 0)
		p.SetCut(Cut{Down: 100_000, How: how, Times: 1})
		for i, want := range []int{100_000, len(data)} {
			conn := dialRaw(t, p.Addr()).(*net.TCPConn)
			go func() {
				_, _ = conn.Write(data)
				_ = conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if how == RST && i == 0 {
				if !errors.Is(err, syscall.ECONNRESET) || len(got) > want {
					t.Errorf("RST: %d bytes, %v", len(got), err)
				}
			} else if len(got) != want || i > 0 && err != nil {
				t.Errorf("connection %d: %d bytes, want %d, %v", i, len(got), want, err)
			}
			if !bytes.HasPrefix(data, got) {
				t.Error("no prefix")
			}
		}
		if p.Cuts() != 1 {
			t.Errorf("%d cuts", p.Cuts())
		}
	}
}

func TestProxyOnDemand(t *testing.T) {
	p := startProxy(t, echo(t), 0)
	conn := dialRaw(t, p.Addr())
	hello := func(patience time.Duration) error {
		_, _ = io.WriteString(conn, "x")
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}
	if err := hello(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	p.Stall(true)
	if err := hello(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("stalled: %v", err)
	}
	p.Stall(false)
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("resumed: %v", err)
	}
	p.CutNow(RST)
	if err := hello(20 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("cut: %v", err)
	}
	p.Refuse(true)
	if other, err := net.Dial("tcp", p.Addr()); err == nil {
		if _, err := other.Read(make([]byte, 1)); err == nil {
			t.Error("refused, and served")
		}
		_ = other.Close()
	}
	p.Refuse(false)
	conn = dialRaw(t, p.Addr())
	if err := hello(20 * time.Second); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
	p.Stall(true) // Close must not wait for it
	_ = hello(time.Millisecond)
}

// The control connection of an FTP session breaks; its data connection doesn't.
func TestProxyBeforeFTP(t *testing.T) {
	root := t.TempDir()
	srv := startFTP(t, FTPConfig{Root: root})
	p := startProxy(t, srv.Addr(), 10*time.Millisecond)
	c := newControl(t, dialRaw(t, p.Addr()))
	c.want(220)
	c.cmd(331, "USER demo")
	c.cmd(230, "PASS demo")
	c.cmd(200, "TYPE I")
	data := c.passive()
	c.cmd(150, "STOR a")
	p.CutNow(RST)
	c.gone()
	_, _ = data.Write([]byte("complete all the same"))
	_ = data.Close()
	waitStored(t, root, "a", len("complete all the same"))
}
