package batch

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/ledger"
)

// Move picks up the files of one directory and delivers each exactly once:
// whatever kills it, the next run finishes what was begun.
//
// A delivery goes through stages, and each is on the disk before what it
// announces is done:
//
//	claiming    the source is about to be renamed (only with Claim)
//	sending     it is being sent, under a temporary name
//	publishing  it is complete; the temporary name is about to become the final one
//	delivered   it has arrived; the source is about to be deleted or archived
//
// In publishing, a temporary name that is gone means that the file has arrived, if
// it is there under its final name. If it is not, the receiver may have taken it
// away, or somebody has removed the temporary file: Unsettled says what then.
type Move struct {
	From, To End
	Filter
	Ready Ready
	// Claim is the name, with NAME for that of the file, to which a file is
	// renamed before it is sent, so that nobody else takes it; "" for none.
	Claim string
	// Archive is the path, below From, that a delivered file goes to; "" deletes
	// it. NAME is the file's name, %Y %m %d %H %M %S the time.
	Archive string
	// Quarantine is the directory, below From, for files that failed Failures
	// times, each with the verdict beside it.
	Quarantine string
	// Failures is after how many a file is put into quarantine, 0 for never.
	Failures int
	// Resend sends again what was delivered.
	Resend bool
	// Unsettled is what becomes of a file of which nobody can tell whether it has
	// arrived.
	Unsettled Unsettled
	// Command is by what the caller continues the move; it is kept with what is
	// left unfinished.
	Command string
	// Job is the pattern for the transfers. Its Lock is needed.
	Job transfer.Job
	// Key names the move in the ledger: the same for every run.
	Key    string
	Ledger *ledger.Ledger
	// Run is the run of the ledger that it is part of, 0 for none.
	Run int64
	// Warn is told what is worth knowing and does no harm.
	Warn func(text, file string)
	// Name begins the message of a failure.
	Name string

	// apart: a delivery has shown that From and To are two directories.
	apart  atomic.Bool
	casing casing
}

// Unsettled says what to do with a file that was about to get its name when the
// run was killed, and is neither under this name nor under the temporary one. It
// counts as arrived in any case where files are known to be taken away.
type Unsettled uint8

// The choices.
const (
	Hold    Unsettled = iota // leave it at the source, and fail
	Resend                   // send it again, if the source is unchanged
	Arrived                  // it has arrived
)

var unsettledNames = [...]string{"hold", "resend", "arrived"}

func (u Unsettled) String() string { return unsettledNames[u] }

// MarshalText and UnmarshalText use the names of --unsettled.
func (u Unsettled) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads a name; the error lists what it can be.
func (u *Unsettled) UnmarshalText(text []byte) error {
	i := slices.Index(unsettledNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(unsettledNames[:], ", "))
	}
	*u = Unsettled(i)
	return nil
}

// The stages.
const (
	stageClaiming   = "claiming"
	stageSending    = "sending"
	stagePublishing = "publishing"
	stageDelivered  = "delivered"
)

// note is what a later run needs to finish a delivery.
type note struct {
	Name    string `json:"name"`
	Marker  string `json:"marker,omitempty"`
	Claimed string `json:"claimed,omitempty"`
	Temp    string `json:"temp,omitempty"`
	Final   string `json:"final,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Archive string `json:"archive,omitempty"`
	Command string `json:"command,omitempty"`
}

// noteOf reads the note of a delivery.
func noteOf(d ledger.Delivery) (n note, err error) {
	if err := json.Unmarshal([]byte(d.Note), &n); err != nil {
		return n, policy.LocalFault("recover", d.Source, err)
	}
	for _, name := range n.names() {
		if hidden, ok := strings.CutPrefix(*name, notUTF8); ok {
			raw, err := hex.DecodeString(hidden)
			if err != nil {
				return n, policy.LocalFault("recover", d.Source, err)
			}
			*name = string(raw)
		}
	}
	return n, nil
}

// notUTF8 begins a name whose bytes follow in hexadecimal: JSON would make another
// name of them. No name has it.
const notUTF8 = "\x00"

func (n note) String() string {
	for _, name := range n.names() {
		if !utf8.ValidString(*name) {
			*name = notUTF8 + hex.EncodeToString([]byte(*name))
		}
	}
	b, _ := json.Marshal(n) // strings always can be
	return string(b)
}

func (n *note) names() []*string {
	return []*string{&n.Name, &n.Marker, &n.Claimed, &n.Temp, &n.Final, &n.Archive}
}

// Pickup is a file to be moved.
type Pickup struct {
	Name   string
	Info   transfer.Info
	Marker string
	// left is the delivery that an earlier run did not finish.
	left *ledger.Delivery
}

// failpoint is where the tests kill the process.
var failpoint = func(string) {}

// source is where a file is now.
func (n note) source() string {
	if n.Claimed != "" {
		return n.Claimed
	}
	return n.Name
}

// Unfinished calls each with what earlier runs of this move left unfinished.
func (m *Move) Unfinished(ctx context.Context, each func(Pickup) error) error {
	left, err := m.Ledger.Leftovers(ctx)
	if err != nil {
		return err
	}
	for _, d := range left {
		if d.Job != m.Key {
			continue
		}
		n, err := noteOf(d)
		if err != nil {
			return err
		}
		info := transfer.Info{Name: n.Name, Size: d.Size, ModTime: d.ModTime}
		if err := each(Pickup{Name: n.Name, Info: info, Marker: n.Marker, left: &d}); err != nil {
			return err
		}
	}
	return nil
}

// CommandOf is the Command of the move that left d unfinished, "" if d is none of
// a move.
func CommandOf(d ledger.Delivery) string {
	n, _ := noteOf(d) // one that can't be read names none
	return n.Command
}

// Outlook says what Deliver would do about what was left unfinished: finish, send,
// undo or report it, and why. It looks at both ends and changes neither.
func (m *Move) Outlook(ctx context.Context, p Pickup) (act, why string, err error) {
	d := &delivery{Move: m, Warn: func(string, string) {}, info: p.Info, stage: p.left.Stage}
	if d.note, err = noteOf(*p.left); err != nil {
		return "", "", err
	}
	after := "the source is to be deleted"
	if m.Archive != "" {
		after = "the source is to be archived"
	}
	arrived := d.stage == stageDelivered
	if d.stage == stagePublishing {
		arrived, err = d.arrived(ctx)
		if err != nil && policy.FaultOf(err).Cause == policy.CauseUnsettled {
			return "report", "nobody can tell whether it has arrived; the file stays at the source", nil
		}
	}
	if err != nil {
		return "", "", err
	}
	now, err := d.look(ctx, d.From, d.note.source())
	if now == nil && err == nil && d.stage == stageClaiming {
		now, err = d.look(ctx, d.From, d.note.Name)
	}
	switch {
	case err != nil:
		return "", "", err
	case arrived && now == nil:
		return "finish", "it has arrived, and the source is gone", nil
	case arrived && !d.isPicked(now):
		return "finish", "it has arrived; the source has changed since, and stays", nil
	case arrived:
		return "finish", "it has arrived; " + after, nil
	case now == nil:
		return "report", "it has not arrived, and the source is gone", nil
	case !d.isPicked(now):
		return "undo", "it has not arrived, and the source has changed; it is picked up anew", nil
	}
	return "send", "it has not arrived", nil
}

// delivery is one file on its way.
type delivery struct {
	*Move
	Warn  func(text, file string) // the Move's, unless nothing is to be told
	note  note
	id    int64
	stage string
	info  transfer.Info
	// adopted: an earlier run has begun it. held: the claimed name is ours.
	adopted, held bool
	before        *ledger.Delivery // the last of this name, nil if there was none
	result        transfer.Result
	codes         []int
}

// Deliver moves one file. A Result with Skipped means that there was nothing to
// be moved.
func (m *Move) Deliver(ctx context.Context, p Pickup, o transfer.Observer) (transfer.Result, error) {
	source := m.From.String(p.Name)
	release, err := m.Job.Lock("move " + source)
	if err != nil {
		if policy.FaultOf(err).Cause == policy.CauseLocalLocked {
			return transfer.Result{Skipped: "another xfer moves it"}, nil
		}
		return transfer.Result{}, policy.GiveUpOn(m.Name, policy.FaultOf(err))
	}
	defer release()
	d := &delivery{Move: m, Warn: m.Warn, note: note{Name: p.Name, Marker: p.Marker, Command: m.Command}, info: p.Info}
	if p.left != nil {
		ok, err := m.Ledger.Adopt(ctx, p.left.ID)
		if err != nil || !ok {
			return transfer.Result{Skipped: "another xfer moves it"}, err
		}
		d.id, d.stage = p.left.ID, p.left.Stage
		d.adopted, d.held = true, d.stage != stageClaiming
		if d.note, err = noteOf(*p.left); err != nil {
			return transfer.Result{}, err
		}
	} else if proceed, err := d.begin(ctx); err != nil || !proceed {
		return d.result, err
	}
	return d.result, d.settle(ctx, d.run(ctx, o))
}

// begin looks whether the file is still there and was not delivered before, and
// writes the intent down.
func (d *delivery) begin(ctx context.Context) (proceed bool, err error) {
	now, err := d.look(ctx, d.From, d.note.Name)
	if err != nil {
		return false, err
	}
	if now == nil {
		d.result.Skipped = "it is gone"
		return false, nil
	}
	if changed, err := d.hasChanged(ctx, now); err != nil || changed {
		d.result.Skipped = "it has changed since it was found complete; the next run looks again"
		return false, err
	}
	d.info = *now
	entry := ledger.Delivery{
		Run: d.Run, Job: d.Key, Partner: d.To.String(""), Source: d.From.String(d.note.Name), Target: d.To.String(d.note.Name),
		Size: now.Size, ModTime: now.ModTime,
	}
	match, err := d.Ledger.Delivered(ctx, entry)
	if err != nil {
		return false, err
	}
	if d.before = match.Other; match.Same != nil {
		same, err := d.isSame(ctx, match.Same)
		if err != nil {
			return false, err
		}
		if !same {
			d.before, match.Same = match.Same, nil
		}
	}
	d.stage = stageSending
	switch {
	case match.Open != nil:
		d.result.Skipped = "an earlier delivery of the name is not settled: xfer recover"
		return false, nil
	case match.Same != nil && !d.Resend:
		// It could not be deleted then; that is all that is left to do.
		d.result.Skipped = "delivered on " + match.Same.Ended.Format(time.DateTime)
		return false, d.finish(ctx)
	}
	if d.Claim != "" {
		d.stage = stageClaiming
		d.note.Claimed = strings.ReplaceAll(d.Claim, "NAME", d.note.Name)
	}
	entry.Stage, entry.Note = d.stage, d.note.String()
	d.id, err = d.Ledger.Intend(ctx, entry)
	failpoint("intended")
	return err == nil, err
}

// hasChanged says whether a file is no longer what was listed. Where only the time is
// another it is listed once more: there are servers that list other times than they
// give for a file.
func (d *delivery) hasChanged(ctx context.Context, now *transfer.Info) (bool, error) {
	if sameState(&d.info, now) {
		return false, nil
	}
	isSized := now.Size >= 0 && d.info.Size >= 0
	if isSized && now.Size != d.info.Size || d.From.Local != "" {
		return true, nil
	}
	listed, err := d.From.side(d.Name).list(ctx, d.From.at(""))
	if err != nil {
		return false, err
	}
	for i := range listed.all() {
		if i.Name == d.note.Name {
			return !sameState(&d.info, &i), nil
		}
	}
	return true, nil
}

// isSame makes sure that what is to be deleted without being sent is what was
// delivered: the size and a time in whole seconds, or minutes, may be the same by
// chance. It reads the file, or asks its server for the hash.
func (d *delivery) isSame(ctx context.Context, before *ledger.Delivery) (bool, error) {
	if before.SHA256 == "" || d.Resend {
		return true, nil
	}
	now, err := d.From.digest(ctx, d.Name, d.note.Name, "SHA-256")
	return err == nil && strings.EqualFold(hex.EncodeToString(now.Sum), before.SHA256), err
}

// look is stat for what may be missing: nil then.
func (d *delivery) look(ctx context.Context, e End, p string) (*transfer.Info, error) {
	info, err := e.side(d.Name).stat(ctx, e.at(p))
	switch {
	case transfer.IsMissing(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &info, nil
}

// enter notes the next stage.
func (d *delivery) enter(ctx context.Context, stage string) error {
	failpoint("before " + stage)
	d.stage = stage
	err := d.Ledger.Stage(ctx, d.id, stage, d.note.String())
	failpoint(stage)
	return err
}

// run takes the delivery from its stage to the end.
func (d *delivery) run(ctx context.Context, o transfer.Observer) error {
	if d.stage == stageClaiming {
		if err := d.claim(ctx); err != nil || d.result.Skipped != "" {
			return err
		}
	}
	if d.stage == stagePublishing {
		arrived, err := d.arrived(ctx)
		if err != nil {
			return err
		}
		if arrived {
			if err := d.enter(ctx, stageDelivered); err != nil {
				return err
			}
		}
	}
	if d.stage != stageDelivered {
		if err := d.send(ctx, o); err != nil {
			return err
		}
		failpoint("published")
		if err := d.enter(ctx, stageDelivered); err != nil {
			return err
		}
	}
	return d.finish(ctx)
}

// claim renames the source, unless another was quicker. What an earlier run left
// may have been renamed already.
func (d *delivery) claim(ctx context.Context) error {
	there, err := d.look(ctx, d.From, d.note.Claimed)
	if err != nil {
		return err
	}
	if there == nil {
		err = d.rename(ctx, d.note.Name, d.note.Claimed)
	}
	if !d.adopted && (there != nil || d.isLate(ctx, err)) {
		d.result.Skipped = "another has claimed it"
		return nil
	}
	if err != nil {
		return err
	}
	d.held = true
	failpoint("claimed")
	return d.enter(ctx, stageSending)
}

// isLate says whether another was quicker with a claim that failed with err: the
// name is gone, or the claimed one has come.
func (d *delivery) isLate(ctx context.Context, err error) bool {
	if err == nil || d.isOpen(err) {
		return false
	}
	name, nameErr := d.look(ctx, d.From, d.note.Name)
	claimed, claimedErr := d.look(ctx, d.From, d.note.Claimed)
	return errors.Join(nameErr, claimedErr) == nil && (name == nil || claimed != nil)
}

// arrived says whether the run that was about to publish has done so.
func (d *delivery) arrived(ctx context.Context) (bool, error) {
	var at side = remoteSide{d.To.Links, d.Name}
	if d.From.Local == "" && d.To.Local != "" {
		at = localSide{} // of a download, whose names are paths of this machine
	}
	_, err := at.stat(ctx, d.note.Temp)
	if !transfer.IsMissing(err) {
		return false, err
	}
	final, err := at.stat(ctx, d.note.Final)
	if err == nil && (final.Size == d.info.Size || final.Size < 0 || d.info.Size < 0) {
		return true, nil
	}
	if err != nil && !transfer.IsMissing(err) {
		return false, err
	}
	target := d.To.String(d.note.Name)
	why, err := d.takenAway(ctx)
	switch {
	case err != nil:
		return false, err
	case why != "":
		d.Warn("it counts as arrived, and taken away since: "+why, target)
		return true, nil
	case d.Unsettled == Arrived:
		d.Warn("it counts as arrived: --unsettled arrived", target)
		return true, nil
	case d.Unsettled == Resend:
		d.Warn("it is sent again, though it may have arrived: --unsettled resend", target)
		return false, nil
	}
	return false, policy.GiveUpOn(d.Name, unsettled(target))
}

func unsettled(target string) *policy.Fault {
	return &policy.Fault{Protocol: policy.Local, Phase: policy.Finish, Op: "recover", Path: target, Cause: policy.CauseUnsettled}
}

// takenAway says by what it is known that files are taken away from the target,
// "" if it is not. What was delivered there last and is gone shows it.
func (d *delivery) takenAway(ctx context.Context) (why string, err error) {
	err = d.To.Links.Use(ctx, d.Name, func(ctx context.Context, l *transfer.Link, _ *policy.Engine) error {
		fact, err := l.TakesFiles(ctx)
		if fact != nil {
			why = fact.Reason
		}
		return err
	})
	if err != nil || why != "" {
		return why, err
	}
	past, err := d.Ledger.Deliveries(ctx, ledger.Query{Job: d.Key, Limit: 100})
	if err != nil {
		return "", err
	}
	const enough = 3
	gone := map[string]bool{}
	for _, p := range past {
		n, err := noteOf(p)
		if p.Outcome != ledger.Done || err != nil || n.Name == d.note.Name || gone[n.Name] {
			continue
		}
		there, err := d.look(ctx, d.To, n.Name)
		if err != nil || there != nil {
			return "", err // they stay
		}
		if gone[n.Name] = true; len(gone) == enough {
			break
		}
	}
	if len(gone) == 0 {
		return "", nil
	}
	why = "what was delivered before is gone, too"
	return why, d.To.Links.Use(ctx, d.Name, func(ctx context.Context, l *transfer.Link, _ *policy.Engine) error {
		if _, err := l.TakesFiles(ctx); err != nil {
			return err
		}
		l.LearnTakesFiles(why)
		return nil
	})
}

// send transfers the file and makes sure that it was one state of it.
func (d *delivery) send(ctx context.Context, o transfer.Observer) (err error) {
	job := d.Job
	job.Hash = true
	job.Publishing = func(ctx context.Context, p transfer.Publication) error {
		if err := d.unchanged(ctx); err != nil {
			return err
		}
		if err := d.distinct(ctx, p); err != nil {
			return err
		}
		if err := d.ownName(ctx, p); err != nil {
			return err
		}
		d.note.Temp, d.note.Final, d.note.SHA256 = p.Temp, p.Final, p.SHA256
		return d.enter(ctx, stagePublishing)
	}
	event := o.Event
	o.Event = func(ev policy.Event) {
		d.codes = append(d.codes, ev.Fault.Code)
		if event != nil {
			event(ev)
		}
	}
	d.result, err = Copy(ctx, d.From, d.To, d.note.source(), d.note.Name, job, o)
	if err == nil && d.before != nil {
		d.Warn(reused(d.before, d.result.SHA256), d.From.String(d.note.Name))
	}
	return err
}

// reused tells of a name that was delivered before.
func reused(before *ledger.Delivery, sum string) string {
	when := before.Ended.Format(time.DateTime)
	if sum != "" && strings.EqualFold(before.SHA256, sum) {
		return "the name was delivered before, with the same content and another time, on " + when
	}
	return "the name was delivered before, with other content, on " + when
}

// unchanged fails when the source is not what it was when it was picked up.
func (d *delivery) unchanged(ctx context.Context) error {
	now, err := d.look(ctx, d.From, d.note.source())
	if err != nil {
		return err
	}
	if now != nil && d.isPicked(now) {
		return nil
	}
	f := &policy.Fault{
		Protocol: policy.Local, Phase: policy.Data, Op: "read", Path: d.From.String(d.note.Name), Cause: policy.CauseRemoteChanged,
		Host: d.From.Links.Location().Host, Text: "it is still being written",
	}
	if d.From.Local != "" {
		f.Cause, f.Host = policy.CauseLocalChanged, ""
	}
	return f
}

// isPicked says whether a file is in the state in which it was picked up. What an
// earlier run picked up is known to the second.
func (d *delivery) isPicked(now *transfer.Info) bool {
	return now.Size == d.info.Size && now.ModTime.Unix() == d.info.ModTime.Unix() && sameState(now, &d.info)
}

// sameState says whether two looks at a file show one state of it. A listing may
// tell its time in another way than the answer about the file alone, and its size
// not at all.
func sameState(a, b *transfer.Info) bool {
	if a.Size >= 0 && b.Size >= 0 && a.Size != b.Size {
		return false
	}
	return a.Precision != b.Precision || a.ModTime.Equal(b.ModTime)
}

// finish takes the source away: the marker first, so that it never stands beside
// a later file of that name. What has been written there since stays, with its
// marker: it was not delivered.
func (d *delivery) finish(ctx context.Context) error {
	there, err := d.look(ctx, d.From, d.note.source())
	if err != nil {
		return err
	}
	if there != nil && !d.isPicked(there) {
		d.Warn("it has changed since it was delivered, and stays to be picked up anew", d.From.String(d.note.Name))
		if d.note.Claimed != "" {
			return d.rename(ctx, d.note.Claimed, d.note.Name)
		}
		return nil
	}
	if d.note.Marker != "" {
		if err := d.remove(ctx, d.note.Marker); err != nil {
			return err
		}
		failpoint("unmarked")
	}
	if there == nil {
		return nil // a run before did it
	}
	if d.Archive == "" {
		err := d.remove(ctx, d.note.source())
		failpoint("finished")
		return err
	}
	if d.note.Archive, err = d.archivePath(ctx); err != nil {
		return err
	}
	err = d.rename(ctx, d.note.source(), d.note.Archive)
	failpoint("finished")
	return err
}

// archivePath is a free name in the archive.
func (d *delivery) archivePath(ctx context.Context) (string, error) {
	first := expandPath(d.Archive, d.note.Name, time.Now())
	for n := range 1000 {
		candidate := first
		if n > 0 {
			ext := path.Ext(first)
			candidate = fmt.Sprintf("%s.%d%s", strings.TrimSuffix(first, ext), n, ext)
		}
		there, err := d.look(ctx, d.From, candidate)
		if err != nil || there == nil {
			return candidate, err
		}
	}
	return "", &policy.Fault{Protocol: policy.Local, Op: "rename", Path: d.From.String(first), Cause: policy.CauseLocalExists}
}

// expandPath fills in the name and the time: "archive/%Y/%m/NAME".
func expandPath(pattern, name string, at time.Time) string {
	if !strings.Contains(pattern, "NAME") {
		pattern = strings.TrimSuffix(pattern, "/") + "/NAME"
	}
	return strings.NewReplacer(
		"%Y", at.Format("2006"), "%m", at.Format("01"), "%d", at.Format("02"),
		"%H", at.Format("15"), "%M", at.Format("04"), "%S", at.Format("05"), "%%", "%", "NAME", name,
	).Replace(pattern)
}

// settle writes down how it ended. What may have arrived, or was interrupted,
// stays open for the next run.
func (d *delivery) settle(ctx context.Context, err error) error {
	switch {
	case err == nil && d.result.Skipped != "":
		return d.Ledger.Settle(ctx, d.id, d.outcome(ledger.Undone, nil))
	case err == nil:
		return d.Ledger.Settle(ctx, d.id, d.outcome(ledger.Done, nil))
	case d.isOpen(err):
		return err
	}
	if d.note.Claimed != "" && d.held {
		if back := d.rename(ctx, d.note.Claimed, d.note.Name); back != nil && !transfer.IsMissing(back) {
			return err // the claimed file stays with the open delivery
		}
	}
	settleErr := d.Ledger.Settle(ctx, d.id, d.outcome(ledger.Failed, err))
	return errors.Join(err, settleErr, d.quarantine(ctx, err))
}

// isOpen says whether err leaves it to the next run to find out what was done.
func (d *delivery) isOpen(err error) bool {
	v := verdictOf(err)
	switch {
	case v.Kind == policy.KindCancelled, v.Rule == string(policy.CauseUnsettled), d.stage == stageDelivered:
		return true
	}
	return v.Kind == policy.KindTemporary && (d.stage == stagePublishing || d.stage == stageClaiming)
}

func (d *delivery) outcome(o ledger.Outcome, err error) ledger.Result {
	r := ledger.Result{Outcome: o, SHA256: d.note.SHA256, Attempts: d.result.Tries, Codes: d.codes, Bytes: d.result.Sent}
	if err != nil {
		r.Rule, r.Reply = verdictOf(err).Rule, policy.FaultOf(err).Said()
	}
	return r
}

func verdictOf(err error) policy.Verdict {
	if g, ok := errors.AsType[*policy.GaveUp](err); ok {
		return g.Verdict
	}
	return policy.Classify(policy.FaultOf(err))
}

// quarantine puts a file aside that failed too often for a reason of its own.
func (d *delivery) quarantine(ctx context.Context, cause error) error {
	if d.Failures == 0 || !isAboutFile(verdictOf(cause).Kind) {
		return nil
	}
	failed, err := d.failed(ctx)
	if err != nil || failed < d.Failures {
		return err
	}
	f, v := policy.FaultOf(cause), verdictOf(cause)
	verdict := fmt.Sprintf("%s\nwhat: %s (%s)\nwhy:  %s   [%s]\nnext: %s\ntries: %d\nto send it again, move it back to %s\n",
		time.Now().Format(time.RFC3339), v.Head, f.Said(), v.Means, v.Rule, v.Next, failed, d.From.String(""))
	to := transfer.Join(d.Quarantine, d.note.Name)
	err = d.From.Links.Use(ctx, d.Name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		if err := transfer.MkdirAll(ctx, l, e, d.Name, d.From.remote(d.Quarantine)); err != nil {
			return err
		}
		return e.Do(ctx, l.Op(d.Name, 0, func(ctx context.Context, s transfer.Session) error {
			_, err := s.Put(ctx, d.From.remote(to+".verdict.txt"), 0, transfer.Source{R: strings.NewReader(verdict), Size: int64(len(verdict))})
			return err
		}))
	})
	if err == nil {
		err = d.rename(ctx, d.note.Name, to)
	}
	if err == nil {
		d.Warn("put into quarantine after "+fmt.Sprint(failed)+" failures", d.From.String(to))
	}
	return err
}

// isAboutFile says whether a failure is one of the file, not of the server or
// the hour.
func isAboutFile(k policy.Kind) bool {
	switch k {
	case policy.KindRefused, policy.KindContent, policy.KindTarget, policy.KindLocal, policy.KindPermission:
		return true
	default:
		return false
	}
}

// failed counts how often the file failed since it was last delivered.
func (d *delivery) failed(ctx context.Context) (n int, err error) {
	list, err := d.Ledger.Deliveries(ctx, ledger.Query{Job: d.Key, Source: d.From.String(d.note.Name)})
	for _, past := range list {
		switch {
		case past.Outcome == ledger.Done:
			return n, err
		case past.Outcome == ledger.Failed:
			if row, ok := policy.RowOf(past.Rule); ok && isAboutFile(row.Kind) {
				n++
			}
		}
	}
	return n, err
}

// rename moves a file within the source.
func (d *delivery) rename(ctx context.Context, from, to string) error {
	return d.From.Links.Use(ctx, d.Name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		if dir := path.Dir(to); dir != "." {
			if err := transfer.MkdirAll(ctx, l, e, d.Name, d.From.remote(dir)); err != nil {
				return err
			}
		}
		return transfer.Rename(ctx, l, e, d.Name, d.From.remote(from), d.From.remote(to), false)
	})
}

// remove deletes a file of the source; one that is gone is fine.
func (d *delivery) remove(ctx context.Context, name string) error {
	err := d.From.Links.Use(ctx, d.Name, func(ctx context.Context, l *transfer.Link, e *policy.Engine) error {
		return transfer.Remove(ctx, l, e, d.Name, d.From.remote(name))
	})
	if transfer.IsMissing(err) {
		return nil
	}
	return err
}
