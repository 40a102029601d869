package mirror

import (
	"context"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"

	"headway.dev/headway/sync/internal/objects"
)

// A watch tells of changes to the references of a repository on this machine. Where it misses one, polling finds it.
type watch struct {
	c    chan struct{} // holds one when something changed; nil if there is nothing to watch
	path string
	refs []string // of the ref followed, every name that it can have
	fs   *fsnotify.Watcher
	done sync.WaitGroup
}

// watch begins watching the source, if it is local.
func (m *Mirror) watch(ctx context.Context) *watch {
	w := &watch{}
	path, ok := m.url.Local()
	if !ok {
		return w
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		m.o.Logger.Warn("changes cannot be watched and are found by polling alone", "repository", path, "poll", m.o.Poll, "error", err)
		return w
	}
	w.c, w.path, w.fs = make(chan struct{}, 1), path, watcher
	if m.o.Ref != "" {
		for _, name := range fullNames(m.o.Ref) {
			w.refs = append(w.refs, name.String())
		}
	}
	w.refresh()
	w.done.Go(func() { w.pump(ctx) })
	return w
}

func (w *watch) close() {
	if w.fs != nil {
		_ = w.fs.Close() // ends the pump; there is nothing to lose
		w.done.Wait()
	}
}

// pump turns events into wakes.
func (w *watch) pump(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if !matters(event) {
				continue
			}
		case _, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			// Events were lost: look.
		}
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

// matters leaves out what git writes beside references: locks, the index, messages.
func matters(e fsnotify.Event) bool {
	name := filepath.Base(e.Name)
	switch {
	case strings.HasSuffix(name, ".lock"), e.Op == fsnotify.Chmod:
		return false
	case name == "HEAD", name == "packed-refs", name == "reftable":
		return true
	}
	// Of the repository's own directory only the names above matter; all that lies in refs does.
	return strings.Contains(filepath.ToSlash(e.Name), "/refs")
}

// refresh is to be called before each look: what changes after it wakes, what changed before it is seen by the look.
//
// It watches the directories that a change of the ref touches: that of HEAD, that of packed-refs, and each on the
// way to the loose ref, as far as there are any. Watching one again that is watched changes nothing.
func (w *watch) refresh() {
	if w.fs == nil {
		return
	}
	layout, err := objects.Locate(w.path)
	if err != nil {
		return
	}
	add := func(dir string) bool { return w.fs.Add(dir) == nil }
	add(layout.GitDir)
	add(layout.CommonDir)
	add(filepath.Join(layout.CommonDir, "reftable"))
	for _, ref := range w.targets(layout) {
		dir := layout.CommonDir
		elements := strings.Split(ref, "/")
		for _, element := range elements[:len(elements)-1] {
			if dir = filepath.Join(dir, element); !add(dir) {
				break
			}
		}
	}
}

// targets are the full names of the ref followed; for HEAD, that of the branch that it is on now.
func (w *watch) targets(layout objects.Layout) []string {
	if len(w.refs) > 0 {
		return w.refs
	}
	store, err := layout.Open()
	if err != nil {
		return nil
	}
	name, err := store.SymbolicRef("HEAD")
	if err != nil || name == "" {
		return nil
	}
	return []string{name.String()}
}
