package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func (a app) portForwardCommand() *cobra.Command {
	var (
		t       target
		address string
	)
	c := &cobra.Command{
		Use:   "port-forward POD|KIND/NAME [LOCAL:]PORT...",
		Short: "Reach a pod's ports from this machine",
		Long: `Listen on this machine and pass connections on to a pod's ports, over the bus: nothing but that has to be reachable.
A port of the pod is a number or a name. LOCAL is the port here: by default the same, and any free one if it is empty or 0.

It ends when it is interrupted. Connections reach the pod by its own loopback.`,
		Example: `  headway port-forward deployment/front 8080:80
  headway port-forward front-6d4cf56db6-x7k2p :http -n shop`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return withFleet(c.Context(), t.contextFile, func(_ fleet, conn *bus.Conn) error {
				pod, err := t.onePod(c.Context(), conn, args[0])
				if err != nil {
					return err
				}
				f := forwarder{app: a, conn: conn, pod: pod.Placement, container: t.container, address: address}
				return f.run(c.Context(), args[1:])
			})
		},
	}
	t.flags(c)
	c.Flags().StringVar(&address, "address", "127.0.0.1", "address of this machine to listen on")
	return c
}

// A forwarder passes connections on to one pod.
type forwarder struct {
	app
	conn      *bus.Conn
	pod       api.Placement
	container string
	address   string
}

// A portPair is a port here and the pod's port that it stands for.
type portPair struct{ local, remote uint16 }

func (f forwarder) run(ctx context.Context, specs []string) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close() // twice, if all went well
		}
	}()
	var pairs []portPair
	for _, spec := range specs {
		pair, err := parsePorts(spec, f.pod.Ports)
		if err != nil {
			return err
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(f.address, strconv.Itoa(int(pair.local))))
		if err != nil {
			return err
		}
		listeners, pairs = append(listeners, l), append(pairs, pair)
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, l := range listeners {
		fmt.Fprintf(f.stdout, "Forwarding from %s to port %d of %s\n", l.Addr(), pairs[i].remote, f.pod.Pod)
		group.Go(func() error { return f.serve(ctx, l, pairs[i].remote) })
	}
	return group.Wait()
}

// parsePorts reads [LOCAL:]PORT.
func parsePorts(spec string, named []api.ContainerPort) (portPair, error) {
	local, remote, both := strings.Cut(spec, ":")
	if !both {
		local, remote = "", spec
	}
	var p portPair
	if i := slices.IndexFunc(named, func(c api.ContainerPort) bool { return c.Name != "" && c.Name == remote }); i >= 0 {
		p.remote = uint16(named[i].Port)
	} else if n, err := strconv.ParseUint(remote, 10, 16); err == nil && n > 0 {
		p.remote = uint16(n)
	} else {
		var names []string
		for _, c := range named {
			names = append(names, c.Name)
		}
		return p, fmt.Errorf("%q: the pod has no port %q: write a number from 1 to 65535, or one of its names: %s", spec, remote, strings.Join(names, ", "))
	}
	if !both {
		p.local = p.remote
		return p, nil
	}
	if local == "" {
		return p, nil
	}
	n, err := strconv.ParseUint(local, 10, 16)
	if err != nil {
		return p, fmt.Errorf("%q: the port here is a number from 0 to 65535, not %q", spec, local)
	}
	p.local = uint16(n)
	return p, nil
}

// serve passes the connections of a listener on until ctx is done.
func (f forwarder) serve(ctx context.Context, l net.Listener, port uint16) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		client, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		connections.Go(func() {
			if err := f.forward(ctx, client, port); err != nil && ctx.Err() == nil {
				fmt.Fprintf(f.stderr, "headway: a connection from %s to port %d: %v\n", client.RemoteAddr(), port, err)
			}
		})
	}
}

// forward joins a connection with a stream of its own.
func (f forwarder) forward(ctx context.Context, client net.Conn, port uint16) error {
	defer client.Close()
	s, err := openStream(ctx, f.conn, f.pod, api.StreamRequest{Container: f.container, Forward: &api.ForwardOptions{Port: port}})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })()
	sent := make(chan error, 1)
	go func() {
		err := sendConnection(ctx, client, s)
		if err != nil {
			cancel()
		}
		sent <- err
	}()
	if err = receiveConnection(ctx, s, client); err != nil {
		cancel()
	}
	// A pod that says no more may still listen.
	if ended := <-sent; err == nil {
		return ended
	}
	return err
}

// sendConnection passes on what a connection gives, and its end.
func sendConnection(ctx context.Context, client net.Conn, s *bus.Stream) error {
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			if err := s.Send(ctx, api.StreamFrame{Stdin: buffer[:n]}); err != nil {
				return ignoreClosed(err)
			}
		}
		if errors.Is(err, io.EOF) {
			return ignoreClosed(s.Send(ctx, api.StreamFrame{StdinEOF: true}))
		} else if err != nil {
			return err
		}
	}
}

// ignoreClosed leaves it to the receiving side to say why the node has closed the stream.
func ignoreClosed(err error) error {
	if errors.Is(err, bus.ErrStreamClosed) {
		return nil
	}
	return err
}

// receiveConnection passes on what comes until the pod's end of it.
func receiveConnection(ctx context.Context, s *bus.Stream, client net.Conn) error {
	for {
		frame, err := s.Recv(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the node has ended it")
		case err != nil:
			return err
		case frame.Error != "":
			return errors.New(frame.Error)
		}
		if _, err := client.Write(frame.Stdout); err != nil {
			return err
		}
		if !frame.StdoutEOF {
			continue
		}
		if half, ok := client.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
		return nil
	}
}
