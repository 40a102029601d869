package revert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/mirror"
	"headway.dev/headway/sync/remote"
)

// A server is a repository behind https or ssh. The commit is made in a copy that is thrown away afterwards.
type server struct {
	client *remote.Client
	mirror *mirror.Mirror
	dir    string
	latest *mirror.Snapshot
}

func openServer(ctx context.Context, url remote.URL, o Options) (*server, error) {
	client, err := remote.Dial(url, o.Auth)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "headway-rollback-*")
	if err != nil {
		return nil, err
	}
	s := &server{client: client, dir: dir}
	// The copy shows the whole repository: the directory to bring back may be missing at the head.
	if s.mirror, err = mirror.Open(ctx, mirror.Options{URL: o.URL, Ref: o.Ref, Dir: dir, Auth: o.Auth}); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *server) close() {
	s.client.Close()
	if s.mirror != nil {
		s.mirror.Close()
	}
	_ = os.RemoveAll(s.dir) // what is left of it is in the system's directory for such things
}

func (s *server) objects() *objects.Store { return s.latest.Objects() }

func (s *server) head(ctx context.Context) (plumbing.ReferenceName, objects.Hash, error) {
	var err error
	if s.latest, err = s.mirror.Fetch(ctx); err != nil {
		return "", objects.Hash{}, err
	}
	branch := plumbing.ReferenceName(s.mirror.Followed())
	return branch, s.latest.Commit(), mustBeBranch(branch)
}

func (s *server) resolve(ctx context.Context, rev string) (objects.Hash, error) {
	found, err := s.mirror.At(ctx, rev)
	if err != nil {
		return objects.Hash{}, err
	}
	return found.Commit(), nil
}

func (s *server) publish(ctx context.Context, branch plumbing.ReferenceName, from, to objects.Hash) error {
	return s.client.Push(ctx, branch, from, to, func(w io.Writer) error {
		return s.objects().WritePack(ctx, w, to, from)
	})
}

func mustBeBranch(name plumbing.ReferenceName) error {
	switch {
	case name == "" || name == plumbing.HEAD:
		return errors.New("HEAD is on no branch: name the branch to roll back")
	case !name.IsBranch():
		return fmt.Errorf("%s is not a branch, and only a branch can be rolled back", name)
	}
	return nil
}
