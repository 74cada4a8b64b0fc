package ftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Extras says what this server also does. It may be asked of a session that is
// over: the mode can still be switched for the next.
func (s *session) Extras() transfer.Extras {
	able := s.x.able
	e := transfer.Extras{
		Realpath:      s.realpath,
		Diagnose:      s.diagnose,
		Facts:         s.facts,
		Resume:        able.may("REST"),
		GetCompares:   s.canCompare(),
		TimePrecision: time.Minute,
		Software:      s.software,
	}
	if able.offers("MLST") || able.may("MDTM") {
		e.TimePrecision = time.Second
	}
	if s.timeSetter() != nil {
		e.SetModTime = s.setModTime
	}
	if !able.offers("MLST") && able.may("SIZE") {
		e.Size = s.fileSize
	}
	if able.may(siteChmod) {
		e.Chmod = s.chmod
	}
	if able.offers("AVBL") {
		e.Space = s.space
	}
	if s.canHash() {
		e.Hash = s.hash
	}
	if s.x.modes.canSwitch() {
		e.SwitchMode = s.switchMode
	}
	return e
}

// setTime is one way to set the time of a file.
type setTime struct {
	command string
	// arg is what follows the command.
	arg func(path, stamp string) string
	// offered: FEAT must list it. The others are tried and learned.
	offered bool
}

const (
	siteUtime = "SITE UTIME"
	siteChmod = "SITE CHMOD"
	// mdtmWrite is not a command but how refusals of MDTM with a time are kept
	// apart from those of MDTM.
	mdtmWrite = "MDTM-write"
)

// timeSetters in the order in which they are tried: the one of
// draft-somers-ftp-mfxx, the one of vsftpd and others (mdtm_write), and the one
// of proftpd's mod_site_misc and pure-ftpd.
var timeSetters = []setTime{
	{command: "MFMT", arg: func(path, stamp string) string { return stamp + " " + path }, offered: true},
	{command: mdtmWrite, arg: func(path, stamp string) string { return stamp + " " + path }},
	{command: siteUtime, arg: func(path, stamp string) string {
		return fmt.Sprintf("%s %s %s %s UTC", path, stamp, stamp, stamp)
	}},
}

// timeSetter is the first way that may work, nil if there is none.
func (s *session) timeSetter() *setTime {
	able := s.x.able
	for i, t := range timeSetters {
		switch {
		case !able.may(t.command), t.offered && !able.offers(t.command):
		case t.command == mdtmWrite && (able.features != nil && !able.offers("MDTM") || !able.may("MDTM")):
		default:
			return &timeSetters[i]
		}
	}
	return nil
}

// spell gives the command for a path as it goes on the wire.
func (w *setTime) spell(path string, t time.Time) (verb, arg string) {
	verb = w.command
	if verb == mdtmWrite {
		verb = "MDTM"
	}
	return verb, w.arg(path, t.UTC().Format(timeVal))
}

func (s *session) setModTime(ctx context.Context, path string, t time.Time) error {
	arg, end, err := s.begin(ctx, "MFMT", path)
	if err != nil {
		return err
	}
	defer end()
	x := s.x
	var last reply
	for way := s.timeSetter(); way != nil; way = s.timeSetter() {
		verb, args := way.spell(arg, t)
		r, err := x.cmd(verb, args)
		if err != nil {
			return err
		}
		if r.completed() && r.code != 202 {
			return nil
		}
		last = r
		if r.class() == 4 {
			break
		}
		if !r.unsupported() && r.code != 202 {
			if way.offered || !common(t) {
				break // this file, or this time: others may do
			}
			// A server without this form takes the time for a part of the name.
			if _, ok, err := x.size(arg); err != nil || !ok {
				return errors.Join(err, x.said(policy.Command, "MFMT", path, r))
			}
		}
		x.able.refuse(way.command, r, x.w.seen.Load())
	}
	return x.said(policy.Command, "MFMT", path, last)
}

// common says whether t is a time that every server can store: 32 bits hold it
// (POSIX time_t), and it is no negative number.
func common(t time.Time) bool { return t.Unix() >= 0 && t.Unix() <= math.MaxInt32 }

func (s *session) chmod(ctx context.Context, path string, mode fs.FileMode) error {
	arg, end, err := s.begin(ctx, siteChmod, path)
	if err != nil {
		return err
	}
	defer end()
	r, ok, err := s.x.optional(siteChmod, fmt.Sprintf("%03o %s", unixBits(mode), arg))
	switch {
	case err != nil:
		return err
	case ok && r.completed() && r.code != 202:
		return nil
	case r.code == 202:
		s.x.able.refuse(siteChmod, r, s.x.w.seen.Load())
	}
	return s.x.said(policy.Command, siteChmod, path, r)
}

// unixBits are the twelve permission bits as chmod takes them.
func unixBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, b := range []struct {
		mode fs.FileMode
		bit  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&b.mode != 0 {
			bits |= b.bit
		}
	}
	return bits
}

// space asks with AVBL (draft-peterson-streamlined-ftp-command-extensions).
func (s *session) space(ctx context.Context, path string) (transfer.Space, error) {
	arg, end, err := s.begin(ctx, "AVBL", path)
	if err != nil {
		return transfer.Space{}, err
	}
	defer end()
	r, ok, err := s.x.optional("AVBL", arg)
	if err != nil {
		return transfer.Space{}, err
	}
	free, valid := parseSIZE(r.text())
	if !ok || r.code != 213 || !valid {
		return transfer.Space{}, s.x.said(policy.Command, "AVBL", path, r)
	}
	return transfer.Space{Free: free, Total: -1, FreeFiles: -1}, nil
}

// switchMode makes the next data connection use the other mode, on this login.
func (s *session) switchMode(ctx context.Context) error {
	_, end, err := s.begin(ctx, "mode", ".")
	if err != nil {
		return err
	}
	defer end()
	m := s.x.modes
	was := m.name()
	m.active = !m.active
	s.x.w.ahead.void()
	m.switched = fmt.Sprintf("%s did not work", was)
	if m.failed != "" {
		m.switched = fmt.Sprintf("%s: %s", was, m.failed)
	}
	return nil
}

// facts is what is worth remembering about the server.
func (s *session) facts() transfer.Facts {
	m := s.x.modes
	f := transfer.Facts{}
	for name, fact := range map[string]transfer.Fact{
		factMode: m.worked, factEPSV: m.epsv, factTLS: s.tlsVersion,
		factListA: s.manners.a, factZone: s.manners.zone,
	} {
		if fact.Value != "" {
			f[name] = fact
		}
	}
	if able := s.x.able; able.offers("UTF8") && !able.offers("CLNT") {
		f[factUTF8] = transfer.Fact{Value: utf8Offered, Reason: "it is in FEAT", At: time.Now()}
	}
	refused := transfer.Facts{}
	if s.x.w != nil {
		if learned := s.x.w.ahead.learned; learned.Value != "" {
			f[factAhead] = learned
		}
		s.x.able.facts(refused, s.x.w.seen.Load())
	}
	maps.Copy(f, refused)
	return f
}

const factTLS = "tls-version"
