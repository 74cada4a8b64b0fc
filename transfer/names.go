package transfer

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/xfer-cli/xfer/policy"
)

// ValidPath refuses what must never reach the wire: CR, LF and NUL, which end or
// split a command (RFC 959 §5.3.1; vsftpd 3.0.3 turns NUL into LF), and the
// empty path.
func ValidPath(p string) error {
	if p == "" {
		return &policy.Fault{Protocol: policy.Local, Op: "path", Cause: policy.CauseBadName, Text: "empty path"}
	}
	if i := strings.IndexAny(p, "\r\n\x00"); i >= 0 {
		return &policy.Fault{
			Protocol: policy.Local, Op: "path", Path: p, Cause: policy.CauseBadName,
			Text: fmt.Sprintf("path contains %s", controlNames[p[i]]),
		}
	}
	return nil
}

var controlNames = map[byte]string{'\r': "a carriage return", '\n': "a line feed", 0: "a NUL byte"}

// ErrBadName is wrapped by the errors of ValidName.
var ErrBadName = errors.New("name refused")

// ValidName refuses names from a listing that could leave the directory they
// are listed in, or that no command could carry: "", ".", "..", and any with
// "/", NUL, CR or LF.
func ValidName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%w: %q", ErrBadName, name)
	case strings.ContainsAny(name, "/\r\n\x00"):
		return fmt.Errorf("%w: %q", ErrBadName, name)
	}
	return nil
}

// Localize makes rel, a path below a directory, one of this system. It fails with
// policy.CauseLocalName where this system can't hold the name, or where the path
// would leave the directory.
func Localize(op, rel string) (string, error) {
	local, err := filepath.Localize(rel)
	if err != nil && runtime.GOOS != "windows" {
		// It refuses names that are not UTF-8, which the file systems of Unix hold.
		if _, err = filepath.Localize(strings.ToValidUTF8(rel, "?")); err == nil {
			local = rel
		}
	}
	if err != nil {
		return "", &policy.Fault{
			Protocol: policy.Local, Phase: policy.Command, Op: op, Path: rel,
			Cause: policy.CauseLocalName, Text: "this system can't hold the name", Err: err,
		}
	}
	return local, nil
}

// Join puts a name below a directory of a server. It does not clean: servers
// differ in what "//" and ".." mean.
func Join(dir, name string) string {
	switch {
	case dir == "" || dir == ".":
		return name
	case strings.HasSuffix(dir, "/"):
		return dir + name
	default:
		return dir + "/" + name
	}
}

// Split is the inverse of Join: the parent directory ("." for a bare name, "/"
// at the root) and the last element.
func Split(p string) (dir, name string) {
	p = strings.TrimRight(p, "/")
	i := strings.LastIndexByte(p, '/')
	switch {
	case i < 0:
		return ".", p
	case i == 0:
		return "/", p[1:]
	default:
		return p[:i], p[i+1:]
	}
}
