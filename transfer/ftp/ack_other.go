//go:build !linux

package ftp

import "net"

// ackAtOnce has no counterpart here.
func ackAtOnce(net.Conn) {}
