package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
)

// ingressObjects reads ingresses, and gives them with the services that they may name.
func ingressObjects(t *testing.T, manifests string) []api.Object {
	t.Helper()
	grpc := "kubernetes.io/h2c"
	objects := []api.Object{{
		Ref: api.Ref{Kind: "Service", Namespace: "shop", Name: "web"},
		Value: &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{
			{Name: "http", Port: 80}, {Name: "grpc", Port: 90, AppProtocol: &grpc}, {Name: "names", Port: 53, Protocol: corev1.ProtocolUDP},
		}}},
	}}
	for _, text := range strings.Split(manifests, "---\n") {
		g := &networkingv1.Ingress{}
		if err := yaml.UnmarshalStrict([]byte(text), g); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, api.Object{Ref: api.Ref{Kind: "Ingress", Namespace: "shop", Name: g.Name}, Source: api.Position{File: g.Name + ".yaml", Line: 1}, Value: g})
	}
	return objects
}

func printBackend(b api.IngressBackend) string {
	s := fmt.Sprintf("%s:%d by %s", b.Service.Name, b.Port, b.Ingress.Name)
	if b.H2C {
		s += " h2c"
	}
	if b.ToHTTPS {
		s += " to https"
	}
	return s
}

func printIngress(plan Plan) string {
	var b strings.Builder
	for _, h := range plan.Ingress.Hosts {
		fmt.Fprintf(&b, "host %q\n", h.Host)
		for _, p := range h.Paths {
			fmt.Fprintf(&b, "  %s exact=%t -> %s\n", p.Path, p.Exact, printBackend(p.IngressBackend))
		}
		if h.Default != nil {
			fmt.Fprintf(&b, "  rest -> %s\n", printBackend(*h.Default))
		}
	}
	if plan.Ingress.Default != nil {
		fmt.Fprintf(&b, "rest -> %s\n", printBackend(*plan.Ingress.Default))
	}
	for _, t := range plan.Ingress.TLS {
		fmt.Fprintf(&b, "tls %q %s by %s\n", t.Host, t.Secret.Name, t.Ingress.Name)
	}
	for _, p := range plan.Problems {
		fmt.Fprintf(&b, "warning=%t %s\n", p.Warning, p)
	}
	return b.String()
}

// The manifests are in the order of age that names have: b is the younger of two that ask for the same.
const ingressManifests = `
metadata: {name: a, annotations: {nginx.ingress.kubernetes.io/ssl-redirect: "true"}}
spec:
  tls: [{hosts: [shop.example], secretName: own}, {secretName: all}, {hosts: [bare.example]}]
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
          - {path: /api/, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
          - {path: /api, pathType: Exact, backend: {service: {name: web, port: {name: grpc}}}}
          - {path: /images/*, pathType: ImplementationSpecific, backend: {service: {name: web, port: {number: 81}}}}
    - host: "*.shop.example"
---
metadata: {name: b}
spec:
  defaultBackend: {service: {name: web, port: {number: 80}}}
  tls: [{hosts: [shop.example], secretName: other}]
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /api, pathType: Prefix, backend: {service: {name: gone, port: {name: http}}}}
          - {path: /b, pathType: Prefix, backend: {service: {name: web, port: {name: names}}}}
          - {pathType: ImplementationSpecific, backend: {service: {name: web, port: {name: http}}}}
---
metadata: {name: c}
spec: {defaultBackend: {service: {name: web, port: {name: http}}}, tls: [{secretName: any}]}
---
metadata: {name: d}
spec: {defaultBackend: {service: {name: other, port: {number: 1}}}}
`

const ingressWanted = `host "*.shop.example"
host "shop.example"
  /api exact=true -> web:90 by a h2c to https
  /images exact=false -> web:81 by a to https
  /api exact=false -> web:80 by a to https
  /b exact=false -> web:0 by b
  / exact=false -> web:80 by a to https
  rest -> web:80 by b
rest -> web:80 by c
tls "" any by c
tls "*.shop.example" all by a
tls "shop.example" own by a
warning=true a.yaml:1: Ingress/shop/a: spec.tls[1].secretName: the certificate of host shop.example is Secret/shop/own by Ingress/shop/a already, which keeps it
warning=true a.yaml:1: Ingress/shop/a: spec.tls[2].secretName: is empty: there is no certificate but those in secrets, so that these hosts are served without TLS
warning=true b.yaml:1: Ingress/shop/b: spec.rules[0].http.paths[0].path: the path "/api" of host shop.example is Ingress/shop/a's already, which keeps it
warning=true b.yaml:1: Ingress/shop/b: spec.rules[0].http.paths[2].path: the path "/" of host shop.example is Ingress/shop/a's already, which keeps it
warning=true b.yaml:1: Ingress/shop/b: spec.tls[0].secretName: the certificate of host shop.example is Secret/shop/own by Ingress/shop/a already, which keeps it
warning=true d.yaml:1: Ingress/shop/d: spec.defaultBackend: what no rule is for goes to Ingress/shop/c already, which keeps it
`

func TestIngressRules(t *testing.T) {
	objects := ingressObjects(t, ingressManifests)
	for range 3 { // the order of the objects makes no difference
		plan := Compute(Input{Desired: objects, Prune: true, ServiceCIDR: "10.96.0.0/16"})
		if got := printIngress(plan); got != ingressWanted {
			t.Fatalf("got\n%swant\n%s", got, ingressWanted)
		}
		objects = slices.Concat(objects[2:], objects[:2])
	}
}

// TestIngressStaysWhatMayNotGo has ingresses vanish from Git without leave to delete them.
func TestIngressStaysWhatMayNotGo(t *testing.T) {
	objects := ingressObjects(t, ingressManifests)
	in := Input{Desired: objects[:1], Deployed: objects, ServiceCIDR: "10.96.0.0/16"}
	if got := printIngress(Compute(in)); got != ingressWanted {
		t.Errorf("without leave to delete:\n%s", got)
	}
	in.Prune = true
	if rules := Compute(in).Ingress; !rules.Empty() || len(rules.TLS) > 0 {
		t.Errorf("%+v is left though Git holds no ingress", rules)
	}
}

// TestEntrancesOfServices tells of a service in the way.
func TestEntrancesOfServices(t *testing.T) {
	objects := ingressObjects(t, "{metadata: {name: a}, spec: {defaultBackend: {service: {name: web, port: {name: http}}}}}")
	if s, ok := objects[0].Value.(*corev1.Service); ok {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.Ports = s.Spec.Ports[:1]
	}
	plan := Compute(Input{Desired: objects, Prune: true, ServiceCIDR: "10.96.0.0/16"})
	if len(plan.Problems) != 1 || !strings.HasPrefix(plan.Problems[0].String(), "Service/shop/web: takes port 80 of every node") {
		t.Errorf("%v", plan.Problems)
	}
}
