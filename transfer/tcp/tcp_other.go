//go:build !linux

package tcp

import (
	"net"
	"syscall"
	"time"
)

func unpaced(syscall.RawConn) {}

// AckAtOnce is for Linux.
func AckAtOnce(net.Conn) {}

// SetUserTimeout is for Linux; elsewhere it takes keepalives to find a dead peer.
func SetUserTimeout(net.Conn, time.Duration) {}

// Acknowledged is for Linux.
func Acknowledged(net.Conn) int64 { return 0 }
