package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
)

// serves asks by the gRPC health protocol whether a service serves; an empty name is the server as a whole.
func serves(ctx context.Context, action corev1.GRPCAction, ip netip.Addr) (err error) {
	if action.Port < 1 || action.Port > 65535 {
		return fmt.Errorf("the probe's port %d is not between 1 and 65535", action.Port)
	}
	service := ""
	if action.Service != nil {
		service = *action.Service
	}
	address := net.JoinHostPort(ip.String(), strconv.Itoa(int(action.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the pod is asked how it is, not who it is
		grpc.WithUserAgent("headway-probe"), grpc.WithNoProxy())
	if err != nil {
		return fmt.Errorf("grpc %s: %w", address, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// A server that is not there is an answer, not something to wait for.
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service}, grpc.WaitForReady(false))
	switch code := status.Code(err); {
	case code == codes.Unimplemented:
		return fmt.Errorf("grpc %s: it does not speak the health protocol: %w", address, err)
	case code == codes.NotFound:
		return fmt.Errorf("grpc %s: it knows of no service %q: %w", address, service, err)
	case err != nil:
		return fmt.Errorf("grpc %s: %w", address, err)
	case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return fmt.Errorf("grpc %s: service %q is %s", address, service, answer.GetStatus())
	}
	return nil
}
