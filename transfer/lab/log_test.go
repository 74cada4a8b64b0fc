package lab

import (
	"strings"
	"testing"
)

func TestLogIsBounded(t *testing.T) {
	var r record
	for range maxEvents + maxEvents/2 {
		r.add(Event{Verb: "NOOP"})
	}
	r.add(Event{Verb: "LAST"})
	l, _ := r.snapshot()
	if len(l) > maxEvents || len(l) < maxEvents/2 || l[len(l)-1].Verb != "LAST" {
		t.Errorf("%d events, the last is %s", len(l), l[len(l)-1].Verb)
	}
}

func TestLogString(t *testing.T) {
	l := Log{
		{Conn: 1, Verb: "STOR", Arg: "a", Codes: []int{150, 226}, Text: "Done.", Bytes: 7},
		{Conn: 2, Verb: "data", Arg: "EPSV", Text: "refused"},
		{Conn: 2, Verb: "data", Arg: "EPSV"},
	}
	want := "1  STOR a [0+7]  → [150 226]  Done.\n2  data EPSV  refused\n2  data EPSV\n"
	if got := l.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if l.Data("EPSV") != 1 || l.Count("data") != 2 {
		t.Errorf("%d connections of %d", l.Data("EPSV"), l.Count("data"))
	}
}

func TestURL(t *testing.T) {
	for kind, scheme := range map[Security]string{Plain: "ftp", Explicit: "ftpes", Implicit: "ftps"} {
		srv := startFTP(t, FTPConfig{TLS: kind, User: "demo", Password: "secret"})
		if got := srv.URL(); got != scheme+"://demo@"+srv.Addr()+"/" || strings.Contains(got, "secret") {
			t.Errorf("URL %s", got)
		}
	}
	if srv := startSFTP(t, SFTPConfig{}); srv.URL() != "sftp://"+srv.Addr()+"/" {
		t.Errorf("URL %s", srv.URL())
	}
}
