package sftp

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// openssh is what a session on OpenSSH offers.
var openssh = transfertest.Abilities{
	Protocol: policy.SFTP, SetModTime: true, Chmod: true, Replace: true, Links: true, Space: true,
	Realpath: true, Parallel: true, Resume: true, GetCompares: true, Begin: true, TimePrecision: time.Second, Truncates: true, NameMax: 255,
}

func TestSuiteOnLab(t *testing.T) {
	root := t.TempDir()
	srv := startLab(t, lab.SFTPConfig{Root: root})
	proxy, viaProxy := through(t, srv.Addr(), 0)
	transfertest.Run(t, transfertest.Fixture{
		Dial: func(ctx context.Context) (transfer.Session, error) { return Dial(ctx, labOptions(srv, viaProxy)) },
		Dir:  "/", Disk: root, Can: openssh,
		Pause: func() func() {
			proxy.Stall(true)
			return func() { proxy.Stall(false) }
		},
	})
}

func TestSuiteOnOpenSSH(t *testing.T) {
	for name, o := range map[string]transfertest.SSHDOptions{
		"key, internal":                  {},
		"password, chrooted":             {Login: transfertest.LoginPassword, Chroot: true},
		"questions, external, 1 channel": {Login: transfertest.LoginKeyboardInteractive, External: true, MaxSessions: 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := transfertest.SSHD(t, o)
			var facts transfer.Facts
			f := srv.Fixture(func(ctx context.Context) (transfer.Session, error) {
				return Dial(ctx, sshdOptions(srv, withFacts(facts)))
			})
			if name == "password, chrooted" {
				facts = learnAll(t, dial(t, sshdOptions(srv)), srv.Root+"/")
				if foretold(facts) == nil {
					t.Errorf("the greeting would be waited for: %v", facts)
				}
			}
			f.Can, f.Again = openssh, name != "key, internal"
			transfertest.Run(t, f)
		})
	}
}

// profileAbilities is what a session on each kind of server offers, once it has been
// there before.
func profileAbilities() map[string]transfertest.Abilities {
	change := func(f func(*transfertest.Abilities)) transfertest.Abilities {
		a := openssh
		f(&a)
		return a
	}
	v3 := func(a *transfertest.Abilities) { a.Replace, a.Space = false, false }
	noLinks := func(a *transfertest.Abilities) { a.Links, a.Lstat = false, true }
	windows := func(a *transfertest.Abilities) {
		a.Names = map[string]string{}
		for _, name := range []string{`say "hi"`, `"`, "*", "?", "a*b?c[d]e", "a&b|c", "a:b", "a -> b"} {
			a.Names[name] = "" // refused
		}
	}
	drive := func(a *transfertest.Abilities) {
		windows(a)
		a.Names[`back\slash`], a.Names[`\`] = "", "" // a separator there
	}
	objectStore := func(a *transfertest.Abilities) {
		noLinks(a)
		a.Space, a.SetModTime, a.Chmod, a.NoPutResume = false, false, false, true
	}
	return map[string]transfertest.Abilities{
		"openssh-windows": change(drive),
		"pkg-sftp":        change(func(a *transfertest.Abilities) { a.RenameReplaces = true }),
		"sftpgo":          change(func(a *transfertest.Abilities) { a.RenameReplaces = true }),
		"aws-transfer":    change(func(a *transfertest.Abilities) { objectStore(a); a.Replace = false }),
		"azure":           change(objectStore),
		"serv-u":          change(func(a *transfertest.Abilities) { v3(a); noLinks(a); windows(a) }),
		"goanywhere":      change(func(a *transfertest.Abilities) { noLinks(a); a.Space, a.Chmod = false, false }),
		"iis-style":       change(func(a *transfertest.Abilities) { v3(a); noLinks(a); drive(a); a.Chmod = false }),
		"minimal-v3": change(func(a *transfertest.Abilities) {
			v3(a)
			noLinks(a)
			a.SetModTime, a.Chmod, a.NoPutResume = false, false, true
		}),
	}
}

// TestSuiteOnProfiles: every kind of server that the lab knows. What a server
// refuses without having said so is learned first, as by an earlier run.
func TestSuiteOnProfiles(t *testing.T) {
	abilities := profileAbilities()
	for _, name := range lab.Profiles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "openssh" {
				return // TestSuiteOnLab, and all of it
			}
			quirks, _ := lab.Profile(name)
			can, known := abilities[name]
			if known == quirks.ReadOnly {
				t.Fatal("the abilities of this profile are not known, or it is read-only")
			}
			root := t.TempDir()
			srv := startLab(t, lab.SFTPConfig{Root: root, Home: "/home", Quirks: quirks})
			if quirks.ReadOnly {
				_, err := dialLab(t, srv).Put(t.Context(), "f", 0, sourceOf([]byte("hello")))
				wantFault(t, err, policy.Fault{Phase: policy.Data, Op: "open", Code: fxPermission})
				return
			}
			facts := learnAll(t, dialLab(t, srv), "")
			if foretold(facts) == nil && quirks.MaxSessions != 1 {
				t.Errorf("the greeting would be waited for: %v", facts)
			}
			proxy, viaProxy := through(t, srv.Addr(), 0)
			learned := withFacts(facts)
			dir := "/home"
			if quirks.Drive != "" {
				dir = "/" + quirks.Drive + dir
			}
			transfertest.Run(t, transfertest.Fixture{
				Dial: func(ctx context.Context) (transfer.Session, error) {
					return Dial(ctx, labOptions(srv, viaProxy, learned))
				},
				Dir: dir, Disk: filepath.Join(root, "home"), Can: can,
				Beside: true, Again: name != "iis-style",
				Pause: func() func() {
					proxy.Stall(true)
					return func() { proxy.Stall(false) }
				},
			})
		})
	}
}

// learnAll tries what servers refuse, in a directory, and gives what a session learns
// from it; also that requests need not wait for the greeting.
func learnAll(t *testing.T, s *session, dir string) transfer.Facts {
	t.Helper()
	file, link := dir+"learn", dir+"link"
	put(t, s, file, content(9<<20))
	put(t, s, file, content(1000))
	ctx, x := t.Context(), s.Extras()
	_, _ = s.Put(ctx, file, 500, sourceOf(content(1000)))
	put(t, s, file, content(1000))
	_, _ = x.SetModTime(ctx, file, time.Unix(1e9, 0)), x.Chmod(ctx, file, 0o600)
	_ = x.Symlink(ctx, file, link)
	_, _ = x.Readlink(ctx, link)
	_ = s.Remove(ctx, link) // there may be none
	if err := s.Remove(ctx, file); err != nil {
		t.Fatal(describe(err))
	}
	return s.Extras().Facts()
}

// TestNamesThatWindowsRefuses: each with a verdict about the name.
func TestNamesThatWindowsRefuses(t *testing.T) {
	for _, profile := range []string{"openssh-windows", "serv-u", "iis-style"} {
		quirks, _ := lab.Profile(profile)
		s := dialLab(t, startLab(t, lab.SFTPConfig{Quirks: quirks}))
		for _, name := range []string{"a:b", "what?", "<x>", "a|b"} {
			_, err := s.Put(t.Context(), name, 0, sourceOf([]byte("hello")))
			f, ok := err.(*policy.Fault)
			if !ok {
				t.Fatalf("%s: %q: %v", profile, name, err)
			}
			if v := s.Extras().Diagnose(t.Context(), f, 5); v.Kind != policy.KindTarget {
				t.Errorf("%s: %q: %s of kind %v (%s)", profile, name, v.Rule, v.Kind, v.Evidence)
			}
		}
	}
}
