package lab

import (
	"context"
	"net"
)

// Dialer makes connections from inside a network namespace.
func Dialer(netns string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var conn net.Conn
		err := within(netns, func() error {
			var err error
			// A name would be looked up, and several addresses tried, on other threads; the lab's are single and numeric.
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}
