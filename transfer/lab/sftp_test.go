package lab

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func dialSSH(t *testing.T, srv *SFTP, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	t.Helper()
	if auth == nil {
		auth = []ssh.AuthMethod{ssh.Password("demo")}
	}
	conn := dialRaw(t, srv.Addr())
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c, channels, requests, err := ssh.NewClientConn(conn, srv.Addr(), &ssh.ClientConfig{
		User: "demo", Auth: auth, HostKeyCallback: ssh.FixedHostKey(srv.HostKeys()[0]),
		HostKeyAlgorithms: []string{srv.HostKeys()[0].Type()},
	})
	if err != nil {
		return nil, err
	}
	client := ssh.NewClient(c, channels, requests)
	t.Cleanup(func() { _ = client.Close() })
	return client, nil
}

func mustSSH(t *testing.T, srv *SFTP) *ssh.Client {
	t.Helper()
	client, err := dialSSH(t, srv)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// sftpClient is the library that xfer's SFTP transport is built on.
func sftpClient(t *testing.T, srv *SFTP, options ...sftp.ClientOption) *sftp.Client {
	t.Helper()
	c, err := sftp.NewClient(mustSSH(t, srv), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// peer speaks the packets itself.
type peer struct {
	t  *testing.T
	ch ssh.Channel
	id uint32
}

func rawSFTP(t *testing.T, srv *SFTP) *peer {
	t.Helper()
	return subsystem(t, mustSSH(t, srv))
}

func subsystem(t *testing.T, client *ssh.Client) *peer {
	t.Helper()
	ch, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); !ok || err != nil {
		t.Fatalf("subsystem: %v %v", ok, err)
	}
	return &peer{t: t, ch: ch}
}

// call sends a packet with an id and returns the answer behind its id.
func (p *peer) call(kind byte, parts ...any) (byte, *fields) {
	p.t.Helper()
	p.send(kind, parts...)
	return p.receive()
}

func (p *peer) send(kind byte, parts ...any) {
	p.t.Helper()
	p.id++
	b := binary.BigEndian.AppendUint32([]byte{kind}, p.id)
	for _, part := range parts {
		switch v := part.(type) {
		case string:
			b = appendString(b, v)
		case []byte:
			b = appendString(b, v)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case uint64:
			b = binary.BigEndian.AppendUint64(b, v)
		default:
			p.t.Fatalf("%T", part)
		}
	}
	if _, err := p.ch.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) receive() (byte, *fields) {
	p.t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(p.ch, head[:]); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(p.ch, b); err != nil {
		p.t.Fatal(err)
	}
	return b[0], &fields{b: b[5:]}
}

// status expects a status packet.
func (p *peer) status(kind byte, parts ...any) (code uint32, text string) {
	p.t.Helper()
	got, f := p.call(kind, parts...)
	if got != fxpStatus {
		return fxOK, ""
	}
	return f.uint32(), f.string()
}

func (p *peer) open(name string, flags uint32) string {
	p.t.Helper()
	kind, f := p.call(fxpOpen, name, flags, uint32(0))
	if kind != fxpHandle {
		p.t.Fatalf("open %s: status %d", name, f.uint32())
	}
	return f.string()
}

func TestSFTPWithLibrary(t *testing.T) {
	posix(t)
	root := t.TempDir()
	srv := startSFTP(t, SFTPConfig{Root: root, Home: "/home/demo", User: "demo", Password: "demo"})
	c := sftpClient(t, srv)
	data := noise(5<<20 + 3)
	if wd, err := c.Getwd(); err != nil || wd != "/home/demo" {
		t.Errorf("working directory %q, %v", wd, err)
	}
	if err := c.MkdirAll("in/deep"); err != nil {
		t.Fatal(err)
	}
	f, err := c.Create("in/a file")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadFromWithConcurrency(bytes.NewReader(data), 64); err != nil || n != int64(len(data)) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, root, "home/demo/in/a file"), data) {
		t.Error("uploaded differently")
	}
	if f, err = c.Open("/home/demo/in/a file"); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if _, err := f.WriteTo(&back); err != nil || !bytes.Equal(back.Bytes(), data) {
		t.Errorf("downloaded %d bytes, %v", back.Len(), err)
	}
	_ = f.Close()

	when := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
	steps := []struct {
		name string
		err  error
	}{
		{"chtimes", c.Chtimes("in/a file", when, when)},
		{"chmod", c.Chmod("in/a file", 0o640)},
		{"symlink", c.Symlink("a file", "in/link")},
		{"hardlink", c.Link("in/a file", "in/hard")},
		{"rename", c.Rename("in/hard", "in/other")},
		{"posix-rename", c.PosixRename("in/other", "in/link")},
		{"truncate", c.Truncate("in/link", 10)},
	}
	for _, s := range steps {
		if s.err != nil {
			t.Errorf("%s: %v", s.name, s.err)
		}
	}
	info, err := c.Stat("in/a file")
	if err != nil || info.Size() != 10 || info.Mode().Perm() != 0o640 {
		t.Errorf("stat %+v, %v", info, err)
	}
	if err := c.Symlink("a file", "in/link2"); err != nil {
		t.Fatal(err)
	}
	if target, err := c.ReadLink("in/link2"); err != nil || target != "a file" {
		t.Errorf("readlink %q, %v", target, err)
	}
	if info, err := c.Lstat("in/link2"); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("lstat %v, %v", info, err)
	}
	for i := range 250 { // more than one READDIR gives
		file(t, filepath.Join(root, "home/demo/in/deep"), fmt.Sprintf("f%03d", i), nil)
	}
	infos, err := c.ReadDir("in/deep")
	if err != nil || len(infos) != 250 {
		t.Errorf("%d entries, %v", len(infos), err)
	}
	if v, err := c.StatVFS("/"); err != nil || v.FreeSpace() != unlimited || v.Namemax != nameMax {
		t.Errorf("statvfs %+v, %v", v, err)
	}
	if err := c.RemoveAll("in"); err != nil {
		t.Error(err)
	}
}

// 64 requests at once with the largest packets, on several channels.
func TestSFTPLargePackets(t *testing.T) {
	root := t.TempDir()
	srv := startSFTP(t, SFTPConfig{Root: root})
	conn := mustSSH(t, srv)
	data := noise(4<<20 + 11)
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			c, err := sftp.NewClient(conn, sftp.MaxPacketUnchecked(255<<10), sftp.MaxConcurrentRequestsPerFile(64), sftp.UseConcurrentWrites(true))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			name := fmt.Sprint("f", i)
			f, err := c.Create(name)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := f.ReadFrom(bytes.NewReader(data)); err != nil {
				t.Error(err)
			}
			_ = f.Close()
			back := make([]byte, len(data))
			if f, err = c.Open(name); err != nil {
				t.Error(err)
				return
			}
			if n, err := f.ReadAt(back, 0); err != nil || !bytes.Equal(back, data) {
				t.Errorf("read %d, %v", n, err)
			}
			_ = f.Close()
			if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s differs, %v", name, err)
			}
		})
	}
	all.Wait()
	if e := srv.Log().Of("WRITE"); len(e) < 2*17 || e[0].Bytes != 255<<10 {
		t.Errorf("%d writes, the first of %d bytes", len(e), e[0].Bytes)
	}
}

func TestSFTPAttributes(t *testing.T) {
	posix(t)
	root := t.TempDir()
	file(t, root, "a", []byte("hello"))
	if err := os.Symlink("a", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	p := rawSFTP(t, startSFTP(t, SFTPConfig{Root: root}))
	mtime := uint32(1_600_000_000)
	if code, _ := p.status(fxpExtended, "lsetstat@openssh.com", "a", uint32(attrPerm|attrTimes), uint32(0o100600), mtime, mtime); code != 0 {
		t.Errorf("lsetstat: %d", code)
	}
	if code, _ := p.status(fxpExtended, "lsetstat@openssh.com", "link", uint32(attrPerm), uint32(0o600)); code != 8 {
		t.Errorf("lsetstat of a link: %d", code)
	}
	h := p.open("a", fxfWrite|fxfAppend)
	if code, _ := p.status(fxpWrite, h, uint64(0), " world"); code != 0 || string(content(t, root, "a")) != "hello world" {
		t.Errorf("append: %d, %q", code, content(t, root, "a"))
	}
	if code, _ := p.status(fxpFsetstat, h, uint32(attrSize|attrTimes), uint64(4), mtime, mtime); code != 0 {
		t.Errorf("fsetstat: %d", code)
	}
	kind, f := p.call(fxpFstat, h)
	if a := f.attrs(); kind != fxpAttrs || a.size != 4 || a.perm != 0o100600 || a.mtime != mtime || a.uid != ownerID {
		t.Errorf("fstat: %+v", a)
	}
	if kind, f := p.call(fxpExtended, "fstatvfs@openssh.com", h); kind != fxpExtendedReply || statvfsOf(f)[10] != nameMax {
		t.Errorf("fstatvfs: %d", kind)
	}
	if code, _ := p.status(fxpExtended, "statvfs@openssh.com", "nope"); code != 2 {
		t.Errorf("statvfs of nothing: %d", code)
	}
	if code, _ := p.status(fxpExtended, "fsync@openssh.com", "nonsense"); code != 2 {
		t.Errorf("fsync of nothing: %d", code)
	}
}

// The codes are those that OpenSSH 9.2 gives for the same causes.
func TestStatusCodes(t *testing.T) {
	posix(t)
	root := t.TempDir()
	file(t, root, "file", []byte("x"))
	for _, dir := range []string{"dir", "full"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file(t, root, "full/x", nil)
	outside := t.TempDir()
	file(t, outside, "secret", nil)
	if err := os.Symlink(outside, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	srv := startSFTP(t, SFTPConfig{Root: root, Volumes: []Volume{{Path: "/ro", ReadOnly: true}, {Path: "/other"}, {Path: "/inodes", NoInodes: true}}})
	p := rawSFTP(t, srv)
	none := uint32(0)
	put := uint32(fxfWrite | fxfCreat | fxfTrunc)
	tests := []struct {
		name  string
		kind  byte
		parts []any
		code  uint32
	}{
		{"missing file", fxpStat, []any{"nope"}, 2},
		{"missing parent", fxpOpen, []any{"nope/x", put, none}, 2},
		{"parent is a file", fxpOpen, []any{"file/x", put, none}, 2},
		{"rmdir on a file", fxpRmdir, []any{"file"}, 2},
		{"opendir on a file", fxpOpendir, []any{"file"}, 2},
		{"bad handle", fxpClose, []any{"nonsense"}, 2},
		{"mkdir exists", fxpMkdir, []any{"dir", none}, 4},
		{"plain rename onto a file", fxpRename, []any{"file", "full/x"}, 4},
		{"exclusive create exists", fxpOpen, []any{"file", put | fxfExcl, none}, 4},
		{"target is a directory", fxpOpen, []any{"dir", put, none}, 4},
		{"directory not empty", fxpRmdir, []any{"full"}, 4},
		{"remove a directory", fxpRemove, []any{"dir"}, 4},
		{"read-only: create", fxpOpen, []any{"ro/x", put, none}, 4},
		{"read-only: mkdir", fxpMkdir, []any{"ro/x", none}, 4},
		{"read-only: remove", fxpRemove, []any{"ro/x"}, 4},
		{"across volumes", fxpRename, []any{"file", "other/file"}, 4},
		{"posix-rename across volumes", fxpExtended, []any{"posix-rename@openssh.com", "file", "other/file"}, 4},
		{"hardlink across volumes", fxpExtended, []any{"hardlink@openssh.com", "file", "other/file"}, 4},
		{"no inodes", fxpOpen, []any{"inodes/x", put, none}, 4},
		{"name too long", fxpOpen, []any{strings.Repeat("x", 300), put, none}, 5},
		{"readlink on a file", fxpReadlink, []any{"file"}, 5},
		{"chown", fxpSetstat, []any{"file", uint32(attrUIDGID), none, none}, 3},
		{"unknown extension", fxpExtended, []any{"nonsense@example.com"}, 8},
		{"check-file is not announced", fxpExtended, []any{"check-file-name", "file", "sha256", uint64(0), uint64(0), none}, 8},
		{"unknown packet", 99, nil, 8},
		{"way out", fxpOpen, []any{"../../../etc/passwd", uint32(fxfRead), none}, 2},
		{"way out by a link", fxpOpen, []any{"out/secret", uint32(fxfRead), none}, 4},
		{"short packet", fxpOpen, []any{"file"}, 5},
		{"fine", fxpStat, []any{"file"}, 0},
	}
	for _, tt := range tests {
		code, text := p.status(tt.kind, tt.parts...)
		if code != tt.code || tt.code != 0 && text != statusNames[tt.code] {
			t.Errorf("%s: %d %q, want %d %q", tt.name, code, text, tt.code, statusNames[tt.code])
		}
	}
	h := p.open("file", fxfRead)
	if code, _ := p.status(fxpWrite, h, uint64(0), "y"); code != 2 {
		t.Errorf("write to a handle for reading: %d", code)
	}
	if code, _ := p.status(fxpRead, h, uint64(1), uint32(10)); code != 1 {
		t.Errorf("read past the end: %d", code)
	}
	kind, f := p.call(fxpOpendir, "/")
	dir := f.string()
	if code, _ := p.status(fxpRead, dir, uint64(0), uint32(10)); kind != fxpHandle || code != 4 {
		t.Errorf("read a directory handle: %d", code)
	}
	if code, _ := p.status(fxpFstat, dir); code != 2 {
		t.Errorf("fstat a directory handle: %d", code)
	}
}

func TestQuirks(t *testing.T) {
	put := uint32(fxfWrite | fxfCreat | fxfTrunc)
	none := uint32(0)
	tests := []struct {
		name   string
		quirks Quirks
		talk   func(t *testing.T, root string, p *peer)
	}{
		{"read-only", Quirks{ReadOnly: true}, func(t *testing.T, root string, p *peer) {
			for _, call := range [][]any{{"new", put, none}, {"a", uint32(fxfWrite), none}} {
				if code, _ := p.status(fxpOpen, call...); code != 3 {
					t.Errorf("open %v: %d", call, code)
				}
			}
			for kind, parts := range map[byte][]any{
				fxpMkdir: {"d", none}, fxpRemove: {"a"}, fxpRename: {"a", "b"}, fxpSetstat: {"a", none}, fxpRmdir: {"d"},
			} {
				if code, _ := p.status(kind, parts...); code != 3 {
					t.Errorf("%s: %d", packetNames[kind], code)
				}
			}
			if code, _ := p.status(fxpOpen, "a", uint32(fxfRead), none); code != 0 {
				t.Errorf("reading: %d", code)
			}
			_, f := p.call(fxpExtended, "statvfs@openssh.com", "/")
			if v := statvfsOf(f); v[9] != 1 {
				t.Errorf("statvfs flag %d", v[9])
			}
			if ext := extensionsOf(t, p); slices.Contains(ext, "posix-rename@openssh.com") || slices.Contains(ext, "fsync@openssh.com") || len(ext) == 0 {
				t.Errorf("extensions %v", ext)
			}
		}},
		{"no extensions", Quirks{Extensions: []string{}}, func(t *testing.T, root string, p *peer) {
			if ext := extensionsOf(t, p); len(ext) != 0 {
				t.Errorf("extensions %v", ext)
			}
			if code, _ := p.status(fxpExtended, "posix-rename@openssh.com", "a", "b"); code != 8 {
				t.Errorf("posix-rename: %d", code)
			}
		}},
		{"refusals", Quirks{Refuse: map[string]uint32{"SETSTAT": 8, "OPEN+APPEND": 4, "OPEN+EXISTING": 8, "OPEN+READ+WRITE": 4, "RENAME": 3}}, func(t *testing.T, root string, p *peer) {
			for i, tt := range []struct {
				kind  byte
				parts []any
				code  uint32
			}{
				{fxpSetstat, []any{"a", none}, 8},
				{fxpOpen, []any{"new", uint32(fxfWrite | fxfCreat | fxfAppend), none}, 4},
				{fxpOpen, []any{"a", uint32(fxfWrite), none}, 8},
				{fxpOpen, []any{"new", uint32(fxfWrite | fxfRead | fxfCreat), none}, 4},
				{fxpOpen, []any{"new", uint32(fxfWrite | fxfCreat), none}, 0},
				{fxpRename, []any{"a", "b"}, 3},
			} {
				if code, _ := p.status(tt.kind, tt.parts...); code != tt.code {
					t.Errorf("%d: %d, want %d", i, code, tt.code)
				}
			}
		}},
		{"4 for everything", Quirks{Codes: map[uint32]uint32{2: 4, 3: 4}}, func(t *testing.T, root string, p *peer) {
			if code, text := p.status(fxpStat, "nope"); code != 4 || text != "Failure" {
				t.Errorf("%d %s", code, text)
			}
		}},
		{"the system's words", Quirks{ErrnoText: true}, func(t *testing.T, root string, p *peer) {
			posix(t)
			if code, text := p.status(fxpStat, "nope"); code != 2 || text != "no such file or directory" {
				t.Errorf("%d %s", code, text)
			}
		}},
		{"rename replaces", Quirks{ReplaceOnRename: true}, func(t *testing.T, root string, p *peer) {
			file(t, root, "b", []byte("b"))
			if code, _ := p.status(fxpRename, "a", "b"); code != 0 || string(content(t, root, "b")) != "hello" {
				t.Errorf("%d, %q", code, content(t, root, "b"))
			}
		}},
		{"handles", Quirks{MaxHandles: 2}, func(t *testing.T, root string, p *peer) {
			h := p.open("a", fxfRead)
			p.open("a", fxfRead)
			if code, _ := p.status(fxpOpen, "a", uint32(fxfRead), none); code != 4 {
				t.Errorf("open: %d", code)
			}
			if code, _ := p.status(fxpOpendir, "/"); code != 4 {
				t.Errorf("opendir: %d", code)
			}
			p.status(fxpClose, h)
			p.open("a", fxfRead)
		}},
		{"small reads", Quirks{MaxRead: 3}, func(t *testing.T, root string, p *peer) {
			_, f := p.call(fxpRead, p.open("a", fxfRead), uint64(1), uint32(100))
			if got := f.string(); got != "ell" {
				t.Errorf("read %q", got)
			}
		}},
		{"limits", Quirks{MaxPacket: 5000, MaxRead: 4000, MaxWrite: 3000, MaxHandles: 7}, func(t *testing.T, root string, p *peer) {
			_, f := p.call(fxpExtended, "limits@openssh.com")
			if got := []uint64{f.uint64(), f.uint64(), f.uint64(), f.uint64()}; !slices.Equal(got, []uint64{5000, 4000, 3000, 7}) {
				t.Errorf("limits %v", got)
			}
			p.send(fxpWrite, p.open("a", fxfWrite), uint64(0), make([]byte, 6000))
			if n, err := p.ch.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("a packet beyond the limit: read %d, %v, want the end of the channel", n, err)
			}
		}},
		{"drive letters", Quirks{Drive: "C:", BadNames: `<>:"|?*`}, func(t *testing.T, root string, p *peer) {
			for name, want := range map[string]string{
				".": "/C:/", "/C:/home": "/C:/home", `c:\home`: "/C:/home", "C:/home": "/C:/home", "/home": "/C:/home",
			} {
				_, f := p.call(fxpRealpath, name)
				if n, got := f.uint32(), f.string(); n != 1 || got != want {
					t.Errorf("realpath %s: %s, want %s", name, got, want)
				}
			}
			if code, _ := p.status(fxpStat, `\C:\a`); code != 0 {
				t.Errorf("stat: %d", code)
			}
			if code, _ := p.status(fxpOpen, "what?", put, none); code != 5 {
				t.Errorf("bad name: %d", code)
			}
		}},
		{"slow close", Quirks{SlowClose: 60 * time.Millisecond}, func(t *testing.T, root string, p *peer) {
			h := p.open("a", fxfRead)
			start := time.Now()
			if code, _ := p.status(fxpClose, h); code != 0 || time.Since(start) < 60*time.Millisecond {
				t.Errorf("%d after %v", code, time.Since(start))
			}
		}},
		{"hashes", Quirks{Extensions: []string{"check-file", "md5-hash"}}, func(t *testing.T, root string, p *peer) {
			const sha256hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
			for _, first := range []any{"check-file-name", "check-file-handle"} {
				target := any("a")
				if first == "check-file-handle" {
					target = p.open("a", fxfRead)
				}
				kind, f := p.call(fxpExtended, first, target, "crc32,sha256", uint64(0), uint64(0), none)
				if algorithm := f.string(); kind != fxpExtendedReply || algorithm != "sha256" || fmt.Sprintf("%x", f.b) != sha256hello {
					t.Errorf("%s: %d %s %x", first, kind, algorithm, f.b)
				}
			}
			file(t, root, "blocks", noise(600))
			_, f := p.call(fxpExtended, "check-file-name", "blocks", "md5", uint64(0), uint64(0), uint32(256))
			if f.string(); len(f.b) != 3*16 {
				t.Errorf("%d bytes of digests for three blocks", len(f.b))
			}
			_, f = p.call(fxpExtended, "md5-hash", "a", uint64(0), uint64(0), "")
			if name, sum := f.string(), f.bytes(); name != "md5-hash" || fmt.Sprintf("%x", sum) != "5d41402abc4b2a76b9719d911017c592" {
				t.Errorf("md5-hash: %s %x", name, sum)
			}
			quick := md5.Sum([]byte("hello"))
			_, f = p.call(fxpExtended, "md5-hash-handle", p.open("a", fxfRead), uint64(1), uint64(2), quick[:])
			if name, sum := f.string(), f.bytes(); name != "md5-hash-handle" || len(sum) != 0 {
				t.Errorf("a quick check of other bytes: %s %x", name, sum)
			}
			_, f = p.call(fxpExtended, "md5-hash", "a", uint64(0), uint64(0), quick[:])
			if f.string(); len(f.bytes()) != md5.Size {
				t.Error("a quick check that is right: no hash")
			}
			if code, _ := p.status(fxpExtended, "check-file-name", "a", "crc32", uint64(0), uint64(0), none); code != 5 {
				t.Errorf("no algorithm in common: %d", code)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			file(t, root, "a", []byte("hello"))
			tt.talk(t, root, rawSFTP(t, startSFTP(t, SFTPConfig{Root: root, Quirks: tt.quirks})))
		})
	}
}

func statvfsOf(f *fields) (v [11]uint64) {
	for i := range v {
		v[i] = f.uint64()
	}
	return v
}

// extensionsOf sends INIT, which has a version instead of an id.
func extensionsOf(t *testing.T, p *peer) []string {
	t.Helper()
	p.id = 2 // so that send puts 3, the version
	kind, f := p.call(fxpInit)
	if kind != fxpVersion {
		t.Fatalf("answer %d to INIT", kind)
	}
	var names []string
	for len(f.b) > 0 {
		names = append(names, f.string())
		f.bytes()
	}
	return names
}

func TestSFTPCapacity(t *testing.T) {
	root := t.TempDir()
	srv := startSFTP(t, SFTPConfig{Root: root, Volumes: []Volume{{Capacity: 10 << 10}, {Path: "/quota", Quota: 1000}}})
	p := rawSFTP(t, srv)
	free := func(dir string) uint64 {
		kind, f := p.call(fxpExtended, "statvfs@openssh.com", dir)
		v := statvfsOf(f)
		if kind != fxpExtendedReply {
			t.Errorf("statvfs %d", kind)
		}
		return v[1] * v[4]
	}
	if n := free("/"); n != 10<<10 {
		t.Errorf("%d bytes free", n)
	}
	h := p.open("a", fxfWrite|fxfCreat)
	if code, _ := p.status(fxpWrite, h, uint64(0), noise(8<<10)); code != 0 {
		t.Errorf("first write: %d", code)
	}
	if code, text := p.status(fxpWrite, h, uint64(8<<10), noise(4<<10)); code != 4 || text != "Failure" {
		t.Errorf("second write: %d %s", code, text)
	}
	if n := len(content(t, root, "a")); n != 10<<10 {
		t.Errorf("%d bytes on the disk; what fits is written", n)
	}
	if code, _ := p.status(fxpClose, h); code != 0 || free("/") != 0 {
		t.Errorf("close: %d, %d bytes free", code, free("/"))
	}
	q := p.open("quota/a", fxfWrite|fxfCreat)
	if code, _ := p.status(fxpWrite, q, uint64(0), noise(1001)); code != 4 || free("/quota") != unlimited {
		t.Errorf("quota: %d, %d bytes free", code, free("/quota"))
	}
	if code, _ := p.status(fxpRemove, "a"); code != 0 || free("/") != 10<<10 {
		t.Errorf("remove: %d, %d bytes free", code, free("/"))
	}
}

func TestStatVFS(t *testing.T) {
	p := rawSFTP(t, startSFTP(t, SFTPConfig{Volumes: []Volume{
		{Capacity: 8 << 10, Reserved: 2 << 10}, {Path: "/inodes", NoInodes: true}, {Path: "/btrfs", NoFileCount: true},
		{Path: "/ro", ReadOnly: true},
	}}))
	const inf = unlimited / 1024
	const files = 1 << 20
	for dir, want := range map[string][11]uint64{
		"/":       {1024, 1024, 10, 10, 8, files, files, files, 1, 0, 255},
		"/inodes": {1024, 1024, inf, inf, inf, files, 0, 0, 2, 0, 255},
		"/btrfs":  {1024, 1024, inf, inf, inf, 0, 0, 0, 3, 0, 255},
		"/ro":     {1024, 1024, inf, inf, inf, files, files, files, 4, 1, 255},
	} {
		_, f := p.call(fxpExtended, "statvfs@openssh.com", dir)
		if got := statvfsOf(f); got != want {
			t.Errorf("%s: %v, want %v", dir, got, want)
		}
	}
}

func TestProfiles(t *testing.T) {
	if _, ok := Profile("nonsense"); ok {
		t.Error("an unknown profile")
	}
	data := noise(300_000)
	for _, name := range Profiles() {
		t.Run(name, func(t *testing.T) {
			quirks, ok := Profile(name)
			if !ok {
				t.Fatal("missing")
			}
			root := t.TempDir()
			file(t, root, "there", data)
			c := sftpClient(t, startSFTP(t, SFTPConfig{Root: root, Quirks: quirks}))
			f, err := c.Open("there")
			if err != nil {
				t.Fatal(err)
			}
			back := make([]byte, len(data))
			if _, err := f.ReadAt(back, 0); err != nil || !bytes.Equal(back, data) {
				t.Errorf("read: %v", err)
			}
			_ = f.Close()
			f, err = c.OpenFile("new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
			if quirks.ReadOnly {
				if !errors.Is(err, fs.ErrPermission) {
					t.Errorf("a read-only server: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.ReadFrom(bytes.NewReader(data)); err != nil || f.Close() != nil || !bytes.Equal(content(t, root, "new"), data) {
				t.Errorf("write: %v", err)
			}
		})
	}
}
