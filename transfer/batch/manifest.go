package batch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/xfer-cli/xfer/policy"
)

// Results is a file of results, one JSON object on a line, that only grows: a
// process that is killed loses at most the line that it was writing.
type Results struct {
	f    *os.File
	path string
}

// OpenResults opens the file for writing, after calling each with the lines that
// are there already. A last line without its end, which is what a kill leaves, is
// cut off; a line that can't be read is skipped.
func OpenResults(path string, each func(line []byte)) (*Results, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, policy.LocalFault("create", path, err)
	}
	whole, err := readLines(f, each)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		_ = f.Close() // the error that is returned says more
		return nil, policy.LocalFault("read", path, err)
	}
	return &Results{f, path}, nil
}

// readLines gives the length of the lines that are whole.
func readLines(r io.Reader, each func(line []byte)) (whole int64, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		whole += int64(len(line))
		each(bytes.TrimSuffix(line, []byte("\n")))
	}
}

// Add writes a result. When it returns the line is on the disk.
func (r *Results) Add(v any) error {
	line, err := json.Marshal(v)
	if err == nil {
		_, err = r.f.Write(append(line, '\n'))
	}
	if err == nil {
		err = r.f.Sync()
	}
	if err != nil {
		return policy.LocalFault("write", r.path, err)
	}
	return nil
}

// Close closes the file.
func (r *Results) Close() error {
	if err := r.f.Close(); err != nil {
		return policy.LocalFault("write", r.path, err)
	}
	return nil
}
