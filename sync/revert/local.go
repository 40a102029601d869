package revert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"headway.dev/headway/sync/internal/objects"
)

// A local is a repository on this machine.
type local struct {
	layout objects.Layout
	store  *objects.Store
	ref    string
}

func openLocal(path, ref string) (*local, error) {
	layout, err := objects.Discover(path)
	if err != nil {
		return nil, err
	}
	store, err := layout.Open()
	if err != nil {
		return nil, err
	}
	return &local{layout: layout, store: store, ref: ref}, nil
}

func (l *local) close() {}

func (l *local) objects() *objects.Store { return l.store }

func (l *local) head(context.Context) (plumbing.ReferenceName, objects.Hash, error) {
	name := plumbing.ReferenceName(l.ref)
	switch {
	case l.ref == "":
		var err error
		if name, err = l.store.SymbolicRef(plumbing.HEAD); err != nil {
			return "", objects.Hash{}, err
		}
	case !strings.HasPrefix(l.ref, "refs/"):
		name = plumbing.NewBranchReferenceName(l.ref)
	}
	if err := mustBeBranch(name); err != nil {
		return "", objects.Hash{}, err
	}
	ref, err := l.store.Ref(name)
	if err != nil {
		return "", objects.Hash{}, err
	}
	return name, ref.Hash(), nil
}

func (l *local) resolve(_ context.Context, rev string) (objects.Hash, error) {
	parsed, err := objects.ParseRevision(rev)
	if err != nil {
		return objects.Hash{}, err
	}
	h, _, err := l.store.Resolve(parsed)
	return h, err
}

func (l *local) publish(ctx context.Context, branch plumbing.ReferenceName, from, to objects.Hash) error {
	worktree, err := l.worktreeOf(branch)
	if err != nil {
		return err
	}
	if worktree == "" {
		return l.store.MoveRef(branch, from, to)
	}
	return l.advance(ctx, worktree, branch, from, to)
}

// advance moves a branch together with the files that are checked out. It leaves that to git, which knows the filters,
// line endings and sparse checkouts of the working copy, keeps the log of the branch, and touches no file that is not
// part of the rollback.
func (l *local) advance(ctx context.Context, worktree string, branch plumbing.ReferenceName, from, to objects.Hash) error {
	changed, err := git(ctx, worktree, "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return err
	}
	if changed != "" {
		first, _, _ := strings.Cut(changed, "\n")
		return fmt.Errorf("%s: %w (%s, for one)", worktree, ErrDirty, strings.TrimSpace(first))
	}
	if _, err := git(ctx, worktree, "merge", "--quiet", "--ff-only", to.String()); err != nil {
		if ref, lookErr := l.store.Ref(branch); lookErr == nil && ref.Hash() != from {
			return fmt.Errorf("%s: %w: %w", branch, ErrMoved, err)
		}
		return err
	}
	return nil
}

// worktreeOf finds the working copy that has the branch checked out; empty if none has.
func (l *local) worktreeOf(branch plumbing.ReferenceName) (string, error) {
	main, err := l.mainWorktree()
	if err != nil {
		return "", err
	}
	if main != "" && onBranch(l.layout.CommonDir, branch) {
		return main, nil
	}
	linked, err := filepath.Glob(filepath.Join(l.layout.CommonDir, "worktrees", "*"))
	if err != nil {
		return "", err
	}
	for _, dir := range linked {
		if !onBranch(dir, branch) {
			continue
		}
		dotGit, err := os.ReadFile(filepath.Join(dir, "gitdir"))
		if err != nil {
			return "", err
		}
		worktree := filepath.Dir(strings.TrimSpace(string(dotGit)))
		if _, err := os.Stat(worktree); errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not yet pruned
		}
		return worktree, nil
	}
	return "", nil
}

// mainWorktree is the working copy around the repository itself; empty if that is bare.
func (l *local) mainWorktree() (string, error) {
	if l.layout.Worktree != "" && l.layout.GitDir == l.layout.CommonDir {
		return l.layout.Worktree, nil
	}
	around, err := objects.Locate(filepath.Dir(l.layout.CommonDir))
	if errors.Is(err, objects.ErrNoRepository) || err == nil && around.GitDir != l.layout.CommonDir {
		return "", nil
	}
	return around.Worktree, err
}

func onBranch(gitDir string, branch plumbing.ReferenceName) bool {
	head, err := os.ReadFile(filepath.Join(gitDir, "HEAD"))
	return err == nil && strings.TrimSpace(string(head)) == "ref: "+branch.String()
}

// misleading are the variables by which git, when it calls a hook that calls headway, would be kept to its own
// repository.
var misleading = []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_QUARANTINE_PATH"}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(misleading, name)
	}), "LC_ALL=C", "GIT_TERMINAL_PROMPT=0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("the branch is checked out in %s, and to change the files there the git program is needed: %w", dir, err)
	case err != nil:
		return "", fmt.Errorf("git %s in %s: %w: %s", args[0], dir, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}
