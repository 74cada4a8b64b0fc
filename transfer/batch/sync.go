package batch

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Trash is the directory, in the root of a sync's target, that deleted files go
// to. Neither side's is ever synchronised.
const Trash = ".xfer-trash"

// End is one side of a sync or a move.
type End struct {
	// Links lead to the server, or to the directory Local of this machine.
	Links *Links
	// Path is the root on the server; "/" with Local.
	Path string
	// Local is a directory of this machine, "" for a server.
	Local string
}

func (e End) side(name string) side {
	if e.Local != "" {
		return localSide{}
	}
	return remoteSide{e.Links, name}
}

// at is the path of rel as side takes it, remote as a session does.
func (e End) at(rel string) string {
	if e.Local == "" {
		return e.remote(rel)
	}
	return filepath.Join(e.Local, filepath.FromSlash(rel))
}

func (e End) remote(rel string) string {
	if rel == "" {
		return e.Path
	}
	return transfer.Join(e.Path, rel)
}

// String is the path of rel for a person.
func (e End) String(rel string) string {
	if e.Local != "" {
		return e.at(rel)
	}
	return e.Links.Location().WithPath(e.remote(rel)).String()
}

// StepOp says what a step does.
type StepOp string

// The steps. A rmdir is of a directory whose content is deleted before. An unlink
// comes before that where nobody knows whether it is a symbolic link, which goes
// without its content, and for good.
const (
	StepMkdir  StepOp = "mkdir"
	StepCopy   StepOp = "copy"
	StepLink   StepOp = "link"
	StepDelete StepOp = "delete"
	StepRmdir  StepOp = "rmdir"
	StepUnlink StepOp = "unlink"
)

// Step is one thing that makes the target like the source.
type Step struct {
	Op StepOp
	// Rel is the path below both roots.
	Rel string
	// Size in bytes, of a copy or of what is deleted, -1 unknown.
	Size int64
	// Reason: new, size, time, content, other kind, link, not at the source.
	Reason string
	// Link is the target of a link.
	Link string
	// Check: only if the contents differ.
	Check bool
	// Err: it can't be done, and why.
	Err error
}

// Sync makes a target like a source: Plan, then Deletions, then Rest. It holds
// the listings of one directory of each side for every level.
type Sync struct {
	From, To End
	Selection
	Compare Compare
	// Delete what is not at the source. Hard: for good, not into Trash.
	Delete, Hard bool
	MaxDelete    MaxDelete
	// Job is the pattern for the transfers.
	Job transfer.Job
	// Name begins the message of a failure.
	Name string

	// Same counts the files that needed nothing.
	Same int

	keepsTimes bool
	tellsLinks bool // the target has Extras.Lstat
	incomplete bool
	targets    int // files at the target
	doomed     int // files to be deleted
	spool      *spool
	later      []string // of another kind at the target, to be made after Deletions
	from, to   side     // while it walks
	trash      string
	made       string
	spared     string // the last directory that was a link, or may be one
}

// MaxDelete is how much a sync may delete: so many files, or so many percent of
// those at the target.
type MaxDelete struct {
	N       int
	Percent float64
}

// UnmarshalText reads "100" or "10%".
func (m *MaxDelete) UnmarshalText(text []byte) error {
	var err error
	if number, ok := strings.CutSuffix(string(text), "%"); ok {
		m.N = -1
		m.Percent, err = strconv.ParseFloat(number, 64)
		if !(m.Percent >= 0 && m.Percent <= 100) {
			err = strconv.ErrRange
		}
	} else if m.N, err = strconv.Atoi(number); m.N < 0 {
		err = strconv.ErrRange
	}
	if err != nil {
		return errors.New("must be a number of files, or a percentage such as 10%")
	}
	return nil
}

func (m MaxDelete) String() string {
	if m.N < 0 {
		return strconv.FormatFloat(m.Percent, 'g', -1, 64) + "%"
	}
	return strconv.Itoa(m.N)
}

func (m MaxDelete) allows(n, of int) bool {
	if m.N < 0 {
		return float64(n) <= m.Percent/100*float64(of)
	}
	return n <= m.N
}

// Plan calls each with what is to be made and copied, in the order of the names.
// A directory comes before what is in it, and has to be made before each returns.
func (s *Sync) Plan(ctx context.Context, each func(Step) error) error {
	if err := s.distinct(ctx); err != nil {
		s.incomplete = true
		return err
	}
	defer s.walk(ctx)()
	s.trash = path.Join(Trash, time.Now().UTC().Format("20060102T150405Z"))
	info, err := s.from.stat(ctx, s.From.at(""))
	if err == nil && !info.IsDir() {
		err = policy.GiveUpOn(s.Name, &policy.Fault{
			Protocol: policy.Local, Phase: policy.Command, Op: "list", Path: s.From.String(""),
			Cause: policy.CauseRemoteNotDirectory, Text: "sync copies directories",
		})
	}
	if err != nil {
		s.incomplete = true
		return err
	}
	there, err := s.target(ctx)
	if err != nil {
		return err
	}
	if !there {
		if err := each(Step{Op: StepMkdir, Reason: "new"}); err != nil {
			return err
		}
	}
	return s.dir(ctx, "", there, each)
}

// walk opens both sides for a walk.
func (s *Sync) walk(ctx context.Context) (end func()) {
	var endFrom, endTo func()
	s.from, endFrom = lookAhead(ctx, s.From.side(s.Name))
	s.to, endTo = lookAhead(ctx, s.To.side(s.Name))
	return func() {
		endFrom()
		endTo()
	}
}

// target looks at the root of the target.
func (s *Sync) target(ctx context.Context) (there bool, err error) {
	s.keepsTimes, s.tellsLinks = true, true
	if s.To.Local == "" {
		err = s.To.Links.Use(ctx, s.Name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
			return e.Do(ctx, l.Op(s.Name, 0, func(_ context.Context, session transfer.Session) error {
				x := session.Extras()
				s.keepsTimes, s.tellsLinks = x.SetModTime != nil, x.Lstat != nil
				return nil
			}))
		})
	}
	s.keepsTimes = s.keepsTimes && !s.Job.NoTimes
	if err != nil {
		return false, err
	}
	_, err = s.to.stat(ctx, s.To.at(""))
	if transfer.IsMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// dir compares a directory; there says whether the target has it.
func (s *Sync) dir(ctx context.Context, rel string, there bool, each func(Step) error) error {
	src, dst, err := s.lists(ctx, rel, there)
	if err != nil {
		s.incomplete = true
		return each(Step{Op: StepCopy, Rel: rel, Size: -1, Err: err})
	}
	next := scout{list: src, begin: func(name string) bool {
		child := path.Join(rel, name)
		if child == Trash || !s.Enters(child) {
			return false
		}
		begin(s.from, s.From.at(child))
		if dst.isDir(name) {
			begin(s.to, s.To.at(child))
		}
		return true
	}}
	for a, b := range merge(src, dst) {
		if a != nil && a.IsDir() {
			next.entering(a.Name)
		}
		if err := s.pair(ctx, rel, a, b, each); err != nil {
			return err
		}
		if a != nil && a.IsDir() {
			child := path.Join(rel, a.Name)
			forget(s.from, s.From.at(child))
			forget(s.to, s.To.at(child))
		}
	}
	return nil
}

// lists asks both sides at the same time.
func (s *Sync) lists(ctx context.Context, rel string, there bool) (src, dst *listing, err error) {
	dst = &listing{}
	answer := make(chan error, 1)
	if there {
		go func() {
			list, err := s.to.list(ctx, s.To.at(rel))
			if err == nil {
				dst = list
			}
			answer <- err
		}()
	} else {
		answer <- nil
	}
	src, err = s.from.list(ctx, s.From.at(rel))
	if dstErr := <-answer; err == nil {
		err = dstErr
	}
	return src, dst, err
}

// pair deals with one name.
func (s *Sync) pair(ctx context.Context, dir string, src, dst *transfer.Info, each func(Step) error) error {
	rel := path.Join(dir, nameOf(src, dst))
	if transfer.IsTemp(path.Base(rel)) || rel == Trash {
		return nil
	}
	if dst != nil && dst.Bad == nil && !dst.IsDir() {
		s.targets++
	}
	for _, i := range []*transfer.Info{src, dst} {
		if i != nil && i.Bad != nil {
			s.incomplete = true
			return each(Step{Op: StepCopy, Rel: rel, Size: -1, Err: badName(s.from.protocol(), rel, i.Bad)})
		}
	}
	if src != nil {
		var err error
		if src, err = s.wanted(ctx, rel, src, dst); err != nil {
			return each(Step{Op: StepCopy, Rel: rel, Size: -1, Err: err})
		}
		if src == nil {
			return nil
		}
	}
	what, reason := decide(src, dst, s.Compare, s.keepsTimes)
	switch what {
	case transmit, check:
		return each(Step{Op: StepCopy, Rel: rel, Size: src.Size, Reason: reason, Check: what == check})
	case relink:
		return each(Step{Op: StepLink, Rel: rel, Reason: reason, Link: src.Link})
	case enter:
		return s.dir(ctx, rel, true, each)
	case create:
		return s.create(ctx, rel, each)
	case surplus, conflict:
		if what == conflict && s.Delete {
			s.later = append(s.later, rel)
		} else if what == conflict {
			return each(Step{Op: StepCopy, Rel: rel, Size: -1, Err: s.otherKind(rel)})
		}
		if !s.Delete {
			return nil
		}
		_, err := s.condemn(ctx, rel, dst, reason, each)
		return err
	}
	if !src.IsDir() {
		s.Same++
	}
	return nil
}

func nameOf(src, dst *transfer.Info) string {
	if src != nil {
		return src.Name
	}
	return dst.Name
}

// create makes a directory and fills it.
func (s *Sync) create(ctx context.Context, rel string, each func(Step) error) error {
	err := each(Step{Op: StepMkdir, Rel: rel, Reason: "new"})
	if err == SkipDir {
		return nil
	}
	if err != nil {
		return err
	}
	return s.dir(ctx, rel, false, each)
}

// wanted applies the selection to something at the source; nil is left alone.
func (s *Sync) wanted(ctx context.Context, rel string, src, dst *transfer.Info) (*transfer.Info, error) {
	from := s.from
	if src.IsDir() {
		if !s.Enters(rel) {
			return nil, nil
		}
		return src, nil
	}
	if src.Mode&fs.ModeSymlink != 0 {
		switch s.Links {
		case LinksSkip:
			return nil, nil
		case LinksCopy:
			return s.wantedLink(ctx, rel, src, dst)
		}
		target, err := from.stat(ctx, s.From.at(rel))
		if err != nil {
			return nil, err
		}
		if target.IsDir() {
			return nil, badLink(from.protocol(), rel, linkToDir)
		}
		target.Name = src.Name
		src = &target
	}
	switch {
	case !s.Wants(rel, *src):
		return nil, nil
	case !src.IsRegular():
		return nil, special(from.protocol(), rel)
	}
	return src, nil
}

// wantedLink finds out where the links of both sides point.
func (s *Sync) wantedLink(ctx context.Context, rel string, src, dst *transfer.Info) (_ *transfer.Info, err error) {
	if !s.Wants(rel, *src) {
		return nil, nil
	}
	if src.Link, err = s.from.readlink(ctx, s.From.at(rel)); err != nil {
		return nil, err
	}
	if !staysInside(rel, src.Link) {
		return nil, badLink(policy.Local, rel, "the link may lead out of the tree: it points to "+policy.Sanitize(src.Link))
	}
	if dst != nil && dst.Mode&fs.ModeSymlink != 0 {
		dst.Link, err = s.to.readlink(ctx, s.To.at(rel))
	}
	return src, err
}

func (s *Sync) otherKind(rel string) error {
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Command, Op: "create", Path: s.To.String(rel), Cause: policy.CauseLocalExists,
		Text: "a directory on one side and a file on the other; --delete would replace it",
	}
}

// condemn notes for deletion what the target has too much. all is false when
// something below is to be kept.
func (s *Sync) condemn(ctx context.Context, rel string, dst *transfer.Info, reason string, each func(Step) error) (all bool, err error) {
	if !dst.IsDir() {
		if !s.Wants(rel, *dst) || !dst.IsRegular() && dst.Mode&fs.ModeSymlink == 0 {
			return false, nil
		}
		s.doomed++
		return true, s.note(Step{Op: StepDelete, Rel: rel, Size: dst.Size, Reason: reason})
	}
	if !s.Enters(rel) {
		return false, nil
	}
	list, err := s.to.list(ctx, s.To.at(rel))
	if err != nil {
		s.incomplete = true
		return false, each(Step{Op: StepDelete, Rel: rel, Size: -1, Err: err})
	}
	content := func() error {
		all = true
		for info := range list.all() {
			if !info.IsDir() {
				s.targets++
			}
			gone := false
			if info.Bad == nil && !transfer.IsTemp(info.Name) {
				if gone, err = s.condemn(ctx, path.Join(rel, info.Name), &info, reason, each); err != nil {
					return err
				}
			}
			all = all && gone
		}
		return nil
	}
	if s.tellsLinks {
		err = content()
	} else {
		err = s.behind(content, func() error {
			if !all {
				return nil
			}
			return s.note(Step{Op: StepUnlink, Rel: rel, Reason: reason})
		})
	}
	if err == nil && all {
		err = s.note(Step{Op: StepRmdir, Rel: rel, Reason: reason})
	}
	return all && err == nil, err
}

// behind puts the steps that content notes behind those that first does, which is
// called afterwards.
func (s *Sync) behind(content, first func() error) error {
	outer := s.spool
	s.spool = nil
	err := content()
	inner := s.spool
	s.spool = outer
	if inner != nil {
		defer inner.close()
	}
	if err == nil {
		err = first()
	}
	if err != nil || inner == nil {
		return err
	}
	return inner.all(s.note)
}

func (s *Sync) note(step Step) (err error) {
	if s.spool == nil {
		if s.spool, err = newSpool(); err != nil {
			return err
		}
	}
	return s.spool.add(step)
}

// Deletions calls each with what is to be deleted, a directory after what is in
// it. It comes after Plan, and fails when the source or the target could not be
// listed in full, or when it would be too much.
func (s *Sync) Deletions(_ context.Context, each func(Step) error) error {
	if s.spool == nil {
		return nil
	}
	f := &policy.Fault{Protocol: policy.Local, Phase: policy.Command, Op: "delete", Path: s.To.String("")}
	switch {
	case s.incomplete:
		f.Cause, f.Text = policy.CauseSyncIncomplete, fmt.Sprintf("%d files stay", s.doomed)
		return policy.GiveUpOn(s.Name, f)
	case !s.MaxDelete.allows(s.doomed, s.targets):
		f.Cause = policy.CauseSyncTooMany
		f.Text = fmt.Sprintf("%d of %d files, the limit is %s", s.doomed, s.targets, s.MaxDelete)
		return policy.GiveUpOn(s.Name, f)
	}
	return s.spool.all(each)
}

// Rest calls each with what could only be made after Deletions.
func (s *Sync) Rest(ctx context.Context, each func(Step) error) error {
	defer s.walk(ctx)()
	for _, rel := range s.later {
		info, err := s.from.stat(ctx, s.From.at(rel))
		switch {
		case err != nil:
			err = each(Step{Op: StepCopy, Rel: rel, Size: -1, Err: err})
		case info.IsDir():
			err = s.create(ctx, rel, each)
		default:
			err = each(Step{Op: StepCopy, Rel: rel, Size: info.Size, Reason: "other kind"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close forgets the plan.
func (s *Sync) Close() {
	if s.spool != nil {
		s.spool.close()
	}
}

// Needed says whether a step has to be done; to find out it may read the file on
// both sides. What a link led to stays when the link has gone.
func (s *Sync) Needed(ctx context.Context, step Step) (bool, error) {
	if s.spared != "" && (step.Op == StepDelete || step.Op == StepRmdir || step.Op == StepUnlink) {
		return !strings.HasPrefix(step.Rel+"/", s.spared+"/"), nil
	}
	if !step.Check {
		return true, nil
	}
	same, err := s.sameContent(ctx, step.Rel)
	return !same, err
}

// Do carries out a step. o is for copies. An unlink of what is no link is Skipped.
func (s *Sync) Do(ctx context.Context, step Step, o transfer.Observer) (transfer.Result, error) {
	switch step.Op {
	case StepCopy:
		return Copy(ctx, s.From, s.To, step.Rel, step.Rel, s.Job, o)
	case StepLink:
		return transfer.Result{}, s.use(ctx, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
			return Symlink(ctx, l, e, s.Name, step.Link, s.To.remote(step.Rel))
		})
	case StepUnlink:
		result := transfer.Result{Skipped: "it is a directory"}
		err := s.use(ctx, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
			gone, err := unlink(ctx, l, e, s.Name, s.To.remote(step.Rel))
			if gone {
				result.Skipped = ""
			}
			return err
		})
		if err != nil || result.Skipped == "" {
			s.spared = step.Rel
		}
		return result, err
	case StepDelete:
		if !s.Hard {
			return transfer.Result{}, s.discard(ctx, step.Rel)
		}
	}
	if step.Op == StepMkdir && step.Rel == "" && s.To.Local != "" {
		if err := os.MkdirAll(s.To.Local, 0o777); err != nil {
			return transfer.Result{}, policy.LocalFault("mkdir", s.To.Local, err)
		}
		return transfer.Result{}, nil
	}
	return transfer.Result{}, s.use(ctx, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		p := s.To.remote(step.Rel)
		switch {
		case step.Op == StepMkdir && step.Rel == "":
			return transfer.MkdirAll(ctx, l, e, s.Name, p)
		case step.Op == StepMkdir:
			return transfer.Mkdir(ctx, l, e, s.Name, p)
		case step.Op == StepRmdir:
			return transfer.Rmdir(ctx, l, e, s.Name, p)
		}
		return transfer.Remove(ctx, l, e, s.Name, p)
	})
}

func (s *Sync) use(ctx context.Context, f func(context.Context, *transfer.Link, *policy.Engine) error) error {
	return s.To.Links.Use(ctx, s.Name, f)
}

// discard moves a file to the trash. Deletions are carried out one at a time.
func (s *Sync) discard(ctx context.Context, rel string) error {
	to := path.Join(s.trash, rel)
	return s.use(ctx, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		if dir := path.Dir(to); dir != s.made {
			if err := transfer.MkdirAll(ctx, l, e, s.Name, s.To.remote(dir)); err != nil {
				return err
			}
			s.made = dir
		}
		return transfer.Rename(ctx, l, e, s.Name, s.To.remote(rel), s.To.remote(to), false)
	})
}

// Copy transfers one file between two ends.
func Copy(ctx context.Context, from, to End, src, dst string, job transfer.Job, o transfer.Observer) (r transfer.Result, err error) {
	job.Local, job.Remote = from.String(src), to.remote(dst)
	switch {
	case from.Local != "" && to.Local == "":
		job.Direction, job.Local = transfer.Put, from.at(src)
		err = to.Links.Use(ctx, job.Name(), func(ctx context.Context, l *transfer.Link, e *policy.Engine) (err error) {
			r, err = transfer.Run(ctx, l, job, e, o)
			return err
		})
	case from.Local == "" && to.Local != "":
		job.Direction, job.Remote = transfer.Get, from.remote(src)
		if job.Local, err = to.localize(dst); err != nil {
			return r, policy.GiveUpOn(job.Name(), policy.FaultOf(err))
		}
		err = from.Links.Use(ctx, job.Name(), func(ctx context.Context, l *transfer.Link, e *policy.Engine) (err error) {
			r, err = transfer.Run(ctx, l, job, e, o)
			return err
		})
	default:
		err = from.Links.Use(ctx, job.Name(), func(ctx context.Context, source *transfer.Link, _ *policy.Engine) error {
			return to.Links.Use(ctx, job.Name(), func(ctx context.Context, l *transfer.Link, e *policy.Engine) (err error) {
				r, err = transfer.Relay(ctx, source, from.remote(src), l, job, e, o)
				return err
			})
		})
	}
	return r, err
}

// localize is the local path of rel, if this system can hold the name.
func (e End) localize(rel string) (string, error) {
	name, err := transfer.Localize("create", rel)
	if err != nil {
		return "", err
	}
	return filepath.Join(e.Local, name), nil
}

// spool keeps steps in a file, in order: there may be as many as files. JSON would
// not do: names are bytes, and need not be UTF-8.
type spool struct {
	f   *os.File
	enc *gob.Encoder
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "xfer-plan-")
	if err != nil {
		return nil, policy.LocalFault("create", os.TempDir(), err)
	}
	return &spool{f, gob.NewEncoder(f)}, nil
}

func (p *spool) add(s Step) error {
	if err := p.enc.Encode(s); err != nil {
		return policy.LocalFault("write", p.f.Name(), err)
	}
	return nil
}

func (p *spool) all(each func(Step) error) error {
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return policy.LocalFault("read", p.f.Name(), err)
	}
	dec := gob.NewDecoder(p.f)
	for {
		var s Step
		err := dec.Decode(&s)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return policy.LocalFault("read", p.f.Name(), err)
		}
		if err := each(s); err != nil {
			return err
		}
	}
}

func (p *spool) close() {
	_ = p.f.Close()
	_ = os.Remove(p.f.Name())
}
