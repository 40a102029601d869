// Package dns answers pods' questions for the names of services, from the same table that the kernel's routes come from.
//
// The names are Kubernetes': SERVICE.NAMESPACE.svc.DOMAIN. Other names are passed on to the machine's own name servers,
// where it has any.
package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
)

const (
	// ttl is how long an answer may be kept, in seconds: short, because services move.
	ttl = 5
	// forwardTimeout bounds a question to a name server of the machine.
	forwardTimeout = 2 * time.Second
)

// Options say what a server answers, and where.
type Options struct {
	// Domain ends the names of services, such as cluster.local.
	Domain string
	// Upstreams are the name servers for all other names, as address:port; without any such names do not exist.
	Upstreams []string
	// Listen is the address and port that pods ask.
	Listen netip.AddrPort
	Logger *slog.Logger // nil is silent
}

// A Server answers from the newest table that it was given.
type Server struct {
	options Options
	zone    string // the domain as a full name: cluster.local.
	records atomic.Pointer[records]
}

// New checks the options. The server answers once it runs; before the first table it says that it is not ready.
func New(o Options) (*Server, error) {
	if _, ok := dns.IsDomainName(o.Domain); !ok || o.Domain == "" {
		return nil, fmt.Errorf("%q is not a domain for the names of services: use one such as cluster.local", o.Domain)
	}
	if !o.Listen.IsValid() {
		return nil, errors.New("the name server needs an address to listen on")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{options: o, zone: strings.ToLower(dns.Fqdn(o.Domain))}, nil
}

// Update answers by this table from now on.
func (s *Server) Update(table api.RouteTable) { s.records.Store(newRecords(s.zone, table)) }

// Run answers over UDP and TCP until ctx is done.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, network := range []string{"udp", "tcp"} {
		started := make(chan struct{})
		server := &dns.Server{
			Addr: s.options.Listen.String(), Net: network, Handler: dns.HandlerFunc(s.answer),
			NotifyStartedFunc: func() { close(started) },
		}
		group.Go(func() error {
			if err := server.ListenAndServe(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("names over %s on %s: %w", network, server.Addr, err)
			}
			return ctx.Err()
		})
		group.Go(func() error {
			<-ctx.Done()
			// One that has not begun cannot be ended: it either does begin, or fails by itself.
			select {
			case <-started:
				return server.Shutdown()
			case <-time.After(forwardTimeout):
				return ctx.Err()
			}
		})
	}
	return group.Wait()
}

// answer answers one message.
func (s *Server) answer(w dns.ResponseWriter, request *dns.Msg) {
	reply := s.reply(w, request)
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := request.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		reply.Truncate(size)
	}
	if err := w.WriteMsg(reply); err != nil {
		s.options.Logger.Debug("an answer could not be sent", "to", w.RemoteAddr(), "error", err)
	}
}

func (s *Server) reply(w dns.ResponseWriter, request *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	if request.Opcode != dns.OpcodeQuery || len(request.Question) != 1 {
		return reply.SetRcode(request, dns.RcodeNotImplemented)
	}
	question := request.Question[0]
	name := strings.ToLower(question.Name)
	all := s.records.Load()
	switch {
	case all != nil && all.owns(name):
	case dns.IsSubDomain(s.zone, name):
		// Without a table nobody knows whether the name exists: ask again.
		return reply.SetRcode(request, dns.RcodeServerFailure)
	default:
		return s.forward(w, request)
	}
	reply.SetReply(request)
	reply.Authoritative = true
	answers, exists := all.lookup(name, question.Qtype)
	for _, record := range answers {
		record.Header().Name = question.Name
		reply.Answer = append(reply.Answer, record)
	}
	if len(answers) == 0 {
		reply.Ns = []dns.RR{all.authority()}
	}
	if !exists {
		reply.Rcode = dns.RcodeNameError
	}
	return reply
}

// forward asks the machine's name servers, one after the other.
func (s *Server) forward(w dns.ResponseWriter, request *dns.Msg) *dns.Msg {
	client := &dns.Client{Net: w.RemoteAddr().Network(), Timeout: forwardTimeout}
	for _, upstream := range s.options.Upstreams {
		reply, _, err := client.Exchange(request, upstream)
		if err == nil {
			return reply
		}
		s.options.Logger.Debug("a name server does not answer", "server", upstream, "error", err)
	}
	code := dns.RcodeServerFailure
	if len(s.options.Upstreams) == 0 {
		code = dns.RcodeNameError
	}
	return new(dns.Msg).SetRcode(request, code)
}
