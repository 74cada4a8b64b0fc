package ftp

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
)

// errFinal interrupts a data connection: the server has given its final reply
// and will neither send nor take any more.
var errFinal = errors.New("the server ended the transfer")

// said is the fault of a reply that refuses op.
func (x *interposer) said(phase policy.Phase, op, path string, r reply) *policy.Fault {
	return &policy.Fault{
		Protocol: policy.FTP, Phase: phase, Op: op, Host: x.o.host(), User: x.o.User, Path: path,
		Code: r.code, Text: policy.Sanitize(x.charset.show(r.text())),
	}
}

// because is the fault of something that we found ourselves.
func (x *interposer) because(phase policy.Phase, op, path string, cause policy.Cause, text string) *policy.Fault {
	return &policy.Fault{
		Protocol: policy.FTP, Phase: phase, Op: op, Host: x.o.host(), User: x.o.User, Path: path,
		Cause: cause, Text: text,
	}
}

// lost is the fault of a conversation that broke off: err says how.
func (x *interposer) lost(phase policy.Phase, op, path string, err error) *policy.Fault {
	f := &policy.Fault{
		Protocol: policy.FTP, Phase: phase, Op: op, Host: x.o.host(), User: x.o.User, Path: path, Err: err,
	}
	var stray *strayReply
	var syntax *syntaxError
	switch {
	case errors.As(err, &stray):
		f.Code, f.Text = stray.reply.code, policy.Sanitize(x.charset.show(stray.reply.text()))
		if f.Code != 421 && stray.reply.class() < 4 {
			f.Cause = policy.CauseDesync
		}
	case errors.As(err, &syntax):
		f.Cause, f.Text = policy.CauseSyntax, syntax.what
	case phase <= policy.Auth && isAlert(err):
		// TLS 1.3: a client certificate is missed only after the handshake.
		f.Protocol, f.Text = policy.TLS, plainText(err)
		f.Cause = policy.AlertCause(f.Text)
	default:
		f.Cause = lostCause(x.ctx, err)
		if f.Cause != policy.CauseNoReply {
			f.Text = plainText(err)
		}
	}
	return f
}

func lostCause(ctx context.Context, err error) policy.Cause {
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return policy.CauseDeadline
	case ctx.Err() != nil:
		return policy.CauseCancelled
	case errors.Is(err, errNoReply):
		return policy.CauseNoReply
	case errors.Is(err, errFlood), errors.Is(err, errInjected):
		return policy.CauseDesync
	}
	switch c := policy.NetCause(err); c {
	case "", policy.CauseNotTLS:
		// A record that is no TLS in the middle of a session: a dying child of
		// vsftpd writes "500 OOPS" in clear text.
		return policy.CauseReset
	default:
		return c
	}
}

// unreachable is the fault of a server that could not be reached.
func unreachable(ctx context.Context, o *Options, err error) *policy.Fault {
	if f, ok := errors.AsType[*policy.Fault](err); ok {
		return f // a proxy dialer that knows better
	}
	f := &policy.Fault{
		Protocol: policy.Net, Phase: policy.Connect, Op: "dial", Host: o.host(), User: o.User,
		Cause: policy.NetCause(err), Text: plainText(err), Err: err,
	}
	switch {
	case ctx.Err() != nil:
		f.Cause = lostCause(ctx, err)
	case f.Cause == "":
		f.Cause = policy.CauseUnreachable
	}
	return f
}

// noTLS is the fault of a TLS handshake that failed.
func noTLS(ctx context.Context, o *Options, err error) *policy.Fault {
	f := &policy.Fault{
		Protocol: policy.TLS, Phase: policy.Connect, Op: "handshake", Host: o.host(), User: o.User,
		Cause: policy.NetCause(err), Text: plainText(err), Err: err,
	}
	if cert := auth.CertificateErrorOf(err, o.host()); cert != nil {
		f.Err, f.Text = cert, policy.Sanitize(cert.Error())
		if errors.Is(cert, auth.ErrPin) {
			f.Cause = policy.CauseCertPin
		}
	}
	switch {
	case ctx.Err() != nil:
		f.Cause = lostCause(ctx, err)
	case f.Cause == "" && isAlert(err):
		f.Cause = policy.AlertCause(f.Text)
	case f.Cause == "":
		f.Cause = policy.CauseTLS
	}
	return f
}

// isAlert says whether the other side ended TLS with an alert, whose type package
// tls does not export.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

func isPinError(err error) bool { return errors.Is(err, auth.ErrPin) }

// plainText is the innermost message, without the addresses and local paths
// that the layers above it add.
func plainText(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return policy.Sanitize(dns.Err)
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return policy.Sanitize(strings.TrimPrefix(err.Error(), "tls: "))
}
