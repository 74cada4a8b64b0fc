package ftp

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestAckAtOnce: behind a flight replies are acknowledged at once, which a dialogue
// has made the system delay.
func TestAckAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for commands := bufio.NewScanner(conn); commands.Scan(); {
			if commands.Text() == "NOOP" {
				_, _ = io.WriteString(conn, "200 Fine.\r\n") // the client notices
			}
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w := newWire(conn, conn, time.Minute, slog.New(slog.DiscardHandler))
	defer func() { _ = w.fail(io.ErrClosedPipe) }()
	for range 20 {
		if _, err := w.exchange(t.Context(), "NOOP", ""); err != nil {
			t.Fatal(err)
		}
	}
	w.ask(t.Context(), "SIZE file", "RNFR file")
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if at, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK); err != nil || at != 1 {
			t.Errorf("TCP_QUICKACK is %d, %v", at, err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}
