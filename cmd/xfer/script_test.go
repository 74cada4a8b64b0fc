package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xfer-cli/xfer/transfer/lab"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"xfer": main})
}

// TestScripts runs testdata/script/*.txtar, one behaviour each, with xfer as the
// built program. Besides the standard commands there are:
//
//	serve SCENE           start a server; $URL is its address, $ROOT the directory
//	                      that it serves, "$TRUST_FLAG $TRUST_FILE" what makes
//	                      xfer trust it
//	count VERB N          the server got this command N times
//	random FILE SIZE      make a file
//	exits CODE COMMAND    run it and expect this exit code
//	proxy SCHEME          start a proxy that wants the login acme, s3cret; $PROXY is
//	                      its address without scheme and login
//	proxied N             so many connections went through it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("XFER_PASSWORD", lab.ScenePassword)
			env.Setenv("SSH_AUTH_SOCK", "")
			// A program built with -race sleeps for a second before it exits.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Values[serverKey{}] = new(*lab.Server)
			env.Values[gatewayKey{}] = new(*lab.Gateway)
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve": serve, "count": count, "random": randomFile, "exits": exits,
			"proxy": startProxy, "proxied": proxied,
		},
	})
}

// scenes are the servers that a script can ask for by name.
func scenes() map[string]lab.Scene {
	all := map[string]lab.Scene{}
	for _, s := range append(append(goodServers(), lab.Scenes(1<<20)...), testScenes()...) {
		all[s.Name] = s
	}
	return all
}

// testScenes are faults that only tests need.
func testScenes() []lab.Scene {
	return []lab.Scene{
		{Name: "busy-always", FTP: &lab.FTPConfig{Script: []lab.Rule{{On: "STOR", Do: lab.Reply(450, "File busy.")}}}},
		{Name: "login-421", FTP: &lab.FTPConfig{Script: []lab.Rule{{On: "connect", Times: 2, Do: lab.Reply(421, "Too many connections.").Then(lab.Drop(lab.FIN))}}}},
		{Name: "no-final-reply", FTP: &lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.Finally, Times: 1, Do: lab.Drop(lab.FIN)}}}},
		{Name: "two-connections", FTP: &lab.FTPConfig{MaxConnections: 2}},
		{Name: "no-mlst", FTP: &lab.FTPConfig{Without: []string{"MLST", "MLSD"}}},
		{Name: "no-rename", FTP: &lab.FTPConfig{NoRename: true}},
		{Name: "rename-stalls", FTP: &lab.FTPConfig{Script: []lab.Rule{{On: "RNTO", Times: 1, Do: lab.Stall()}}}},
		{Name: "no-replace", FTP: &lab.FTPConfig{NoReplace: true}},
		{Name: "sftp-object-store", SFTP: &lab.SFTPConfig{
			Quirks: profile("aws-transfer"),
			Script: []lab.Rule{{On: "data", When: lab.During, After: 2_000_000, Times: 1, Do: lab.Drop(lab.RST)}},
		}},
		{Name: "sftp-no-rename", SFTP: &lab.SFTPConfig{Quirks: lab.Quirks{
			Refuse: map[string]uint32{"RENAME": 3, "posix-rename@openssh.com": 3},
		}}},
		{Name: "sftp-old", SFTP: &lab.SFTPConfig{Quirks: profile("iis-style")}},
		{Name: "sftp-old-stays", SFTP: &lab.SFTPConfig{
			Quirks: profile("iis-style"), Script: []lab.Rule{{On: "REMOVE", Times: 1, Do: lab.Reply(3, "Permission denied")}},
		}},
		{Name: "sftp-takes-all", SFTP: &lab.SFTPConfig{Script: []lab.Rule{{On: "CLOSE", When: lab.Finally, Do: lab.TakeTo("/taken")}}}},
		{Name: "sftp-hash", SFTP: &lab.SFTPConfig{Quirks: lab.Quirks{Extensions: append([]string{"check-file"}, lab.OpenSSHExtensions...)}}},
		{Name: "sftp-cut", SFTP: &lab.SFTPConfig{Script: []lab.Rule{{On: "data", When: lab.During, After: 600_000, Times: 1, Do: lab.Drop(lab.RST)}}}},
		{Name: "hash", FTP: &lab.FTPConfig{With: []string{"HASH", "XSHA256"}}},
		{Name: "spoils", FTP: &lab.FTPConfig{With: []string{"HASH"}, Script: []lab.Rule{{On: "STOR", When: lab.During, After: 1000, Times: 1, Do: lab.Corrupt()}}}},
		{Name: "spoils-always", FTP: &lab.FTPConfig{Script: []lab.Rule{{On: "STOR", When: lab.During, After: 1000, Do: lab.Corrupt()}}}},
		{Name: "sites", FTP: &lab.FTPConfig{With: []string{"HOST"}}},
		{Name: "nasty-names", FTP: &lab.FTPConfig{Listing: func(verb, _ string) []byte {
			if verb == "MLSD" {
				return []byte("type=file;size=1; ../../evil\r\ntype=file;size=1; ok\r\ntype=file;size=1; a\x1b[31mb\r\n")
			}
			return nil
		}}},
	}
}

func profile(name string) lab.Quirks {
	quirks, ok := lab.Profile(name)
	if !ok {
		panic("no profile " + name)
	}
	return quirks
}

// serverKey finds the last server of a script.
type serverKey struct{}

func serve(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: serve SCENE")
	}
	scene, ok := scenes()[args[0]]
	if !ok {
		ts.Fatalf("no scene %q", args[0])
	}
	root := ts.MkAbs("root-" + args[0])
	ts.Check(os.MkdirAll(root, 0o700))
	srv, trust, err := startScene(scene, root)
	ts.Check(err)
	ts.Defer(func() { _ = srv.Close() })
	*ts.Value(serverKey{}).(**lab.Server) = srv
	ts.Setenv("URL", srv.URL())
	ts.Setenv("ROOT", root)
	flag, file, _ := strings.Cut(trust, " ")
	if flag == "" {
		flag, file = "--log-format", "text" // nothing to trust, and scripts can pass it all the same
	}
	ts.Setenv("TRUST_FLAG", flag)
	ts.Setenv("TRUST_FILE", file)
}

func count(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: count VERB N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	log := (*ts.Value(serverKey{}).(**lab.Server)).Log()
	if got := log.Count(args[0]); (got == want) == neg {
		ts.Fatalf("%s came %d times, want %d (negated: %v)\n%s", args[0], got, want, neg, log)
	}
}

// gatewayKey finds the last proxy of a script.
type gatewayKey struct{}

func startProxy(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: proxy SCHEME")
	}
	g, err := lab.StartGateway(args[0], "acme", "s3cret")
	ts.Check(err)
	ts.Defer(func() { _ = g.Close() })
	*ts.Value(gatewayKey{}).(**lab.Gateway) = g
	_, address, _ := strings.Cut(g.URL(), "://")
	ts.Setenv("PROXY", address)
}

func proxied(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: proxied N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	asked := (*ts.Value(gatewayKey{}).(**lab.Gateway)).Asked()
	if (len(asked) == want) == neg {
		ts.Fatalf("%d connections through the proxy, want %d (negated: %v): %q", len(asked), want, neg, asked)
	}
}

func randomFile(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: random FILE SIZE")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*i>>8 ^ i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
