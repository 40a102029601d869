package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/test/cluster"
)

// failoverLease is as short as leaves a slow machine its margins.
const failoverLease = 12 * time.Second

// failoverManifest has a set whose pods may run anywhere, one whose pods have data on their nodes, and pods that belong to
// their nodes.
const failoverManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ledger, namespace: shop}
spec:
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: ledger}}
  template:
    metadata: {labels: {app: ledger}}
    spec:
      containers:
        - {name: catalog, image: "registry.example/shop/catalog:1.0", env: [{name: ITEMS_FILE, value: /etc/hostname}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, namespace: shop}
spec:
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: store}}}
      containers:
        - name: catalog
          image: registry.example/shop/catalog:1.0
          env: [{name: ITEMS_FILE, value: /etc/hostname}]
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers:
        - {name: catalog, image: "registry.example/shop/catalog:1.0", env: [{name: ITEMS_FILE, value: /etc/hostname}]}
`

// TestFailover loses the control plane for longer than nodes may be silent, which stops nothing; and then cuts a node off:
// what may run elsewhere ends there before it does, and nothing else ends, then or when the node is healed.
func TestFailover(t *testing.T) {
	s := start(t, cluster.Options{
		Nodes: 3, NodeLease: failoverLease.String(), FailoverLease: failoverLease.String(),
		Manifests: fstest.MapFS{"failover.yaml": {Data: []byte(failoverManifest)}},
	})
	s.deploy("Keep the books")
	before := s.pids()

	s.kill("server")
	s.allRun(before, failoverLease*5/4)
	s.restart("server")
	s.sameProcesses(before)

	node, moving := s.ledgers()
	s.lab("cut", node)
	cut, want := time.Now(), maps.Clone(before)
	for _, old := range moving {
		renewed := s.moved(old)
		finished, started := s.finished(old), renewed.Containers[0].Started
		if !finished.Before(started) || finished.IsZero() {
			t.Errorf("%s ended on %s at %s, and started on %s at %s", old.Placement.Pod.Name, node, finished, renewed.Placement.Node, started)
		}
		t.Logf("cut off, %s ended after %s, and ran elsewhere after %s", old.Placement.Pod.Name, finished.Sub(cut).Round(time.Millisecond), started.Sub(cut).Round(time.Millisecond))
		delete(want, old.Placement.UID+"/catalog")
		want[renewed.Placement.UID+"/catalog"] = renewed.Containers[0].PID
	}
	s.allRun(want, 0)

	s.lab("heal", node)
	s.eventually("see the node again", func() string {
		for _, n := range s.report().Nodes {
			if n.State != "Ready" {
				return n.Name + " is " + n.State
			}
		}
		return ""
	})
	s.run("wait", "--for=ready", "--timeout", patience)
	s.sameProcesses(want)
}

// allRun asserts that processes run, and go on for so long.
func (s *stage) allRun(processes map[string]int, during time.Duration) {
	s.Helper()
	end := time.After(during)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		for name, pid := range processes {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
				s.Fatalf("container %s: process %d has ended", name, pid)
			}
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// lab runs a command of "headway lab" that must succeed.
func (s *stage) lab(args ...string) {
	s.Helper()
	if _, err := s.Lab(s.Context(), args...); err != nil {
		s.Fatal(err)
	}
}

// ledgers chooses a node that runs pods of the set which may run anywhere.
func (s *stage) ledgers() (node string, pods []api.PodStatus) {
	s.Helper()
	for _, p := range s.pods() {
		if p.Placement.Owner.Name == "ledger" && (node == "" || p.Placement.Node == node) {
			node, pods = p.Placement.Node, append(pods, p)
		}
	}
	if len(pods) == 0 {
		s.Fatal("there are no pods of the set")
	}
	return node, pods
}

// moved waits until a pod runs on another node.
func (s *stage) moved(old api.PodStatus) (renewed api.PodStatus) {
	s.Helper()
	s.eventually("move "+old.Placement.Pod.Name, func() string {
		for _, p := range s.pods() {
			if p.Placement.Pod == old.Placement.Pod && p.Placement.Node != old.Placement.Node && p.Ready && p.Containers[0].PID > 0 {
				renewed = p
				return ""
			}
		}
		return "it runs on no other node"
	})
	return renewed
}

// finished is when the container of a pod ended, as the node has it that ran it. A node that is cut off tells nobody else.
func (s *stage) finished(p api.PodStatus) time.Time {
	s.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, "lab", p.Placement.Node, "pods", p.Placement.UID, "pod.json"))
	if err != nil {
		s.Fatal(err)
	}
	var record struct {
		Ends map[string]struct{ Finished time.Time }
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &record); err != nil { // the newest
		s.Fatal(err)
	}
	return record.Ends[p.Containers[0].Name].Finished
}
