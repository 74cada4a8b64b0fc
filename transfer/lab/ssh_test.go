package lab

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func signer(t *testing.T) ssh.Signer {
	t.Helper()
	s, err := NewHostKey("ed25519")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// certified is the key with a certificate for the user demo.
func certified(t *testing.T, key, ca ssh.Signer) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"demo"},
		ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLogins(t *testing.T) {
	key, other, ca := signer(t), signer(t), signer(t)
	answer := func(right ...string) ssh.AuthMethod {
		return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
			if len(questions) == 0 {
				return nil, nil
			}
			return right, nil
		})
	}
	tests := []struct {
		name string
		cfg  SFTPConfig
		auth []ssh.AuthMethod
		in   bool
		log  string // the logins
	}{
		{"password", SFTPConfig{}, []ssh.AuthMethod{ssh.Password("demo")}, true, "password accepted"},
		{"wrong password", SFTPConfig{}, []ssh.AuthMethod{ssh.Password("no")}, false, "password refused"},
		{"key", SFTPConfig{Keys: []ssh.PublicKey{key.PublicKey()}}, []ssh.AuthMethod{ssh.PublicKeys(key)}, true, "publickey accepted"},
		{"wrong key", SFTPConfig{Keys: []ssh.PublicKey{key.PublicKey()}}, []ssh.AuthMethod{ssh.PublicKeys(other)}, false, "publickey refused"},
		{"certificate", SFTPConfig{UserCAs: []ssh.PublicKey{ca.PublicKey()}}, []ssh.AuthMethod{ssh.PublicKeys(certified(t, key, ca))}, true, "publickey accepted"},
		{"certificate of another", SFTPConfig{UserCAs: []ssh.PublicKey{ca.PublicKey()}}, []ssh.AuthMethod{ssh.PublicKeys(certified(t, key, other))}, false, "publickey refused"},
		{"no keys known", SFTPConfig{}, []ssh.AuthMethod{ssh.PublicKeys(key)}, false, ""},
		{"keyboard-interactive", SFTPConfig{}, []ssh.AuthMethod{answer("demo")}, true, "keyboard-interactive accepted"},
		{"two questions", SFTPConfig{Questions: []Question{{Prompt: "PIN", Answer: "1"}, {Prompt: "Token", Answer: "2", Echo: true}}}, []ssh.AuthMethod{answer("1", "2")}, true, "keyboard-interactive accepted"},
		{"wrong answer", SFTPConfig{}, []ssh.AuthMethod{answer("no")}, false, "keyboard-interactive refused"},
		{"key and password", SFTPConfig{AuthMethods: "publickey,password", Keys: []ssh.PublicKey{key.PublicKey()}},
			[]ssh.AuthMethod{ssh.PublicKeys(key), ssh.Password("demo")}, true, "publickey partial, password accepted"},
		{"key without password", SFTPConfig{AuthMethods: "publickey,password", Keys: []ssh.PublicKey{key.PublicKey()}},
			[]ssh.AuthMethod{ssh.PublicKeys(key)}, false, "publickey partial"},
		{"password without key", SFTPConfig{AuthMethods: "publickey,password", Keys: []ssh.PublicKey{key.PublicKey()}},
			[]ssh.AuthMethod{ssh.Password("demo")}, false, ""},
		{"the second alternative", SFTPConfig{AuthMethods: "publickey,password keyboard-interactive", Keys: []ssh.PublicKey{key.PublicKey()}},
			[]ssh.AuthMethod{answer("demo")}, true, "keyboard-interactive accepted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.User, tt.cfg.Password = "demo", "demo"
			srv := startSFTP(t, tt.cfg)
			_, err := dialSSH(t, srv, tt.auth...)
			if (err == nil) != tt.in {
				t.Errorf("login: %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "unable to authenticate") {
				t.Errorf("it failed for another reason: %v", err)
			}
			var log []string
			for _, e := range srv.Log().Of("login") {
				log = append(log, strings.TrimSuffix(e.Arg, " demo")+" "+e.Text)
			}
			if got := strings.Join(log, ", "); got != tt.log {
				t.Errorf("log %q, want %q", got, tt.log)
			}
		})
	}
	if _, err := StartSFTP(SFTPConfig{Root: t.TempDir(), AuthMethods: "gssapi"}); err == nil {
		t.Error("an unknown method went through")
	}
}

func TestMaxAuthTries(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{User: "demo", Password: "demo", MaxAuthTries: 2, Keys: []ssh.PublicKey{signer(t).PublicKey()}})
	_, err := dialSSH(t, srv, ssh.PublicKeys(signer(t), signer(t), signer(t)), ssh.Password("demo"))
	if err == nil || strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("want a disconnect, got %v", err)
	}
	if n := srv.Log().Count("login"); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

func TestBanner(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{Banner: "Authorised use only.\n", Quirks: Quirks{Software: "Lab_1.0"}})
	conn := dialRaw(t, srv.Addr())
	var banner string
	c, channels, requests, err := ssh.NewClientConn(conn, "", &ssh.ClientConfig{
		User: "demo", Auth: []ssh.AuthMethod{ssh.Password("x")}, HostKeyCallback: ssh.FixedHostKey(srv.HostKeys()[0]),
		BannerCallback: func(message string) error { banner = message; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	if banner != "Authorised use only.\n" || string(client.ServerVersion()) != "SSH-2.0-Lab_1.0" {
		t.Errorf("banner %q, version %q", banner, client.ServerVersion())
	}
}

func TestHostKeys(t *testing.T) {
	var keys []ssh.Signer
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		key, err := NewHostKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if _, err := NewHostKey("dsa"); err == nil {
		t.Error("an unknown kind")
	}
	srv := startSFTP(t, SFTPConfig{HostKeys: keys})
	check, err := knownhosts.New(srv.KnownHostsFile())
	if err != nil {
		t.Fatal(err)
	}
	dialWith := func(srv *SFTP, algorithm string) error {
		conn := dialRaw(t, srv.Addr())
		c, channels, requests, err := ssh.NewClientConn(conn, srv.Addr(), &ssh.ClientConfig{
			User: "demo", Auth: []ssh.AuthMethod{ssh.Password("x")}, HostKeyCallback: check, HostKeyAlgorithms: []string{algorithm},
		})
		if err == nil {
			_ = ssh.NewClient(c, channels, requests).Close()
		}
		return err
	}
	for _, algorithm := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA256} {
		if err := dialWith(srv, algorithm); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
	// The same address with another key is what known_hosts is for.
	addr := srv.Addr()
	closeInTime(t, srv.Server)
	if unknown, ok := errors.AsType[*knownhosts.KeyError](dialWith(startSFTP(t, SFTPConfig{Addr: addr}), ssh.KeyAlgoED25519)); !ok || len(unknown.Want) != 3 {
		t.Errorf("changed key: %v", unknown)
	}
}

func TestAlgorithms(t *testing.T) {
	srv := startSFTP(t, SFTPConfig{Crypto: ssh.Config{Ciphers: []string{"aes128-cbc"}}})
	_, err := dialSSH(t, srv)
	if _, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); !ok {
		t.Errorf("no cipher in common: %v", err)
	}
}
