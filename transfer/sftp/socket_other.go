//go:build !linux

package sftp

import (
	"net"
	"time"
)

// setUserTimeout is for Linux; elsewhere SSH's keepalive finds a dead peer.
func setUserTimeout(*net.TCPConn, time.Duration) {}

// acknowledge is for Linux.
func acknowledge(*net.TCPConn) {}

// acknowledged is for Linux.
func acknowledged(*net.TCPConn) int64 { return 0 }
