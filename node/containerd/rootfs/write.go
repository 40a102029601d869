package rootfs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// An Owner is the user and group that new files belong to.
type Owner struct{ UID, GID int }

// permissions are what of a file's mode is copied: a program that runs as its owner is not made by copying.
const permissions = 0o777

// Write unpacks a tar archive of one file or directory. If the absolute path is a directory the archive's goes into it
// under its own name, else it becomes the path, whose parent must be there. Files that are there are overwritten in
// place; directories are joined. What a link would lead to is never written.
func Write(ctx context.Context, root *os.File, name string, archive io.Reader, owner Owner) error {
	w := writer{ctx: ctx, archive: tar.NewReader(archive), owner: owner}
	into, err := open(root, name, unix.O_PATH|unix.O_DIRECTORY, 0, inRoot)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		if strings.HasSuffix(name, "/") {
			return fmt.Errorf("%s is not a directory", name)
		}
		w.rename = path.Base(name)
		into, err = open(root, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0, inRoot)
	}
	if err != nil {
		return err
	}
	defer into.Close()
	w.into = into
	return w.unpack()
}

type writer struct {
	ctx     context.Context
	archive *tar.Reader
	into    *os.File
	rename  string // what the first part of each name becomes; empty leaves it
	owner   Owner
}

func (w *writer) unpack() error {
	first := ""
	// Modes of directories are set at the end: one that may not be written to is filled first.
	modes := map[string]uint32{}
	var order []string
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		header, err := w.archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		name, top, err := w.place(header.Name)
		if err != nil {
			return err
		}
		if first == "" {
			first = top
		}
		if top != first {
			return fmt.Errorf("the archive holds both %q and %q: one file or directory is copied at a time", first, top)
		}
		if err := w.entry(header, name); err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			modes[name] = uint32(header.Mode) & permissions
			order = append(order, name)
		}
	}
	if first == "" {
		return errors.New("the archive is empty")
	}
	for _, name := range order {
		if err := w.chmodDirectory(name, modes[name]); err != nil {
			return err
		}
	}
	return nil
}

// place says where an entry goes, and what its archive is of.
func (w *writer) place(name string) (where, top string, err error) {
	clean := strings.TrimSuffix(name, "/")
	if !fs.ValidPath(clean) || clean == "." || strings.Count(clean, "/") >= maxDepth || strings.ContainsRune(clean, 0) {
		return "", "", fmt.Errorf("the archive holds the name %q: names must be relative and without \"..\"", name)
	}
	top, rest, below := strings.Cut(clean, "/")
	where = top
	if w.rename != "" {
		where = w.rename
	}
	if below {
		where += "/" + rest
	}
	return where, top, nil
}

func (w *writer) entry(header *tar.Header, name string) error {
	parent, err := open(w.into, path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0, beneath)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer parent.Close()
	if isKernels(parent) {
		return fmt.Errorf("write %s: %w", name, errKernel)
	}
	switch header.Typeflag {
	case tar.TypeDir:
		err = w.directory(parent, path.Base(name))
	case tar.TypeReg:
		err = w.file(parent, path.Base(name), uint32(header.Mode)&permissions)
	case tar.TypeSymlink:
		err = w.link(parent, path.Base(name), header.Linkname)
	default:
		err = fmt.Errorf("the archive holds neither a file, a directory nor a link (type %q)", header.Typeflag)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (w *writer) directory(parent *os.File, name string) error {
	err := unix.Mkdirat(int(parent.Fd()), name, 0o700)
	if errors.Is(err, unix.EEXIST) {
		dir, err := open(parent, name, unix.O_PATH|unix.O_DIRECTORY, 0, beneath)
		if err != nil {
			return err
		}
		return dir.Close()
	} else if err != nil {
		return os.NewSyscallError("mkdir", err)
	}
	return w.own(parent, name)
}

func (w *writer) chmodDirectory(name string, mode uint32) error {
	dir, err := open(w.into, name, unix.O_RDONLY|unix.O_DIRECTORY, 0, beneath)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.NewSyscallError("chmod", unix.Fchmod(int(dir.Fd()), mode))
}

func (w *writer) file(parent *os.File, name string, mode uint32) error {
	const flags = unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	f, err := open(parent, name, flags, 0, beneath)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		f, err = open(parent, name, flags|unix.O_CREAT|unix.O_EXCL, 0o600, beneath)
	}
	if errors.Is(err, unix.ELOOP) {
		return errors.New("a link is in its place: remove that, or name what it leads to")
	} else if err != nil {
		return err
	}
	defer f.Close()
	if err := w.fill(f, mode, created); err != nil {
		return err
	}
	return f.Close()
}

func (w *writer) fill(f *os.File, mode uint32, created bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("what is in its place is not a file")
	}
	if created {
		if err := f.Chown(w.owner.UID, w.owner.GID); err != nil {
			return err
		}
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := io.Copy(f, contextReader{w.ctx, w.archive}); err != nil {
		return err
	}
	return os.NewSyscallError("chmod", unix.Fchmod(int(f.Fd()), mode))
}

// link makes a link, instead of another one but of nothing else.
func (w *writer) link(parent *os.File, name, target string) error {
	var stat unix.Stat_t
	if unix.Fstatat(int(parent.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		if err := unix.Unlinkat(int(parent.Fd()), name, 0); err != nil {
			return os.NewSyscallError("unlink", err)
		}
	}
	if err := unix.Symlinkat(target, int(parent.Fd()), name); err != nil {
		return os.NewSyscallError("symlink", err)
	}
	return w.own(parent, name)
}

func (w *writer) own(parent *os.File, name string) error {
	return os.NewSyscallError("chown", unix.Fchownat(int(parent.Fd()), name, w.owner.UID, w.owner.GID, unix.AT_SYMLINK_NOFOLLOW))
}
