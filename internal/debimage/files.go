package debimage

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"headway.dev/headway/internal/testimage"
)

// A collection takes files out of a root file system that packages were unpacked into.
type collection struct {
	root  string
	files map[string]testimage.File // by the path from the root, without a leading slash
}

// keep takes what a pattern matches, directories with all that is below them.
func (c *collection) keep(pattern string) error {
	matches, err := filepath.Glob(filepath.Join(c.root, pattern))
	if err != nil {
		return err
	}
	if len(matches) == 0 {
		return fmt.Errorf("the packages have nothing that matches %s", pattern)
	}
	for _, match := range matches {
		err := filepath.WalkDir(match, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(c.root, file)
			if err != nil {
				return err
			}
			return c.take(name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// take takes one file, a link with what it leads to, a program with the libraries that it needs.
func (c *collection) take(name string) error {
	if _, taken := c.files[name]; taken {
		return nil
	}
	file := filepath.Join(c.root, name)
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return c.takeLink(name)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c.files[name] = testimage.File{Data: data, Mode: info.Mode().Perm()}
	return c.takeLibraries(name)
}

func (c *collection) takeLink(name string) error {
	link, err := os.Readlink(filepath.Join(c.root, name))
	if err != nil {
		return err
	}
	c.files[name] = testimage.File{Mode: fs.ModeSymlink, Link: link}
	target := strings.TrimPrefix(link, "/")
	if !path.IsAbs(link) {
		target = path.Join(path.Dir(name), link)
	}
	info, err := os.Lstat(filepath.Join(c.root, target))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return nil // links into what is made when a package is installed, and to directories, are kept as they are
	} else if err != nil {
		return err
	}
	return c.take(target)
}

// takeLibraries takes what the dynamic linker will look for, if the file is a program or a library.
func (c *collection) takeLibraries(name string) error {
	data := c.files[name].Data
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil
	}
	binary, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	needed, err := binary.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, library := range needed {
		found, err := c.find(library)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := c.take(found); err != nil {
			return err
		}
	}
	return c.takeInterpreter(binary)
}

// takeInterpreter takes the dynamic linker that the kernel starts for the program, at the very path that it names.
func (c *collection) takeInterpreter(binary *elf.File) error {
	for _, segment := range binary.Progs {
		if segment.Type != elf.PT_INTERP {
			continue
		}
		data := make([]byte, segment.Filesz)
		if _, err := segment.ReadAt(data, 0); err != nil {
			return err
		}
		name := strings.Trim(string(data), "/\x00")
		found, err := c.find(path.Base(name))
		if err != nil {
			return err
		}
		if found != name {
			c.files[name] = testimage.File{Mode: fs.ModeSymlink, Link: "/" + found}
		}
		return c.take(found)
	}
	return nil
}

// find looks where Debian has its libraries: before and after the merge of /lib into /usr/lib.
func (c *collection) find(library string) (string, error) {
	for _, pattern := range []string{"lib/*-linux-gnu*", "usr/lib/*-linux-gnu*", "lib", "usr/lib", "lib64", "usr/lib64"} {
		matches, err := filepath.Glob(filepath.Join(c.root, pattern, library))
		if err != nil {
			return "", err
		}
		if len(matches) > 0 {
			return filepath.Rel(c.root, matches[0])
		}
	}
	return "", fmt.Errorf("the packages have no %s", library)
}
