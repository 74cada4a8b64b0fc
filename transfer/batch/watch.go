package batch

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/xfer-cli/xfer/policy"
)

// Watch calls changed once, and again whenever something below the directory of
// this machine has changed and then been left alone for the settle time. It ends
// with the context, or with the first error of changed.
func Watch(ctx context.Context, dir string, settle time.Duration, changed func() error) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return policy.LocalFault("watch", dir, err)
	}
	defer w.Close() // nothing is owed to it
	if err := watchTree(w, dir); err != nil {
		return err
	}
	timer := time.NewTimer(0) // what changed before we watched
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case ev := <-w.Events:
			if ev.Has(fsnotify.Create) {
				// A directory may have come with files in it. One that is gone
				// again is no loss.
				_ = watchTree(w, ev.Name)
			}
			timer.Reset(settle)
		case err := <-w.Errors:
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return policy.LocalFault("watch", dir, err)
			}
			timer.Reset(settle) // everything is compared in any case
		case <-timer.C:
			if err := changed(); err != nil {
				return err
			}
		}
	}
}

// watchTree watches a directory and those in it. A file is not watched by itself.
func watchTree(w *fsnotify.Watcher, root string) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && p != root:
			return nil
		case err != nil:
			return policy.LocalFault("watch", p, err)
		case !d.IsDir():
			return nil
		case d.Name() == Trash:
			return fs.SkipDir
		}
		if err := w.Add(p); err != nil {
			return policy.LocalFault("watch", p, err)
		}
		return nil
	})
}
