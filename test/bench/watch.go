package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/lab"
	"headway.dev/headway/test/cluster"
)

// A watcher follows what the controller and the nodes report, as a person with "headway wait" would.
type watcher struct {
	conn     *bus.Conn
	stop     context.CancelFunc
	reports  chan api.Report
	statuses chan api.NodeStatus
}

func newWatcher(ctx context.Context, c *cluster.Cluster) (*watcher, error) {
	l, err := lab.Open(filepath.Join(c.Dir, "lab"))
	if err != nil {
		return nil, err
	}
	credentials, err := bus.LoadCredentials(l.Credentials())
	if err != nil {
		return nil, err
	}
	conn, err := bus.Connect(ctx, bus.Options{Credentials: credentials, Name: "bench", Dial: lab.Dialer(l.HubNetns())})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{conn: conn, stop: stop, reports: make(chan api.Report, 1), statuses: make(chan api.NodeStatus, 1)}
	// Both end with close; what they miss the waits time out for.
	go func() { _ = conn.WatchReport(ctx, func(r api.Report) { newest(w.reports, r) }) }()
	go func() { _ = conn.WatchStatuses(ctx, func(s api.NodeStatus) { newest(w.statuses, s) }) }()
	return w, nil
}

// newest puts a value into a channel in place of one that nobody took.
func newest[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

func (w *watcher) close() {
	w.stop()
	w.conn.Close()
}

// until waits until a commit is deployed and complete.
func (w *watcher) until(ctx context.Context, commit string) error {
	return await(ctx, w.reports, func(r api.Report) bool {
		if r.Deployed.Commit != commit {
			return false
		}
		for _, l := range r.Workloads {
			if l.State != api.RolloutComplete {
				return false
			}
		}
		return true
	}, "commit "+commit+" to be complete")
}

// untilStopped waits until no pod is on its way out, so that the next measure begins on a quiet machine.
func (w *watcher) untilStopped(ctx context.Context) error {
	statuses, err := w.conn.State(ctx)
	if err != nil {
		return err
	}
	quiet := func(s api.NodeStatus) bool {
		for _, l := range s.Pods {
			if !l.Ready {
				return false
			}
		}
		return true
	}
	wanted := 0
	if statuses.Report != nil {
		for _, l := range statuses.Report.Workloads {
			wanted += l.Desired
		}
	}
	settled := func(s api.NodeStatus) bool { return quiet(s) && len(s.Pods) == wanted }
	if len(statuses.Statuses) == 1 && settled(statuses.Statuses[0]) {
		return nil
	}
	return await(ctx, w.statuses, settled, "old pods to be gone")
}

func await[T any](ctx context.Context, c <-chan T, met func(T) bool, what string) error {
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("waited in vain for %s", what)
		case v := <-c:
			if met(v) {
				return nil
			}
		}
	}
}
