package objects

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// OpenOwn opens the store of a bare repository that nobody else writes to, clearing away what an interrupted write left.
func OpenOwn(dir string) (*Store, error) {
	if !isGitDir(dir) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoRepository)
	}
	for _, pattern := range []string{"objects/pack/tmp_*", "*.tmp"} {
		left, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, file := range left {
			if err := os.Remove(file); err != nil {
				return nil, err
			}
		}
	}
	return openStore(dir, osfs.New(dir)), nil
}

// bareConfig is what git needs to accept the directory as a repository.
const bareConfig = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"

// Create makes an empty bare repository in dir, which may hold other files.
func Create(dir string) (*Store, error) {
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(d)), 0o755); err != nil {
			return nil, err
		}
	}
	if err := WriteFile(filepath.Join(dir, "config"), []byte(bareConfig)); err != nil {
		return nil, err
	}
	if err := WriteFile(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/main\n")); err != nil {
		return nil, err
	}
	return OpenOwn(dir)
}

// Reset empties a store of Create's, for all who hold it: they find nothing until it is filled again.
func (s *Store) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{"objects", "refs", "packed-refs", "shallow"} {
		if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			return err
		}
	}
	fresh, err := Create(s.dir)
	if err != nil {
		return err
	}
	s.sto = fresh.sto
	s.trees.clear()
	s.damaged.Store(false)
	return nil
}

// WriteFile puts a small file in place as a whole: a reader, and a restart after a crash, sees the old or the new one.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// SetRefs sets references of a store of Create's, all at once, and HEAD to the first name given. All are kept in
// packed-refs, where a branch a and a branch a/b do not get in each other's way.
func (s *Store) SetRefs(head plumbing.ReferenceName, refs map[plumbing.ReferenceName]Hash) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.refs()
	if err != nil {
		return err
	}
	maps.Copy(all, refs)
	var out strings.Builder
	out.WriteString("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&out, "%s %s\n", all[name], name)
	}
	if err := WriteFile(filepath.Join(s.dir, "packed-refs"), []byte(out.String())); err != nil {
		return err
	}
	if head == "" {
		return nil
	}
	return WriteFile(filepath.Join(s.dir, "HEAD"), []byte("ref: "+head.String()+"\n"))
}

func (s *Store) refs() (map[plumbing.ReferenceName]Hash, error) {
	all := map[plumbing.ReferenceName]Hash{}
	f, err := os.Open(filepath.Join(s.dir, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// A line that a crash spoiled is a reference that is no longer known, and will be fetched again.
		if hash, name, ok := strings.Cut(lines.Text(), " "); ok && plumbing.IsHash(hash) {
			all[plumbing.ReferenceName(name)] = plumbing.NewHash(hash)
		}
	}
	return all, nil
}

// Put adds one object. What it names must be there already, so that an object that is there has all below it.
func (s *Store) Put(t plumbing.ObjectType, content []byte) (Hash, error) {
	o := &plumbing.MemoryObject{}
	o.SetType(t)
	if _, err := o.Write(content); err != nil {
		return Hash{}, err
	}
	return o.Hash(), s.put(o)
}

func (s *Store) put(o plumbing.EncodedObject) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.sto.SetEncodedObject(o)
	return err
}

// addPack stores the pack that write produces, and returns its name.
//
// The library's own writer makes the index in place before the pack is: killed in between, it would leave a half index
// that it later takes for a whole one. Here both are complete and on the disk before either has its name, and the
// index has it first, since readers look for packs.
func (s *Store) addPack(write func(io.Writer) error) (err error) {
	dir := filepath.Join(s.dir, "objects", "pack")
	pack, err := os.CreateTemp(dir, "tmp_pack_*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, discard(pack)) }()
	buffered := bufio.NewWriterSize(pack, 64<<10)
	if err := errors.Join(write(buffered), buffered.Flush()); err != nil {
		return err
	}
	if _, err := pack.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var index idxfile.Writer
	parser, err := packfile.NewParser(packfile.NewScanner(pack), &index)
	if err != nil {
		return err
	}
	sum, err := parser.Parse()
	if err != nil {
		return err
	}
	idx, err := os.CreateTemp(dir, "tmp_idx_*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, discard(idx)) }()
	table, err := index.Index()
	if err != nil {
		return err
	}
	if _, err := idxfile.NewEncoder(idx).Encode(table); err != nil {
		return err
	}
	name := filepath.Join(dir, "pack-"+sum.String())
	if err := errors.Join(settle(idx, name+".idx"), settle(pack, name+".pack")); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sto.Reindex()
	return nil
}

// settle brings a temporary file to the disk and gives it its name.
func settle(f *os.File, name string) error {
	if err := errors.Join(f.Chmod(0o444), f.Sync()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// discard closes a temporary file and removes it unless it has got another name.
func discard(f *os.File) error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Remove(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
