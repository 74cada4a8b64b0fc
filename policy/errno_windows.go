package policy

import "syscall"

// The Winsock and Win32 codes (winerror.h); package syscall names few of them.
var (
	errnoRefused     = []syscall.Errno{10061}                                     // WSAECONNREFUSED
	errnoReset       = []syscall.Errno{10053, 10054, 10057, 10058, 109, 232, 233} // WSAECONNABORTED, WSAECONNRESET, WSAENOTCONN, WSAESHUTDOWN, broken pipes
	errnoUnreachable = []syscall.Errno{10049, 10050, 10051, 10064, 10065}         // WSAEADDRNOTAVAIL, WSAENETDOWN, WSAENETUNREACH, WSAEHOSTDOWN, WSAEHOSTUNREACH
	errnoTimeout     = []syscall.Errno{10060}                                     // WSAETIMEDOUT
	errnoSpace       = []syscall.Errno{39, 112, 1295}                             // ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL, ERROR_DISK_QUOTA_EXCEEDED
	errnoDirectory   = []syscall.Errno{267, syscall.Errno(syscall.EISDIR)}        // ERROR_DIRECTORY
	errnoName        = []syscall.Errno{123, 161, 206}                             // ERROR_INVALID_NAME, ERROR_BAD_PATHNAME, ERROR_FILENAME_EXCED_RANGE
)
