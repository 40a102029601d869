package e2e_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/api"
)

// hidden is in a Secret; it must be found where it is used, and nowhere else.
const hidden = "correct-horse-battery-staple"

// workloadsManifest has one of each kind that is not in the shop.
const workloadsManifest = `
apiVersion: v1
kind: Secret
metadata: {name: offer, namespace: shop}
stringData: {offer: ` + hidden + `, items: "pears ` + hidden + `"}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: vault, namespace: shop}
spec:
  replicas: 2
  serviceName: vault
  selector: {matchLabels: {app: vault}}
  template:
    metadata: {labels: {app: vault}}
    spec:
      containers:
        - name: catalog
          image: registry.example/shop/catalog:1.0
          env:
            - {name: ITEMS_FILE, value: /etc/offer/items}
            - {name: OFFER, valueFrom: {secretKeyRef: {name: offer, key: offer}}}
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
          volumeMounts: [{name: offer, mountPath: /etc/offer}]
      volumes: [{name: offer, secret: {secretName: offer}}]
---
apiVersion: v1
kind: Service
metadata: {name: vault, namespace: shop}
spec:
  clusterIP: 10.96.0.90
  selector: {app: vault}
  ports: [{port: 80, targetPort: http}]
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
        - name: catalog
          image: registry.example/shop/catalog:1.0
          env: [{name: ITEMS_FILE, value: /etc/hostname}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: visit, namespace: shop}
spec:
  completions: 3
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: client
          image: registry.example/shop/client:1.0
          args: [-url, "http://10.96.0.80/", -n, "5"]
`

// TestWorkloads runs a StatefulSet with a secret, a DaemonSet and a Job; then all daemons are killed, and the control plane
// loses all it has. Nothing restarts, and nothing runs twice.
func TestWorkloads(t *testing.T) {
	s := open(t)
	s.write("workloads.yaml", workloadsManifest)
	s.deploy("Open the vault")
	s.run("wait", "Job/shop/visit", "--for=ready", "--timeout", patience)

	agents, jobs := map[string]int{}, 0
	var vault []string
	for _, p := range s.pods() {
		switch p.Placement.Owner.Name {
		case "agent":
			agents[p.Placement.Node]++
		case "vault":
			vault = append(vault, p.Placement.Pod.Name)
		case "visit":
			jobs++
		}
	}
	if len(agents) != 3 {
		t.Errorf("agents by node: %v", agents)
	}
	if strings.Join(vault, " ") != "vault-0 vault-1" {
		t.Errorf("the pods of the set are %v", vault)
	}
	if jobs != 3 {
		t.Errorf("%d runs of the job, want 3", jobs)
	}
	s.edit("front/front.cue", "http://catalog/items", "http://vault/items")
	s.deploy("Sell from the vault")
	if sum := s.visit("n1", "http://10.96.0.80/", 20); sum.Offers[hidden] != 20 {
		t.Errorf("offers by their secret: %v", sum.Offers)
	}
	s.nowhere(hidden)

	before := s.pids()
	all := []string{"server", "n1", "n2", "n3"}
	s.kill(all...)
	for _, dir := range []string{"bus", "mirror"} {
		s.removeAllBut(filepath.Join(s.Dir, "lab", "server", dir), "credentials")
	}
	s.restart(all...)
	s.sameProcesses(before)
	runs := 0
	for _, p := range s.pods() {
		if p.Placement.Owner.Name == "visit" {
			runs++
		}
	}
	if runs > 3 {
		t.Errorf("the job ran again: %d runs", runs)
	}

	// What a Secret holds is part of the template: a change rolls, a revert takes it back.
	s.edit("workloads.yaml", "{offer: "+hidden, "{offer: changed")
	s.deploy("Change the secret")
	if sum := s.visit("n1", "http://10.96.0.80/", 10); sum.Offers["changed"] != 10 {
		t.Errorf("after the change: %v", sum.Offers)
	}
	s.git("revert", "--no-edit", "HEAD")
	s.deploy("Take it back")
	if sum := s.visit("n1", "http://10.96.0.80/", 10); sum.Offers[hidden] != 10 {
		t.Errorf("after the revert: %v", sum.Offers)
	}
}

// nowhere asserts that no file of the control plane, the bus or the nodes holds the text. (Git's own objects are compressed.)
func (s *stage) nowhere(text string) {
	s.Helper()
	err := filepath.WalkDir(filepath.Join(s.Dir, "lab"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go
		}
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), text) {
			s.Errorf("%s holds what a secret does", path)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
}

// TestRevert commits what never becomes ready, and finds it taken back in Git, with the reason.
func TestRevert(t *testing.T) {
	s := open(t)
	s.write("cluster.yaml", "apiVersion: headway.dev/v1\nkind: Cluster\nmetadata: {name: fleet}\nspec: {rollback: revert}\n")
	s.edit("catalog.yaml", "replicas: 3", "replicas: 3\n  progressDeadlineSeconds: 5")
	good := s.deploy("Revert what fails")
	before := s.pids()

	s.edit("catalog.yaml", "shop/catalog:1.0", "shop/catalog:missing")
	bad := s.commit("Deploy what is not there")
	var head string
	s.eventually("revert the commit", func() string {
		if head = s.origin("rev-parse", "main"); head == bad {
			return "it is still the head"
		}
		return ""
	})
	message := s.origin("log", "-1", "--format=%B", head)
	for _, part := range []string{"This reverts commit " + bad, "Deployment/shop/catalog", "Headway-Reverts: " + bad} {
		if !strings.Contains(message, part) {
			t.Errorf("the message does not have %q:\n%s", part, message)
		}
	}
	if s.origin("rev-parse", head+"^{tree}") != s.origin("rev-parse", good+"^{tree}") {
		t.Error("the tree is not that of the good commit")
	}
	s.run("wait", "--for=commit="+head, "--timeout", patience)
	s.sameProcesses(before)

	// The branch set back to the bad commit brings nothing back.
	s.origin("update-ref", "refs/heads/main", bad)
	s.refused("", "was reverted because it failed")
	s.sameProcesses(before)
	s.shop(20)
}

// pods are all pods that nodes report.
func (s *stage) pods() []api.PodStatus {
	s.Helper()
	pods, err := s.Pods(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return pods
}

// origin runs git in the followed repository.
func (s *stage) origin(args ...string) string {
	s.Helper()
	out, err := s.Repo.Git(s.Context(), append([]string{"--git-dir", s.Repo.Origin}, args...)...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// claimsManifest is a StatefulSet whose pods keep data.
const claimsManifest = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, namespace: shop}
spec:
  replicas: 2
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      containers:
        - name: catalog
          image: registry.example/shop/catalog:1.0
          env: [{name: ITEMS_FILE, value: /etc/hostname}]
          ports: [{name: http, containerPort: 8080}]
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec:
  clusterIP: None
  selector: {app: store}
  ports: [{port: 8080}]
`

// TestClaims keeps data where it is: through rollouts, for a set that is deleted and comes back, and until a commit says by
// name that it may go.
func TestClaims(t *testing.T) {
	s := open(t)
	s.write("store.yaml", claimsManifest)
	s.deploy("Keep data")
	first := s.claim("data-store-0")
	if err := os.WriteFile(filepath.Join(first, "precious"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.edit("store.yaml", "shop/catalog:1.0", "shop/catalog:1.1")
	s.deploy("Change the image")
	s.kill("server", "n1", "n2", "n3")
	for _, dir := range []string{"bus", "mirror"} {
		s.removeAllBut(filepath.Join(s.Dir, "lab", "server", dir), "credentials")
	}
	s.restart("server", "n1", "n2", "n3")
	if s.claim("data-store-0") != first {
		t.Error("the pod's data is elsewhere after the loss of everything")
	}

	s.write("store.yaml", "# nothing\n")
	s.deploy("Delete the set")
	s.write("store.yaml", claimsManifest)
	s.deploy("Bring it back")
	if s.claim("data-store-0") != first {
		t.Error("the pod's data is elsewhere after the set came back")
	}
	if _, err := os.Stat(filepath.Join(first, "precious")); err != nil {
		t.Error(err)
	}

	s.write("store.yaml", "# nothing\n")
	s.deploy("Delete the set and its data\n\nHeadway-Approve-Delete: PersistentVolumeClaim/shop/data-store-0")
	s.eventually("delete the data", func() string {
		if _, err := os.Stat(first); !os.IsNotExist(err) {
			return first + " is there"
		}
		return ""
	})
	s.claim("data-store-1")
}

// claim finds the one directory of a claim.
func (s *stage) claim(name string) string {
	s.Helper()
	found, err := filepath.Glob(filepath.Join(s.Dir, "lab", "n*", "claims", "shop", name))
	if err != nil || len(found) != 1 {
		s.Fatalf("the data of claim %s is at %v, %v", name, found, err)
	}
	return found[0]
}
