package transfer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// source is the local end of a put: a file, or a stream that is read once.
type source struct {
	file    *os.File
	reader  io.Reader // of a stream
	path    string
	size    int64 // -1 unknown
	modTime time.Time
	mode    fs.FileMode // permission bits, 0 unknown
	stream  bool
	counted *counter // of a stream that was handed out
	sums    passing  // of a stream, nil if nobody will ask
}

func openSource(j Job) (*source, error) {
	if j.In != nil {
		f, ok := j.In.(*os.File)
		if ok {
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				// "xfer put - URL < file": as good as the file itself.
				return &source{file: f, path: f.Name(), size: info.Size(), modTime: info.ModTime(), mode: info.Mode().Perm()}, nil
			}
		}
		return &source{reader: j.In, path: j.Local, size: -1, stream: true, sums: newPassing(j)}, nil
	}
	f, err := os.Open(j.Local)
	if err != nil {
		return nil, policy.LocalFault("open", j.Local, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &policy.Fault{Protocol: policy.Local, Op: "open", Path: j.Local, Cause: policy.CauseLocalDirectory, Text: "is a directory"}
	} else if err != nil {
		err = policy.LocalFault("stat", j.Local, err)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	s := &source{file: f, path: j.Local, size: info.Size(), modTime: info.ModTime(), mode: info.Mode().Perm()}
	if !info.Mode().IsRegular() { // a pipe or a device
		s.reader, s.size, s.stream, s.modTime, s.mode = f, -1, true, time.Time{}, 0
		s.sums = newPassing(j)
	}
	return s, nil
}

// identity distinguishes this source from any other and from a later version of
// itself, so that a part is only continued with the file it came from.
func (s *source) identity() string {
	if s.stream {
		return rand.Text()
	}
	abs, err := filepath.Abs(s.path)
	if err != nil {
		abs = s.path
	}
	host, _ := os.Hostname()
	return fmt.Sprintf("%s\x00%s\x00%d\x00%d", host, abs, s.size, s.modTime.UnixNano())
}

// from gives the content. A stream can be asked again only as long as nothing was
// read from it.
func (s *source) from(progress func(int64)) (Source, error) {
	if !s.stream {
		return Source{R: s.file, Size: s.size, Progress: progress}, nil
	}
	if s.counted == nil {
		s.counted = &counter{r: s.reader, sums: s.sums}
	}
	if s.counted.n > 0 {
		return Source{}, &policy.Fault{
			Protocol: policy.Local, Phase: policy.Data, Op: "read", Path: s.path, Cause: policy.CauseLocalStream,
		}
	}
	return Source{R: s.counted, Size: -1, Progress: progress}, nil
}

// complete says whether n bytes are all there is. For a stream that is known
// once it was read to its end.
func (s *source) complete(n int64) bool {
	if s.stream {
		return s.counted != nil && s.counted.ended && s.counted.n == n
	}
	return n == s.size
}

// unchanged fails when the file is not what it was when it was opened: what was
// sent is then a mixture.
func (s *source) unchanged() error {
	if s.stream {
		return nil
	}
	info, err := s.file.Stat()
	if err != nil {
		return policy.LocalFault("stat", s.path, err)
	}
	if info.Size() == s.size && info.ModTime().Equal(s.modTime) {
		return nil
	}
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Data, Op: "read", Path: s.path, Cause: policy.CauseLocalChanged,
		Text: fmt.Sprintf("%d bytes at %s when it was opened, %d bytes at %s now", s.size,
			s.modTime.Format(time.RFC3339), info.Size(), info.ModTime().Format(time.RFC3339)),
	}
}

func (s *source) digest(ctx context.Context, algorithm string, n int64) ([]byte, error) {
	if s.stream {
		return s.sums.digest(ctx, algorithm, n)
	}
	return digestOf(ctx, s.file, s.path, algorithm, n)
}

// Close closes the file.
func (s *source) Close() {
	if s.file != nil {
		_ = s.file.Close() // only read from
	}
}

// maxLinks is how many symbolic links may lead to one another.
const maxLinks = 40

// ThroughLinks is the file that a symbolic link of this machine leads to, path
// itself if it is none. The file may be missing: then it is to be made there. A
// link to a device or a pipe stays as it is: the system alone can follow those of
// /proc. Links in a circle stay, too: to open them is an error.
func ThroughLinks(path string) string {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return path
	}
	file := path
	for range maxLinks {
		to, err := os.Readlink(file)
		if err != nil {
			return file // it is no link, or not there
		}
		if !filepath.IsAbs(to) {
			dir, _ := filepath.Split(file)
			to = dir + to // not cleaned: dir/.. is elsewhere if dir is a link
		}
		file = to
	}
	return path
}

// isSpecial says whether a target is a device, a pipe or the like: it is written
// into, and never replaced.
func isSpecial(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir()
}

// openSpecial opens it, as soon as there is somebody at the other end of a pipe.
// Once ctx is over, its writes fail.
func openSpecial(ctx context.Context, path string) (f *os.File, end func() error, err error) {
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		select {
		case done <- opened{f, err}:
		case <-ctx.Done():
			_ = f.Close() // nobody waits for it any more; nil is refused
		}
	}()
	select {
	case <-ctx.Done():
		return nil, nil, policy.LocalFault("open", path, context.Cause(ctx))
	case o := <-done:
		if o.err != nil {
			return nil, nil, policy.LocalFault("open", path, o.err)
		}
		f = o.file
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) }) // a device needs none: it takes what it gets
	return f, func() error {
		stop()
		if err := f.Close(); err != nil {
			return policy.LocalFault("close", path, err)
		}
		return nil
	}, nil
}

// part is the local end of a get: the temporary file beside the target, or the
// target itself.
type part struct {
	file    *os.File
	path    string
	inPlace bool
}

// openPart opens the temporary file for a download, new or left by an earlier run.
func (r *run) openPart(info Info) (*part, func(), error) {
	path := r.result.Local
	if !r.job.InPlace {
		identity := fmt.Sprintf("%s\x00%d", r.link.Location().WithPath(r.job.Remote), info.Size)
		if !info.isSmall() { // else nothing is continued, and the time may be known more or less exactly
			identity += fmt.Sprintf("\x00%d", info.ModTime.Unix())
		}
		dir, name := filepath.Split(path)
		path = dir + filepath.FromSlash(tempName(name, identity))
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, policy.LocalFault("open", path, err)
	}
	release, err := r.lock(abs, r.result.Local)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		release()
		err = policy.LocalFault("create", path, err)
		r.aboutFinal(err, path)
		return nil, nil, err
	}
	return &part{file: f, path: path, inPlace: r.job.InPlace}, release, nil
}

func (p *part) size() (int64, error) {
	info, err := p.file.Stat()
	if err != nil {
		return 0, policy.LocalFault("stat", p.path, err)
	}
	return info.Size(), nil
}

func (p *part) digest(ctx context.Context, algorithm string, n int64) ([]byte, error) {
	return digestOf(ctx, p.file, p.path, algorithm, n)
}

// truncate cuts the part to n bytes and continues there.
func (p *part) truncate(n int64) error {
	err := p.file.Truncate(n)
	if err == nil {
		_, err = p.file.Seek(n, io.SeekStart)
	}
	if err != nil {
		return policy.LocalFault("truncate", p.path, err)
	}
	return nil
}

func (p *part) verify(want int64) error {
	size, err := p.size()
	if err != nil || size == want {
		return err
	}
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Finish, Op: "verify", Path: p.path,
		Cause: policy.CauseSize, Text: sizes(size, want),
	}
}

// publish makes the part durable and gives it its name.
func (p *part) publish(final string, info Info, j Job) error {
	if old, err := os.Stat(final); err == nil && old.Mode().IsRegular() {
		_ = p.file.Chmod(old.Mode().Perm()) // as cp: an overwritten file keeps its mode; where it can't, the umask's stands
	}
	if mode := j.modeOf(info.Mode.Perm(), info.HasPerm); mode != 0 {
		if err := p.file.Chmod(mode); err != nil {
			return policy.LocalFault("chmod", p.path, err)
		}
	}
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return policy.LocalFault("sync", p.path, err)
	}
	if !j.NoTimes && !info.ModTime.IsZero() {
		if err := os.Chtimes(p.path, time.Time{}, info.ModTime); err != nil {
			return policy.LocalFault("chtimes", p.path, err)
		}
	}
	if p.inPlace {
		return nil
	}
	if err := os.Rename(p.path, final); err != nil {
		return policy.LocalFault("rename", final, err)
	}
	syncDir(filepath.Dir(final))
	return nil
}

// abandon closes the part after a failure, and removes it unless a later run can
// use it, or it is the target.
func (p *part) abandon(cause error) {
	size, err := p.size()
	_ = p.file.Close() // the failure that led here is what is reported
	if !p.inPlace && (err != nil || size == 0 || !isResumable(cause)) {
		_ = os.Remove(p.path)
	}
}

// syncDir makes a rename durable where directories can be synced.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync() // not possible on Windows and some file systems, where rename is as durable as it gets
		_ = d.Close()
	}
}

// checkLocalTarget is checkTarget for a get.
func (r *run) checkLocalTarget(modTime time.Time, size int64) (proceed bool, err error) {
	old, err := os.Stat(r.job.Local)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, policy.LocalFault("stat", r.job.Local, err)
	}
	if old.IsDir() {
		return false, &policy.Fault{Protocol: policy.Local, Op: "create", Path: r.job.Local, Cause: policy.CauseLocalDirectory, Text: "is a directory"}
	}
	if r.job.InPlace && old.Mode().IsRegular() && r.isUnfinished(old.Size(), size) {
		return true, nil
	}
	switch r.job.OnExists {
	case Fail:
		return false, policy.LocalFault("create", r.job.Local, fs.ErrExist)
	case Skip:
		r.result.Skipped = "the target exists"
		return false, nil
	case Newer:
		if !modTime.IsZero() && !modTime.After(old.ModTime()) {
			r.result.Skipped = "the target is as new as the source"
			return false, nil
		}
	case KeepBoth:
		for n := 1; n < 1000; n++ {
			r.result.Local = numbered(r.job.Local, n)
			if _, err := os.Lstat(r.result.Local); errors.Is(err, fs.ErrNotExist) {
				return true, nil
			}
		}
		return false, policy.LocalFault("create", r.job.Local, fs.ErrExist)
	}
	return true, nil
}

// errDiffers: what is there is not the start of what comes.
var errDiffers = errors.New("the part differs from the source")

// compare checks the first bytes written to it against want, and passes the rest
// on to then, or drops it.
type compare struct {
	want io.Reader
	left int64
	then io.Writer
	buf  []byte
}

func (c *compare) Write(p []byte) (int, error) {
	n := int(min(c.left, int64(len(p))))
	if n > 0 {
		if len(c.buf) < n {
			c.buf = make([]byte, n)
		}
		if _, err := io.ReadFull(c.want, c.buf[:n]); err != nil {
			return 0, err
		}
		if !bytes.Equal(c.buf[:n], p[:n]) {
			return 0, errDiffers
		}
		c.left -= int64(n)
	}
	if n == len(p) || c.then == nil {
		return len(p), nil
	}
	m, err := c.then.Write(p[n:])
	return n + m, err
}

// counter counts what was read from a stream.
type counter struct {
	r     io.Reader
	n     int64
	ended bool
	sums  passing
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.ended = err == io.EOF
	_, _ = c.sums.Write(p[:n]) // never fails
	return n, err
}

// once counts what was written to a stream.
type once struct {
	w    io.Writer
	n    int64
	sums passing
}

func (o *once) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.n += int64(n)
	_, _ = o.sums.Write(p[:n]) // never fails
	return n, err
}

// sizes says what differs.
func sizes(there, want int64) string {
	return fmt.Sprintf("%d bytes arrived, %d were sent", there, want)
}
