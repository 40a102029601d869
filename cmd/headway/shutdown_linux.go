package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"headway.dev/headway/node"
)

// shutdownOptions are the flags that say how pods end with the machine.
type shutdownOptions struct{ grace, critical time.Duration }

func (o *shutdownOptions) flags(f *pflag.FlagSet) {
	f.DurationVar(&o.grace, "shutdown-grace-period", 0, "how long all pods together may take to end with the machine (0: as long as each may)")
	f.DurationVar(&o.critical, "shutdown-grace-period-critical-pods", 0, "the last part of that time, for pods that are critical to the system")
}

func (o *shutdownOptions) parse() ([]node.ShutdownStage, error) {
	stages, err := node.ShutdownStages(o.grace, o.critical)
	if err != nil {
		return nil, fmt.Errorf("--shutdown-grace-period-critical-pods: %w", err)
	}
	return stages, nil
}

// controlSocket is where a daemon listens for what is asked of it on its own machine. Only root can reach it.
func (o nodeOptions) controlSocket() string { return filepath.Join(o.runDir, "control.sock") }

// longestSocket is how long the kernel lets the path of a socket be, in bytes.
const longestSocket = 107

// A halter ends all pods.
type halter interface {
	Shutdown(ctx context.Context) error
}

// serveShutdown ends all pods whenever that is asked for by connecting, and answers when they have ended, with nothing or with
// what went wrong. It runs until ctx is done.
func (o nodeOptions) serveShutdown(ctx context.Context, agent halter, log *slog.Logger) error {
	socket := o.controlSocket()
	if len(socket) > longestSocket {
		log.Warn("headway node --shutdown cannot reach this daemon: its --run-dir is too long a path", "socket", socket, "most", longestSocket)
		return nil
	}
	if conn, err := net.Dial("unix", socket); err == nil {
		_ = conn.Close()
		return fmt.Errorf("another daemon listens at %s: stop it, or give this one a --run-dir of its own", socket)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err == nil {
		err = os.Chmod(socket, 0o600)
	}
	if err != nil {
		return fmt.Errorf("listen for the shutdown of the machine: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("listen for the shutdown of the machine: %w", err)
		}
		o.shutDown(ctx, agent, conn, log)
	}
}

// shutDown answers one who asks. Who only looks whether there is a daemon closes at once, and asks nothing.
func (o nodeOptions) shutDown(ctx context.Context, agent halter, conn net.Conn, log *slog.Logger) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if asked, err := io.ReadAll(io.LimitReader(conn, int64(len(askShutdown)))); err != nil || string(asked) != askShutdown {
		return
	}
	log.Info("the machine shuts down: all pods end")
	answer := answerDone
	if err := agent.Shutdown(ctx); err != nil {
		answer = err.Error()
	}
	_, _ = io.WriteString(conn, answer)
}

// What is said at the control socket.
const (
	askShutdown = "shutdown"
	answerDone  = "done"
)

// askToShutDown has the daemon that runs end all pods, and waits until they have.
func (o nodeOptions) askToShutDown(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", o.controlSocket())
	if err != nil {
		return fmt.Errorf("no daemon answers with this --run-dir: start it, for it alone knows how pods are to end: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, askShutdown); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	switch {
	case err != nil:
		return err
	case len(answer) == 0:
		return errors.New("the daemon ended before the pods had")
	case string(answer) != answerDone:
		return errors.New(string(answer))
	}
	return nil
}
