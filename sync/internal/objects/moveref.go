package objects

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
)

// ErrMoved is a reference that is not, or may soon no longer be, where the caller believes it to be.
var ErrMoved = errors.New("the branch has moved")

// MoveRef moves a reference from one commit to another in a repository that git uses as well: under git's own lock, so
// that of two who move it at once one fails. A reference that is elsewhere, or locked, is an ErrMoved.
func (s *Store) MoveRef(name plumbing.ReferenceName, from, to Hash) error {
	if err := name.Validate(); err != nil {
		return fmt.Errorf("reference %q: %w", name, err)
	}
	file := filepath.Join(s.dir, filepath.FromSlash(name.String()))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(file+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w: somebody is changing it (if not, remove %s.lock)", name, ErrMoved, file)
	}
	if err != nil {
		return err
	}
	if err := s.writeRef(lock, name, from, to); err != nil {
		return errors.Join(err, lock.Close(), os.Remove(lock.Name()))
	}
	return os.Rename(lock.Name(), file)
}

func (s *Store) writeRef(lock *os.File, name plumbing.ReferenceName, from, to Hash) error {
	now, err := s.Ref(name)
	if err != nil {
		return err
	}
	if now.Hash() != from {
		return fmt.Errorf("%s: %w: it is at %s", name, ErrMoved, now.Hash())
	}
	if _, err := fmt.Fprintln(lock, to); err != nil {
		return err
	}
	return errors.Join(lock.Sync(), lock.Close())
}
