// Command demo tells headway's whole story on one machine: deploy, plan, roll out under load, lose a node, roll back.
//
// Everything is real: a lab of three nodes, Git, containerd, NATS, iptables. It leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/test/cluster"
)

const (
	nodes = 3
	// leastRequests is how many requests the rollout has to survive.
	leastRequests = 2000
	patience      = "60s"
)

func main() {
	binary := flag.String("binary", "", "headway executable (default: built anew)")
	verbose := flag.Bool("v", false, "show what headway says on its standard error")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	d := demo{out: os.Stdout, log: io.Discard, began: time.Now()}
	if *verbose {
		d.log = os.Stderr
	}
	err := d.run(ctx, *binary)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	out, log io.Writer
	began    time.Time
	c        *cluster.Cluster
}

// run sets the stage, tells the story, and clears the stage whatever came of it.
func (d *demo) run(ctx context.Context, binary string) (err error) {
	address, end, err := testenv.StartContainerd(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	err = d.step("Three nodes, each in a network namespace of its own", func() error {
		d.c, err = cluster.Start(ctx, cluster.Options{
			Binary: binary, Nodes: nodes, Containerd: address, NodeLease: "5s", Log: d.log,
			Manifests: os.DirFS(filepath.Join("examples", "shop", "manifests")),
		})
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		closing := d.step("The lab is taken down, and nothing is left", func() error { return d.c.Close(context.WithoutCancel(ctx)) })
		err = errors.Join(err, closing)
		if err == nil {
			fmt.Fprintf(d.out, "\nThe whole took %s.\n", time.Since(d.began).Round(100*time.Millisecond))
		}
	}()
	return d.story(ctx)
}

func (d *demo) story(ctx context.Context) error {
	var first string
	for _, s := range []struct {
		title string
		do    func() error
	}{
		{"git push: the shop is deployed", func() (err error) {
			if first, err = d.c.Repo.Commit(ctx, "Open the shop"); err != nil {
				return err
			}
			return d.deployed(ctx, first)
		}},
		{"100 requests through the cluster IP reach every replica", func() error { return d.reachAll(ctx) }},
		{"A branch changes the offer, an image and the replicas; headway plan shows what that does", func() error { return d.propose(ctx) }},
		{"The branch is merged and rolled out while customers keep asking", func() error { return d.rollOut(ctx) }},
		{"Node n3 is lost; its pods come back elsewhere", func() error { return d.loseNode(ctx) }},
		{"git revert: the first version is back", func() error { return d.revert(ctx, first) }},
		{"headway history tells the story", func() error { return d.show(ctx, "history") }},
	} {
		if err := d.step(s.title, s.do); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
	}
	return nil
}

// step runs one step of the story and prints how long it took.
func (d *demo) step(title string, do func() error) error {
	fmt.Fprintf(d.out, "\n▸ %s\n", title)
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(d.out, "  %.2f s\n", time.Since(start).Seconds())
	return err
}

// say prints a line of the story, set in.
func (d *demo) say(format string, args ...any) {
	for line := range strings.Lines(strings.TrimRight(fmt.Sprintf(format, args...), "\n")) {
		fmt.Fprintf(d.out, "  │ %s\n", strings.TrimRight(line, "\n"))
	}
}

// show runs a command of headway and prints what it printed.
func (d *demo) show(ctx context.Context, args ...string) error {
	out, err := d.c.Headway(ctx, args...)
	if err != nil {
		return err
	}
	d.say("$ headway %s\n%s", strings.Join(args, " "), out)
	return nil
}

// deployed waits until the fleet has taken a pushed commit up.
func (d *demo) deployed(ctx context.Context, commit string) error {
	start := time.Now()
	if _, err := d.c.Headway(ctx, "wait", "--for=commit="+commit, "--timeout", patience); err != nil {
		return err
	}
	d.say("commit %s: all pods ready %.2f s after the push", commit[:8], time.Since(start).Seconds())
	return d.show(ctx, "status")
}

func (d *demo) reachAll(ctx context.Context) error {
	s, err := d.c.Shop(ctx, "n1", 100)
	if err != nil {
		return err
	}
	d.say("%d requests, %d failed; fronts %v; catalogs %v; p50 %s", s.Requests, s.Failed, counts(s.Fronts), counts(s.Catalogs), s.P50.Round(time.Microsecond))
	if s.Failed > 0 || len(s.Fronts) != 3 || len(s.Catalogs) != 3 {
		return fmt.Errorf("%d failed, %d fronts and %d catalogs answered of 3 and 3: %v", s.Failed, len(s.Fronts), len(s.Catalogs), s.Errors)
	}
	return nil
}

// propose makes the branch and prints its plan.
func (d *demo) propose(ctx context.Context) error {
	repo := d.c.Repo
	if _, err := repo.Git(ctx, "switch", "-q", "-c", "summer"); err != nil {
		return err
	}
	err := errors.Join(
		repo.Edit("catalog.yaml", "10% off", "20% off"),
		repo.Edit("front/front.cue", `_version: "1.0"`, `_version: "1.1"`),
		repo.Edit("front/front.cue", "replicas: 3", "replicas: 4"),
	)
	if err != nil {
		return err
	}
	if _, err := repo.Git(ctx, "commit", "-q", "-a", "-m", "Summer offer"); err != nil {
		return err
	}
	// Exit code 2 says that there is something to do.
	out, err := d.c.Headway(ctx, "plan", "--to", "summer")
	if !exitedWith(err, 2) {
		return fmt.Errorf("headway plan: %w", errors.Join(err, errors.New("it should have exited with 2")))
	}
	d.say("$ headway plan --to summer\n%s", out)
	return nil
}

// rollOut merges the branch under load.
func (d *demo) rollOut(ctx context.Context) error {
	load, err := d.c.StartLoad(ctx, "n1", leastRequests)
	if err != nil {
		return err
	}
	rolled := func() error {
		for _, args := range [][]string{{"switch", "-q", "main"}, {"merge", "-q", "--no-ff", "-m", "Merge the summer offer", "summer"}} {
			if _, err := d.c.Repo.Git(ctx, args...); err != nil {
				return err
			}
		}
		commit, err := d.c.Repo.Push(ctx)
		if err != nil {
			return err
		}
		return d.deployed(ctx, commit)
	}()
	s, err := load.Stop()
	if err := errors.Join(rolled, err); err != nil {
		return err
	}
	d.say("meanwhile %d requests, %d failed; offers %v; p50 %s, p99 %s, longest %s", s.Requests, s.Failed, s.Offers,
		s.P50.Round(time.Microsecond), s.P99.Round(time.Microsecond), s.Max.Round(time.Microsecond))
	if s.Failed > 0 || s.Requests < leastRequests || len(s.Offers) != 2 {
		return fmt.Errorf("%d of %d requests failed, offers %v: %v", s.Failed, s.Requests, s.Offers, s.Errors)
	}
	return nil
}

// loseNode kills n3 and waits until no pod is on it and all are ready again.
func (d *demo) loseNode(ctx context.Context) error {
	if _, err := d.c.Lab(ctx, "kill", "n3"); err != nil {
		return err
	}
	start := time.Now()
	if _, err := d.c.Headway(ctx, "wait", "--for=lost=n3", "--timeout", patience); err != nil {
		return err
	}
	d.say("declared lost after %.2f s", time.Since(start).Seconds())
	if _, err := d.c.Headway(ctx, "wait", "--for=ready", "--timeout", patience); err != nil {
		return err
	}
	d.say("all pods ready on the other nodes after %.2f s", time.Since(start).Seconds())
	return d.show(ctx, "get", "pods", "-o", "wide")
}

// revert takes the summer back and checks that the fleet runs what the first commit ran.
func (d *demo) revert(ctx context.Context, first string) error {
	if _, err := d.c.Repo.Git(ctx, "revert", "--no-edit", "-m", "1", "HEAD"); err != nil {
		return err
	}
	if diff, err := d.c.Repo.Git(ctx, "diff", "--stat", first, "HEAD"); err != nil || diff != "" {
		return fmt.Errorf("the tree is not the first commit's: %w\n%s", err, diff)
	}
	commit, err := d.c.Repo.Push(ctx)
	if err != nil {
		return err
	}
	if err := d.deployed(ctx, commit); err != nil {
		return err
	}
	s, err := d.c.Shop(ctx, "n1", 100)
	if err != nil {
		return err
	}
	d.say("%d requests, %d failed; offers %v", s.Requests, s.Failed, s.Offers)
	if s.Failed > 0 || s.Offers["10% off"] != s.Requests {
		return fmt.Errorf("offers %v, %d failed: %v", s.Offers, s.Failed, s.Errors)
	}
	return nil
}

// counts are the values of a tally, in order.
func counts(tally map[string]int) []int {
	var all []int
	for _, n := range tally {
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// exitedWith reports whether a command failed with a code.
func exitedWith(err error, code int) bool {
	var failed interface{ ExitCode() int }
	return errors.As(err, &failed) && failed.ExitCode() == code
}
