package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"headway.dev/headway/api"
)

// redirectAnnotations have requests without TLS sent to the same place with it, if one of them is "true". Kubernetes has no
// field for it, and most teams that want it have written one of the last two.
var redirectAnnotations = []string{
	"headway.dev/ssl-redirect", "nginx.ingress.kubernetes.io/ssl-redirect", "nginx.ingress.kubernetes.io/force-ssl-redirect",
}

// An ingressTable gathers what the ingresses in force say. Of two that say different things of the same, the first by name
// has its way, and the other is told.
type ingressTable struct {
	*pass
	services map[api.Ref]*corev1.ServiceSpec
	hosts    map[string]*ingressHost
	tls      map[string]api.IngressTLS
	// general take what nobody else takes: of ingresses that say nothing else, and of the others.
	general, spare *api.IngressBackend
}

type ingressHost struct {
	paths map[ingressPath]api.IngressBackend
	rest  *api.IngressBackend
}

// An ingressPath is what of a path tells it from others.
type ingressPath struct {
	path  string
	exact bool
}

// ingress plans the rules for HTTP from outside.
func (p *pass) ingress() {
	var ingresses []api.Object
	inForce := [][]api.Object{p.in.Desired, p.plan.Kept}
	for _, objects := range inForce {
		for _, o := range objects {
			if _, ok := o.Value.(*networkingv1.Ingress); ok {
				ingresses = append(ingresses, o)
			}
		}
	}
	if len(ingresses) == 0 {
		return
	}
	t := ingressTable{pass: p, services: map[api.Ref]*corev1.ServiceSpec{}, hosts: map[string]*ingressHost{}, tls: map[string]api.IngressTLS{}}
	for _, objects := range inForce {
		for _, o := range objects {
			if v, ok := o.Value.(*corev1.Service); ok {
				t.services[o.Ref] = &v.Spec
			}
		}
	}
	slices.SortStableFunc(ingresses, func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
	for _, o := range ingresses {
		if v, ok := o.Value.(*networkingv1.Ingress); ok {
			t.add(o, v)
		}
	}
	p.plan.Ingress = t.rules()
	p.warnOfEntrances()
}

// add takes in what an ingress says.
func (t *ingressTable) add(o api.Object, g *networkingv1.Ingress) {
	toHTTPS := slices.ContainsFunc(redirectAnnotations, func(name string) bool { return g.Annotations[name] == "true" })
	var rest *api.IngressBackend
	if b := g.Spec.DefaultBackend; b != nil {
		backend := t.backend(o.Ref, b, toHTTPS)
		rest = &backend
		t.addDefault(o, rest, len(g.Spec.Rules) == 0)
	}
	for n, rule := range g.Spec.Rules {
		host := t.host(rule.Host)
		if rest != nil && host.rest == nil {
			host.rest = rest
		}
		if rule.HTTP == nil {
			continue
		}
		for k, path := range rule.HTTP.Paths {
			field := fmt.Sprintf("spec.rules[%d].http.paths[%d].path", n, k)
			backend := t.backend(o.Ref, &path.Backend, toHTTPS)
			at := keyOf(path)
			if have, taken := host.paths[at]; !taken {
				host.paths[at] = backend
			} else if have != backend {
				t.warn(o, field, fmt.Sprintf("%s %q of %s is %s's already, which keeps it", kindOf(at), at.path, hostName(rule.Host), have.Ingress))
			}
		}
	}
	for n, entry := range g.Spec.TLS {
		t.addTLS(o, fmt.Sprintf("spec.tls[%d]", n), entry, g.Spec.Rules)
	}
}

func (t *ingressTable) addDefault(o api.Object, backend *api.IngressBackend, alone bool) {
	switch {
	case !alone:
		if t.spare == nil {
			t.spare = backend
		}
	case t.general == nil:
		t.general = backend
	default:
		t.warn(o, "spec.defaultBackend", fmt.Sprintf("what no rule is for goes to %s already, which keeps it", t.general.Ingress))
	}
}

// addTLS takes in the hosts of one secret. Without any, as Kubernetes leaves it to the controller, they are the hosts of the
// ingress.
func (t *ingressTable) addTLS(o api.Object, field string, entry networkingv1.IngressTLS, rules []networkingv1.IngressRule) {
	hosts := slices.Clone(entry.Hosts)
	if len(hosts) == 0 {
		for _, rule := range rules {
			hosts = append(hosts, rule.Host)
		}
	}
	if len(rules) == 0 && len(hosts) == 0 {
		hosts = []string{""}
	}
	if entry.SecretName == "" {
		t.warn(o, field+".secretName", "is empty: there is no certificate but those in secrets, so that these hosts are served without TLS")
		return
	}
	secret := api.Ref{Kind: "Secret", Namespace: o.Ref.Namespace, Name: entry.SecretName}
	for _, host := range hosts {
		host = strings.ToLower(host)
		if have, taken := t.tls[host]; !taken {
			t.tls[host] = api.IngressTLS{Host: host, Ingress: o.Ref, Secret: secret}
		} else if have.Secret != secret {
			t.warn(o, field+".secretName", fmt.Sprintf("the certificate of %s is %s by %s already, which keeps it", hostName(host), have.Secret, have.Ingress))
		}
	}
}

func (t *ingressTable) host(name string) *ingressHost {
	name = strings.ToLower(name)
	if t.hosts[name] == nil {
		t.hosts[name] = &ingressHost{paths: map[ingressPath]api.IngressBackend{}}
	}
	return t.hosts[name]
}

// backend finds the service's port that is meant. One that is not there is not left out: its requests must not fall to
// another path.
func (t *ingressTable) backend(ingress api.Ref, b *networkingv1.IngressBackend, toHTTPS bool) api.IngressBackend {
	backend := api.IngressBackend{Ingress: ingress, ToHTTPS: toHTTPS}
	if b.Service == nil {
		return backend
	}
	backend.Service = api.Ref{Kind: "Service", Namespace: ingress.Namespace, Name: b.Service.Name}
	backend.Port = b.Service.Port.Number
	spec := t.services[backend.Service]
	if spec == nil {
		return backend
	}
	for _, port := range spec.Ports {
		named := b.Service.Port.Name != "" && port.Name == b.Service.Port.Name
		if protocol(port.Protocol) == corev1.ProtocolTCP && (named || port.Port == b.Service.Port.Number) {
			backend.Port, backend.H2C = port.Port, speaksH2C(port.AppProtocol)
		}
	}
	return backend
}

// speaksH2C reports whether a port's protocol is HTTP/2 without TLS: by Kubernetes' name for it, or because gRPC is that.
func speaksH2C(appProtocol *string) bool {
	return appProtocol != nil && slices.Contains([]string{"kubernetes.io/h2c", "h2c", "grpc"}, strings.ToLower(*appProtocol))
}

// keyOf reads a path as its type means it. A path that may mean what it likes is a prefix, and one that ends in /*, as other
// controllers have prefixes written, the prefix before that.
func keyOf(path networkingv1.HTTPIngressPath) ingressPath {
	kind := networkingv1.PathTypeImplementationSpecific
	if path.PathType != nil {
		kind = *path.PathType
	}
	written := path.Path
	switch kind {
	case networkingv1.PathTypeExact:
		return ingressPath{written, true}
	case networkingv1.PathTypeImplementationSpecific:
		if before, ok := strings.CutSuffix(written, "/*"); ok {
			written = before
		}
	}
	return ingressPath{cmp.Or(strings.TrimRight(written, "/"), "/"), false}
}

func kindOf(p ingressPath) string {
	if p.exact {
		return "the exact path"
	}
	return "the path"
}

func hostName(host string) string {
	if host == "" {
		return "every host"
	}
	return "host " + host
}

func (t *ingressTable) warn(o api.Object, field, message string) {
	t.plan.Problems = append(t.plan.Problems, api.Problem{Ref: o.Ref, Source: o.Source, Field: field, Message: message, Warning: true})
}

// rules gives the whole in its order: exact paths first, then the longest.
func (t *ingressTable) rules() api.IngressRules {
	rules := api.IngressRules{Default: cmp.Or(t.general, t.spare)}
	for _, name := range slices.Sorted(maps.Keys(t.hosts)) {
		h := api.IngressHost{Host: name, Default: t.hosts[name].rest}
		for at, backend := range t.hosts[name].paths {
			h.Paths = append(h.Paths, api.IngressPath{Path: at.path, Exact: at.exact, IngressBackend: backend})
		}
		slices.SortFunc(h.Paths, func(a, b api.IngressPath) int {
			if a.Exact != b.Exact {
				return map[bool]int{true: -1, false: 1}[a.Exact]
			}
			return cmp.Or(cmp.Compare(len(b.Path), len(a.Path)), cmp.Compare(a.Path, b.Path))
		})
		rules.Hosts = append(rules.Hosts, h)
	}
	for _, host := range slices.Sorted(maps.Keys(t.tls)) {
		rules.TLS = append(rules.TLS, t.tls[host])
	}
	return rules
}

// warnOfEntrances tells of services that take the ports of the nodes where HTTP from outside usually comes in: the kernel
// sends them what is meant for ingresses.
func (p *pass) warnOfEntrances() {
	for i := range p.plan.Routes {
		route := &p.plan.Routes[i]
		for _, port := range route.Ports {
			if !route.OnNodes || port.Protocol != corev1.ProtocolTCP || port.Port != 80 && port.Port != 443 {
				continue
			}
			p.plan.Problems = append(p.plan.Problems, api.Problem{Ref: route.Service, Source: p.sourceOf(route.Service), Warning: true, Message: fmt.Sprintf(
				"takes port %d of every node, where requests for ingresses come in: give it another port or an address of its own, unless the nodes serve ingresses elsewhere (--ingress-http, --ingress-https)", port.Port)})
		}
	}
}

func (p *pass) sourceOf(ref api.Ref) api.Position {
	i, found := slices.BinarySearchFunc(p.want.services, ref, func(s service, ref api.Ref) int { return s.ref.Compare(ref) })
	if !found {
		return api.Position{}
	}
	return p.want.services[i].source
}
