package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// memServer is a server in memory. It survives its sessions, as a real one does.
type memServer struct {
	files map[string][]byte // nil is a directory
	times map[string]time.Time
	// calls is what was asked, as "put name off" and "rename from to".
	calls []string
	dials int
	// fault, if set, is asked before each call; an error is the call's answer.
	fault func(op, path string) error
	// after is asked when the call has been carried out: a lost reply.
	after func(op, path string) error
	// cut says after how many bytes of a put or get the connection breaks, -1 never.
	cut    func(op, path string) int64
	extras Extras
	// keepsTarget: rename refuses an existing target.
	keepsTarget bool
}

func newMemServer() *memServer {
	return &memServer{files: map[string][]byte{}, times: map[string]time.Time{}, extras: Extras{Resume: true}}
}

func (m *memServer) dial(context.Context, Hints) (Session, error) {
	m.dials++
	if err := m.ask(m.fault, "dial", ""); err != nil {
		return nil, err
	}
	return &memSession{memServer: m}, nil
}

// count says how many calls begin with prefix.
func (m *memServer) count(prefix string) int {
	n := 0
	for _, c := range m.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func (m *memServer) ask(f func(op, path string) error, op, path string) error {
	if f == nil {
		return nil
	}
	return f(op, path)
}

type memSession struct {
	*memServer
	dead bool
}

// do is one call: the fault before it, the deed, the fault after it.
func (s *memSession) do(op, path string, deed func() error) error {
	s.calls = append(s.calls, op+" "+path)
	err := s.ask(s.fault, op, path)
	if err == nil {
		err = deed()
	}
	if err == nil {
		err = s.ask(s.after, op, path)
	}
	if f, ok := errors.AsType[*policy.Fault](err); ok && f.Cause == policy.CauseReset {
		s.dead = true
	}
	return err
}

// reset is a broken connection, status a refusal.
func reset(phase policy.Phase, op, path string) error {
	return &policy.Fault{Protocol: policy.FTP, Phase: phase, Op: op, Path: path, Cause: policy.CauseReset, Err: syscall.ECONNRESET}
}

func reply(code int, op, path, text string) error {
	return &policy.Fault{Protocol: policy.FTP, Phase: policy.Command, Op: op, Path: path, Code: code, Text: text}
}

func missing(op, path string) error {
	return &policy.Fault{Protocol: policy.FTP, Phase: policy.Command, Op: op, Path: path, Code: 550, Cause: policy.CauseRemoteMissing, Text: "not there"}
}

func (s *memSession) Stat(_ context.Context, path string) (info Info, err error) {
	err = s.do("stat", path, func() error {
		if path == "." || strings.HasSuffix(path, "/") {
			info = Info{Name: path, Mode: 1 << 31}
			return nil
		}
		data, ok := s.files[path]
		if !ok {
			return missing("SIZE", path)
		}
		info = Info{Name: path, Size: int64(len(data)), ModTime: s.times[path], Precision: time.Second}
		if data == nil {
			info.Mode = fs.ModeDir
		}
		return nil
	})
	return info, err
}

func (s *memSession) List(_ context.Context, dir string, each func(Info) error) error {
	return s.do("list", dir, func() error {
		for name, data := range s.files {
			if err := each(Info{Name: name, Size: int64(len(data))}); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *memSession) Get(_ context.Context, path string, off int64, dst Sink) (n int64, err error) {
	err = s.do("get", path, func() error {
		data, ok := s.files[path]
		if !ok {
			return missing("RETR", path)
		}
		if s.extras.GetCompares && !dst.Takes(Info{Size: -1, ModTime: s.times[path], Precision: time.Second}) {
			return &policy.Fault{Protocol: policy.SFTP, Phase: policy.Data, Op: "read", Path: path, Cause: policy.CauseRemoteChanged}
		}
		n, err = s.move(dst.W, bytes.NewReader(data[min(off, int64(len(data))):]), "get", path)
		if dst.Progress != nil {
			dst.Progress(off + n)
		}
		return err
	})
	return n, err
}

func (s *memSession) Put(_ context.Context, path string, off int64, src Source) (n int64, err error) {
	err = s.do("put", path, func() error {
		data := slices.Clone(s.files[path])
		if off > int64(len(data)) {
			return reply(554, "REST", path, "beyond the end")
		}
		r := src.R
		if at, ok := r.(io.ReaderAt); ok {
			r = io.NewSectionReader(at, off, src.Size-off)
		}
		buf := bytes.NewBuffer(data[:off])
		_, err := s.move(buf, r, "put", path)
		src.Progress(int64(buf.Len()))
		s.files[path] = append([]byte{}, buf.Bytes()...)
		if err == nil || s.extras.Spread > 0 { // else nobody has acknowledged anything
			n = int64(buf.Len()) - off
		}
		return err
	})
	return n, err
}

// move copies, and breaks off where cut says.
func (s *memSession) move(w io.Writer, r io.Reader, op, path string) (int64, error) {
	limit := int64(-1)
	if s.cut != nil {
		limit = s.cut(op, path)
	}
	if limit < 0 {
		return io.Copy(w, r)
	}
	n, err := io.CopyN(w, r, limit)
	if err != nil {
		return n, err
	}
	return n, reset(policy.Data, op, path)
}

func (s *memSession) Rename(_ context.Context, from, to string) error {
	return s.do("rename", from+" "+to, func() error {
		data, ok := s.files[from]
		if !ok {
			return missing("RNFR", from)
		}
		if _, there := s.files[to]; there && s.keepsTarget {
			return reply(553, "RNTO", to, "rejected")
		}
		s.files[to], s.times[to] = data, s.times[from]
		delete(s.files, from)
		return nil
	})
}

func (s *memSession) Remove(_ context.Context, path string) error {
	return s.do("remove", path, func() error {
		if _, ok := s.files[path]; !ok {
			return missing("DELE", path)
		}
		delete(s.files, path)
		return nil
	})
}

func (s *memSession) Mkdir(_ context.Context, path string) error {
	return s.do("mkdir", path, func() error { return nil })
}

func (s *memSession) Rmdir(_ context.Context, path string) error {
	return s.do("rmdir", path, func() error { return nil })
}

func (s *memSession) Extras() Extras {
	e := s.extras
	if e.SetModTime == nil {
		e.SetModTime = func(_ context.Context, path string, t time.Time) error {
			return s.do("settime", path, func() error {
				s.times[path] = t.Truncate(time.Second)
				return nil
			})
		}
	}
	return e
}

func (s *memSession) Alive() bool { return !s.dead }

func (s *memSession) Close() error {
	s.dead = true
	return nil
}
