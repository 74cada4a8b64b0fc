package policy

import (
	"errors"
	"fmt"
	"strings"
)

// Protocol names the layer whose words a Fault carries.
type Protocol uint8

// The layers, from the machine xfer runs on outwards.
const (
	Local Protocol = iota
	Net
	TLS
	SSH
	FTP
	SFTP
)

var protocolNames = [...]string{"local", "net", "tls", "ssh", "ftp", "sftp"}

func (p Protocol) String() string { return nameOf(protocolNames[:], int(p)) }

// Phase says how far the operation had come. It decides what a missing reply
// means: before the data nothing has happened yet, after it everything may have.
type Phase uint8

// The phases. Command is the zero value: a fault that names no phase must not be
// taken for one of the connection, which all other files would meet too.
const (
	// Command: a request and its reply, no file data involved.
	Command Phase = iota
	// Connect: TCP, proxy, greeting, TLS or SSH handshake, host key.
	Connect
	// Auth: USER, PASS, ACCT, an SSH authentication method.
	Auth
	// Data: opening the data connection or moving file data.
	Data
	// Finish: every byte was sent, or a rename was asked for, and the reply
	// that confirms it is missing. What happened can only be seen by looking.
	Finish
)

var phaseNames = [...]string{"command", "connect", "auth", "data", "finish"}

func (p Phase) String() string { return nameOf(phaseNames[:], int(p)) }

// Fault is one failure as an adapter saw it: facts, no opinion.
// Classify turns it into a Verdict.
type Fault struct {
	Protocol Protocol
	Phase    Phase
	// Op is the wire verb that failed: "STOR", "RNTO", "dial" for FTP;
	// "open", "write", "rename", "handshake" for SFTP.
	Op string
	// Host, User and Path are what the verb was about, "" when it was about
	// none. Path is the server's path, or the local one when Protocol is Local.
	Host, User, Path string
	// Final is what Path is a temporary name for, "" if it is none. A person is
	// told of Final.
	Final string
	// Locate spells a path of this server as a command line argument:
	// "acme:in/a.csv", "sftp://acme@host:2222/in/a.csv". Next steps use it.
	// nil when nobody can be sent there.
	Locate func(path string) string
	// File is a local file that the person may have to change: known_hosts. ""
	// when there is none.
	File string
	// Code is the reply code (FTP 100–699) or the status code (SFTP 1–31);
	// 0 means that the peer said nothing.
	Code int
	// Cause names what no code names, "" when the code says it all.
	Cause Cause
	// Text is the peer's own words, passed through Sanitize.
	Text string
	// Err is the underlying error, kept for errors.Is and errors.As.
	Err error
}

// Error reads "op path: code text", with as much of it as there is.
func (f *Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.Op)
	if f.Path != "" {
		fmt.Fprintf(&b, " %s", Sanitize(f.Path))
	}
	b.WriteString(": ")
	b.WriteString(f.Said())
	return b.String()
}

// Said is what the peer, or the machine, said: "550 Permission denied",
// "4 Failure", "connection refused". It is safe to print.
func (f *Fault) Said() string {
	switch {
	case f.Code != 0 && f.Text != "":
		return fmt.Sprintf("%d %s", f.Code, f.Text)
	case f.Code != 0:
		return fmt.Sprintf("%d", f.Code)
	case f.Text != "":
		return f.Text
	case f.Cause != "":
		if r, ok := RowOf(string(f.Cause)); ok {
			return r.Name
		}
		return string(f.Cause)
	case f.Err != nil:
		return Sanitize(f.Err.Error())
	default:
		return "no reply"
	}
}

// Unwrap gives the underlying error.
func (f *Fault) Unwrap() error { return f.Err }

// FaultOf finds the Fault in err. An error that no adapter described becomes a
// Local one, so that nothing reaches the engine without a Fault.
func FaultOf(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return LocalFault("", "", err)
}

// LocalFault describes a failure of this machine: a file system, a pipe, the
// context. op is the verb and path the local path; the verbs "create", "mkdir" and
// "rename" are about a target, the others about a source.
func LocalFault(op, path string, err error) *Fault {
	if op == "" {
		op = "local"
	}
	return &Fault{
		Protocol: Local, Phase: Command, Op: op, Path: path,
		Cause: localCause(op, err), Text: Sanitize(rootText(err)), Err: err,
	}
}

// rootText is the innermost message: a *fs.PathError repeats the operation and
// the path that the Fault already has.
func rootText(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}
