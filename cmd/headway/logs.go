package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// logsOptions are the flags of logs.
type logsOptions struct {
	target
	api.LogOptions
	selector      string
	allContainers bool
	prefix        bool
	tail          int
	since         time.Duration
	sinceTime     string
	maxLogs       int
	args          []string
	tailed        bool // tail was set
}

func (a app) logsCommand() *cobra.Command {
	var o logsOptions
	c := &cobra.Command{
		Use:   "logs POD|KIND/NAME...",
		Short: "What containers wrote",
		Long: `Print what containers wrote. Several pods are told apart by a prefix; they are all pods of a workload that is named as
KIND/NAME, and those that -l chooses.

The times of lines are noted by the node, twice a second: --timestamps is off by half a second at most where much is written at
once. Lines that were written while the node's daemon was away have the time of the last of them.`,
		Example: `  headway logs front-6d4cf56db6-x7k2p -n shop
  headway logs -f --tail 20 deployment/front
  headway logs -l app=front --all-containers --tail 100
  headway logs --since 10m --timestamps front-6d4cf56db6-x7k2p -n shop`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.args, o.tailed = args, c.Flags().Changed("tail")
			selector, err := o.complete(time.Now())
			if err != nil {
				return err
			}
			return withFleet(c.Context(), o.contextFile, func(_ fleet, conn *bus.Conn) error {
				return a.logs(c.Context(), conn, o, selector)
			})
		},
	}
	o.flags(c)
	f := c.Flags()
	f.StringVarP(&o.selector, "selector", "l", "", "all pods with these labels, as name=value,...")
	f.BoolVar(&o.allContainers, "all-containers", false, "every container of the pods, init containers too")
	f.BoolVar(&o.prefix, "prefix", false, "begin each line with its pod and container (default: for several logs)")
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with what is written next")
	f.BoolVarP(&o.Previous, "previous", "p", false, "the run before the last restart")
	f.IntVar(&o.tail, "tail", 0, "only so many of the last lines")
	f.DurationVar(&o.since, "since", 0, "only what was written within this time, such as 10m")
	f.StringVar(&o.sinceTime, "since-time", "", "only what was written since then, such as 2026-01-02T15:04:05Z")
	f.BoolVar(&o.Timestamps, "timestamps", false, "begin each line with when it was written")
	f.IntVar(&o.maxLogs, "max-logs", 50, "refuse to follow more logs than this at once")
	return c
}

// complete checks the flags.
func (o *logsOptions) complete(now time.Time) (labels.Selector, error) {
	selector, err := labels.Parse(o.selector)
	switch {
	case err != nil:
		return nil, fmt.Errorf("-l %s: %w", o.selector, err)
	case len(o.args) == 0 && o.selector == "":
		return nil, errors.New("name a pod, a workload as KIND/NAME, or labels with -l")
	case o.allContainers && o.container != "":
		return nil, errors.New("--all-containers and -c do not go together")
	case o.since != 0 && o.sinceTime != "":
		return nil, errors.New("--since and --since-time do not go together")
	case o.tail < 0:
		return nil, fmt.Errorf("--tail %d: it is a number of lines, 0 or more", o.tail)
	case o.Previous && o.Follow:
		return nil, errors.New("-p and -f do not go together: nothing is added to the log of a run that is over")
	}
	if o.tailed {
		o.Tail = &o.tail
	}
	if o.sinceTime != "" {
		o.Since, err = time.Parse(time.RFC3339Nano, o.sinceTime)
		if err != nil {
			return nil, fmt.Errorf("--since-time %s: it is written as 2026-01-02T15:04:05Z: %w", o.sinceTime, err)
		}
		return selector, nil
	}
	o.Since, err = ago(now, o.since)
	return selector, err
}

// A logSource is one container whose log is read.
type logSource struct {
	pod       api.Placement
	container string
}

func (s logSource) String() string {
	return s.pod.Pod.Namespace + "/" + s.pod.Pod.Name + "/" + s.container
}

// sources are the containers that the flags choose of pods.
func (o logsOptions) sources(pods []api.PodStatus) []logSource {
	var all []logSource
	for _, p := range pods {
		containers := slices.Concat(p.InitContainers, p.Containers)
		switch {
		case o.allContainers && len(containers) > 0:
			for _, c := range containers {
				all = append(all, logSource{p.Placement, c.Name})
			}
		case o.container == "" && len(p.Containers) > 0:
			all = append(all, logSource{p.Placement, p.Containers[0].Name})
		default:
			all = append(all, logSource{p.Placement, o.container}) // the node says what is wrong
		}
	}
	return all
}

func (a app) logs(ctx context.Context, conn *bus.Conn, o logsOptions, selector labels.Selector) error {
	state, err := conn.State(ctx)
	if err != nil {
		return err
	}
	pods, err := choosePods(state.Statuses, o.namespace, o.args, selector)
	if err != nil {
		return err
	}
	if err := o.checkNames(pods); err != nil {
		return err
	}
	sources := o.sources(pods)
	if len(sources) == 1 && !o.prefix {
		return a.readLog(ctx, conn, sources[0], o.LogOptions, a.stdout)
	}
	if o.Follow && len(sources) > o.maxLogs {
		return fmt.Errorf("these are %d logs, which is more than --max-logs %d", len(sources), o.maxLogs)
	}
	return a.readLogs(ctx, conn, sources, o.LogOptions)
}

// checkNames refuses the plain name of a pod that several namespaces have.
func (o logsOptions) checkNames(pods []api.PodStatus) error {
	for _, arg := range o.args {
		var in []string
		for _, p := range pods {
			if names(arg, p.Placement.PodIdentity) && !slices.Contains(in, p.Placement.Pod.Namespace) {
				in = append(in, p.Placement.Pod.Namespace)
			}
		}
		if len(in) > 1 {
			return fmt.Errorf("%d namespaces have a pod %q: choose one with -n", len(in), arg)
		}
	}
	return nil
}

// readLogs prints several logs: one after the other, or all at once if they go on. One that cannot be read ends no other.
func (a app) readLogs(ctx context.Context, conn *bus.Conn, sources []logSource, options api.LogOptions) error {
	var (
		mu     sync.Mutex
		all    sync.WaitGroup
		failed = make([]error, len(sources))
	)
	for i, source := range sources {
		read := func() {
			w := &lineWriter{prefix: "[" + source.String() + "] ", mu: &mu, w: a.stdout}
			err := errors.Join(a.readLog(ctx, conn, source, options, w), w.flush())
			if err != nil {
				failed[i] = fmt.Errorf("%s: %w", source, err)
			}
		}
		if options.Follow {
			all.Go(read)
		} else {
			read()
		}
	}
	all.Wait()
	return errors.Join(failed...)
}

func (a app) readLog(ctx context.Context, conn *bus.Conn, source logSource, options api.LogOptions, w io.Writer) error {
	s, err := openStream(ctx, conn, source.pod, api.StreamRequest{Container: source.container, Logs: &options})
	if err != nil {
		return err
	}
	defer s.Close()
	return receive(ctx, s, w, a.stderr)
}

// A lineWriter writes whole lines, each after a prefix, to a writer that others share.
type lineWriter struct {
	prefix string
	mu     *sync.Mutex
	w      io.Writer
	rest   []byte // of a line that has not ended
}

// longestLine is how much of a line is kept for its end to come; more is written as lines of its own.
const longestLine = 1 << 20

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 && len(l.rest) < longestLine {
		return len(p), nil
	}
	if end == 0 {
		end = len(l.rest)
	}
	var lines []byte
	for line := range bytes.Lines(l.rest[:end]) {
		lines = append(append(lines, l.prefix...), line...)
	}
	if lines[len(lines)-1] != '\n' {
		lines = append(lines, '\n')
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.w.Write(lines); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes a line that has no end.
func (l *lineWriter) flush() error {
	if len(l.rest) == 0 {
		return nil
	}
	_, err := l.Write([]byte{'\n'})
	return err
}
