package cdi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long nothing must change before the specifications count as written: some tools write them in place.
const quiet = 100 * time.Millisecond

// Watch calls fn at once, and whenever something has changed in the directories, until ctx is done.
func (d *Devices) Watch(ctx context.Context, fn func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("cdi: watch for devices: %w", err)
	}
	defer func() { _ = w.Close() }()
	settled := time.NewTimer(0) // what changed before the watch began counts too
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, ok := <-w.Events:
			if !ok {
				return errors.New("cdi: the watch for devices ended")
			}
			if d.concerns(event.Name) {
				settled.Reset(quiet)
			}
		case err := <-w.Errors:
			return fmt.Errorf("cdi: watch for devices: %w", err)
		case <-settled.C:
			if err := d.arm(w); err != nil {
				return err
			}
			fn()
		}
	}
}

// concerns reports whether a path is one of the directories, in one, or above one.
func (d *Devices) concerns(path string) bool {
	below := func(path, dir string) bool {
		return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
	}
	for _, dir := range d.dirs {
		if below(path, dir) || below(dir, path) {
			return true
		}
	}
	return false
}

// arm watches each directory, or in its place the nearest one above it that there is.
func (d *Devices) arm(w *fsnotify.Watcher) error {
	for _, dir := range d.dirs {
		for watched := ""; watched != nearest(dir); {
			watched = nearest(dir)
			if err := w.Add(watched); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("cdi: watch %s for devices: %w", watched, err)
			}
		}
	}
	return nil
}

// nearest is the directory, or the first one above it that is there.
func nearest(dir string) string {
	for dir != filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
