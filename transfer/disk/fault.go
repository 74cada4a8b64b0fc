package disk

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/xfer-cli/xfer/policy"
)

// What is found by looking, before the system is asked to do it.
var (
	errIsDir      error = syscall.EISDIR
	errNotDir     error = syscall.ENOTDIR
	errNotRegular       = errors.New("not an ordinary file")
	errGap              = errors.New("the file is shorter than the part that is to be there")
)

// fault describes what the file system refused; the code is the errno. Errors
// that mean one thing for a source and another for a target are told apart by op.
func fault(op, path string, err error) *policy.Fault {
	f := policy.LocalFault(op, path, err)
	f.Host = "this machine"
	errno, known := errors.AsType[syscall.Errno](err)
	if known {
		f.Code = int(errno)
	}
	target := op == "create" || op == "mkdir" || op == "rename"
	switch {
	case errors.Is(err, errNotRegular):
		f.Cause = policy.CauseNotRegular
	case errors.Is(err, errGap):
		f.Cause = policy.CauseResume
	case errno == syscall.EISDIR && target:
		f.Cause = policy.CauseLocalExists
	case errno == syscall.ENOTDIR && target:
		f.Cause = policy.CauseLocalParent
	case errno == syscall.ENOTDIR && op != "rmdir":
		f.Cause = policy.CauseLocalMissing
	case errno == syscall.ENAMETOOLONG:
		f.Cause = policy.CauseRemoteNameTooLong
	case op == "chtimes" && errors.Is(err, fs.ErrNotExist), op == "symlink" && errors.Is(err, fs.ErrNotExist):
		f.Cause = policy.CauseLocalMissing
	}
	return f
}
