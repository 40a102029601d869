package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"headway.dev/headway/sync/internal/objects"
)

// Errors of a push.
var (
	ErrMoved    = objects.ErrMoved                          // the branch is no longer where the push expected it
	ErrRejected = errors.New("the server refuses the push") // by its rules, such as a protected branch
)

// Push moves a branch from one commit to a later one. The server compares and sets: a branch that is elsewhere is an
// ErrMoved and left alone. pack writes the objects that the server lacks.
func (c *Client) Push(ctx context.Context, branch plumbing.ReferenceName, from, to objects.Hash, pack func(io.Writer) error) (err error) {
	session, adv, err := open(ctx, c.dialing, func() (transport.ReceivePackSession, error) {
		return c.transport.NewReceivePackSession(c.endpoint, c.auth)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	if adv.References[branch.String()] != from {
		return fmt.Errorf("%s: %w", branch, ErrMoved)
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(adv.Capabilities)
	req.Commands = []*packp.Command{{Name: branch, Old: from, New: to}}
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(pack(w))
	}()
	req.Packfile = r
	report, err := session.ReceivePack(ctx, req)
	_ = r.Close() // releases the writer if the server stopped reading
	<-written
	switch {
	case err == nil:
		return nil
	case report == nil:
		return classify(err)
	}
	// Servers say in their own words that another push came first: ask where the branch is now.
	if now, lookErr := c.tip(ctx, branch); lookErr == nil && now != from {
		return fmt.Errorf("%s: %w: %w", branch, ErrMoved, err)
	}
	return fmt.Errorf("%s: %w: %w", branch, ErrRejected, err)
}

func (c *Client) tip(ctx context.Context, branch plumbing.ReferenceName) (objects.Hash, error) {
	f, err := c.Fetch(ctx)
	if err != nil {
		return objects.Hash{}, err
	}
	return f.Refs.References[branch.String()], f.Close()
}
