package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"headway.dev/headway/api"
	"headway.dev/headway/test/cluster"
)

// servicesManifest has a service of every type. The fronts find their catalog by an alias of one pod of a StatefulSet.
const servicesManifest = `
apiVersion: v1
kind: Service
metadata: {name: front-port, namespace: shop}
spec:
  type: NodePort
  selector: {app: front}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: front-balanced, namespace: shop}
spec:
  type: LoadBalancer
  selector: {app: front}
  ports: [{port: 8088, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: front-near, namespace: shop}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  sessionAffinity: ClientIP
  selector: {app: front}
  ports: [{port: 80, targetPort: http, nodePort: 30081}]
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {app: set}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: chosen, namespace: shop}
spec:
  type: ExternalName
  externalName: set-1.peers.shop.svc.cluster.local
---
apiVersion: v1
kind: Service
metadata: {name: written, namespace: shop}
spec:
  clusterIP: 10.96.0.81
  ports: [{port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: written-1, namespace: shop, labels: {kubernetes.io/service-name: written}}
addressType: IPv4
endpoints: [{addresses: [%[1]s]}]
ports: [{port: 30080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set, namespace: shop}
spec:
  replicas: 2
  serviceName: peers
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      containers:
        - name: catalog
          image: registry.example/shop/catalog:1.0
          env: [{name: ITEMS_FILE, value: /etc/hostname}]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: holder, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: holder}}
  template:
    metadata: {labels: {app: holder}}
    spec:
      containers:
        - name: front
          image: registry.example/shop/front:1.0
          env: [{name: GREETING, value: Held}, {name: CATALOG_URL, value: "http://set-0.peers:8080/items"}]
          ports: [{name: http, containerPort: 8080, hostPort: 8090}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
`

// TestServicesOfEveryType reaches one set of pods in every way there is.
func TestServicesOfEveryType(t *testing.T) {
	s := open(t)
	addresses := s.nodeAddresses()
	s.write("services.yaml", fmt.Sprintf(servicesManifest, addresses["n2"]))
	s.edit("front/front.cue", "http://catalog/items", "http://chosen:8080/items")
	s.deploy("Serve in every way")

	pods, err := s.Pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	on := map[string][]string{} // the fronts of each node
	var holder string           // the node of the pod with a port of its own
	for _, p := range pods {
		switch p.Placement.Owner.Name {
		case "front":
			on[p.Placement.Node] = append(on[p.Placement.Node], p.Placement.Pod.Name)
		case "holder":
			holder = p.Placement.Node
		}
	}
	all := slices.Concat(slices.Collect(maps.Values(on))...)
	for _, way := range []struct {
		name, from, url string
		fronts          []string
		catalog         string
	}{
		{"cluster IP", "n1", "http://10.96.0.80/", all, "set-1"},
		{"port of its own node", "n1", at(addresses["n1"], 30080), all, "set-1"},
		{"port of another node", "n1", at(addresses["n3"], 30080), all, "set-1"},
		{"load balancer", "n2", at(addresses["n3"], 8088), all, "set-1"},
		{"addresses by hand", "n3", "http://10.96.0.81/", all, "set-1"},
	} {
		sum := s.visit(way.from, way.url, 40)
		for front := range sum.Fronts {
			if !slices.Contains(way.fronts, front) {
				t.Errorf("%s: %s answers, which is none of %v", way.name, front, way.fronts)
			}
		}
		if len(sum.Fronts) < 2 || sum.Catalogs[way.catalog] != sum.Requests {
			t.Errorf("%s: fronts %v, catalogs %v", way.name, sum.Fronts, sum.Catalogs)
		}
	}
	for node, near := range on { // from another node, with affinity: one pod of the node that was asked
		from := map[bool]string{true: "n1", false: "n2"}[node != "n1"]
		sum := s.visit(from, at(addresses[node], 30081), 10)
		if len(sum.Fronts) != 1 || !slices.Contains(near, slices.Collect(maps.Keys(sum.Fronts))[0]) {
			t.Errorf("only on node %s, which has %v: %v", node, near, sum.Fronts)
		}
	}
	if sum := s.visit("n1", at(addresses[holder], 8090), 10); len(sum.Fronts) != 1 || sum.Catalogs["set-0"] != 10 {
		t.Errorf("the port of a pod: fronts %v, catalogs %v", sum.Fronts, sum.Catalogs)
	}
}

func at(address string, port int) string { return fmt.Sprintf("http://%s:%d/", address, port) }

// nodeAddresses are the addresses of the nodes by name.
func (s *stage) nodeAddresses() map[string]string {
	s.Helper()
	var nodes []api.NodeInfo
	if err := json.Unmarshal([]byte(s.run("get", "nodes", "-o", "json")), &nodes); err != nil {
		s.Fatal(err)
	}
	addresses := map[string]string{}
	for _, n := range nodes {
		addresses[n.Name] = n.Addresses[0]
	}
	return addresses
}

// visit asks for a page of the shop so many times, from a node; every request must be answered.
func (s *stage) visit(node, url string, requests int) cluster.Summary {
	s.Helper()
	out, err := s.Lab(s.Context(), "exec", node, "--", s.Client, "-url", url, "-n", strconv.Itoa(requests))
	if err != nil {
		s.Fatal(err)
	}
	var sum cluster.Summary
	if err := json.Unmarshal([]byte(out), &sum); err != nil {
		s.Fatal(err)
	}
	if sum.Failed > 0 {
		s.Errorf("%s from %s: %d of %d requests failed: %s", url, node, sum.Failed, sum.Requests, strings.Join(sum.Errors, "; "))
	}
	return sum
}
