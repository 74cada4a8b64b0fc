package transfertest

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// The reference: a server in memory and a session that does all that the
// contract says. The suite has to accept it.

func TestReference(t *testing.T) {
	Run(t, newMemory().fixture())
}

// TestReferenceThatCanLess: what a server can't do is asserted, not skipped.
func TestReferenceThatCanLess(t *testing.T) {
	m := newMemory()
	m.plain = true
	f := m.fixture()
	f.Can = Abilities{Protocol: policy.SFTP, RenameReplaces: true, TimePrecision: time.Minute, Names: map[string]string{`\`: "", " ": "_"}}
	Run(t, f)
}

type memory struct {
	// plain is a server that can hardly do more than it must.
	plain bool

	mu    sync.Mutex
	nodes map[string]*node
	gate  chan struct{} // closed while the server answers
}

type node struct {
	mode    fs.FileMode
	data    []byte
	target  string
	modTime time.Time
}

const memoryNameMax = 255

func newMemory() *memory {
	m := &memory{nodes: map[string]*node{"/": {mode: fs.ModeDir | 0o755}}, gate: make(chan struct{})}
	close(m.gate)
	return m
}

func (m *memory) fixture() Fixture {
	return Fixture{
		Dial: func(ctx context.Context) (transfer.Session, error) {
			s := &memorySession{m: m, closed: make(chan struct{})}
			return s, s.enter(ctx, "dial", "/")
		},
		Dir: "/",
		Make: func(dir string, names []string) error {
			for _, name := range names {
				m.nodes[path.Join(dir, name)] = &node{mode: 0o644, modTime: time.Now()}
			}
			return nil
		},
		Pause: func() func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.gate = make(chan struct{})
			return func() { close(m.gate) }
		},
		Can: Abilities{
			Protocol: policy.SFTP, SetModTime: true, Chmod: true, Replace: true, Links: true, Space: true,
			Realpath: true, Parallel: true, Resume: true, GetCompares: true, Begin: true, TimePrecision: time.Second, Truncates: true, NameMax: memoryNameMax,
		},
	}
}

type memorySession struct {
	m         *memory
	closed    chan struct{}
	closeOnce sync.Once
}

// enter waits for the server and locks it. The caller unlocks on success.
func (s *memorySession) enter(ctx context.Context, op string, paths ...string) error {
	for _, p := range paths {
		if err := transfer.ValidPath(p); err != nil {
			return err
		}
	}
	if err := s.wait(ctx, op); err != nil {
		return err
	}
	return nil
}

func (s *memorySession) wait(ctx context.Context, op string) error {
	s.m.mu.Lock()
	gate := s.m.gate
	s.m.mu.Unlock()
	if !s.Alive() {
		return &policy.Fault{Protocol: policy.Net, Op: op, Cause: policy.CauseReset, Err: io.ErrClosedPipe}
	}
	if ctx.Err() != nil {
		return policy.LocalFault(op, "", ctx.Err())
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return policy.LocalFault(op, "", ctx.Err())
	case <-s.closed:
		return &policy.Fault{Protocol: policy.Net, Op: op, Cause: policy.CauseReset, Err: io.ErrClosedPipe}
	}
}

// lock makes relative paths absolute and locks the server.
func (s *memorySession) lock(paths ...*string) {
	for _, p := range paths {
		*p = path.Join("/", *p)
	}
	s.m.mu.Lock()
}

func refuse(op, p string, code int, text string) error {
	return &policy.Fault{Protocol: policy.SFTP, Phase: policy.Command, Op: op, Path: p, Code: code, Text: text}
}

const (
	noSuchFile = 2
	failure    = 4
)

// find follows symbolic links.
func (s *memorySession) find(op, p string) (*node, error) {
	n := s.m.nodes[p]
	if n != nil && n.target != "" {
		n = s.m.nodes[path.Join(path.Dir(p), n.target)]
	}
	if n == nil {
		return nil, refuse(op, p, noSuchFile, "No such file")
	}
	return n, nil
}

// room says whether a new entry can be made at p.
func (s *memorySession) room(op, p string) error {
	if s.m.plain {
		if path.Base(p) == `\` {
			return refuse(op, p, failure, "Prohibited name")
		}
	} else if len(path.Base(p)) > memoryNameMax {
		return refuse(op, p, failure, "Name too long")
	}
	parent := s.m.nodes[path.Dir(p)]
	if parent == nil || !parent.mode.IsDir() {
		return refuse(op, p, noSuchFile, "No such file")
	}
	return nil
}

func (s *memorySession) info(p string, n *node) transfer.Info {
	i := transfer.Info{Name: path.Base(p), Size: int64(len(n.data)), Mode: n.mode, HasPerm: true, ModTime: n.modTime.Truncate(time.Second), Precision: time.Second}
	if s.m.plain {
		i.ModTime, i.Precision = n.modTime.Truncate(time.Minute), time.Minute
	}
	return i
}

func (s *memorySession) Stat(ctx context.Context, p string) (transfer.Info, error) {
	if err := s.enter(ctx, "stat", p); err != nil {
		return transfer.Info{}, err
	}
	s.lock(&p)
	defer s.m.mu.Unlock()
	n, err := s.find("stat", p)
	if err != nil {
		return transfer.Info{}, err
	}
	return s.info(p, n), nil
}

func (s *memorySession) List(ctx context.Context, dir string, each func(transfer.Info) error) error {
	if err := s.enter(ctx, "opendir", dir); err != nil {
		return err
	}
	for _, i := range s.entries(&dir) {
		if err := each(i); err != nil {
			return err
		}
	}
	s.lock()
	defer s.m.mu.Unlock()
	_, err := s.find("opendir", dir)
	return err
}

func (s *memorySession) entries(dir *string) []transfer.Info {
	s.lock(dir)
	defer s.m.mu.Unlock()
	var all []transfer.Info
	for p, n := range s.m.nodes {
		if p != "/" && path.Dir(p) == *dir {
			all = append(all, s.info(p, n))
		}
	}
	return all
}

func (s *memorySession) Get(ctx context.Context, p string, off int64, dst transfer.Sink) (int64, error) {
	if err := s.enter(ctx, "open", p); err != nil {
		return 0, err
	}
	if s.m.plain && off > 0 {
		return 0, refuse("REST", p, 502, "not implemented")
	}
	s.lock(&p)
	n, err := s.find("open", p)
	s.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if !dst.Takes(transfer.Info{Size: int64(len(n.data)), ModTime: n.modTime.Truncate(time.Second), Precision: time.Second}) {
		return 0, &policy.Fault{Protocol: policy.SFTP, Phase: policy.Data, Op: "read", Path: p, Cause: policy.CauseRemoteChanged, Text: "changed"}
	}
	w := dst.W
	if f, ok := w.(*os.File); ok {
		w = io.NewOffsetWriter(f, off)
	}
	return s.pump(ctx, "read", off, n.data[off:], dst.Progress, w)
}

// pump writes b in packets.
func (s *memorySession) pump(ctx context.Context, op string, off int64, b []byte, progress func(int64), w io.Writer) (int64, error) {
	var done int64
	for len(b) > 0 {
		if err := s.wait(ctx, op); err != nil {
			return done, err
		}
		n, err := w.Write(b[:min(len(b), 32<<10)])
		b, done = b[n:], done+int64(n)
		if err != nil {
			return done, policy.LocalFault(op, "", err)
		}
		if progress != nil {
			progress(off + done)
		}
	}
	return done, nil
}

func (s *memorySession) Put(ctx context.Context, p string, off int64, src transfer.Source) (int64, error) {
	if err := s.enter(ctx, "open", p); err != nil {
		return 0, err
	}
	if s.m.plain && off > 0 {
		return 0, refuse("REST", p, 502, "not implemented")
	}
	n, err := s.create(p, off)
	if err != nil {
		return 0, err
	}
	r := src.R
	if at, ok := r.(io.ReaderAt); ok {
		r = io.NewSectionReader(at, off, 1<<62)
	}
	var done int64
	for {
		packet, err := s.read(ctx, r)
		if waitErr := s.wait(ctx, "write"); waitErr != nil {
			return done, waitErr
		}
		s.lock()
		n.data = append(n.data, packet...)
		n.modTime = time.Now()
		s.m.mu.Unlock()
		if done += int64(len(packet)); src.Progress != nil && len(packet) > 0 {
			src.Progress(off + done)
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, policy.LocalFault("write", "", err)
		}
	}
}

// create opens a file for writing from off on.
func (s *memorySession) create(p string, off int64) (*node, error) {
	if s.m.plain && path.Base(p) == " " {
		p = path.Dir(p) + "/_"
	}
	s.lock(&p)
	defer s.m.mu.Unlock()
	if err := s.room("open", p); err != nil {
		return nil, err
	}
	n := s.m.nodes[p]
	if n == nil {
		n = &node{mode: 0o644, modTime: time.Now()}
		s.m.nodes[p] = n
	}
	if n.mode.IsDir() {
		return nil, refuse("open", p, failure, "Is a directory")
	}
	n.data = n.data[:off:off]
	return n, nil
}

// read gives the next packet. A source that waits is left alone when the
// context ends.
func (s *memorySession) read(ctx context.Context, r io.Reader) ([]byte, error) {
	type result struct {
		b   []byte
		err error
	}
	read := make(chan result, 1)
	go func() {
		b := make([]byte, 256<<10)
		n, err := r.Read(b)
		read <- result{b[:n], err}
	}()
	select {
	case got := <-read:
		return got.b, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *memorySession) Rename(ctx context.Context, from, to string) error {
	return s.rename(ctx, from, to, s.m.plain)
}

func (s *memorySession) rename(ctx context.Context, from, to string, replace bool) error {
	if err := s.enter(ctx, "rename", from, to); err != nil {
		return err
	}
	s.lock(&from, &to)
	defer s.m.mu.Unlock()
	n := s.m.nodes[from]
	if n == nil {
		return refuse("rename", from, noSuchFile, "No such file")
	}
	if s.m.nodes[to] != nil && !replace {
		return refuse("rename", to, failure, "File exists")
	}
	if err := s.room("rename", to); err != nil {
		return err
	}
	for p, child := range s.m.nodes {
		if rest, below := strings.CutPrefix(p, from+"/"); below {
			delete(s.m.nodes, p)
			s.m.nodes[to+"/"+rest] = child
		}
	}
	delete(s.m.nodes, from)
	s.m.nodes[to] = n
	return nil
}

func (s *memorySession) Remove(ctx context.Context, p string) error {
	if err := s.enter(ctx, "remove", p); err != nil {
		return err
	}
	s.lock(&p)
	defer s.m.mu.Unlock()
	n := s.m.nodes[p]
	switch {
	case n == nil:
		return refuse("remove", p, noSuchFile, "No such file")
	case n.mode.IsDir():
		return refuse("remove", p, failure, "Is a directory")
	}
	delete(s.m.nodes, p)
	return nil
}

func (s *memorySession) Mkdir(ctx context.Context, p string) error {
	if err := s.enter(ctx, "mkdir", p); err != nil {
		return err
	}
	s.lock(&p)
	defer s.m.mu.Unlock()
	if s.m.nodes[p] != nil {
		return refuse("mkdir", p, failure, "File exists")
	}
	if err := s.room("mkdir", p); err != nil {
		return err
	}
	s.m.nodes[p] = &node{mode: fs.ModeDir | 0o755, modTime: time.Now()}
	return nil
}

func (s *memorySession) Rmdir(ctx context.Context, p string) error {
	if err := s.enter(ctx, "rmdir", p); err != nil {
		return err
	}
	full := len(s.entries(&p)) > 0
	s.lock()
	defer s.m.mu.Unlock()
	n := s.m.nodes[p]
	switch {
	case n == nil:
		return refuse("rmdir", p, noSuchFile, "No such file")
	case full || !n.mode.IsDir():
		return refuse("rmdir", p, failure, "Failure")
	}
	delete(s.m.nodes, p)
	return nil
}

func (s *memorySession) Alive() bool {
	select {
	case <-s.closed:
		return false
	default:
		return true
	}
}

func (s *memorySession) Close() error {
	s.closeOnce.Do(func() { close(s.closed) })
	return nil
}

func (s *memorySession) Extras() transfer.Extras {
	x := transfer.Extras{Diagnose: s.diagnose, Software: "memory"}
	if s.m.plain {
		x.TimePrecision = time.Minute
		return x
	}
	x.Parallel, x.Resume, x.GetCompares, x.TimePrecision = true, true, true, time.Second
	x.SetModTime = func(ctx context.Context, p string, t time.Time) error {
		return s.change(ctx, p, func(n *node) { n.modTime = t })
	}
	x.Chmod = func(ctx context.Context, p string, mode fs.FileMode) error {
		return s.change(ctx, p, func(n *node) { n.mode = mode })
	}
	x.Replace = func(ctx context.Context, from, to string) error { return s.rename(ctx, from, to, true) }
	x.Begin = func(ctx context.Context, p string, _ fs.FileMode) (transfer.Info, error) {
		i, err := s.Stat(ctx, p)
		if f, ok := err.(*policy.Fault); ok && f.Code == noSuchFile {
			_, _ = s.Put(ctx, p, 0, transfer.Source{R: strings.NewReader("")}) // where it can
		}
		return i, err
	}
	x.Lstat = func(ctx context.Context, p string) (i transfer.Info, err error) {
		err = s.enter(ctx, "lstat", p)
		if err == nil {
			s.lock(&p)
			defer s.m.mu.Unlock()
			i = s.info(p, s.m.nodes[p])
		}
		return i, err
	}
	x.Readlink = func(ctx context.Context, p string) (target string, err error) {
		err = s.enter(ctx, "readlink", p)
		if err == nil {
			s.lock(&p)
			defer s.m.mu.Unlock()
			target = s.m.nodes[p].target
		}
		return target, err
	}
	x.Symlink = func(ctx context.Context, target, p string) error {
		err := s.enter(ctx, "symlink", p)
		if err == nil {
			s.lock(&p)
			defer s.m.mu.Unlock()
			s.m.nodes[p] = &node{mode: fs.ModeSymlink | 0o777, target: target, modTime: time.Now()}
		}
		return err
	}
	x.Space = func(context.Context, string) (transfer.Space, error) {
		return transfer.Space{Free: 1, Total: 2, FreeFiles: -1}, nil
	}
	x.Realpath = func(ctx context.Context, p string) (string, error) {
		return path.Join("/", p), s.enter(ctx, "realpath", p)
	}
	return x
}

func (s *memorySession) change(ctx context.Context, p string, f func(*node)) error {
	if err := s.enter(ctx, "setstat", p); err != nil {
		return err
	}
	s.lock(&p)
	defer s.m.mu.Unlock()
	n, err := s.find("setstat", p)
	if err == nil {
		f(n)
	}
	return err
}

// diagnose knows the kinds that the suite asks for.
func (s *memorySession) diagnose(_ context.Context, f *policy.Fault, _ int64) policy.Verdict {
	v := policy.Verdict{Rule: "memory", Head: f.Said(), Means: f.Said(), Kind: policy.KindTarget}
	if f.Code == noSuchFile {
		v.Kind = policy.KindMissing
	}
	return v
}
