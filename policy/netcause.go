package policy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
)

// NetCause names a failure of the network or of TLS from the type of the error,
// never from its text. It returns "" for an error that is neither.
func NetCause(err error) Cause {
	if err == nil {
		return ""
	}
	if c := tlsCause(err); c != "" {
		return c
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return CauseHostNotFound
		}
		return CauseDNS
	}
	switch {
	case isErrno(err, errnoRefused):
		return CauseRefused
	case isErrno(err, errnoReset), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return CauseReset
	case isErrno(err, errnoUnreachable):
		return CauseUnreachable
	case isErrno(err, errnoTimeout), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return CauseTimeout
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return CauseTimeout
	}
	return ""
}

func tlsCause(err error) Cause {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return CauseCertName
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return CauseCertExpired
		}
		return CauseCertUntrusted
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return CauseCertUntrusted
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return CauseCertUntrusted
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return CauseNotTLS
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return CauseTLS
	}
	return ""
}

// localCause names a failure of this machine's file system.
func localCause(op string, err error) Cause {
	switch {
	case errors.Is(err, context.Canceled):
		return CauseCancelled
	case errors.Is(err, context.DeadlineExceeded):
		return CauseDeadline
	case isErrno(err, errnoSpace):
		return CauseLocalSpace
	case isErrno(err, errnoDirectory):
		return CauseLocalDirectory
	case isErrno(err, errnoName):
		return CauseLocalName
	case errors.Is(err, fs.ErrNotExist):
		if op == "create" || op == "mkdir" || op == "rename" {
			return CauseLocalParent
		}
		return CauseLocalMissing
	case errors.Is(err, fs.ErrPermission):
		return CauseLocalPermission
	case errors.Is(err, fs.ErrExist):
		return CauseLocalExists
	default:
		return CauseLocalIO
	}
}

// isErrno is errors.Is for any of several errno values. It exists because on
// Windows the values of package syscall are inventions; errno_windows.go holds
// those that the system returns.
func isErrno(err error, set []syscall.Errno) bool {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return false
	}
	return slices.Contains(set, errno)
}
