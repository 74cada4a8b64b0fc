package sftp

import (
	"context"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// maxReaddirs is how many READDIRs are under way at most. The number doubles
// with every answer: a small directory costs two round trips, one of 100,000
// entries not a thousand.
const maxReaddirs = 16

// List is of transfer.Session.
func (s *session) List(ctx context.Context, dir string, each func(transfer.Info) error) error {
	if err := transfer.ValidPath(dir); err != nil {
		return err
	}
	ch := s.control
	d, err := ch.handle(ctx, newRequest(fxpOpendir).string(dir))
	if err != nil {
		return ch.fault(policy.Command, "opendir", dir, err)
	}
	defer d.letGo()

	readdir := func() *reply { return ch.tap.start(newRequest(fxpReaddir).string(d.handle), nil) }
	underWay := []*reply{readdir()}
	for want := 1; len(underWay) > 0; {
		r := underWay[0]
		underWay = underWay[1:]
		if err := ch.conn.wait(ctx, ch.conn.limits.Reply, r.done); err != nil {
			return ch.fault(policy.Command, "readdir", dir, err)
		}
		err := r.is(fxpName)
		switch {
		case is(err, fxEOF):
			want = 0 // those under way are still looked at
		case err != nil:
			return ch.fault(policy.Command, "readdir", dir, err)
		default:
			if err := entries(&r.fields, each); err != nil {
				if err == errMalformed {
					return ch.fault(policy.Command, "readdir", dir, err)
				}
				return err
			}
			want = min(2*want, maxReaddirs)
		}
		r.release()
		for len(underWay) < want {
			underWay = append(underWay, readdir())
		}
	}
	return nil
}

// entries hands the entries of one SSH_FXP_NAME over. An error of each stops it.
func entries(f *fields, each func(transfer.Info) error) error {
	for n := f.uint32(); n > 0 && f.err == nil; n-- {
		name, longname := f.string(), f.string()
		a := f.attrs()
		if f.err != nil || name == "." || name == ".." {
			continue
		}
		info := a.info(name, longname)
		if err := transfer.ValidName(name); err != nil {
			info.Bad = err
		}
		if err := each(info); err != nil {
			return err
		}
	}
	return f.err
}
