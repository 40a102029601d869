// Package thread runs functions on threads of their own, which they may take to other namespaces.
package thread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs fn on a thread that is thrown away afterwards, since it does not come back from where fn takes it. That is never the
// process's first thread: it cannot end, and /proc/self is its.
func Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- Do(fn) // on another, as this one is held
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}
