package lab

import (
	"bytes"
	"errors"
	"net/textproto"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Each scene does what it says to a client that does not know better.
func TestScenes(t *testing.T) {
	data := noise(500_000)
	upload := func(srv *Server) error {
		c, err := ftp.Dial(srv.Addr(), ftp.DialWithTimeout(5*time.Second))
		if err != nil {
			return err
		}
		defer func() { _ = c.Quit() }()
		if err := c.Login(SceneUser, ScenePassword); err != nil {
			return err
		}
		return c.Stor("a", bytes.NewReader(data))
	}
	code := func(err error) int {
		if e, ok := errors.AsType[*textproto.Error](err); ok {
			return e.Code
		}
		return 0
	}
	plays := map[string]func(t *testing.T, srv *Server, root, knownHosts string){
		"busy": func(t *testing.T, srv *Server, root, _ string) {
			if err := upload(srv); code(err) != 450 {
				t.Errorf("first: %v", err)
			}
			if err := upload(srv); err != nil || !bytes.Equal(content(t, root, "a"), data) || srv.Fired("STOR") != 1 {
				t.Errorf("second: %v", err)
			}
		},
		"active-only": func(t *testing.T, srv *Server, root, _ string) {
			if err := upload(srv); code(err) != 425 {
				t.Errorf("passive: %v", err)
			}
			c := login(t, &FTP{Server: srv})
			ln, take := accept(t)
			c.cmd(200, "EPRT |1|127.0.0.1|%s|", port(ln.Addr().String()))
			c.send("STOR a")
			conn := take()
			c.want(150)
			_, _ = conn.Write(data)
			_ = conn.Close()
			c.want(226)
			if !bytes.Equal(content(t, root, "a"), data) {
				t.Error("active: stored differently")
			}
		},
		"cut": func(t *testing.T, srv *Server, root, _ string) {
			if err := upload(srv); err == nil || code(err) != 0 {
				t.Errorf("first: %v", err)
			}
			waitStored(t, root, "a", 300_000)
			c := login(t, &FTP{Server: srv})
			if text := c.cmd(213, "SIZE a"); text != "300000" {
				t.Fatalf("SIZE %s", text)
			}
			conn := c.passive()
			c.cmd(350, "REST 300000")
			c.cmd(150, "STOR a")
			_, _ = conn.Write(data[300_000:])
			_ = conn.Close()
			c.want(226)
			if !bytes.Equal(content(t, root, "a"), data) {
				t.Error("resumed differently")
			}
		},
		"forbidden": func(t *testing.T, srv *Server, root, _ string) {
			for range 2 {
				if err := upload(srv); code(err) != 550 {
					t.Errorf("%v", err)
				}
			}
		},
		"full": func(t *testing.T, srv *Server, root, knownHosts string) {
			check, err := knownhosts.New(knownHosts)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := ssh.Dial("tcp", srv.Addr(), &ssh.ClientConfig{
				User: SceneUser, Auth: []ssh.AuthMethod{ssh.Password(ScenePassword)}, HostKeyCallback: check,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			c, err := sftp.NewClient(conn)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			f, err := c.OpenFile("a", os.O_WRONLY|os.O_CREATE)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			_, err = f.Write(data)
			if status, ok := errors.AsType[*sftp.StatusError](err); !ok || status.Code != 4 {
				t.Errorf("write: %v", err)
			}
			if v, err := c.StatVFS("/"); err != nil || v.FreeSpace() != 0 {
				t.Errorf("%d bytes free, %v", v.FreeSpace(), err)
			}
		},
	}
	var names []string
	for _, scene := range Scenes(int64(len(data))) {
		names = append(names, scene.Name)
		t.Run(scene.Name, func(t *testing.T) {
			root := t.TempDir()
			srv, knownHosts, err := scene.Start(root)
			if err != nil {
				t.Fatal(err)
			}
			defer closeInTime(t, srv)
			if scene.Fault == "" || plays[scene.Name] == nil {
				t.Fatal("nobody plays it")
			}
			plays[scene.Name](t, srv, root, knownHosts)
		})
	}
	if want := []string{"busy", "active-only", "cut", "forbidden", "full"}; !slices.Equal(names, want) {
		t.Errorf("scenes %v, want %v", names, want)
	}
}
