package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// Options say for what and where a server answers.
type Options struct {
	Node    string       // its name, by which endpoints of its own are known
	Address netip.Addr   // to listen on; zero is every address of the machine
	Logger  *slog.Logger // nil discards
}

// A Server answers from the newest table of routes that it was given.
type Server struct {
	node    string
	address netip.Addr
	log     *slog.Logger
	changed chan struct{} // holds one: there is a newer table

	mu     sync.Mutex
	states map[int32]state // by port
}

// A state is what a port answers, as kube-proxy does.
type state struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

// New makes a server.
func New(o Options) *Server {
	s := &Server{node: o.Node, address: o.Address, log: o.Logger, changed: make(chan struct{}, 1)}
	if !s.address.IsValid() {
		s.address = netip.IPv4Unspecified()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Update answers from this table from now on. Of two services with one port the first has it.
func (s *Server) Update(table api.RouteTable) {
	states := map[int32]state{}
	for _, route := range table.Routes {
		if _, taken := states[route.HealthCheckPort]; taken || route.HealthCheckPort == 0 {
			continue
		}
		var st state
		st.Service.Namespace, st.Service.Name, st.ServiceProxyHealthy = route.Service.Namespace, route.Service.Name, true
		for _, e := range route.Endpoints {
			if e.Node == s.node {
				st.LocalEndpoints++
			}
		}
		states[route.HealthCheckPort] = st
	}
	s.mu.Lock()
	s.states = states
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// retryEvery is how soon a port that could not be had is tried again.
const retryEvery = 5 * time.Second

// Run answers until ctx is done. A port that another program has is logged, and tried again.
func (s *Server) Run(ctx context.Context) error {
	open := map[int32]*http.Server{}
	refused := map[int32]bool{}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer func() {
		for _, server := range open {
			server.Close()
		}
	}()
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
		case <-retry.C:
			if len(refused) == 0 {
				continue
			}
		}
		wanted := s.ports()
		for port, server := range open {
			if !wanted[port] {
				server.Close()
				delete(open, port)
			}
		}
		for port := range refused {
			if !wanted[port] {
				delete(refused, port)
			}
		}
		for port := range wanted {
			if open[port] != nil {
				continue
			}
			server, err := s.listen(ctx, port, &serving)
			if err != nil {
				if !refused[port] {
					s.log.Warn("a service's health check cannot be answered", "port", port, "error", err)
				}
				refused[port] = true
				continue
			}
			delete(refused, port)
			open[port] = server
		}
	}
}

func (s *Server) ports() map[int32]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := make(map[int32]bool, len(s.states))
	for port := range s.states {
		ports[port] = true
	}
	return ports
}

// listen serves a port until its server is closed.
func (s *Server) listen(ctx context.Context, port int32, serving *sync.WaitGroup) (*http.Server, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp4", netip.AddrPortFrom(s.address, uint16(port)).String())
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { s.answer(w, port) }),
		ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 13,
	}
	serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Warn("a service's health check is answered no more", "port", port, "error", err)
		}
	})
	return server, nil
}

func (s *Server) answer(w http.ResponseWriter, port int32) {
	s.mu.Lock()
	st, there := s.states[port]
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !there || st.LocalEndpoints == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if err := json.NewEncoder(w).Encode(st); err != nil {
		s.log.Debug("a health check's answer did not reach its client", "port", port, "error", err)
	}
}
