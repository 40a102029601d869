package containerd

import (
	"context"
	"fmt"
	"runtime"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// withMounted runs fn with a file system mounted, only to read, where nothing but fn sees it: in a mount namespace of its own,
// which ends with fn's thread. A daemon that is killed meanwhile leaves no mount on the machine.
func withMounted(ctx context.Context, mounts []mount.Mount, fn func(dir string) error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("keep mounts to their namespace: %w", err)
		}
		return mount.WithReadonlyTempMount(ctx, mounts, fn)
	})
}

// onThread runs fn on a thread that is thrown away afterwards, since it does not come back from where fn takes it. That is
// never the process's first thread: it cannot end, and /proc/self is its.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- onThread(fn) // on another, as this one is held
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}
