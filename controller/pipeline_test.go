package controller

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/schema"
	"headway.dev/headway/sync/mirror"
)

// A repository is a real one, in a directory.
type repository struct {
	t   *testing.T
	dir string
	git *git.Repository
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	dir := t.TempDir()
	repo, err := git.PlainInit(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	return &repository{t: t, dir: dir, git: repo}
}

// commit replaces the one manifest and gives the commit's hash.
func (r *repository) commit(manifest string) string {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "web.yaml"), []byte(manifest), 0o600); err != nil {
		r.t.Fatal(err)
	}
	tree, err := r.git.Worktree()
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := tree.Add("web.yaml"); err != nil {
		r.t.Fatal(err)
	}
	hash, err := tree.Commit("Change the manifest", &git.CommitOptions{
		Author: &object.Signature{Name: "A", Email: "a@example.com", When: time.Now()},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return hash.String()
}

func manifestOf(image string) string {
	return strings.ReplaceAll(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, image: IMAGE}}
    spec: {containers: [{name: main, image: IMAGE}]}
`, "IMAGE", image)
}

// TestPipeline joins the real mirror, compiler, planner and scheduler, with fake machines: a commit is run, a broken one
// changes nothing, not over a restart either, and the next good one is run.
func TestPipeline(t *testing.T) {
	repo := newRepository(t)
	good := repo.commit(manifestOf("v1"))
	source, err := mirror.Open(t.Context(), mirror.Options{URL: repo.dir, Dir: filepath.Join(t.TempDir(), "mirror")})
	if err != nil {
		t.Fatal(err)
	}
	compiler, err := schema.New(schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bus := newFakeBus()
	c := &cluster{t: t, bus: bus}
	ctx, cancel := context.WithCancel(t.Context())
	defer func() { cancel(); c.running.Wait() }()
	for _, name := range []string{"n1", "n2"} {
		m := newMachine(bus, name)
		c.machines = append(c.machines, m)
		c.running.Go(func() { m.run(ctx, 10*time.Millisecond) })
	}
	start := func() (stop func()) {
		controller, err := New(Config{
			ID: "test", Repository: repo.dir, Source: FromMirror(source), Compiler: compiler, Bus: bus, Sealer: fakeSeal,
			Heartbeat: 10 * time.Millisecond, Logger: nil,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		var group errgroup.Group
		group.Go(func() error { return controller.Run(ctx) })
		return func() {
			cancel()
			if err := group.Wait(); !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		}
	}
	reported := func(head, deployed string) func() bool {
		return func() bool {
			r := c.report()
			return r.Head.Commit == head && r.Deployed.Commit == deployed
		}
	}
	stop := start()
	eventually(t, "the first commit to run", func() bool { return c.images() == "v1" && c.pods() == 2 })

	bad := repo.commit(strings.ReplaceAll(manifestOf("v2"), "replicas", "replica"))
	source.Wake()
	eventually(t, "the broken commit to be refused", reported(bad, good))
	if r := c.report().Refused; len(r) == 0 || r[0].Source.File != "web.yaml" || r[0].Source.Line == 0 {
		t.Errorf("refused: %v", r)
	}
	stop()
	bus.lose()
	stop = start()
	defer func() { stop() }()
	eventually(t, "a new controller to find what the broken commit lacks", func() bool {
		r := c.report()
		return r.Head.Commit == bad && len(r.Workloads) == 1 && r.Workloads[0].Ready == 2
	})
	if c.images() != "v1" || c.starts() != 2 {
		t.Errorf("after a broken commit and the loss of the store: %s, %d starts", c.runs(), c.starts())
	}

	next := repo.commit(manifestOf("v2"))
	source.Wake()
	eventually(t, "the next good commit to run", func() bool { return reported(next, next)() && c.images() == "v2" && c.pods() == 2 })
}

// eventually waits for a condition, with a deadline.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}
