package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"headway.dev/headway/sync/remote"
)

// A Problem is why there is no snapshot, by what a person can do about it.
type Problem string

// The problems.
const (
	Unreachable Problem = "unreachable" // the server does not answer, or not in a way that is understood: wait
	Denied      Problem = "denied"      // the server refuses the credentials
	NoRepo      Problem = "no-repo"     // there is no repository at the URL
	Empty       Problem = "empty"       // the repository has no commit yet
	NoRef       Problem = "no-ref"      // the branch or tag is not there, or no longer
	NoPath      Problem = "no-path"     // the commit has no such directory
	Broken      Problem = "broken"      // the source or the copy of it is damaged
)

// An Error says why there is no snapshot. It never means that the repository is to be taken as empty.
type Error struct {
	Problem    Problem
	Repository string // the URL, without secrets
	Ref        string // the branch or tag followed; empty for HEAD
	Path       string // of the directory, for NoPath
	Commit     string // the commit in question, where there is one
	Err        error  // the cause
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	ref := or(e.Ref, "HEAD")
	switch e.Problem {
	case Unreachable:
		return fmt.Sprintf("repository %s cannot be reached: %v", e.Repository, e.Err)
	case Denied:
		return fmt.Sprintf("repository %s: %v: check the password, token or key", e.Repository, e.Err)
	case NoRepo:
		return fmt.Sprintf("repository %s: %v: check the URL", e.Repository, e.Err)
	case Empty:
		return fmt.Sprintf("repository %s has no commit yet: push one", e.Repository)
	case NoRef:
		return fmt.Sprintf("repository %s has no branch or tag %s: push it, or follow another", e.Repository, ref)
	case NoPath:
		return fmt.Sprintf("repository %s: %s at commit %s has no directory %s: %v", e.Repository, ref, e.Commit, e.Path, e.Err)
	}
	return fmt.Sprintf("repository %s: %s: %v", e.Repository, ref, e.Err)
}

// same reports whether a second error tells nothing new. Causes are left out of the comparison: they name ports and
// times, which differ at each attempt.
func same(a, b error) bool {
	var x, y *Error
	if !errors.As(a, &x) || !errors.As(b, &y) {
		return a != nil && b != nil && a.Error() == b.Error()
	}
	return x.Problem == y.Problem && x.Commit == y.Commit
}

// problemOf sorts an error of a source.
func problemOf(err error) Problem {
	for known, problem := range map[error]Problem{
		errNoRef:              NoRef,
		remote.ErrEmpty:       Empty,
		remote.ErrDenied:      Denied,
		remote.ErrNotFound:    NoRepo,
		remote.ErrUnreachable: Unreachable,
		context.Canceled:      Unreachable,
		// A server that stalls in the middle of a pack.
		context.DeadlineExceeded: Unreachable,
	} {
		if errors.Is(err, known) {
			return problem
		}
	}
	return Broken
}

// fail makes the error of this mirror out of a cause.
func (m *Mirror) fail(err error) error {
	var done *Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	return &Error{Problem: problemOf(err), Repository: m.url.String(), Ref: m.o.Ref, Err: err}
}

func or(a, b string) string {
	if strings.TrimSpace(a) != "" {
		return a
	}
	return b
}
