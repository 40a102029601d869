// Package rootfs copies files out of and into the root file system of a container, as tar archives. The container may
// change its files meanwhile: every name is resolved by the kernel below a directory that is held open, so that no link
// and no renaming leads out of it.
package rootfs

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxDepth bounds how deep directories are nested that are copied.
const maxDepth = 128

// open opens a name below a directory. Links lead where they would if the directory were the root; with
// RESOLVE_NO_SYMLINKS there must be none.
func open(dir *os.File, name string, flags int, mode, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: mode, Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(dir.Fd()), name, &how)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue // something was renamed meanwhile, so that the kernel could not tell
		case err != nil:
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// inRoot is how names are resolved that a person gave, beneath how those are that were found.
const (
	inRoot  = unix.RESOLVE_IN_ROOT
	beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
)

// Read writes the file at an absolute path, or the directory with all below it, as a tar archive. The names in it begin
// with the last part of the path. A link at the path is followed, one below it is copied as a link. Devices, sockets and
// pipes are left out and told to skipped. A file that shrinks while it is copied is filled up with zeros.
func Read(ctx context.Context, root *os.File, name string, archive io.Writer, skipped func(why string)) error {
	r := reader{ctx: ctx, archive: tar.NewWriter(archive), skipped: skipped}
	f, err := open(root, name, unix.O_PATH, 0, inRoot)
	if err != nil {
		return err
	}
	defer f.Close()
	if isKernels(f) {
		return fmt.Errorf("%s: %w", name, errKernel)
	}
	base := path.Base(path.Clean(name))
	if base == "/" {
		base = "root"
	}
	if err := r.entry(f, base, 0); err != nil {
		return err
	}
	return r.archive.Close()
}

// errKernel is the error of copying files that are none.
var errKernel = errors.New("it belongs to a file system of the kernel's own, such as /proc: its files are not copied")

// isKernels reports whether a file is one of those by which the kernel shows and changes its state. This program may do
// more to them than the container may.
func isKernels(f *os.File) bool {
	var stat unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &stat) != nil {
		return true
	}
	switch stat.Type {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC,
		unix.TRACEFS_MAGIC, unix.BPF_FS_MAGIC, unix.SECURITYFS_MAGIC:
		return true
	}
	return false
}

type reader struct {
	ctx     context.Context
	archive *tar.Writer
	skipped func(why string)
}

// entry writes what f is, which was opened without reading.
func (r reader) entry(f *os.File, as string, depth int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if isKernels(f) {
		r.skipped(as + ": " + errKernel.Error())
		return nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return &os.PathError{Op: "stat", Path: as, Err: err}
	}
	header := &tar.Header{
		Name: as, Mode: int64(stat.Mode & 0o7777), Uid: int(stat.Uid), Gid: int(stat.Gid),
		ModTime: time.Unix(stat.Mtim.Unix()), Format: tar.FormatPAX,
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return r.file(f, header)
	case unix.S_IFDIR:
		return r.directory(f, header, depth)
	case unix.S_IFLNK:
		return r.link(f, header)
	}
	r.skipped(as + " is neither a file, a directory nor a link")
	return nil
}

// reopen opens what an O_PATH descriptor stands for to be read, by the kernel's own name for it: nothing is looked up.
func reopen(f *os.File, flags int) (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: f.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func (r reader) file(f *os.File, header *tar.Header) error {
	content, err := reopen(f, unix.O_RDONLY)
	if err != nil {
		r.skipped(header.Name + ": " + err.Error())
		return nil
	}
	defer content.Close()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	if err := r.archive.WriteHeader(header); err != nil {
		return err
	}
	n, err := io.Copy(r.archive, io.LimitReader(contextReader{r.ctx, content}, header.Size))
	if err != nil {
		return fmt.Errorf("copy %s: %w", header.Name, err)
	}
	if n == header.Size {
		return nil
	}
	r.skipped(fmt.Sprintf("%s shrank while it was copied: it is filled up with zeros", header.Name))
	_, err = io.CopyN(r.archive, zeros{}, header.Size-n)
	return err
}

func (r reader) directory(f *os.File, header *tar.Header, depth int) error {
	if depth == maxDepth {
		return fmt.Errorf("%s: directories are nested more than %d deep", header.Name, maxDepth)
	}
	dir, err := reopen(f, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	name := header.Name
	header.Typeflag, header.Name = tar.TypeDir, name+"/"
	if err := r.archive.WriteHeader(header); err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("list %s: %w", name, err)
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		child, err := open(dir, e.Name(), unix.O_PATH|unix.O_NOFOLLOW, 0, unix.RESOLVE_BENEATH)
		if errors.Is(err, os.ErrNotExist) {
			continue // it went meanwhile
		} else if err != nil {
			return err
		}
		err = r.entry(child, name+"/"+e.Name(), depth+1)
		child.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (r reader) link(f *os.File, header *tar.Header) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", target)
	if err != nil {
		return &os.PathError{Op: "readlink", Path: header.Name, Err: err}
	}
	header.Typeflag, header.Linkname = tar.TypeSymlink, string(target[:n])
	return r.archive.WriteHeader(header)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A contextReader fails once its context is done.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
