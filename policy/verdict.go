package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Remedy is what the engine does about a fault. GiveUp is the zero value: the
// safest default for a rule that forgot to say.
type Remedy uint8

// The remedies, in no order of severity.
const (
	// GiveUp: trying again cannot help, or may do harm.
	GiveUp Remedy = iota
	// Retry: the same again on the same connection, after a delay.
	Retry
	// Reconnect: drop the connection, log in anew, resume.
	Reconnect
	// SwitchMode: the other of passive and active, at once, once.
	SwitchMode
	// Diagnose: look at the server for the cause, then decide on that.
	Diagnose
	// Reconcile: look whether it happened; never repeat it blindly.
	Reconcile
	// Proceed marks the codes of success. It is never a reason to stop; a
	// fault that carries one means that replies and requests are out of step.
	Proceed
)

var remedyNames = [...]string{"fail", "retry", "reconnect", "switch-mode", "diagnose", "reconcile", "proceed"}

// String gives the name that the configuration and --json use.
func (r Remedy) String() string { return nameOf(remedyNames[:], int(r)) }

// UnmarshalText reads a name as the configuration spells it.
func (r *Remedy) UnmarshalText(text []byte) error {
	i := slices.Index(remedyNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("must be one of %s", strings.Join(remedyNames[:], ", "))
	}
	*r = Remedy(i)
	return nil
}

// MarshalText writes the name.
func (r Remedy) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Pace says how patiently a remedy is repeated.
type Pace uint8

// The paces. Limits gives them their numbers.
const (
	// Steady: all tries, with the normal backoff. A connection that is lost after
	// progress is made anew at once.
	Steady Pace = iota
	// AtOnce: the first repetition without a delay, then as Steady.
	AtOnce
	// Slow: all tries, with Limits.Slow times the delay.
	Slow
	// Few: Limits.Few tries, normal delay.
	Few
	// FewSlow: Limits.Few tries, Limits.Slow times the delay.
	FewSlow
	// Once: one repetition, without a delay.
	Once
)

var paceNames = [...]string{"steady", "at-once", "slow", "few", "few-slow", "once"}

func (p Pace) String() string { return nameOf(paceNames[:], int(p)) }

// Kind groups verdicts by who has to act. Each kind is one exit code.
type Kind uint8

// The kinds. The comment names the sysexits(3) code that cmd/xfer maps it to.
const (
	KindRefused    Kind = iota // 69: the server refuses for good
	KindOK                     // 0
	KindUsage                  // 64
	KindContent                // 65: the content differs after the transfer
	KindMissing                // 66: the source is missing
	KindHost                   // 68: the host is unknown
	KindTarget                 // 73: the target can't be created: exists, is a directory, no space, bad name
	KindLocal                  // 74: this machine's files
	KindTemporary              // 75: may work later
	KindTrust                  // 76: protocol, TLS or host key not trusted
	KindPermission             // 77: login or permission refused
	KindConfig                 // 78
	KindCancelled              // 130
)

var kindNames = [...]string{"refused", "ok", "usage", "content", "missing", "host", "target", "local", "temporary", "trust", "permission", "config", "cancelled"}

func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// Verdict is what a fault means, in the person's words, and what should be done.
type Verdict struct {
	// Rule is the id of the catalogue row, for `xfer explain` and for scripts:
	// "ftp-425", "sftp-disk-full".
	Rule   string
	Remedy Remedy
	Pace   Pace
	Kind   Kind
	// Head says what happened, without the code: "partner.example refused the upload".
	Head string
	// Means says why, and whether trying again can help.
	Means string
	// Evidence is what a diagnosis saw: "0 B of 1.0 GiB free on /in; the file needs 734 MiB".
	Evidence string
	// Next is what the person can do, with commands spelled out.
	Next string
	// Crowded: the server has too many connections of ours; open fewer.
	Crowded bool
	// Login: the credential was refused; it must not be sent again until it changes.
	Login bool
	// Tries and Delay come from an Override, 0 where the Pace decides.
	Tries int
	Delay time.Duration
}
