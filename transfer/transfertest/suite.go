package transfertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Fixture is a server and a way to log in to it.
type Fixture struct {
	// Dial logs in. It is called for every test; the suite closes the sessions.
	Dial func(context.Context) (transfer.Session, error)
	// Dir is the login directory as an absolute path of the server. The suite
	// makes a directory below it for each test and leaves it there.
	Dir string
	// Disk is Dir on this machine. With it the suite checks what is stored
	// without the session's help. "" for servers that keep no files here.
	Disk string
	// Make makes empty files in a directory of the server without a session.
	// It is needed where Disk is "".
	Make func(dir string, names []string) error
	// Pause freezes the server: connections stay open and nothing moves until
	// resume is called.
	Pause func() (resume func())
	// Can is what the server is expected to be able to do, no less and no more.
	Can Abilities
}

// Abilities is what a session on a server is expected to offer. A session that
// offers less fails, and so does one that offers more: then this has to be
// brought up to date.
type Abilities struct {
	// Protocol is that of the faults for which the server has a code.
	Protocol policy.Protocol
	// These are the Extras of the same name; Links stands for Lstat, Readlink
	// and Symlink.
	SetModTime, Chmod, Replace, Links, Space, Realpath, Parallel, Resume bool
	// TimePrecision is that of Stat.
	TimePrecision time.Duration
	// RenameReplaces: Rename onto an existing file replaces it; otherwise it
	// is refused.
	RenameReplaces bool
	// Truncates: what lies beyond the offset of a Put can be discarded. Where
	// it can't (FTP has no command for it), a Put that would leave old bytes
	// behind the new ones fails.
	Truncates bool
	// NameMax is the longest name in bytes, 0 unknown.
	NameMax int
	// Names are those that the server does not store as they are: by what it
	// stores them as, "" when it refuses them.
	Names map[string]string
	// NotDirs are names that it gives to files but refuses for directories.
	NotDirs []string
}

// soon is how long something may take that has to happen at once. It is far
// below transfer.DefaultTimeout, so that a timeout is no answer.
var soon = 10 * time.Second

const (
	// testLimit is the deadline of the context of one test.
	testLimit = 2 * time.Minute
	// large is a file that needs many packets and more than all buffers on the way.
	large = 20_000_000
)

var tests = []struct {
	name string
	run  func(*env)
}{
	{"put and get", testPutAndGet},
	{"put from a file", testPutFromFile},
	{"put a stream", testPutStream},
	{"put over a longer file", testPutOver},
	{"put resumes", testPutResumes},
	{"put discards beyond the offset", testPutDiscards},
	{"get resumes", testGetResumes},
	{"get into a file", testGetIntoFile},
	{"progress", testProgress},
	{"source fails", testSourceFails},
	{"sink fails", testSinkFails},

	{"names", testNames},
	{"names relative to the login directory", testRelativeNames},
	{"names too long", testLongNames},
	{"names refused before the wire", testBadNames},

	{"list", testList},
	{"list of an empty directory", testListEmpty},
	{"list of 10000 entries", testListMany},
	{"list stops", testListStops},
	{"stat", testStat},
	{"rename", testRename},
	{"rename onto a file", testRenameOnto},
	{"remove", testRemove},
	{"mkdir and rmdir", testMkdirRmdir},

	{"extras", testExtras},
	{"set modification time", testSetModTime},
	{"chmod", testChmod},
	{"replace", testReplace},
	{"links", testLinks},
	{"space", testSpace},
	{"realpath", testRealpath},
	{"parallel", testParallel},

	{"missing", testMissing},
	{"refused put leaves other files alone", testRefusedPut},

	{"cancel a put", testCancelPut},
	{"cancel a put whose source waits", testCancelWaitingSource},
	{"cancel a get", testCancelGet},
	{"cancel while the server is silent", testCancelSilent},
	{"cancelled before", testCancelledBefore},
	{"deadline", testDeadline},
	{"close unblocks", testCloseUnblocks},
	{"close twice", testCloseTwice},
}

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	if f.Disk == "" && f.Make == nil || f.Pause == nil {
		t.Fatal("the fixture needs Pause, and Disk or Make")
	}
	before := warmUp(t, f)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t, f, fmt.Sprintf("t%02d", i))
			test.run(e)
		})
	}
	t.Run("open files", func(t *testing.T) {
		if !eventually(func() bool { return openFiles() <= before }) {
			t.Errorf("%d files and sockets are open, %d were before", openFiles(), before)
		}
	})
}
