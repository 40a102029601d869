package ingress

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// maxAttempts is how many endpoints are tried for one request.
const maxAttempts = 3

// errNoEndpoint refuses requests that nobody is there to take.
var errNoEndpoint = errors.New("no endpoint is ready")

// An errand is what the proxy knows of a request beside what is sent.
type errand struct {
	target target
	client string // its address
}

type errandKey struct{}

// balancer sends each request to an endpoint of its target, and to another if that cannot be reached.
type balancer struct{ proxy *Proxy }

// RoundTrip gives the answer of the first endpoint that takes the request. One of which nothing was sent may go to the next,
// as often as maxAttempts allows; one that was sent, but was not answered, only once more, and only if it changes nothing.
func (b balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	e, _ := r.Context().Value(errandKey{}).(errand)
	body := newReplay(r.Body)
	var tried []*endpoint
	last := errNoEndpoint
	for len(tried) < maxAttempts {
		chosen := b.proxy.choose(e, tried)
		if chosen == nil {
			break
		}
		tried = append(tried, chosen)
		a := attempt{endpoint: chosen}
		answer, err := a.do(r, body)
		if err == nil {
			return answer, nil
		}
		last = err
		if r.Context().Err() != nil || a.sent && (len(tried) > 1 || !isSafe(r)) || !body.rewind() {
			break
		}
	}
	return nil, last
}

// isSafe reports whether a request asks for nothing but an answer.
func isSafe(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.ContentLength == 0
	}
	return false
}

// choose gives an endpoint that the request may use, and whose leave is called when it has answered; nil if none is left.
func (p *Proxy) choose(e errand, tried []*endpoint) *endpoint {
	for {
		pool := p.current.Load().pools[e.target]
		if pool == nil {
			return nil
		}
		chosen := pool.pick(e.client, tried, time.Now())
		if chosen == nil || chosen.enter() {
			return chosen
		}
		// It was withdrawn meanwhile: what is current now is without it.
	}
}

// An attempt is one request to one endpoint.
type attempt struct {
	endpoint *endpoint
	conn     *countingConn
	before   int64 // what had been written to the connection
	sent     bool  // some of the request may have been sent
}

func (a *attempt) do(r *http.Request, body *replay) (*http.Response, error) {
	e := a.endpoint
	defer e.leave()
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		a.account()
		if c, ok := info.Conn.(*countingConn); ok && !e.key.h2c {
			a.conn, a.before = c, c.written.Load()
		} else {
			a.sent = true // others write to the connection too: nobody can tell
		}
	}}
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	out.URL = new(url.URL)
	*out.URL = *r.URL
	out.URL.Scheme, out.URL.Host = "http", e.key.addr.String()
	if body != nil {
		out.Body = body.reader()
	}
	e.busy.Add(1)
	answer, err := e.transport.RoundTrip(out)
	if err != nil {
		e.busy.Add(-1)
		a.account()
		if a.conn == nil && !a.sent && !errors.Is(err, context.Canceled) {
			e.failed.Store(time.Now().UnixNano())
		}
		return nil, err
	}
	answer.Body = whenClosed(answer.Body, func() { e.busy.Add(-1) })
	return answer, nil
}

// account notes whether anything was sent on the connection.
func (a *attempt) account() {
	if a.conn != nil && a.conn.written.Load() > a.before {
		a.sent = true
	}
}

// whenClosed calls done when the body is closed first. Bodies of connections that are taken over can be written to as well.
func whenClosed(body io.ReadCloser, done func()) io.ReadCloser {
	c := closing{body, sync.OnceFunc(done)}
	if w, ok := body.(io.Writer); ok {
		return struct {
			closing
			io.Writer
		}{c, w}
	}
	return c
}

type closing struct {
	io.ReadCloser
	done func()
}

func (c closing) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

// keepBody is how much of a request's body is kept to be sent again, in bytes. What was read of one that is longer has
// usually been sent, too.
const keepBody = 16 << 10

// A replay is a request's body that can be read again, as long as little of it was read. Nil is none.
type replay struct {
	generation atomic.Int64 // of the readers that may read

	mu   sync.Mutex
	from io.Reader
	kept []byte
	lost bool // more was read than is kept
	err  error
}

func newReplay(body io.ReadCloser) *replay {
	if body == nil || body == http.NoBody {
		return nil
	}
	return &replay{from: body}
}

// rewind has the next reader begin at the beginning, and ends those before it. It reports whether that can be.
func (b *replay) rewind() bool {
	if b == nil {
		return true
	}
	b.generation.Add(1)
	b.mu.Lock() // a reader may still be at it
	defer b.mu.Unlock()
	return !b.lost
}

// reader begins at the beginning. Closing it does not close the body, which is whose the request is.
func (b *replay) reader() io.ReadCloser {
	return &replayReader{replay: b, generation: b.generation.Load()}
}

type replayReader struct {
	*replay
	generation int64
	at         int
}

var errRewound = errors.New("the body is sent elsewhere")

func (r *replayReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.generation != r.replay.generation.Load():
		return 0, errRewound
	case r.at < len(r.kept):
		n := copy(p, r.kept[r.at:])
		r.at += n
		return n, nil
	case r.err != nil:
		return 0, r.err
	}
	n, err := r.from.Read(p)
	r.err = err
	if r.lost = r.lost || len(r.kept)+n > keepBody; r.lost {
		r.kept, r.at = nil, 0
		return n, err
	}
	r.kept = append(r.kept, p[:n]...)
	r.at += n
	return n, err
}

func (r *replayReader) Close() error { return nil }
