package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/lab"
)

// demoSize is the file of the demo in bytes, demoRate the servers' speed in
// bytes per second: slow enough to see a bar, fast enough not to bore.
const (
	demoSize = 8 << 20
	demoRate = 16 << 20
)

// demoConfig shortens the delays: a demo has no time for real ones.
const demoConfig = "[policy]\nbase = \"400ms\"\nslow = 1\njitter = 0.0\n"

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "See it work: real transfers against embedded servers that fail on purpose",
		Args:  exactly(0, "demo takes no arguments"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context()) },
	}
}

// demonstration is one scene and how it went.
type demonstration struct {
	scene     lab.Scene
	remedies  []string
	put, get  int // exit codes; get is -1 when there was nothing to get
	identical bool
}

// wanted says whether the scene ended as it should.
func (d demonstration) wanted() bool {
	switch d.scene.Name {
	case "forbidden":
		return d.put == exitCodes[policy.KindPermission].code && len(d.remedies) == 0
	case "full":
		return d.put == exitCodes[policy.KindTarget].code
	default:
		return d.put == 0 && d.get == 0 && d.identical
	}
}

func (a *app) demo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "xfer-demo-")
	if err != nil {
		return policy.GiveUpOn("demo", policy.LocalFault("mkdir", "", err))
	}
	defer os.RemoveAll(dir)
	content := make([]byte, demoSize)
	_, _ = rand.Read(content) // never fails
	file := filepath.Join(dir, "report.bin")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return policy.GiveUpOn("demo", policy.LocalFault("create", file, err))
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(demoConfig), 0o600); err != nil {
		return policy.GiveUpOn("demo", policy.LocalFault("create", dir, err))
	}

	var shown []demonstration
	for i, scene := range lab.Scenes(demoSize) {
		if ctx.Err() != nil {
			return a.interrupted(ctx, "demo")
		}
		_, _ = fmt.Fprintf(a.sys.stdout, "\n%d. This server %s.\n", i+1, scene.Fault)
		d, err := a.show(ctx, scene, dir, file)
		if err != nil {
			return err
		}
		shown = append(shown, d)
	}
	return a.sumUp(shown)
}

// show starts the scene's server, uploads the file, downloads it again and
// compares.
func (a *app) show(ctx context.Context, scene lab.Scene, dir, file string) (demonstration, error) {
	d := demonstration{scene: scene, get: -1}
	root := filepath.Join(dir, scene.Name)
	if err := os.Mkdir(root, 0o700); err != nil {
		return d, policy.GiveUpOn("demo", policy.LocalFault("mkdir", root, err))
	}
	srv, knownHosts, err := scene.Start(root)
	if err != nil {
		return d, policy.GiveUpOn("demo", policy.LocalFault("listen", "", err))
	}
	defer srv.Close()
	srv.Add(lab.Rule{On: "data", When: lab.During, Do: lab.Throttle(demoRate)})

	remote := strings.TrimRight(srv.URL(), "/") + "/" + filepath.Base(file)
	d.put = a.typed(ctx, &d, dir, knownHosts, "put", file, remote)
	if d.put != 0 {
		_, _ = fmt.Fprintf(a.sys.stdout, "exit code %d\n", d.put)
		return d, nil
	}
	back := filepath.Join(dir, scene.Name+"-back.bin")
	d.get = a.typed(ctx, &d, dir, knownHosts, "get", remote, back)
	sent, err1 := sum(file)
	got, err2 := sum(back)
	d.identical = err1 == nil && err2 == nil && bytes.Equal(sent, got)
	_, _ = fmt.Fprintf(a.sys.stdout, "SHA-256 of what was sent  %x\nSHA-256 of what came back %x\n", sent, got)
	return d, nil
}

// typed runs a command line as a person would type it, in a home directory of
// its own.
func (a *app) typed(ctx context.Context, d *demonstration, dir, knownHosts string, args ...string) int {
	_, _ = fmt.Fprintf(a.sys.stdout, "$ xfer %s\n", strings.Join(args, " "))
	sys := a.sys
	sys.env = func(name string) string {
		return map[string]string{"HOME": dir, "XFER_PASSWORD": lab.ScenePassword}[name]
	}
	args = append([]string{"--config", filepath.Join(dir, "config.toml")}, args...)
	if knownHosts != "" {
		args = append([]string{"--known-hosts", knownHosts}, args...)
	}
	if a.flags.noProgress {
		args = append([]string{"--no-progress"}, args...)
	}
	nested := newApp(sys)
	nested.observe = func(ev policy.Event) { d.remedies = append(d.remedies, remedyText(ev)) }
	return nested.run(ctx, args)
}

// sumUp prints the table and fails if a scene did not end as it should.
func (a *app) sumUp(shown []demonstration) error {
	_, _ = fmt.Fprintln(a.sys.stdout)
	w := tabwriter.NewWriter(a.sys.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "SCENE\tTHE SERVER\tXFER\tPUT\tGET\tIDENTICAL\tAS EXPECTED")
	var failed []string
	for _, d := range shown {
		did := "stopped at once"
		if len(d.remedies) > 0 {
			did = d.remedies[0]
			if len(d.remedies) > 1 {
				did += fmt.Sprintf(", and %d more", len(d.remedies)-1)
			}
		}
		get, identical := "-", "-"
		if d.get >= 0 {
			get, identical = fmt.Sprint(d.get), yes(d.identical)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.scene.Name, d.scene.Fault, did, d.put, get, identical, yes(d.wanted()))
		if !d.wanted() {
			failed = append(failed, d.scene.Name)
		}
	}
	if err := w.Flush(); err != nil {
		return policy.GiveUpOn("demo", policy.LocalFault("write", "", err))
	}
	if len(failed) > 0 {
		return policy.GiveUpOn("demo", &policy.Fault{
			Protocol: policy.Local, Op: "demo", Cause: policy.CauseLocalIO, Text: "not as expected: " + strings.Join(failed, ", "),
		})
	}
	return nil
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// sum is the SHA-256 of a file.
func sum(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
