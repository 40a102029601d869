package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// serveExec runs a command with the ends of the stream.
func (a *Agent) serveExec(ctx context.Context, c api.ContainerStatus, options api.ExecOptions, s Stream) (api.StreamFrame, error) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	var mu sync.Mutex // frames of both outputs are sent one at a time
	streams := Streams{
		TTY:    options.TTY,
		Stdout: &sender{ctx: ctx, stream: s, mu: &mu},
		Stderr: &sender{ctx: ctx, stream: s, mu: &mu, stderr: true},
	}
	stdin, input := io.Pipe()
	// Whatever ends first, the other end of the pipe does not wait for it.
	defer stdin.Close()
	if options.Stdin {
		streams.Stdin = stdin
	}
	sizes := make(chan api.TerminalSize, 1)
	if options.TTY {
		streams.Resize = sizes
		if options.Size != nil {
			sizes <- *options.Size
		}
	}
	reading.Go(func() { input.CloseWithError(receive(ctx, s, input, sizes, cancel)) })
	code, err := a.config.Runtime.Exec(ctx, c.ID, options.Command, streams)
	if err != nil {
		return api.StreamFrame{}, err
	}
	return api.StreamFrame{ExitCode: &code}, nil
}

// receive passes on what the other side sends, and has what reads it ended when the other side is gone.
func receive(ctx context.Context, s Stream, input io.WriteCloser, sizes chan api.TerminalSize, gone func()) error {
	for open := true; ; {
		frame, err := s.Recv(ctx)
		if err != nil {
			gone()
			return err
		}
		if frame.Resize != nil && sizes != nil {
			newest(sizes, *frame.Resize)
		}
		if open && len(frame.Stdin) > 0 {
			if _, err := input.Write(frame.Stdin); err != nil {
				open = false // nothing more is read
			}
		}
		if frame.StdinEOF && open {
			open = false
			_ = input.Close() // of a pipe; it cannot fail
		}
	}
}

// newest puts a size into the channel in the place of one that nobody has taken. There is one who puts.
func newest(sizes chan api.TerminalSize, size api.TerminalSize) {
	select {
	case <-sizes:
	default:
	}
	sizes <- size
}

// serveFiles copies files out of or into a container.
func (a *Agent) serveFiles(ctx context.Context, c api.ContainerStatus, options api.FileOptions, s Stream) error {
	copier, ok := a.config.Runtime.(FileCopier)
	if !ok {
		return errors.New("this node's runtime cannot copy files")
	}
	if options.Path == "" {
		return errors.New("the request names no path")
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	archive, input := io.Pipe()
	defer archive.Close()
	reading.Go(func() { input.CloseWithError(receive(ctx, s, input, nil, cancel)) })
	if options.Write {
		return copier.WriteFiles(ctx, c.ID, options.Path, archive)
	}
	notes := &sender{ctx: ctx, stream: s, stderr: true}
	return copier.ReadFiles(ctx, c.ID, options.Path, &sender{ctx: ctx, stream: s}, func(why string) {
		_, _ = notes.Write([]byte(why + "\n")) // the archive that follows fails as well
	})
}

// serveForward joins the stream with a connection to a port of the pod.
func (a *Agent) serveForward(ctx context.Context, c api.ContainerStatus, options api.ForwardOptions, s Stream) error {
	forwarder, ok := a.config.Runtime.(Forwarder)
	if !ok {
		return errors.New("this node's runtime cannot make connections from inside of a pod")
	}
	dialing, stop := context.WithTimeout(ctx, dialTimeout)
	conn, err := forwarder.Dial(dialing, c.ID, options.Port)
	stop()
	if err != nil {
		return err
	}
	return join(ctx, conn, s)
}

// dialTimeout bounds how long a port of a pod may take to accept a connection.
const dialTimeout = 10 * time.Second

// join copies between a connection and a stream until both directions have ended, or either side is gone.
func join(ctx context.Context, conn net.Conn, s Stream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Neither direction waits for what does not come any more.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	var both sync.WaitGroup
	both.Go(func() {
		if err := upstream(ctx, s, conn); err != nil {
			cancel(err)
		}
	})
	both.Go(func() {
		if err := downstream(ctx, conn, s); err != nil {
			cancel(err)
		}
	})
	both.Wait()
	return context.Cause(ctx)
}

// upstream passes on to a connection what comes, until the other side says that nothing more does.
func upstream(ctx context.Context, s Stream, conn net.Conn) error {
	for {
		frame, err := s.Recv(ctx)
		if err != nil {
			return err
		}
		if _, err := conn.Write(frame.Stdin); err != nil {
			return fmt.Errorf("the connection broke off: %w", err)
		}
		if !frame.StdinEOF {
			continue
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
		return nil
	}
}

// downstream passes on what a connection gives, and its end.
func downstream(ctx context.Context, conn net.Conn, s Stream) error {
	if _, err := io.Copy(&sender{ctx: ctx, stream: s}, conn); err != nil {
		return fmt.Errorf("the connection broke off: %w", err)
	}
	return s.Send(ctx, api.StreamFrame{StdoutEOF: true})
}

// serveUsage sends what the node's containers use.
func (a *Agent) serveUsage(ctx context.Context, s Stream) error {
	usage, err := a.Usage(ctx)
	if err != nil {
		return err
	}
	data, err := json.Marshal(usage)
	if err != nil {
		return err
	}
	_, err = (&sender{ctx: ctx, stream: s}).Write(data)
	return err
}

// Usage measures what the machine and its containers use.
func (a *Agent) Usage(ctx context.Context) (api.NodeUsage, error) {
	meter, ok := a.config.Runtime.(Meter)
	if !ok {
		return api.NodeUsage{}, errors.New("this node's runtime cannot measure its containers")
	}
	containers, err := meter.Metrics(ctx)
	if err != nil {
		return api.NodeUsage{}, err
	}
	machine, err := meter.MachineUsage()
	if err != nil {
		return api.NodeUsage{}, err
	}
	return api.NodeUsage{Node: a.config.Info.Name, Time: machine.Time, Machine: machine, Containers: containers}, nil
}
