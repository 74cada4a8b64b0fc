package policy

// Cause names a failure that comes without a protocol code, or for which the
// code is too coarse. It is the id of a catalogue row.
type Cause string

// Of the network. The adapters get them from NetCause.
const (
	CauseRefused      Cause = "net-refused"     // ECONNREFUSED
	CauseReset        Cause = "net-reset"       // ECONNRESET, EPIPE, EOF in mid-conversation
	CauseTimeout      Cause = "net-timeout"     // no TCP connection, or no bytes, within the limit
	CauseUnreachable  Cause = "net-unreachable" // EHOSTUNREACH, ENETUNREACH
	CauseHostNotFound Cause = "net-host-not-found"
	CauseDNS          Cause = "net-dns-temporary"
	CauseProxy        Cause = "net-proxy"       // a SOCKS5 or HTTP proxy refused
	CauseProxyLogin   Cause = "net-proxy-login" // it wants a login, or refuses ours
	CauseNoReply      Cause = "net-no-reply"
)

// Of the FTP data connection.
const (
	// CauseDataConnect: the data connection could not be opened, in the mode
	// used, and the server did not say why.
	CauseDataConnect Cause = "ftp-data-connect"
	// CauseDataTLS: the data connection was up and then refused; servers that
	// demand TLS session resumption do that (425 or 522 after a 1xx).
	CauseDataTLS Cause = "ftp-data-tls-session"
	// CauseNoRest: the server can't resume (REST refused).
	CauseNoRest Cause = "ftp-no-rest"
	// CauseDesync: a reply that fits no request.
	CauseDesync Cause = "ftp-desync"
	// CauseClearText: the site demands TLS and the server offers none.
	CauseClearText Cause = "ftp-clear-text"
	// CauseSyntax: a reply or a listing that can't be read.
	CauseSyntax Cause = "protocol-syntax"
)

// Of TLS.
const (
	CauseCertUntrusted Cause = "tls-untrusted"
	CauseCertExpired   Cause = "tls-expired"
	CauseCertName      Cause = "tls-wrong-name"
	CauseCertPin       Cause = "tls-pin"
	CauseTLS           Cause = "tls-handshake"      // no common version or cipher, an alert
	CauseClientCert    Cause = "client-certificate" // an alert: none was shown, or not the right one
	CauseNotTLS        Cause = "tls-not-tls"        // the server does not speak TLS on this port
)

// Of SSH.
const (
	CauseHostKeyUnknown Cause = "ssh-host-key-unknown"
	CauseHostKeyChanged Cause = "ssh-host-key-changed"
	CauseHostKeyRevoked Cause = "ssh-host-key-revoked"
	CauseAlgorithms     Cause = "ssh-algorithms" // no algorithm in common
	CauseSSHAuth        Cause = "ssh-auth"       // every method and key was refused
	CauseTooManyKeys    Cause = "ssh-too-many-keys"
	CausePassphrase     Cause = "ssh-passphrase" // the key is encrypted and no passphrase fits
	CauseKeyFile        Cause = "ssh-key-file"   // unreadable or no key
	CauseStartups       Cause = "ssh-startups"   // dropped before the banner: MaxStartups
	CauseChannel        Cause = "ssh-channel"    // MaxSessions
	CauseNoSubsystem    Cause = "ssh-no-sftp"    // no sftp subsystem, or the shell prints text
	CauseNotSSH         Cause = "ssh-not-ssh"
	CauseKnownHosts     Cause = "ssh-known-hosts" // the file can't be read
)

// Of this machine, and of the content.
const (
	CauseLocalMissing    Cause = "local-missing"
	CauseLocalParent     Cause = "local-parent-missing" // the target's directory is missing
	CauseLocalPermission Cause = "local-permission"
	CauseLocalSpace      Cause = "local-space"
	CauseLocalDirectory  Cause = "local-directory" // a file was expected
	CauseLocalExists     Cause = "local-exists"
	CauseLocalName       Cause = "local-name" // not a name this file system can hold
	CauseLocalIO         Cause = "local-io"
	CauseNotRegular      Cause = "not-a-regular-file"
	CauseLinkNotCopied   Cause = "link-not-copied" // a symbolic link, to a directory or elsewhere
	CauseLocalChanged    Cause = "local-changed"   // the source changed while it was read
	CauseLocalStream     Cause = "local-stream"    // a stream can't be read twice
	CauseLocalLocked     Cause = "local-locked"    // another xfer works on this file
	CauseBadName         Cause = "name-refused"    // CR, LF, NUL, "/" or ".." in a name
	CauseRemoteChanged   Cause = "remote-changed"  // the source changed while it was read
	CauseSize            Cause = "content-size"
	CauseHash            Cause = "content-hash"
	CauseNoHash          Cause = "no-server-hash"  // a checksum is demanded and the server has none
	CauseResume          Cause = "resume-mismatch" // the part that is there is not the start of this file
	CauseConfig          Cause = "configuration"   // an option that can't be used
	CauseNoSecret        Cause = "no-secret"       // a password is needed and there is none
	// CauseCredentialClosed: the server refused this very credential before.
	CauseCredentialClosed Cause = "credential-closed"
	CauseBudget           Cause = "connection-budget"    // this run has all connections to the host that there may be
	CauseLedgerBroken     Cause = "ledger-broken"        // not a ledger, or damaged
	CauseLedgerNewer      Cause = "ledger-newer"         // written by a later version of xfer
	CauseSyncIncomplete   Cause = "sync-incomplete"      // nothing is deleted after a listing that failed
	CauseSyncTooMany      Cause = "sync-too-many"        // more would be deleted than is allowed
	CauseOverlap          Cause = "same-directory"       // source and target are one, or one is inside the other
	CauseSameName         Cause = "same-name"            // two sources of one command have one target
	CauseCaseOnly         Cause = "name-differs-in-case" // the target has a file that it takes for this one
	CauseUnsettled        Cause = "delivery-unsettled"   // it may have arrived, or not
	CauseExpected         Cause = "file-missing"         // a job's files did not come in time
	CauseNoTime           Cause = "no-time"              // the transfer would not be over when its time is
	CauseHookRefused      Cause = "hook-refused"         // a webhook says no for good
	CauseHookBusy         Cause = "hook-busy"            // a webhook can't take it now
	CauseHookFailed       Cause = "hook-failed"          // a command that was to be told failed
	CauseCancelled        Cause = "cancelled"
	CauseDeadline         Cause = "deadline"
)

// What a diagnosis finds on the server behind a bare 550, 553, 4 or 5.
const (
	CauseRemoteMissing       Cause = "remote-missing"
	CauseRemoteParentMissing Cause = "remote-parent-missing"
	CauseRemoteExists        Cause = "remote-exists"
	CauseRemoteDirectory     Cause = "remote-is-directory"
	CauseRemoteNotDirectory  Cause = "remote-not-directory"
	CauseRemoteNotEmpty      Cause = "remote-not-empty"
	CauseRemotePermission    Cause = "remote-permission"
	CauseRemoteReadOnly      Cause = "remote-read-only"
	CauseRemoteSpace         Cause = "remote-space"
	CauseRemoteInodes        Cause = "remote-inodes"
	CauseRemoteQuota         Cause = "remote-quota"
	CauseRemoteSpaceOrQuota  Cause = "remote-space-or-quota" // where the server can't be asked which
	CauseRemoteCrossDevice   Cause = "remote-cross-device"
	CauseRemoteNameTooLong   Cause = "remote-name-too-long"
	CauseRemoteName          Cause = "remote-name"
	CauseRemoteHandles       Cause = "remote-handles"
	CauseRemoteBusy          Cause = "remote-busy"
	CauseRemoteLoop          Cause = "remote-link-loop"
	CauseRemotePolicy        Cause = "remote-policy"
	CauseRemoteUnknown       Cause = "remote-unknown"
	CauseNotOffered          Cause = "not-offered" // the server has no such ability
	CauseTaken               Cause = "taken-away"  // before it had its final name
)
