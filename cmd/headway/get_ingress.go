package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"headway.dev/headway/api"
)

// ingressView shows what each ingress lets in, and where to.
func ingressView(objects []api.Object) view {
	v := view{header: []string{"NAMESPACE", "NAME", "HOSTS", "TLS", "BACKENDS"}, wide: []string{"PATHS", "SOURCE"}}
	for _, o := range objects {
		g, ok := o.Value.(*networkingv1.Ingress)
		if !ok {
			continue
		}
		var hosts, secrets, backends, paths []string
		add := func(list *[]string, s string) {
			if !slices.Contains(*list, s) {
				*list = append(*list, s)
			}
		}
		for _, rule := range g.Spec.Rules {
			host := cmp.Or(rule.Host, "*")
			add(&hosts, host)
			if rule.HTTP == nil {
				continue
			}
			for _, p := range rule.HTTP.Paths {
				add(&backends, backendName(&p.Backend))
				paths = append(paths, host+cmp.Or(p.Path, "/")+"="+backendName(&p.Backend))
			}
		}
		if b := g.Spec.DefaultBackend; b != nil {
			add(&hosts, "*")
			add(&backends, backendName(b))
		}
		for _, t := range g.Spec.TLS {
			add(&secrets, t.SecretName)
		}
		v.rows = append(v.rows, row{
			ref: o.Ref, data: o.Value,
			cells: []string{o.Ref.Namespace, o.Ref.Name, strings.Join(hosts, ","), strings.Join(secrets, ","), strings.Join(backends, ",")},
			wide:  []string{strings.Join(paths, ","), o.Source.String()},
		})
	}
	return v
}

func backendName(b *networkingv1.IngressBackend) string {
	if b.Service == nil {
		return ""
	}
	if b.Service.Port.Name != "" {
		return b.Service.Name + ":" + b.Service.Port.Name
	}
	return fmt.Sprintf("%s:%d", b.Service.Name, b.Service.Port.Number)
}
