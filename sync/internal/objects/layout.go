package objects

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// A Layout says where a repository on this machine keeps its parts.
type Layout struct {
	Worktree  string // the checked out files; empty for a bare repository
	GitDir    string // HEAD and the index: .git, or the part of a linked worktree
	CommonDir string // objects and references; GitDir but for a linked worktree
}

// ErrNoRepository is a directory that holds no repository.
var ErrNoRepository = errors.New("not a Git repository")

// Locate finds the repository at a path: a bare one, one with a .git directory, or a linked worktree.
func Locate(path string) (Layout, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Layout{}, err
	}
	if _, err := os.Stat(path); err != nil {
		return Layout{}, err
	}
	dotGit := filepath.Join(path, ".git")
	info, err := os.Stat(dotGit)
	switch {
	case err == nil && info.IsDir():
		return layoutOf(path, dotGit)
	case err == nil:
		return linked(path, dotGit)
	case isGitDir(path):
		return layoutOf("", path)
	}
	return Layout{}, fmt.Errorf("%s: %w", path, ErrNoRepository)
}

// Discover finds the repository that a path lies in, as git does: at the path or at the nearest directory above it.
func Discover(path string) (Layout, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Layout{}, err
	}
	for dir := path; ; dir = filepath.Dir(dir) {
		layout, err := Locate(dir)
		if err == nil || !errors.Is(err, ErrNoRepository) && !errors.Is(err, fs.ErrNotExist) {
			return layout, err
		}
		if dir == filepath.Dir(dir) {
			return Layout{}, fmt.Errorf("%s: %w, and none of the directories above it is one", path, ErrNoRepository)
		}
	}
}

// linked reads a .git file, which names the directory that stands for it.
func linked(worktree, file string) (Layout, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Layout{}, err
	}
	dir, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "gitdir: ")
	if !ok {
		return Layout{}, fmt.Errorf("%s: %w: the file names no gitdir", file, ErrNoRepository)
	}
	return layoutOf(worktree, relativeTo(worktree, dir))
}

func layoutOf(worktree, gitDir string) (Layout, error) {
	common := gitDir
	data, err := os.ReadFile(filepath.Join(gitDir, "commondir"))
	switch {
	case err == nil:
		common = relativeTo(gitDir, strings.TrimSpace(string(data)))
	case !errors.Is(err, fs.ErrNotExist):
		return Layout{}, err
	}
	if !isGitDir(common) {
		return Layout{}, fmt.Errorf("%s: %w: it lacks HEAD, objects or refs", common, ErrNoRepository)
	}
	return Layout{Worktree: worktree, GitDir: gitDir, CommonDir: common}, nil
}

func relativeTo(base, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

func isGitDir(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// cacheSize is how much of what was read last is kept in memory, in bytes.
const cacheSize = 8 * cache.MiByte

// largeObject is the size in bytes from which an object is streamed and not held in memory.
const largeObject = 8 << 20

// Open gives a store over a repository that others change as well: with git, for example.
func (l Layout) Open() (*Store, error) {
	if err := l.supported(); err != nil {
		return nil, err
	}
	var common billy.Filesystem
	if l.CommonDir != l.GitDir {
		common = osfs.New(l.CommonDir)
	}
	return openStore(l.CommonDir, dotgit.NewRepositoryFilesystem(osfs.New(l.GitDir), common)), nil
}

func openStore(dir string, files billy.Filesystem) *Store {
	return &Store{dir: dir, sto: filesystem.NewStorageWithOptions(files, cache.NewObjectLRU(cacheSize), filesystem.Options{
		LargeObjectThreshold: largeObject,
		AlternatesFS:         osfs.New(filepath.VolumeName(dir)+string(filepath.Separator), osfs.WithBoundOS()),
	})}
}

// supported refuses repositories whose objects or references have a form that cannot be read here.
func (l Layout) supported() error {
	file := filepath.Join(l.CommonDir, "config")
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	c := config.New()
	if err := config.NewDecoder(f).Decode(c); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for name, readable := range map[string]string{"objectformat": "sha1", "refstorage": "files"} {
		if v := c.Section("extensions").Option(name); v != "" && !strings.EqualFold(v, readable) {
			return fmt.Errorf("%s: extensions.%s is %s, and only %s can be read in place: follow the repository over ssh or https, or convert it", file, name, v, readable)
		}
	}
	return nil
}
