package ingress

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// The limits of what clients may ask of a server. There are none on how long a request or an answer takes: streams last.
const (
	headerTimeout  = 30 * time.Second // to send a request's header
	idleTimeout    = 2 * time.Minute  // between requests
	maxHeaderBytes = 64 << 10
	drainTimeout   = 10 * time.Second // for requests that are under way when nothing is to be served any more
)

// A port that cannot be had is tried again, at first soon.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Report says what happened to what, and why, to whom it concerns. It does not wait.
type Report = func(kind string, ref api.Ref, reason string, warning bool)

// An entrance is one address where requests come in.
type entrance struct {
	scheme, flag, address string
	secure                bool

	server *http.Server // nil while it is closed
	end    func()       // ends what is under way at once
	listen net.Listener
	wait   time.Duration // before the next attempt, after a failure
	next   time.Time     // of the next attempt; zero is now
}

// Run takes requests as long as there are rules, until ctx is done. An address that cannot be had is reported, and tried
// again.
func (p *Proxy) Run(ctx context.Context, report Report) error {
	var work sync.WaitGroup
	defer work.Wait()
	entrances := []*entrance{
		{scheme: "HTTP", flag: "--ingress-http", address: p.options.HTTP},
		{scheme: "HTTPS", flag: "--ingress-https", address: p.options.HTTPS, secure: true},
	}
	defer func() {
		for _, e := range entrances {
			e.close(&work)
		}
	}()
	broken := make(chan *http.Server)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.changed:
		case server := <-broken:
			for _, e := range entrances {
				if e.server == server {
					e.close(&work)
					e.next = time.Now().Add(firstRetry)
				}
			}
		case <-timer.C:
		}
		now := time.Now()
		var due time.Time
		for _, e := range entrances {
			p.tend(ctx, e, &work, broken, report, now)
			if e.server == nil && !e.next.IsZero() && (due.IsZero() || e.next.Before(due)) {
				due = e.next
			}
		}
		if !due.IsZero() {
			timer.Reset(max(0, due.Sub(now)))
		}
	}
}

// wanted reports whether an entrance has anything to serve.
func (p *Proxy) wanted(e *entrance) bool {
	now := p.current.Load()
	return e.address != "" && now.serves && (!e.secure || len(now.certificates.hosts) > 0)
}

// tend opens an entrance that is wanted, and closes one that is not.
func (p *Proxy) tend(ctx context.Context, e *entrance, work *sync.WaitGroup, broken chan<- *http.Server, report Report, now time.Time) {
	switch {
	case !p.wanted(e):
		e.close(work)
		e.wait, e.next = 0, time.Time{}
	case e.server == nil && !now.Before(e.next):
		err := p.open(ctx, e, work, broken, report)
		if err == nil {
			if e.wait > 0 {
				report("IngressServed", p.machine(), fmt.Sprintf("%s from outside is served at %s again", e.scheme, e.address), false)
			}
			p.log.Info("requests from outside are served", "scheme", e.scheme, "address", e.listen.Addr().String())
			e.wait, e.next = 0, time.Time{}
			return
		}
		if e.wait == 0 {
			report("IngressFailed", p.machine(), fmt.Sprintf("%s from outside is not served at %s: %v; free the port, or choose another by %s; it is tried again", e.scheme, e.address, err, e.flag), true)
		}
		e.wait = min(max(2*e.wait, firstRetry), lastRetry)
		e.next = now.Add(e.wait)
	}
}

func (p *Proxy) machine() api.Ref { return api.Ref{Kind: "Node", Name: p.options.Node} }

// open begins to take requests at an entrance.
func (p *Proxy) open(ctx context.Context, e *entrance, work *sync.WaitGroup, broken chan<- *http.Server, report Report) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", e.address)
	if err != nil {
		return err
	}
	// Requests under way outlive ctx for a while: what ends them is the entrance.
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	server := &http.Server{
		Handler: p, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		Protocols:   new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	if e.secure {
		server.Protocols.SetHTTP2(true)
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certify(report)}
	} else {
		server.Protocols.SetUnencryptedHTTP2(true)
	}
	e.server, e.listen, e.end = server, l, end
	work.Go(func() {
		serve := func() error { return server.Serve(l) }
		if e.secure {
			serve = func() error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(); base.Err() == nil {
			p.log.Debug("an entrance has ended", "scheme", e.scheme, "error", err)
		}
		select {
		case broken <- server:
		case <-base.Done():
		}
	})
	return nil
}

// close ends an entrance: at once for new connections, and after a while for requests that are under way.
func (e *entrance) close(work *sync.WaitGroup) {
	if e.server == nil {
		return
	}
	server, end := e.server, e.end
	_ = e.listen.Close() // the port is free from now on; that it was closed already is no harm
	e.server, e.listen, e.end = nil, nil, nil
	work.Go(func() {
		defer end()
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // of what is left
		}
	})
}

// certify chooses the certificate for a connection. That a host has none though it should is reported once for each change
// of the rules.
func (p *Proxy) certify(report Report) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		certificate, refused, err := p.current.Load().certificates.find(hello.ServerName)
		if refused != nil {
			refused.once.Do(func() {
				report("CertificateMissing", refused.entry.Ingress, fmt.Sprintf("HTTPS for %s is refused: %v", nameOf(refused.entry.Host), refused.err), true)
			})
		}
		return certificate, err
	}
}

func nameOf(host string) string {
	if host == "" {
		return "every host"
	}
	return host
}
