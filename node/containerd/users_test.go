package containerd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUserFilesThatAreNone reads images whose lists of users are something else than files.
func TestUserFilesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		make func(path string) error
		want string // of the error; empty is none
	}{
		"pipe":      {func(path string) error { return unix.Mkfifo(path, 0o644) }, "it is no plain file: its mode is p"},
		"device":    {func(path string) error { return unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))) }, "it is no plain file: its mode is D"},
		"directory": {func(path string) error { return os.Mkdir(path, 0o755) }, "it is no plain file: its mode is d"},
		"outside":   {func(path string) error { return os.Symlink("/proc/self/status", path) }, ""},
		"dots":      {func(path string) error { return os.Symlink("../../../../../../proc/self/status", path) }, ""},
		"loop":      {func(path string) error { return os.Symlink("passwd", path) }, "/etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := c.make(filepath.Join(dir, "etc", "passwd")); err != nil {
				t.Fatal(err)
			}
			f := new(userFiles)
			err := f.readBelow(dir)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) || len(f.users) > 0 {
				t.Errorf("users %v, error %v; want %q", f.users, err, c.want)
			}
		})
	}
}
