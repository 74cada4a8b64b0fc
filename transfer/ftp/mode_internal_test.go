package ftp

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// TestReachable: active mode is offered only where the server can reach us.
func TestReachable(t *testing.T) {
	for _, test := range []struct {
		name          string
		local, remote string
		o             Options
		want          bool
	}{
		{"same machine", "127.0.0.1", "127.0.0.1", Options{}, true},
		{"same address", "203.0.113.5", "203.0.113.5", Options{}, true},
		{"private network", "192.168.1.7", "192.168.1.20", Options{}, true},
		{"routed private networks", "10.1.2.3", "172.16.9.9", Options{}, true},
		{"unique local IPv6", "fd00::2", "fd00::9", Options{}, true},
		{"link local", "fe80::1%eth0", "fe80::2%eth0", Options{}, true},
		{"NAT", "192.168.1.7", "203.0.113.5", Options{}, false},
		{"public", "198.51.100.7", "203.0.113.5", Options{}, false},
		{"loopback to elsewhere", "127.0.0.1", "203.0.113.5", Options{}, false},
		{"configured address", "192.168.1.7", "203.0.113.5", Options{ActiveAddress: netip.MustParseAddr("198.51.100.1")}, true},
		{"asked for", "192.168.1.7", "203.0.113.5", Options{Mode: transfer.ModeActive}, true},
		{"passive asked for", "192.168.1.7", "203.0.113.5", Options{Mode: transfer.ModePassive}, false},
	} {
		got := reachable(&test.o, netip.MustParseAddr(test.local), netip.MustParseAddr(test.remote))
		if got != test.want {
			t.Errorf("%s: %t, want %t", test.name, got, test.want)
		}
	}
	if reachable(&Options{Mode: transfer.ModeActive}, netip.Addr{}, netip.Addr{}) {
		t.Error("through a proxy nobody can reach us")
	}
}

// TestBeginningMode: the link's wish, then the person's, then what is
// remembered and still fresh, then passive.
func TestBeginningMode(t *testing.T) {
	here := ends{local: netip.MustParseAddr("127.0.0.1"), remote: netip.MustParseAddr("127.0.0.1")}
	away := ends{local: netip.MustParseAddr("192.168.1.7"), remote: netip.MustParseAddr("203.0.113.5")}
	knows := func(mode string, age time.Duration) transfer.Facts {
		return transfer.Facts{factMode: {Value: mode, At: time.Now().Add(-age)}}
	}
	for _, test := range []struct {
		name              string
		o                 Options
		ends              ends
		active, canSwitch bool
	}{
		{"nothing known", Options{}, here, false, true},
		{"nothing known, NAT", Options{}, away, false, false},
		{"remembered", Options{Hints: transfer.Hints{Facts: knows("active", time.Hour)}}, here, true, true},
		{"remembered, but no longer possible", Options{Hints: transfer.Hints{Facts: knows("active", time.Hour)}}, away, false, false},
		{"remembered too long ago", Options{Hints: transfer.Hints{Facts: knows("active", 8*24*time.Hour)}}, here, false, true},
		{"wish against memory", Options{Mode: transfer.ModePassive, Hints: transfer.Hints{Facts: knows("active", time.Hour)}}, here, false, true},
		{"wish", Options{Mode: transfer.ModeActive}, away, true, true},
		{"the link has switched", Options{Hints: transfer.Hints{Mode: transfer.ModeActive}}, here, true, true},
		{"only active", Options{Mode: transfer.ModeActiveOnly}, away, true, false},
		{"only passive", Options{Mode: transfer.ModePassiveOnly}, here, false, false},
		{"only passive, from the link", Options{Hints: transfer.Hints{Mode: transfer.ModePassiveOnly}}, here, false, false},
	} {
		m := newModes(&test.o, test.ends)
		if m.active != test.active || m.canSwitch() != test.canSwitch {
			t.Errorf("%s: active %t, can switch %t; want %t, %t", test.name, m.active, m.canSwitch(), test.active, test.canSwitch)
		}
	}
	proxied := endsOf(&Options{Address: "ftp.example:21", DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, nil }}, nil)
	if m := newModes(&Options{}, proxied); m.canSwitch() || proxied.host != "ftp.example" {
		t.Errorf("through a proxy: %+v, %+v", m, proxied)
	}
}
