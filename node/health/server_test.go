package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"headway.dev/headway/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a server at an address of loopback that no other test uses, and gives a port that is free there.
func run(t *testing.T, address string) (s *Server, port int32) {
	t.Helper()
	l, err := net.Listen("tcp4", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	port = int32(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	s = New(Options{Node: "n1", Address: netip.MustParseAddr(address)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the server ends with %v", err)
		}
	})
	return s, port
}

func table(port int32, nodes ...string) api.RouteTable {
	r := api.Route{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: "web"}, HealthCheckPort: port}
	for _, n := range nodes {
		r.Endpoints = append(r.Endpoints, api.Endpoint{Node: n})
	}
	return api.RouteTable{Routes: []api.Route{{}, r}}
}

// ask gives what the port answers, on a connection of its own.
func ask(address string, port int32) (string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(fmt.Sprintf("http://%s:%d/healthz", address, port))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(body))), err
}

// eventually asks until the answer, or the error, is the one that is wanted.
func eventually(t *testing.T, address string, port int32, want string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := ask(address, port)
		if got == want || want == "" && errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the answer is %q, %v; want %q", got, err, want)
		}
	}
}

func TestAnswersByTheNodesOwnEndpoints(t *testing.T) {
	const address = "127.54.0.1"
	s, port := run(t, address)
	eventually(t, address, port, "")
	s.Update(table(port, "n1", "n2", "n1"))
	eventually(t, address, port, `200 {"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}`)
	s.Update(table(port, "n2"))
	if got, err := ask(address, port); err != nil || !strings.HasPrefix(got, "503 ") {
		t.Errorf("without endpoints of its own: %q, %v", got, err)
	}
	s.Update(table(0, "n1"))
	eventually(t, address, port, "")
}

func TestPortOfAnotherProgram(t *testing.T) {
	const address = "127.54.0.2"
	s, port := run(t, address)
	l, err := net.Listen("tcp4", fmt.Sprintf("%s:%d", address, port))
	if err != nil {
		t.Fatal(err)
	}
	s.Update(table(port, "n1"))
	l.Close()
	s.Update(table(port, "n1")) // whatever it came to before, now it can listen
	eventually(t, address, port, `200 {"service":{"namespace":"shop","name":"web"},"localEndpoints":1,"serviceProxyHealthy":true}`)
}
