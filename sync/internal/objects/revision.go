package objects

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// A Revision is an expression that names a commit, as git rev-parse reads it: a base (a branch, a tag, a reference by
// its full name, HEAD, a hash or the beginning of one) and the steps from there to an ancestor: ~N, ^N.
type Revision struct {
	Base  string
	Steps []Step
}

// A Step goes to parent number Parent, counted from one, Times times over.
type Step struct{ Parent, Times int }

// ParseRevision reads an expression. HEAD is the base when none is written.
func ParseRevision(s string) (Revision, error) {
	end := strings.IndexAny(s, "~^@:")
	if end < 0 {
		end = len(s)
	}
	rev := Revision{Base: s[:end]}
	rest := s[end:]
	if rev.Base == "" && strings.HasPrefix(rest, "@") {
		rest = rest[1:]
		rev.Base = "HEAD"
	}
	if rev.Base == "" || strings.ContainsAny(rev.Base, " \t\n?*[\\\x00") || strings.Contains(rev.Base, "..") {
		return Revision{}, fmt.Errorf("%q names no commit: write a branch, a tag or a hash, with ~N or ^N for its ancestors", s)
	}
	for rest != "" {
		op := rest[0]
		digits := len(rest) - 1 - len(strings.TrimLeft(rest[1:], "0123456789"))
		n := 1
		if digits > 0 {
			var err error
			if n, err = strconv.Atoi(rest[1 : 1+digits]); err != nil {
				return Revision{}, fmt.Errorf("%q: %w", s, err)
			}
		}
		switch {
		case op == '~':
			rev.Steps = append(rev.Steps, Step{Parent: 1, Times: n})
		case op == '^' && (strings.HasPrefix(rest[1:], "{commit}") || strings.HasPrefix(rest[1:], "{}")):
			digits = strings.IndexByte(rest, '}')
		case op == '^' && n == 0: // the commit itself
		case op == '^':
			rev.Steps = append(rev.Steps, Step{Parent: n, Times: 1})
		default:
			return Revision{}, fmt.Errorf("%q: of revision expressions, ~N and ^N are understood after a name, and not %q", s, rest)
		}
		rest = rest[1+digits:]
	}
	return rev, nil
}

// Resolve finds the commit that an expression names. ref is the reference that its base names, if it names one.
func (s *Store) Resolve(rev Revision) (commit Hash, ref plumbing.ReferenceName, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ref, err := s.base(rev.Base)
	if err != nil {
		return Hash{}, "", err
	}
	if at, err = s.peel(at); err != nil {
		return Hash{}, "", err
	}
	for _, step := range rev.Steps {
		for range step.Times {
			parents, err := s.parents(at)
			if err != nil {
				return Hash{}, "", err
			}
			if len(parents) < step.Parent {
				return Hash{}, "", fmt.Errorf("commit %s has %d parents, and number %d is asked for: %w", at, len(parents), step.Parent, ErrNotFound)
			}
			at = parents[step.Parent-1]
		}
	}
	return at, ref, nil
}

// Parents lists a commit's parents, none where the history is cut off.
func (s *Store) Parents(h Hash) ([]Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parents(h)
}

func (s *Store) parents(h Hash) ([]Hash, error) {
	raw, err := s.read(plumbing.CommitObject, h)
	if err != nil {
		return nil, err
	}
	c, err := decodeCommit(raw)
	if err != nil {
		return nil, s.broken(err)
	}
	cut, err := s.sto.Shallow()
	if err != nil || slices.Contains(cut, h) {
		return nil, err
	}
	return c.ParentHashes, nil
}

// refRules are the places where git looks for a short name, first found wins.
var refRules = []string{"%s", "refs/%s", "refs/tags/%s", "refs/heads/%s", "refs/remotes/%s", "refs/remotes/%s/HEAD"}

func (s *Store) base(name string) (Hash, plumbing.ReferenceName, error) {
	if len(name) == 2*hashSize && plumbing.IsHash(name) {
		h := plumbing.NewHash(name)
		if s.sto.HasEncodedObject(h) != nil {
			s.sto.Reindex()
			if s.sto.HasEncodedObject(h) != nil {
				return Hash{}, "", fmt.Errorf("commit %s: %w", name, ErrNotFound)
			}
		}
		return h, "", nil
	}
	for _, rule := range refRules {
		full := plumbing.ReferenceName(fmt.Sprintf(rule, name))
		if !strings.HasPrefix(full.String(), "refs/") && !isPseudoRef(name) {
			continue
		}
		switch ref, err := storer.ResolveReference(s.sto, full); {
		case err == nil:
			return ref.Hash(), ref.Name(), nil
		case !errors.Is(err, plumbing.ErrReferenceNotFound):
			return Hash{}, "", fmt.Errorf("reference %s: %w", full, err)
		}
	}
	h, err := s.abbreviated(name)
	return h, "", err
}

// isPseudoRef tells names such as HEAD and ORIG_HEAD, which lie beside refs.
func isPseudoRef(name string) bool { return strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" }

// Ref reads a reference by its full name, through symbolic ones.
func (s *Store) Ref(name plumbing.ReferenceName) (*plumbing.Reference, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref, err := storer.ResolveReference(s.sto, name)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return nil, fmt.Errorf("reference %s: %w", name, ErrNotFound)
	}
	return ref, err
}

// SymbolicRef reads what a symbolic reference such as HEAD points to; empty when it holds a hash.
func (s *Store) SymbolicRef(name plumbing.ReferenceName) (plumbing.ReferenceName, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref, err := s.sto.Reference(name)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return "", fmt.Errorf("reference %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	return ref.Target(), nil
}

// HasRefs reports whether there is any branch or tag. It looks at the names alone: the library's list also reads the
// locks that git puts beside a reference while it changes it.
func (s *Store) HasRefs() (bool, error) {
	packed, err := s.refs()
	if err != nil || len(packed) > 0 {
		return len(packed) > 0, err
	}
	found := false
	err = filepath.WalkDir(filepath.Join(s.dir, "refs"), func(_ string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // deleted meanwhile
			return nil
		case err == nil && d.Type().IsRegular() && !strings.HasSuffix(d.Name(), ".lock"):
			found = true
			return fs.SkipAll
		}
		return err
	})
	return found, err
}

// minAbbreviation is git's shortest.
const minAbbreviation = 4

// abbreviated finds the one commit whose hash begins so. Tags and other objects do not count, as git has it.
func (s *Store) abbreviated(prefix string) (Hash, error) {
	unknown := fmt.Errorf("%q: no branch, tag or commit of that name: %w", prefix, ErrNotFound)
	even, err := hex.DecodeString(strings.ToLower(prefix[:len(prefix)&^1]))
	if err != nil || len(prefix) < minAbbreviation || len(prefix) > 2*hashSize {
		return Hash{}, unknown
	}
	all, err := s.sto.HashesWithPrefix(even)
	if err != nil {
		return Hash{}, err
	}
	var commits []Hash
	for _, h := range all {
		if !strings.HasPrefix(h.String(), strings.ToLower(prefix)) {
			continue
		}
		if _, err := s.sto.EncodedObject(plumbing.CommitObject, h); err == nil {
			commits = append(commits, h)
		}
	}
	switch len(commits) {
	case 0:
		return Hash{}, unknown
	case 1:
		return commits[0], nil
	}
	return Hash{}, fmt.Errorf("%q is the beginning of %d commits: write more digits", prefix, len(commits))
}
