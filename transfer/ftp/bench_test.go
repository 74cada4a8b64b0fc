package ftp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// BenchmarkCommand is a command of the library through the interposer to a
// server that answers at once, and the reply back.
func BenchmarkCommand(b *testing.B) {
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		commands := bufio.NewScanner(there)
		for commands.Scan() {
			if _, err := io.WriteString(there, "250 Requested file action okay, completed.\r\n"); err != nil {
				return
			}
		}
	}()
	x := &interposer{
		o: &Options{Address: "127.0.0.1:21"}, modes: &modes{}, able: newAbilities(nil),
		w: newWire(here, here, time.Minute, slog.New(slog.DiscardHandler)),
	}
	command, answer := []byte("DELE in/report-0000001.csv\r\n"), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		x.begin(b.Context(), "DELE", "in/report-0000001.csv", "in/report-0000001.csv")
		if _, err := x.Write(command); err != nil {
			b.Fatal(err)
		}
		n, err := x.Read(answer)
		if err != nil || !bytes.HasPrefix(answer[:n], []byte("250 ")) {
			b.Fatalf("%q, %v", answer[:n], err)
		}
	}
}

// BenchmarkReadReply is the answer to FEAT, the longest of a session.
func BenchmarkReadReply(b *testing.B) {
	feat := "211-Features:\r\n" + strings.Repeat(" MLST type*;size*;modify*;\r\n", 12) + "211 End\r\n"
	b.SetBytes(int64(len(feat)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := read(feat); err != nil || r.code != 211 {
			b.Fatal(r, err)
		}
	}
}

// BenchmarkLines is a listing of 1000 lines on its way to the parser, the
// interposer's part of List.
func BenchmarkLines(b *testing.B) {
	var listing bytes.Buffer
	for i := range 1000 {
		fmt.Fprintf(&listing, "-rw-r--r--    1 1001     65534        4096 Nov 22 16:10 report-%07d.csv\r\n", i)
	}
	b.SetBytes(int64(listing.Len()))
	b.ReportAllocs()
	for b.Loop() {
		lines := 0
		err := eachLine(bytes.NewReader(listing.Bytes()), func(string, error) error { lines++; return nil })
		if err != nil || lines != 1000 {
			b.Fatal(lines, err)
		}
	}
}
