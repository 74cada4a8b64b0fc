package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/proxy"
)

func parse(t *testing.T, s string) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	for _, test := range []struct{ in, want, user, password string }{
		{"socks5://p.example", "socks5://p.example:1080", "", ""},
		{"socks5h://u@p.example:99/", "socks5h://p.example:99", "u", ""},
		{"http://u:s3cret@p.example", "http://p.example:1080", "u", "s3cret"},
		{"p.example:3128", "http://p.example:3128", "", ""},
		{"socks5://u%40x:a%3Ab@[::1]:1", "socks5://[::1]:1", "u@x", "a:b"},
	} {
		p := parse(t, test.in)
		if p.String() != test.want || p.User != test.user || p.Password.Reveal() != test.password {
			t.Errorf("%s: %v, user %q, password %q", test.in, p, p.User, p.Password.Reveal())
		}
	}
	for _, bad := range []string{"ftp://p", "socks4://p", "https://p", "http://", "socks5://p/path", "http://p?x", "http://u:s3cret@p:port"} {
		if _, err := proxy.Parse(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// echo answers each connection with a greeting and then with what it gets.
func echo(t *testing.T, host string) string {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "220 ready\r\n")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return ln.Addr().String()
}

// TestThrough: both kinds, with and without a login, to names and addresses; the
// server's first bytes follow the proxy's answer closely, and none is lost.
func TestThrough(t *testing.T) {
	for _, scheme := range []string{"socks5", "http"} {
		for _, user := range []string{"", "acme"} {
			g, err := lab.StartGateway(scheme, user, "s3cret")
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			p := parse(t, g.URL())
			p.User, p.Password = user, auth.NewSecret("s3cret")
			v4, v6 := echo(t, "127.0.0.1"), echo(t, "::1")
			_, port, _ := net.SplitHostPort(v4)
			for _, address := range []string{v4, v6, "localhost:" + port} {
				conn, err := p.DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Errorf("%s, %s: %v", scheme, address, err)
					continue
				}
				_, _ = io.WriteString(conn, "hello\n")
				in := bufio.NewReader(conn)
				greeting, _ := in.ReadString('\n')
				answer, _ := in.ReadString('\n')
				if greeting != "220 ready\r\n" || answer != "hello\n" {
					t.Errorf("%s, %s: %q, %q", scheme, address, greeting, answer)
				}
				if _, ok := conn.(*net.TCPConn); !ok {
					t.Errorf("%T: sendfile is lost", conn)
				}
				_ = conn.Close()
			}
			if n := len(g.Asked()); n != 3 {
				t.Errorf("%d connections through the proxy", n)
			}
		}
	}
}

// TestRefused: what the proxy says becomes a fault with its own cause.
func TestRefused(t *testing.T) {
	closed := func() string { // nobody listens there
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}()
	gateway := func(scheme, user string) string {
		g, err := lab.StartGateway(scheme, user, "s3cret")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		return g.URL()
	}
	for _, test := range []struct {
		name, proxy, user string
		cause             policy.Cause
		says              string
	}{
		{"SOCKS5, the server refuses", gateway("socks5", ""), "", policy.CauseRefused, "connection refused"},
		{"CONNECT, the server refuses", gateway("http", ""), "", policy.CauseProxy, "502 Bad Gateway"},
		{"SOCKS5 wants a login", gateway("socks5", "acme"), "", policy.CauseProxyLogin, "it wants a login"},
		{"CONNECT wants a login", gateway("http", "acme"), "", policy.CauseProxyLogin, "407 Proxy Authentication Required"},
		{"SOCKS5, wrong login", gateway("socks5", "acme"), "other", policy.CauseProxyLogin, "the login was refused"},
		{"CONNECT, wrong login", gateway("http", "acme"), "other", policy.CauseProxyLogin, "the login was refused"},
		{"no proxy there", "socks5://" + closed, "", policy.CauseProxy, "connection refused"},
		{"CONNECT spoken to an FTP server", "http://" + echo(t, "127.0.0.1"), "", policy.CauseProxy, "it does not speak HTTP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := parse(t, test.proxy)
			p.User, p.Password = test.user, auth.NewSecret("other")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			conn, err := p.DialContext(ctx, "tcp", closed)
			if err == nil {
				_ = conn.Close()
				t.Fatal("it connected")
			}
			f, ok := errors.AsType[*policy.Fault](err)
			if !ok || f.Protocol != policy.Net || f.Phase != policy.Connect || f.Cause != test.cause || f.Host != "127.0.0.1" {
				t.Fatalf("%+v", err)
			}
			if !strings.HasPrefix(f.Text, "proxy ") || !strings.Contains(f.Text, test.says) {
				t.Errorf("text %q, want %q in it", f.Text, test.says)
			}
		})
	}
}

// answering is a proxy that reads what it gets and says these bytes.
func answering(t *testing.T, scheme, answer string) *proxy.Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(io.Discard, conn)
	}()
	return parse(t, scheme+"://"+ln.Addr().String())
}

// TestAnswers are the replies of RFC 1928 §6, and answers that are none.
func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		scheme, answer string
		cause          policy.Cause // "" for success
	}{
		{"socks5", "\x05\x00" + "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x15", ""},
		{"socks5", "\x05\x00" + "\x05\x00\x00\x03\x04name\x00\x15", ""},
		{"socks5", "\x05\x00" + "\x05\x00\x00\x04" + strings.Repeat("\x00", 18), ""},
		{"socks5", "\x05\x00" + "\x05\x01\x00\x01", policy.CauseProxy},
		{"socks5", "\x05\x00" + "\x05\x02\x00\x01", policy.CauseProxy},
		{"socks5", "\x05\x00" + "\x05\x03\x00\x01", policy.CauseUnreachable},
		{"socks5", "\x05\x00" + "\x05\x04\x00\x01", policy.CauseUnreachable},
		{"socks5", "\x05\x00" + "\x05\x05\x00\x01", policy.CauseRefused},
		{"socks5", "\x05\x00" + "\x05\x63\x00\x01", policy.CauseProxy},
		{"socks5", "\x05\x00" + "\x05\x00\x00\x09", policy.CauseProxy},
		{"socks5", "\x05\xff", policy.CauseProxyLogin},
		{"socks5", "\x04\x00", policy.CauseProxy},
		{"socks5", "\x05\x02", policy.CauseProxyLogin}, // not what was offered
		{"http", "HTTP/1.1 200 OK\r\n\r\n", ""},
		{"http", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\n", ""},
		{"http", "HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", policy.CauseProxy},
		{"http", "HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", policy.CauseProxy},
		{"http", strings.Repeat("x", 100<<10), policy.CauseProxy},
		{"http", "220 ready\r\n\r\n", policy.CauseProxy},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			conn, err := answering(t, test.scheme, test.answer).DialContext(ctx, "tcp", "ftp.example:21")
			if conn != nil {
				_ = conn.Close()
			}
			f, _ := errors.AsType[*policy.Fault](err)
			if test.cause == "" && err != nil || test.cause != "" && (f == nil || f.Cause != test.cause) {
				t.Errorf("%q: %v", test.answer[:min(20, len(test.answer))], err)
			}
		})
	}
}

// TestSilent: a proxy that says nothing is given up with the context.
func TestSilent(t *testing.T) {
	for _, scheme := range []string{"socks5", "http"} {
		p := answering(t, scheme, "")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(io.ErrClosedPipe) })
		if _, err := p.DialContext(ctx, "tcp", "ftp.example:21"); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// TestNoSecretInErrors: nor in what is printed of the proxy.
func TestNoSecretInErrors(t *testing.T) {
	p := parse(t, "http://acme:s3cret@127.0.0.1:1")
	_, err := p.DialContext(t.Context(), "tcp", "ftp.example:21")
	var b bytes.Buffer
	b.WriteString(p.String())
	b.WriteString(err.Error())
	if strings.Contains(b.String(), "s3cret") {
		t.Error(b.String())
	}
}

func TestFromEnvironment(t *testing.T) {
	for _, test := range []struct {
		name    string
		env     map[string]string
		scheme  string
		address string
		want    string
	}{
		{"nothing", nil, "ftp", "h:21", ""},
		{"all", map[string]string{"ALL_PROXY": "socks5://p"}, "ftp", "h:21", "socks5://p:1080"},
		{"small letters come first", map[string]string{"ALL_PROXY": "http://big", "all_proxy": "http://small"}, "ftp", "h:21", "http://small:1080"},
		{"the scheme's comes first", map[string]string{"ALL_PROXY": "http://all", "FTP_PROXY": "http://ftp"}, "ftp", "h:21", "http://ftp:1080"},
		{"explicit TLS is FTP", map[string]string{"ftp_proxy": "http://ftp"}, "ftpes", "h:21", "http://ftp:1080"},
		{"implicit TLS has its own", map[string]string{"ftp_proxy": "http://ftp", "ftps_proxy": "http://ftps"}, "ftps", "h:990", "http://ftps:1080"},
		{"SFTP", map[string]string{"sftp_proxy": "socks5://s"}, "sftp", "h:22", "socks5://s:1080"},
		{"not for the web only", map[string]string{"https_proxy": "http://web", "http_proxy": "http://web"}, "ftp", "h:21", ""},
		{"excepted", map[string]string{"ALL_PROXY": "http://p", "NO_PROXY": "h"}, "ftp", "h:21", ""},
		{"another is excepted", map[string]string{"ALL_PROXY": "http://p", "NO_PROXY": "x"}, "ftp", "h:21", "http://p:1080"},
	} {
		p, err := proxy.FromEnvironment(func(name string) string { return test.env[name] }, test.scheme, test.address)
		got := ""
		if p != nil {
			got = p.String()
		}
		if err != nil || got != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	_, err := proxy.FromEnvironment(func(name string) string {
		return map[string]string{"all_proxy": "gopher://u:s3cret@p"}[name]
	}, "ftp", "h:21")
	if err == nil || !strings.Contains(err.Error(), "all_proxy") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestNoProxy(t *testing.T) {
	for _, test := range []struct {
		address, list string
		want          bool
	}{
		{"ftp.corp.example:21", "corp.example", true},
		{"ftp.corp.example:21", ".corp.example", true},
		{"ftp.corp.example:21", "*.corp.example", true},
		{"corp.example:21", "corp.example", true},
		{"FTP.Corp.Example.:21", "CORP.example", true},
		{"notcorp.example:21", "corp.example", false},
		{"ftp.example:21", "a, b ftp.example", true},
		{"ftp.example:21", "*", true},
		{"ftp.example:21", "", false},
		{"ftp.example:21", " , ", false},
		{"ftp.example:21", "ftp.example:21", true},
		{"ftp.example:21", "ftp.example:22", false},
		{"10.1.2.3:21", "10.0.0.0/8", true},
		{"10.1.2.3:21", "10.1.2.3", true},
		{"10.1.2.3:21", "2.3", false},
		{"11.1.2.3:21", "10.0.0.0/8", false},
		{"[::1]:21", "::1", true},
		{"[::1]:21", "[::1]:21", true},
		{"[fd00::5]:21", "fd00::/8", true},
		{"ftp.example:21", "10.0.0.0/8", false},
	} {
		env := map[string]string{"ALL_PROXY": "http://p", "NO_PROXY": test.list}
		p, err := proxy.FromEnvironment(func(name string) string { return env[name] }, "ftp", test.address)
		if err != nil || (p == nil) != test.want {
			t.Errorf("%s with %q: %v, %v", test.address, test.list, p, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("socks5://u:hunter2@p.example:1080", "a.example, *.b, 10.0.0.0/8, [::1]:21")
	f.Fuzz(func(t *testing.T, s, list string) {
		_, err := proxy.Parse(s)
		env := map[string]string{"ALL_PROXY": s, "NO_PROXY": list}
		got, envErr := proxy.FromEnvironment(func(name string) string { return env[name] }, "ftp", "h.example:21")
		if err != nil && got != nil || envErr != nil && err == nil {
			t.Errorf("%q, %q: %v, %v", s, list, got, envErr)
		}
	})
}

// FuzzAnswer: whatever a proxy says, it is understood or refused, in bounded time.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x15"), true)
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"), false)
	f.Fuzz(func(t *testing.T, answer []byte, socks bool) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Skip(err)
		}
		defer ln.Close()
		go func() {
			if conn, err := ln.Accept(); err == nil {
				_, _ = conn.Write(answer)
				_ = conn.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		}()
		scheme := "http://"
		if socks {
			scheme = "socks5://"
		}
		p, err := proxy.Parse(scheme + ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := p.DialContext(ctx, "tcp", "ftp.example:21")
		if err == nil {
			_ = conn.Close()
		} else if _, ok := errors.AsType[*policy.Fault](err); !ok {
			t.Errorf("%T: %v", err, err)
		}
	})
}
