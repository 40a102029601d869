package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
)

// withMounted runs fn with a snapshot mounted, only to read, where nothing but fn sees it: in a mount namespace of its own,
// which ends with fn's thread. It covers the directory for temporary files there, and so a daemon that is killed meanwhile
// leaves neither a mount nor an empty directory on the machine.
func withMounted(mounts []mount.Mount, fn func(dir string) error) error {
	return thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keep mounts to their namespace: %w", err)
		}
		dir := os.TempDir()
		for _, m := range mounts {
			if err := mountToRead(m, dir); err != nil {
				return fmt.Errorf("mount a snapshot to read it: %w", err)
			}
		}
		return fn(dir)
	})
}

// mountToRead mounts one of a snapshot's mounts, only to read, by the calling thread alone: containerd's package mounts what has many
// layers by a thread of its own, which is in the machine's namespace. Layers are named from where they lie, since the names of all
// have to fit into a page.
func mountToRead(m mount.Mount, dir string) error {
	if m.Type != "overlay" {
		m.Options = append(slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == "rw" || o == "ro" }), "ro")
		return m.Mount(dir)
	}
	var layers, options []string
	for _, o := range m.Options {
		switch name, value, _ := strings.Cut(o, "="); name {
		case "upperdir":
			layers = append([]string{value}, layers...)
		case "lowerdir":
			layers = append(layers, strings.Split(value, ":")...)
		case "workdir", "uidmap", "gidmap", "volatile", "fsync", "rw", "ro": // of writing, or of other ids than the image's
		default:
			options = append(options, o)
		}
	}
	if len(layers) == 0 {
		return errors.New("an overlay without layers")
	}
	base := filepath.Dir(filepath.Dir(layers[0]))
	for i, layer := range layers {
		var err error
		if layers[i], err = filepath.Rel(base, layer); err != nil {
			return err
		}
	}
	if err := unix.Chdir(base); err != nil {
		return fmt.Errorf("go to %s: %w", base, err)
	}
	options = append(options, "lowerdir="+strings.Join(layers, ":"))
	return os.NewSyscallError("mount", unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, strings.Join(options, ",")))
}
