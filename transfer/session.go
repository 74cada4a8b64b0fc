package transfer

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
)

// Session is one login on one server. All methods return errors that carry a
// *policy.Fault; none repeats anything, sleeps or chooses.
//
// Every method obeys its context: when it ends, the method returns soon after,
// and the session is then closed or usable, never confused. Every wait for the
// server has a limit (Timeouts).
//
// Paths are the server's, "/" separates; a relative path starts at the login
// directory. A path that ValidPath refuses never reaches the wire.
//
// A Session is used by one goroutine at a time unless Extras.Parallel is set.
type Session interface {
	// Stat describes the file, following symbolic links. A missing file is a
	// fault whose verdict has Kind policy.KindMissing.
	Stat(ctx context.Context, path string) (Info, error)
	// List calls each for every entry of the directory except "." and "..", in
	// the server's order, without collecting them, and stops at the first
	// error that each returns. Symbolic links are not followed. An entry that
	// can't be read, or whose name ValidName refuses, is handed over with
	// Info.Bad set; nothing is dropped in silence.
	List(ctx context.Context, dir string, each func(Info) error) error
	// Get copies the file from off to its end into dst and returns how many
	// bytes arrived without a gap from off on. What dst itself fails with comes
	// back as policy.LocalFault, also wrapped.
	Get(ctx context.Context, path string, off int64, dst Sink) (int64, error)
	// Put writes src from off to its end to the file and returns how many bytes
	// are known to be there without a gap from off on; FTP knows none until it
	// is done. With off 0 the file is created or emptied; with off > 0 what
	// lies beyond off is discarded. What src itself fails with comes back as
	// policy.LocalFault.
	Put(ctx context.Context, path string, off int64, src Source) (int64, error)
	// Rename renames; what happens to an existing target is up to the server.
	Rename(ctx context.Context, from, to string) error
	// Remove deletes a file, never a directory.
	Remove(ctx context.Context, path string) error
	// Mkdir makes one directory whose parent exists.
	Mkdir(ctx context.Context, path string) error
	// Rmdir removes an empty directory.
	Rmdir(ctx context.Context, path string) error
	// Extras is what this server, today, also does.
	Extras() Extras
	// Alive is false once the session can't be used any more.
	Alive() bool
	// Close ends the session politely if that is quick, abruptly if not. It may
	// be called more than once and at any time from any goroutine, also to cut
	// short a method that is waiting.
	Close() error
}

// Extras are abilities that are negotiated per server; a nil func is one that
// this server does not have. It is filled after login from FEAT or from the
// SFTP extensions, and a server that refuses one later makes it nil.
type Extras struct {
	// SetModTime sets the modification time of a file, in whole seconds.
	SetModTime func(ctx context.Context, path string, t time.Time) error
	// Chmod sets the permission bits.
	Chmod func(ctx context.Context, path string, mode fs.FileMode) error
	// Replace renames onto an existing file, atomically.
	Replace func(ctx context.Context, from, to string) error
	// Size is Stat for who wants to know only the size of a file, where Stat costs
	// more round trips; -1 when the server does not tell.
	Size func(ctx context.Context, path string) (int64, error)
	// Begin is Stat for who puts the file next, from its start where there is none:
	// the session may then have made it, which saves a round trip, and may tell of it
	// as of an empty one. mode is Source.Mode.
	Begin func(ctx context.Context, path string, mode fs.FileMode) (Info, error)
	// Lstat is Stat without following a symbolic link.
	Lstat func(ctx context.Context, path string) (Info, error)
	// Readlink and Symlink read and make symbolic links.
	Readlink func(ctx context.Context, path string) (string, error)
	Symlink  func(ctx context.Context, target, link string) error
	// Space says what is free on the file system that holds path.
	Space func(ctx context.Context, path string) (Space, error)
	// Realpath makes a path absolute as the server sees it.
	Realpath func(ctx context.Context, path string) (string, error)
	// Hash asks the server for a digest of the first n bytes of the file, of
	// all of it with n < 0. It fails where the server can't do it for this n.
	Hash func(ctx context.Context, path string, n int64) (Digest, error)
	// SwitchMode makes the next data connection use the other of passive and
	// active (FTP). It fails only when the session has to be dialled anew.
	SwitchMode func(ctx context.Context) error
	// Diagnose looks for the cause behind a bare code; need is how many bytes
	// were to be written, 0 if none.
	Diagnose func(ctx context.Context, f *policy.Fault, need int64) policy.Verdict
	// Facts is what this session learned about the server, for Memory.
	Facts func() Facts
	// Parallel: methods may be called from several goroutines at once.
	Parallel bool
	// Resume: Put and Get accept an offset.
	Resume bool
	// NoPutResume: only Get does.
	NoPutResume bool
	// Spread: a Put that broke off leaves no gap below the file's size minus
	// Spread, in bytes; 0 where bytes are written in order.
	Spread int64
	// PutVerifies: a Put that succeeds has asked the server for the file's
	// size after the last byte.
	PutVerifies bool
	// GetCompares: Get obeys Sink.Version.
	GetCompares bool
	// ReplacesOnRename: Rename onto an existing file is known to replace it.
	ReplacesOnRename bool
	// TimePrecision is the precision of Info.ModTime from Stat: 1 s, 1 min; 0 unknown.
	TimePrecision time.Duration
	// Software is what the server says it is, sanitised, "" if it does not say.
	Software string
}

// Space is what statvfs, AVBL or quota commands tell.
type Space struct {
	// Free and Total are in bytes; Free is what this user may still write. -1 unknown.
	Free, Total int64
	// FreeFiles is the number of files that can still be made, -1 unknown.
	FreeFiles int64
	ReadOnly  bool
	// FSID tells file systems apart, 0 unknown.
	FSID uint64
	// NameMax is the longest name in bytes, 0 unknown.
	NameMax int
}

// Info describes one file on a server.
type Info struct {
	// Name is the last element of the path, exactly as on the server.
	Name string
	// Size in bytes, -1 when the server does not tell.
	Size int64
	// ModTime is zero when the server does not tell; Precision is how exact it
	// is (1 s from MLSD, 1 min or 24 h from LIST), 0 when unknown.
	ModTime   time.Time
	Precision time.Duration
	// Mode holds the type and, if HasPerm, the permission bits.
	Mode    fs.FileMode
	HasPerm bool
	// Link is the target of a symbolic link, if the server told it.
	Link string
	// Owner and Group are names or numbers, "" when the server does not tell.
	Owner, Group string
	// Bad is set on a list entry that can't be used: its line can't be read
	// (then Name is the raw line) or its name is refused by ValidName.
	Bad error
}

// IsDir says whether it is a directory.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// IsRegular says whether it is an ordinary file.
func (i Info) IsRegular() bool { return i.Mode.IsRegular() }

// Source is what a Put reads.
type Source struct {
	// R gives the bytes. An *os.File or another io.ReaderAt is read at any
	// offset; anything else is a stream, read once from its start.
	R io.Reader
	// Size is the length of the whole content in bytes, -1 when unknown.
	Size int64
	// Mode are permission bits that a new file is to have from its first byte
	// on, where the server can do that; 0 leaves them to the server.
	Mode fs.FileMode
	// ModTime and Temporary tell what is asked next of a file that is complete:
	// its size, this time if it is not zero, a new name. An adapter may send that
	// together; it comes in its turn all the same, and may not come at all.
	ModTime   time.Time
	Temporary bool
	// Progress, if set, is called with the position in the file, in bytes, as
	// the transfer advances, from any goroutine but never from two at once.
	Progress func(pos int64)
	// Wait, if set, is called before each chunk of n bytes is moved and blocks
	// as long as a rate limit demands. Its error ends the transfer.
	Wait func(ctx context.Context, n int) error
}

// Sink is what a Get writes.
type Sink struct {
	// W takes the bytes in order. An *os.File is written at the offset of the
	// Get; anything else is appended to.
	W io.Writer
	// Size is the expected length of the whole file in bytes, -1 when unknown.
	Size int64
	// Version, if not nil, has the ModTime that the file must have besides, as exact
	// as its Precision: with Extras.GetCompares a Get of any other ends with
	// policy.CauseRemoteChanged before anything is written. It takes over the time
	// as the server tells it now.
	Version *Info
	// Progress and Wait are as in Source.
	Progress func(pos int64)
	Wait     func(ctx context.Context, n int) error
}

// Takes says whether a file is the Version, as the server describes it now.
func (s Sink) Takes(now Info) bool {
	v := s.Version
	if v == nil {
		return true
	}
	exact := max(v.Precision, now.Precision, time.Second)
	d := now.ModTime.Sub(v.ModTime)
	if s.Size >= 0 && now.Size >= 0 && now.Size != s.Size || now.ModTime.IsZero() || d <= -exact || d >= exact {
		return false
	}
	v.ModTime, v.Precision = now.ModTime, now.Precision
	return true
}

// Timeouts limit every wait. The zero value of a field takes the default.
type Timeouts struct {
	// Connect: TCP and TLS or SSH handshake, each.
	Connect time.Duration
	// Reply: from a command to its reply, and for a data connection to open.
	Reply time.Duration
	// Idle: between two bytes of file data. A slow link that still moves is
	// never cut off.
	Idle time.Duration
	// Final: from the last byte of an upload to the confirming reply; servers
	// that scan or flush need long.
	Final time.Duration
}

// DefaultTimeout is the limit of a phase when the person says nothing, the
// final reply excepted, which gets four times as long.
const DefaultTimeout = 30 * time.Second

// WithTimeout gives the limits for one figure, the --timeout of the command line.
func WithTimeout(d time.Duration) Timeouts {
	if d <= 0 {
		d = DefaultTimeout
	}
	return Timeouts{Connect: d, Reply: d, Idle: d, Final: 4 * d}
}

// Mode is which side opens the FTP data connection.
type Mode uint8

// The modes: which is tried first, and whether the other may follow.
const (
	ModeAuto Mode = iota // passive first, active where the server can reach us
	ModePassive
	ModeActive
	ModePassiveOnly
	ModeActiveOnly
)

var modeNames = [...]string{"auto", "passive", "active", "passive-only", "active-only"}

func (m Mode) String() string { return modeNames[m] }

// MarshalText and UnmarshalText use the names of --mode.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a name; the error lists what it can be.
func (m *Mode) UnmarshalText(text []byte) error {
	i := slices.Index(modeNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(modeNames[:], ", "))
	}
	*m = Mode(i)
	return nil
}

// Fact is one thing learned about a host.
type Fact struct {
	Value  string    // "active", "refused", "2"
	Reason string    // "passive: 425 Can't open data connection"
	At     time.Time // when it was learned
}

// Facts are what is known about a host, by name: "mode", "epsv", "tls-version",
// "no:MLSD", "max-connections".
type Facts map[string]Fact

// FactLifetime is how long a fact is believed.
const FactLifetime = 7 * 24 * time.Hour

// Memory keeps facts between runs. host is "scheme://host:port".
type Memory interface {
	Recall(ctx context.Context, host string) (Facts, error)
	Learn(ctx context.Context, host string, learned Facts) error
}
