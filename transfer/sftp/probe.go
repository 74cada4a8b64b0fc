package sftp

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// probes remembers whether files can be removed again: a server that takes files
// and gives none back would keep the probe of every diagnosis.
type probes struct {
	mu     sync.Mutex
	litter bool
}

func (p *probes) left() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.litter = true
}

func (p *probes) allowed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.litter
}

// probe is the third wave: does a file of one byte get there? ok is false when
// it may not be tried, or nobody would learn from it. A finding without a cause
// only tells what happened.
func (d *diagnosis) probe() (f finding, ok bool) {
	if d.s.o.Probe != ProbeWrite || !d.s.probes.allowed() {
		return finding{}, false
	}
	switch d.fault.Op {
	case "rename", "posix-rename", "link":
		dir, _ := transfer.Split(d.from)
		f = d.probeRename(dir)
	case "open", "write", "close", "fsync", "mkdir", "symlink":
		f = d.probeWrite()
	default:
		return finding{}, false
	}
	return f, true
}

func (d *diagnosis) probeWrite() finding {
	path := probeName(d.parent())
	err := d.s.writeProbe(d, path)
	litter := d.s.removeProbe(d, path)
	switch {
	case code(err) == fxFailure && d.space == nil:
		return finding{cause: policy.CauseRemoteSpaceOrQuota, evidence: "a file of one byte was refused, too: the disk is full or a quota used up" + litter}
	case code(err) == fxFailure:
		return finding{cause: policy.CauseRemoteQuota, evidence: "a file of one byte was refused, too: a quota is used up" + litter}
	case err != nil:
		return finding{evidence: "a file of one byte was refused with: " + policy.FaultOf(err).Said() + litter}
	case d.fault.Op == "open":
		return finding{cause: policy.CauseRemoteBusy, evidence: "another file can be written there, only this one can't: it is in use" + litter}
	case d.fault.Op == "write":
		return finding{cause: policy.CauseRemotePolicy, evidence: "a file of one byte can be written there: the server limits how large a file may be" + litter}
	default:
		return finding{evidence: "a file of one byte can be written there" + litter}
	}
}

func (d *diagnosis) probeRename(sourceDir string) finding {
	from, to := probeName(sourceDir), probeName(d.parent())
	if err := d.s.writeProbe(d, from); err != nil {
		return finding{evidence: "a file of one byte was refused with: " + policy.FaultOf(err).Said() + d.s.removeProbe(d, from)}
	}
	err := d.s.Rename(d.ctx, from, to)
	if err == nil {
		return finding{evidence: "a file of one byte can be renamed there" + d.s.removeProbe(d, to)}
	}
	litter := d.s.removeProbe(d, from)
	if code(err) == fxFailure {
		return finding{cause: policy.CauseRemoteCrossDevice, evidence: "no file can be renamed from one to the other: they are different mounts" + litter}
	}
	return finding{evidence: "renaming a file of one byte was refused with: " + policy.FaultOf(err).Said() + litter}
}

func probeName(dir string) string {
	return transfer.Join(dir, ".xfer-probe-"+strings.ToLower(rand.Text()[:10]))
}

// writeProbe makes a file that must not exist.
func (s *session) writeProbe(d *diagnosis, path string) error {
	ch := s.control
	f, err := ch.openFile(d.ctx, path, openWrite|openCreate|openExcl)
	if err != nil {
		return ch.fault(policy.Command, "open", path, err)
	}
	p := &chunk{n: 1, raw: make([]byte, room+1)}
	written := f.startWrite(p)
	if err = ch.conn.wait(d.ctx, ch.conn.limits.Reply, written.done); err == nil {
		err = written.ok()
	}
	if closeErr := f.command(d.ctx, ch.conn.limits.Final, f.closeRequest()); err == nil {
		err = closeErr
	}
	if err != nil {
		return ch.fault(policy.Command, "write", path, err)
	}
	return nil
}

// removeProbe removes it, if it is there, and says so if it can't.
func (s *session) removeProbe(d *diagnosis, path string) (litter string) {
	err := s.Remove(d.ctx, path)
	if err == nil || code(err) == fxNoSuchFile {
		return ""
	}
	s.probes.left()
	return fmt.Sprintf("; the probe %s could not be removed", path)
}
