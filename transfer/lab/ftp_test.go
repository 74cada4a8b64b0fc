package lab

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
)

// client is the library that xfer's FTP transport is built on.
func client(t *testing.T, srv *FTP, options ...ftp.DialOption) *ftp.ServerConn {
	t.Helper()
	c, err := ftp.Dial(srv.Addr(), append(options, ftp.DialWithTimeout(5*time.Second))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Quit() })
	if err := c.Login("demo", "demo"); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFTPWithLibrary(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			root := t.TempDir()
			srv := startFTP(t, FTPConfig{Root: root, Addr: addr, User: "demo", Password: "demo"})
			c := client(t, srv)
			data := noise(3 << 20)
			if err := c.MakeDir("in"); err != nil {
				t.Fatal(err)
			}
			if err := c.Stor("in/a file.bin", bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(content(t, root, "in/a file.bin"), data) {
				t.Fatal("what was stored differs")
			}
			r, err := c.RetrFrom("in/a file.bin", 1000)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || r.Close() != nil || !bytes.Equal(got, data[1000:]) {
				t.Fatalf("retrieved %d bytes, %v; want %d equal ones", len(got), err, len(data)-1000)
			}
			if err := c.StorFrom("in/a file.bin", strings.NewReader("XYZ"), 10); err != nil {
				t.Fatal(err)
			}
			if got := content(t, root, "in/a file.bin"); string(got[10:13]) != "XYZ" || len(got) != len(data) {
				t.Errorf("REST+STOR: %q, %d bytes; the rest must stay", got[8:15], len(got))
			}
			if err := c.Append("in/a file.bin", strings.NewReader("tail")); err != nil {
				t.Fatal(err)
			}
			when := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
			if err := c.SetTime("in/a file.bin", when); err != nil {
				t.Fatal(err)
			}
			entries, err := c.List("in")
			if err != nil || len(entries) != 1 || entries[0].Name != "a file.bin" ||
				entries[0].Size != uint64(len(data)+4) || !entries[0].Time.Equal(when) {
				t.Errorf("listed %+v, %v", entries, err)
			}
			if err := c.Rename("in/a file.bin", "in/b"); err != nil {
				t.Fatal(err)
			}
			if size, err := c.FileSize("in/b"); err != nil || size != int64(len(data)+4) {
				t.Errorf("size %d, %v", size, err)
			}
			if err := c.RemoveDirRecur("in"); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(root, "in")); !os.IsNotExist(err) {
				t.Errorf("in is still there: %v", err)
			}
			if n := srv.Log().Data("EPSV"); n < 5 {
				t.Errorf("%d data connections by EPSV", n)
			}
		})
	}
}

// Nothing outside of the root can be reached, by ".." or by a symbolic link.
func TestFTPStaysInside(t *testing.T) {
	posix(t)
	outside := t.TempDir()
	file(t, outside, "secret", []byte("secret"))
	root := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(root, "way-out")); err != nil {
		t.Fatal(err)
	}
	c := login(t, startFTP(t, FTPConfig{Root: root}))
	for _, p := range []string{"../secret", "/../../secret", "way-out/secret", "in/../../" + filepath.Base(outside) + "/secret"} {
		c.cmd(550, "SIZE %s", p)
		c.cmd(550, "RNFR %s", p)
		c.cmd(550, "DELE %s", p)
		c.passive()
		c.cmd(550, "STOR %s", filepath.Dir(p)+"/new/x")
	}
	if got := content(t, outside, "secret"); string(got) != "secret" {
		t.Errorf("secret is %q", got)
	}
}

func TestFTPReplies(t *testing.T) {
	posix(t)
	root := t.TempDir()
	file(t, root, "a", []byte("hello"))
	file(t, root, `q"uote`, nil)
	srv := startFTP(t, FTPConfig{
		Root: root, User: "demo", Password: "demo", Greeting: "one\ntwo\nthree",
		With: []string{"HASH", "XSHA256", "XCRC", "XMD5", "MD5", "HOST", "CLNT", "AVBL", "SITE UTIME", "MDTM SET"}, Without: []string{"MFMT"},
	})
	c := dial(t, srv)
	if text := c.want(220); text != "one\ntwo\nthree" {
		t.Errorf("greeting %q", text)
	}
	steps := []struct {
		send string
		code int
		text string // contained
	}{
		{"PWD", 530, "login"},
		{"FOO", 502, ""},
		{"", 500, ""},
		{"USER d\x00emo", 500, ""},
		{"HOST ftp.example", 220, ""},
		{"PASS demo", 503, "USER"},
		{"USER demo", 331, ""},
		{"PASS wrong", 530, "incorrect"},
		{"USER demo", 331, ""},
		{"pass demo", 230, ""},
		{"AUTH TLS", 502, ""},
		{"PBSZ 0", 503, ""},
		{"SYST", 215, "UNIX"},
		{"FEAT", 211, "\n SIZE\n"},
		{"OPTS UTF8 ON", 200, ""},
		{"OPTS FOO", 501, ""},
		{"NOOP", 200, ""},
		{"SIZE a", 550, "ASCII"},
		{"TYPE E", 504, ""},
		{"TYPE I", 200, ""},
		{"MODE B", 504, ""},
		{"STRU F", 200, ""},
		{"SIZE a", 213, "5"},
		{"SIZE nope", 550, "Could not"},
		{"SIZE .", 550, "plain"},
		{"MFMT 20200102030405 a", 502, ""},
		{"MDTM 20200102030405 a", 213, ""},
		{"MDTM a", 213, "20200102030405"},
		{"SITE UTIME 202001020304 a", 213, ""},
		{"MDTM a", 213, "20200102030400"},
		{"SITE UTIME a 20210102030405 20210102030406 20210102030407 UTC", 213, ""},
		{"MDTM a", 213, "20210102030406"},
		{"SITE CHMOD 600 a", 200, ""},
		{"SITE FOO", 500, ""},
		{"MLST a", 250, " type=file;size=5;modify=20210102030406;UNIX.mode=0600; /a"},
		{"HASH a", 213, "SHA-256 0-5 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 a"},
		{"OPTS HASH MD5", 200, "MD5"},
		{"HASH a", 213, "MD5 0-5 5d41402abc4b2a76b9719d911017c592 a"},
		{"XSHA256 a", 250, "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824"},
		{`XMD5 "a" 0 5`, 250, "5D41402ABC4B2A76B9719D911017C592"},
		{"XCRC a", 250, "3610A686"},
		{"MD5 a", 251, "a 5D41402ABC4B2A76B9719D911017C592"},
		{"AVBL", 213, "1099511627776"},
		{"CLNT xfer", 200, ""},
		{"REST x", 501, ""},
		{"REST 3", 350, "3"},
		{"RNTO b", 503, ""},
		{"RNFR a", 350, ""},
		{"SIZE a", 501, "sequence"},
		{"NOOP", 200, ""},
		{"RNFR a", 501, "sequence"},
		{"RNTO b", 250, ""},
		{"MKD b", 550, "exists"},
		{`MKD d"ir`, 257, `"/d""ir" created`},
		{`CWD d"ir`, 250, ""},
		{"PWD", 257, `"/d""ir"`},
		{"CDUP", 250, ""},
		{"RMD b", 550, ""},
		{`DELE d"ir`, 550, ""},
		{`RMD d"ir`, 250, ""},
		{"STAT", 211, "status"},
		{"STAT b", 213, " b\n"},
		{"RETR b", 425, "PORT or PASV"},
		{"PORT 10,0,0,1,4,1", 500, "Illegal"},
		{"PORT 127,0,0,1,4", 501, ""},
		{"EPRT |2|::1|1025|", 522, "(1)"},
		{"EPRT |1|10.0.0.1|1025|", 500, "Illegal"},
		{"EPRT", 501, ""},
		{"EPRT |1|127.0.0.1|", 501, ""},
		{"EPRT |1|nonsense|1025|", 501, ""},
		{"RETR nope", 550, "No such file"},
		{"RETR .", 550, "plain"},
		{"REST 6", 350, ""},
		{"RETR b", 554, ""},
		{"STOR .", 550, "directory"},
		{"STOR nope/x", 550, "No such file"},
		{"MLST nope", 550, ""},
		{"MD5 nope", 550, ""},
		{"SITE CHMOD 9 b", 501, ""},
		{"SITE UTIME b", 501, ""},
		{"MDTM 20200102030405 nope", 550, ""},
		{"EPSV 2", 522, "(1)"},
		{"ABOR", 226, ""},
		{"\xff\xf4\xff\xf2ABOR", 226, ""},
		{strings.Repeat("x", 5000), 500, "too long"},
		{"QUIT", 221, ""},
	}
	for _, s := range steps {
		if text := c.cmd(s.code, "%s", s.send); !strings.Contains(text, s.text) {
			t.Errorf("%q: %q, want %q in it", s.send, text, s.text)
		}
	}
	c.gone()

	log := srv.Log()
	if strings.Contains(log.String(), "wrong") || !strings.Contains(log.String(), "PASS ****") {
		t.Errorf("the log must not show passwords:\n%s", log)
	}
	logins := log.Of("login")
	if len(logins) != 2 || logins[0].Text != "refused" || logins[1].Text != "accepted" || logins[1].Arg != "demo" {
		t.Errorf("logins %+v", logins)
	}
	if e := log.Of("SIZE")[1]; e.Arg != "a" || len(e.Codes) != 1 || e.Codes[0] != 213 || e.Text != "5" {
		t.Errorf("SIZE is logged as %+v", e)
	}
}

func TestFTPThirdFailureHangsUp(t *testing.T) {
	srv := startFTP(t, FTPConfig{User: "demo", Password: "demo"})
	c := dial(t, srv)
	c.want(220)
	for range 3 {
		c.cmd(331, "USER demo")
		c.cmd(530, "PASS no")
	}
	c.gone()
}

func TestFTPAccount(t *testing.T) {
	c := dial(t, startFTP(t, FTPConfig{User: "demo", Password: "demo", Account: "sales"}))
	c.want(220)
	c.cmd(331, "USER demo")
	c.cmd(332, "PASS demo")
	c.cmd(530, "PWD")
	c.cmd(530, "ACCT wrong")
	c.cmd(503, "ACCT sales")
	c.cmd(331, "USER demo")
	c.cmd(332, "PASS demo")
	c.cmd(230, "ACCT sales")
	c.cmd(257, "PWD")
	c.cmd(202, "ACCT sales")
}

func TestFTPWithout(t *testing.T) {
	c := login(t, startFTP(t, FTPConfig{NotImplemented: 500, Without: []string{
		"FEAT", "EPSV", "EPRT", "MLSD", "MLST", "SIZE", "MDTM", "MFMT", "REST", "APPE", "UTF8", "SITE CHMOD",
	}}))
	for _, line := range []string{"FEAT", "EPSV", "EPRT |1|127.0.0.1|1|", "MLSD", "MLST", "SIZE a", "MDTM a", "MFMT 20200101000000 a", "REST 1", "APPE a", "HASH a", "AVBL"} {
		c.cmd(500, "%s", line)
	}
	c.cmd(501, "OPTS UTF8 ON")
	c.cmd(500, "SITE CHMOD 600 a")
	if _, err := StartFTP(FTPConfig{Root: t.TempDir(), With: []string{"NOSUCH"}}); err == nil {
		t.Error("an unknown feature went through")
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost:0"} {
		if srv, err := StartFTP(FTPConfig{Root: t.TempDir(), Addr: addr}); err == nil {
			_ = srv.Close()
			t.Errorf("listens on %s", addr)
		}
	}
}

// listen and hand over the one connection that comes.
func accept(t *testing.T) (*net.TCPListener, func() net.Conn) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, func() net.Conn {
		_ = ln.SetDeadline(time.Now().Add(5 * time.Second))
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func TestFTPActive(t *testing.T) {
	root := t.TempDir()
	file(t, root, "a", []byte("hello"))
	srv := startFTP(t, FTPConfig{Root: root})
	c := login(t, srv)
	ln, take := accept(t)
	p := portNumber(ln.Addr().String())
	for _, line := range []string{
		"PORT 127,0,0,1," + strings.Join([]string{itoa(p >> 8), itoa(p & 255)}, ","),
		"EPRT |1|127.0.0.1|" + itoa(p) + "|",
	} {
		c.cmd(200, "%s", line)
		c.send("RETR a")
		conn := take()
		c.want(150)
		if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
			t.Errorf("%s: got %q, %v", line, got, err)
		}
		c.want(226)
	}
	if log := srv.Log(); log.Data("PORT") != 1 || log.Data("EPRT") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

func TestFTPPasv(t *testing.T) {
	srv := startFTP(t, FTPConfig{PasvHost: "192.168.7.9"})
	c := login(t, srv)
	if text := c.cmd(227, "PASV"); !strings.Contains(text, "(192,168,7,9,") {
		t.Errorf("PASV: %q", text)
	}
	v6 := login(t, startFTP(t, FTPConfig{Addr: "[::1]:0"}))
	v6.cmd(425, "PASV")
	v6.cmd(522, "EPSV 1")
	v6.cmd(229, "EPSV 2")
}

// A data connection from somewhere else is not served.
func TestFTPPassiveIntruder(t *testing.T) {
	srv := startFTP(t, FTPConfig{})
	c := login(t, srv)
	text := c.cmd(227, "PASV")
	var n [6]int
	fields := strings.Split(text[strings.Index(text, "(")+1:strings.Index(text, ")")], ",")
	for i, f := range fields {
		n[i] = atoi(f)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := d.Dial("tcp", "127.0.0.1:"+itoa(n[4]<<8|n[5]))
	if err != nil && runtime.GOOS != "linux" {
		t.Skip("no 127.0.0.2 here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c.cmd(425, "LIST")
}

func TestFTPAscii(t *testing.T) {
	root := t.TempDir()
	file(t, root, "a", []byte("one\ntwo\n"))
	c := login(t, startFTP(t, FTPConfig{Root: root}))
	c.cmd(200, "TYPE A")
	data := c.passive()
	c.cmd(150, "RETR a")
	got, _ := io.ReadAll(data)
	c.want(226)
	if string(got) != "one\r\ntwo\r\n" {
		t.Errorf("retrieved %q", got)
	}
	data = c.passive()
	c.cmd(150, "STOR b")
	_, _ = io.WriteString(data, "x\r\ny\r\rz\r\n")
	_ = data.Close()
	c.want(226)
	if got := content(t, root, "b"); string(got) != "x\ny\r\rz\n" {
		t.Errorf("stored %q", got)
	}
}

func TestFTPListing(t *testing.T) {
	root := t.TempDir()
	file(t, root, "b", []byte("12"))
	if runtime.GOOS != "linux" {
		t.Skip("names are bytes on Linux only")
	}
	file(t, root, "caf\xe9", nil) // they are passed through
	if err := os.Symlink("b", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "-a"), 0o755); err != nil {
		t.Fatal(err)
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(root, "b"), old, old); err != nil {
		t.Fatal(err)
	}
	srv := startFTP(t, FTPConfig{Root: root, EmptyForMissing: true, Listing: func(verb, dir string) []byte {
		if dir == "/raw" {
			return []byte("total 7\r\ngarbage \xff\r\n")
		}
		return nil
	}})
	c := login(t, srv)
	tests := []struct{ cmd, want string }{
		{"NLST", "-a\r\nb\r\ncaf\xe9\r\nlink\r\n"},
		{"LIST b", "-rw-r--r--    1 1000     1000                2 Feb  3  2001 b\r\n"},
		{"LIST -a", ""}, // an option, not the directory: the whole listing comes
		{"LIST missing", ""},
		{"LIST raw", "total 7\r\ngarbage \xff\r\n"},
		{"MLSD raw", "total 7\r\ngarbage \xff\r\n"},
	}
	for _, tt := range tests {
		data := c.passive()
		c.cmd(150, "%s", tt.cmd)
		got, err := io.ReadAll(data)
		if err != nil {
			t.Fatal(err)
		}
		c.want(226)
		if tt.cmd == "LIST -a" {
			lines := strings.Split(string(got), "\r\n")
			if len(lines) != 5 || !strings.HasPrefix(lines[0], "d") || lines[3][0] != 'l' || !strings.HasSuffix(lines[3], " link -> b") {
				t.Errorf("LIST -a: %q", got)
			}
			continue
		}
		if string(got) != tt.want {
			t.Errorf("%s: %q, want %q", tt.cmd, got, tt.want)
		}
	}
	c.passive()
	c.cmd(550, "MLSD missing")
	c.passive()
	c.cmd(550, "MLSD b")
}

// PRET has to come before PASV where the server wants it (drftpd).
func TestFTPPret(t *testing.T) {
	c := login(t, startFTP(t, FTPConfig{With: []string{"PRET"}}))
	c.cmd(500, "PASV")
	c.cmd(200, "PRET LIST")
	c.cmd(227, "PASV")
}

func TestFTPMaxConnections(t *testing.T) {
	srv := startFTP(t, FTPConfig{MaxConnections: 1})
	first := login(t, srv)
	second := dial(t, srv)
	second.want(421)
	second.gone()
	first.cmd(221, "QUIT")
	third := login(t, srv) // QUIT has made room
	first.gone()
	srv.SetScript(Rule{On: "NOOP", Do: Drop(FIN)})
	third.send("NOOP")
	third.gone()
	login(t, srv)
	if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("close") == 3 }); err != nil {
		t.Fatal(err)
	}
	if n := srv.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// However many come at once, as many as there is room for are served.
func TestFTPCrowd(t *testing.T) {
	srv := startFTP(t, FTPConfig{MaxConnections: 3})
	var served atomic.Int32
	var all sync.WaitGroup
	release := make(chan struct{})
	for range 12 {
		conn := dialRaw(t, srv.Addr())
		all.Go(func() {
			line, _ := bufio.NewReader(conn).ReadString('\n')
			if strings.HasPrefix(line, "220") {
				served.Add(1)
				<-release
			}
		})
	}
	err := srv.Await(t.Context(), func(l Log) bool {
		greeted := 0
		for _, e := range l.Of("connect") {
			greeted += len(e.Codes)
		}
		return greeted == 12
	})
	close(release)
	all.Wait()
	if err != nil || served.Load() != 3 {
		t.Errorf("%d were served, want 3; %v", served.Load(), err)
	}
}

func TestFTPIdleTimeout(t *testing.T) {
	c := login(t, startFTP(t, FTPConfig{IdleTimeout: 400 * time.Millisecond}))
	c.want(421)
	c.gone()
}

func TestFTPRenames(t *testing.T) {
	root := t.TempDir()
	file(t, root, "a", []byte("a"))
	file(t, root, "b", []byte("b"))
	c := login(t, startFTP(t, FTPConfig{Root: root, NoReplace: true}))
	c.cmd(350, "RNFR a")
	c.cmd(553, "RNTO b")
	c.cmd(350, "RNFR a")
	c.cmd(250, "RNTO c")
	if string(content(t, root, "b")) != "b" || string(content(t, root, "c")) != "a" {
		t.Error("renamed wrongly")
	}
	login(t, startFTP(t, FTPConfig{Root: root, NoRename: true})).cmd(550, "RNFR c")
}

func TestFTPCapacity(t *testing.T) {
	root := t.TempDir()
	file(t, root, "there", noise(400))
	srv := startFTP(t, FTPConfig{Root: root, FullCode: 552, With: []string{"AVBL"}, Volumes: []Volume{{Capacity: 1000}}})
	c := login(t, srv)
	if text := c.cmd(213, "AVBL"); text != "600" {
		t.Errorf("AVBL %s, want 600", text)
	}
	store := func(want int) {
		t.Helper()
		data := c.passive()
		c.cmd(150, "STOR new")
		_, _ = data.Write(noise(700))
		_ = data.Close()
		c.want(want)
	}
	store(552)
	if n := len(content(t, root, "new")); n != 600 {
		t.Errorf("%d bytes were written, want what fits: 600", n)
	}
	if text := c.cmd(213, "AVBL"); text != "0" {
		t.Errorf("AVBL %s, want 0", text)
	}
	if err := os.Remove(filepath.Join(root, "there")); err != nil { // behind the server's back
		t.Fatal(err)
	}
	store(226)
	srv.SetCapacity("/", 699)
	store(552)
	srv.SetCapacity("/", 0)
	store(226)
}

func TestFTPVolumes(t *testing.T) {
	root := t.TempDir()
	file(t, root, "a", []byte("a"))
	c := login(t, startFTP(t, FTPConfig{Root: root, Volumes: []Volume{
		{Path: "/ro", ReadOnly: true}, {Path: "/other"}, {Path: "/inodes", NoInodes: true}, {Path: "/quota", Quota: 10},
	}}))
	c.cmd(550, "MKD ro/x")
	c.cmd(550, "RMD ro")
	c.cmd(350, "RNFR a")
	c.cmd(550, "RNTO other/a")
	c.cmd(452, "MKD inodes/x")
	data := c.passive()
	c.cmd(150, "STOR quota/x")
	_, _ = data.Write(noise(11))
	_ = data.Close()
	c.want(452)
	if n := len(content(t, root, "quota/x")); n != 10 {
		t.Errorf("%d bytes in the quota of 10", n)
	}
}

// vsftpd gives no reply to a second session while a first one holds the file.
func TestFTPLock(t *testing.T) {
	root := t.TempDir()
	srv := startFTP(t, FTPConfig{Root: root, LockUploads: true})
	first, second := login(t, srv), login(t, srv)
	data := first.passive()
	first.cmd(150, "STOR a")
	_, _ = data.Write([]byte("first"))
	second.passive()
	second.send("RETR a")
	second.silent()
	_ = data.Close()
	first.want(226)
	second.want(150)
	second.want(226)
}

// ABOR during a transfer: a reply for the transfer, one for ABOR, and the
// session lives on.
func TestFTPAbort(t *testing.T) {
	root := t.TempDir()
	srv := startFTP(t, FTPConfig{Root: root, AbortCode: 451})
	c := login(t, srv)
	data := c.passive()
	c.cmd(150, "STOR a")
	_, _ = data.Write([]byte("x"))
	c.cmd(451, "ABOR")
	c.want(226)
	c.cmd(200, "NOOP")
}

// A client that closes the data connection early gets one reply.
func TestFTPEarlyClose(t *testing.T) {
	root := t.TempDir()
	file(t, root, "big", noise(8<<20))
	c := login(t, startFTP(t, FTPConfig{Root: root}))
	data := c.passive()
	c.cmd(150, "RETR big")
	_, _ = io.ReadFull(data, make([]byte, 1000))
	_ = data.Close()
	c.want(426)
	c.cmd(200, "NOOP")
}

func TestHomeDirectory(t *testing.T) {
	root := t.TempDir()
	c := login(t, startFTP(t, FTPConfig{Root: root, Home: "/home/demo"}))
	if text := c.cmd(257, "PWD"); !strings.Contains(text, `"/home/demo"`) {
		t.Errorf("PWD %s", text)
	}
	c.cmd(257, "MKD x")
	if _, err := os.Stat(filepath.Join(root, "home/demo/x")); err != nil {
		t.Error(err)
	}
}
