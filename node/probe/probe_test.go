package probe_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/node/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func port(t *testing.T, address string) int32 {
	t.Helper()
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return int32(a.Port())
}

var loopback = netip.MustParseAddr("127.0.0.1")

func TestHTTP(t *testing.T) {
	var connections atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/created", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/broken", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the database\nis away", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.Header.Get("X-Probe") != "1" || r.URL.RawQuery != "deep=1" {
			http.Error(w, r.Host+r.Header.Get("X-Probe")+r.URL.RawQuery, http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/flood", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	for _, scheme := range []corev1.URIScheme{corev1.URISchemeHTTP, corev1.URISchemeHTTPS} {
		server := httptest.NewUnstartedServer(mux)
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		}
		if scheme == corev1.URISchemeHTTPS {
			server.StartTLS()
		} else {
			server.Start()
		}
		defer server.Close()
		named := []corev1.ContainerPort{{Name: "other", ContainerPort: 1}, {Name: "web", ContainerPort: port(t, server.Listener.Addr().String())}}
		for path, want := range map[string]string{
			"/ok": "", "ok": "", "/created": "", "/away": "", "/headers?deep=1": "", "/flood": "",
			"/here": "503 Service Unavailable: the database is away", "/broken": "503", "/missing": "404", "/round": "redirects",
		} {
			get := &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("web"), Scheme: scheme, HTTPHeaders: []corev1.HTTPHeader{
				{Name: "host", Value: "shop.example"}, {Name: "X-Probe", Value: "1"},
			}}
			before := connections.Load()
			err := probe.New().Probe(t.Context(), corev1.ProbeHandler{HTTPGet: get}, loopback, named)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s %s: %v, want %q", scheme, path, err, want)
			}
			if connections.Load() == before {
				t.Errorf("%s %s made no new connection", scheme, path)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		get := &corev1.HTTPGetAction{Path: "/slow", Port: intstr.FromString("web"), Scheme: scheme}
		if err := probe.New().Probe(ctx, corev1.ProbeHandler{HTTPGet: get}, loopback, named); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a slow answer: %v", err)
		}
	}
}

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port(t, listener.Addr().String()))}}
	if err := probe.New().Probe(t.Context(), handler, loopback, nil); err != nil {
		t.Errorf("somebody listens: %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := probe.New().Probe(t.Context(), handler, loopback, nil); err == nil {
		t.Error("nobody listens, and the probe succeeded")
	}
}

func TestRefusals(t *testing.T) {
	ports := []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}
	for _, c := range []struct {
		handler corev1.ProbeHandler
		want    string
	}{
		{corev1.ProbeHandler{}, "only httpGet, tcpSocket and grpc"},
		{corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("metrics")}}, `"metrics" is none of the container's: they are named ["web"]`},
		{corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(70000)}}, "not between 1 and 65535"},
		{corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80), Path: "/%zz"}}, "path of the probe"},
	} {
		if err := probe.New().Probe(t.Context(), c.handler, loopback, ports); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
