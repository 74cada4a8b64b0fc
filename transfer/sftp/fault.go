package sftp

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
)

// fromLibrary makes the library's errors ours: a *status with the server's code
// and words, or errLost.
func fromLibrary(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := errors.AsType[*sftp.StatusError](err); ok {
		// The message has no accessor; Error quotes it between its own words.
		quoted, _ := strconv.QuotedPrefix(strings.TrimPrefix(s.Error(), "sftp: "))
		text, _ := strconv.Unquote(quoted)
		return &status{code: s.Code &^ foreign, text: policy.Sanitize(text)}
	}
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) || policy.NetCause(err) == policy.CauseReset {
		return errLost
	}
	return err
}

// isLost says whether the channel or the connection has ended.
func isLost(err error) bool {
	if _, answered := errors.AsType[*status](err); answered {
		return false
	}
	return errors.Is(err, errLost) || policy.NetCause(err) == policy.CauseReset
}

// fault describes a request that failed on this channel.
func (ch *channel) fault(phase policy.Phase, op, path string, err error) *policy.Fault {
	if f, ok := errors.AsType[*policy.Fault](err); ok {
		return f
	}
	f := &policy.Fault{Protocol: policy.SFTP, Phase: phase, Op: op, Path: path, Err: err}
	if s, ok := errors.AsType[*status](err); ok {
		f.Code, f.Text = int(s.code), s.text
		return f
	}
	if isLost(err) {
		// The server's process ends before the server says how.
		if why := ch.conn.why(); why != nil {
			f.Err = why
		}
		f.Text = ch.lastWords()
	}
	f.Cause = causeOf(f.Err)
	if errors.Is(err, errNotSFTP) || errors.Is(err, errMalformed) {
		f.Text = policy.Sanitize(err.Error())
	}
	return f
}

// causeOf names what no status code names.
func causeOf(err error) policy.Cause {
	if _, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		return policy.CauseChannel
	}
	switch {
	case errors.Is(err, context.Canceled):
		return policy.CauseCancelled
	case errors.Is(err, context.DeadlineExceeded):
		return policy.CauseDeadline
	case errors.Is(err, errNotSFTP):
		return policy.CauseNoSubsystem
	case errors.Is(err, errMalformed):
		return policy.CauseSyntax
	case isLost(err):
		return policy.CauseReset
	}
	if cause := policy.NetCause(err); cause != "" {
		return cause
	}
	// What is left is the libraries' complaint about an answer.
	return policy.CauseSyntax
}

// unconfirmed marks a fault whose request may have been carried out: the answer
// did not come.
func unconfirmed(f *policy.Fault) *policy.Fault {
	if f.Code == 0 && f.Protocol == policy.SFTP {
		f.Phase = policy.Finish
	}
	return f
}

// twoPaths keeps both paths of a rename for the diagnosis.
func twoPaths(f *policy.Fault, from, to string) *policy.Fault {
	f.Err = &os.LinkError{Op: f.Op, Old: from, New: to, Err: f.Err}
	return f
}

// connectFault describes a failure before there is a session.
func connectFault(host string, p policy.Protocol, phase policy.Phase, op string, err error) *policy.Fault {
	if f, ok := errors.AsType[*policy.Fault](err); ok { // of the jump host
		return f
	}
	f := &policy.Fault{Protocol: p, Phase: phase, Op: op, Host: host, Text: policy.Sanitize(err.Error()), Err: err}
	if e, ok := errors.AsType[*auth.HostKeyError](err); ok {
		// As known_hosts spells it, so that "ssh-keygen -R" takes it.
		f.Cause, f.Host, f.File = hostKeyCauses[e.Problem], e.Name(), e.File
		if len(e.Known) > 0 {
			f.File = e.Known[0].File
		}
		f.Text = policy.Sanitize(e.Error())
		return f
	}
	if _, ok := errors.AsType[*auth.KnownHostsError](err); ok {
		f.Cause = policy.CauseKnownHosts
		return f
	}
	if e, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		f.Cause, f.Text = policy.CauseAlgorithms, policy.Sanitize(e.Error())
		return f
	}
	if e, ok := errors.AsType[*auth.LoginError](err); ok {
		f.Cause, f.User, f.Text = loginCause(e), e.User, policy.Sanitize(e.Error())
		return f
	}
	f.Cause = causeOf(err)
	return f
}

var hostKeyCauses = map[auth.HostKeyProblem]policy.Cause{
	auth.HostKeyUnknown:     policy.CauseHostKeyUnknown,
	auth.HostKeyChanged:     policy.CauseHostKeyChanged,
	auth.HostKeyRevoked:     policy.CauseHostKeyRevoked,
	auth.HostKeyCertificate: policy.CauseHostKeyUnknown,
}

// loginCause says whether the server refused us or we had nothing to show.
func loginCause(e *auth.LoginError) policy.Cause {
	if _, ok := errors.AsType[*auth.KeyFileError](e); ok {
		return policy.CauseKeyFile
	}
	if _, ok := errors.AsType[*auth.PassphraseError](e); ok {
		return policy.CausePassphrase
	}
	_, broken := errors.AsType[*auth.SourceError](e)
	switch {
	case e.TooManyKeys:
		return policy.CauseTooManyKeys
	case broken, errors.Is(e, auth.ErrNoSecret):
		return policy.CauseNoSecret
	default:
		return policy.CauseSSHAuth
	}
}
