package ftp

import (
	"io"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// canCompare says whether downloads are checked against what was listed.
func (s *session) canCompare() bool {
	able := s.x.able
	return !s.differs && (able.offers("MLST") || able.may("SIZE") && able.may("MDTM"))
}

// compare makes sure that the sink gets the version that it is to get: beside RETR
// where that can be sent ahead, else before it.
func (s *session) compare(arg string, off int64, dst transfer.Sink) error {
	x := s.x
	if dst.Version == nil {
		return nil
	}
	x.byMLST = x.able.offers("MLST") && !likeLink(*dst.Version)
	if off == 0 && x.w.ahead.works(x.o.Hints.Facts) {
		x.takes = dst.Takes
		return nil
	}
	x.w.ask(x.ctx, append(x.askPort(), x.askVersion(arg)...)...)
	if err := x.version(arg); err != nil {
		return err
	}
	if f := s.other(dst); f != nil {
		return f
	}
	return nil
}

// other is the fault of a file that is not what the sink takes, nil if it is.
func (s *session) other(dst transfer.Sink) *policy.Fault {
	if dst.Takes(s.x.found) {
		return nil
	}
	s.differs = true
	return s.x.otherVersion()
}

func (x *interposer) otherVersion() *policy.Fault {
	return x.because(policy.Data, "RETR", x.path, policy.CauseRemoteChanged, "it is not what was listed")
}

// refuse ends a download that is not wanted. What is small is taken in: proftpd 1.3.8
// ends the session when a TLS connection is broken off.
func (s *session) refuse(f *policy.Fault) error {
	d := s.x.data
	if size := s.x.found.Size; size >= 0 && size <= 1<<20 {
		return d.receive(&download{sink: transfer.Sink{W: io.Discard, Size: size}})
	}
	return d.failed(f)
}

// askVersion gives the questions that version asks.
func (x *interposer) askVersion(arg string) []string {
	if x.byMLST {
		return []string{"MLST " + arg}
	}
	return []string{"SIZE " + arg, "MDTM " + arg}
}

// version finds out what the file is now. What only a closer look can tell stays
// unknown: no sink takes that.
func (x *interposer) version(arg string) error {
	x.found = transfer.Info{Size: -1}
	if x.byMLST {
		r, ok, err := x.optional("MLST", arg)
		if info, found := entryOf(r); ok && found && info.IsRegular() && !likeLink(info) {
			x.found = info
		}
		return err
	}
	size, ok, err := x.size(arg)
	if err != nil {
		return err
	}
	modTime, precision, err := x.modTime(arg)
	if ok {
		x.found = transfer.Info{Size: size, ModTime: modTime, Precision: precision}
	}
	return err
}
