package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
)

// pins hold the namespaces of pods by bind mounts, so that they need no process.
//
// The mounts are in a mount namespace of their own, and nothing else is. For each container runc and containerd read the table of
// all mounts that they see, again and again: among them, three mounts of each pod would have every pod slow down the start of
// every other. That mount namespace outlives the daemon by a mount of itself, the anchor. What is in it is reached by the
// root directory of a thread that stays there, through a link that each daemon sets anew: so paths stay the same.
type pins struct {
	anchor, link string
	work         chan func()
	ended        chan struct{}
	end          func()
}

// kinds are the namespaces of a pod, as /proc names them.
var kinds = []string{"net", "ipc", "uts"}

// openPins makes the mount namespace that is anchored in a directory, or finds it.
func openPins(dir string) (*pins, error) {
	p := &pins{anchor: filepath.Join(dir, "namespace"), link: filepath.Join(dir, "pods"), work: make(chan func()), ended: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.ended) })
	entered := make(chan error, 2)
	tid := 0
	go func() {
		entered <- thread.Do(func() error {
			if err := p.enter(dir); err != nil {
				return err
			}
			tid = unix.Gettid()
			entered <- nil
			for {
				select {
				case fn := <-p.work:
					fn()
				case <-p.ended:
					return nil
				}
			}
		})
	}()
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("namespace of mounts for pods' namespaces: %w", err)
	}
	if err := p.publish(tid); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// enter takes the thread into the mount namespace, or into a new one that holds nothing but an empty directory.
func (p *pins) enter(dir string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if pinned(p.anchor) {
		f, err := os.Open(p.anchor)
		if err != nil {
			return err
		}
		defer f.Close()
		return os.NewSyscallError("setns", unix.Setns(int(f.Fd()), unix.CLONE_NEWNS))
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"unshare", func() error { return unix.Unshare(unix.CLONE_NEWNS) }},
		{"keep mounts apart", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"mount", func() error {
			return unix.Mount("headway", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700")
		}},
		{"chdir", func() error { return unix.Chdir(dir) }},
		{"pivot_root", func() error { return unix.PivotRoot(".", ".") }}, // the old root is on top of the new one then
		{"unmount the machine's root", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"chdir", func() error { return unix.Chdir("/") }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// publish has the mount namespace that the thread is in stay, and the link lead there.
func (p *pins) publish(tid int) error {
	task := fmt.Sprintf("/proc/%d/task/%d", os.Getpid(), tid)
	if !pinned(p.anchor) {
		if err := bind(task+"/ns/mnt", p.anchor); err != nil {
			return err
		}
	}
	next := p.link + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(task+"/root", next); err != nil {
		return err
	}
	return os.Rename(next, p.link)
}

// bind mounts a namespace on a file, which it makes.
func bind(namespace, path string) error {
	if err := os.WriteFile(path, nil, 0o400); err != nil {
		return err
	}
	if err := unix.Mount(namespace, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin the namespace to %s: %w", path, err)
	}
	return nil
}

// close lets go of the mount namespace, which stays.
func (p *pins) close() { p.end() }

// remove gives up the mount namespace, with all that is pinned there.
func (p *pins) remove() error {
	p.end()
	if err := unix.Unmount(p.anchor, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", p.anchor, err)
	}
	return nil
}

// do runs fn where the mounts are: its root directory is theirs.
func (p *pins) do(fn func() error) error {
	done := make(chan error, 1)
	select {
	case p.work <- func() { done <- fn() }:
		return <-done
	case <-p.ended:
		return os.ErrClosed
	}
}

// path leads to a namespace of a pod.
func (p *pins) path(uid, kind string) string { return filepath.Join(p.link, uid, kind) }

// pods lists those of which anything is there.
func (p *pins) pods() ([]string, error) {
	entries, err := os.ReadDir(p.link)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	uids := make([]string, len(entries))
	for i, e := range entries {
		uids[i] = e.Name()
	}
	return uids, nil
}

// whole reports whether all namespaces of a pod are pinned.
func (p *pins) whole(uid string) bool {
	for _, kind := range kinds {
		if !pinned(p.path(uid, kind)) {
			return false
		}
	}
	return true
}

// pin holds the namespaces that the calling thread is in, as those of a pod.
func (p *pins) pin(uid string) error {
	if err := os.MkdirAll(filepath.Join(p.link, uid), 0o700); err != nil {
		return err
	}
	for _, kind := range kinds {
		ns, err := os.Open("/proc/thread-self/ns/" + kind)
		if err != nil {
			return err
		}
		err = p.do(func() error { return attachTree(ns, filepath.Join("/", uid, kind)) })
		if err = errors.Join(err, ns.Close()); err != nil {
			return fmt.Errorf("pin the namespace to %s: %w", p.path(uid, kind), err)
		}
	}
	return nil
}

// attachTree mounts an open namespace on a file, which it makes. There is no /proc that could name it.
func attachTree(ns *os.File, path string) error {
	if err := os.WriteFile(path, nil, 0o400); err != nil {
		return err
	}
	tree, err := unix.OpenTree(int(ns.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(tree)
	return os.NewSyscallError("move_mount", unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// unpin lets go of a pod's namespaces and deletes its directory.
func (p *pins) unpin(uid string) error {
	return p.do(func() error {
		dir := filepath.Join("/", uid)
		var errs []error
		for _, kind := range kinds {
			path := filepath.Join(dir, kind)
			for pinned(path) { // a crash may have left one on top of another
				if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
					errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
					break
				}
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// pinned reports whether the path is a namespace.
func pinned(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}
