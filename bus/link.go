package bus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// answerTimeout bounds a request whose context has no earlier deadline.
const answerTimeout = 5 * time.Second

// A link lets requests fail as soon as it is known that no answer will come, rather than when their time is up.
type link struct {
	mu      sync.Mutex
	waiting map[*context.CancelCauseFunc]struct{}
}

// interrupt fails every request that waits for an answer.
func (l *link) interrupt(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for cancel := range l.waiting {
		(*cancel)(cause)
	}
}

// bounded gives the context of one request: it ends after answerTimeout at the latest, and with the connection.
func (c *Conn) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(ctx, answerTimeout, fmt.Errorf("no answer within %s", answerTimeout))
	ctx, cancel := context.WithCancelCause(ctx)
	l := &c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = map[*context.CancelCauseFunc]struct{}{}
	}
	l.waiting[&cancel] = struct{}{}
	return ctx, func() {
		l.mu.Lock()
		delete(l.waiting, &cancel)
		l.mu.Unlock()
		cancel(nil)
		stop()
	}
}

// unanswered says why a request failed, from its own context or the client's error.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return unavailable(err)
}

// deletionSettles is how long a server may take to remove the files of a stream after it has said that it is deleted. A
// stream made under the same name before that loses its own.
const deletionSettles = 250 * time.Millisecond

// deletions are when streams were last deleted.
type deletions struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (d *deletions) note(stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		d.at = map[string]time.Time{}
	}
	d.at[stream] = time.Now()
}

// settle waits until a stream can be made again.
func (d *deletions) settle(ctx context.Context, stream string) error {
	d.mu.Lock()
	at := d.at[stream]
	d.mu.Unlock()
	wait := time.Until(at.Add(deletionSettles))
	if wait <= 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
