package fakehost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"headway.dev/headway/node"
)

// exitKilled is what a process ends with that SIGKILL took.
const exitKilled = 128 + int(syscall.SIGKILL)

// exitLost is what a container counts as having ended with that ran when the machine stopped.
const exitLost = 255

// Runtime opens the machine's node.Runtime, as a daemon that starts does: what the last one left half made goes.
func (h *Host) Runtime() node.Runtime {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.half)
	return runtime{h}
}

type runtime struct{ h *Host }

// A container and the process in it.
type container struct {
	node.Container
	config  node.ContainerConfig
	process *process
	altered string // by somebody else; empty if it is as it was made
}

// A watch is one call of Watch.
type watch struct{ ids chan string }

func containerID(config node.ContainerConfig) string {
	return fmt.Sprintf("%s.%s.%d", config.Pod.UID, config.Container.Name, config.Attempt)
}

func (r runtime) Create(ctx context.Context, config node.ContainerConfig) (string, error) {
	id := containerID(config)
	h := r.h
	if err := h.call(ctx, "Snapshot", id, func() error {
		if h.containers[id] == nil {
			h.half[id] = true
		}
		return nil
	}); err != nil {
		return "", err
	}
	err := h.call(ctx, "Create", id, func() error {
		if h.containers[id] != nil {
			return nil
		}
		if h.sandboxes[config.Sandbox.UID].IP != config.Sandbox.IP {
			return errors.New("create " + id + ": its sandbox is not there")
		}
		if image := config.Container.Image; h.dropped[image] {
			return &node.ImageError{Image: image, Reason: "ErrImagePull", Err: errors.New("it is not on this machine")}
		}
		delete(h.half, id)
		h.containers[id] = &container{config: config, Container: node.Container{
			ID: id, PodUID: config.Pod.UID, Pod: config.Pod.Pod, Name: config.Container.Name, Attempt: config.Attempt,
			Template: config.Pod.Template, Devices: config.Devices, State: node.ContainerCreated,
		}}
		return nil
	})
	if err != nil {
		r.clear(id, err)
		return "", err
	}
	return id, nil
}

// clear takes away what a failed Create has made, if there was still somebody to do so.
func (r runtime) clear(id string, err error) {
	if errors.Is(err, ErrKilled) {
		return
	}
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	delete(r.h.half, id)
}

func (r runtime) Start(ctx context.Context, id string) error {
	h := r.h
	return h.call(ctx, "Start", id, func() error {
		c := h.containers[id]
		switch {
		case c == nil:
			return errors.New("start " + id + ": no such container")
		case c.State == node.ContainerRunning:
			return nil
		case c.State != node.ContainerCreated:
			return fmt.Errorf("start %s: it is %s", id, c.State)
		}
		command := slices.Concat(c.config.Container.Command, c.config.Container.Args)
		program, err := parse(command)
		if err != nil {
			return &node.StartError{Err: fmt.Errorf("start %s: %w", id, err)}
		}
		h.noteClash(c)
		h.nextPID++
		c.State, c.PID, c.Started = node.ContainerRunning, h.nextPID, time.Now()
		c.process = &process{program: program, seen: c.config}
		h.resume(c)
		return nil
	})
}

// resume runs the container's process until it waits or ends. The host is locked.
func (h *Host) resume(c *container) {
	if c.State != node.ContainerRunning {
		return
	}
	out := c.process.run()
	if err := appendTo(c.config.LogPath, out); err != nil {
		h.finish(c, 1)
		return
	}
	switch {
	case c.process.ended:
		c.OOM = c.process.oom
		h.finish(c, c.process.exitCode)
	case c.process.waits > 0:
		c.process.timer = time.AfterFunc(c.process.waits, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.resume(c)
		})
	}
}

// finish ends the container's process. The host is locked.
func (h *Host) finish(c *container, code int) {
	if c.State != node.ContainerRunning {
		return
	}
	if c.process.timer != nil {
		c.process.timer.Stop()
	}
	c.State, c.PID, c.ExitCode, c.Finished = node.ContainerExited, 0, code, time.Now()
	for w := range h.ended {
		w.tell(c.ID)
	}
}

// tell queues an ID; one that finds no room is replaced by the request to look at all.
func (w *watch) tell(id string) {
	select {
	case w.ids <- id:
	default:
		<-w.ids
		w.ids <- ""
	}
}

// Exit ends a container's process as if by itself, if it runs.
func (h *Host) Exit(id string, code int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.containers[id]; c != nil {
		h.finish(c, code)
	}
}

// Lose takes a container away behind the agent's back, and has the watchers look at all.
func (h *Host) Lose(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.containers, id)
	for w := range h.ended {
		w.tell("")
	}
}

// Reboot starts the machine anew: what ran is gone, and only its disk is left. It is done while no agent runs.
func (h *Host) Reboot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, c := range h.containers {
		switch c.State {
		case node.ContainerCreated:
			delete(h.containers, id)
		case node.ContainerRunning:
			h.finish(c, exitLost)
		default:
			c.ExitCode = exitLost // that it was another one is forgotten
		}
		c.Lost = c.State == node.ContainerExited
	}
	clear(h.sandboxes)
	h.freed, h.nextIP = nil, firstIP
	h.boots++
}

// Boot names the machine's current start.
func (h *Host) Boot() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint("boot-", h.boots)
}

// SetStopSignal sets by which signal containers of an image are stopped.
func (h *Host) SetStopSignal(image string, signal syscall.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stops[image] = signal
}

func (r runtime) Stop(ctx context.Context, id string) error {
	r.h.mu.Lock()
	by := syscall.SIGTERM
	if c := r.h.containers[id]; c != nil {
		by = cmp.Or(r.h.stops[c.config.Container.Image], by)
	}
	r.h.mu.Unlock()
	return r.Signal(ctx, id, by)
}

func (r runtime) Signal(ctx context.Context, id string, signal syscall.Signal) error {
	h := r.h
	return h.call(ctx, "Signal", id+" "+signalName(signal), func() error {
		c := h.containers[id]
		if c == nil || c.State != node.ContainerRunning {
			return nil
		}
		if signal == syscall.SIGKILL {
			h.finish(c, exitKilled)
			return nil
		}
		code, ends, out := c.process.signalled(signal)
		if err := appendTo(c.config.LogPath, out); err != nil {
			return err
		}
		if ends {
			h.finish(c, code)
		}
		return nil
	})
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "TERM"
	case syscall.SIGKILL:
		return "KILL"
	}
	return s.String()
}

func (r runtime) Remove(ctx context.Context, id string) error {
	h := r.h
	return h.call(ctx, "Remove", id, func() error {
		if c := h.containers[id]; c != nil {
			h.finish(c, exitKilled)
		}
		delete(h.containers, id)
		delete(h.half, id)
		return nil
	})
}

func (r runtime) Containers(ctx context.Context) ([]node.Container, error) {
	return r.list(ctx, "Containers", "")
}

func (r runtime) ContainersOf(ctx context.Context, pod string) ([]node.Container, error) {
	return r.list(ctx, "ContainersOf", pod)
}

// list gives the containers of a pod, or of all.
func (r runtime) list(ctx context.Context, call, pod string) ([]node.Container, error) {
	var all []node.Container
	err := r.h.call(ctx, call, pod, func() error {
		for _, c := range r.h.containers {
			if pod == "" || c.PodUID == pod {
				all = append(all, c.Container)
			}
		}
		slices.SortFunc(all, func(a, b node.Container) int { return strings.Compare(a.ID, b.ID) })
		return nil
	})
	return all, err
}

func (r runtime) Watch(ctx context.Context, fn func(id string)) error {
	w := &watch{ids: make(chan string, 16)}
	r.h.mu.Lock()
	r.h.ended[w] = true
	r.h.mu.Unlock()
	defer func() {
		r.h.mu.Lock()
		defer r.h.mu.Unlock()
		delete(r.h.ended, w)
	}()
	for {
		select {
		case id := <-w.ids:
			fn(id)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r runtime) Exec(ctx context.Context, id string, command []string, streams node.Streams) (int, error) {
	h := r.h
	var process process
	err := h.call(ctx, "Exec", strings.Join(append([]string{id}, command...), " "), func() error {
		c := h.containers[id]
		if c == nil || c.State != node.ContainerRunning {
			return errors.New("exec in " + id + ": it does not run")
		}
		program, err := parse(command)
		if err != nil {
			return fmt.Errorf("exec in %s: %w", id, err)
		}
		process.program, process.seen = program, c.config
		return nil
	})
	if err != nil {
		return 0, err
	}
	return process.exec(ctx, streams)
}
