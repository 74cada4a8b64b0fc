package batch

import (
	"context"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"unicode"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// casing is what a run of a move knows of names that differ in case only. Windows and
// macOS take them for one, so that of two files one would be left, and both would be
// gone at the source.
type casing struct {
	mu sync.Mutex
	// first has the names that this run has given, by their lower case.
	first map[string]string
	// tried: the target has shown whether it ignores case.
	tried, ignores bool
}

// ownName fails when the file would take the place of another, whose name differs in
// case only.
func (d *delivery) ownName(ctx context.Context, p transfer.Publication) error {
	if p.Temp == p.Final {
		return nil
	}
	name := d.note.Name
	other := d.casing.firstOf(name)
	ignored, err := d.ignoresCase(ctx, path.Base(filepath.ToSlash(p.Temp)), other != name)
	if err != nil || !ignored {
		return err
	}
	if other == name {
		other, err = d.spelled(ctx)
	}
	if err != nil || other == name {
		return err
	}
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Command, Op: "create", Path: d.To.String(name), Cause: policy.CauseCaseOnly,
		Text: "the other is " + policy.Sanitize(other),
	}
}

// firstOf is the first name of this run that differs from name in case at most.
func (c *casing) firstOf(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	folded := strings.ToLower(name)
	if first, ok := c.first[folded]; ok {
		return first
	}
	if c.first == nil {
		c.first = map[string]string{}
	}
	c.first[folded] = name
	return name
}

// ignoresCase says whether the target finds a file that is there, temp, by its name
// in the other case, too. A server is asked only when it matters to this run, as FTP
// servers wait for the final name now; that it does is remembered.
func (d *delivery) ignoresCase(ctx context.Context, temp string, matters bool) (bool, error) {
	c := &d.casing
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tried {
		return c.ignores, nil
	}
	try := func() error {
		there, err := d.look(ctx, d.To, strings.Map(otherCase, temp))
		c.tried, c.ignores = err == nil, there != nil
		return err
	}
	if d.To.Local != "" {
		err := try()
		return c.ignores, err
	}
	err := d.To.Links.Use(ctx, d.Name, func(ctx context.Context, l *transfer.Link, _ *policy.Engine) error {
		known, err := l.IgnoresCase(ctx)
		if err != nil || known || !matters {
			c.ignores = known
			return err
		}
		if err = try(); c.ignores {
			l.LearnIgnoresCase()
		}
		return err
	})
	return c.ignores, err
}

func otherCase(r rune) rune {
	if unicode.IsUpper(r) {
		return unicode.ToLower(r)
	}
	return unicode.ToUpper(r)
}

// spelled is the name of the file that the target has in this one's place, this one's
// if there is none.
func (d *delivery) spelled(ctx context.Context) (string, error) {
	name := d.note.Name
	there, err := d.look(ctx, d.To, name)
	if err != nil || there == nil {
		return name, err
	}
	listed, err := d.To.side(d.Name).list(ctx, d.To.at(""))
	if err != nil {
		return "", err
	}
	other := name
	for i := range listed.all() {
		if i.Name == name {
			return name, nil
		}
		if strings.EqualFold(i.Name, name) {
			other = i.Name
		}
	}
	return other, nil
}
