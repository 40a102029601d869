package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// publishUnstored says something that is not stored and that nothing answers: that it fails only says that there is no
// connection, and the next says more than one that was lost.
func (c *Conn) publishUnstored(subject, what string, value any) error {
	header, data, err := encode(value)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := c.nc.PublishMsg(&nats.Msg{Subject: subject, Header: header, Data: data}); err != nil {
		return fmt.Errorf("%s: %w", what, unavailable(err))
	}
	return nil
}

// watchUnstored calls fn with what is said on a subject and not stored, until ctx is done. What cannot be read, or says to
// be of another subject than it came by, is reported and left out.
func watchUnstored[T any](ctx context.Context, c *Conn, subject, what string, of func(T) string, fn func(T)) error {
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("watch for %s: %w", what, unavailable(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection has ended
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && c.ctx.Err() != nil:
			return ErrUnavailable
		case err != nil:
			continue // some were dropped because fn was slow: later ones say the same
		}
		var value T
		if err := decode(m.Header, m.Data, &value); err != nil || of(value) != m.Subject {
			c.log.Warn(what+" is left out: it cannot be read, or is of another node than it says", "subject", m.Subject, "error", err)
			continue
		}
		fn(value)
	}
}
