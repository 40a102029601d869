package bus

import (
	"strings"
	"sync"
	"time"
)

// notices tells watches that what they know may be out of date.
type notices struct {
	mu        sync.Mutex
	listeners map[chan struct{}]string // the stream that each watches
}

// listen gives a channel that is signalled when the stream may have changed in a way that its live messages do not tell.
func (n *notices) listen(stream string) (ch chan struct{}, stop func()) {
	ch = make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[chan struct{}]string{}
	}
	n.listeners[ch] = stream
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.listeners, ch)
	}
}

// wake signals those who watch a stream; with an empty name, all.
func (n *notices) wake(stream string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ch, of := range n.listeners {
		if stream == "" || stream == of {
			select {
			case ch <- struct{}{}:
			default: // it has a signal waiting
			}
		}
	}
}

// denials gives a refusal, which the server sends apart from any answer, to the writer who waits for one.
type denials struct {
	mu      sync.Mutex
	waiting map[*denial]struct{}
}

type denial struct {
	prefix string // of the subject
	denied func()
}

// expect calls denied if the server refuses a message to a subject that begins so, until forget is called.
func (d *denials) expect(prefix string, denied func()) (forget func()) {
	w := &denial{prefix, denied}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[*denial]struct{}{}
	}
	d.waiting[w] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, w)
	}
}

// deny reports whether anyone waited.
func (d *denials) deny(err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := false
	for w := range d.waiting {
		// The server names the subject in quotes, and nowhere else.
		if strings.Contains(strings.ToLower(err.Error()), `"`+strings.ToLower(w.prefix)) {
			w.denied()
			found = true
		}
	}
	return found
}

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// A backoff paces attempts at what nothing will tell the end of.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{} }

// after gives a channel that fires when the next attempt is due; nil when the last one succeeded.
func (b *backoff) after() <-chan time.Time {
	if b.next == 0 {
		return nil
	}
	return time.After(b.next)
}

func (b *backoff) grow()  { b.next = min(max(2*b.next, backoffFirst), backoffMost) }
func (b *backoff) reset() { b.next = 0 }
