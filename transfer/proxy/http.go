package proxy

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/xfer-cli/xfer/policy"
)

// maxHead is the longest answer to a CONNECT, in bytes.
const maxHead = 64 << 10

var errNotHTTP = errors.New("it does not speak HTTP")

// connect asks an HTTP proxy for a tunnel to address.
func connect(conn net.Conn, address string, p *Proxy) error {
	request := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", address)
	if p.User != "" {
		login := base64.StdEncoding.EncodeToString([]byte(p.User + ":" + p.Password.Reveal()))
		request += "Proxy-Authorization: Basic " + login + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return err
	}
	head, err := readHead(conn)
	if err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return errNotHTTP
	}
	_ = r.Body.Close() // a tunnel has none
	switch {
	case r.StatusCode/100 == 2:
		return nil
	case r.StatusCode == http.StatusProxyAuthRequired && p.User != "":
		return &refusal{policy.CauseProxyLogin, "the login was refused (" + r.Status + ")"}
	case r.StatusCode == http.StatusProxyAuthRequired:
		return &refusal{policy.CauseProxyLogin, "it wants a login (" + r.Status + ")"}
	}
	return &refusal{policy.CauseProxy, r.Status}
}

// readHead reads up to the empty line and not one byte more: what follows is the
// server's, and an FTP server speaks first.
func readHead(conn net.Conn) ([]byte, error) {
	var head []byte
	var b [1]byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if len(head) == maxHead {
			return nil, errNotHTTP
		}
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return nil, err
		}
		head = append(head, b[0])
	}
	return head, nil
}
