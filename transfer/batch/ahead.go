package batch

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/xfer-cli/xfer/transfer"
)

const (
	// aheadDirs is how many directories beside each other are listed before the
	// walk comes to them.
	aheadDirs = 8
	// aheadEntries is how many entries such a listing may have. That of a larger
	// directory is dropped, and made when the walk is there: memory is to hold one
	// large directory, not eight.
	aheadEntries = 4096
)

// errLarge ends a listing that is made ahead.
var errLarge = errors.New("the directory is large")

// ahead is a server whose directories are listed while the walk is still busy
// with those before: of a far server each takes several round trips, one after
// the other. Only the goroutine of the walk uses it.
type ahead struct {
	remoteSide
	ctx   context.Context
	early map[string]*early
	wg    sync.WaitGroup
}

// early is a listing that was begun ahead.
type early struct {
	done chan struct{}
	list *listing
	err  error
}

// lookAhead makes a side list ahead, if that is worth it. end is to be called
// when the walk is over, and ends what is under way.
func lookAhead(ctx context.Context, s side) (_ side, end func()) {
	remote, ok := s.(remoteSide)
	if !ok {
		return s, func() {} // a disk answers at once
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{remoteSide: remote, ctx: ctx, early: map[string]*early{}}
	return a, func() {
		cancel()
		a.wg.Wait()
	}
}

// begin lists a directory ahead.
func begin(s side, dir string) {
	a, ok := s.(*ahead)
	if !ok || a.early[dir] != nil {
		return
	}
	e := &early{done: make(chan struct{})}
	a.early[dir] = e
	a.wg.Go(func() {
		defer close(e.done)
		e.list, e.err = a.listUpTo(a.ctx, dir, aheadEntries)
	})
}

// forget drops the listing of a directory that the walk has passed by after all.
func forget(s side, dir string) {
	if a, ok := s.(*ahead); ok {
		delete(a.early, dir)
	}
}

func (a *ahead) list(ctx context.Context, dir string) (*listing, error) {
	if e := a.early[dir]; e != nil {
		<-e.done // a.ctx ends with ctx
		delete(a.early, dir)
		if e.err != errLarge {
			return e.list, e.err
		}
	}
	return a.remoteSide.list(ctx, dir)
}

// scout goes through the directories of a listing before the walk does.
type scout struct {
	list *listing
	next int
	// begun are the names of the directories that the walk has not come to.
	begun []string
	// begin lists one of them ahead, unless the walk will pass it by.
	begin func(name string) bool
}

// entering tells that the walk has come to a directory of the listing.
func (s *scout) entering(name string) {
	for len(s.begun) > 0 && s.begun[0] <= name {
		s.begun = s.begun[1:]
	}
	for ; s.next < s.list.len() && len(s.begun) < aheadDirs; s.next++ {
		it := &s.list.items[s.next]
		if !it.mode.IsDir() || it.bad != 0 || slices.Compare(s.list.name(it), []byte(name)) <= 0 {
			continue
		}
		if found := string(s.list.name(it)); !transfer.IsTemp(found) && s.begin(found) {
			s.begun = append(s.begun, found)
		}
	}
}
