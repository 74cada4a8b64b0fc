package ftp

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ftp/listing"
)

// Stat asks with MLST where the server has it, else with SIZE, MDTM and CWD.
func (s *session) Stat(ctx context.Context, path string) (transfer.Info, error) {
	arg, end, err := s.begin(ctx, "MLST", path)
	if err != nil {
		return transfer.Info{}, err
	}
	defer end()
	s.askStat(arg)
	info, err := s.stat(path, arg)
	_, info.Name = transfer.Split(path)
	return info, err
}

// askStat sends the questions about a file together, with the one that comes
// before its download where one download follows another.
func (s *session) askStat(arg string) {
	x := s.x
	var lines []string
	if x.series && x.last == "RETR" {
		lines = x.askPort()
	}
	switch {
	case x.able.offers("MLST"):
		lines = append(lines, "MLST "+arg)
	case x.able.may("SIZE") && x.able.may("MDTM"):
		lines = append(lines, "SIZE "+arg, "MDTM "+arg)
	}
	if len(lines) > 1 || x.w.ahead.portBehind() {
		x.w.ask(x.ctx, lines...)
		x.dialAhead() // to the port that was asked for behind the last download
	}
}

func (s *session) stat(path, arg string) (transfer.Info, error) {
	x := s.x
	if x.able.offers("MLST") {
		r, ok, err := x.optional("MLST", arg)
		if err != nil {
			return transfer.Info{}, err
		}
		if info, found := entryOf(r); ok && found && info.Mode&fs.ModeSymlink == 0 {
			if likeLink(info) {
				return s.followed(info, path, arg)
			}
			return s.sized(info, arg)
		}
		if ok && r.class() >= 4 {
			return transfer.Info{}, s.absent("MLST", path, r)
		}
	}
	return s.statBySize(path, arg)
}

// entryOf reads the entry in a reply to MLST. RFC 3659 §7.2 indents it by one
// space; servers differ.
func entryOf(r reply) (transfer.Info, bool) {
	if !r.completed() || len(r.lines) < 3 {
		return transfer.Info{}, false
	}
	for _, line := range r.lines[1 : len(r.lines)-1] {
		if info, ok := listing.Entry(line); ok {
			return info, true
		}
	}
	return transfer.Info{}, false
}

// likeLink says whether it may be that of a link: it has the mode of one.
func likeLink(info transfer.Info) bool {
	return info.IsRegular() && info.HasPerm && info.Mode.Perm() == 0o777
}

// followed is for a file with the mode of symbolic links: MLST of proftpd 1.3.8
// says of a link to a file that it is a file, with the size and time of the link.
func (s *session) followed(info transfer.Info, path, arg string) (transfer.Info, error) {
	target, err := s.statBySize(path, arg)
	if err == nil && target.Size == info.Size && (target.ModTime.IsZero() || target.ModTime.Equal(info.ModTime)) {
		return info, nil
	}
	return target, err
}

// sized completes an entry whose facts leave the size out.
func (s *session) sized(info transfer.Info, arg string) (transfer.Info, error) {
	if !info.IsRegular() || info.Size >= 0 {
		return info, nil
	}
	size, ok, err := s.x.size(arg)
	if ok {
		info.Size = size
	}
	return info, err
}

// statBySize is for servers without MLST, and for symbolic links, which SIZE and
// CWD follow.
func (s *session) statBySize(path, arg string) (transfer.Info, error) {
	x := s.x
	r, ok, err := x.optional("SIZE", arg)
	if err != nil {
		return transfer.Info{}, err
	}
	if ok && r.code == 213 {
		size, valid := parseSIZE(r.text())
		if !valid {
			return transfer.Info{}, s.badSize(path, r)
		}
		info := transfer.Info{Size: size}
		info.ModTime, info.Precision, err = x.modTime(arg)
		return info, err
	}
	if ok && r.class() == 4 {
		return transfer.Info{}, x.said(policy.Command, "SIZE", path, r)
	}
	isDir, err := s.visit(arg)
	if err != nil {
		return transfer.Info{}, err
	}
	if isDir {
		return transfer.Info{Mode: fs.ModeDir, Size: -1}, nil
	}
	if !ok {
		// Neither MLST nor SIZE: the listing of its directory is all there is.
		return s.statByList(path)
	}
	return transfer.Info{}, s.absent("SIZE", path, r)
}

// fileSize asks with SIZE alone, unless the server turns out not to know it.
func (s *session) fileSize(ctx context.Context, path string) (int64, error) {
	arg, end, err := s.begin(ctx, "SIZE", path)
	if err != nil {
		return 0, err
	}
	defer end()
	r, ok, err := s.x.optional("SIZE", arg)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		info, err := s.stat(path, arg)
		return info.Size, err
	case r.code != 213:
		return 0, s.absent("SIZE", path, r)
	}
	size, valid := parseSIZE(r.text())
	if !valid {
		return 0, s.badSize(path, r)
	}
	return size, nil
}

func (s *session) badSize(path string, r reply) error {
	return s.x.lost(policy.Command, "SIZE", path, badSyntax("the reply to SIZE is no number: %s", policy.Sanitize(r.text())))
}

// statByList finds the entry in the listing of its directory.
func (s *session) statByList(path string) (transfer.Info, error) {
	dir, name := transfer.Split(path)
	dirArg, err := s.x.charset.encode(dir)
	if err != nil {
		return transfer.Info{}, err
	}
	found := transfer.Info{Size: -1}
	seen := false
	err = s.list(dir, dirArg, func(info transfer.Info) error {
		if info.Bad == nil && info.Name == name {
			found, seen = info, true
		}
		return nil
	})
	if err == nil && !seen {
		err = s.x.because(policy.Command, "LIST", path, policy.CauseRemoteMissing, "it is not in the listing of "+policy.Sanitize(dir))
	}
	return found, err
}

// modTime asks with MDTM. A server that can't say is no error.
func (x *interposer) modTime(arg string) (time.Time, time.Duration, error) {
	r, ok, err := x.optional("MDTM", arg)
	if err != nil || !ok || r.code != 213 {
		return time.Time{}, 0, err
	}
	t, valid := parseTimeVal(r.text())
	if !valid {
		return time.Time{}, 0, nil
	}
	return t, time.Second, nil
}

// size asks with SIZE (RFC 3659 §4); TYPE I is always in force.
func (x *interposer) size(arg string) (size int64, ok bool, err error) {
	r, ok, err := x.optional("SIZE", arg)
	if err != nil || !ok || r.code != 213 {
		return 0, false, err
	}
	size, ok = parseSIZE(r.text())
	return size, ok, nil
}

// absent is the fault of a look that found nothing. In a directory that can be
// entered it is missing; below what is missing, or is no directory, that is why.
// Otherwise the code is all we know.
func (s *session) absent(op, path string, r reply) error {
	f := s.x.said(policy.Command, op, path, r)
	if r.code != 550 {
		return f
	}
	dir := parentOf(path)
	good, err := s.isGood(dir)
	switch {
	case err != nil:
	case good:
		f.Cause = policy.CauseRemoteMissing
	case dir != parentOf(dir):
		f.Cause, err = s.whyNotEntered(dir)
	}
	if err != nil {
		return err
	}
	return f
}

// whyNotEntered looks at what is no good directory: CauseRemoteMissing,
// CauseRemoteNotDirectory, or "" where it can't be told.
func (s *session) whyNotEntered(dir string) (policy.Cause, error) {
	arg, err := s.x.charset.encode(dir)
	if err != nil {
		return "", err
	}
	info, err := s.stat(dir, arg)
	switch {
	case err == nil && !info.IsDir():
		return policy.CauseRemoteNotDirectory, nil
	case err == nil:
		return "", nil
	case !s.x.w.alive():
		return "", err
	}
	if f, ok := errors.AsType[*policy.Fault](err); ok && isNotThere(f.Cause) {
		return f.Cause, nil
	}
	return "", nil
}

// isNotThere says whether a look that ended so shows that there is nothing.
func isNotThere(c policy.Cause) bool {
	return c == policy.CauseRemoteMissing || c == policy.CauseRemoteNotDirectory
}

func parentOf(path string) string {
	dir, _ := transfer.Split(path)
	return dir
}

// isGood says whether a directory can be entered. The last good one is kept: a
// batch asks for many names in the same.
func (s *session) isGood(dir string) (bool, error) {
	if s.goodDir == dir {
		return true, nil
	}
	arg, err := s.x.charset.encode(dir)
	if err != nil {
		return false, err
	}
	good, err := s.visit(arg)
	if err == nil && good {
		s.goodDir = dir
	}
	return good, err
}

// visit finds out whether it is a directory that can be entered, and returns to the
// login directory. The way back is asked for ahead.
func (s *session) visit(arg string) (bool, error) {
	home, err := s.homeDir()
	if err != nil || home == "" {
		return false, err
	}
	s.x.w.ask(s.x.ctx, "CWD "+arg, "CWD "+home)
	good, err := s.enter(arg)
	if err != nil || !good {
		return false, err
	}
	return true, s.leave()
}

// enter makes a directory the current one, if it is one and we may. It needs to
// know the way back; without PWD it enters none.
func (s *session) enter(arg string) (bool, error) {
	home, err := s.homeDir()
	if err != nil || home == "" {
		return false, err
	}
	r, err := s.x.cmd("CWD", arg)
	return err == nil && r.completed(), err
}

// leave returns to the login directory, where relative paths begin.
func (s *session) leave() error {
	r, err := s.x.cmd("CWD", s.home)
	if err == nil && !r.completed() {
		f := s.x.said(policy.Command, "CWD", s.home, r)
		_ = s.x.w.fail(f) // every relative path would now mean another file
		return f
	}
	return err
}

// homeDir asks once for the login directory. An answer that can't be read gives "".
func (s *session) homeDir() (string, error) {
	if s.home != "" || !s.x.able.may("PWD") {
		return s.home, nil
	}
	r, ok, err := s.x.optional("PWD", "")
	if err != nil || !ok {
		return "", err
	}
	if dir, valid := parsePWD(r.text()); valid && r.completed() {
		s.home = dir
	} else {
		s.x.able.refuse("PWD", r, s.x.w.seen.Load())
	}
	return s.home, nil
}

// realpath enters a directory to see what the server calls it, or joins a file
// to its directory's name.
func (s *session) realpath(ctx context.Context, path string) (string, error) {
	arg, end, err := s.begin(ctx, "PWD", path)
	if err != nil {
		return "", err
	}
	defer end()
	if _, err := s.homeDir(); err != nil {
		return "", err
	}
	if s.home == "" {
		return path, nil
	}
	isDir, err := s.enter(arg)
	if err != nil {
		return "", err
	}
	if !isDir {
		if path[0] == '/' {
			return path, nil
		}
		home, _ := s.x.charset.decode(s.home)
		return transfer.Join(home, path), nil
	}
	r, err := s.x.cmd("PWD", "")
	if err != nil {
		return "", err
	}
	if err := s.leave(); err != nil {
		return "", err
	}
	dir, ok := parsePWD(r.text())
	if !ok {
		return "", s.x.said(policy.Command, "PWD", path, r)
	}
	dir, _ = s.x.charset.decode(dir)
	return dir, nil
}
