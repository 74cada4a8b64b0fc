package transfer

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	tests := []struct {
		in   string
		want string // scheme user host:port path
		str  string // what String gives; "" as in
	}{
		{"ftp://h/a/b", "ftp - h:21 a/b", ""},
		{"ftp://h//a/b", "ftp - h:21 /a/b", ""},
		{"ftp://h/%2Fa/b", "ftp - h:21 /a/b", "ftp://h//a/b"},
		{"ftp://h", "ftp - h:21 .", "ftp://h/"},
		{"ftp://h/", "ftp - h:21 .", ""},
		{"FTPES://h/a", "ftpes - h:21 a", "ftpes://h/a"},
		{"ftps://h/a", "ftps - h:990 a", ""},
		{"ftps://h:2121/a", "ftps - h:2121 a", ""},
		{"sftp://h/a/b", "sftp - h:22 /a/b", ""},
		{"sftp://h/~/a/b", "sftp - h:22 a/b", ""},
		{"sftp://h/~", "sftp - h:22 .", "sftp://h/~/"},
		{"sftp://h", "sftp - h:22 .", "sftp://h/~/"},
		{"sftp://h/~joe/a", "sftp - h:22 /~joe/a", ""},
		{"sftp://acme@h:2222/in/", "sftp acme h:2222 /in/", ""},
		{"sftp://ac%40me@h/in", "sftp ac@me h:22 /in", "sftp://ac@me@h/in"},
		{"sftp://[::1]:2222/x", "sftp - ::1:2222 /x", ""},
		{"ftp://[fe80::1%25eth0]/x", "ftp - fe80::1%eth0:21 x", ""},
		{"ftp://h/a b;c#d?e*[f]", "ftp - h:21 a b;c#d?e*[f]", ""},
		{"ftp://h/100%25", "ftp - h:21 100%", ""},
		{"ftp://h/%E2%82%AC", "ftp - h:21 €", "ftp://h/€"},
		{"ftp://u:p@h/x", "ftp u h:21 x", "ftp://u@h/x"},
	}
	for _, tt := range tests {
		loc, err := ParseURL(tt.in)
		if tt.want == "" {
			if err == nil || !strings.Contains(err.Error(), tt.str) {
				t.Errorf("%s: error %v, want one about the %s", tt.in, err, tt.str)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		user := loc.User
		if user == "" {
			user = "-"
		}
		if got := fmt.Sprintf("%s %s %s:%d %s", loc.Scheme, user, loc.Host, loc.Port, loc.Path); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
		str := tt.str
		if str == "" {
			str = tt.in
		}
		if got := loc.String(); got != str {
			t.Errorf("%s: String %s, want %s", tt.in, got, str)
		}
		if again, err := ParseURL(loc.String()); err != nil || again.Path != loc.Path || again.User != loc.User {
			t.Errorf("%s: read back as %+v, %v", loc.String(), again, err)
		}
	}
}

// TestParseURLErrors: bad input is named, and a password is never repeated.
func TestParseURLErrors(t *testing.T) {
	tests := []struct{ in, says string }{
		{"", "not a URL"},
		{"http://h/", "not a URL"},
		{"sftp:/h/x", "not a URL"},
		{"ftp:///x", "host: missing"},
		{"ftp://u:hunter2/3@h/x", "%2F"},
		{"ftp://u:hunter2@/x", "host: missing"},
		{"ftp://u:hunter2@h:70000/x", "port"},
		{"ftp://u:hunter2@h:0/x", "port"},
		{"ftp://u:hunter2@h:ftp/x", "port"},
		{"ftp://u:hunter2%zz@h/x", "percent-encoding"},
		{"ftp://u:hunter2@h/%zz", "percent-encoding"},
		{"ftp://u:hunter2%0a@h/x", "control character"},
		{"ftp://u:hunter2@h/a%0Ab", "line feed"},
		{"ftp://u:hunter2@h/a%00b", "NUL"},
		{"ftp://u:hunter2@::1/x", "brackets"},
		{"ftp://u:hunter2@[::1/x", "missing ]"},
		{"ftp://u:hunter2@[h]/x", "IPv6"},
		{"ftp://u:hunter2@h h/x", "no host name"},
	}
	for _, tt := range tests {
		_, err := ParseURL(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: error %v, want one that says %q", tt.in, err, tt.says)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats the password: %v", tt.in, err)
		}
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	loc, err := ParseURL("ftp://u:hunter2@h/x")
	if err != nil || loc.Password.Reveal() != "hunter2" {
		t.Fatalf("%v", err)
	}
	for _, s := range []string{loc.String(), fmt.Sprint(loc), fmt.Sprintf("%+v", loc), fmt.Sprintf("%#v", loc), fmt.Sprintf("%q", loc)} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("printed: %s", s)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"ftp://u:p@[::1]:21//a%2Fb", "sftp://h/~/x", "site:path", "ftps://h:990", "ftp://%00@h/\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		loc, err := ParseURL(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(loc.Path+loc.User+loc.Password.Reveal(), "\r\n\x00") {
			t.Errorf("%q: a control character gets through: %+v", s, loc)
		}
		again, err := ParseURL(loc.String())
		if err != nil || again.Path != loc.Path || again.Host != loc.Host || again.Port != loc.Port || again.User != loc.User {
			t.Errorf("%q: String %q reads back as %+v, %v", s, loc.String(), again, err)
		}
	})
}

func TestSplitSite(t *testing.T) {
	tests := []struct {
		in, site, path string
		ok             bool
	}{
		{"acme:in/a", "acme", "in/a", true},
		{"acme:", "acme", "", true},
		{"acme:/abs", "acme", "/abs", true},
		{"acme:a:b", "acme", "a:b", true},
		{`C:\dir`, "", "", false},
		{"c:file", "", "", false},
		{"./a:b", "", "", false},
		{"plain", "", "", false},
		{"sftp://h/x", "", "", false},
	}
	for _, tt := range tests {
		site, path, ok := SplitSite(tt.in)
		if site != tt.site && ok || path != tt.path && ok || ok != tt.ok {
			t.Errorf("%s: %q %q %v", tt.in, site, path, ok)
		}
	}
}

func TestResolve(t *testing.T) {
	tests := []struct{ root, path, want string }{
		{"", "", "."}, {"", "a", "a"}, {"", "/a", "/a"},
		{"in", "", "in"}, {"in", "a", "in/a"}, {"in/", "a", "in/a"}, {"in", "/a", "/a"},
		{"in", "~/a", "a"}, {"in", "~", "."}, {"/srv", "a/b", "/srv/a/b"},
	}
	for _, tt := range tests {
		if got := Resolve(tt.root, tt.path); got != tt.want {
			t.Errorf("%q below %q: %q, want %q", tt.path, tt.root, got, tt.want)
		}
	}
}
