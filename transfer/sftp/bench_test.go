package sftp

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/lab"
	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// The benchmarks run against OpenSSH where real servers were asked for, else
// against the lab, which shares the processors with what is measured.

const benchSize = 64 << 20

func benchSession(b *testing.B, rtt time.Duration) (s *session, dir, disk string) {
	b.Helper()
	var o Options
	if os.Getenv(transfertest.RealServersEnv) == "1" {
		srv := transfertest.SSHD(b, transfertest.SSHDOptions{External: true, Unprivileged: true})
		o, dir, disk = sshdOptions(srv), srv.Root, srv.Dir
	} else {
		root := b.TempDir()
		srv := startLab(b, lab.SFTPConfig{Root: root})
		o, dir, disk = labOptions(srv), "/", root
	}
	if rtt > 0 {
		_, via := through(b, o.Address, rtt)
		via(&o)
	}
	return dial(b, o), dir, disk
}

func BenchmarkPut(b *testing.B) {
	s, dir, _ := benchSession(b, 0)
	benchPut(b, s, dir, benchSize)
}

func BenchmarkGet(b *testing.B) {
	s, dir, disk := benchSession(b, 0)
	benchGet(b, s, dir, disk, benchSize)
}

func BenchmarkPutFar(b *testing.B) {
	s, dir, _ := benchSession(b, 20*time.Millisecond)
	benchPut(b, s, dir, benchSize)
}

func BenchmarkGetFar(b *testing.B) {
	s, dir, disk := benchSession(b, 20*time.Millisecond)
	benchGet(b, s, dir, disk, benchSize)
}

func benchPut(b *testing.B, s transfer.Session, dir string, size int) {
	b.Helper()
	data := content(size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Put(b.Context(), transfer.Join(dir, "file"), 0, transfer.Source{R: bytes.NewReader(data), Size: int64(size)}); err != nil {
			b.Fatal(describe(err))
		}
	}
}

func benchGet(b *testing.B, s transfer.Session, dir, disk string, size int) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(disk, "file"), content(size), 0o644); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), transfer.Join(dir, "file"), 0, transfer.Sink{W: io.Discard, Size: int64(size)}); err != nil {
			b.Fatal(describe(err))
		}
	}
}

func BenchmarkSmallFiles(b *testing.B) {
	s, dir, _ := benchSession(b, 0)
	data := content(4 << 10)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			name := transfer.Join(dir, time.Now().Format("150405.000000000"))
			if _, err := s.Put(b.Context(), name, 0, sourceOf(data)); err != nil {
				b.Error(describe(err))
				return
			}
		}
	})
}
