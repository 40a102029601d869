package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nuid"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// openTimeout bounds how long a node may take to accept a stream.
const openTimeout = 5 * time.Second

// openRequest asks a node for a stream.
type openRequest struct {
	ID      string            `json:"id"`
	Request api.StreamRequest `json:"request"`
}

// OpenStream asks a node for a stream. The stream ends with ctx, or when it is closed, which the caller must do.
func (c *Conn) OpenStream(ctx context.Context, node string, r api.StreamRequest) (*Stream, error) {
	if err := checkName("node", node); err != nil {
		return nil, err
	}
	id := nuid.Next()
	data, err := json.Marshal(openRequest{ID: id, Request: r})
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	s, err := newStream(ctx, c.nc, wire.Down(id), wire.Up(id))
	if err != nil {
		return nil, fmt.Errorf("open a stream: %w", err)
	}
	err = c.nc.PublishRequest(wire.Open(node), wire.Down(id), data)
	if err == nil {
		err = s.waitAccepted(ctx)
	}
	if err != nil {
		s.Close()
		if errors.Is(err, ErrPeerGone) {
			err = errors.New("it does not answer: is its daemon running, and connected to the bus?")
		}
		return nil, fmt.Errorf("open a stream to node %s: %w", node, unavailable(err))
	}
	return s, nil
}

// waitAccepted waits until the node has taken the request.
func (s *Stream) waitAccepted(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("no answer within %s", openTimeout))
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.accepted {
		if s.failure != nil && !s.ended {
			return s.failure
		}
		if err := s.wait(ctx); err != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// ServeStreams answers requests for streams of a node until ctx is done, each in a goroutine of its own; it returns when
// all have ended. The context of handle ends when the other side closes the stream or vanishes. The stream is closed
// when handle returns.
func (c *Conn) ServeStreams(ctx context.Context, node string, handle func(ctx context.Context, r api.StreamRequest, s *Stream)) error {
	if err := checkName("node", node); err != nil {
		return err
	}
	sub, err := c.nc.SubscribeSync(wire.Open(node))
	if err != nil {
		return fmt.Errorf("serve streams: %w", unavailable(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection has ended
	var handlers sync.WaitGroup
	defer handlers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && c.ctx.Err() != nil:
			return ErrUnavailable
		case err != nil:
			continue // requests came faster than they were taken; their senders time out
		}
		var request openRequest
		if err := json.Unmarshal(m.Data, &request); err != nil || checkID(request.ID) != nil {
			c.log.Warn("a request for a stream cannot be read", "error", err)
			continue
		}
		handlers.Go(func() { c.serveStream(ctx, request, handle) })
	}
}

func checkID(id string) error {
	for _, r := range id {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') {
			return fmt.Errorf("%q is not the id of a stream", id)
		}
	}
	if id == "" {
		return errors.New("a stream needs an id")
	}
	return nil
}

func (c *Conn) serveStream(ctx context.Context, request openRequest, handle func(ctx context.Context, r api.StreamRequest, s *Stream)) {
	s, err := newStream(ctx, c.nc, wire.Up(request.ID), wire.Down(request.ID))
	if err != nil {
		c.log.Warn("a stream cannot be served", "error", err)
		return
	}
	defer s.Close()
	if err := s.post(kindAccept, 0, nil); err != nil {
		s.fail(err)
		return
	}
	handle(s.ctx, request.Request, s)
}
