package lab

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Volume is a part of the tree with limits of its own, like a mounted file
// system. Renames and hard links from one volume to another are refused.
type Volume struct {
	// Path is where it is mounted; "" and "/" are the whole tree.
	Path string
	// Capacity is its size in bytes, 0 without limit. What a client writes
	// beyond it fails as on a full disk; what fits is written.
	Capacity int64
	// Quota limits like Capacity, but statvfs and AVBL don't know about it.
	Quota int64
	// Reserved are bytes on top that only root may use: statvfs counts them in
	// f_bfree and not in f_bavail.
	Reserved int64
	// NoInodes refuses to make files and directories; statvfs shows 0 free.
	NoInodes bool
	// NoFileCount makes statvfs show 0 of 0 files, as on btrfs.
	NoFileCount bool
	// ReadOnly refuses every change; statvfs shows the flag.
	ReadOnly bool
}

// unlimited is what a volume without a capacity reports as its size, in bytes.
const unlimited = 1 << 40

// tree is the served directory. Paths are absolute, "/" separates, and nothing
// outside the root can be reached: path.Clean keeps ".." inside, os.Root keeps
// symbolic links inside.
type tree struct {
	root *os.Root
	mu   sync.Mutex
	vols []*volume // the deepest first
}

type volume struct {
	Volume
	id   int
	used int64 // bytes; never less than what is there, see grow
}

func openTree(root, home string, volumes []Volume) (*tree, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("lab: root: %w", err)
	}
	t := &tree{root: r}
	if !slices.ContainsFunc(volumes, func(v Volume) bool { return absolute("/", v.Path) == "/" }) {
		volumes = append(slices.Clone(volumes), Volume{})
	}
	for i, v := range volumes {
		v.Path = absolute("/", v.Path)
		t.vols = append(t.vols, &volume{Volume: v, id: i + 1, used: unlimited})
	}
	slices.SortStableFunc(t.vols, func(a, b *volume) int { return len(b.Path) - len(a.Path) })
	for _, dir := range append([]string{home}, pathsOf(volumes)...) {
		if err := r.MkdirAll(local(absolute("/", dir)), 0o755); err != nil {
			_ = r.Close() // the first error is the one to report
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	return t, nil
}

func pathsOf(volumes []Volume) []string {
	var paths []string
	for _, v := range volumes {
		paths = append(paths, v.Path)
	}
	return paths
}

func (t *tree) close() error { return t.root.Close() }

// absolute makes a client's path absolute and clean.
func absolute(dir, p string) string {
	if !strings.HasPrefix(p, "/") {
		p = dir + "/" + p
	}
	return path.Clean("/" + p)
}

// local is the name below the root of an absolute path.
func local(p string) string {
	if p == "/" {
		return "."
	}
	return filepath.FromSlash(p[1:])
}

func (t *tree) volumeOf(p string) *volume {
	for _, v := range t.vols {
		if v.Path == "/" || p == v.Path || strings.HasPrefix(p, v.Path+"/") {
			return v
		}
	}
	panic("lab: no root volume") // openTree makes sure there is one
}

func (t *tree) setCapacity(p string, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.volumeOf(absolute("/", p)).Capacity = bytes
}

// space is what statvfs and AVBL report: bytes in all, bytes free.
func (t *tree) space(p string) (v Volume, total, free int64, id int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	vol := t.volumeOf(p)
	if vol.Capacity == 0 {
		return vol.Volume, unlimited, unlimited, vol.id
	}
	return vol.Volume, vol.Capacity, max(0, vol.Capacity-t.measure(vol)), vol.id
}

// measure adds up the sizes of the files on a volume, in bytes.
func (t *tree) measure(v *volume) int64 {
	var sum int64
	_ = fs.WalkDir(t.root.FS(), path.Clean("./"+v.Path), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || t.volumeOf(absolute("/", p)) != v {
			return nil // a file that vanished meanwhile takes no space
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// room says how many of n bytes at off may be written to a file of the volume
// that has size bytes now. v.used only ever grows here; it is measured anew
// before anything is refused, so that files that were removed, also behind the
// server's back, make room.
func (t *tree) room(v *volume, size, off, n int64) (int64, error) {
	limit, full := v.Capacity, error(syscall.ENOSPC)
	if v.Quota > 0 && (limit == 0 || v.Quota < limit) {
		limit, full = v.Quota, syscall.EDQUOT
	}
	more := off + n - size
	if limit == 0 || more <= 0 {
		return n, nil
	}
	if v.used+more > limit {
		v.used = t.measure(v)
	}
	if v.used+more > limit {
		n = max(0, limit-v.used-(off-size))
		v.used += max(0, off+n-size)
		return n, full
	}
	v.used += more
	return n, nil
}

// writeAt writes as much of b as the volume takes.
func (t *tree) writeAt(f *os.File, p string, b []byte, off int64) (int, error) {
	t.mu.Lock()
	v := t.volumeOf(p)
	if v.Capacity == 0 && v.Quota == 0 {
		t.mu.Unlock()
		return f.WriteAt(b, off)
	}
	defer t.mu.Unlock() // held while writing, so that measure sees what room counted
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	n, full := t.room(v, info.Size(), off, int64(len(b)))
	written, err := f.WriteAt(b[:n], off)
	if err == nil {
		err = full
	}
	return written, err
}

// writable refuses changes on a read-only volume.
func (t *tree) writable(paths ...string) error {
	for _, p := range paths {
		if t.volumeOf(p).ReadOnly {
			return syscall.EROFS
		}
	}
	return nil
}

func (t *tree) stat(p string) (fs.FileInfo, error)  { return t.root.Stat(local(p)) }
func (t *tree) lstat(p string) (fs.FileInfo, error) { return t.root.Lstat(local(p)) }

// open opens a file or, for reading, a directory.
func (t *tree) open(p string, flag int, perm fs.FileMode) (*os.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0 {
		if err := t.writable(p); err != nil {
			return nil, err
		}
		if err := t.canCreate(p); err != nil && flag&os.O_CREATE != 0 {
			return nil, err
		}
	}
	return t.root.OpenFile(local(p), flag, perm)
}

// canCreate refuses a new name where there are no inodes.
func (t *tree) canCreate(p string) error {
	if !t.volumeOf(p).NoInodes {
		return nil
	}
	if _, err := t.lstat(p); err == nil {
		return nil
	}
	return syscall.ENOSPC
}

func (t *tree) mkdir(p string, perm fs.FileMode) error {
	if err := t.writable(p); err != nil {
		return err
	}
	if err := t.canCreate(p); err != nil {
		return err
	}
	return t.root.Mkdir(local(p), perm)
}

// remove removes a file, or an empty directory if dir is set, and never the other.
func (t *tree) remove(p string, dir bool) error {
	if err := t.writable(p); err != nil {
		return err
	}
	info, err := t.lstat(p)
	switch {
	case err != nil:
		return err
	case info.IsDir() && !dir:
		return syscall.EISDIR
	case !info.IsDir() && dir:
		return syscall.ENOTDIR
	}
	return t.root.Remove(local(p))
}

// rename replaces an existing file, as POSIX does, unless noReplace is set.
func (t *tree) rename(from, to string, noReplace bool) error {
	if err := t.writable(from, to); err != nil {
		return err
	}
	if _, err := t.lstat(from); err != nil {
		return err
	}
	if _, err := t.lstat(to); err == nil && noReplace {
		return syscall.EEXIST
	}
	if t.volumeOf(from) != t.volumeOf(to) {
		return syscall.EXDEV
	}
	return t.root.Rename(local(from), local(to))
}

// take moves a file away into a directory, which it makes. A file that is not
// there stays away.
func (t *tree) take(p, dir string) {
	dir = absolute("/", dir)
	_ = t.root.MkdirAll(local(dir), 0o755) // the rename tells
	_ = t.root.Rename(local(p), local(path.Join(dir, path.Base(p))))
}

func (t *tree) link(from, to string) error {
	if err := t.writable(to); err != nil {
		return err
	}
	if t.volumeOf(from) != t.volumeOf(to) {
		return syscall.EXDEV
	}
	return t.root.Link(local(from), local(to))
}

func (t *tree) symlink(target, link string) error {
	if err := t.writable(link); err != nil {
		return err
	}
	return t.root.Symlink(target, local(link))
}

func (t *tree) readlink(p string) (string, error) { return t.root.Readlink(local(p)) }

func (t *tree) chmod(p string, mode fs.FileMode) error {
	if err := t.writable(p); err != nil {
		return err
	}
	return t.root.Chmod(local(p), mode)
}

func (t *tree) chtimes(p string, atime, mtime time.Time) error {
	if err := t.writable(p); err != nil {
		return err
	}
	return t.root.Chtimes(local(p), atime, mtime)
}

func (t *tree) truncate(p string, size int64) error {
	f, err := t.open(p, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// readDir hands over the entries of a directory in the order of their names,
// with "." and ".." left out.
func (t *tree) readDir(p string) ([]fs.FileInfo, error) {
	f, err := t.open(p, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	infos, err := f.Readdir(-1)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	return infos, err
}

// readAt fills b and gives io.EOF only when nothing is left.
func readAt(f *os.File, b []byte, off int64) (int, error) {
	n, err := f.ReadAt(b, off)
	if err == io.EOF && n > 0 {
		err = nil
	}
	return n, err
}
