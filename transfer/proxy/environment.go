package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// FromEnvironment is the proxy that the environment names for a server, nil for
// none. It reads what curl reads: ftp_proxy, ftps_proxy or sftp_proxy for the
// scheme, else all_proxy, in small letters or capitals; and no_proxy for the
// hosts that need none.
func FromEnvironment(env func(string) string, scheme, address string) (*Proxy, error) {
	either := func(name string) (string, string) {
		if v := env(name); v != "" {
			return v, name
		}
		return env(strings.ToUpper(name)), strings.ToUpper(name)
	}
	if scheme == "ftpes" { // for curl that is ftp too
		scheme = "ftp"
	}
	value, name := either(scheme + "_proxy")
	if value == "" {
		value, name = either("all_proxy")
	}
	if except, _ := either("no_proxy"); value == "" || isExcepted(address, except) {
		return nil, nil
	}
	p, err := Parse(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// isExcepted says whether NO_PROXY names the host of address: by its name or that
// of a domain above it, by IP address or network (CIDR), with a port or without,
// or by "*".
func isExcepted(address, list string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	ip, notIP := netip.ParseAddr(host)
	for entry := range strings.FieldsFuncSeq(strings.ToLower(list), func(r rune) bool { return r == ',' || r == ' ' }) {
		if network, err := netip.ParsePrefix(entry); err == nil {
			if notIP == nil && network.Contains(ip.Unmap()) {
				return true
			}
			continue
		}
		if h, p, err := net.SplitHostPort(entry); err == nil {
			if p != port {
				continue
			}
			entry = h
		}
		entry = strings.Trim(strings.TrimPrefix(strings.Trim(entry, "[]"), "*."), ".")
		if entry == "*" || entry == host || entry != "" && notIP != nil && strings.HasSuffix(host, "."+entry) {
			return true
		}
	}
	return false
}
