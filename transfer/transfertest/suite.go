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
	// Again: the server passes the suite another way too, in another FTP mode or
	// without TLS, or is one of many alike. What does not depend on that and takes
	// long is left out: all names, and the listing of a large directory; large
	// files are smaller.
	Again bool
	// Beside: other tests run at the same time. Open files, which belong to the
	// whole process, are then not counted.
	Beside bool
}

// Abilities is what a session on a server is expected to offer. A session that
// offers less fails, and so does one that offers more: then this has to be
// brought up to date.
type Abilities struct {
	// Protocol is that of the faults for which the server has a code.
	Protocol policy.Protocol
	// These are the Extras of the same name; Links stands for Lstat, Readlink
	// and Symlink.
	SetModTime, Chmod, Replace, Links, Space, Realpath, Parallel, Resume, GetCompares, Begin bool
	// Lstat alone: the server knows no links, and says of each file what it is.
	Lstat bool
	// NoPutResume is as in the Extras.
	NoPutResume bool
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
	once bool // left out with Fixture.Again
}{
	{name: "put and get", run: testPutAndGet},
	{name: "put from a file", run: testPutFromFile},
	{name: "put a stream", run: testPutStream},
	{name: "put over a longer file", run: testPutOver},
	{name: "put resumes", run: testPutResumes},
	{name: "put discards beyond the offset", run: testPutDiscards},
	{name: "put begun", run: testPutBegun},
	{name: "get resumes", run: testGetResumes},
	{name: "get into a file", run: testGetIntoFile},
	{name: "get of a listed version", run: testGetListed},
	{name: "progress", run: testProgress},
	{name: "source fails", run: testSourceFails},
	{name: "sink fails", run: testSinkFails},

	{name: "names", run: testNames, once: true},
	{name: "names relative to the login directory", run: testRelativeNames},
	{name: "names too long", run: testLongNames},
	{name: "names refused before the wire", run: testBadNames},

	{name: "list", run: testList},
	{name: "list of an empty directory", run: testListEmpty},
	{name: "list of 10000 entries", run: testListMany, once: true},
	{name: "list stops", run: testListStops},
	{name: "stat", run: testStat},
	{name: "rename", run: testRename},
	{name: "rename onto a file", run: testRenameOnto},
	{name: "remove", run: testRemove},
	{name: "mkdir and rmdir", run: testMkdirRmdir},

	{name: "extras", run: testExtras},
	{name: "set modification time", run: testSetModTime},
	{name: "chmod", run: testChmod},
	{name: "replace", run: testReplace},
	{name: "links", run: testLinks},
	{name: "space", run: testSpace},
	{name: "realpath", run: testRealpath},
	{name: "parallel", run: testParallel},

	{name: "missing", run: testMissing},
	{name: "refused put leaves other files alone", run: testRefusedPut},

	{name: "cancel a put", run: testCancelPut},
	{name: "cancel a put whose source waits", run: testCancelWaitingSource},
	{name: "cancel a get", run: testCancelGet},
	{name: "cancel while the server is silent", run: testCancelSilent},
	{name: "cancelled before", run: testCancelledBefore},
	{name: "deadline", run: testDeadline},
	{name: "close unblocks", run: testCloseUnblocks},
	{name: "close twice", run: testCloseTwice},
}

// Run runs the suite.
func Run(t *testing.T, f Fixture) {
	if f.Disk == "" && f.Make == nil || f.Pause == nil {
		t.Fatal("the fixture needs Pause, and Disk or Make")
	}
	before := warmUp(t, f)
	for i, test := range tests {
		if test.once && f.Again {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			e := newEnv(t, f, fmt.Sprintf("t%02d", i))
			test.run(e)
		})
	}
	if f.Beside {
		return
	}
	t.Run("open files", func(t *testing.T) {
		if !eventually(func() bool { return openFiles() <= before }) {
			t.Errorf("%d files and sockets are open, %d were before", openFiles(), before)
		}
	})
}
