package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"golang.org/x/crypto/ssh"

	"headway.dev/headway/sync/internal/objects"
)

// Errors by what is to be done: wait, mend the credentials, mend the URL, push a first commit.
var (
	ErrUnreachable = errors.New("the server cannot be reached")
	ErrDenied      = errors.New("the server refuses the credentials")
	ErrNotFound    = errors.New("there is no such repository")
	ErrEmpty       = errors.New("the repository has no commit")
)

// answerTimeout is how long a server may take to find out what to send.
const answerTimeout = time.Minute

func httpClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = answerTimeout
	return &http.Client{Transport: t}
}

type agentAuth struct {
	user   string
	helper gitssh.HostKeyCallbackHelper
}

func (agentAuth) Name() string   { return gitssh.PublicKeysCallbackName }
func (agentAuth) String() string { return "ssh agent" }

// ClientConfig asks the agent for its keys.
func (a agentAuth) ClientConfig() (*ssh.ClientConfig, error) {
	keys, err := gitssh.NewSSHAgentAuth(a.user)
	if err != nil {
		return nil, fmt.Errorf("no ssh key is given, and no ssh agent answers: %w", err)
	}
	keys.HostKeyCallbackHelper = a.helper
	return keys.ClientConfig()
}

// open makes a session and reads which references the server has. The ssh library dials without a context: where ctx
// ends first, the session is closed as soon as it is there. Until then no other is begun, so that a server which hangs
// holds one connection and not one more at each visit.
func open[S transport.Session](ctx context.Context, dialing chan struct{}, dial func() (S, error)) (S, *packp.AdvRefs, error) {
	type opened struct {
		session S
		err     error
	}
	var none S
	select {
	case dialing <- struct{}{}:
	case <-ctx.Done():
		return none, nil, fmt.Errorf("%w: an earlier connection still waits for it: %w", ErrUnreachable, context.Cause(ctx))
	}
	done := make(chan opened, 1)
	go func() {
		defer func() { <-dialing }()
		s, err := dial()
		done <- opened{s, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return none, nil, classify(o.err)
		}
		adv, err := o.session.AdvertisedReferencesContext(ctx)
		if err != nil {
			_ = o.session.Close() // the first error says more
			return none, nil, classify(err)
		}
		return o.session, adv, nil
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				_ = o.session.Close() // nobody waits for it any more
			}
		}()
		return none, nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
	}
}

// classify sorts the library's errors by what is to be done.
func classify(err error) error {
	err = hideURL(err)
	for known, ours := range map[error]error{
		transport.ErrAuthenticationRequired: ErrDenied,
		transport.ErrAuthorizationFailed:    ErrDenied,
		transport.ErrRepositoryNotFound:     ErrNotFound,
		transport.ErrEmptyRemoteRepository:  ErrEmpty,
	} {
		if errors.Is(err, known) {
			return fmt.Errorf("%w: %w", ours, err)
		}
	}
	if strings.Contains(err.Error(), "ssh: unable to authenticate") { // the library has no type for it
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// A Fetch is one visit to the server to look and perhaps to fetch.
type Fetch struct {
	Refs    *packp.AdvRefs
	session transport.UploadPackSession
}

// Fetch begins a visit.
func (c *Client) Fetch(ctx context.Context) (*Fetch, error) {
	session, adv, err := open(ctx, c.dialing, func() (transport.UploadPackSession, error) {
		return c.transport.NewUploadPackSession(c.endpoint, c.auth)
	})
	if err != nil {
		return nil, err
	}
	return &Fetch{Refs: adv, session: session}, nil
}

// Close ends the visit.
func (f *Fetch) Close() error { return f.session.Close() }

// Pack asks for an object with its history, less that of what the caller has, and hands the pack to read.
func (f *Fetch) Pack(ctx context.Context, want objects.Hash, have []objects.Hash, read func(io.Reader) error) (err error) {
	req := packp.NewUploadPackRequestFromCapabilities(f.Refs.Capabilities)
	req.Wants = []objects.Hash{want}
	req.Haves = have
	if f.Refs.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return err
		}
	}
	answer, err := f.session.UploadPack(ctx, req)
	if err != nil {
		return classify(err)
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	var pack io.Reader = answer
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	return read(pack)
}
