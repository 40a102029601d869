package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/testenv"
)

// spoiledDisks are the data directories of two nodes, as disks of their own.
type spoiledDisks struct {
	*stage
	full, readOnly string
}

// diskRoom is the size of the disk that is filled, in bytes.
const diskRoom = 16 << 20

// ownDisks gives a node a disk of its own, until the test ends. What it has before moves there.
func (s *stage) ownDisks() *spoiledDisks {
	s.Helper()
	d := &spoiledDisks{s, filepath.Join(s.Dir, "lab", fullNode), filepath.Join(s.Dir, "lab", readOnlyNode)}
	moved := filepath.Join(s.TempDir(), "disk")
	if err := os.Mkdir(moved, 0o700); err != nil {
		s.Fatal(err)
	}
	d.mount("disk", moved, "tmpfs", fmt.Sprintf("size=%d,mode=700", diskRoom))
	if err := os.CopyFS(moved, os.DirFS(d.full)); err != nil {
		s.Fatal(err)
	}
	d.mount(moved, d.full, "", "")
	return d
}

// mount mounts a file system, or a directory that there is.
func (d *spoiledDisks) mount(source, target, kind, data string) {
	d.Helper()
	var flags uintptr
	if kind == "" {
		flags = unix.MS_BIND
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		d.Fatalf("mount %s: %v", target, err)
	}
	d.Cleanup(func() { d.unmount(target) })
}

// unmount takes the mount away, if it is there.
func (d *spoiledDisks) unmount(target string) {
	d.Helper()
	if err := unix.Unmount(target, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		d.Errorf("unmount %s: %v", target, err)
	}
}

// spoil fills the one and lets nobody write to the other any more, but for what is open already.
func (d *spoiledDisks) spoil() {
	d.Helper()
	f, err := os.Create(d.ballast())
	if err != nil {
		d.Fatal(err)
	}
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		d.Fatal(err)
	}
	if err := f.Close(); err != nil {
		d.Fatal(err)
	}
	d.mount(d.readOnly, d.readOnly, "", "")
	if err := unix.Mount("", d.readOnly, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		d.Fatalf("remount %s: %v", d.readOnly, err)
	}
}

// mend makes both as they were.
func (d *spoiledDisks) mend() {
	d.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.Fatal(err)
	}
	d.unmount(d.readOnly)
}

func (d *spoiledDisks) ballast() string { return filepath.Join(d.full, "ballast") }

// leftovers are what there is of pods on the machine: files, mounts, control groups, shims.
func (s *stage) leftovers(containerd string) []string {
	s.Helper()
	lab := strings.ToLower(strings.TrimPrefix(filepath.Base(s.Dir), "headway-"))
	var all []string
	for _, pattern := range []string{
		filepath.Join(s.Dir, "lab", "n*", "pods", "*"),
		filepath.Join(s.Dir, "lab", "n*", "volumes", "*"),
		filepath.Join(s.Dir, "lab", "n*", "blobs", "*"),
		filepath.Join("/run/headway/lab", lab, "n*", "*", "*"),
		filepath.Join("/sys/fs/cgroup", "headway-"+lab, "n*", "*", "*"),
		filepath.Join("/sys/fs/cgroup", "*", "headway-"+lab, "n*", "*", "*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			s.Fatal(err)
		}
		all = append(all, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if target := strings.Fields(line)[4]; strings.Contains(target, filepath.Dir(containerd)) || strings.Contains(target, lab) {
			all = append(all, "mount "+target)
		}
	}
	for _, node := range []string{"n1", fullNode, readOnlyNode} {
		all = append(all, s.inContainerd(containerd, "headway-"+lab+"-"+node)...)
		shims, err := testenv.Shims(containerd, "headway-"+lab+"-"+node)
		if err != nil {
			s.Fatal(err)
		}
		for _, pid := range shims {
			all = append(all, fmt.Sprint("shim ", pid))
		}
	}
	slices.Sort(all)
	return all
}

// inContainerd are the containers of a node, and the snapshots that can be written to.
func (s *stage) inContainerd(address, namespace string) []string {
	s.Helper()
	c, err := client.New(address, client.WithDefaultNamespace(namespace))
	if err != nil {
		s.Fatal(err)
	}
	defer c.Close()
	var all []string
	records, err := c.ContainerService().List(namespaces.WithNamespace(s.Context(), namespace))
	for _, r := range records {
		all = append(all, "container "+r.ID)
	}
	walk := c.SnapshotService(defaults.DefaultSnapshotter).Walk(namespaces.WithNamespace(s.Context(), namespace), func(_ context.Context, info snapshots.Info) error {
		if info.Kind != snapshots.KindCommitted {
			all = append(all, "snapshot "+info.Name)
		}
		return nil
	})
	if err := errors.Join(err, walk); err != nil {
		s.Fatal(err)
	}
	return all
}

// difference is what there is more of than before, a line each; images stay, and are not counted.
func difference(now, before []string) string {
	more := slices.DeleteFunc(slices.Clone(now), func(one string) bool { return slices.Contains(before, one) })
	return strings.Join(more, "\n")
}
