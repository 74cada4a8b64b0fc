package sftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/xfer-cli/xfer/transfer"
)

// packet makes a packet as a server sends it.
func packet(kind byte, id uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+4+len(body)))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, id)
	return append(b, body...)
}

func statusBody(code uint32, text string) []byte {
	return request(nil).uint32(code).string(text).string("en")
}

// version is the first packet of a server; its number is in the place of an id.
// always is room for data that is there from the start.
func always(b []byte) func() []byte { return func() []byte { return b } }

var version = packet(fxpVersion, 3, nil)

// tapOn taps a stream that gives what the server sends, and takes what is sent.
func tapOn(server []byte) (*tap, *bytes.Buffer) {
	var sent bytes.Buffer
	return newTap(struct {
		io.Reader
		io.Writer
		io.Closer
	}{bytes.NewReader(server), &sent, io.NopCloser(nil)}), &sent
}

// drain reads as the library does: 4 bytes, then the rest of the packet.
func drain(t *tap) (packets [][]byte, err error) {
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(t, head); err != nil {
			return packets, err
		}
		body := make([]byte, binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(t, body); err != nil {
			return packets, err
		}
		packets = append(packets, append(head, body...))
	}
}

// TestTapSharesAChannel: answers to both sides' requests, in any order.
func TestTapSharesAChannel(t *testing.T) {
	data := []byte("the data of the file")
	server := slices.Concat(
		version,
		packet(fxpHandle, 1, request(nil).string("h")),
		packet(fxpData, ownIDs, request(nil).string(string(data))),
		packet(fxpStatus, 2, statusBody(2, "gone")),
		packet(fxpStatus, ownIDs|1, statusBody(4, "no\x1bway")),
		packet(fxpStatus, ownIDs|2, statusBody(0, "ok")),
		packet(fxpStatus, 3, statusBody(0, "ok")),
		packet(fxpName, ownIDs|3, []byte("abcdef")),
		packet(fxpStatus, ownIDs|4, statusBody(0, "nobody waits")),
		packet(fxpStatus, 4, statusBody(1, "eof")),
	)
	tap, sent := tapOn(server)
	into := make([]byte, 100)
	read, write, done, name := tap.start(newRequest(fxpRead), always(into)), tap.start(newRequest(fxpWrite), nil), tap.start(newRequest(fxpClose), nil), tap.start(newRequest(fxpReaddir), nil)
	tap.post(newRequest(fxpClose))
	late := tap.start(newRequest(fxpStat), nil)

	got, err := drain(tap)
	if err != io.EOF {
		t.Fatal(err)
	}
	want := [][]byte{
		version,
		packet(fxpHandle, 1, request(nil).string("h")),
		packet(fxpStatus, 2, statusBody(2|foreign, "gone")),
		packet(fxpStatus, 3, statusBody(0, "ok")),
		packet(fxpStatus, 4, statusBody(1|foreign, "eof")),
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("the library got\n%q, want\n%q", got, want)
	}
	for _, r := range []*reply{read, write, done, name, late} {
		<-r.done
	}
	if err := read.is(fxpData); err != nil || read.n != len(data) || !bytes.Equal(into[:read.n], data) {
		t.Errorf("read: %v, %q", err, into[:read.n])
	}
	if err := write.is(fxpStatus); !is(err, 4) || !strings.Contains(err.Error(), "no?way") {
		t.Errorf("write: %v", err)
	}
	if err := done.is(fxpStatus); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := name.is(fxpName); err != nil || string(name.fields.b) != "abcdef" {
		t.Errorf("readdir: %v, %q", err, name.fields.b)
	}
	if err := late.is(fxpAttrs); !isLost(err) {
		t.Errorf("a request without an answer: %v", err)
	}
	if after := tap.start(newRequest(fxpStat), nil); after.err == nil {
		t.Error("a request after the end was sent")
	}
	if n := bytes.Count(sent.Bytes(), []byte{0, 0, 0, 5}); n != 6 {
		t.Errorf("%d packets sent, want 6", n)
	}
}

// TestTapSendsWholePackets: the library sends a packet in two pieces; nothing
// may come between.
func TestTapSendsWholePackets(t *testing.T) {
	tap, sent := tapOn(nil)
	first := packet(9, 1, []byte("path and flags, attributes"))
	_, _ = tap.Write(first[:20])
	tap.post(newRequest(fxpClose))
	_, _ = tap.Write(first[20:])
	if !bytes.HasSuffix(sent.Bytes(), first) || sent.Len() != len(first)+headerLen {
		t.Errorf("sent %q", sent.Bytes())
	}
}

func TestTapRefusesNonsense(t *testing.T) {
	tests := map[string]struct {
		server []byte
		want   error
	}{
		"text":                {[]byte("Welcome to the server\r\n"), errNotSFTP},
		"short text":          {[]byte("Hello"), errNotSFTP},
		"another first":       {packet(fxpStatus, 3, nil), errNotSFTP},
		"too long":            {slices.Concat(version, []byte{0xff, 0, 0, 0, fxpData, 0, 0, 0, 0}), errMalformed},
		"too short":           {slices.Concat(version, []byte{0, 0, 0, 4, fxpData, 0, 0, 0, 0}), errMalformed},
		"answer to nothing":   {slices.Concat(version, packet(fxpData, ownIDs|9, nil)), errMalformed},
		"more than asked for": {slices.Concat(version, packet(fxpData, ownIDs, request(nil).string("12345"))), errMalformed},
		"data beyond itself":  {slices.Concat(version, packet(fxpData, ownIDs, []byte{0, 0, 0, 4, 1, 2, 3})), errMalformed},
		"status without code": {slices.Concat(version, packet(fxpStatus, ownIDs, []byte{0})), errMalformed},
		"twice":               {slices.Concat(version, packet(fxpStatus, ownIDs, statusBody(0, "")), packet(fxpStatus, ownIDs, statusBody(0, ""))), errMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tap, _ := tapOn(tt.server)
			r := tap.start(newRequest(fxpRead), always(make([]byte, 4)))
			if _, err := drain(tap); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			<-r.done // whoever waits is told
			if tap.failed() == nil {
				t.Error("the channel is still thought to be usable")
			}
		})
	}
}

// FuzzTap holds that no server can make the tap panic, hang, or write beyond
// what was asked for, and that everybody who waits is told.
func FuzzTap(f *testing.F) {
	f.Add(slices.Concat(version, packet(fxpData, ownIDs, request(nil).string("abc")), packet(fxpStatus, 1, statusBody(3, "x"))))
	f.Add(slices.Concat(version, packet(fxpName, ownIDs|1, request(nil).uint32(1).string("a").string("b").uint32(0))))
	f.Add([]byte("Hello"))
	f.Add(slices.Concat(version, packet(fxpAttrs, ownIDs|1, request(nil).uint32(attrExtended).uint32(1<<31))))
	f.Fuzz(func(t *testing.T, server []byte) {
		tap, _ := tapOn(server)
		guard := make([]byte, 16)
		read, name := tap.start(newRequest(fxpRead), always(guard[4:12:12])), tap.start(newRequest(fxpReaddir), nil)
		_, err := drain(tap)
		if err == nil {
			t.Fatal("no end")
		}
		for _, r := range []*reply{read, name} {
			select {
			case <-r.done:
			default:
				t.Fatal("nobody told a waiting request")
			}
		}
		if !bytes.Equal(guard[:4], make([]byte, 4)) || !bytes.Equal(guard[12:], make([]byte, 4)) {
			t.Error("written beyond the buffer")
		}
		if read.is(fxpData) == nil && read.n > 8 {
			t.Errorf("%d bytes into 8", read.n)
		}
		if name.is(fxpName) == nil {
			_ = entries(&name.fields, func(transfer.Info) error { return nil })
		}
		if name.is(fxpAttrs) == nil {
			_ = name.fields.attrs()
		}
	})
}

// TestEntries: names are handed over as they are, or marked as bad; none is
// changed, dropped or believed to lie elsewhere.
func TestEntries(t *testing.T) {
	entry := func(r request, name, longname string, attrs ...uint32) request {
		r = r.string(name).string(longname)
		for _, a := range attrs {
			r = r.uint32(a)
		}
		return r
	}
	r := request(nil).uint32(9)
	r = entry(r, ".", "", 0)
	r = entry(r, "..", "", 0)
	r = entry(r, "../../etc/passwd", "", 0)
	r = entry(r, "a/b", "", 0)
	r = entry(r, "line\nbreak", "", 0)
	r = entry(r, "plain", "-rw-r--r--    1 acme     users           5 Nov 22 12:00 plain", attrSize|attrOwner|attrMode|attrTime, 0, 5, 7, 8, 0o100644, 1, 1_700_000_000)
	r = entry(r, "dir", "drwxr-xr-x    1 acme     users           5 Nov 22 12:00 dir", 0)
	r = entry(r, "numbers", "", attrOwner, 7, 8)
	r = entry(r, "\xff", "", 0)

	var got []transfer.Info
	if err := entries(&fields{b: r}, func(i transfer.Info) error { got = append(got, i); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 7 {
		t.Fatalf("%d entries: %v", len(got), got)
	}
	for i, name := range []string{"../../etc/passwd", "a/b", "line\nbreak"} {
		if got[i].Name != name || !errors.Is(got[i].Bad, transfer.ErrBadName) {
			t.Errorf("%q, bad: %v", got[i].Name, got[i].Bad)
		}
	}
	if p := got[3]; p.Bad != nil || p.Size != 5 || p.Owner != "acme" || p.Group != "users" || !p.HasPerm || p.Mode != 0o644 || p.ModTime.Unix() != 1_700_000_000 {
		t.Errorf("%+v", p)
	}
	if d := got[4]; !d.IsDir() || d.HasPerm || d.Size != -1 || !d.ModTime.IsZero() {
		t.Errorf("%+v", d)
	}
	if n := got[5]; n.Owner != "7" || n.Group != "8" {
		t.Errorf("%+v", n)
	}
	if b := got[6]; b.Name != "\xff" || b.Bad != nil {
		t.Errorf("%+v", b)
	}
	if err := entries(&fields{b: r[:len(r)-3]}, func(transfer.Info) error { return nil }); err != errMalformed {
		t.Errorf("a cut packet: %v", err)
	}
}
