// Package tcp is what this program wants of TCP beyond package net: how a
// connection is opened, and what the system is told and asked about it. It knows no
// protocol above. What only Linux can do does nothing elsewhere.
package tcp

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// Dial opens a connection as net.Dialer does. One that does not leave this machine
// is not paced: BBR, where it is the system's choice, sends at the rate that it has
// measured, and there it measures little but itself. FTP uploads took half as long
// again, and twice the processor time (Linux 6.18).
func Dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: onThisMachine}
	return d.DialContext(ctx, network, address)
}

// Listen listens as net.Listen does. What it accepts is as if it was dialled.
func Listen(network, address string) (net.Listener, error) {
	l := net.ListenConfig{Control: onThisMachine}
	return l.Listen(context.Background(), network, address)
}

func onThisMachine(_, address string, c syscall.RawConn) error {
	if to, err := netip.ParseAddrPort(address); err == nil && to.Addr().IsLoopback() {
		unpaced(c)
	}
	return nil
}
