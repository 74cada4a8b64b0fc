package tcp

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// unpaced chooses the congestion control (tcp(7), TCP_CONGESTION). It must be done
// before the connection is open: pacing, once begun, does not end.
func unpaced(c syscall.RawConn) {
	control(c, func(fd int) {
		// An error means that there is no such thing, or that it is not allowed.
		_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	})
}

// AckAtOnce makes the system acknowledge what has arrived and what comes next
// without delay (tcp(7), TCP_QUICKACK); it holds for a while only. Else the system
// waits up to 40 ms for something to send, and as long waits a peer that collects
// small packets until the one before has arrived (Nagle).
func AckAtOnce(conn net.Conn) {
	option(conn, func(fd int) {
		// An error means a system that imitates Linux; it only takes longer.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}

// SetUserTimeout sets how long sent data may stay unacknowledged before the system
// gives the connection up (tcp(7), TCP_USER_TIMEOUT).
func SetUserTimeout(conn net.Conn, d time.Duration) {
	option(conn, func(fd int) {
		// An error means an old kernel, which finds a dead peer later.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// Acknowledged is how many bytes the peer's system has taken (tcp(7), TCP_INFO), 0
// where that is not known.
func Acknowledged(conn net.Conn) (n int64) {
	option(conn, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int64(info.Bytes_acked)
		}
	})
	return n
}

// option does nothing to what is no TCP connection: one through a proxy.
func option(conn net.Conn, f func(fd int)) {
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			control(raw, f)
		}
	}
}

func control(c syscall.RawConn, f func(fd int)) {
	_ = c.Control(func(fd uintptr) { f(int(fd)) }) // fails only on a closed socket
}
