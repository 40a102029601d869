package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/test/cluster"
)

const (
	fullNode     = "n2" // its disk has no room left
	readOnlyNode = "n3" // its disk cannot be written to any more
	// snapshotRoom is what there is for images, unpacked, and for what containers write, in bytes.
	snapshotRoom = 128 << 20
	// allDescribed bounds how long it takes until everything shows what it has.
	allDescribed = 75 * time.Second
)

// A badInput is a pod that cannot run as its author meant, for one reason.
type badInput struct {
	name string // of the pod
	what string // is wrong
	says string // by describe; an ellipsis stands for anything within a line
	help string // what to do

	image     string // default: one that is sound
	container string // fields of the container, a line each
	pod       string // fields of the pod's spec, a line each
	also      string // an object besides, in the pod's namespace
	node      string // default: one whose disk is sound
	loses     bool   // its node loses the key that its secrets were sealed to, when it runs
}

// badInputs are all classes, in the order of docs/troubleshooting.md.
func badInputs() []chapter {
	return []chapter{
		{"The image's name", nameInputs()},
		{"The registry", registryInputs()},
		{"What the registry sends", manifestInputs()},
		{"What is in the image", imageInputs()},
		{"Tricks that come to nothing", containedInputs()},
		{"What the container runs", commandInputs()},
		{"What it may", limitInputs()},
		{"Secrets and config maps", configInputs()},
		{"Volumes", volumeInputs()},
		{"The machine", machineInputs()},
	}
}

// A chapter is a part of the page.
type chapter struct {
	title string
	rows  []badInput
}

// neighbours run on every node, and write to their logs all the time.
const neighbours = `
apiVersion: headway.dev/v1
kind: Cluster
metadata: {name: cluster}
spec: {deletion: {maxShare: 100%}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bad}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: neighbour, namespace: shop}
spec:
  selector: {matchLabels: {app: neighbour}}
  template:
    metadata: {labels: {app: neighbour}}
    spec:
      containers:
        - name: talker
          image: hostile.example/good/sound:1
          command: [sh, -c, "trap exit TERM; while :; do date; sleep 0.2; done"]
`

// TestBadInput runs pods that cannot run, each for another reason, all at the same time. describe says of each why; the shop
// beside them answers every request, and none of its containers is restarted; and when Git has them no more, nothing is left.
func TestBadInput(t *testing.T) {
	testenv.RequireRoot(t)
	containerd := startRoomFor(t, snapshotRoom)
	s := start(t, cluster.Options{Nodes: 3, Containerd: containerd, Manifests: os.DirFS(filepath.Join("..", "..", "examples", "shop", "manifests"))})
	h := startHostile(t, filepath.Join(s.Dir, "certs.d"))
	h.pushAll()
	disks := s.ownDisks()
	s.write("neighbours.yaml", neighbours)
	s.deploy("Open the shop, with neighbours")
	pids := s.pids()
	clean := s.leftovers(containerd)
	load, err := s.StartLoad(t.Context(), "n1", 1)
	if err != nil {
		t.Fatal(err)
	}

	var rows []badInput
	for _, c := range badInputs() {
		rows = append(rows, c.rows...)
	}
	s.loseKey("n1", slices.DeleteFunc(slices.Clone(rows), func(r badInput) bool { return !r.loses }))
	disks.spoil()
	for _, r := range rows {
		s.write("bad/"+r.name+".yaml", r.manifest())
	}
	s.commit("Run what cannot run")
	began := time.Now()
	s.describe(rows)
	described := time.Since(began)
	if _, err := os.Lstat(h.escape); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a layer has written to the machine: %v", err)
	}

	if err := os.RemoveAll(filepath.Join(s.Repo.Work, "bad")); err != nil {
		t.Fatal(err)
	}
	s.commit("Run it no more")
	disks.mend()
	s.sameProcesses(pids)
	s.eventually("leave nothing", func() string { return difference(s.leftovers(containerd), clean) })
	sum, err := load.Stop()
	if err != nil || sum.Failed > 0 || sum.Requests == 0 {
		t.Errorf("of the shop's %d requests %d failed: %v; %v", sum.Requests, sum.Failed, sum.Errors, err)
	}
	t.Logf("%d classes, described in %.1f s; %d requests to the shop", len(rows), described.Seconds(), sum.Requests)
}

// loseKey runs pods on a node, and has the node's daemon come back without the key that their secrets were sealed to.
func (s *stage) loseKey(node string, rows []badInput) {
	s.Helper()
	for _, r := range rows {
		s.write("bad/"+r.name+".yaml", r.manifest())
	}
	s.deploy("Run with secrets")
	s.kill(node)
	if err := os.Remove(filepath.Join(s.Dir, "lab", node, "seal.key")); err != nil {
		s.Fatal(err)
	}
	s.restart(node)
}

// manifest is the pod, with what it needs.
func (r badInput) manifest() string {
	image, node := r.image, r.node
	if image == "" {
		image = "hostile.example/good/sound:1"
	}
	if node == "" {
		node = "n1"
	}
	lines := []string{
		"apiVersion: v1", "kind: Pod", "metadata: {name: " + r.name + ", namespace: bad}", "spec:",
		"  terminationGracePeriodSeconds: 0", "  nodeSelector: {kubernetes.io/hostname: " + node + "}",
	}
	for line := range strings.Lines(r.pod) {
		lines = append(lines, "  "+strings.TrimRight(line, "\n"))
	}
	lines = append(lines, "  containers:", "    - name: app", "      image: "+image)
	for line := range strings.Lines(r.container) {
		lines = append(lines, "      "+strings.TrimRight(line, "\n"))
	}
	if r.also != "" {
		lines = append(lines, "---", r.also)
	}
	return strings.Join(lines, "\n") + "\n"
}

// describe waits until describe says of each what it should.
func (s *stage) describe(rows []badInput) {
	s.Helper()
	deadline := time.Now().Add(allDescribed)
	wrong := map[string]string{} // what it says, by pod
	for first := true; first || len(wrong) > 0 && time.Now().Before(deadline); first = false {
		for _, r := range rows {
			if _, open := wrong[r.name]; !open && !first {
				continue
			}
			out, err := s.Headway(s.Context(), "describe", "pod", r.name, "-n", "bad")
			if path := inner.FindString(out); path != "" {
				s.Errorf("%s: describe shows where the machine keeps things: %s", r.name, path)
			}
			if delete(wrong, r.name); err != nil || !r.pattern().MatchString(out) {
				wrong[r.name] = fmt.Sprint(out, err)
			}
		}
	}
	for _, r := range rows {
		if said, open := wrong[r.name]; open {
			s.Errorf("%s: describe says\n%s\nwant in it: %s", r.name, said, r.says)
		}
	}
}

// inner finds files of containerd's and the OCI runtime's own, and those of pods' volumes.
var inner = regexp.MustCompile(`\S*/(io\.containerd\.|runc/|volumes/)\S*`)

// pattern finds what describe is to say.
func (r badInput) pattern() *regexp.Regexp {
	parts := strings.Split(r.says, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}

// startRoomFor starts a containerd that has so many bytes for file systems of images and containers.
func startRoomFor(t *testing.T, room int) string {
	t.Helper()
	p, err := testenv.StartPrivate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	snapshots := filepath.Join(filepath.Dir(p.Address()), "root", "io.containerd.snapshotter.v1.overlayfs", "snapshots")
	if err := os.MkdirAll(snapshots, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("snapshots", snapshots, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", room)); err != nil {
		t.Fatal(err)
	}
	return p.Address()
}
