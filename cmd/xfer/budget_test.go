package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// TestOneConnection: eight files at once to a server that takes one connection
// all arrive, on the one, and what was learned is said and remembered.
func TestOneConnection(t *testing.T) {
	if os.Getenv(transfertest.RealServersEnv) != "1" {
		t.Skip("real servers run with " + transfertest.RealServersEnv + "=1")
	}
	t.Parallel()
	srv := transfertest.VSFTPD(t, transfertest.FTPOptions{MaxPerIP: 1})
	home := t.TempDir()
	var files []string
	for i := range 8 {
		file := filepath.Join(home, fmt.Sprintf("%d.dat", i))
		if err := os.WriteFile(file, bytes.Repeat([]byte{byte(i)}, 300_000), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	url := fmt.Sprintf("ftp://%s@%s/", srv.User, srv.Address())
	xfer := func(args ...string) (stdout, stderr string) {
		t.Helper()
		var out, errs bytes.Buffer
		env := map[string]string{"HOME": home, "XFER_PASSWORD": srv.Password}
		code := run(context.Background(), system{
			stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: func(name string) string { return env[name] },
		}, args)
		if code != 0 {
			t.Errorf("xfer %q: exit code %d\n%s%s", args, code, &out, &errs)
		}
		return out.String(), errs.String()
	}
	out, said := xfer(append(append([]string{"put", "-j", "8"}, files...), url)...)
	if n := strings.Count(out, "done "); n != 8 {
		t.Errorf("%d of 8 files arrived", n)
	}
	if !strings.Contains(said, "max_connections=1") {
		t.Errorf("nothing was said about what was learned: %s", said)
	}
	hosts, _ := xfer("hosts", "show")
	if !strings.Contains(hosts, "max-connections = 1") {
		t.Errorf("not remembered: %s", hosts)
	}
	if _, said := xfer(append(append([]string{"put", "-j", "8"}, files...), url)...); strings.Contains(said, "learned:") {
		t.Errorf("the second run had to learn it again: %s", said)
	}
}
