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

// Direction says which end is the server.
type Direction uint8

// The directions.
const (
	Put Direction = iota
	Get
)

func (d Direction) String() string { return [...]string{"put", "get"}[d] }

// OnExists says what to do when the target exists.
type OnExists uint8

// The choices, as --on-exists names them.
const (
	Replace  OnExists = iota // the default of cp, scp and curl
	Skip                     // leave it, and count the file as done
	Fail                     // leave it, and fail
	KeepBoth                 // "rename": put the new one beside it as name.1.ext
	Newer                    // replace it only when the source is newer
)

var onExistsNames = [...]string{"replace", "skip", "fail", "rename", "newer"}

func (e OnExists) String() string { return onExistsNames[e] }

// MarshalText and UnmarshalText use the names of --on-exists.
func (e OnExists) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name; the error lists what it can be.
func (e *OnExists) UnmarshalText(text []byte) error {
	i := slices.Index(onExistsNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(onExistsNames[:], ", "))
	}
	*e = OnExists(i)
	return nil
}

// Job is the transfer of one file.
type Job struct {
	Direction Direction
	// Local is the local path. With In or Out set it only names the stream.
	Local string
	// In replaces the local file of a Put by a stream. It is read once: after
	// the first byte the transfer can't be repeated.
	In io.Reader
	// Out replaces the local file of a Get by a stream.
	Out io.Writer
	// Remote is the server's path of the file.
	Remote   string
	OnExists OnExists
	// Listed is what the server said of the file of a Get a while ago, in a listing:
	// with Extras.GetCompares it is not asked again, unless the file has changed
	// since, or the listing does not tell enough (isExact). nil if it said nothing.
	Listed *Info
	// InPlace writes the target itself instead of a temporary file beside it; for
	// servers that know no rename, and for local files that can't be replaced, as
	// mount points can't. A failure then leaves a partial target.
	InPlace bool
	// NoResume starts from zero even if a part of the file is there already.
	NoResume bool
	// Verify is how the copy is compared with its source.
	Verify Verify
	// KeepMode gives the copy the permission bits of the source, Mode those that
	// it says; 0 leaves them to the target's system.
	KeepMode bool
	Mode     fs.FileMode
	// NoTimes leaves the modification time as the target's system sets it.
	NoTimes bool
	// Lock, if set, keeps other processes of this machine off the file while
	// it is transferred. It fails with a fault of policy.CauseLocalLocked.
	Lock func(key string) (release func(), err error)
	// Hash asks for Result.SHA256. A stream and a relay are hashed as they pass; a
	// file is read a second time, from the cache of the system for the most part:
	// an upload's while it is sent, a download's before it gets its name.
	Hash bool
	// Publishing, if set, is called when the file is complete and verified under
	// its temporary name, before it gets its final one. From then on a missing
	// temporary file means that it was published. Its error ends the transfer.
	Publishing func(context.Context, Publication) error
}

// Publication is a file that is about to get its final name.
type Publication struct {
	// Temp and Final are the names: of the server, for a Get local paths.
	Temp, Final string
	// SHA256 is that of the Result.
	SHA256 string
}

// publishing calls the hook, if there is one.
func (j Job) publishing(ctx context.Context, p Publication) error {
	if j.Publishing == nil {
		return nil
	}
	return j.Publishing(ctx, p)
}

// modeOf is the mode that the copy is to have, 0 for none in particular; source
// is that of the source, if it is known.
func (j Job) modeOf(source fs.FileMode, known bool) fs.FileMode {
	if j.Mode == 0 && j.KeepMode && known {
		return source
	}
	return j.Mode
}

// Name is how the person knows the job: "put report.csv".
func (j Job) Name() string {
	what := j.Local
	if j.Direction == Get {
		what = j.Remote
	}
	_, name := Split(what)
	return fmt.Sprintf("%s %s", j.Direction, policy.Sanitize(name))
}

// lock takes the job's lock, if there is one.
func (j Job) lock(key string) (release func(), err error) {
	if j.Lock == nil {
		return func() {}, nil
	}
	return j.Lock(key)
}

// Observer is told how a transfer goes. Nil funcs are not called.
type Observer struct {
	// Size is called when the size of the file is known, in bytes.
	Size func(total int64)
	// Progress is called with the position in the file, in bytes; the first
	// call says where the transfer begins.
	Progress func(pos int64)
	// Event is called for every fault and what is done about it.
	Event func(policy.Event)
}

func (o Observer) size(n int64) {
	if o.Size != nil && n >= 0 {
		o.Size(n)
	}
}

func (o Observer) progress(pos int64) {
	if o.Progress != nil {
		o.Progress(pos)
	}
}

// Result is what a transfer did.
type Result struct {
	// Remote is the path that holds the file; it differs from the job's with KeepBoth.
	Remote string
	// Local is the same for a Get.
	Local string
	// Size is the length of the file; Sent is what went over the wire in this
	// run; Resumed is where its last try began. All in bytes.
	Size, Sent, Resumed int64
	// Tries is how often the data transfer was started.
	Tries   int
	Elapsed time.Duration
	// Verified is the algorithm by which the content was found the same, "" if
	// only the size was compared.
	Verified string
	// SHA256 of the content, hexadecimal; "" without Job.Hash, and for a relay that
	// continued what an earlier run began.
	SHA256 string
	// Skipped says why nothing was transferred, "" if something was.
	Skipped string
	// Warnings are what did not work and did no harm.
	Warnings []string
}
