package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"headway.dev/headway/api"
)

// Serve answers a request for a log or a command, and returns when the stream is over. It may be called while Run runs.
func (a *Agent) Serve(ctx context.Context, r api.StreamRequest, s Stream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last, err := a.serve(ctx, r, s)
	if err != nil {
		last = api.StreamFrame{Error: err.Error()}
	}
	if err := s.Send(ctx, last); err != nil && ctx.Err() == nil {
		a.log.Debug("a stream broke off", "pod", r.Pod.String(), "error", err)
	}
}

// serve gives the stream's last frame.
func (a *Agent) serve(ctx context.Context, r api.StreamRequest, s Stream) (api.StreamFrame, error) {
	if r.Usage {
		return api.StreamFrame{}, a.serveUsage(ctx, s)
	}
	p, found := a.find(r.Pod)
	if !found {
		return api.StreamFrame{}, fmt.Errorf("%s is not on node %s; its pods are: %s", r.Pod, a.config.Info.Name, a.names())
	}
	c, err := p.containerNamed(r.Container)
	if err != nil {
		return api.StreamFrame{}, err
	}
	if r.Logs != nil {
		return api.StreamFrame{}, a.serveLogs(ctx, p, c, *r.Logs, s)
	}
	if r.Exec != nil && len(r.Exec.Command) == 0 {
		return api.StreamFrame{}, errors.New("the request names no command")
	}
	if c.State != stateRunning {
		return api.StreamFrame{}, fmt.Errorf("container %s does not run: it is %s", c.Name, c.State)
	}
	switch {
	case r.Exec != nil:
		return a.serveExec(ctx, c, *r.Exec, s)
	case r.Files != nil:
		return api.StreamFrame{}, a.serveFiles(ctx, c, *r.Files, s)
	case r.Forward != nil:
		return api.StreamFrame{}, a.serveForward(ctx, c, *r.Forward, s)
	}
	return api.StreamFrame{}, errors.New("the request asks for nothing that this node knows: its headway may be older than yours")
}

// containerNamed gives the status of a container; an empty name is the first that is no init container.
func (p *pod) containerNamed(name string) (api.ContainerStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Concat(p.status.Containers, p.status.InitContainers)
	var names []string
	for _, c := range all {
		if name == "" || c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return api.ContainerStatus{}, fmt.Errorf("%s has no container yet: %s", p.status.Placement.Pod, p.status.Reason)
	}
	return api.ContainerStatus{}, fmt.Errorf("%s has no container %q; it has %s", p.status.Placement.Pod, name, strings.Join(names, ", "))
}

// serveLogs sends what is chosen of a log.
func (a *Agent) serveLogs(ctx context.Context, p *pod, c api.ContainerStatus, options api.LogOptions, s Stream) error {
	p.mu.Lock()
	run := p.runs[c.Name]
	p.mu.Unlock()
	if run == nil {
		return fmt.Errorf("container %s has not started yet: %s", c.Name, strings.TrimSuffix(c.Reason+": "+c.Message, ": "))
	}
	path, ended := run.path, (<-chan struct{})(run.ended)
	if options.Previous {
		if run.attempt == 0 {
			return fmt.Errorf("container %s has not been restarted: there is no log of a run before this one", c.Name)
		}
		path, ended = a.disk.logPath(p.uid, c.Name, run.attempt-1), closed()
	}
	return a.config.Logs.Read(ctx, path, options, ended, &sender{ctx: ctx, stream: s})
}

// lastLine is the last line of a log, for messages; empty if there is none.
func (a *Agent) lastLine(path string) string {
	if a.config.Logs == nil {
		return ""
	}
	var end tail
	if err := a.config.Logs.Read(context.Background(), path, api.LogOptions{Tail: new(1)}, closed(), &end); err != nil {
		return ""
	}
	return end.lastLine()
}

// closed is the end of what is over already.
func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// A sender sends what is written to it in frames.
type sender struct {
	ctx    context.Context
	stream Stream
	mu     *sync.Mutex
	stderr bool
}

// maxFrame bounds the content of a frame, well below what the bus takes in one message.
const maxFrame = 64 << 10

func (w *sender) Write(p []byte) (int, error) {
	if w.mu != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
	}
	for chunk := range slices.Chunk(p, maxFrame) {
		var frame api.StreamFrame
		if w.stderr {
			frame.Stderr = bytes.Clone(chunk)
		} else {
			frame.Stdout = bytes.Clone(chunk)
		}
		if err := w.stream.Send(w.ctx, frame); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
