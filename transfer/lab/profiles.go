package lab

import (
	"maps"
	"slices"
	"time"
)

// profiles are SFTP servers of the world. Each is only what is documented or was
// measured; what is not known is as in OpenSSH.
var profiles = map[string]Quirks{
	"openssh": {},

	// OpenSSH's sftp-server -R.
	"openssh-readonly": {ReadOnly: true},

	// OpenSSH for Windows: drive letters behind a slash, and the names that
	// Windows does not take.
	"openssh-windows": {Software: "OpenSSH_for_Windows_8.1", Drive: "C:", BadNames: `<>:"|?*`},

	// Servers built on github.com/pkg/sftp: no limits, READ answers up to 32
	// KiB unless asked for more, the words of the operating system, and RENAME
	// replaces.
	"pkg-sftp": {
		Software:        "Go",
		Extensions:      []string{"hardlink@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com"},
		MaxRead:         32 << 10,
		ReplaceOnRename: true,
		ErrnoText:       true,
	},

	// AWS Transfer Family on S3: version 3, ten sessions, no SETSTAT unless
	// SetStatOption is ENABLE_NO_OP, and an object can't be changed once it is
	// there (user guide, "transfer-file" and "ProtocolDetails").
	"aws-transfer": {
		Software:   "AWS_SFTP_1.1",
		Extensions: []string{},
		Refuse: map[string]uint32{
			"SETSTAT": fxOpUnsupported, "FSETSTAT": fxOpUnsupported,
			"SYMLINK": fxOpUnsupported, "READLINK": fxOpUnsupported,
			"OPEN+APPEND": fxOpUnsupported, "OPEN+READ+WRITE": fxOpUnsupported, "OPEN+EXISTING": fxOpUnsupported,
		},
	},

	// Azure Blob Storage: no links, no df, no READ with WRITE, no APPEND, no
	// resumed upload, no chmod, and none of fsync, limits, lsetstat, statvfs
	// (learn.microsoft.com, "secure-file-transfer-protocol-known-issues").
	"azure": {
		Software:   "AzureSSH_1.0.0",
		Extensions: []string{"posix-rename@openssh.com"},
		Refuse: map[string]uint32{
			"SETSTAT": fxOpUnsupported, "FSETSTAT": fxOpUnsupported,
			"SYMLINK": fxOpUnsupported, "READLINK": fxOpUnsupported,
			"OPEN+APPEND": fxOpUnsupported, "OPEN+READ+WRITE": fxOpUnsupported, "OPEN+EXISTING": fxOpUnsupported,
		},
	},

	// SFTPGo: built on a fork of github.com/pkg/sftp, with fewer extensions; a
	// rename replaces, and the causes of a failure are in its own log only.
	"sftpgo": {
		Software:        "SFTPGo_2.6.6",
		Extensions:      []string{"posix-rename@openssh.com", "statvfs@openssh.com"},
		MaxRead:         32 << 10,
		ReplaceOnRename: true,
	},

	// Serv-U: a Windows server behind Unix-like paths, version 3 without
	// OpenSSH's extensions, no links, and the names that Windows does not take.
	// The banner was seen; the rest is what its manual leaves out.
	"serv-u": {
		Software:   "Serv-U_15.2.3.717",
		Extensions: []string{},
		MaxRead:    32 << 10, MaxWrite: 32 << 10,
		BadNames: `<>:"|?*`,
		Refuse:   map[string]uint32{"SYMLINK": fxOpUnsupported, "READLINK": fxOpUnsupported},
	},

	// GoAnywhere MFT: a gateway in Java. Its triggers run at CLOSE, which takes
	// its time; a login has few channels, and modes are not its business.
	// The banner was seen; the rest is typical of its kind.
	"goanywhere": {
		Software:    "GoAnywhere7.10.2",
		Extensions:  []string{"posix-rename@openssh.com"},
		MaxRead:     32 << 10,
		MaxSessions: 2,
		SlowClose:   5 * time.Millisecond,
		Refuse:      map[string]uint32{"SETSTAT+MODE": fxFailure, "SYMLINK": fxOpUnsupported, "READLINK": fxOpUnsupported},
	},

	// Servers for Windows in the style of IIS: drive letters, version 3 without
	// extensions, 4 for everything that is not missing, no rename onto a file.
	"iis-style": {
		Software:   "WinSSHD",
		Extensions: []string{},
		MaxRead:    32 << 10, MaxWrite: 32 << 10,
		Drive: "C:", BadNames: `<>:"|?*`,
		Refuse: map[string]uint32{"SETSTAT+MODE": fxFailure, "SYMLINK": fxOpUnsupported, "READLINK": fxOpUnsupported},
		Codes:  map[uint32]uint32{fxPermissionDenied: fxFailure, fxBadMessage: fxFailure},
	},

	// Not one product, but the worst of several: nothing beyond version 3, one
	// channel, small packets, 4 for everything, slow to close.
	"minimal-v3": {
		Software:    "lab_minimal",
		Extensions:  []string{},
		MaxPacket:   34 << 10,
		MaxRead:     32 << 10,
		MaxWrite:    32 << 10,
		MaxSessions: 1,
		Refuse:      map[string]uint32{"SETSTAT": fxFailure, "FSETSTAT": fxFailure, "SYMLINK": fxOpUnsupported, "READLINK": fxOpUnsupported},
		Codes:       map[uint32]uint32{fxNoSuchFile: fxFailure, fxPermissionDenied: fxFailure, fxBadMessage: fxFailure},
	},
}

// Profile gives the quirks of a kind of server; ok is false for an unknown name.
func Profile(name string) (q Quirks, ok bool) {
	q, ok = profiles[name]
	return q, ok
}

// Profiles are the names for Profile, sorted.
func Profiles() []string { return slices.Sorted(maps.Keys(profiles)) }
