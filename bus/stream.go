package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"headway.dev/headway/api"
)

const (
	// streamWindow is how many bytes may be on their way, sent and not yet taken by the other side's Recv.
	streamWindow = 1 << 20
	// streamPart is the most that one message carries; a larger frame is sent as several.
	streamPart = 128 << 10
	// frameCost stands for what a frame takes besides its content, so that empty ones are bounded too.
	frameCost = 256

	pulse   = 2 * time.Second
	silence = 5 * pulse // of the other side, after which it is taken to be gone
)

// The kinds of message between the two sides of a stream.
const (
	kindHeader   = "Headway-Frame"
	numberHeader = "Headway-Number"

	kindAccept = "accept" // the node has taken the request
	kindData   = "data"   // a frame; its number counts them from one
	kindTaken  = "taken"  // the number is how many bytes of window were taken since the beginning
	kindPulse  = "pulse"  // still there
	kindClose  = "close"  // the number is how many frames there were
)

var (
	// ErrPeerGone is the error of a stream whose other side has vanished without closing it.
	ErrPeerGone = errors.New("the other side of the stream is gone")
	// ErrStreamClosed is the error of sending on a stream that either side has closed.
	ErrStreamClosed = errors.New("the stream is closed")
)

// A Stream carries frames between a node and a command, in order, in both directions. Its methods may be called
// concurrently, but Send and Recv each by one at a time if the order is to mean anything.
type Stream struct {
	nc     *nats.Conn
	sub    *nats.Subscription
	peer   string // subject of the other side
	ctx    context.Context
	cancel context.CancelFunc // ends pulsing, and a node's handler
	done   chan struct{}      // closed when pulsing has ended

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever anything below changes
	accepted bool
	sent     uint64 // frames
	inFlight int64  // bytes of window used
	used     uint64 // bytes of window used since the beginning
	queue    []received
	got      uint64 // frames
	taken    uint64 // bytes of window that Recv has taken since the beginning
	told     uint64 // what of taken the other side knows
	heard    time.Time
	closed   bool  // this side has closed
	ended    bool  // the other side has closed
	failure  error // why nothing more can be sent or will come
}

type received struct {
	frame api.StreamFrame
	cost  uint64
}

// newStream listens on own for what the other side sends to it, and sends to peer. The stream ends with ctx.
func newStream(ctx context.Context, nc *nats.Conn, own, peer string) (*Stream, error) {
	s := &Stream{nc: nc, peer: peer, changed: make(chan struct{}), done: make(chan struct{}), heard: time.Now()}
	s.ctx, s.cancel = context.WithCancel(ctx)
	sub, err := nc.Subscribe(own, s.receive)
	if err != nil {
		s.cancel()
		return nil, unavailable(err)
	}
	s.mu.Lock()
	s.sub = sub
	s.mu.Unlock()
	go s.pulse()
	return s, nil
}

// broadcast wakes those who wait for a change. The lock is held.
func (s *Stream) broadcast() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *Stream) failLocked(err error) {
	if s.failure == nil {
		s.failure = err
		s.broadcast()
		s.cancel()
	}
}

// receive takes a message of the other side.
func (s *Stream) receive(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Header.Get("Status") == "503" {
		if !s.ended {
			s.failLocked(ErrPeerGone)
		}
		return
	}
	number, err := strconv.ParseUint(m.Header.Get(numberHeader), 10, 64)
	if err != nil {
		s.failLocked(fmt.Errorf("a message of the stream without a number: %w", err))
		return
	}
	s.heard = time.Now()
	switch m.Header.Get(kindHeader) {
	case kindAccept:
		s.accepted = true
	case kindTaken:
		s.inFlight = int64(s.used) - int64(number)
	case kindData:
		s.receiveFrame(number, m.Data)
	case kindClose:
		if number != s.got {
			s.failLocked(errLostFrames)
			return
		}
		s.ended = true
		s.failLocked(ErrStreamClosed)
	}
	s.broadcast()
}

var errLostFrames = errors.New("the connection to the bus was interrupted, and frames of the stream are lost: open it again")

func (s *Stream) receiveFrame(number uint64, data []byte) {
	if number != s.got+1 {
		s.failLocked(errLostFrames)
		return
	}
	r := received{cost: uint64(len(data)) + frameCost}
	if err := json.Unmarshal(data, &r.frame); err != nil {
		s.failLocked(fmt.Errorf("a frame of the stream cannot be read: %w", err))
		return
	}
	s.got++
	s.queue = append(s.queue, r)
}

// post sends a message to the other side. It asks for answers on this side's subject, so that the server says when
// nobody listens there.
func (s *Stream) post(kind string, number uint64, data []byte) error {
	err := s.nc.PublishMsg(&nats.Msg{Subject: s.peer, Reply: s.sub.Subject, Data: data, Header: nats.Header{
		kindHeader: []string{kind}, numberHeader: []string{strconv.FormatUint(number, 10)},
	}})
	if err != nil {
		return fmt.Errorf("stream: %w", unavailable(err))
	}
	return nil
}

// pulse tells the other side that this one lives, and watches for its silence, until the stream has ended.
func (s *Stream) pulse() {
	defer close(s.done)
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			s.fail(s.ctx.Err())
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		silent := time.Since(s.heard)
		s.mu.Unlock()
		if silent > silence {
			s.fail(fmt.Errorf("%w: nothing was heard of it for %s", ErrPeerGone, silent.Round(time.Second)))
			return
		}
		if err := s.post(kindPulse, 0, nil); err != nil {
			s.fail(err)
			return
		}
	}
}

// Send sends a frame. It waits while the other side is slow to take what it was sent.
func (s *Stream) Send(ctx context.Context, frame api.StreamFrame) error {
	for _, part := range split(frame) {
		data, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		if err := s.send(ctx, data); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) send(ctx context.Context, data []byte) error {
	cost := int64(len(data)) + frameCost
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.failure == nil && s.inFlight > 0 && s.inFlight+cost > streamWindow {
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
	if s.failure != nil {
		return s.failure
	}
	if err := s.post(kindData, s.sent+1, data); err != nil {
		s.failLocked(err)
		return err
	}
	s.sent++
	s.used += uint64(cost)
	s.inFlight += cost
	return nil
}

// Recv waits for the next frame; io.EOF when the other side has closed the stream and all that it sent was taken.
func (s *Stream) Recv(ctx context.Context) (api.StreamFrame, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 {
		switch {
		case s.ended:
			return api.StreamFrame{}, io.EOF
		case s.failure != nil:
			return api.StreamFrame{}, s.failure
		}
		if err := s.wait(ctx); err != nil {
			return api.StreamFrame{}, err
		}
	}
	first := s.queue[0]
	s.queue[0] = received{} // free the content
	s.queue = s.queue[1:]
	s.taken += first.cost
	if s.failure == nil && s.taken-s.told > streamWindow/4 {
		if err := s.post(kindTaken, s.taken, nil); err != nil {
			s.failLocked(err)
		}
		s.told = s.taken
	}
	return first.frame, nil
}

// wait waits for a change. The lock is held before and after, not meanwhile.
func (s *Stream) wait(ctx context.Context) error {
	changed := s.changed
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	}
}

// Close ends the stream. The other side still receives what was sent before.
func (s *Stream) Close() {
	s.mu.Lock()
	if !s.closed && !s.ended {
		_ = s.post(kindClose, s.sent, nil) // the other side notices the silence if this does not reach it
	}
	s.closed = true
	s.failLocked(ErrStreamClosed)
	sub := s.sub
	s.mu.Unlock()
	_ = sub.Unsubscribe() // it fails only when the connection has ended
	s.cancel()
	<-s.done
}

// split cuts a frame into parts that fit into a message each. What ends a stream goes with the last.
func split(frame api.StreamFrame) []api.StreamFrame {
	var parts []api.StreamFrame
	cut := func(data []byte, part func([]byte) api.StreamFrame) {
		for len(data) > 0 {
			n := min(len(data), streamPart)
			parts = append(parts, part(data[:n]))
			data = data[n:]
		}
	}
	cut(frame.Stdin, func(b []byte) api.StreamFrame { return api.StreamFrame{Stdin: b} })
	cut(frame.Stdout, func(b []byte) api.StreamFrame { return api.StreamFrame{Stdout: b} })
	cut(frame.Stderr, func(b []byte) api.StreamFrame { return api.StreamFrame{Stderr: b} })
	if len(parts) == 0 {
		return []api.StreamFrame{frame}
	}
	last := parts[len(parts)-1]
	frame.Stdin, frame.Stdout, frame.Stderr = last.Stdin, last.Stdout, last.Stderr
	parts[len(parts)-1] = frame
	return parts
}
