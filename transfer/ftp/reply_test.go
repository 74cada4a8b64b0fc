package ftp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(s string) (reply, error) { return readReply(bufio.NewReader(strings.NewReader(s))) }

func TestReadReply(t *testing.T) {
	for _, test := range []struct {
		name, raw string
		code      int
		lines     []string
	}{
		{"one line", "220 (vsFTPd 3.0.3)\r\n", 220, []string{"(vsFTPd 3.0.3)"}},
		{"LF only", "220 hello\n", 220, []string{"hello"}},
		{"no text", "226\r\n", 226, []string{""}},
		{"a space and no text", "226 \r\n", 226, []string{""}},
		{"an empty line before, as behind some banners", "\r\n\r\n220 hello\r\n", 220, []string{"hello"}},
		{"several lines, RFC 959 §4.2", "123-First line\r\nSecond line\r\n  234 A line beginning with numbers\r\n123 The last line\r\n",
			123, []string{"First line", "Second line", "  234 A line beginning with numbers", "The last line"}},
		{"codes repeated, pure-ftpd", "220-Welcome\r\n220-You are user 1\r\n220 Bye\r\n", 220, []string{"Welcome", "220-You are user 1", "Bye"}},
		{"another code inside", "211-Features\r\n500 inside\r\n211 End\r\n", 211, []string{"Features", "500 inside", "End"}},
		{"a last line without text", "211-Features\r\n EPSV\r\n211\r\n", 211, []string{"Features", " EPSV", ""}},
		{"protected, RFC 2228", "631 aGVsbG8=\r\n", 631, []string{"aGVsbG8="}},
		{"no UTF-8", "550 caf\xe9\r\n", 550, []string{"caf\xe9"}},
	} {
		r, err := read(test.raw + "200 next\r\n")
		if err != nil || r.code != test.code || !slices.Equal(r.lines, test.lines) {
			t.Errorf("%s: %d %q, %v; want %d %q", test.name, r.code, r.lines, err, test.code, test.lines)
		}
	}
	for name, raw := range map[string]string{
		"SSH": "SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP": "HTTP/1.1 400 Bad Request\r\n", "two digits": "22 hello\r\n",
		"a code that is none": "999 hello\r\n", "no separator": "220hello\r\n", "TLS": "\x15\x03\x03\x00\x02\x02\x28\r\n",
		"a line without end": "220 " + strings.Repeat("x", maxLine) + "\r\n",
		"lines without end":  "220-\r\n" + strings.Repeat(strings.Repeat("x", 60<<10)+"\r\n", 20) + "220 \r\n",
	} {
		var syntax *syntaxError
		if r, err := read(raw); !errors.As(err, &syntax) {
			t.Errorf("%s: %+v, %v; want a syntax error", name, r, err)
		}
	}
	for _, raw := range []string{"", "220", "220 hello", "220-hello\r\n", "220-hello\r\nmore\r\n"} {
		if r, err := read(raw); err != io.EOF {
			t.Errorf("%q: %+v, %v; want EOF", raw, r, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("220 hello\r\n"))
	f.Add([]byte("220-a\r\n 220 b\r\n220 c\r\n"))
	f.Add([]byte("\r\n\n211-x\r\n211\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		br := bufio.NewReader(bytes.NewReader(raw))
		for {
			r, err := readReply(br)
			if err != nil {
				return
			}
			if r.code < 100 || r.code > 699 || len(r.lines) == 0 || strings.ContainsRune(r.text(), '\r') && !bytes.ContainsRune(raw, '\r') {
				t.Fatalf("%+v", r)
			}
		}
	})
}

func TestParseEPSV(t *testing.T) {
	for text, want := range map[string]int{
		"Entering Extended Passive Mode (|||6446|)":  6446,
		"Entering Extended Passive Mode (|||6446|).": 6446,
		"Extended Passive mode OK (|||33297|)":       33297,
		"(!!!1024!)":                                 1024,
		"|||65535|":                                  65535,
		"|||65536|":                                  0,
		"|||0|":                                      0,
		"||||":                                       0,
		"(|||abc|)":                                  0,
		"(|1|10.0.0.1|6446|)":                        0, // an address has no place here
		"":                                           0,
		"Entering Passive Mode (127,0,0,1,5,6)":      0,
		"(|||-5|)":                                   0,
		"--- hello --- (|||21|)":                     21,
	} {
		if got, ok := parseEPSV(text); got != want || ok != (want != 0) {
			t.Errorf("%q: %d, %t; want %d", text, got, ok, want)
		}
	}
}

func TestParsePASV(t *testing.T) {
	for text, want := range map[string]string{
		"Entering Passive Mode (127,0,0,1,5,6).":    "127.0.0.1:1286",
		"Entering Passive Mode 127,0,0,1,5,6":       "127.0.0.1:1286", // RFC 1123 §4.1.2.6
		"=127,0,0,1,5,6":                            "127.0.0.1:1286",
		"Entering Passive Mode (10, 1, 2, 3, 4, 5)": "10.1.2.3:1029",
		"227 is 3 words (192,168,1,2,255,255)":      "192.168.1.2:65535",
		"(256,0,0,1,5,6)":                           "",
		"(127,0,0,1,5)":                             "",
		"(127,0,0,1,0,0)":                           "",
		"(127,0,0,1,5,600)":                         "",
		"":                                          "",
		"Entering Extended Passive Mode (|||6446|)": "",
	} {
		got, ok := parsePASV(text)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q: %v, %t; want %q", text, got, ok, want)
		}
	}
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{"(|||6446|)", "(127,0,0,1,5,6)", `"/a ""b"" c" is it`, "0012", "20240518090512.5", "191040518090512"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if port, ok := parseEPSV(s); ok && (port < 1 || port > 65535) {
			t.Errorf("EPSV %q: %d", s, port)
		}
		if addr, ok := parsePASV(s); ok && (!addr.Addr().Is4() || addr.Port() == 0) {
			t.Errorf("PASV %q: %v", s, addr)
		}
		if dir, ok := parsePWD(s); ok && dir == "" {
			t.Errorf("PWD %q: empty", s)
		}
		if n, ok := parseSIZE(s); ok && n < 0 {
			t.Errorf("SIZE %q: %d", s, n)
		}
		if when, ok := parseTimeVal(s); ok && when.Location() != time.UTC {
			t.Errorf("MDTM %q: %v", s, when)
		}
		lines := strings.Split(s, "\n")
		for verb := range parseFEAT(lines) {
			if verb == "" || strings.ContainsAny(verb, " \n") || verb != strings.ToUpper(verb) {
				t.Errorf("FEAT %q: %q", s, verb)
			}
		}
	})
}

func TestFormat(t *testing.T) {
	if got := formatPORT(netip.MustParseAddrPort("132.235.1.2:6275")); got != "132,235,1,2,24,131" {
		t.Error(got)
	}
	for in, want := range map[string]string{ // RFC 2428 §2
		"132.235.1.2:6275":             "|1|132.235.1.2|6275|",
		"[1080::8:800:200c:417a]:5282": "|2|1080::8:800:200c:417a|5282|",
		"[fe80::1%eth0]:5282":          "|2|fe80::1|5282|",
	} {
		if got := formatEPRT(netip.MustParseAddrPort(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestParsePWD(t *testing.T) {
	for text, want := range map[string]string{
		`"/" is the current directory`: "/", `"/a b"`: "/a b", `"/a ""b""" is it`: `/a "b"`,
		`""`: "", `no quotes`: "", `"unfinished`: "", `"/x" and "more"`: "/x", "": "",
	} {
		if got, ok := parsePWD(text); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %t; want %q", text, got, ok, want)
		}
	}
}

func TestParseSIZE(t *testing.T) {
	for text, want := range map[string]int64{
		"12345": 12345, " 7 ": 7, "010": 10, "0": 0, "-1": -1, "1.5": -1, "": -1, "x": -1, "99999999999999999999": -1,
	} {
		if got, ok := parseSIZE(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %d, %t; want %d", text, got, ok, want)
		}
	}
}

func TestParseTimeVal(t *testing.T) {
	for text, want := range map[string]string{
		"20240518090512":     "2024-05-18T09:05:12Z",
		"20240518090512.250": "2024-05-18T09:05:12Z",
		" 20240518090512\n":  "2024-05-18T09:05:12Z",
		"191040518090512":    "2004-05-18T09:05:12Z", // RFC 3659 §2.3: a Y2K bug
		"20240518":           "", "20241318090512": "", "": "", "yesterday": "",
	} {
		got, ok := parseTimeVal(text)
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %t; want %q", text, got, ok, want)
		}
	}
}

func TestParseFEAT(t *testing.T) {
	for name, test := range map[string]struct {
		raw  string
		want map[string]string
	}{
		"RFC 2389 §3.2": {"211-Extensions supported:\r\n MLST size*;create;modify*;perm;media-type\r\n SIZE\r\n rest stream\r\n211 END\r\n",
			map[string]string{"MLST": "size*;create;modify*;perm;media-type", "SIZE": "", "REST": "stream"}},
		"not indented":      {"211-Features:\r\nEPSV\r\nUTF8\r\n211 End\r\n", map[string]string{"EPSV": "", "UTF8": ""}},
		"code in each line": {"211-Features:\r\n211-EPSV\r\n211- MDTM\r\n211 End\r\n", map[string]string{"EPSV": "", "MDTM": ""}},
		"none":              {"211 No features\r\n", map[string]string{}},
		"empty":             {"211-Features:\r\n211 End\r\n", map[string]string{}},
	} {
		r, err := read(test.raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := parseFEAT(r.lines); !maps.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
