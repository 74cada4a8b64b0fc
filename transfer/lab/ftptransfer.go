package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// isTransfer says whether the command uses a data connection.
func isTransfer(verb string) bool {
	return slices.Contains([]string{"STOR", "APPE", "RETR", "LIST", "NLST", "MLSD"}, verb)
}

// emptyRefused does to the target of a STOR that a rule refuses what real
// servers do: they open the file before the data connection, so whatever fails
// from then on leaves it empty.
func (s *ftpSession) emptyRefused(code int) {
	if s.rest > 0 || !slices.Contains([]int{425, 426, 451, 452, 522, 552}, code) {
		return
	}
	if f, err := s.tree.open(s.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err == nil {
		_ = f.Close() // nothing was written
	}
}

// takeRest is the offset that REST set for this command and no other.
func (s *ftpSession) takeRest() int64 {
	off := s.rest
	s.rest = 0
	return off
}

func (s *ftpSession) retr(arg string) {
	off := s.takeRest()
	unlock, ok := s.lock(s.path, false, s.ctx.Done())
	if !ok {
		return
	}
	defer unlock()
	f, err := s.tree.open(s.path, os.O_RDONLY, 0)
	if err != nil {
		s.fail(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		s.reply(550, "Not a plain file.")
		return
	}
	if off > info.Size() {
		s.reply(554, "Restart offset is beyond the end of the file.")
		return
	}
	var src io.Reader = io.NewSectionReader(f, off, 1<<62)
	if s.ascii {
		src = &toCRLF{r: bufio.NewReader(src)}
	}
	s.download(fmt.Sprintf("Opening %s mode data connection for %s (%d bytes).", s.typeName(), arg, info.Size()), src, off)
}

func (s *ftpSession) typeName() string {
	if s.ascii {
		return "ASCII"
	}
	return "BINARY"
}

// download sends src over a data connection and ends the command.
func (s *ftpSession) download(mark string, src io.Reader, off int64) {
	d := s.openData(mark)
	if d == nil {
		return
	}
	done, err := s.move(d, src, off, false)
	if done {
		return
	}
	s.closeData()
	if err != nil {
		s.reply(s.cfg.AbortCode, "Failure writing network stream.")
		return
	}
	s.reply(226, "Transfer complete.")
}

// stor is STOR and APPE. With REST it leaves what lies behind the new bytes
// where it is, as vsftpd and proftpd do.
func (s *ftpSession) stor(arg string) {
	off := s.takeRest()
	unlock, ok := s.lock(s.path, true, s.ctx.Done())
	if !ok {
		return
	}
	defer unlock()
	flag := os.O_WRONLY | os.O_CREATE
	if off == 0 && s.verb == "STOR" {
		flag |= os.O_TRUNC
	}
	f, err := s.tree.open(s.path, flag, 0o644)
	if err != nil {
		s.fail(err)
		return
	}
	defer f.Close()
	if s.verb == "APPE" {
		if off, err = f.Seek(0, io.SeekEnd); err != nil {
			s.fail(err)
			return
		}
	}
	d := s.openData(fmt.Sprintf("Opening %s mode data connection for %s.", s.typeName(), arg))
	if d == nil {
		return
	}
	var src io.Reader = d
	if s.ascii {
		src = &fromCRLF{r: bufio.NewReader(d)}
	}
	done, err := s.move(&upload{session: s, f: f, off: off}, src, off, true)
	if done {
		return
	}
	s.closeData()
	if disk, ok := errors.AsType[*diskError](err); ok {
		s.fail(disk.err)
		return
	}
	if err != nil {
		s.reply(s.cfg.AbortCode, "Failure reading network stream.")
		return
	}
	s.reply(226, "Transfer complete.")
}

// upload writes to the tree.
type upload struct {
	session *ftpSession
	f       *os.File
	off     int64
}

// diskError tells a failure of the tree from one of the network.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }

func (u *upload) Write(b []byte) (int, error) {
	n, err := u.session.tree.writeAt(u.f, u.session.path, b, u.off)
	u.off += int64(n)
	if err != nil {
		return n, &diskError{err}
	}
	return n, nil
}

// move copies src to dst under the rules with During. done means that a rule has
// ended the command: there is nothing left to say.
func (s *ftpSession) move(dst io.Writer, src io.Reader, off int64, uploading bool) (done bool, err error) {
	var p progress
	var e effect
	defer func() {
		s.record.note(s.event, func(e *Event) { e.Offset, e.Bytes = off, p.moved })
	}()
	buf := make([]byte, 128<<10)
	for {
		due, room := s.script.advance(s.verb, s.path, &p, p.moved+1)
		if len(due) > 0 {
			now := s.script.carryOut(due, s)
			s.over = s.over || now.ended || now.dropped
			if now.taken && !now.dropped {
				return true, nil // the data connection stays as the rule left it
			}
			e.add(now) // a server that lost its control connection goes on with the data
		}
		if e.truncate && !uploading {
			return false, nil
		}
		want := min(int64(len(buf)), room)
		if e.rate > 0 {
			want = min(want, max(1, e.rate/20))
		}
		n, readErr := src.Read(buf[:want])
		if n > 0 {
			if e.corrupt {
				buf[0] ^= 0xff
				e.corrupt = false
			}
			if !e.truncate {
				if n, err = dst.Write(buf[:n]); err != nil {
					p.moved += int64(n)
					return false, err
				}
			}
			p.moved += int64(n)
		}
		if readErr == io.EOF {
			return false, nil
		}
		if readErr != nil {
			return false, readErr
		}
		if e.rate > 0 && !sleep(s.Server.ctx, time.Duration(n)*time.Second/time.Duration(e.rate)) {
			return true, nil
		}
	}
}

// toCRLF and fromCRLF convert the lines of TYPE A (RFC 959 §3.1.1.1).
type toCRLF struct {
	r    *bufio.Reader
	half bool // CR is out, LF is due
}

func (t *toCRLF) Read(b []byte) (int, error) {
	for n := range b {
		if t.half {
			b[n], t.half = '\n', false
			continue
		}
		c, err := t.r.ReadByte()
		if err != nil {
			return n, err
		}
		if c == '\n' {
			c, t.half = '\r', true
		}
		b[n] = c
	}
	return len(b), nil
}

type fromCRLF struct{ r *bufio.Reader }

func (t *fromCRLF) Read(b []byte) (int, error) {
	for n := range b {
		if n > 0 && t.r.Buffered() < 2 {
			return n, nil // what is there is not held back
		}
		c, err := t.r.ReadByte()
		if err != nil {
			return n, err
		}
		if c == '\r' {
			if next, err := t.r.Peek(1); err == nil && next[0] == '\n' {
				c, _ = t.r.ReadByte() // it was peeked
			}
		}
		b[n] = c
	}
	return len(b), nil
}
