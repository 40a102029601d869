package volume

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// overwrite says what happens to files that are there.
type overwrite bool

const (
	keep    overwrite = false
	replace overwrite = true
)

// The parts of a volume that the node writes, as Kubernetes lays it out:
//
//	..DIGEST/      the files, in a directory named after what is in them
//	..data         a link to that directory
//	NAME           a link to ..data/NAME, for each file and directory at the top
//
// Renaming ..data is what changes all files at once.
const (
	dataLink    = "..data"
	newDataLink = "..data_new"
	hidden      = ".."
)

// A writer writes one such volume.
type writer struct {
	dir   string
	group *int64 // that the files belong to; nil is root's
}

// write makes the files of the volume these, unless there are some and they are to be kept. A crash at any point leaves the
// files from before or those from now, and what else it leaves the next call takes away.
func (w writer) write(files []file, when overwrite) error {
	if err := os.Mkdir(w.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := w.give(root, ".", 0o755|fs.ModeDir); err != nil { // whatever the umask is
		return err
	}
	current, err := root.Readlink(dataLink)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	target := hidden + digest(files)
	if current != "" && when == keep {
		target = current
	}
	if target != current {
		if err := w.stage(root, target, files); err != nil {
			return err
		}
	}
	return w.link(root, target)
}

// digest names content: files of the same digest are the same.
func digest(files []file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %o %d\n", f.path, f.mode, len(f.data))
		h.Write(f.data)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// stage writes the files into a directory of their own, and has ..data lead there.
func (w writer) stage(root *os.Root, target string, files []file) error {
	for _, half := range []string{target, newDataLink} { // of an earlier, cut-off attempt
		if err := root.RemoveAll(half); err != nil {
			return err
		}
	}
	if err := root.Mkdir(target, 0o755); err != nil {
		return err
	}
	if err := w.give(root, target, 0o755|fs.ModeDir); err != nil {
		return err
	}
	for _, f := range files {
		if err := w.writeFile(root, target, f); err != nil {
			return err
		}
	}
	if err := root.Symlink(target, newDataLink); err != nil {
		return err
	}
	return root.Rename(newDataLink, dataLink)
}

func (w writer) writeFile(root *os.Root, target string, f file) error {
	path := filepath.Join(target, f.path)
	if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	for dir := filepath.Dir(path); dir != target; dir = filepath.Dir(dir) {
		if err := w.give(root, dir, 0o755|fs.ModeDir); err != nil {
			return err
		}
	}
	if err := root.WriteFile(path, f.data, 0o600); err != nil {
		return err
	}
	return w.give(root, path, f.mode)
}

// give sets permissions, and the group, which may read what it owns.
func (w writer) give(root *os.Root, path string, mode fs.FileMode) error {
	if w.group != nil {
		if err := root.Lchown(path, -1, int(*w.group)); err != nil {
			return err
		}
		mode = groupMode(mode, readable)
	}
	return root.Chmod(path, mode)
}

// link makes the links that pods see, and takes away all that belongs to no file of now.
func (w writer) link(root *os.Root, target string) error {
	wanted, err := names(root, target)
	if err != nil {
		return err
	}
	have, err := names(root, ".")
	if err != nil {
		return err
	}
	for _, name := range wanted {
		if slices.Contains(have, name) {
			continue
		}
		if err := root.Symlink(filepath.Join(dataLink, name), name); err != nil {
			return err
		}
	}
	for _, name := range have {
		if name == dataLink || name == target || slices.Contains(wanted, name) {
			continue
		}
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// names lists a directory.
func names(root *os.Root, dir string) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), dir)
	all := make([]string, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all, err
}
