package controller

import (
	"context"
	"errors"
	"io/fs"

	"headway.dev/headway/api"
	"headway.dev/headway/sync/mirror"
)

// FromMirror makes a source of a mirror.
func FromMirror(m *mirror.Mirror) Source { return mirrored{m} }

type mirrored struct{ mirror *mirror.Mirror }

func (m mirrored) Run(ctx context.Context, fn func(Update)) error {
	return m.mirror.Run(ctx, func(u mirror.Update) {
		if u.Err != nil {
			fn(Update{Err: u.Err})
			return
		}
		fn(Update{Snapshot: mirroredSnapshot{u.Snapshot}})
	})
}

type mirroredSnapshot struct{ snapshot *mirror.Snapshot }

func (s mirroredSnapshot) Revision() api.Revision { return s.snapshot.Revision }

func (s mirroredSnapshot) FS() fs.FS { return s.snapshot.FS() }

func (s mirroredSnapshot) Parent(ctx context.Context) (Snapshot, error) {
	parent, err := s.snapshot.Parent(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return mirroredSnapshot{parent}, nil
}
