package probe_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node/probe"
)

// serveGRPC serves on loopback until the test ends, and gives the port.
func serveGRPC(t *testing.T, register func(*grpc.Server)) int32 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func TestGRPC(t *testing.T) {
	healthy := serveGRPC(t, func(s *grpc.Server) {
		h := health.NewServer()
		h.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		grpc_health_v1.RegisterHealthServer(s, h)
	})
	mute := serveGRPC(t, func(*grpc.Server) {})
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := int32(gone.Addr().(*net.TCPAddr).Port)
	gone.Close()
	for _, c := range []struct {
		name    string
		port    int32
		service *string
		want    string // in the error; empty is success
	}{
		{"the server as a whole", healthy, nil, ""},
		{"a service that is down", healthy, new("down"), `service "down" is NOT_SERVING`},
		{"a service that it does not know", healthy, new("none"), `it knows of no service "none"`},
		{"a server without the protocol", mute, nil, "it does not speak the health protocol"},
		{"no server", free, nil, "connection refused"},
		{"no port", 0, nil, "not between 1 and 65535"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := probe.New().Probe(ctx, corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: c.port, Service: c.service}}, loopback, nil)
		cancel()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestGRPCInTime asks a server that takes connections and says nothing.
func TestGRPCInTime(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	err = probe.New().Probe(ctx, corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: port}}, loopback, nil)
	if err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}
