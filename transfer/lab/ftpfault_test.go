package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stored is what the server has of the file, nil if there is none.
func stored(root, name string) []byte {
	data, _ := os.ReadFile(filepath.Join(root, name))
	return data
}

// waitStored waits until the server has n bytes of the file.
func waitStored(t *testing.T, root, name string, n int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(stored(root, name)) != n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d bytes, want %d", name, len(stored(root, name)), n)
		}
	}
}

// Every fault of an upload, seen from the wire and on the disk. The target
// exists before: "old content".
func TestUploadFaults(t *testing.T) {
	data := noise(1 << 20)
	const after = 600_000
	during := func(do Action) Rule { return Rule{On: "STOR", When: During, After: after, Do: do} }
	tests := []struct {
		name string
		rule Rule
		// talk sends the file and says what must come back
		talk func(t *testing.T, c *control, send func() *net.TCPConn)
		disk []byte
	}{
		{
			name: "450 before anything leaves the target alone",
			rule: Rule{On: "STOR", Do: Reply(450, "Busy.")},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				c.passive()
				c.cmd(450, "STOR a")
			},
			disk: []byte("old content"),
		},
		{
			name: "550 leaves the target alone",
			rule: Rule{On: "STOR", Path: "/a", Do: Reply(550, "Permission denied.")},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				c.passive()
				c.cmd(550, "STOR a")
			},
			disk: []byte("old content"),
		},
		{
			name: "425 empties the target",
			rule: Rule{On: "STOR", Do: Reply(425, "No.")},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				c.passive()
				c.cmd(425, "STOR a")
				c.cmd(213, "SIZE a") // it is there, and empty, when the reply comes
			},
			disk: nil,
		},
		{
			name: "425 after REST leaves the target alone",
			rule: Rule{On: "STOR", Do: Reply(425, "No.")},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				c.passive()
				c.cmd(350, "REST 5")
				c.cmd(425, "STOR a")
			},
			disk: []byte("old content"),
		},
		{
			name: "150, then 451",
			rule: Rule{On: "STOR", Do: Reply(150, "Go on.").Then(Reply(451, "Failed."))},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				conn := c.passive()
				c.cmd(150, "STOR a")
				c.want(451)
				if _, err := conn.Read(make([]byte, 1)); err == nil {
					t.Error("the data connection lives on")
				}
			},
			disk: nil,
		},
		{
			name: "425 when the data connection is due",
			rule: Rule{On: "data", Times: 1, Do: Reply(425, "No.")},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				c.passive()
				c.cmd(425, "STOR a")
			},
			disk: nil,
		},
		{
			name: "control connection lost before the command",
			rule: Rule{On: "STOR", Do: Drop(RST)},
			talk: func(t *testing.T, c *control, _ func() *net.TCPConn) {
				c.passive()
				c.send("STOR a")
				c.gone()
			},
			disk: []byte("old content"),
		},
		{
			name: "data connection reset",
			rule: during(DropData(RST)),
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.want(426)
				c.cmd(200, "NOOP")
			},
			disk: data[:after],
		},
		{
			name: "both connections reset",
			rule: during(DropData(RST).Then(Drop(RST))),
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.gone()
			},
			disk: data[:after],
		},
		{
			name: "control connection lost, the data arrives all the same",
			rule: during(Drop(RST)),
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.gone()
			},
			disk: data,
		},
		{
			name: "452 while the data connection stays open",
			rule: during(Reply(452, "Full.")),
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				conn := send()
				c.want(452)
				_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("data connection: %v, want it open", err)
				}
				c.cmd(200, "NOOP") // it is closed now
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("data connection: %v, want it closed", err)
				}
			},
			disk: data[:after],
		},
		{
			name: "226 though bytes are missing",
			rule: during(Truncate()),
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.want(226)
			},
			disk: data[:after],
		},
		{
			name: "one byte is wrong",
			rule: during(Corrupt()),
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.want(226)
			},
			disk: func() []byte {
				bad := bytes.Clone(data)
				bad[after] ^= 0xff
				return bad
			}(),
		},
		{
			name: "the final reply is lost with the connection",
			rule: Rule{On: "STOR", When: Finally, Do: Drop(FIN)},
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.gone()
			},
			disk: data,
		},
		{
			name: "the final reply never comes",
			rule: Rule{On: "STOR", When: Finally, Do: Stall()},
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.silent()
			},
			disk: data,
		},
		{
			name: "the final reply is another",
			rule: Rule{On: "STOR", When: Finally, Do: Reply(451, "Local error.")},
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.want(451)
			},
			disk: data,
		},
		{
			name: "no reply, but the next command has one",
			rule: Rule{On: "STOR", When: Finally, Do: Ignore()},
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.silent()
				c.cmd(200, "NOOP")
			},
			disk: data,
		},
		{
			name: "raw bytes",
			rule: Rule{On: "STOR", When: Finally, Do: Raw("500 OOPS: child died\r\n")},
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				if text := c.want(500); text != "OOPS: child died" {
					t.Errorf("text %q", text)
				}
			},
			disk: data,
		},
		{
			name: "the server takes the file away",
			rule: Rule{On: "STOR", When: Finally, Do: TakeTo("/done")},
			talk: func(t *testing.T, c *control, send func() *net.TCPConn) {
				send()
				c.want(226)
				c.cmd(550, "SIZE a")
				c.cmd(213, "SIZE done/a")
			},
			disk: nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			file(t, root, "a", []byte("old content"))
			srv := startFTP(t, FTPConfig{Root: root, Script: []Rule{tt.rule}})
			c := login(t, srv)
			tt.talk(t, c, func() *net.TCPConn {
				conn := c.passive()
				c.cmd(150, "STOR a")
				go func() { // a server that stops reading blocks the client
					_, _ = conn.Write(data)
					_ = conn.CloseWrite()
				}()
				return conn
			})
			waitStored(t, root, "a", len(tt.disk))
			if !bytes.Equal(stored(root, "a"), tt.disk) {
				t.Errorf("on the disk: %d bytes that differ", len(stored(root, "a")))
			}
			if n := srv.Fired(tt.rule.On); n != 1 {
				t.Errorf("fired %d times", n)
			}
			if srv.Fired("nothing") != 0 {
				t.Error("counts what is not there")
			}
		})
	}
}

func TestDownloadFaults(t *testing.T) {
	data := noise(1 << 20)
	const after = 600_000
	tests := []struct {
		name  string
		do    Action
		code  int   // 0: the control connection ends
		bytes int   // that arrive; -1 any number below all
		err   error // from the data connection
	}{
		{"reset", DropData(RST), 426, -1, syscall.ECONNRESET},
		{"closed early with a FIN", DropData(FIN), 426, after, nil},
		{"truncated, and 226", Truncate(), 226, after, nil},
		{"both lost", DropData(RST).Then(Drop(RST)), 0, -1, syscall.ECONNRESET},
		{"control lost, data complete", Drop(FIN), 0, len(data), nil},
		{"451, then closed", Reply(451, "Read error.").Then(DropData(FIN)), 451, after, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			file(t, root, "a", data)
			c := login(t, startFTP(t, FTPConfig{Root: root, Script: []Rule{{On: "RETR", When: During, After: after, Do: tt.do}}}))
			conn := c.passive()
			c.cmd(150, "RETR a")
			got, err := io.ReadAll(conn)
			if !errors.Is(err, tt.err) || tt.bytes >= 0 && len(got) != tt.bytes || tt.bytes < 0 && len(got) >= len(data) {
				t.Errorf("%d bytes, %v; want %d, %v", len(got), err, tt.bytes, tt.err)
			}
			if !bytes.HasPrefix(data, got) {
				t.Error("what arrived is no prefix")
			}
			if tt.code == 0 {
				c.gone()
			} else {
				c.want(tt.code)
			}
		})
	}
}

func TestSlowness(t *testing.T) {
	root := t.TempDir()
	file(t, root, "a", noise(30_000))
	srv := startFTP(t, FTPConfig{Root: root, Script: []Rule{
		{On: "NOOP", Do: Wait(60 * time.Millisecond)},
		{On: "RETR", When: During, After: 10_000, Do: Throttle(100_000)},
	}})
	c := login(t, srv)
	took := func(f func()) time.Duration {
		start := time.Now()
		f()
		return time.Since(start)
	}
	if d := took(func() { c.cmd(200, "NOOP") }); d < 60*time.Millisecond {
		t.Errorf("the reply took %v", d)
	}
	conn := c.passive()
	c.cmd(150, "RETR a")
	if d := took(func() { _, _ = io.Copy(io.Discard, conn) }); d < 150*time.Millisecond || d > 5*time.Second {
		t.Errorf("20,000 bytes at 100,000 B/s took %v", d)
	}
	c.want(226)
}

func TestConnectFaults(t *testing.T) {
	srv := startFTP(t, FTPConfig{Script: []Rule{{On: "connect", Do: Drop(FIN)}}}) // a RST may fail the dial
	dial(t, srv).gone()
	srv.SetScript(Rule{On: "connect", Do: Reply(421, "Shutting down.").Then(Drop(FIN))})
	c := dial(t, srv)
	c.want(421)
	c.gone()
	srv.SetScript(Rule{On: "connect", Times: 1, Do: Stall()})
	dial(t, srv).silent()
	login(t, srv)
	if srv.Fired("connect") != 3 {
		t.Errorf("fired %d times", srv.Fired("connect"))
	}
}

// A command that is done although its reply is lost.
func TestLostReplyToRename(t *testing.T) {
	root := t.TempDir()
	file(t, root, "tmp", []byte("x"))
	srv := startFTP(t, FTPConfig{Root: root})
	srv.Add(Rule{Name: "lost", On: "RNTO", Path: "/final", When: Finally, Do: Drop(RST)})
	c := login(t, srv)
	c.cmd(350, "RNFR tmp")
	c.send("RNTO final")
	c.gone()
	if string(content(t, root, "final")) != "x" || srv.Fired("lost") != 1 {
		t.Errorf("renamed: %q, fired %d", stored(root, "final"), srv.Fired("lost"))
	}
}

func TestDataModes(t *testing.T) {
	const patience = 80 * time.Millisecond
	ln, take := accept(t)
	eprt := "EPRT |1|127.0.0.1|" + port(ln.Addr().String()) + "|"
	tests := []struct {
		name string
		mode DataMode
		talk func(t *testing.T, c *control)
	}{
		{"passive unknown", DataUnknown, func(t *testing.T, c *control) { c.cmd(502, "EPSV"); c.cmd(502, "PASV") }},
		{"passive 425", Data425, func(t *testing.T, c *control) { c.passive(); c.cmd(425, "LIST") }},
		{"passive 425 after 150", Data425After150, func(t *testing.T, c *control) {
			c.passive()
			c.cmd(150, "LIST")
			c.want(425)
		}},
		{"passive dead", DataDead, func(t *testing.T, c *control) {
			text := c.cmd(229, "EPSV")
			addr := "127.0.0.1:" + strings.Split(text, "|")[3]
			if conn, err := net.Dial("tcp", addr); err == nil {
				_ = conn.Close()
				t.Error("somebody listens")
			}
			c.cmd(425, "LIST")
		}},
		{"passive silent", DataSilent, func(t *testing.T, c *control) {
			conn := c.passive()
			_ = conn.SetReadDeadline(time.Now().Add(patience / 4))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v, want silence", err)
			}
			c.cmd(425, "LIST")
		}},
		{"passive dropped", DataDropped, func(t *testing.T, c *control) {
			conn := c.passive()
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v, want the end", err)
			}
			c.cmd(425, "LIST")
		}},
		{"active unknown", DataUnknown, func(t *testing.T, c *control) { c.cmd(502, "%s", eprt) }},
		{"active 425", Data425, func(t *testing.T, c *control) { c.cmd(200, "%s", eprt); c.cmd(425, "LIST") }},
		{"active dead", DataDead, func(t *testing.T, c *control) { c.cmd(200, "%s", eprt); c.cmd(425, "LIST") }},
		{"active silent", DataSilent, func(t *testing.T, c *control) {
			c.cmd(200, "%s", eprt)
			start := time.Now()
			c.cmd(425, "LIST")
			if d := time.Since(start); d < patience {
				t.Errorf("425 after %v, want %v", d, patience)
			}
		}},
		{"active dropped", DataDropped, func(t *testing.T, c *control) {
			c.cmd(200, "%s", eprt)
			c.send("LIST")
			if _, err := take().Read(make([]byte, 1)); err == nil {
				t.Error("data came")
			}
			c.want(426)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := FTPConfig{DataTimeout: patience, Modes: ActiveOnly(tt.mode)}
			if strings.HasPrefix(tt.name, "active") {
				cfg.Modes = PassiveOnly(tt.mode)
			}
			if tt.name == "active dropped" { // here the server does connect
				cfg.DataTimeout = 10 * time.Second
			}
			srv := startFTP(t, cfg)
			c := login(t, srv)
			tt.talk(t, c)
			c.cmd(200, "NOOP")
			if log := srv.Log(); log.Data("EPSV")+log.Data("EPRT") != 0 {
				t.Errorf("a data connection came to be:\n%s", log)
			}
		})
	}
}

// proftpd sends the 150 before the data connection is there.
func TestMarkFirst(t *testing.T) {
	c := login(t, startFTP(t, FTPConfig{MarkFirst: true, DataTimeout: 50 * time.Millisecond, Modes: ActiveOnly(DataSilent)}))
	c.passive()
	c.cmd(150, "LIST")
	c.want(425)
}

// A stalled session notices that its client is gone, and that the server closes.
func TestStallEnds(t *testing.T) {
	srv := startFTP(t, FTPConfig{Script: []Rule{{On: "NOOP", Do: Stall()}}})
	c := login(t, srv)
	c.send("NOOP")
	c.silent()
	_ = c.conn.Close()
	if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("close") == 1 }); err != nil {
		t.Fatal(err)
	}
	c = login(t, srv)
	c.send("NOOP")
	if err := srv.Await(t.Context(), func(l Log) bool { return l.Count("NOOP") == 2 }); err != nil {
		t.Fatal(err)
	}
	closeInTime(t, srv.Server)
	c.gone()
}

// Close ends what is under way, promptly and without leaving goroutines.
func TestCloseDuringTransfers(t *testing.T) {
	root := t.TempDir()
	file(t, root, "big", noise(8<<20))
	srv := startFTP(t, FTPConfig{Root: root, Script: []Rule{{On: "RETR", Path: "slow", When: During, Do: Throttle(10)}}})
	file(t, root, "slow", noise(1000))
	for _, line := range []string{"RETR big", "RETR slow", "STOR up"} {
		c := login(t, srv)
		c.passive()
		c.cmd(150, "%s", line)
	}
	login(t, srv).passive() // and one that waits for its data connection
	closeInTime(t, srv.Server)
	if srv.Connections() != 0 {
		t.Errorf("%d connections are left", srv.Connections())
	}
}

func TestKick(t *testing.T) {
	srv := startFTP(t, FTPConfig{})
	c := login(t, srv)
	srv.Kick()
	c.gone()
	login(t, srv)
}

func TestAwaitGivesUp(t *testing.T) {
	srv := startFTP(t, FTPConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := srv.Await(ctx, func(Log) bool { return false }); err == nil {
		t.Error("no error")
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, line := range []string{"USER demo", "stor  a ", "\xff\xf4\xff\xf2ABOR", "SITE CHMOD 600 a", "A\x00B", "", " ", strings.Repeat("A", 20), "STOR \xe9\xff"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		verb, arg, err := parseCommand(line)
		if err != nil {
			if verb != "" || arg != "" {
				t.Errorf("%q: error with verb %q, argument %q", line, verb, arg)
			}
			return
		}
		if strings.ContainsAny(verb+arg, "\x00\r\n") {
			t.Errorf("%q: control characters in %q %q", line, verb, arg)
		}
		if strings.ToUpper(verb) != verb || verb == "" || strings.Contains(verb, " ") {
			t.Errorf("%q: verb %q", line, verb)
		}
		if arg != "" && !strings.HasSuffix(line, " "+arg) {
			t.Errorf("%q: argument %q was changed", line, arg)
		}
	})
}

// The whole command interpreter survives anything.
func FuzzSession(f *testing.F) {
	f.Add("PORT 1,2,3\r\nEPRT ||||\r\nREST -1\r\nSITE UTIME\r\nXMD5 \"\r\nMFMT x\r\nOPTS HASH\r\nSTAT -\r\n")
	f.Add("EPRT |1|127.0.0.1|0|\r\nMDTM 20200101000000 \r\nHASH\r\nMLST /..\r\nRNFR\r\nRNTO\r\n")
	f.Fuzz(func(t *testing.T, lines string) {
		srv, err := StartFTP(FTPConfig{Root: t.TempDir(), DataTimeout: time.Millisecond, With: []string{"HASH", "XMD5", "SITE UTIME", "MDTM SET", "AVBL"}})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		c := login(t, srv)
		lines = strings.NewReplacer("QUIT", "QUIZ", "quit", "quiz").Replace(lines)
		go func() { _, _ = io.WriteString(c.conn, lines+"\r\n\r\nQUIT\r\n") }()
		if _, err := io.Copy(io.Discard, c.r.R); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q: %v", lines, err)
		}
	})
}

// Until waits for a command behind the one that it is on.
func TestFTPUntil(t *testing.T) {
	srv := startFTP(t, FTPConfig{Root: t.TempDir(), Script: []Rule{{On: "NOOP", Times: 1, Do: Until("PWD")}}})
	c := login(t, srv)
	_, _ = io.WriteString(c.conn, "NOOP\r\n")
	_, _ = io.WriteString(c.conn, "PWD\r\n")
	c.want(200)
	c.want(257)
	c.cmd(200, "NOOP")
}

// A server that loses what comes together answers only the first.
func TestFTPLosesTogether(t *testing.T) {
	c := login(t, startFTP(t, FTPConfig{Root: t.TempDir(), LosesTogether: true}))
	_, _ = io.WriteString(c.conn, "NOOP\r\nPWD\r\n")
	c.want(200)
	c.cmd(200, "NOOP")
}
