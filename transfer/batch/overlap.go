package batch

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// Distinct fails when both ends of the move are one directory: a file would be
// delivered onto itself, and then deleted. Two names that nobody can tell to mean
// the same server are left to the first delivery.
func (m *Move) Distinct(ctx context.Context) error {
	o, err := overlapOf(ctx, m.Name, m.From, m.To)
	if err == nil && o.rel == "." {
		err = policy.GiveUpOn(m.Name, o.fault(m.To.String("")))
	}
	return err
}

// distinct fails when the temporary file that was just made at the target is at the
// source: both are one directory, under whatever names.
func (d *delivery) distinct(ctx context.Context, p transfer.Publication) error {
	if p.Temp == p.Final || d.apart.Load() {
		return nil
	}
	there, err := d.look(ctx, d.From, path.Base(filepath.ToSlash(p.Temp)))
	switch {
	case err != nil:
		return err
	case there != nil:
		return overlap{rel: "."}.fault(d.To.String(d.note.Name))
	}
	d.apart.Store(true)
	return nil
}

// distinct fails when one end of the sync is inside the other, where the selection
// does not leave it out.
func (s *Sync) distinct(ctx context.Context) error {
	o, err := overlapOf(ctx, s.Name, s.From, s.To)
	if err != nil || o.rel == "" || o.rel != "." && !s.Enters(o.rel) || strings.HasPrefix(o.rel+"/", Trash+"/") {
		return err
	}
	return policy.GiveUpOn(s.Name, o.fault(s.To.String("")))
}

// overlap is how two ends lie to each other.
type overlap struct {
	// rel is the path of the inner one below the other, "." if they are one
	// directory, "" if they are apart.
	rel string
	// source: the inner one is the source.
	source bool
}

func (o overlap) fault(target string) *policy.Fault {
	text := "it is inside the source"
	switch {
	case o.rel == ".":
		text = "it is the source itself"
	case o.source:
		text = "the source is inside it"
	}
	return &policy.Fault{Protocol: policy.Local, Phase: policy.Command, Op: "compare", Path: target, Cause: policy.CauseOverlap, Text: text}
}

func overlapOf(ctx context.Context, name string, from, to End) (overlap, error) {
	if from.Local != "" && to.Local != "" {
		return firstOverlap(localBelow, from.Local, to.Local), nil
	}
	a, b := from.Links.Location(), to.Links.Location()
	if from.Local != "" || to.Local != "" || a.Server() != b.Server() || a.User != b.User {
		return overlap{}, nil
	}
	source, err := from.realpath(ctx, name)
	if err != nil {
		return overlap{}, err
	}
	target, err := to.realpath(ctx, name)
	return firstOverlap(remoteBelow, source, target), err
}

func firstOverlap(below func(outer, inner string) string, source, target string) overlap {
	if rel := below(source, target); rel != "" {
		return overlap{rel: rel}
	}
	rel := below(target, source)
	return overlap{rel: rel, source: rel != ""}
}

func remoteBelow(outer, inner string) string {
	if inner == outer {
		return "."
	}
	rel, ok := strings.CutPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
	if outer == "." && !path.IsAbs(inner) {
		rel, ok = inner, true
	}
	if !ok {
		return ""
	}
	return rel
}

// localBelow compares directories, not names: there are links, mounts, and file
// systems on which names differ in case only.
func localBelow(outer, inner string) string {
	top, err := os.Stat(outer)
	if err != nil {
		return ""
	}
	inner, err = filepath.Abs(inner)
	if err != nil {
		return ""
	}
	inner = resolved(inner)
	for rel := "."; ; {
		if info, err := os.Stat(inner); err == nil && os.SameFile(info, top) {
			return rel
		}
		parent := filepath.Dir(inner)
		if parent == inner {
			return ""
		}
		rel, inner = path.Join(filepath.Base(inner), rel), parent
	}
}

// resolved follows the symbolic links of as much of a path as there is.
func resolved(p string) string {
	if real, err := filepath.EvalSymlinks(p); err == nil {
		return real
	}
	dir := filepath.Dir(p)
	if dir == p {
		return p
	}
	return filepath.Join(resolved(dir), filepath.Base(p))
}

// realpath is the root on the server as the server calls it, if it tells.
func (e End) realpath(ctx context.Context, name string) (real string, err error) {
	err = e.Links.Use(ctx, name, func(ctx context.Context, l *transfer.Link, engine *policy.Engine) error {
		return engine.Do(ctx, l.Op(name, 0, func(ctx context.Context, s transfer.Session) (err error) {
			real, err = realpath(ctx, s, path.Clean(e.Path))
			return err
		}))
	})
	return real, err
}

// realpath resolves as much of a path as there is.
func realpath(ctx context.Context, s transfer.Session, p string) (string, error) {
	ask := s.Extras().Realpath
	if ask == nil {
		return p, nil
	}
	real, err := ask(ctx, p)
	if err == nil || !s.Alive() {
		return real, err
	}
	if p == "." || p == "/" {
		return p, nil
	}
	dir, name := transfer.Split(p)
	real, err = realpath(ctx, s, dir)
	return transfer.Join(real, name), err
}
