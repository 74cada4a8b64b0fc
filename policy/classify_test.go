package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// The table of codes, line by line: what is done about each, how patiently, and
// whose turn it is in the end.
func TestClassify(t *testing.T) {
	type want struct {
		rule    string
		remedy  Remedy
		pace    Pace
		kind    Kind
		crowded bool
		login   bool
	}
	ftp := func(code int, op string, phase Phase, text string) Fault {
		return Fault{Protocol: FTP, Phase: phase, Op: op, Path: "in/a.csv", Code: code, Text: text}
	}
	sftp := func(code int, op string) Fault {
		return Fault{Protocol: SFTP, Phase: Command, Op: op, Path: "in/a.csv", Code: code}
	}
	for _, c := range []struct {
		fault Fault
		want  want
	}{
		// FTP and FTPS
		{ftp(332, "PASS", Auth, ""), want{rule: "ftp-332", remedy: GiveUp, kind: KindPermission, login: true}},
		{ftp(336, "USER", Auth, ""), want{rule: "ftp-336", remedy: GiveUp, kind: KindPermission, login: true}},
		{ftp(421, "STOR", Command, ""), want{rule: "ftp-421", remedy: Reconnect, kind: KindTemporary}},
		{ftp(421, "STOR", Command, "Idle timeout"), want{rule: "ftp-421-idle", remedy: Reconnect, pace: AtOnce, kind: KindTemporary}},
		{ftp(421, "greeting", Connect, "Too many connections"), want{rule: "ftp-421-limit", remedy: Reconnect, pace: Slow, kind: KindTemporary, crowded: true}},
		{ftp(421, "greeting", Connect, "Shutting down"), want{rule: "ftp-421-maintenance", remedy: Reconnect, pace: Slow, kind: KindTemporary}},
		{ftp(421, "USER", Auth, "cleartext sessions are not accepted"), want{rule: "ftp-421-tls", remedy: GiveUp, kind: KindTrust}},
		{ftp(425, "STOR", Data, ""), want{rule: "ftp-425", remedy: SwitchMode, kind: KindTemporary}},
		{ftp(425, "STOR", Data, "TLS session of data connection not resumed"), want{rule: "ftp-data-tls-session", remedy: Reconnect, pace: Once, kind: KindTrust}},
		{ftp(426, "STOR", Data, ""), want{rule: "ftp-426", remedy: Reconcile, kind: KindTemporary}},
		{ftp(430, "PASS", Auth, ""), want{rule: "ftp-430", remedy: GiveUp, kind: KindPermission, login: true}},
		{ftp(431, "AUTH", Connect, ""), want{rule: "ftp-431", remedy: GiveUp, kind: KindTrust}},
		{ftp(533, "STOR", Command, ""), want{rule: "ftp-533", remedy: GiveUp, kind: KindTrust}},
		{ftp(534, "USER", Auth, ""), want{rule: "ftp-534", remedy: GiveUp, kind: KindTrust}},
		{ftp(535, "ADAT", Connect, ""), want{rule: "ftp-535", remedy: GiveUp, kind: KindTrust}},
		{ftp(536, "PROT", Auth, ""), want{rule: "ftp-536", remedy: GiveUp, kind: KindTrust}},
		{ftp(537, "STOR", Command, ""), want{rule: "ftp-537", remedy: GiveUp, kind: KindTrust}},
		{ftp(434, "USER", Connect, ""), want{rule: "ftp-434", remedy: Retry, kind: KindTemporary}},
		{ftp(450, "STOR", Command, ""), want{rule: "ftp-450", remedy: Retry, kind: KindTemporary}},
		{ftp(450, "NLST", Command, "No files found"), want{rule: "ftp-450-listing", remedy: Diagnose, kind: KindTemporary}},
		{ftp(451, "STOR", Finish, ""), want{rule: "ftp-451", remedy: Retry, pace: Few, kind: KindTemporary}},
		{ftp(452, "STOR", Finish, ""), want{rule: "ftp-452", remedy: Retry, pace: FewSlow, kind: KindTarget}},
		{ftp(500, "XYZ", Command, ""), want{rule: "ftp-500", remedy: GiveUp, kind: KindRefused}},
		{ftp(500, "STOR", Data, "OOPS: child died"), want{rule: "ftp-500-oops", remedy: Reconnect, pace: Few, kind: KindTemporary}},
		{ftp(501, "STOR", Command, ""), want{rule: "ftp-501", remedy: GiveUp, kind: KindRefused}},
		{ftp(502, "XYZ", Command, ""), want{rule: "ftp-502", remedy: GiveUp, kind: KindRefused}},
		{ftp(503, "STOR", Command, ""), want{rule: "ftp-503", remedy: Reconnect, pace: Once, kind: KindRefused}},
		{ftp(504, "XYZ", Command, ""), want{rule: "ftp-504", remedy: GiveUp, kind: KindRefused}},
		{ftp(521, "STOR", Data, ""), want{rule: "ftp-521", remedy: GiveUp, kind: KindTrust}},
		{ftp(522, "EPSV", Data, ""), want{rule: "ftp-522-protocol", remedy: SwitchMode, pace: Once, kind: KindRefused}},
		{ftp(522, "STOR", Data, ""), want{rule: "ftp-data-tls-session", remedy: Reconnect, pace: Once, kind: KindTrust}},
		{ftp(530, "PASS", Auth, "Login incorrect."), want{rule: "ftp-530", remedy: GiveUp, kind: KindPermission, login: true}},
		{ftp(530, "PASS", Auth, ""), want{rule: "ftp-530", remedy: GiveUp, kind: KindPermission, login: true}},
		{ftp(530, "PASS", Auth, "Maximum number of clients reached"), want{rule: "ftp-530-limit", remedy: Reconnect, pace: Slow, kind: KindTemporary, crowded: true}},
		{ftp(530, "STOR", Command, ""), want{rule: "ftp-530-session", remedy: Reconnect, pace: Once, kind: KindPermission}},
		{ftp(532, "STOR", Command, ""), want{rule: "ftp-532", remedy: GiveUp, kind: KindPermission}},
		{ftp(550, "STOR", Command, ""), want{rule: "ftp-550", remedy: Diagnose, kind: KindRefused}},
		{ftp(550, "STOR", Command, "Permission denied"), want{rule: "ftp-550-permission", remedy: GiveUp, kind: KindPermission}},
		{ftp(550, "RETR", Command, "No such file"), want{rule: "ftp-550-missing", remedy: GiveUp, kind: KindMissing}},
		{ftp(550, "STOR", Command, "No such file or directory"), want{rule: "remote-parent-missing", remedy: GiveUp, kind: KindTarget}},
		{ftp(550, "STOR", Command, "File is locked"), want{rule: "ftp-550-busy", remedy: Retry, kind: KindTemporary}},
		{ftp(550, "RNTO", Command, "File exists"), want{rule: "remote-exists", remedy: GiveUp, kind: KindTarget}},
		{ftp(550, "MKD", Command, ""), want{rule: "ftp-550-mkd", remedy: Diagnose, kind: KindTarget}},
		{ftp(550, "MKD", Command, "File exists"), want{rule: "ftp-550-mkd", remedy: Diagnose, kind: KindTarget}},
		{ftp(551, "RETR", Command, ""), want{rule: "ftp-551", remedy: GiveUp, kind: KindRefused}},
		{ftp(552, "STOR", Finish, ""), want{rule: "ftp-552", remedy: GiveUp, kind: KindTarget}},
		{ftp(553, "STOR", Command, ""), want{rule: "ftp-553", remedy: Diagnose, kind: KindTarget}},
		{ftp(631, "STOR", Command, ""), want{rule: "ftp-631", remedy: GiveUp, kind: KindTrust}},

		// SFTP
		{sftp(2, "stat"), want{rule: "sftp-2", remedy: GiveUp, kind: KindMissing}},
		{sftp(2, "open"), want{rule: "sftp-2-parent", remedy: Diagnose, kind: KindMissing}},
		{sftp(3, "open"), want{rule: "sftp-3", remedy: Diagnose, kind: KindPermission}},
		{sftp(4, "write"), want{rule: "sftp-4", remedy: Diagnose, kind: KindRefused}},
		{sftp(5, "open"), want{rule: "sftp-5", remedy: Diagnose, kind: KindRefused}},
		{sftp(6, "write"), want{rule: "sftp-6", remedy: Reconnect, kind: KindTemporary}},
		{sftp(7, "write"), want{rule: "sftp-7", remedy: Reconnect, kind: KindTemporary}},
		{sftp(8, "setstat"), want{rule: "sftp-8", remedy: GiveUp, kind: KindRefused}},
		{sftp(9, "write"), want{rule: "sftp-9", remedy: Reconnect, pace: Few, kind: KindTemporary}},
		{sftp(10, "open"), want{rule: "sftp-10", remedy: GiveUp, kind: KindMissing}},
		{sftp(11, "rename"), want{rule: "sftp-11", remedy: GiveUp, kind: KindTarget}},
		{sftp(12, "open"), want{rule: "sftp-12", remedy: GiveUp, kind: KindTarget}},
		{sftp(13, "open"), want{rule: "sftp-13", remedy: GiveUp, kind: KindTarget}},
		{sftp(14, "write"), want{rule: "sftp-14", remedy: Retry, pace: FewSlow, kind: KindTarget}},
		{sftp(15, "write"), want{rule: "sftp-15", remedy: Retry, pace: FewSlow, kind: KindTarget}},
		{sftp(17, "open"), want{rule: "sftp-17", remedy: Retry, kind: KindTemporary}},
		{sftp(25, "write"), want{rule: "sftp-25", remedy: Retry, kind: KindTemporary}},
		{sftp(26, "write"), want{rule: "sftp-26", remedy: Retry, kind: KindTemporary}},
		{sftp(27, "open"), want{rule: "sftp-27", remedy: Retry, kind: KindTemporary}},
		{sftp(18, "rmdir"), want{rule: "sftp-18", remedy: GiveUp, kind: KindTarget}},
		{sftp(24, "open"), want{rule: "sftp-24", remedy: GiveUp, kind: KindTarget}},
		{sftp(28, "read"), want{rule: "sftp-28", remedy: GiveUp, kind: KindRefused}},

		// Nobody said anything
		{Fault{Protocol: Net, Phase: Connect}, want{rule: "no-reply-connect", remedy: Retry, kind: KindTemporary}},
		{Fault{Protocol: FTP, Phase: Auth}, want{rule: "no-reply-auth", remedy: Reconnect, kind: KindTemporary}},
		{Fault{Protocol: FTP, Phase: Command}, want{rule: "no-reply-command", remedy: Reconnect, kind: KindTemporary}},
		{Fault{Protocol: FTP, Phase: Data}, want{rule: "no-reply-data", remedy: Reconnect, kind: KindTemporary}},
		{Fault{Protocol: FTP, Phase: Finish}, want{rule: "no-reply-finish", remedy: Reconcile, kind: KindTemporary}},

		// Network, TLS, SSH, local
		{Fault{Protocol: Net, Cause: CauseRefused}, want{rule: "net-refused", remedy: Retry, kind: KindTemporary}},
		{Fault{Protocol: Net, Cause: CauseReset}, want{rule: "net-reset", remedy: Reconnect, kind: KindTemporary}},
		{Fault{Protocol: Net, Cause: CauseTimeout}, want{rule: "net-timeout", remedy: Reconnect, kind: KindTemporary}},
		{Fault{Protocol: Net, Cause: CauseDNS}, want{rule: "net-dns-temporary", remedy: Retry, kind: KindTemporary}},
		{Fault{Protocol: Net, Cause: CauseHostNotFound}, want{rule: "net-host-not-found", remedy: GiveUp, kind: KindHost}},
		{Fault{Protocol: TLS, Cause: CauseCertUntrusted}, want{rule: "tls-untrusted", remedy: GiveUp, kind: KindTrust}},
		{Fault{Protocol: SSH, Cause: CauseHostKeyChanged}, want{rule: "ssh-host-key-changed", remedy: GiveUp, kind: KindTrust}},
		{Fault{Protocol: SSH, Cause: CauseAlgorithms}, want{rule: "ssh-algorithms", remedy: GiveUp, kind: KindTrust}},
		{Fault{Protocol: SSH, Cause: CauseSSHAuth}, want{rule: "ssh-auth", remedy: GiveUp, kind: KindPermission, login: true}},
		{Fault{Protocol: SSH, Cause: CauseStartups}, want{rule: "ssh-startups", remedy: Reconnect, pace: Slow, kind: KindTemporary, crowded: true}},
		{Fault{Protocol: Local, Cause: CauseLocalSpace}, want{rule: "local-space", remedy: GiveUp, kind: KindLocal}},
		{Fault{Protocol: Local, Cause: CauseLocalMissing}, want{rule: "local-missing", remedy: GiveUp, kind: KindMissing}},
		{Fault{Protocol: Local, Cause: CauseLocalExists}, want{rule: "local-exists", remedy: GiveUp, kind: KindTarget}},
		{Fault{Protocol: Local, Cause: CauseLocalChanged}, want{rule: "local-changed", remedy: GiveUp, kind: KindLocal}},

		// The cause that the adapter saw comes before the code.
		{Fault{Protocol: FTP, Phase: Data, Op: "STOR", Code: 425, Cause: CauseDataTLS}, want{rule: "ftp-data-tls-session", remedy: Reconnect, pace: Once, kind: KindTrust}},
		{Fault{Protocol: FTP, Phase: Command, Op: "STOR", Code: 550, Text: "locked", Cause: "no-such-cause"}, want{rule: "ftp-550-busy", remedy: Retry, kind: KindTemporary}},

		// A failure that carries a success is no success.
		{ftp(226, "RNFR", Command, ""), want{rule: "ftp-desync", remedy: Reconnect, pace: Once, kind: KindTrust}},
		{ftp(150, "NOOP", Command, ""), want{rule: "ftp-desync", remedy: Reconnect, pace: Once, kind: KindTrust}},
		{ftp(331, "greeting", Connect, ""), want{rule: "ftp-desync", remedy: Reconnect, pace: Once, kind: KindTrust}},
		{ftp(226, "RNTO", Finish, ""), want{rule: "ftp-desync", remedy: Reconcile, pace: Once, kind: KindTrust}},
	} {
		f := c.fault
		v := Classify(&f)
		if got := (want{v.Rule, v.Remedy, v.Pace, v.Kind, v.Crowded, v.Login}); got != c.want {
			t.Errorf("%v %s in phase %v:\n  got  %+v\n  want %+v", f.Protocol, f.Error(), f.Phase, got, c.want)
		}
	}
}

// After the last byte, or after RNTO, what is lost is the answer, not the deed.
func TestFinishIsLookedInto(t *testing.T) {
	for _, c := range []struct {
		fault  Fault
		remedy Remedy
	}{
		{Fault{Protocol: Net, Cause: CauseReset}, Reconcile},
		{Fault{Protocol: Net, Cause: CauseTimeout}, Reconcile},
		{Fault{Protocol: Net, Cause: CauseNoReply}, Reconcile},
		{Fault{Protocol: FTP, Op: "STOR", Code: 421, Text: "Timeout"}, Reconcile},
		{Fault{Protocol: FTP, Op: "STOR", Code: 426}, Reconcile},
		{Fault{Protocol: FTP, Op: "STOR", Code: 500, Text: "OOPS: child died"}, Reconcile},
		{Fault{Protocol: SFTP, Op: "rename", Code: 7}, Reconcile},
		// The server did answer: no.
		{Fault{Protocol: FTP, Op: "STOR", Code: 451}, Retry},
		{Fault{Protocol: FTP, Op: "STOR", Code: 452}, Retry},
		{Fault{Protocol: FTP, Op: "RNTO", Code: 550}, Diagnose},
		{Fault{Protocol: FTP, Op: "RNTO", Code: 553, Text: "Permission denied"}, GiveUp},
		{Fault{Protocol: SFTP, Op: "write", Code: 4}, Diagnose},
		// Not the server's answer at all.
		{Fault{Protocol: Local, Cause: CauseCancelled}, GiveUp},
		{Fault{Protocol: Local, Cause: CauseLocalSpace}, GiveUp},
	} {
		f := c.fault
		f.Phase = Finish
		if v := Classify(&f); v.Remedy != c.remedy {
			t.Errorf("%s: %v by %s, want %v", f.Error(), v.Remedy, v.Rule, c.remedy)
		}
	}
}

func TestSaid(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		want  string
	}{
		{Fault{Code: 550, Text: "Permission denied", Err: errors.New("x")}, "550 Permission denied"},
		{Fault{Code: 4}, "4"},
		{Fault{Text: "refused by the peer", Cause: CauseRefused}, "refused by the peer"},
		{Fault{Cause: CauseRefused, Err: errors.New("dial tcp: x")}, "connection refused"},
		{Fault{Cause: "unheard-of"}, "unheard-of"},
		{Fault{Err: errors.New("a\x1b[31m\nb")}, "a?[31m / b"},
		{Fault{}, "no reply"},
	} {
		if got := c.fault.Said(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	f := &Fault{Op: "STOR", Path: "in/\x1b[2J.csv", Code: 550, Text: "no"}
	if got := f.Error(); got != "STOR in/?[2J.csv: 550 no" {
		t.Errorf("%q", got)
	}
}

func TestFaultOf(t *testing.T) {
	f := &Fault{Protocol: FTP, Op: "STOR", Code: 425}
	if got := FaultOf(fmt.Errorf("put: %w", errors.Join(errors.New("closed"), f))); got != f {
		t.Errorf("%+v", got)
	}
	err := fmt.Errorf("copy: %w", &fs.PathError{Op: "open", Path: "a", Err: fs.ErrNotExist})
	got := FaultOf(err)
	if got.Protocol != Local || got.Cause != CauseLocalMissing || got.Text != "file does not exist" || !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("%+v", got)
	}
}

func TestNames(t *testing.T) {
	var got []string
	for r := GiveUp; r <= Proceed+1; r++ {
		got = append(got, r.String())
	}
	for p := Steady; p <= Once+1; p++ {
		got = append(got, p.String())
	}
	for k := KindRefused; k <= KindCancelled+1; k++ {
		got = append(got, k.String())
	}
	for p := Local; p <= SFTP+1; p++ {
		got = append(got, p.String())
	}
	for p := Command; p <= Finish+1; p++ {
		got = append(got, p.String())
	}
	want := "fail retry reconnect switch-mode diagnose reconcile proceed unknown(7)" +
		" steady at-once slow few few-slow once unknown(6)" +
		" refused ok usage content missing host target local temporary trust permission config cancelled unknown(13)" +
		" local net tls ssh ftp sftp unknown(6)" +
		" command connect auth data finish unknown(5)"
	if strings.Join(got, " ") != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestRemedyText(t *testing.T) {
	for r := GiveUp; r <= Proceed; r++ {
		text, err := r.MarshalText()
		var back Remedy
		if err != nil || back.UnmarshalText(text) != nil || back != r {
			t.Errorf("%v: %s %v, %v", r, text, err, back)
		}
	}
	var r Remedy
	if err := r.UnmarshalText([]byte("pray")); err == nil || !strings.Contains(err.Error(), "fail, retry, reconnect") {
		t.Error(err)
	}
}
