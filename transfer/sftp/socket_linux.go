package sftp

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout sets how long sent data may stay unacknowledged (tcp(7)).
func setUserTimeout(c *net.TCPConn, d time.Duration) {
	control(c, func(fd int) {
		// An error means an old kernel; SSH's own keepalive does the same, later.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// acknowledged is how many bytes the peer's system has taken (tcp(7), TCP_INFO).
func acknowledged(c *net.TCPConn) (n int64) {
	control(c, func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int64(info.Bytes_acked)
		}
	})
	return n
}

// acknowledge tells the peer's system at once what has arrived (tcp(7),
// TCP_QUICKACK, which holds only for a while). Else ours waits up to 40 ms for
// something to send, and so does what sshd says next: it leaves Nagle's algorithm
// on for SFTP.
func acknowledge(c *net.TCPConn) {
	control(c, func(fd int) {
		// An error means a system that imitates Linux; it only takes longer.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	})
}

func control(c *net.TCPConn, f func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // fails only on a closed socket
	}
}
