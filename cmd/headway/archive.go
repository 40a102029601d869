package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// packable checks what is to be copied before anything is sent.
func packable(local string) error {
	info, err := os.Stat(local)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return fmt.Errorf("%s is neither a file nor a directory", local)
	}
	return nil
}

// pack writes a file, or a directory with all below it, as a tar archive whose names begin with its own. What is neither
// a file, a directory nor a link is refused.
func pack(local string, w io.Writer) error {
	// A link that is named is followed; the name stays.
	root, err := filepath.EvalSymlinks(local)
	if err != nil {
		return err
	}
	whole, err := filepath.Abs(local)
	if err != nil {
		return err
	}
	base := filepath.Base(whole)
	if base == string(filepath.Separator) {
		base = "root"
	}
	archive := tar.NewWriter(w)
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		return packEntry(archive, file, path.Join(base, filepath.ToSlash(rel)), entry)
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

func packEntry(archive *tar.Writer, file, name string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(file); err != nil {
			return err
		}
	case !info.Mode().IsRegular() && !info.IsDir():
		return fmt.Errorf("%s is neither a file, a directory nor a link", file)
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name, header.Format = name, tar.FormatPAX
	// Whose it is here means nothing there.
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	if info.IsDir() {
		header.Name += "/"
	}
	if err := archive.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(archive, f); err != nil {
		return fmt.Errorf("copy %s: %w", file, err)
	}
	return nil
}

// An unpacker writes an archive that a container has a part in: no name and no link in it leads out of the target.
type unpacker struct {
	root   *os.Root
	top    string // what the archive is of
	rename string // what that becomes here; empty leaves it
	links  []*tar.Header
	modes  map[string]fs.FileMode // of directories, set at the end
	notes  io.Writer
}

// unpack writes a tar archive of one file or directory into a directory, or as the target if that is none. Links that
// lead out of it are left out, and told to notes.
func unpack(local string, r io.Reader, notes io.Writer) error {
	u := unpacker{notes: notes, modes: map[string]fs.FileMode{}}
	into := local
	if info, err := os.Stat(local); err != nil || !info.IsDir() {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		into, u.rename = filepath.Dir(local), filepath.Base(local)
	}
	var err error
	if u.root, err = os.OpenRoot(into); err != nil {
		return err
	}
	defer u.root.Close()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if err := u.entry(header, archive); err != nil {
			return err
		}
	}
	if u.top == "" {
		return errors.New("nothing came")
	}
	return u.finish()
}

func (u *unpacker) entry(header *tar.Header, content io.Reader) error {
	clean := strings.TrimSuffix(header.Name, "/")
	top, rest, _ := strings.Cut(clean, "/")
	if u.top == "" {
		u.top = top
	}
	if !fs.ValidPath(clean) || clean == "." || top != u.top || !filepath.IsLocal(filepath.FromSlash(clean)) {
		return fmt.Errorf("the node sends a file by the name %q, which was not asked for", header.Name)
	}
	name := top
	if u.rename != "" {
		name = u.rename
	}
	name = path.Join(name, rest)
	mode := fs.FileMode(header.Mode) & fs.ModePerm
	switch header.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		u.modes[name] = mode
		return nil
	case tar.TypeReg:
		return u.file(name, mode, content)
	case tar.TypeSymlink:
		link := *header
		link.Name = name
		u.links = append(u.links, &link)
		return nil
	}
	return fmt.Errorf("the node sends %q, which is neither a file, a directory nor a link", header.Name)
}

func (u *unpacker) file(name string, mode fs.FileMode, content io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err := errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}

// finish makes the links, when nothing is left that could be written through them, and sets the directories' modes.
func (u *unpacker) finish() error {
	made := map[string]bool{}
	for _, link := range u.links {
		if why := u.refuses(link, made); why != "" {
			fmt.Fprintf(u.notes, "headway: left out the link %s to %q: %s\n", link.Name, link.Linkname, why)
			continue
		}
		if info, err := u.root.Lstat(link.Name); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if err := u.root.Remove(link.Name); err != nil {
				return err
			}
		}
		if err := u.root.Symlink(filepath.FromSlash(link.Linkname), link.Name); err != nil {
			return err
		}
		made[link.Name] = true
	}
	for name, mode := range u.modes {
		if err := u.root.Chmod(name, mode); err != nil {
			return err
		}
	}
	return nil
}

// refuses says why a link is not made; empty if it is.
func (u *unpacker) refuses(link *tar.Header, made map[string]bool) string {
	for above := path.Dir(link.Name); above != "."; above = path.Dir(above) {
		if made[above] {
			return "it lies behind another link"
		}
	}
	top, _, _ := strings.Cut(link.Name, "/")
	to := path.Join(path.Dir(link.Name), link.Linkname)
	if path.IsAbs(link.Linkname) || to != top && !strings.HasPrefix(to, top+"/") {
		return "it leads out of what was copied"
	}
	return ""
}
