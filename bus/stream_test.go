package bus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// serve answers requests for streams of the node n1 until the test ends.
func serve(t *testing.T, c *bus.Conn, handle func(ctx context.Context, r api.StreamRequest, s *bus.Stream)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.ServeStreams(ctx, "n1", handle) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) && !errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("ServeStreams ended with %v", err)
		}
	})
}

// open opens a stream as soon as the node serves.
func open(t *testing.T, c *bus.Conn, r api.StreamRequest) *bus.Stream {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s, err := c.OpenStream(t.Context(), "n1", r)
		if err == nil {
			t.Cleanup(s.Close)
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestStreamEcho sends 10 MB there and back, with the request and an exit code.
func TestStreamEcho(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		node, operator := connect(t, s.node), connect(t, s.operator)
		serve(t, node, func(ctx context.Context, r api.StreamRequest, s *bus.Stream) {
			code := 3
			for {
				frame, err := s.Recv(ctx)
				if err != nil {
					t.Errorf("the node receives: %v", err)
					return
				}
				if frame.StdinEOF {
					_ = s.Send(ctx, api.StreamFrame{Stderr: []byte(r.Container), ExitCode: &code})
					return
				}
				if err := s.Send(ctx, api.StreamFrame{Stdout: frame.Stdin}); err != nil {
					t.Errorf("the node sends: %v", err)
					return
				}
			}
		})
		stream := open(t, operator, api.StreamRequest{Container: "main"})
		content := randomBytes(10 << 20)
		sent := make(chan error, 1)
		go func() {
			err := stream.Send(t.Context(), api.StreamFrame{Stdin: content})
			sent <- errors.Join(err, stream.Send(t.Context(), api.StreamFrame{StdinEOF: true}))
		}()
		var got, stderr bytes.Buffer
		code := -1
		for {
			frame, err := stream.Recv(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			got.Write(frame.Stdout)
			stderr.Write(frame.Stderr)
			if frame.ExitCode != nil {
				code = *frame.ExitCode
			}
		}
		must(t, <-sent)
		if !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%d bytes came back, and not those of %d that were sent", got.Len(), len(content))
		}
		if code != 3 || stderr.String() != "main" {
			t.Errorf("exit code %d, stderr %q", code, stderr.String())
		}
		if err := stream.Send(t.Context(), api.StreamFrame{}); !errors.Is(err, bus.ErrStreamClosed) {
			t.Errorf("sending on a closed stream: %v", err)
		}
	})
}

// TestStreamBackpressure holds a sender back whose receiver does not receive.
func TestStreamBackpressure(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		node, operator := connect(t, s.node), connect(t, s.operator)
		result := make(chan error, 1)
		serve(t, node, func(_ context.Context, _ api.StreamRequest, s *bus.Stream) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			for n := 0; ; n++ {
				if err := s.Send(ctx, api.StreamFrame{Stdout: make([]byte, 64<<10)}); err != nil {
					if n > 40 {
						t.Errorf("%d frames were sent that nobody took", n)
					}
					result <- err
					return
				}
			}
		})
		open(t, operator, api.StreamRequest{})
		if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a sender that nobody listens to: %v", err)
		}
	})
}

// TestStreamPeerGone ends a stream on one side when the other vanishes without a word.
func TestStreamPeerGone(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		node, operator := connect(t, s.node), connect(t, s.operator)
		ended := make(chan error, 1)
		serve(t, node, func(ctx context.Context, _ api.StreamRequest, s *bus.Stream) {
			<-ctx.Done()
			_, err := s.Recv(context.Background())
			ended <- err
		})
		open(t, operator, api.StreamRequest{})
		operator.Close()
		select {
		case err := <-ended:
			if !errors.Is(err, bus.ErrPeerGone) {
				t.Errorf("a stream whose other side vanished: %v", err)
			}
		case <-time.After(patience):
			t.Error("a node does not notice that the command has vanished")
		}
	})
}

// TestStreamCut ends a stream whose network is cut, on both sides.
func TestStreamCut(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the silence to be long enough")
	}
	s := embeddedSite(t)
	node := connect(t, s.node)
	var network cut
	o := s.operator
	o.Dial = network.dial
	operator := connect(t, o)
	t.Cleanup(func() { network.set(false) })
	ended := make(chan error, 1)
	serve(t, node, func(ctx context.Context, _ api.StreamRequest, s *bus.Stream) {
		_, err := s.Recv(ctx)
		ended <- err
	})
	stream := open(t, operator, api.StreamRequest{})
	network.set(true)
	select {
	case err := <-ended:
		if !errors.Is(err, bus.ErrPeerGone) && !errors.Is(err, context.Canceled) {
			t.Errorf("the node whose command is cut off receives: %v", err)
		}
	case <-time.After(2 * patience):
		t.Error("the node does not notice that the command is cut off")
	}
	if _, err := stream.Recv(t.Context()); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the command that is cut off receives: %v", err)
	}
}

// TestStreamEnds ends the handler when the command closes, and the stream when the node stops serving.
func TestStreamEnds(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		node, operator := connect(t, s.node), connect(t, s.operator)
		handled := make(chan struct{}, 2)
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- node.ServeStreams(ctx, "n1", func(ctx context.Context, _ api.StreamRequest, _ *bus.Stream) {
				<-ctx.Done()
				handled <- struct{}{}
			})
		}()
		open(t, operator, api.StreamRequest{}).Close()
		<-handled
		stream := open(t, operator, api.StreamRequest{})
		stop()
		<-handled
		if err := <-served; !errors.Is(err, context.Canceled) {
			t.Errorf("ServeStreams ended with %v", err)
		}
		if _, err := stream.Recv(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the node stopped: %v", err)
		}
		_, err := operator.OpenStream(t.Context(), "n1", api.StreamRequest{})
		if err == nil || !strings.Contains(err.Error(), "daemon") {
			t.Errorf("a stream of a node that does not serve: %v", err)
		}
	})
}

// TestStreamFromController lets the controller's own credentials open streams as well.
func TestStreamFromController(t *testing.T) {
	s := embeddedSite(t)
	node, controller := connect(t, s.node), connect(t, s.controller)
	serve(t, node, func(ctx context.Context, _ api.StreamRequest, s *bus.Stream) {
		_ = s.Send(ctx, api.StreamFrame{Stdout: []byte("hello")})
	})
	frame, err := open(t, controller, api.StreamRequest{}).Recv(t.Context())
	if err != nil || string(frame.Stdout) != "hello" {
		t.Errorf("received %q, %v", frame.Stdout, err)
	}
}
