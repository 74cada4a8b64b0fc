package main

import "context"

// newDir is a directory that a tree is copied to and that did not exist when the
// copy was begun. Then the tree's own name is left out; and so it must be when the
// command is given once more because the copy was broken off, although the
// directory is there by then.
type newDir struct {
	app *app
	// what is the copy in the ledger, "" if it is none to a new directory.
	what string
}

// resumes says whether an earlier run of the copy from source made target and did
// not come to its end.
func (d *newDir) resumes(ctx context.Context, source, target string) bool {
	what := newDirKey(source, target)
	begun, err := d.app.state.ledger().Begun(ctx, what)
	if err != nil {
		d.app.forgetful(err)
	}
	if begun {
		d.what = what
	}
	return begun
}

// plan says that target does not exist.
func (d *newDir) plan(source, target string) { d.what = newDirKey(source, target) }

// make is called before the directory is made.
func (d *newDir) make(ctx context.Context) {
	if d.what == "" {
		return
	}
	if err := d.app.state.ledger().Begin(ctx, d.what); err != nil {
		d.app.forgetful(err)
	}
}

// complete is called when everything has been copied.
func (d *newDir) complete(ctx context.Context) {
	if d.what == "" {
		return
	}
	if err := d.app.state.ledger().End(context.WithoutCancel(ctx), d.what); err != nil {
		d.app.forgetful(err)
	}
}

func newDirKey(source, target string) string { return "copy " + source + "\x00" + target }
