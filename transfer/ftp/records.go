package ftp

import (
	"bufio"
	"io"
)

// records is what TLS on a data connection reads from and writes to. crypto/tls
// makes a system call for each record, 65,536 of them in 1 GiB; here they pass in
// blocks. It is used by one goroutine at a time.
type records struct {
	*stream
	in *bufio.Reader
	// out are the records of a block, held back while hold is set.
	out  []byte
	hold bool
}

func newRecords(s *stream) *records {
	return &records{stream: s, in: bufio.NewReaderSize(s, block)}
}

func (r *records) Read(b []byte) (int, error) { return r.in.Read(b) }

func (r *records) Write(b []byte) (int, error) {
	if !r.hold {
		return r.stream.Write(b)
	}
	r.out = append(r.out, b...)
	return len(b), nil
}

// write sends a block over c, which is TLS on r. After an error none of it counts.
func (r *records) write(c io.Writer, b []byte) (int, error) {
	r.hold, r.out = true, r.out[:0]
	_, err := c.Write(b)
	r.hold = false
	if err == nil {
		_, err = r.stream.Write(r.out)
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}
