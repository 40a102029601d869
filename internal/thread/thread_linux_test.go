package thread_test

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
)

// TestNeverTheFirst: whatever runs on the process's first thread, no function is given it, nor a thread that another had.
func TestNeverTheFirst(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			err := thread.Do(func() error {
				if unix.Gettid() == unix.Getpid() {
					return errors.New("it is the first thread")
				}
				if at, err := os.Readlink("/proc/thread-self/ns/uts"); err != nil || at != own {
					return errors.New("it is a thread that was elsewhere")
				}
				runtime.Gosched()
				return unix.Unshare(unix.CLONE_NEWUTS)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if at, err := os.Readlink("/proc/self/ns/uts"); err != nil || at != own {
		t.Errorf("the process is in %s, and was in %s: %v", at, own, err)
	}
}
