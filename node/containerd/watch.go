package containerd

import (
	"context"
	"errors"
	"fmt"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"
)

const (
	topicExit = "/tasks/exit"
	// topicWatch is that of the event by which Watch finds out that its stream is open.
	topicWatch = "/headway/watch"

	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// Watch calls fn with the ID of every container that ends, until ctx is done. Whenever it has begun to listen, at first
// and after containerd was away, it calls fn with an empty ID: what ended before was not heard.
func (r *Runtime) Watch(ctx context.Context, fn func(id string)) error {
	scoped := r.scope(ctx)
	backoff := minBackoff
	for {
		err := r.listen(scoped, func(id string) {
			backoff = minBackoff
			fn(id)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.options.Logger.WarnContext(ctx, "containerd's events broke off", "error", err, "again in", backoff)
		timer := time.NewTimer(backoff)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// listen follows one stream of events until it breaks.
func (r *Runtime) listen(ctx context.Context, fn func(id string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, errs := r.client.EventService().Subscribe(ctx,
		fmt.Sprintf("namespace==%q,topic==%q", r.options.Namespace, topicExit),
		fmt.Sprintf("namespace==%q,topic==%q", r.options.Namespace, topicWatch))
	// The stream's goroutine ends with the context; to wait for it keeps the promise that nothing is left.
	defer func() {
		cancel()
		for range errs {
		}
	}()
	listening, tick := false, time.NewTicker(minBackoff)
	defer tick.Stop()
	if err := r.announce(ctx); err != nil {
		return err
	}
	for {
		select {
		case e := <-stream:
			switch {
			case e.Topic == topicExit:
				if id, ok := ended(e); ok {
					fn(id)
				}
			case !listening:
				listening = true
				tick.Stop()
				fn("")
			}
		case <-tick.C:
			// containerd does not say when a stream is open: an event of our own that comes back does.
			if err := r.announce(ctx); err != nil {
				return err
			}
		case err := <-errs:
			if err == nil {
				err = errors.New("the stream has ended")
			}
			return err
		}
	}
}

func (r *Runtime) announce(ctx context.Context) error {
	return r.client.EventService().Publish(ctx, topicWatch, &eventtypes.NamespaceUpdate{Name: r.options.Namespace})
}

// ended gives the container whose first process has exited; the end of an executed command is none.
func ended(e *events.Envelope) (string, bool) {
	value, err := typeurl.UnmarshalAny(e.Event)
	if err != nil {
		return "", false
	}
	exit, ok := value.(*eventtypes.TaskExit)
	if !ok || exit.ID != exit.ContainerID {
		return "", false
	}
	return exit.ContainerID, true
}
