package ftp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/tcp"
)

// modes is how the data connections of a session are opened: what is wished,
// what is possible, and what was learned.
type modes struct {
	// active is the mode of the next data connection.
	active bool
	// fixed: the person forbids the other mode.
	fixed bool
	// reachable: the server can open connections to us.
	reachable bool
	// failed is how the last data connection could not be opened, and switched
	// why the mode is not the one that the session began with.
	failed, switched string
	// noEPSV and noEPRT say why only PASV or PORT are used, "" if they are not.
	noEPSV, noEPRT string
	// worked is the mode of a transfer that succeeded, zero before.
	worked, epsv transfer.Fact
}

// ends are the two sides of the control connection. Behind a proxy (Options.DialContext)
// the addresses are unknown and zero.
type ends struct {
	local, remote netip.Addr
	// host is what data connections are dialled to: the address that the
	// control connection has reached, or behind a proxy the name.
	host string
}

// newModes decides in which mode a session begins: the one that the link asks
// for, else the person's wish, else what is remembered, else passive, which
// needs nothing of our network.
func newModes(o *Options, e ends) *modes {
	m := &modes{
		fixed: o.Mode == transfer.ModePassiveOnly || o.Mode == transfer.ModeActiveOnly ||
			o.Hints.Mode == transfer.ModePassiveOnly || o.Hints.Mode == transfer.ModeActiveOnly,
		reachable: reachable(o, e.local, e.remote),
	}
	begin := o.Hints.Mode
	if begin == transfer.ModeAuto {
		begin = o.Mode
	}
	switch begin {
	case transfer.ModeActive, transfer.ModeActiveOnly:
		m.active = true
	case transfer.ModeAuto:
		m.active = remembered(o.Hints.Facts, factMode) == transfer.ModeActive.String() && m.reachable
	}
	if v := remembered(o.Hints.Facts, factEPSV); v != "" && v != epsvWorks {
		m.noEPSV = "remembered: " + o.Hints.Facts[factEPSV].Reason
		m.epsv = o.Hints.Facts[factEPSV]
	}
	return m
}

// remembered is the value of a fact that is still believed, "" if there is none.
func remembered(facts transfer.Facts, name string) string {
	f, ok := facts[name]
	if !ok || time.Since(f.At) > transfer.FactLifetime {
		return ""
	}
	return f.Value
}

// The facts about data connections, and the values of factEPSV.
const (
	factMode = "mode"
	factEPSV = "epsv"

	epsvWorks   = "works"
	epsvRefused = "refused"
	epsvDead    = "dead"
)

// reachable says whether the server can open a connection to us: an address
// was configured for that, the person asked for active mode, or no NAT can be
// between us because both are on the same machine or in private networks.
func reachable(o *Options, local, remote netip.Addr) bool {
	if !local.IsValid() {
		return false
	}
	asked := o.Mode == transfer.ModeActive || o.Mode == transfer.ModeActiveOnly
	inside := func(a netip.Addr) bool { return a.IsPrivate() || a.IsLinkLocalUnicast() }
	return asked || o.ActiveAddress.IsValid() || local == remote ||
		local.IsLoopback() && remote.IsLoopback() || inside(local) && inside(remote)
}

func (m *modes) name() transfer.Mode {
	if m.active {
		return transfer.ModeActive
	}
	return transfer.ModePassive
}

// canSwitch says whether the other mode is allowed and has a chance.
func (m *modes) canSwitch() bool { return !m.fixed && (m.active || m.reachable) }

// succeeded notes that a data connection did its work.
func (m *modes) succeeded(d *dataConn) {
	reason := "it worked"
	if m.switched != "" {
		reason = m.switched
	}
	m.worked = transfer.Fact{Value: m.name().String(), Reason: reason, At: time.Now()}
	if d.extended {
		m.epsv = transfer.Fact{Value: epsvWorks, Reason: "it worked", At: time.Now()}
	}
}

// note keeps how a data connection could not be opened.
func (m *modes) note(f *policy.Fault) {
	if m != nil && (f.Cause == policy.CauseDataConnect || f.Code == 425 && f.Cause == "") {
		m.failed = f.Said()
	}
}

// prepare agrees with the server on a data connection (RFC 959 §3.2, RFC 2428)
// and gives 227, or the code of the fault that it keeps.
func (x *interposer) prepare() int {
	if x.able.offers("PRET") {
		// draft-dd-pret-00: distributed servers (DrFTPD) choose the machine that
		// holds the file, and want to know it before PASV.
		if _, err := x.exchange("PRET "+x.op+" "+x.arg, ""); err != nil {
			return x.fail(x.lost(policy.Data, "PRET", x.path, err))
		}
	}
	x.data = newDataConn(x)
	f := x.preparePassive
	if x.modes.active {
		f = x.prepareActive
	}
	if fault := f(); fault != nil {
		x.data.release()
		return x.fail(fault)
	}
	return 227
}

// askPort gives the question which port the next data connection goes to, to be
// sent ahead; none where it can't be asked yet, or was already. It comes before
// other questions: pure-ftpd 1.0.50 puts the replies into one packet, and firewalls
// (Linux's nf_conntrack_ftp) look for this one at its beginning.
func (x *interposer) askPort() []string {
	verb := "EPSV"
	if x.modes.noEPSV != "" {
		verb = "PASV"
	}
	if x.modes.active || x.able.offers("PRET") || x.w.ahead.has(verb) {
		return nil
	}
	return []string{verb}
}

// portOf is the port that a 229 or 227 tells. Only the port counts of a 227: the
// address may be one behind the server's NAT, and it must never send us to a third
// machine (RFC 2577 §2).
func portOf(r reply) (port int, extended, ok bool) {
	if r.code == 229 {
		port, ok = parseEPSV(r.text())
		return port, true, ok
	}
	addr, ok := parsePASV(r.text())
	return int(addr.Port()), false, ok && r.class() == 2
}

func (x *interposer) preparePassive() *policy.Fault {
	d := x.data
	d.behind = x.w.ahead.portBehind()
	var ok bool
	if x.modes.noEPSV == "" {
		r, err := x.exchange("EPSV", "")
		if err != nil {
			return x.lost(policy.Data, "EPSV", x.path, err)
		}
		if d.port, d.extended, ok = portOf(r); ok && d.extended {
			return nil
		}
		if r.class() == 4 {
			return x.said(policy.Data, x.op, x.path, r)
		}
		x.modes.withoutEPSV(epsvRefused, fmt.Sprintf("%d %s", r.code, policy.Sanitize(r.text())))
		if r.code == 501 || r.code == 503 {
			x.modes.epsv = transfer.Fact{} // that may be about what came before it
		}
	}
	r, err := x.exchange("PASV", "")
	if err != nil {
		return x.lost(policy.Data, "PASV", x.path, err)
	}
	d.port, d.extended, ok = portOf(r)
	switch {
	case ok && !d.extended:
		return nil
	case r.class() == 2:
		f := x.said(policy.Data, "PASV", x.path, r)
		f.Cause = policy.CauseSyntax
		return f
	default:
		return x.modeRefused("PASV", r)
	}
}

// modeRefused: the server does not offer this mode at all; the other may work.
func (x *interposer) modeRefused(verb string, r reply) *policy.Fault {
	f := x.said(policy.Data, x.op, x.path, r)
	if r.class() == 5 {
		f.Cause = policy.CauseDataConnect
		f.Text = verb + " refused: " + f.Text
	}
	return f
}

func (m *modes) withoutEPSV(value, reason string) {
	m.noEPSV = reason
	m.epsv = transfer.Fact{Value: value, Reason: "EPSV: " + reason, At: time.Now()}
}

// connect opens the passive data connection that prepare agreed on. It is the
// library's dial function.
func (x *interposer) connect() (net.Conn, error) {
	d := x.data
	switch {
	case x.modes.active:
		return d, nil // the server connects, once it has the command
	case x.modes.proven(x.o.Hints.Facts, d.extended):
		if !d.takeEarly() {
			d.dial()
		}
		return d, nil
	}
	limit := x.w.limit
	if d.extended {
		limit /= 2 // PASV gets the other half
	}
	conn, err := x.dialData(x.ctx, d.port, limit)
	if err != nil && d.extended && x.ctx.Err() == nil && x.w.alive() {
		// Firewalls that open the port of a 227 for us don't always read 229.
		x.modes.withoutEPSV(epsvDead, "no connection to its port: "+plainText(err))
		if f := x.preparePassive(); f != nil {
			x.fail(f)
			return nil, f
		}
		conn, err = x.dialData(x.ctx, d.port, x.w.limit-limit)
	}
	if err != nil {
		f := x.notConnected(err)
		d.release()
		x.fail(f)
		return nil, f
	}
	d.opened(conn)
	return d, nil
}

// notConnected is the fault of a passive data connection that could not be opened.
func (x *interposer) notConnected(err error) *policy.Fault {
	f := x.lost(policy.Data, x.op, x.path, err)
	if x.ctx.Err() == nil {
		f.Cause = policy.CauseDataConnect
		f.Text = fmt.Sprintf("passive, port %d: %s", x.data.port, f.Text)
	}
	return f
}

// proven says whether passive data connections of this kind are known to work.
// Then one is opened while the command is on its way. Should it fail all the
// same, the server waits for it, and the session is lost.
func (m *modes) proven(facts transfer.Facts, extended bool) bool {
	mode, epsv := m.worked.Value, m.epsv.Value
	if mode == "" {
		mode, epsv = remembered(facts, factMode), remembered(facts, factEPSV)
	}
	return mode == transfer.ModePassive.String() && (!extended || epsv == epsvWorks)
}

// dialled is what became of a data connection.
type dialled struct {
	conn net.Conn
	err  error
}

// dial opens the passive data connection in the background, until join or release.
func (d *dataConn) dial() { d.dialling = d.x.dialBeside(d.ctx, d.port) }

func (x *interposer) dialBeside(ctx context.Context, port int) chan dialled {
	result := make(chan dialled, 1)
	go func() {
		conn, err := x.dialData(ctx, port, x.w.limit)
		result <- dialled{conn, err}
	}()
	return result
}

// join waits for the data connection that dial opens, or for a reply that makes
// it needless: a server that refuses the command closes its port.
func (d *dataConn) join() error {
	if d.dialling == nil {
		return nil
	}
	w := d.x.w
	for replies := w.replies; ; {
		select {
		case got := <-d.dialling:
			d.dialling = nil
			if got.err == nil {
				d.opened(got.conn)
			}
			return got.err
		case r := <-replies:
			w.unread = &r
			if r.class() >= 4 {
				return nil
			}
			replies = nil
		case <-w.dead:
			return nil
		}
	}
}

func (x *interposer) dialData(ctx context.Context, port int, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return x.o.dial(ctx, "tcp", net.JoinHostPort(x.ends.host, strconv.Itoa(port)))
}

func (x *interposer) prepareActive() *policy.Fault {
	local := x.ends.local
	door, err := openDoor(local, x.o.ActivePorts, x.ends.remote, x.o.Log)
	if err != nil {
		f := x.lost(policy.Data, x.op, x.path, err)
		f.Cause, f.Text = policy.CauseDataConnect, "active: "+f.Text
		return f
	}
	x.data.door = door
	announced := local
	if x.o.ActiveAddress.IsValid() {
		announced = x.o.ActiveAddress
	}
	addr := netip.AddrPortFrom(announced, door.port)
	v4 := announced.Is4()

	if x.modes.noEPRT == "" || !v4 {
		r, err := x.exchange("EPRT "+formatEPRT(addr), "")
		switch {
		case err != nil:
			return x.lost(policy.Data, "EPRT", x.path, err)
		case r.completed():
			return nil
		case r.class() == 4 || !v4:
			return x.modeRefused("EPRT", r)
		}
		x.modes.noEPRT = fmt.Sprintf("%d %s", r.code, policy.Sanitize(r.text()))
	}
	r, err := x.exchange("PORT "+formatPORT(addr), "")
	switch {
	case err != nil:
		return x.lost(policy.Data, "PORT", x.path, err)
	case !r.completed():
		return x.modeRefused("PORT", r)
	}
	return nil
}

// door is the listening socket of active mode. It is open before the server is
// told of it: pyftpdlib connects at once.
type door struct {
	ln    net.Listener
	port  uint16
	conns chan net.Conn // one, then closed
}

func openDoor(local netip.Addr, ports PortRange, peer netip.Addr, log *slog.Logger) (*door, error) {
	ln, err := listen(local, ports)
	if err != nil {
		return nil, err
	}
	addr, _ := ln.Addr().(*net.TCPAddr)
	d := &door{ln: ln, port: addr.AddrPort().Port(), conns: make(chan net.Conn, 1)}
	go d.serve(peer, log)
	return d, nil
}

// listen takes a port of the range, beginning anywhere in it, so that sessions
// that run side by side rarely meet.
func listen(local netip.Addr, ports PortRange) (net.Listener, error) {
	if !local.IsValid() {
		return nil, errProxied
	}
	if ports == (PortRange{}) {
		return tcp.Listen("tcp", netip.AddrPortFrom(local, 0).String())
	}
	var errs []error
	n := int(ports.Last) - int(ports.First) + 1
	first := rand.IntN(max(1, n))
	for i := range n {
		port := ports.First + uint16((first+i)%n)
		ln, err := tcp.Listen("tcp", netip.AddrPortFrom(local, port).String())
		if err == nil {
			return ln, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

var errProxied = errors.New("not possible through a proxy")

// serve lets in the first connection that comes from peer. Whoever else found
// the port is sent away while the transfer goes on.
func (d *door) serve(peer netip.Addr, log *slog.Logger) {
	defer close(d.conns)
	defer d.ln.Close()
	for {
		conn, err := d.ln.Accept()
		if err != nil {
			return
		}
		if from := addrOf(conn.RemoteAddr()); from.WithZone("") != peer.WithZone("") {
			log.Warn("ftp_data_intruder", "from", from.String(), "expected", peer.String())
			_ = conn.Close()
			continue
		}
		d.conns <- conn
		return
	}
}

// close ends the listening, and a connection that nobody took.
func (d *door) close() {
	_ = d.ln.Close()
	for conn := range d.conns {
		_ = conn.Close()
	}
}

// knocked says whether the server has connected.
func (d *door) knocked() bool { return len(d.conns) > 0 }

// addrOf is the IP address of a TCP address, IPv4 in its own form, invalid for
// anything else.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
