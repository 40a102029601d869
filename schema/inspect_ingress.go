package schema

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func finishIngress(i *inspection, g *networkingv1.Ingress) {
	if len(g.Spec.Rules) == 0 && g.Spec.DefaultBackend == nil {
		i.fail([]any{"spec"}, "needs rules or defaultBackend")
	}
	if b := g.Spec.DefaultBackend; b != nil {
		i.backend([]any{"spec", "defaultBackend"}, b)
	}
	for n, r := range g.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for k := range r.HTTP.Paths {
			p, at := &r.HTTP.Paths[k], []any{"spec", "rules", n, "http", "paths", k}
			i.ingressPath(under(at, "path"), p)
			i.backend(under(at, "backend"), &p.Backend)
		}
	}
	for n, t := range g.Spec.TLS {
		if t.SecretName == "" {
			continue
		}
		at := []any{"spec", "tls", n, "secretName"}
		i.mention(at, "Secret", t.SecretName)
		for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			i.use(at, "Secret", t.SecretName, key, nil)
			i.uses[len(i.uses)-1].warning = true
		}
	}
	i.ingressAnnotations(g)
}

func (i *inspection) ingressPath(at []any, p *networkingv1.HTTPIngressPath) {
	own := p.PathType != nil && *p.PathType == networkingv1.PathTypeImplementationSpecific
	switch {
	case p.Path == "" && p.PathType != nil && !own:
		i.fail(at, "is required where pathType is %s: a path that starts with '/'", *p.PathType)
	case own && strings.ContainsAny(strings.TrimSuffix(p.Path, "/*"), "*()[]|^$\\"):
		i.warn(at, "%s looks like a regular expression, and is taken as it stands: pathType ImplementationSpecific is Prefix here", shorten(p.Path))
	}
}

// backend notes the service behind a path, and which of its ports is meant.
func (i *inspection) backend(at []any, b *networkingv1.IngressBackend) {
	if b.Service == nil {
		return
	}
	i.mention(under(at, "service", "name"), "Service", b.Service.Name)
	i.uses[len(i.uses)-1].port = &b.Service.Port
}

// ownIngressAnnotations are those that headway carries out.
var ownIngressAnnotations = []string{
	"kubernetes.io/ingress.class", "headway.dev/ssl-redirect",
	"nginx.ingress.kubernetes.io/ssl-redirect", "nginx.ingress.kubernetes.io/force-ssl-redirect",
}

// changingAnnotations are parts of the names of annotations that change which requests are served, or how: without them
// something else happens than the author meant.
var changingAnnotations = []string{
	"rewrite", "use-regex", "whitelist", "allowlist", "denylist", "auth", "canary", "app-root", "redirect", "backend-protocol",
	"server-snippet", "configuration-snippet", "middlewares", "strip", "tls-acme", "cluster-issuer", "cert-manager.io/issuer", "limit-", "passthrough", "upstream-vhost",
}

// ingressAnnotations notes what other controllers would do for an annotation, and headway does not.
func (i *inspection) ingressAnnotations(g *networkingv1.Ingress) {
	for _, name := range slices.Sorted(maps.Keys(g.Annotations)) {
		domain, _, qualified := strings.Cut(name, "/")
		if slices.Contains(ownIngressAnnotations, name) || !qualified || !isControllers(domain) {
			continue
		}
		at := []any{"metadata", "annotations", name}
		if slices.ContainsFunc(changingAnnotations, func(part string) bool { return strings.Contains(name, part) }) {
			i.note(name, at, "has no effect: headway serves the ingress as if it were not there, which is something else than it asks for")
			continue
		}
		i.note(name, at, "has no effect: it is for another ingress controller")
	}
}

// isControllers reports whether a domain is of annotations that ingress controllers, or those who work with them, read.
func isControllers(domain string) bool {
	for _, known := range []string{
		"ingress.kubernetes.io", "kubernetes.io", "networking.gke.io", "cloud.google.com", "traefik.io", "haproxy.org", "haproxy-ingress.github.io",
		"projectcontour.io", "konghq.com", "nginx.org", "nginx.com", "cert-manager.io", "certmanager.k8s.io", "external-dns.alpha.kubernetes.io", "azure.com", "contour.heptio.com",
	} {
		if domain == known || strings.HasSuffix(domain, "."+known) {
			return true
		}
	}
	return false
}

// ingressController is how a class names headway.
const ingressController = "headway.dev/ingress"

func finishIngressClass(i *inspection, c *networkingv1.IngressClass) {
	if c.Spec.Controller != "" && c.Spec.Controller != ingressController {
		i.note("controller", []any{"spec", "controller"}, "%s does not run here: headway serves every ingress, those of this class too", c.Spec.Controller)
	}
}
