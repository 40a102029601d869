package containerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// Exec runs a command in a container, as its user and with its environment, and returns the exit code. When the context
// is done the command is killed. All output has been written when Exec returns, up to what a process that the command
// left behind may still write.
func (r *Runtime) Exec(ctx context.Context, id string, command []string, streams node.Streams) (int, error) {
	code, err := r.exec(r.scope(ctx), id, command, oneAtATime(streams))
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return 0, fmt.Errorf("run %q in container %s: %w", command, id, err)
	}
	return code, nil
}

// The shim of containerd 1.6 queues 32 exits of processes; when it is full the shim waits a second for each further one,
// and all of the pod with it. It takes none out while a command starts, and every command makes up to three. So only so
// many of a pod run at the same time; one that runs for long has no part in that, and gives its place back.
const (
	execsPerPod = 8
	placeTime   = time.Second
)

func (r *Runtime) exec(ctx context.Context, id string, command []string, streams node.Streams) (_ int, err error) {
	process, pod, err := r.process(ctx, id, command)
	if err != nil {
		return 0, err
	}
	if streams.TTY {
		onTerminal(process)
	}
	giveBack, err := r.execs.take(ctx, pod)
	if err != nil {
		return 0, err
	}
	defer giveBack()
	defer time.AfterFunc(placeTime, giveBack).Stop()
	e := &execution{tasks: r.client.TaskService(), container: id, id: "x" + strings.ToLower(rand.Text())}
	eof, err := e.open(r.fifos, streams)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.clear(ctx)) }()
	if err := e.start(ctx, process); err != nil {
		return 0, err
	}
	exited := make(chan struct{})
	var closing sync.WaitGroup
	closing.Go(func() {
		select {
		case <-eof:
			e.closeStdin(ctx)
		case <-exited:
		}
	})
	closing.Go(func() { e.resize(ctx, streams.Resize, exited) })
	defer closing.Wait()
	defer close(exited)
	return e.wait(ctx)
}

// onTerminal gives a process a terminal, and tells it of which kind if nobody has.
func onTerminal(p *specs.Process) {
	p.Terminal = true
	if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		p.Env = append(p.Env, "TERM=xterm")
	}
}

// process is the container's own process with another command, and the UID of its pod.
func (r *Runtime) process(ctx context.Context, id string, command []string) (*specs.Process, string, error) {
	record, err := r.client.ContainerService().Get(ctx, id)
	if err != nil {
		return nil, "", err
	}
	var spec specs.Spec
	if err := typeurl.UnmarshalTo(record.Spec, &spec); err != nil {
		return nil, "", err
	}
	if spec.Process == nil {
		return nil, "", errors.New("its specification has no process")
	}
	spec.Process.Args = command
	return spec.Process, record.Labels[labelUID], nil
}

// An execution is one command in a container.
type execution struct {
	tasks         tasks.TasksClient
	container, id string
	io            cio.IO
	added         bool // containerd knows it
	started       bool // it ran, so the shim has opened its FIFOs
}

// open makes the FIFOs of the command, and returns a channel that is closed when there is no more input.
func (e *execution) open(dir string, streams node.Streams) (eof <-chan struct{}, err error) {
	create := cio.NullIO
	if streams.TTY || streams.Stdin != nil || streams.Stdout != nil || streams.Stderr != nil {
		// The shim of 1.6 takes either both outputs or no stream at all.
		var stdin io.Reader
		stdin, eof = watchEOF(streams.Stdin)
		options := []cio.Opt{cio.WithFIFODir(dir), cio.WithStreams(stdin, orDiscard(streams.Stdout), orDiscard(streams.Stderr))}
		if streams.TTY {
			options = append(options, cio.WithTerminal)
		}
		create = cio.NewCreator(options...)
	}
	e.io, err = create(e.id)
	return eof, err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// start is not cut off in the middle: the command could else run on without anybody who knows of it.
func (e *execution) start(ctx context.Context, process *specs.Process) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := clearing(ctx)
	defer cancel()
	spec, err := typeurl.MarshalAnyToProto(process)
	if err != nil {
		return err
	}
	c := e.io.Config()
	_, err = e.tasks.Exec(ctx, &tasks.ExecProcessRequest{
		ContainerID: e.container, ExecID: e.id, Spec: spec,
		Terminal: process.Terminal, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
	})
	if err != nil {
		return inWords(errgrpc.ToNative(err))
	}
	e.added = true
	if _, err = e.tasks.Start(ctx, &tasks.StartRequest{ContainerID: e.container, ExecID: e.id}); err != nil {
		return inWords(errgrpc.ToNative(err))
	}
	e.started = true
	return nil
}

// wait returns the exit code; the command is killed when the context is done.
func (e *execution) wait(ctx context.Context) (int, error) {
	exit, err := e.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: e.container, ExecID: e.id})
	if err == nil {
		return int(exit.ExitStatus), nil
	}
	return 0, errgrpc.ToNative(err)
}

// resize gives the command's terminal each size, until the command has exited.
func (e *execution) resize(ctx context.Context, sizes <-chan api.TerminalSize, exited <-chan struct{}) {
	for {
		select {
		case size, open := <-sizes:
			if !open {
				return
			}
			// An error means that the command has ended, which wait finds out.
			_, _ = e.tasks.ResizePty(ctx, &tasks.ResizePtyRequest{
				ContainerID: e.container, ExecID: e.id, Width: uint32(size.Columns), Height: uint32(size.Rows),
			})
		case <-exited:
			return
		}
	}
}

// closeStdin tells the shim that no more input comes; without that the command would wait for it.
func (e *execution) closeStdin(ctx context.Context) {
	// An error means that the command has ended, which wait finds out.
	_, _ = e.tasks.CloseIO(ctx, &tasks.CloseIORequest{ContainerID: e.container, ExecID: e.id, Stdin: true})
}

// clear kills the command if it still runs, and takes it and its FIFOs away.
func (e *execution) clear(ctx context.Context) error {
	ctx, cancel := clearing(ctx)
	defer cancel()
	err := e.delete(ctx)
	if err == nil && e.started {
		// The shim has closed its ends, so the copying ends; what is still in the FIFOs is read before.
		e.io.Wait()
	}
	e.io.Cancel()
	e.io.Wait()
	return errors.Join(err, e.io.Close())
}

func (e *execution) delete(ctx context.Context) error {
	if !e.added {
		return nil
	}
	request := &tasks.DeleteProcessRequest{ContainerID: e.container, ExecID: e.id}
	_, err := e.tasks.DeleteProcess(ctx, request)
	if err = errgrpc.ToNative(err); err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	_, err = e.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: e.container, ExecID: e.id, Signal: uint32(syscall.SIGKILL)})
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("kill it: %w", err)
	}
	if _, err := e.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: e.container, ExecID: e.id}); err != nil && !errdefs.IsNotFound(errgrpc.ToNative(err)) {
		return fmt.Errorf("wait for its end: %w", errgrpc.ToNative(err))
	}
	_, err = e.tasks.DeleteProcess(ctx, request)
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("delete it: %w", err)
	}
	return nil
}

// watchEOF gives a reader like the given one, and a channel that is closed when that has ended. No reader stays none.
func watchEOF(r io.Reader) (io.Reader, <-chan struct{}) {
	if r == nil {
		return nil, nil
	}
	w := &eofWatcher{Reader: r, ended: make(chan struct{})}
	return w, w.ended
}

type eofWatcher struct {
	io.Reader
	once  sync.Once
	ended chan struct{}
}

func (w *eofWatcher) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil {
		w.once.Do(func() { close(w.ended) })
	}
	return n, err
}
