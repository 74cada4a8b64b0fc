package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/xfer-cli/xfer/policy"
)

// The constants of RFC 1928.
const (
	version5 = 5

	methodNone     = 0
	methodPassword = 2 // RFC 1929
	methodRefused  = 0xff

	commandConnect = 1

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4
)

// refusals5 are the replies of RFC 1928 §6. What the proxy tells of the server
// means the same as if we had met it ourselves.
var refusals5 = map[byte]refusal{
	1: {policy.CauseProxy, "general failure"},
	2: {policy.CauseProxy, "its rules do not allow this connection"},
	3: {policy.CauseUnreachable, "the network can't be reached"},
	4: {policy.CauseUnreachable, "the host can't be reached"},
	5: {policy.CauseRefused, "connection refused"},
	6: {policy.CauseUnreachable, "the time to live has expired"},
	7: {policy.CauseProxy, "it knows no CONNECT"},
	8: {policy.CauseProxy, "it knows no such kind of address"},
}

var errNotSOCKS = errors.New("it does not speak SOCKS5")

// socks5 asks for a connection to address.
func socks5(conn net.Conn, address string, p *Proxy) error {
	request, err := connectRequest(address)
	if err != nil {
		return err
	}
	if err := greet(conn, p); err != nil {
		return err
	}
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var head [4]byte // version, reply, reserved, kind of address
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[0] != version5 {
		return errNotSOCKS
	}
	if head[1] != 0 {
		if r, ok := refusals5[head[1]]; ok {
			return &r
		}
		return &refusal{policy.CauseProxy, fmt.Sprintf("reply %d", head[1])}
	}
	return skipAddress(conn, head[3])
}

// greet agrees on a method and logs in.
func greet(conn net.Conn, p *Proxy) error {
	methods := []byte{methodNone}
	if p.User != "" {
		methods = append(methods, methodPassword)
	}
	if _, err := conn.Write(append([]byte{version5, byte(len(methods))}, methods...)); err != nil {
		return err
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch {
	case answer[0] != version5:
		return errNotSOCKS
	case answer[1] == methodNone:
		return nil
	case answer[1] == methodPassword && p.User != "":
		return logIn(conn, p)
	default:
		return &refusal{policy.CauseProxyLogin, "it wants a login"}
	}
}

// logIn is RFC 1929.
func logIn(conn net.Conn, p *Proxy) error {
	password := p.Password.Reveal()
	if len(p.User) > 255 || len(password) > 255 {
		return &refusal{policy.CauseProxy, "user or password is longer than 255 bytes"}
	}
	line := append([]byte{1, byte(len(p.User))}, p.User...)
	line = append(append(line, byte(len(password))), password...)
	if _, err := conn.Write(line); err != nil {
		return err
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[1] != 0 {
		return &refusal{policy.CauseProxyLogin, "the login was refused"}
	}
	return nil
}

// connectRequest is RFC 1928 §4.
func connectRequest(address string) ([]byte, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	b := []byte{version5, commandConnect, 0}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Unmap().Is4():
		b = append(append(b, addressIPv4), ip.Unmap().AsSlice()...)
	case err == nil:
		b = append(append(b, addressIPv6), ip.AsSlice()...)
	case len(host) > 255:
		return nil, errors.New("the host name is longer than 255 bytes")
	default:
		b = append(append(b, addressName, byte(len(host))), host...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(n)), nil
}

// skipAddress reads the address that the proxy connects from; nobody needs it.
func skipAddress(conn net.Conn, kind byte) error {
	length := map[byte]int{addressIPv4: 4, addressIPv6: 16}[kind]
	if kind == addressName {
		var n [1]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			return err
		}
		length = int(n[0])
	} else if length == 0 {
		return errNotSOCKS
	}
	_, err := io.CopyN(io.Discard, conn, int64(length+2)) // and the port
	return err
}
