package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"headway.dev/headway/api"
)

const (
	// The goals for the node alone: one pod's start as a ratio to bare containerd, the rate of many as a share of its best,
	// and what the daemon takes with them, in MiB and as a share of a core.
	goalStart, goalRate       = 1.25, 0.85
	goalFull, goalProbed      = 80.0, 2.0
	full                      = 100
	probe                     = "          readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 10}\n          livenessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 10}\n"
	probedFor                 = time.Minute
	nodeRounds, nodeFirstName = 15, 2000
)

// node measures what a node does by itself, from its assignment to running containers, and what many pods with probes cost it.
func (b *bench) node(ctx context.Context) error {
	if err := b.startOfOne(ctx); err != nil {
		return err
	}
	return b.startOfMany(ctx)
}

func (b *bench) startOfOne(ctx context.Context) error {
	var bareTook, took []time.Duration
	// The first round brings the image; it is not counted.
	for round := range nodeRounds + 1 {
		alone, err := b.bare.start(ctx, 1, 1)
		if err != nil {
			return err
		}
		started, err := b.assigned(ctx, fmt.Sprintf("pod%d", nodeFirstName+round), 1, "")
		if err != nil {
			return err
		}
		if err := b.clear(ctx); err != nil {
			return err
		}
		if round > 0 {
			bareTook, took = append(bareTook, alone), append(took, started)
		}
	}
	report("assignment to running, 1 pod (p50)", median(took), median(bareTook), goalStart)
	return nil
}

func (b *bench) startOfMany(ctx context.Context) error {
	best, err := b.bare.best(ctx, full)
	if err != nil {
		return err
	}
	took, err := b.assigned(ctx, fmt.Sprintf("pod%d", nodeFirstName+nodeRounds+1), full, probe)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "assignment to running, %d pods          %8.1f ms   bare containerd %8.1f ms   rate %.2f of it (goal at least %.2f)\n",
		full, ms(took), ms(best), float64(best)/float64(took), goalRate)
	if b.bare.like, err = b.specOfPod(ctx); err != nil {
		return err
	}
	if err := b.probed(ctx); err != nil {
		return err
	}
	if best, err = b.bare.best(ctx, full); err != nil {
		return err
	}
	b.bare.like = nil
	fmt.Fprintf(os.Stdout, "  the same containers by bare containerd (filter, control groups, files)   %8.1f ms   rate %.2f of it\n", ms(best), float64(best)/float64(took))
	return nil
}

// probed measures the daemon of a node that is full of pods, each probed every ten seconds, and takes them away again.
func (b *bench) probed(ctx context.Context) error {
	daemons, err := b.c.Daemons(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, settleBeforeMeasuring); err != nil {
		return err
	}
	before, err := usage(daemons)
	if err != nil {
		return err
	}
	if err := pause(ctx, probedFor); err != nil {
		return err
	}
	after, err := usage(daemons)
	if err != nil {
		return err
	}
	u := after[benchNode]
	fmt.Fprintf(os.Stdout, "%d pods, 2 probes each 10 s: daemon %6.1f MiB resident (%.1f its own, %.1f of files)  %5.2f %% of a core (goals: under %.0f MiB, under %.0f %%)\n",
		full, u.own+u.files, u.own, u.files, 100*float64(u.cpu-before[benchNode].cpu)/float64(probedFor), goalFull, goalProbed)
	return b.clear(ctx)
}

// clear takes all pods away, and waits until they are gone.
func (b *bench) clear(ctx context.Context) error {
	if err := b.c.Repo.Write("deployment.yaml", "# nothing\n"); err != nil {
		return err
	}
	_, err := b.commit(ctx, "Remove all")
	return err
}

// assigned commits a Deployment, and measures from the moment the node's assignment holds its pods, as the bus delivers it, until
// the node reports all of their containers running.
func (b *bench) assigned(ctx context.Context, name string, replicas int, probe string) (time.Duration, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	assigned, running := make(chan time.Time, 1), make(chan time.Time, 1)
	// Both end with this function; what they miss is waited for in vain.
	go func() {
		_ = b.watch.conn.WatchAssignment(ctx, benchNode, func(a api.Assignment) { first(assigned, len(a.Pods) == replicas) })
	}()
	go func() {
		_ = b.watch.conn.WatchStatuses(ctx, func(s api.NodeStatus) { first(running, countRunning(s) == replicas) })
	}()
	if err := b.c.Repo.Write("deployment.yaml", manifest(name, replicas, probe)); err != nil {
		return 0, err
	}
	if _, err := b.commit(ctx, "Add "+name); err != nil {
		return 0, err
	}
	var moments [2]time.Time
	for i, c := range []chan time.Time{assigned, running} {
		select {
		case moments[i] = <-c:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return moments[1].Sub(moments[0]), nil
}

// first notes when something was so for the first time.
func first(c chan time.Time, so bool) {
	if !so {
		return
	}
	select {
	case c <- time.Now():
	default:
	}
}

func countRunning(s api.NodeStatus) int {
	running := 0
	for _, p := range s.Pods {
		if p.Phase == api.PodRunning && !slices.ContainsFunc(p.Containers, func(c api.ContainerStatus) bool { return c.State != "running" }) {
			running++
		}
	}
	return running
}
