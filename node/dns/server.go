package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
)

// Options say for what and where a server answers.
type Options struct {
	Domain    string         // of the cluster, such as cluster.local
	Upstreams []string       // servers to ask for other names, as address or address:port, in order of preference
	Listen    netip.AddrPort // for UDP and TCP
	Logger    *slog.Logger   // nil discards
}

// A Server answers from the newest table of routes that it was given.
type Server struct {
	domain    string
	upstreams []string
	listen    netip.AddrPort
	log       *slog.Logger

	zone  atomic.Pointer[zone] // nil before the first table
	turn  atomic.Uint32        // rotates the order of addresses
	slots chan struct{}        // bounds the questions that wait for an upstream
}

// maxForwarded is how many questions may wait for upstreams at a time. One more is told to try again.
const maxForwarded = 512

// New checks the options.
func New(o Options) (*Server, error) {
	domain := strings.ToLower(mdns.Fqdn(o.Domain))
	if _, ok := mdns.IsDomainName(domain); !ok || domain == "." {
		return nil, fmt.Errorf("%q cannot be the cluster's domain: take one such as cluster.local", o.Domain)
	}
	if !o.Listen.IsValid() || !o.Listen.Addr().Is4() || o.Listen.Addr().IsUnspecified() {
		return nil, fmt.Errorf("a name server needs an IPv4 address to listen on, not %s", o.Listen)
	}
	s := &Server{domain: domain, listen: o.Listen, log: o.Logger, slots: make(chan struct{}, maxForwarded)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, upstream := range o.Upstreams {
		at, err := netip.ParseAddrPort(upstream)
		if err != nil {
			ip, ipErr := netip.ParseAddr(upstream)
			if ipErr != nil {
				return nil, fmt.Errorf("%q is not the address of a name server: write address or address:port", upstream)
			}
			at = netip.AddrPortFrom(ip, 53)
		}
		if at == o.Listen {
			return nil, fmt.Errorf("the name server %s would ask itself", at)
		}
		s.upstreams = append(s.upstreams, at.String())
	}
	return s, nil
}

// Update answers from this table from now on. The table must not change any more.
func (s *Server) Update(table api.RouteTable) {
	s.zone.Store(newZone(s.domain, s.listen.Addr(), table))
}

// Run answers until ctx is done. Before the first Update it asks for patience: whether a service exists is not known.
func (s *Server) Run(ctx context.Context) error {
	var config net.ListenConfig
	packets, err := config.ListenPacket(ctx, "udp4", s.listen.String())
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	streams, err := config.Listen(ctx, "tcp4", s.listen.String())
	if err != nil {
		packets.Close()
		return fmt.Errorf("name server: %w", err)
	}
	group, running := errgroup.WithContext(ctx)
	handler := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) { s.serve(running, w, q) })
	udp := &mdns.Server{PacketConn: packets, Handler: handler}
	tcp := &mdns.Server{Listener: streams, Handler: handler}
	for _, server := range []*mdns.Server{udp, tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		ended := make(chan struct{})
		group.Go(func() error {
			defer close(ended)
			if err := server.ActivateAndServe(); err != nil && running.Err() == nil {
				return fmt.Errorf("name server: %w", err)
			}
			return nil
		})
		group.Go(func() error {
			<-running.Done()
			select { // one that has not started cannot be shut down
			case <-started:
			case <-ended:
				return nil
			}
			return server.ShutdownContext(context.WithoutCancel(ctx))
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// serve answers one message.
func (s *Server) serve(ctx context.Context, w mdns.ResponseWriter, query *mdns.Msg) {
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	reply := s.reply(ctx, query, overTCP)
	if err := w.WriteMsg(reply); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Debug("a name's answer did not reach its client", "client", w.RemoteAddr(), "error", err)
	}
}

func (s *Server) reply(ctx context.Context, query *mdns.Msg, overTCP bool) *mdns.Msg {
	reply := new(mdns.Msg).SetReply(query)
	reply.RecursionAvailable = len(s.upstreams) > 0
	if query.Opcode != mdns.OpcodeQuery || len(query.Question) != 1 {
		reply.Rcode = mdns.RcodeNotImplemented
		return reply
	}
	q := query.Question[0]
	if q.Qclass != mdns.ClassINET {
		reply.Rcode = mdns.RcodeRefused
		return reply
	}
	name, z := strings.ToLower(q.Name), s.zone.Load()
	if z == nil && mdns.IsSubDomain(s.domain, name) {
		reply.Rcode = mdns.RcodeServerFailure
		return reply
	}
	a, ours := z.lookUp(q, name)
	if !ours {
		return s.forward(ctx, query, reply, overTCP)
	}
	reply.Authoritative = true
	reply.Answer, reply.Extra = s.rotate(a.records), a.extra
	if a.alias != "" {
		a = s.follow(ctx, z, q, a, reply, overTCP)
	}
	if !a.exists {
		reply.Rcode = mdns.RcodeNameError
	}
	if len(a.records) == 0 && a.alias == "" {
		reply.Ns = []mdns.RR{z.soa()}
	}
	s.fit(query, reply, overTCP)
	return reply
}

// maxAliases is how many names that are only another's may stand one behind the other.
const maxAliases = 8

// follow adds to the reply what the name behind an alias has, and gives the last answer of the zone's own: one with an
// alias still is one that others answered for.
func (s *Server) follow(ctx context.Context, z *zone, q mdns.Question, a answer, reply *mdns.Msg, overTCP bool) answer {
	for range maxAliases {
		q.Name = a.alias
		next, ours := z.lookUp(q, a.alias)
		if !ours {
			query := new(mdns.Msg).SetQuestion(a.alias, q.Qtype)
			query.SetEdns0(largest, false)
			others := s.forward(ctx, query, new(mdns.Msg).SetReply(query), overTCP)
			if others.Truncated {
				others = s.forward(ctx, query, new(mdns.Msg).SetReply(query), true)
			}
			reply.Rcode = others.Rcode
			reply.Answer = append(reply.Answer, others.Answer...)
			return a
		}
		a = next
		reply.Answer, reply.Extra = append(reply.Answer, s.rotate(a.records)...), a.extra
		if a.alias == "" {
			return a
		}
	}
	reply.Rcode, reply.Answer = mdns.RcodeServerFailure, nil // they lead in a circle
	return a
}

// rotate has another record stand first each time: clients take the first.
func (s *Server) rotate(records []mdns.RR) []mdns.RR {
	if len(records) < 2 {
		return records
	}
	first := int(s.turn.Add(1) % uint32(len(records)))
	return slices.Concat(records[first:], records[:first])
}

// largest is the size of a datagram that passes every path without fragments.
const largest = 1232

// fit keeps the reply to the size that the client can take; one that is cut makes it ask again by TCP.
func (s *Server) fit(query, reply *mdns.Msg, overTCP bool) {
	size := mdns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = min(max(size, int(opt.UDPSize())), largest)
		reply.SetEdns0(largest, false)
	}
	if overTCP {
		size = mdns.MaxMsgSize
	}
	reply.Compress = true
	reply.Truncate(size)
}

// forward asks the upstreams in their order. Where there are none, other names do not exist: a client takes that for the
// end of it at once, while it would wait and try again after a refusal.
func (s *Server) forward(ctx context.Context, query, reply *mdns.Msg, overTCP bool) *mdns.Msg {
	if len(s.upstreams) == 0 {
		reply.Rcode = mdns.RcodeNameError
		return reply
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		reply.Rcode = mdns.RcodeServerFailure
		return reply
	}
	client := &mdns.Client{Net: "udp", Timeout: 2 * time.Second}
	if overTCP {
		client.Net = "tcp"
	}
	for _, upstream := range s.upstreams {
		answer, _, err := client.ExchangeContext(ctx, query.Copy(), upstream)
		if err == nil {
			answer.Id = query.Id
			return answer
		}
		s.log.Debug("a name server does not answer", "server", upstream, "name", query.Question[0].Name, "error", err)
	}
	reply.Rcode = mdns.RcodeServerFailure
	return reply
}
