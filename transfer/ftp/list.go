package ftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp/listing"
)

// List asks with MLSD where the server has it, else with LIST. The library's List
// is not used: it collects everything, and drops the lines it can't read.
func (s *session) List(ctx context.Context, dir string, each func(transfer.Info) error) error {
	arg, end, err := s.begin(ctx, "LIST", dir)
	if err != nil {
		return err
	}
	defer end()
	return s.list(dir, arg, each)
}

func (s *session) list(dir, arg string, each func(transfer.Info) error) error {
	if s.x.able.offers("MLSD") || s.x.able.offers("MLST") && s.x.able.may("MLSD") {
		err := s.listFacts(dir, arg, each)
		if f, ok := errors.AsType[*policy.Fault](err); !ok || f.Cause != causeUnsupported {
			return err
		}
	}
	return s.listLines(dir, arg, each)
}

// causeUnsupported marks, inside this package, that the server does not know the
// command. It never leaves it.
const causeUnsupported policy.Cause = "unsupported"

// listFacts lists with MLSD (RFC 3659 §7).
func (s *session) listFacts(dir, arg string, each func(transfer.Info) error) error {
	x := s.x
	lines := 0
	err := x.lines("MLSD", guarded(arg), func(line string, bad error) error {
		lines++
		if bad != nil {
			return each(unreadable(line, bad))
		}
		info, ok := listing.Facts(line)
		if !ok {
			return nil
		}
		return each(s.named(info))
	})
	// pyftpdlib says 501 for a directory that is not there.
	if f, ok := errors.AsType[*policy.Fault](err); ok && f.Cause == "" && (f.Code == 550 || f.Code == 501) {
		return s.notListed("MLSD", dir, arg, reply{code: f.Code, lines: []string{f.Text}})
	}
	if err == nil && lines == 0 {
		// Not even the directory itself: some servers answer so for one that
		// does not exist.
		return s.mustExist(dir, arg)
	}
	return err
}

// mustExist makes an error of an empty listing when the directory can't be entered.
func (s *session) mustExist(dir, arg string) error {
	if home, err := s.homeDir(); err != nil || home == "" {
		return err
	}
	r, err := s.x.cmd("CWD", arg)
	if err != nil {
		return err
	}
	if r.completed() {
		return s.leave()
	}
	return s.notListed("CWD", dir, arg, r)
}

// notListed is the fault of a directory that can't be listed: it is missing, it
// is none, or we may not.
func (s *session) notListed(op, dir, arg string, r reply) error {
	f := s.x.said(policy.Command, op, dir, r)
	if r.code != 550 && r.code != 501 {
		return f
	}
	info, err := s.stat(dir, arg)
	seen, isFault := errors.AsType[*policy.Fault](err)
	switch {
	case err == nil && !info.IsDir():
		f.Cause = policy.CauseRemoteNotDirectory
	case isFault && (seen.Code == 0 && seen.Cause != policy.CauseRemoteMissing):
		return seen // the look itself failed
	case isFault:
		f.Cause = seen.Cause
	}
	return f
}

// listLines lists with LIST, from inside the directory: as an argument its name
// could be read as options ("-a"), as a pattern ("*", vsftpd) or cut at a space,
// and vsftpd and pure-ftpd answer for a missing one as for an empty one.
func (s *session) listLines(dir, arg string, each func(transfer.Info) error) error {
	if home, err := s.homeDir(); err != nil {
		return err
	} else if home == "" {
		return s.listing(guarded(arg), each)
	}
	r, err := s.x.cmd("CWD", arg)
	if err != nil {
		return err
	}
	if !r.completed() {
		return s.notListed("CWD", dir, arg, r)
	}
	err = s.listHere(each)
	if !s.Alive() {
		return err
	}
	if left := s.leave(); left != nil && err == nil {
		return left
	}
	return err
}

// manners is how a server lists, as far as that is not known from FEAT: whether
// "LIST -a" shows names that begin with a dot, and the time zone of its times.
type manners struct {
	a    transfer.Fact // "yes" or "no", zero when unknown
	zone transfer.Fact // "+02:00", zero when unknown or not needed
	// zoned: the zone is known, or can't be found out.
	zoned    bool
	location *time.Location // nil: UTC
}

// The facts about listings.
const (
	factListA = "list-a"
	factZone  = "zone"
)

func newManners(o *Options) manners {
	m := manners{location: o.Zone, zoned: o.Zone != nil}
	if remembered(o.Hints.Facts, factListA) != "" {
		m.a = o.Hints.Facts[factListA]
	}
	if t, err := time.Parse("-07:00", remembered(o.Hints.Facts, factZone)); err == nil && !m.zoned {
		m.zone, m.zoned, m.location = o.Hints.Facts[factZone], true, t.Location()
	}
	return m
}

// arg is the argument of LIST for the current directory.
func (m *manners) arg() string {
	if m.a.Value == "no" {
		return ""
	}
	return "-a"
}

// spoolLimit is how much of the first listing is kept while it is found out how
// this server lists, in bytes.
const spoolLimit = 256 << 10

// listHere lists the current directory. The first listing of a session also
// shows how this server lists. It is kept, as long as it is small, and asked
// for again if it was too large or asked for in the wrong way.
func (s *session) listHere(each func(transfer.Info) error) error {
	if s.manners.a.Value != "" && s.manners.zoned {
		seen := false
		p := s.parser(each)
		err := s.x.lines("LIST", s.manners.arg(), func(line string, bad error) error {
			seen = true
			return p.line(line, bad)
		})
		switch {
		case err != nil:
			return err
		case !seen && s.manners.a.Value == "yes":
			return s.unread()
		}
		return p.end()
	}
	var spool []string
	size, overflow, sawSelf := 0, false, false
	err := s.x.lines("LIST", s.manners.arg(), func(line string, bad error) error {
		sawSelf = sawSelf || strings.HasSuffix(line, " .")
		if size += len(line); bad != nil || size > spoolLimit {
			overflow = true
		} else if !overflow {
			spool = append(spool, line)
		}
		return nil
	})
	asked := s.manners.a.Value == ""
	if f, ok := errors.AsType[*policy.Fault](err); ok && asked && f.Code >= 500 && f.Cause == "" && s.Alive() {
		s.learnA("no", f.Said())
		if err = s.listHere(each); err != nil {
			s.manners.a = transfer.Fact{} // it was not about "-a"
		}
		return err
	}
	switch {
	case err != nil:
		return err
	case size == 0 && !overflow && asked: // nor is this
		return s.listing("", func(info transfer.Info) error {
			s.learnA("no", "it shows less than LIST")
			return each(info)
		})
	case size == 0 && !overflow && s.manners.a.Value == "yes":
		return s.unread()
	}
	if asked && sawSelf {
		s.learnA("yes", "it shows the directory itself")
	} else if asked {
		s.learnA("no", "it shows nothing of its own")
		overflow = true // "-a" may have been taken for a name
	}
	if err := s.learnZone(spool); err != nil {
		return err
	}
	if overflow {
		return s.listing(s.manners.arg(), each)
	}
	p := s.parser(each)
	for _, line := range spool {
		if err := p.line(line, nil); err != nil {
			return err
		}
	}
	return p.end()
}

// unread is the fault of a directory that can be entered and not read: the server
// does not even list the directory itself.
func (s *session) unread() error {
	return s.x.because(policy.Command, "LIST", s.x.path, policy.CauseRemotePermission, "the listing lacks the directory itself")
}

func (s *session) learnA(value, reason string) {
	s.manners.a = transfer.Fact{Value: value, Reason: "LIST -a: " + reason, At: time.Now()}
}

// listing runs LIST and parses what comes while it comes.
func (s *session) listing(arg string, each func(transfer.Info) error) error {
	p := s.parser(each)
	if err := s.x.lines("LIST", arg, p.line); err != nil {
		return err
	}
	return p.end()
}

// lineParser reads the lines of one LIST.
type lineParser struct {
	listing.Parser
	s    *session
	each func(transfer.Info) error
}

func (s *session) parser(each func(transfer.Info) error) *lineParser {
	return &lineParser{Parser: listing.Parser{Now: time.Now(), Zone: s.manners.location}, s: s, each: each}
}

func (p *lineParser) add(info transfer.Info) error { return p.each(p.s.named(info)) }

func (p *lineParser) line(line string, bad error) error {
	if bad != nil {
		return p.each(unreadable(line, bad))
	}
	return p.Line(line, p.add)
}

func (p *lineParser) end() error { return p.End(p.add) }

// named spells an entry's name as it is written here.
func (s *session) named(info transfer.Info) transfer.Info {
	name, exact := s.x.charset.decode(info.Name)
	if !exact && info.Bad == nil {
		info.Bad = fmt.Errorf("%w: its bytes are no %s", transfer.ErrBadName, s.x.charset.name)
	}
	info.Name = name
	info.Link, _ = s.x.charset.decode(info.Link)
	return info
}

func unreadable(line string, why error) transfer.Info {
	return transfer.Info{Name: line, Size: -1, Mode: fs.ModeIrregular, Bad: why}
}

// guarded keeps a name from being read as options.
func guarded(arg string) string {
	if strings.HasPrefix(arg, "-") {
		return "./" + arg
	}
	return arg
}

// errLongLine is why a line is no entry.
var errLongLine = fmt.Errorf("%w: longer than %d bytes", listing.ErrFormat, maxLine)

// lines runs a command that lists and gives each line of its data to each,
// without its line end; bad is set when the line is cut. It stops at the first
// error of each and returns that.
func (x *interposer) lines(verb, arg string, each func(line string, bad error) error) error {
	x.op, x.arg, x.fault = verb, arg, nil
	line := verb
	if arg != "" {
		line += " " + arg
	}
	if code := x.prepare(); code != 227 {
		return x.fault
	}
	if _, err := x.connect(); err != nil {
		return x.fault
	}
	d := x.data
	if code := x.start(line); code != 150 {
		return x.unlisted()
	}
	stopped := eachLine(d, each)
	if err := d.Close(); err != nil {
		return err
	}
	x.finish()
	o := *d.over
	switch {
	case stopped != nil && d.err == nil:
		return stopped
	case d.err != nil || o.err != nil:
		return x.broken(d, o)
	case !o.reply.completed():
		return x.broken(d, o)
	}
	x.modes.succeeded(d)
	text := o.reply.text()
	if policy.Unread(text) {
		return x.because(policy.Command, verb, x.path, policy.CauseRemotePermission, policy.Sanitize(text))
	}
	if policy.Truncated(text) {
		return each(x.charset.show(text), errTruncated)
	}
	return nil
}

// errTruncated is the Info.Bad that stands for the entries that the server left
// out.
var errTruncated = errors.New("the server did not list everything")

// unlisted is the fault of a listing that did not begin.
func (x *interposer) unlisted() error {
	r := reply{code: x.fault.Code}
	if x.fault.Cause == "" && r.unsupported() {
		x.able.refuse(x.op, reply{code: r.code, lines: []string{x.fault.Text}}, x.w.seen.Load())
		x.fault.Cause = causeUnsupported
	}
	return x.fault
}

// eachLine reads lines of bounded length. What is beyond the bound is dropped,
// and said.
func eachLine(r io.Reader, each func(line string, bad error) error) error {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		part, err := br.ReadSlice('\n')
		line, bad := string(part), error(nil)
		if errors.Is(err, bufio.ErrBufferFull) {
			bad = errLongLine
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line != "" || bad != nil {
			if err := each(line, bad); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// learnZone compares the time of a listed file with the UTC time of MDTM. Where
// that is not possible times are taken for UTC.
func (s *session) learnZone(lines []string) error {
	m := &s.manners
	if m.zoned = m.zoned || !s.x.able.may("MDTM"); m.zoned {
		return nil
	}
	p := listing.Parser{Now: time.Now()}
	var sample transfer.Info
	for _, line := range lines {
		_ = p.Line(line, func(info transfer.Info) error {
			if info.Bad == nil && info.IsRegular() && info.Precision > 0 && info.Precision <= time.Minute && info.ModTime.After(sample.ModTime) {
				sample = info
			}
			return nil
		})
	}
	if sample.Name == "" {
		return nil // an empty directory tells nothing; the next may
	}
	exact, _, err := s.x.modTime(sample.Name)
	if err != nil {
		return err
	}
	m.zoned = true
	if offset, ok := zoneOffset(sample.ModTime, exact); ok {
		m.location = time.FixedZone("server", int(offset/time.Second))
		m.zone = transfer.Fact{
			Value:  exact.In(m.location).Format("-07:00"),
			Reason: fmt.Sprintf("LIST and MDTM differ by %v", offset), At: time.Now(),
		}
	}
	return nil
}

// zoneOffset is listed minus exact, if that can be a zone: a multiple of 15
// minutes and at most 14 hours.
func zoneOffset(listed, exact time.Time) (time.Duration, bool) {
	if exact.IsZero() {
		return 0, false
	}
	offset := listed.Truncate(time.Minute).Sub(exact.Truncate(time.Minute))
	const quarter = 15 * time.Minute
	if offset%quarter != 0 || offset.Abs() > 14*time.Hour {
		return 0, false
	}
	return offset, true
}
