//go:build !linux

package sftp

import (
	"net"
	"time"
)

// setUserTimeout is for Linux; elsewhere SSH's keepalive finds a dead peer.
func setUserTimeout(*net.TCPConn, time.Duration) {}

// unacknowledged is for Linux.
func unacknowledged(*net.TCPConn) int64 { return 0 }
