//go:build unix

package policy

import "syscall"

var (
	errnoRefused     = []syscall.Errno{syscall.ECONNREFUSED}
	errnoReset       = []syscall.Errno{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENOTCONN, syscall.ESHUTDOWN}
	errnoUnreachable = []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EADDRNOTAVAIL}
	errnoTimeout     = []syscall.Errno{syscall.ETIMEDOUT}
	errnoSpace       = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}
	errnoDirectory   = []syscall.Errno{syscall.EISDIR, syscall.ENOTDIR}
	errnoName        = []syscall.Errno{syscall.ENAMETOOLONG, syscall.EILSEQ, syscall.EINVAL}
)
