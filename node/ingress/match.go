package ingress

import (
	"net"
	"strings"

	"headway.dev/headway/api"
)

// A matcher finds who takes a request. It never changes.
type matcher struct {
	hosts map[string]*host
	rest  *api.IngressBackend
}

type host struct {
	exact, below map[string]*api.IngressBackend // by path
	rest         *api.IngressBackend
}

func newMatcher(rules api.IngressRules) *matcher {
	m := &matcher{hosts: make(map[string]*host, len(rules.Hosts)), rest: rules.Default}
	for _, h := range rules.Hosts {
		one := &host{exact: map[string]*api.IngressBackend{}, below: map[string]*api.IngressBackend{}, rest: h.Default}
		for _, p := range h.Paths {
			if p.Exact {
				one.exact[p.Path] = &p.IngressBackend
			} else {
				one.below[p.Path] = &p.IngressBackend
			}
		}
		m.hosts[h.Host] = one
	}
	return m
}

// match gives who takes a request for a host name, as hostname has it, and a path; nil is nobody. The host decides first:
// what none of its paths takes goes to no other host's.
func (m *matcher) match(name, path string) *api.IngressBackend {
	h, ok := lookup(m.hosts, name)
	if !ok {
		return m.rest
	}
	if b := h.exact[path]; b != nil {
		return b
	}
	for at := path; ; {
		at = strings.TrimRight(at, "/")
		if at == "" {
			break
		}
		if b := h.below[at]; b != nil {
			return b
		}
		// One element less. What has no slash, such as *, is below nothing but the root.
		at = at[:strings.LastIndexByte(at, '/')+1]
	}
	if b := h.below["/"]; b != nil {
		return b
	}
	if h.rest != nil {
		return h.rest
	}
	return m.rest
}

// lookup finds what is said of a host: of its own name, else of the wildcard with one label in its place, else of all.
func lookup[T any](hosts map[string]T, name string) (found T, ok bool) {
	if name != "" && !strings.HasPrefix(name, "*") {
		if found, ok = hosts[name]; ok {
			return found, true
		}
		if _, parent, cut := strings.Cut(name, "."); cut {
			if found, ok = hosts["*."+parent]; ok {
				return found, true
			}
		}
	}
	found, ok = hosts[""]
	return found, ok
}

// hostname is the name in a request's Host: without the port, in lower case, and without the dot that ends a whole name.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
