// Command bench measures headway against bare containerd on the same machine in one run, and prints ratios.
//
// The machine is noisy: figures of one run compare, those of two do not. Rounds of both sides are interleaved.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing/fstest"
	"time"

	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/test/cluster"
)

const (
	// The goals, as ratios to bare containerd, and for the idle daemons in MiB and shares of a core.
	goalOne, goalMany     = 2.0, 1.3
	goalMemory, goalIdle  = 80.0, 1.0
	image                 = cluster.RegistryHost + "/shop/catalog:1.0"
	benchNode             = "n1" // as the lab names its first
	many                  = 50
	idleFor               = 30 * time.Second
	settleBeforeMeasuring = 10 * time.Second
)

func main() {
	binary := flag.String("binary", "", "headway executable (default: built anew)")
	rounds := flag.Int("rounds", 15, "rounds of one pod")
	manyRounds := flag.Int("many-rounds", 3, "rounds of many pods")
	only := flag.String("only", "one,many,idle,node", "what to measure")
	verbose := flag.Bool("v", false, "show what headway says on its standard error")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	b := bench{rounds: *rounds, manyRounds: *manyRounds, only: strings.Split(*only, ","), log: io.Discard}
	if *verbose {
		b.log = os.Stderr
	}
	err := b.run(ctx, *binary)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	rounds, manyRounds int
	only               []string
	log                io.Writer
	c                  *cluster.Cluster
	bare               *bare
	watch              *watcher
	dir                string // its own, until it ends
}

func (b *bench) run(ctx context.Context, binary string) (err error) {
	if b.dir, err = os.MkdirTemp("", "headway-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	address, end, err := testenv.StartContainerd(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	b.c, err = cluster.Start(ctx, cluster.Options{
		Binary: binary, Nodes: 1, Containerd: address, Log: b.log,
		Manifests: fstest.MapFS{"namespace.yaml": {Data: []byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n")}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.c.Close(context.WithoutCancel(ctx))) }()
	if b.watch, err = newWatcher(ctx, b.c); err != nil {
		return err
	}
	defer b.watch.close()
	if b.bare, err = newBare(ctx, address, b.c.Registry.Address()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.bare.close(context.WithoutCancel(ctx))) }()
	return errors.Join(
		b.measure("one", func() error { return b.one(ctx) }),
		b.measure("many", func() error { return b.fifty(ctx) }),
		b.measure("idle", func() error { return b.idle(ctx, address) }),
		b.measure("node", func() error { return b.node(ctx) }))
}

// measure leaves out what was not asked for.
func (b *bench) measure(name string, f func() error) error {
	if !slices.Contains(b.only, name) {
		return nil
	}
	return f()
}

// one measures a commit that adds one pod, until the controller reports it ready.
func (b *bench) one(ctx context.Context) error {
	// The first round brings the image and the first commit; it is not counted.
	var bareTook, took []time.Duration
	for round := range b.rounds + 1 {
		alone, err := b.bare.start(ctx, 1, 1)
		if err != nil {
			return err
		}
		pod, err := b.deploy(ctx, round, 1)
		if err != nil {
			return err
		}
		if round > 0 {
			bareTook, took = append(bareTook, alone), append(took, pod)
		}
	}
	report("commit to ready, 1 pod (p50)", median(took), median(bareTook), goalOne)
	return nil
}

// fifty measures a commit that adds many pods against bare containerd at the parallelism that suits it best.
func (b *bench) fifty(ctx context.Context) error {
	var bareTook, took []time.Duration
	for round := range b.manyRounds {
		alone, err := b.bare.best(ctx, many)
		if err != nil {
			return err
		}
		bareTook = append(bareTook, alone)
		pods, err := b.deploy(ctx, 1000+round, many)
		if err != nil {
			return err
		}
		took = append(took, pods)
	}
	report(fmt.Sprintf("commit to ready, %d pods (best of %d)", many, b.manyRounds), slices.Min(took), slices.Min(bareTook), goalMany)
	return nil
}

// deploy commits a Deployment, measures until all its pods are ready, and takes it away again.
func (b *bench) deploy(ctx context.Context, round, replicas int) (time.Duration, error) {
	name := fmt.Sprintf("pod%d", round)
	if err := b.c.Repo.Write("deployment.yaml", manifest(name, replicas, "")); err != nil {
		return 0, err
	}
	took, err := b.commit(ctx, "Add "+name)
	if err != nil {
		return 0, err
	}
	if err := b.c.Repo.Write("deployment.yaml", "# nothing\n"); err != nil {
		return 0, err
	}
	_, err = b.commit(ctx, "Remove "+name)
	return took, err
}

// commit measures from the moment the branch moves until the controller reports the commit complete and its pods as they
// should be.
func (b *bench) commit(ctx context.Context, message string) (time.Duration, error) {
	if _, err := b.c.Repo.Git(ctx, "add", "-A"); err != nil {
		return 0, err
	}
	if _, err := b.c.Repo.Git(ctx, "commit", "-q", "-m", message); err != nil {
		return 0, err
	}
	// The objects go first, so that only the move of the branch is measured.
	if _, err := b.c.Repo.Git(ctx, "push", "-q", "-f", "origin", "HEAD:refs/headway/objects"); err != nil {
		return 0, err
	}
	commit, err := b.c.Repo.Git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if _, err := b.c.Repo.Git(ctx, "--git-dir", b.c.Repo.Origin, "update-ref", "refs/heads/main", commit); err != nil {
		return 0, err
	}
	if err := b.watch.until(ctx, commit); err != nil {
		return 0, err
	}
	return time.Since(start), b.watch.untilStopped(ctx)
}

// manifest is a Deployment and its config map; probe holds lines of its container that set probes.
func manifest(name string, replicas int, probe string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: items, namespace: bench}
data: {items: apples}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: bench}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
        - name: catalog
          image: %[3]s
          env: [{name: ITEMS_FILE, value: /etc/catalog/items}]
          volumeMounts: [{name: items, mountPath: /etc/catalog}]
%[4]s      volumes: [{name: items, configMap: {name: items}}]
`, name, replicas, image, probe)
}

// report prints a measure, its base and their ratio.
func report(what string, took, base time.Duration, goal float64) {
	ratio := float64(took) / float64(base)
	fmt.Fprintf(os.Stdout, "%-40s %8.1f ms   bare containerd %8.1f ms   ratio %.2f (goal at most %.2f)\n",
		what, ms(took), ms(base), ratio, goal)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
