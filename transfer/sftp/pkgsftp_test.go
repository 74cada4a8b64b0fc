package sftp

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/transfer"
)

// startPkgSFTP serves files with the server half of the library, which works on
// several requests at once, as the many servers that are built on it.
func startPkgSFTP(t *testing.T) Options {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { servePkgSFTP(raw, config) })
		}
	})
	file := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{knownhosts.Normalize(l.Addr().String())}, signer.PublicKey())
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{
		Address: l.Addr().String(), Login: &auth.Login{User: "acme"},
		HostKeys: &auth.HostKeys{Files: []string{file}}, Timeouts: transfer.WithTimeout(10 * time.Second),
	}
}

func servePkgSFTP(raw net.Conn, config *ssh.ServerConfig) {
	defer raw.Close()
	_, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, requests, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				_ = r.Reply(r.Type == "subsystem", nil) // fails only when the client is gone
			}
		}()
		go func() {
			defer ch.Close()
			if srv, err := sftp.NewServer(ch); err == nil {
				_ = srv.Serve() // ends with the channel
			}
		}()
	}
}

// TestServerThatWorksInParallel: what is sent one behind the other must not be
// done in another order.
func TestServerThatWorksInParallel(t *testing.T) {
	s := dial(t, startPkgSFTP(t))
	root := t.TempDir()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 40 {
				data := content(1 + i*1000 + j)
				name := filepath.Join(root, fmt.Sprintf("%d-%d", i, j))
				if n, err := s.Put(t.Context(), name, 0, sourceOf(data)); err != nil || n != int64(len(data)) {
					t.Errorf("put: %d, %s", n, describe(err))
					return
				}
				var b bytes.Buffer
				if _, err := s.Get(t.Context(), name, 0, transfer.Sink{W: &b, Size: int64(len(data))}); err != nil {
					t.Errorf("get: %s", describe(err))
				}
				sameBytes(t, name, b.Bytes(), data)
			}
		})
	}
	all.Wait()
	if !s.Extras().PutVerifies {
		t.Error("it could not verify")
	}
	data := content(12 << 20)
	put(t, s, filepath.Join(root, "large"), data)
	sameBytes(t, "large", get(t, s, filepath.Join(root, "large")), data)
	n := 0
	if err := s.List(t.Context(), root, func(i transfer.Info) error { n++; return i.Bad }); err != nil || n != 641 {
		t.Errorf("%d entries, %s", n, describe(err))
	}
}
