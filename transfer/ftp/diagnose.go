package ftp

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// diagnose looks for the cause behind a bare 550, 553 or 450: what is at the
// path, what is at its parent, how much space is left. It never writes. Where it
// finds nothing the code keeps its own meaning, and nothing is tried again.
func (s *session) diagnose(ctx context.Context, f *policy.Fault, need int64) policy.Verdict {
	if f.Protocol == policy.FTP && f.Path != "" {
		if cause, evidence := s.causeOf(ctx, f, need); cause != "" {
			return policy.Found(f, string(cause), evidence)
		}
	}
	v := policy.Classify(f)
	v.Remedy = policy.GiveUp
	return v
}

// makers are the commands that make something; the others need it to be there.
var makers = []string{"STOR", "APPE", "MKD", "RNTO"}

func (s *session) causeOf(ctx context.Context, f *policy.Fault, need int64) (policy.Cause, string) {
	if slices.Contains(makers, f.Op) {
		return s.whyNotMade(ctx, f, need)
	}
	at := s.look(ctx, f.Path)
	switch {
	case at.err != nil:
		return "", ""
	case !at.there:
		return policy.CauseRemoteMissing, at.evidence
	case f.Op == "RMD" && !at.info.IsDir():
		return policy.CauseRemoteNotDirectory, at.evidence
	case f.Op == "RMD" && s.holdsAny(ctx, f.Path):
		return policy.CauseRemoteNotEmpty, fmt.Sprintf("%s is not empty", quoted(f.Path))
	case f.Op != "RMD" && f.Op != "RNFR" && f.Op != siteChmod && !isListing(f.Op) && at.info.IsDir():
		return policy.CauseRemoteDirectory, at.evidence
	case isListing(f.Op) && !at.info.IsDir():
		return policy.CauseRemoteNotDirectory, at.evidence
	}
	return policy.CauseRemotePermission, at.evidence
}

func isListing(op string) bool { return op == "LIST" || op == "MLSD" || op == "CWD" }

// longestName is what common file systems hold, in bytes.
const longestName = 255

func (s *session) whyNotMade(ctx context.Context, f *policy.Fault, need int64) (policy.Cause, string) {
	dir, name := transfer.Split(f.Path)
	if len(name) > longestName {
		return policy.CauseRemoteNameTooLong, fmt.Sprintf("the name has %d bytes; most file systems hold %d", len(name), longestName)
	}
	parent := s.look(ctx, dir)
	switch {
	case parent.err != nil:
		return "", ""
	case !parent.there:
		return policy.CauseRemoteParentMissing, parent.evidence
	case !parent.info.IsDir():
		return policy.CauseRemoteNotDirectory, parent.evidence
	}
	target := s.look(ctx, f.Path)
	switch {
	case target.err != nil:
		return "", ""
	case target.there && target.info.IsDir() && f.Op != "MKD":
		return policy.CauseRemoteDirectory, target.evidence
	case target.there && (f.Op == "MKD" || f.Op == "RNTO"):
		return policy.CauseRemoteExists, target.evidence
	}
	if free, ok := s.free(ctx, dir); ok && need > 0 && free < need {
		return policy.CauseRemoteSpace, fmt.Sprintf("%d bytes are free in %s; the file needs %d", free, quoted(dir), need)
	}
	return policy.CauseRemotePermission, parent.evidence
}

// sight is what a look at a path showed.
type sight struct {
	there    bool
	info     transfer.Info
	evidence string
	err      error // it can't be told
}

// look looks at a path, and where it is not there at what is above it: the first
// that is missing says most.
func (s *session) look(ctx context.Context, path string) sight {
	info, err := s.Stat(ctx, path)
	if err == nil {
		return sight{there: true, info: info, evidence: describe(path, info)}
	}
	f, ok := errors.AsType[*policy.Fault](err)
	if !ok || !isNotThere(f.Cause) {
		return sight{err: err} // it may lie in a directory that we may not enter
	}
	if dir := parentOf(path); dir != "." && dir != "/" {
		if above := s.look(ctx, dir); above.err == nil && !above.info.IsDir() {
			return sight{evidence: above.evidence}
		}
	}
	return sight{evidence: fmt.Sprintf("%s is not there", quoted(path))}
}

func describe(path string, info transfer.Info) string {
	switch {
	case info.IsDir():
		return fmt.Sprintf("%s is there, a directory", quoted(path))
	case info.Size >= 0:
		return fmt.Sprintf("%s is there, a file of %d bytes", quoted(path), info.Size)
	}
	return fmt.Sprintf("%s is there", quoted(path))
}

func quoted(path string) string { return policy.Sanitize(path) }

// errSeen ends a listing that has shown enough.
var errSeen = errors.New("there is an entry")

// holdsAny says whether a directory has an entry.
func (s *session) holdsAny(ctx context.Context, dir string) bool {
	err := s.List(ctx, dir, func(transfer.Info) error { return errSeen })
	return errors.Is(err, errSeen)
}

// free asks for the space, where the server can say.
func (s *session) free(ctx context.Context, dir string) (int64, bool) {
	if !s.x.able.offers("AVBL") {
		return 0, false
	}
	space, err := s.space(ctx, dir)
	return space.Free, err == nil
}
