package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// over says that the channel has come to its end.
func over(p *peer) bool {
	_, err := p.ch.Read(make([]byte, 1))
	return err == io.EOF
}

func TestPacketFaults(t *testing.T) {
	none := uint32(0)
	put := uint32(fxfWrite | fxfCreat | fxfTrunc)
	tests := []struct {
		name string
		rule Rule
		talk func(t *testing.T, root string, srv *SFTP, p *peer)
	}{
		{"the second WRITE fails", Rule{On: "WRITE", Nth: 2, Times: 1, Do: Reply(4, "Failure")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			h := p.open("new", put)
			for i, want := range []uint32{0, 4, 0} {
				if code, _ := p.status(fxpWrite, h, uint64(i), "x"); code != want {
					t.Errorf("write %d: %d", i, code)
				}
			}
			if got := content(t, root, "new"); string(got) != "x\x00x" {
				t.Errorf("on the disk: %q", got)
			}
		}},
		{"OPEN of one name fails", Rule{On: "OPEN", Path: "*.csv", Do: Reply(3, "no entry")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			if code, text := p.status(fxpOpen, "x.csv", put, none); code != 3 || text != "no entry" {
				t.Errorf("%d %s", code, text)
			}
			p.open("x.txt", put)
		}},
		{"an answer of EOF to WRITE", Rule{On: "WRITE", Do: Reply(1, "End of file")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			if code, _ := p.status(fxpWrite, p.open("new", put), uint64(0), "x"); code != 1 {
				t.Errorf("%d", code)
			}
		}},
		{"a short WRITE, then 4", Rule{On: "WRITE", Do: Partial(3).Then(Reply(4, "Failure"))}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			if code, _ := p.status(fxpWrite, p.open("new", put), uint64(0), "hello"); code != 4 || string(content(t, root, "new")) != "hel" {
				t.Errorf("%d, %q", code, content(t, root, "new"))
			}
		}},
		{"a short WRITE that is called a success", Rule{On: "WRITE", Do: Partial(3)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			if code, _ := p.status(fxpWrite, p.open("new", put), uint64(0), "hello"); code != 0 || string(content(t, root, "new")) != "hel" {
				t.Errorf("%d, %q", code, content(t, root, "new"))
			}
		}},
		{"a short READ", Rule{On: "READ", Do: Partial(2)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			_, f := p.call(fxpRead, p.open("a", fxfRead), uint64(0), uint32(100))
			if got := f.string(); got != "he" {
				t.Errorf("%q", got)
			}
		}},
		{"RENAME is done, the answer lost", Rule{On: "RENAME", Path: "/new", When: Finally, Do: Drop(RST)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			p.send(fxpRename, "a", "new")
			if !over(p) || string(content(t, root, "new")) != "hello" {
				t.Errorf("%q", content(t, root, "new"))
			}
		}},
		{"the answer to CLOSE never comes, the next one does", Rule{On: "CLOSE", When: Finally, Do: Ignore()}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			p.send(fxpClose, p.open("a", fxfRead))
			if kind, f := p.call(fxpStat, "a"); kind != fxpAttrs {
				t.Errorf("status %d", f.uint32())
			}
		}},
		{"another answer than the true one", Rule{On: "CLOSE", When: Finally, Do: Reply(4, "Failure")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			if code, _ := p.status(fxpClose, p.open("a", fxfRead)); code != 4 {
				t.Errorf("%d", code)
			}
		}},
		{"the connection is lost after so many bytes", Rule{On: "WRITE", When: During, After: 25, Do: Drop(RST)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			// Two handles on one file are one transfer.
			one, two := p.open("new", put), p.open("new", fxfWrite)
			for i, h := range []string{one, two} {
				if code, _ := p.status(fxpWrite, h, uint64(10*i), "0123456789"); code != 0 {
					t.Errorf("write %d: %d", i, code)
				}
			}
			p.send(fxpWrite, two, uint64(20), "0123456789")
			if !over(p) || len(content(t, root, "new")) != 20 {
				t.Errorf("%d bytes on the disk", len(content(t, root, "new")))
			}
		}},
		{"what is refused does not count as moved", Rule{On: "WRITE", When: During, After: 15, Do: Reply(4, "Failure")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			srv.Add(Rule{On: "WRITE", When: During, After: 25, Do: Reply(4, "Failure")})
			h := p.open("new", put)
			for i, want := range []uint32{0, 4, 0, 4, 0} {
				if code, _ := p.status(fxpWrite, h, uint64(10*i), "0123456789"); code != want {
					t.Errorf("write %d: %d, want %d", i, code, want)
				}
			}
		}},
		{"truncated from an offset on", Rule{On: "data", When: During, After: 15, Do: Truncate()}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			h := p.open("new", put)
			for i := range 3 {
				if code, _ := p.status(fxpWrite, h, uint64(10*i), "0123456789"); code != 0 {
					t.Errorf("write %d: %d", i, code)
				}
			}
			if got := content(t, root, "new"); string(got) != "012345678901234" {
				t.Errorf("%q", got)
			}
		}},
		{"a download ends early", Rule{On: "READ", When: During, After: 3, Do: Truncate()}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			h := p.open("a", fxfRead)
			_, f := p.call(fxpRead, h, uint64(0), uint32(100))
			if got := f.string(); got != "hel" {
				t.Errorf("%q", got)
			}
			if code, _ := p.status(fxpRead, h, uint64(3), uint32(100)); code != 1 {
				t.Errorf("%d", code)
			}
		}},
		{"one byte is wrong", Rule{On: "WRITE", When: During, After: 5, Do: Corrupt()}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			h := p.open("new", put)
			p.status(fxpWrite, h, uint64(0), "01234")
			p.status(fxpWrite, h, uint64(5), "56789")
			if got := content(t, root, "new"); string(got) != "01234\xca6789" {
				t.Errorf("%q", got)
			}
		}},
		{"slow", Rule{On: "WRITE", When: During, Do: Throttle(100)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			h := p.open("new", put)
			start := time.Now()
			for i := range 2 {
				p.status(fxpWrite, h, uint64(i), "01234")
			}
			if d := time.Since(start); d < 100*time.Millisecond {
				t.Errorf("10 bytes at 100 B/s took %v", d)
			}
		}},
		{"the server freezes, SSH lives", Rule{On: "STAT", Do: Stall()}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			client := mustSSH(t, srv)
			frozen := subsystem(t, client)
			frozen.send(fxpStat, "a")
			if _, _, err := client.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				t.Errorf("keepalive: %v", err)
			}
			if kind, _ := subsystem(t, client).call(fxpLstat, "a"); kind != fxpAttrs {
				t.Error("another channel does not work")
			}
		}},
		{"only the channel is killed", Rule{On: "LSTAT", Do: DropData(FIN)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			client := mustSSH(t, srv)
			dying := subsystem(t, client)
			dying.send(fxpLstat, "a")
			if !over(dying) {
				t.Error("the channel lives")
			}
			if kind, _ := subsystem(t, client).call(fxpStat, "a"); kind != fxpAttrs {
				t.Error("the connection is dead")
			}
		}},
		{"raw bytes instead of packets", Rule{On: "STAT", Do: Raw("This account is currently not available.\n")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			p.send(fxpStat, "a")
			got := make([]byte, 4)
			if _, err := io.ReadFull(p.ch, got); string(got) != "This" {
				t.Errorf("%q, %v", got, err)
			}
		}},
		{"the server takes the file away", Rule{On: "CLOSE", When: Finally, Do: TakeTo("/done")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			h := p.open("new", put)
			p.status(fxpWrite, h, uint64(0), "x")
			if code, _ := p.status(fxpClose, h); code != 0 {
				t.Errorf("close: %d", code)
			}
			if code, _ := p.status(fxpStat, "new"); code != 2 || string(content(t, root, "done/new")) != "x" {
				t.Errorf("stat: %d", code)
			}
		}},
		{"an extension fails", Rule{On: "statvfs@openssh.com", Do: Reply(4, "Failure")}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			if code, _ := p.status(fxpExtended, "statvfs@openssh.com", "/"); code != 4 {
				t.Errorf("%d", code)
			}
		}},
		{"slow answers", Rule{On: "*", When: Finally, Do: Wait(50 * time.Millisecond)}, func(t *testing.T, root string, srv *SFTP, p *peer) {
			start := time.Now()
			if p.status(fxpStat, "a"); time.Since(start) < 50*time.Millisecond {
				t.Errorf("after %v", time.Since(start))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			file(t, root, "a", []byte("hello"))
			srv := startSFTP(t, SFTPConfig{Root: root, Script: []Rule{tt.rule}})
			p := rawSFTP(t, srv)
			tt.talk(t, root, srv, p)
			if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("rule") > 0 }); err != nil || srv.Fired(tt.rule.On) == 0 {
				t.Errorf("the rule never fired: %v", err)
			}
		})
	}
}

func TestConnectionFaults(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{})
	srv.SetScript(Rule{On: "connect", Times: 1, Do: Raw("Exceeded MaxStartups\r\n").Then(Drop(FIN))})
	if got, err := io.ReadAll(dialRaw(t, srv.Addr())); string(got) != "Exceeded MaxStartups\r\n" || err != nil {
		t.Errorf("instead of the banner: %q, %v", got, err)
	}

	srv.SetScript(Rule{On: "connect", Times: 1, Do: Stall()})
	silent := dialRaw(t, srv.Addr())
	_ = silent.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := silent.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("no banner: read %d, %v", n, err)
	}

	srv.SetScript(Rule{On: "channel", Times: 1, Do: Reply(int(ssh.ResourceShortage), "no more sessions")})
	client := mustSSH(t, srv)
	_, _, err := client.OpenChannel("session", nil)
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refused.Reason != ssh.ResourceShortage || refused.Message != "no more sessions" {
		t.Errorf("channel: %v", err)
	}

	srv.SetScript(Rule{On: "subsystem", Times: 1, Do: Reply(0, "")}, Rule{On: "subsystem", Times: 1, Do: Raw("Welcome to the jungle\n")})
	if _, err := sftp.NewClient(client); err == nil {
		t.Error("the subsystem was there")
	}
	if _, err := sftp.NewClient(client); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a server that prints text: %v", err)
	}
	if _, err := sftp.NewClient(client); err != nil {
		t.Errorf("the third time: %v", err)
	}

	srv.SetScript(Rule{On: "auth", Path: "password", Times: 1, Do: Drop(RST)}, Rule{On: "auth", Times: 1, Nth: 2, Do: Reply(0, "")})
	if _, err := dialSSH(t, srv); err == nil {
		t.Error("dropped at the login, and in")
	}
	if _, err := dialSSH(t, srv); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("refused login: %v", err)
	}
	mustSSH(t, srv)
	if srv.Fired("auth") != 2 {
		t.Errorf("fired %d times", srv.Fired("auth"))
	}
}

// Past MaxConnections there is not even a banner; past MaxSessions no channel.
func TestSSHLimits(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{MaxConnections: 1, Quirks: Quirks{MaxSessions: 1}})
	client := mustSSH(t, srv)
	first := subsystem(t, client)
	_, _, err := client.OpenChannel("session", nil)
	if refused, ok := errors.AsType[*ssh.OpenChannelError](err); !ok || refused.Reason != ssh.ConnectionFailed || refused.Message != "open failed" {
		t.Errorf("second channel: %v", err)
	}
	if _, _, err := client.OpenChannel("direct-tcpip", nil); err == nil {
		t.Error("forwards ports")
	}
	_ = first.ch.Close()
	for deadline := time.Now().Add(5 * time.Second); ; {
		ch, _, err := client.OpenChannel("session", nil)
		if err == nil {
			_ = ch.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the first is closed: %v", err)
		}
	}
	if got, err := io.ReadAll(dialRaw(t, srv.Addr())); len(got) != 0 {
		t.Errorf("second connection: %q, %v", got, err)
	}
}

func TestExec(t *testing.T) {
	client := mustSSH(t, startSFTP(t, SFTPConfig{Exec: func(command string, stdout, stderr io.Writer) int {
		_, _ = io.WriteString(stdout, "ran "+command)
		_, _ = io.WriteString(stderr, "warned")
		return 3
	}}))
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	session.Stderr = &stderr
	out, err := session.Output("sha256sum x")
	exit, ok := errors.AsType[*ssh.ExitError](err)
	if !ok || exit.ExitStatus() != 3 || string(out) != "ran sha256sum x" || stderr.String() != "warned" {
		t.Errorf("%q, %q, %v", out, stderr.String(), err)
	}
	session, err = mustSSH(t, startSFTP(t, SFTPConfig{})).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Run("id"); err == nil {
		t.Error("a server without Exec ran something")
	}
}

// A killed client must not leave a stalled session behind.
func TestSFTPStallEnds(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{Script: []Rule{{On: "STAT", Do: Stall()}}})
	client := mustSSH(t, srv)
	subsystem(t, client).send(fxpStat, "a")
	if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("STAT") == 1 }); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("close") == 1 }); err != nil {
		t.Fatal(err)
	}
	if left := leaks("sftpSession"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

// A transfer ends with the session that had the file open, also if it is killed.
func TestTransferEndsWithSession(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{})
	client := mustSSH(t, srv)
	subsystem(t, client).open("a", fxfWrite|fxfCreat)
	_ = client.Close()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		srv.mu.Lock()
		n := len(srv.transfers)
		srv.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d transfers are left", n)
		}
	}
}

func TestSFTPCloseDuringTransfer(t *testing.T) {
	root := t.TempDir()
	file(t, root, "big", noise(4<<20))
	srv := startSFTP(t, SFTPConfig{Root: root, Script: []Rule{{On: "READ", When: During, Do: Throttle(1000)}}})
	c := sftpClient(t, srv)
	f, err := c.Open("big")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := f.WriteTo(io.Discard)
		done <- err
	}()
	if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("READ") > 0 }); err != nil {
		t.Fatal(err)
	}
	closeInTime(t, srv.Server)
	select {
	case err := <-done:
		if err == nil {
			t.Error("the download succeeded")
		}
	case <-time.After(5 * time.Second):
		t.Error("the client hangs")
	}
}

// The packet interpreter survives anything.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{fxpOpen, 0, 0, 0, 1, 0, 0, 0, 1, 'a', 0, 0, 0, 26, 0, 0, 0, 0})
	f.Add([]byte{fxpWrite, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 'x'})
	f.Add([]byte{fxpExtended, 0, 0, 0, 1, 0, 0, 0, 15, 'c', 'h', 'e', 'c', 'k', '-', 'f', 'i', 'l', 'e', '-', 'n', 'a', 'm', 'e', 0, 0, 0, 1, 'a', 0, 0, 0, 3, 'm', 'd', '5'})
	f.Add([]byte{fxpReaddir, 0, 0})
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) == 0 {
			return
		}
		root := t.TempDir()
		if err := os.WriteFile(root+"/a", []byte("hello"), 0o644); err != nil {
			t.Fatal(err)
		}
		tr, err := openTree(root, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.close()
		cfg := SFTPConfig{Quirks: Quirks{Extensions: []string{"check-file", "md5-hash", "statvfs@openssh.com", "posix-rename@openssh.com"}}}
		if err := cfg.setDefaults(); err != nil {
			t.Fatal(err)
		}
		srv := &SFTP{Server: &Server{tree: tr, ctx: t.Context()}, cfg: cfg, transfers: make(map[string]*sftpTransfer)}
		s := newSFTPSession(&sshConn{SFTP: srv, ctx: t.Context()}, discard{})
		defer func() {
			for _, h := range s.handles {
				_ = s.closeHandle(h)
			}
		}()
		s.answer([]byte{fxpOpen, 0, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 0, fxfRead | fxfWrite, 0, 0, 0, 0})
		s.answer(packet)
		if len(s.out) < 5 {
			t.Errorf("%x: no answer", packet)
		}
	})
}

// discard is a channel that takes everything.
type discard struct{ ssh.Channel }

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// Nothing of this is on the loopback interface only by chance.
func TestSFTPOnlyLoopback(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{Addr: "[::1]:0"})
	host, _, _ := net.SplitHostPort(srv.Addr())
	if !net.ParseIP(host).IsLoopback() {
		t.Error(srv.Addr())
	}
	mustSSH(t, srv)
}
