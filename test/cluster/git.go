package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Repo is a working copy and the bare repository that it pushes to, as a team has them.
type Repo struct {
	Work   string // the working copy
	Origin string // the bare repository that the cluster follows
}

// NewRepo makes a repository below dir whose first commit holds the files of a tree.
func NewRepo(ctx context.Context, dir string, tree fs.FS) (*Repo, error) {
	r := &Repo{Work: filepath.Join(dir, "work"), Origin: filepath.Join(dir, "origin.git")}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.CopyFS(r.Work, tree); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"init", "-q", "--bare", "-b", "main", r.Origin},
		{"init", "-q", "-b", "main"},
		{"remote", "add", "origin", r.Origin},
	} {
		if _, err := r.Git(ctx, args...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Git runs git in the working copy and returns what it printed.
func (r *Repo) Git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.Work
	cmd.Env = append(os.Environ(),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@shop.example",
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@shop.example",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// Commit commits every change of the working copy, pushes it, and returns the new commit.
func (r *Repo) Commit(ctx context.Context, message string) (string, error) {
	for _, args := range [][]string{{"add", "-A"}, {"commit", "-q", "--allow-empty", "-m", message}} {
		if _, err := r.Git(ctx, args...); err != nil {
			return "", err
		}
	}
	return r.Push(ctx)
}

// Push pushes the branch and returns its head.
func (r *Repo) Push(ctx context.Context) (string, error) {
	if _, err := r.Git(ctx, "push", "-q", "origin", "HEAD"); err != nil {
		return "", err
	}
	return r.Git(ctx, "rev-parse", "HEAD")
}

// Edit replaces text in a file of the working copy; not finding it is an error.
func (r *Repo) Edit(file, old, replacement string) error {
	path := filepath.Join(r.Work, file)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte(old)) {
		return fmt.Errorf("%s does not hold %q", file, old)
	}
	return os.WriteFile(path, bytes.ReplaceAll(data, []byte(old), []byte(replacement)), 0o644)
}

// Write makes or replaces a file of the working copy.
func (r *Repo) Write(file, content string) error {
	path := filepath.Join(r.Work, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}
