package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// dataOffer is a data connection that was negotiated and not yet used.
type dataOffer struct {
	verb string // PASV, EPSV, PORT, EPRT, "" for none
	mode DataMode
	ln   *net.TCPListener // passive, unless nobody listens
	addr netip.AddrPort   // active
}

func (o *dataOffer) close() {
	if o.ln != nil {
		_ = o.ln.Close()
	}
	*o = dataOffer{}
}

// dataConn is an open data connection.
type dataConn struct {
	net.Conn // raw, or TLS on it
	raw      *net.TCPConn
	forget   func() bool
}

// Close ends it with a FIN, after a close_notify if there is TLS.
func (d *dataConn) Close() error {
	d.forget()
	return d.Conn.Close()
}

// closeData closes the data connection, if any. The reader calls it for ABOR.
func (s *ftpSession) closeData() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != nil {
		_ = s.data.Close() // it may be closed already
		s.data = nil
	}
}

// newOffer starts the negotiation of a data connection.
func (s *ftpSession) newOffer(verb string) bool {
	s.offer.close()
	mode := s.cfg.Modes[verb]
	if mode == DataUnknown {
		s.notImplemented()
		return false
	}
	s.offer = dataOffer{verb: verb, mode: mode}
	return true
}

// passive is PASV (RFC 959 §4.1.2) and EPSV (RFC 2428 §3).
func (s *ftpSession) passive(arg string) {
	switch {
	case s.verb == "PASV" && !s.local.Is4():
		s.reply(425, "You cannot use PASV on IPv6 connections. Use EPSV instead.")
		return
	case s.verb == "EPSV" && strings.EqualFold(arg, "ALL"):
		s.reply(200, "EPSV ALL ok.")
		return
	case s.verb == "EPSV" && arg != "" && arg != s.family():
		s.reply(522, "Network protocol not supported, use ("+s.family()+")")
		return
	case s.knows["PRET"] && !s.pretGiven:
		s.reply(500, "You need to use a client supporting PRET (PRE Transfer) to use PASV.") // drftpd
		return
	}
	if !s.newOffer(s.verb) {
		return
	}
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.local, 0)))
	if err != nil {
		s.offer.close()
		s.reply(425, "Can't listen.")
		return
	}
	port := ln.Addr().(*net.TCPAddr).Port
	switch s.offer.mode {
	case DataDead:
		_ = ln.Close()
	case DataDropped:
		s.offer.ln = ln
		s.running.Go(func() { dropAll(ln) })
	default:
		s.offer.ln = ln
	}
	if s.verb == "EPSV" {
		s.reply(229, fmt.Sprintf("Entering Extended Passive Mode (|||%d|)", port))
		return
	}
	host := s.local.String()
	if s.cfg.PasvHost != "" {
		host = s.cfg.PasvHost
	}
	s.reply(227, fmt.Sprintf("Entering Passive Mode (%s,%d,%d).", strings.ReplaceAll(host, ".", ","), port>>8, port&0xff))
}

// dropAll accepts and closes until the listener is closed.
func dropAll(ln *net.TCPListener) {
	for {
		conn, err := ln.AcceptTCP()
		if err != nil {
			return
		}
		closeConn(conn, FIN)
	}
}

// family is this connection's network protocol number (RFC 2428 §2).
func (s *ftpSession) family() string {
	if s.local.Is4() {
		return "1"
	}
	return "2"
}

// port is PORT h1,h2,h3,h4,p1,p2 (RFC 959 §4.1.2).
func (s *ftpSession) port(arg string) {
	fields := strings.Split(arg, ",")
	var n [6]byte
	for i, field := range fields {
		v, err := strconv.ParseUint(strings.TrimSpace(field), 10, 8)
		if err != nil || len(fields) != len(n) {
			s.reply(501, "Illegal PORT command.")
			return
		}
		n[i] = byte(v)
	}
	s.active(netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5])))
}

// eprt is EPRT |family|address|port| (RFC 2428 §2).
func (s *ftpSession) eprt(arg string) {
	if arg == "" {
		s.reply(501, "Illegal EPRT command.")
		return
	}
	fields := strings.Split(arg, arg[:1])
	if len(fields) != 5 {
		s.reply(501, "Illegal EPRT command.")
		return
	}
	if fields[1] != s.family() {
		s.reply(522, "Network protocol not supported, use ("+s.family()+")")
		return
	}
	addr, err1 := netip.ParseAddr(fields[2])
	port, err2 := strconv.ParseUint(fields[3], 10, 16)
	if err1 != nil || err2 != nil {
		s.reply(501, "Illegal EPRT command.")
		return
	}
	s.active(netip.AddrPortFrom(addr, uint16(port)))
}

// active takes the client's address. One that is not its own is refused, or the
// server would be a stepping stone (RFC 2577 §3).
func (s *ftpSession) active(addr netip.AddrPort) {
	if addr.Addr().Unmap() != s.peer() {
		s.reply(500, "Illegal "+s.verb+" command.")
		return
	}
	if !s.newOffer(s.verb) {
		return
	}
	s.offer.addr = addr
	s.reply(200, s.verb+" command successful. Consider using PASV.")
}

func (s *ftpSession) peer() netip.Addr {
	return s.raw.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

func (s *ftpSession) pret(string) {
	s.pretGiven = true
	s.reply(200, "OK, planning to use that.")
}

// openData opens the negotiated data connection and sends the 150 with mark. If
// there is none in the end, the client has its reply already.
func (s *ftpSession) openData(mark string) *dataConn {
	offer := s.offer
	defer offer.close()
	s.offer, s.pretGiven = dataOffer{}, false

	event := s.record.add(Event{Conn: s.id, Verb: "data", Arg: offer.verb})
	refuse := func(why string, code int, text string) *dataConn {
		s.closeData()
		s.record.note(event, func(e *Event) { e.Text = why })
		s.reply(code, text)
		return nil
	}
	if offer.verb == "" {
		return refuse("not negotiated", 425, "Use PORT or PASV first.")
	}
	if s.cfg.DemandProt && s.secure() && !s.prot {
		return refuse("not encrypted", 522, "Data connections must be encrypted.")
	}
	if e := s.script.carryOut(s.script.occur("data", s.path, Before), s); e.taken {
		s.over = s.over || e.ended || e.dropped
		s.record.note(event, func(e *Event) { e.Text = "scripted" })
		return nil
	}
	switch offer.mode {
	case Data425:
		return refuse("refused", 425, "Can't open data connection.")
	case Data425After150:
		s.sendReply(150, mark)
		return refuse("refused", 425, "Can't open data connection.")
	}
	if s.cfg.MarkFirst {
		s.sendReply(150, mark)
	}
	raw, err := s.connectData(&offer)
	if errors.Is(err, errIntruder) {
		return refuse(err.Error(), 425, "Security: Bad IP connecting.") // vsftpd
	}
	if err != nil {
		return refuse(err.Error(), 425, "Failed to establish connection.")
	}
	d := &dataConn{Conn: raw, raw: raw}
	d.forget = context.AfterFunc(s.Server.ctx, func() { closeConn(raw, RST) })
	s.mu.Lock()
	s.data = d
	s.mu.Unlock()
	if offer.mode == DataDropped {
		closeConn(raw, FIN)
		return refuse("dropped", 426, "Connection closed; transfer aborted.")
	}
	if !s.cfg.MarkFirst {
		s.sendReply(150, mark)
	}
	if s.prot {
		if code, err := s.protectData(d); err != nil {
			s.doomed = s.cfg.Reuse == ReuseOr522
			return refuse(err.Error(), code, "Unable to build data connection: "+err.Error()+".")
		}
	}
	return d
}

var (
	errIntruder = errors.New("connection from a foreign address")
	errNobody   = errors.New("no connection within the time limit")
	errReuse    = errors.New("TLS session of the control connection was not resumed")
)

// connectData accepts or dials, as negotiated.
func (s *ftpSession) connectData(offer *dataOffer) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.DataTimeout)
	defer cancel()
	if offer.addr.IsValid() {
		if offer.mode == DataDead {
			return nil, errNobody
		}
		if offer.mode == DataSilent {
			<-ctx.Done()
			return nil, errNobody
		}
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(s.local, 0))}
		conn, err := d.DialContext(ctx, "tcp", offer.addr.String())
		if err != nil {
			return nil, rootCause(err)
		}
		return conn.(*net.TCPConn), nil
	}
	if offer.mode != DataWorks {
		<-ctx.Done() // nobody gets through
		return nil, errNobody
	}
	ln := offer.ln // offer is emptied while the func below may still run
	defer context.AfterFunc(ctx, func() { _ = ln.SetDeadline(time.Unix(1, 0)) })()
	conn, err := ln.AcceptTCP()
	if err != nil {
		return nil, errNobody
	}
	if conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() != s.peer() {
		closeConn(conn, RST)
		return nil, errIntruder
	}
	return conn, nil
}

// protectData does the TLS handshake of a data connection (RFC 4217 §9) and
// gives the code to refuse with if that fails.
func (s *ftpSession) protectData(d *dataConn) (code int, err error) {
	code = 522
	if s.cfg.Reuse == ReuseOr425 {
		code = 425
	}
	conn := tls.Server(d.raw, s.tls)
	ctx, cancel := context.WithTimeout(s.Server.ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return code, errors.New("TLS handshake failed")
	}
	if s.cfg.Reuse != ReuseOptional && !conn.ConnectionState().DidResume {
		return code, errReuse
	}
	s.mu.Lock()
	d.Conn = conn
	s.mu.Unlock()
	return 0, nil
}
