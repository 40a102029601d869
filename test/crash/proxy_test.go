package crash_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// maxMessage is the largest message that containerd and its clients send.
const maxMessage = 16 << 20

// A proxy stands at containerd's socket and hands every call on, unless it kills the caller at it. To the daemon, and to
// the shims, which know containerd by the path of its socket, it is containerd.
type proxy struct {
	to *grpc.ClientConn
	// kill ends the daemon.
	kill func()

	mu    sync.Mutex
	point failpoint
	seen  int
	calls []string // since the last reset, as Tasks/Create
}

// stand takes the place of a containerd until the test ends.
func stand(t testing.TB, address string) *proxy {
	t.Helper()
	behind := address + ".behind"
	if err := os.Rename(address, behind); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix://"+behind, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{to: conn, kill: func() {}}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(p.handle),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := errors.Join(<-served, conn.Close(), os.Rename(behind, address)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// arm sets a failpoint, and forgets the calls so far.
func (p *proxy) arm(f failpoint, kill func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.point, p.kill, p.seen, p.calls = f, kill, 0, nil
}

// made are the calls since the failpoint was set.
func (p *proxy) made() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// due says at which of its places a call has to be cut off: before, during or after; empty is nowhere.
func (p *proxy) due(call string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	if p.point.Call != call {
		return ""
	}
	if p.seen++; p.seen != p.point.Nth {
		return ""
	}
	return p.point.When
}

// cut kills the caller, and holds the call until its connection is gone too.
func (p *proxy) cut(ctx context.Context) error {
	p.mu.Lock()
	kill := p.kill
	p.mu.Unlock()
	kill()
	<-ctx.Done()
	return ctx.Err()
}

// handle hands on one call, of whatever method.
func (p *proxy) handle(_ any, from grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(from)
	service := path.Base(path.Dir(method))
	when := p.due(service[strings.LastIndex(service, ".")+1:] + "/" + path.Base(method))
	if when == "before" {
		return p.cut(from.Context())
	}
	incoming, _ := metadata.FromIncomingContext(from.Context())
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(from.Context(), incoming))
	defer cancel()
	to, err := p.to.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	// It ends with the call, whose end ends from.
	go func() { _ = forward(from.RecvMsg, to.SendMsg, to.CloseSend) }()
	if when == "during" {
		return p.cut(from.Context())
	}
	err = forward(to.RecvMsg, func(m any) error {
		if when == "after" {
			return p.cut(from.Context())
		}
		return from.SendMsg(m)
	}, func() error { return nil })
	from.SetTrailer(to.Trailer())
	return err
}

// forward copies messages until there are no more.
func forward(receive, send func(any) error, end func() error) error {
	for {
		m := new(message)
		if err := receive(m); errors.Is(err, io.EOF) {
			return end()
		} else if err != nil {
			return err
		}
		if err := send(m); err != nil {
			return err
		}
	}
}

// A message is one that nobody has looked into.
type message struct{ data []byte }

// raw is the codec of messages that are handed on as they came.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(*message).data)}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	v.(*message).data = data.Materialize()
	return nil
}
