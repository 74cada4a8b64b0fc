package tcp

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair gives both ends of a connection on this machine.
func pair(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err = Dial(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

// congestion is the algorithm of a connection.
func congestion(t *testing.T, conn net.Conn) (name string) {
	t.Helper()
	option(conn, func(fd int) {
		var err error
		if name, err = unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil {
			t.Error(err)
		}
	})
	return name
}

// TestOnLoopback: only what stays here gets another congestion control than the
// system's. Reno, which paces neither, is one that every system has.
func TestOnLoopback(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:21": "cubic", "127.8.9.10:21": "cubic", "[::1]:21": "cubic",
		"192.0.2.1:21": "reno", "[2001:db8::1]:21": "reno", "10.0.0.1:21": "reno",
	} {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"); err != nil {
			t.Fatal(err)
		}
		if err := onLoopback("tcp", address, raw); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if got, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", address, got, err, want)
		}
		f.Close()
	}
}

// TestDialAndListen: both sides, and before there is a connection.
func TestDialAndListen(t *testing.T) {
	ours, theirs := pair(t)
	if a, b := congestion(t, ours), congestion(t, theirs); a != "cubic" || b != "cubic" {
		t.Errorf("dialled %s, accepted %s", a, b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, "tcp", "127.0.0.1:1"); err == nil {
		t.Error("dialled although the context has ended")
	}
}

// TestAcknowledged: what the peer's system has taken is counted, whoever reads it.
func TestAcknowledged(t *testing.T) {
	ours, theirs := pair(t)
	before := Acknowledged(ours)
	if _, err := ours.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(theirs, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	AckAtOnce(theirs)
	deadline := time.Now().Add(10 * time.Second)
	for Acknowledged(ours)-before != 1000 {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes of 1000 acknowledged", Acknowledged(ours)-before)
		}
		time.Sleep(time.Millisecond)
	}
	if n := Acknowledged(struct{ net.Conn }{ours}); n != 0 {
		t.Errorf("%d bytes on what is no socket", n)
	}
}

func TestSetUserTimeout(t *testing.T) {
	ours, _ := pair(t)
	SetUserTimeout(ours, 1500*time.Millisecond)
	option(ours, func(fd int) {
		if ms, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || ms != 1500 {
			t.Errorf("%d ms, %v", ms, err)
		}
	})
}
