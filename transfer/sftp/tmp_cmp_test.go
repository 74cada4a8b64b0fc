package sftp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func TestTmpCompare(t *testing.T) {
	srv := transfertest.SSHD(t, transfertest.SSHDOptions{External: true})
	size := 512 << 20
	src := filepath.Join(t.TempDir(), "src")
	os.WriteFile(src, content(size), 0o644)
	os.WriteFile(filepath.Join(srv.Dir, "remote"), content(size), 0o644)
	s := dial(t, sshdOptions(srv))
	fmt.Println(strings.Repeat("-", 20))
	peer := func(what, batch string) {
		cmd := exec.Command("sftp", "-q", "-b", "-", "-P", fmt.Sprint(srv.Port), "-i", srv.KeyFile, "-o", "UserKnownHostsFile="+srv.KnownHostsFile, "-c", "aes128-gcm@openssh.com", "root@127.0.0.1")
		cmd.Stdin = strings.NewReader(batch)
		b := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		fmt.Printf("sftp %s wall %.2f cpu>= %.2f\n", what, time.Since(b).Seconds(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	}
	for range 3 {
		peer("put", fmt.Sprintf("put %s %s/p1\n", src, srv.Dir))
		f, _ := os.Open(src)
		b, c := time.Now(), cpu()
		if _, err := s.Put(t.Context(), srv.Dir+"/p2", 0, transfer.Source{R: f, Size: int64(size)}); err != nil {
			t.Fatal(describe(err))
		}
		fmt.Printf("xfer put wall %.2f cpu %.2f lanes %d\n", time.Since(b).Seconds(), (cpu() - c).Seconds(), s.lanes)
		f.Close()
		peer("get", fmt.Sprintf("get %s/remote %s\n", srv.Dir, filepath.Join(t.TempDir(), "g1")))
		g, _ := os.Create(filepath.Join(t.TempDir(), "g2"))
		b, c = time.Now(), cpu()
		if _, err := s.Get(t.Context(), srv.Dir+"/remote", 0, transfer.Sink{W: g, Size: int64(size)}); err != nil {
			t.Fatal(describe(err))
		}
		fmt.Printf("xfer get wall %.2f cpu %.2f lanes %d\n", time.Since(b).Seconds(), (cpu() - c).Seconds(), s.lanes)
		g.Close()
	}
}
