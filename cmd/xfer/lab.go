package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/lab"
)

func (a *app) labCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run servers that misbehave on purpose, to try xfer on",
		Long: `Run the servers of xfer demo, and well-behaved ones of every kind, on loopback until
interrupted, and print the URLs to try. Nothing outside this machine can reach them.`,
		Args: exactly(0, "lab takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.lab(cmd.Context(), dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "serve files below this `DIRECTORY` and keep them (default a temporary one)")
	return cmd
}

// lab runs the servers until the context ends.
func (a *app) lab(ctx context.Context, dir string) error {
	fail := func(err error) error { return policy.GiveUpOn("lab", policy.LocalFault("listen", dir, err)) }
	if dir == "" {
		temp, err := os.MkdirTemp("", "xfer-lab-")
		if err != nil {
			return fail(err)
		}
		defer os.RemoveAll(temp)
		dir = temp
	}
	w := tabwriter.NewWriter(a.sys.stdout, 0, 0, 2, ' ', 0)
	for _, scene := range append(goodServers(), lab.Scenes(demoSize)...) {
		root := filepath.Join(dir, scene.Name)
		if err := os.MkdirAll(root, 0o700); err != nil {
			return fail(err)
		}
		srv, trust, err := startScene(scene, root)
		if err != nil {
			return fail(err)
		}
		defer srv.Close()
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", srv.URL(), trust, scene.Fault)
	}
	if err := w.Flush(); err != nil {
		return fail(err)
	}
	_, _ = fmt.Fprintf(a.sys.stdout, "\nThe password is %s: XFER_PASSWORD=%[1]s xfer put FILE URL\nFiles are in %s; Ctrl-C ends the lab.\n", lab.ScenePassword, dir)
	<-ctx.Done()
	return nil
}

// goodServers are servers without a fault, one of each kind.
func goodServers() []lab.Scene {
	return []lab.Scene{
		{Name: "ftp", Fault: "works", FTP: &lab.FTPConfig{}},
		{Name: "ftpes", Fault: "works, with explicit TLS", FTP: &lab.FTPConfig{TLS: lab.Explicit, Reuse: lab.ReuseOr522}},
		{Name: "ftps", Fault: "works, with implicit TLS", FTP: &lab.FTPConfig{TLS: lab.Implicit, Reuse: lab.ReuseOr425}},
		{Name: "sftp", Fault: "works", SFTP: &lab.SFTPConfig{}},
	}
}

// startScene starts a scene's server and says which flag makes xfer trust it.
func startScene(scene lab.Scene, root string) (srv *lab.Server, trust string, err error) {
	srv, file, err := scene.Start(root)
	switch {
	case err != nil || file == "":
		return srv, "", err
	case strings.HasPrefix(srv.URL(), "sftp:"):
		return srv, "--known-hosts " + file, nil
	default:
		return srv, "--ca-file " + file, nil
	}
}
