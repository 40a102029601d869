package e2e_test

import (
	"strings"
	"testing"
)

// ingressManifest lets requests for the front in, whatever host they ask for.
const ingressManifest = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front, namespace: shop}
spec:
  rules:
    - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: front, port: {number: 80}}}}]}
`

// TestIngressDuringRollouts asks for the front at another node's port 80 while all its pods are replaced, twice: every
// request must be answered.
func TestIngressDuringRollouts(t *testing.T) {
	s := open(t)
	node := s.nodeAddresses()["n2"]
	s.write("ingress.yaml", ingressManifest)
	s.deploy("Let requests in")
	s.eventually("requests from outside are answered", func() string {
		out, err := s.Lab(t.Context(), "exec", "n1", "--", s.Client, "-url", at(node, 80), "-n", "1")
		if err != nil {
			return err.Error()
		}
		if !strings.Contains(out, `"failed":0`) {
			return out
		}
		return ""
	})
	load, err := s.StartLoad(t.Context(), "n1", 2000, "-url", at(node, 80))
	if err != nil {
		t.Fatal(err)
	}
	for i, greeting := range []string{"Good day", "Good evening"} {
		s.edit("front/front.cue", []string{"Welcome", "Good day"}[i], greeting)
		s.deploy("Say " + greeting)
	}
	s.stopLoad(load)
	if sum := s.visit("n3", at(node, 80), 40); len(sum.Fronts) < 2 {
		t.Errorf("only %v answers", sum.Fronts)
	}
	if out := s.run("get", "ingresses"); !strings.Contains(out, "front:80") {
		t.Errorf("get ingresses:\n%s", out)
	}
}
