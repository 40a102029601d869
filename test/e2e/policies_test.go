package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"headway.dev/headway/test/cluster"
)

// strangersManifest has a front in another namespace, which asks the same catalog.
const strangersManifest = `
apiVersion: v1
kind: Namespace
metadata: {name: other, labels: {team: other}}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: other}
spec:
  clusterIP: 10.96.0.82
  selector: {app: stranger}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stranger, namespace: other}
spec:
  replicas: 1
  selector: {matchLabels: {app: stranger}}
  template:
    metadata: {labels: {app: stranger}}
    spec:
      containers:
        - name: front
          image: registry.example/shop/front:1.0
          env: [{name: GREETING, value: Hello}, {name: CATALOG_URL, value: "http://catalog.shop/items"}]
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
`

// policyManifest isolates the catalog; the rules are to be filled in.
const policyManifest = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: catalog, namespace: shop}
spec:
  podSelector: {matchLabels: {app: catalog}}
  ingress: [%s]
`

// TestPolicies isolates pods by commits, and asks who still gets through, over three nodes.
func TestPolicies(t *testing.T) {
	s := open(t)
	s.write("strangers.yaml", strangersManifest)
	s.deploy("Let strangers in")
	s.answered("http://10.96.0.80/", true)
	s.answered("http://10.96.0.82/", true)
	pids := s.pids()

	s.write("policy.yaml", fmt.Sprintf(policyManifest, ""))
	s.deploy("Deny all")
	s.answered("http://10.96.0.80/", false)
	s.answered("http://10.96.0.82/", false)
	if out := s.run("get", "networkpolicies"); !strings.Contains(out, "app=catalog") || !strings.Contains(out, "Ingress") {
		t.Errorf("get networkpolicies:\n%s", out)
	}
	if out := s.run("describe", "networkpolicy", "catalog"); strings.Count(out, "\nPod/shop/catalog-") != 3 {
		t.Errorf("describe networkpolicy:\n%s", out)
	}

	s.write("policy.yaml", fmt.Sprintf(policyManifest, "{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: http}]}"))
	s.deploy("Let the namespace's own front in, by the port's name")
	s.answered("http://10.96.0.80/", true)
	s.answered("http://10.96.0.82/", false)

	s.write("policy.yaml", fmt.Sprintf(policyManifest, "{from: [{namespaceSelector: {matchLabels: {team: other}}, podSelector: {matchLabels: {app: stranger}}}]}"))
	s.deploy("Let the strangers in instead")
	s.answered("http://10.96.0.80/", false)
	s.answered("http://10.96.0.82/", true)

	s.write("policy.yaml", `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: strangers, namespace: other}
spec:
  podSelector: {}
  policyTypes: [Egress]
`)
	s.deploy("Keep the strangers in")
	s.answered("http://10.96.0.80/", true)
	s.answered("http://10.96.0.82/", false)
	s.sameProcesses(pids) // and every probe has gone on
}

// answered waits until all requests, or none, are answered. Nodes follow a commit on their own; after that they must not
// waver.
func (s *stage) answered(url string, all bool) {
	s.Helper()
	const requests = 20
	ask := func() cluster.Summary {
		out, err := s.Lab(s.Context(), "exec", "n1", "--", s.Client, "-url", url, "-n", fmt.Sprint(requests))
		var sum cluster.Summary
		if err == nil {
			err = json.Unmarshal([]byte(out), &sum)
		}
		if err != nil {
			s.Fatal(err)
		}
		return sum
	}
	right := func(sum cluster.Summary) bool { return all && sum.Failed == 0 || !all && sum.Failed == requests }
	var sum cluster.Summary
	s.eventually(fmt.Sprintf("%s is answered: %t", url, all), func() string {
		if sum = ask(); !right(sum) {
			return fmt.Sprintf("%d of %d failed: %v", sum.Failed, requests, sum.Errors)
		}
		return ""
	})
	if sum = ask(); !right(sum) {
		s.Errorf("%s: %d of %d failed a moment later: %v", url, sum.Failed, requests, sum.Errors)
	}
}
