package node

import (
	"fmt"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// machineResolvConf is what pods without a name server of their own use.
const machineResolvConf = "/etc/resolv.conf"

// What resolvers read, and Kubernetes writes at most: more is left out, with an event.
const (
	maxResolvNameservers = 3
	maxSearches          = 32
	maxSearchLength      = 2048 // of all, with a space between two
)

// A resolver is the content of a resolv.conf.
type resolver struct {
	nameservers, searches, options []string
}

// parseResolver reads a resolv.conf. Of several search lines the last counts, as for the C library.
func parseResolver(text string) resolver {
	var r resolver
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			r.nameservers = append(r.nameservers, words[1])
		case "search":
			r.searches = words[1:]
		case "domain":
			r.searches = words[1:2]
		case "options":
			r.options = append(r.options, words[1:]...)
		}
	}
	return r
}

// with adds what a pod asks for itself: an option of its own takes the place of the one of the same name.
func (r resolver) with(c *corev1.PodDNSConfig) resolver {
	if c == nil {
		return r
	}
	r.nameservers = appendNew(r.nameservers, c.Nameservers)
	r.searches = appendNew(r.searches, c.Searches)
	for _, o := range c.Options {
		named := func(have string) bool {
			name, _, _ := strings.Cut(have, ":")
			return name == o.Name
		}
		option := o.Name
		if o.Value != nil && *o.Value != "" {
			option += ":" + *o.Value
		}
		r.options = append(slices.DeleteFunc(slices.Clone(r.options), named), option)
	}
	return r
}

func appendNew(to, more []string) []string {
	to = slices.Clone(to)
	for _, s := range more {
		if !slices.Contains(to, s) {
			to = append(to, s)
		}
	}
	return to
}

// bounded leaves out what resolvers would not read, and says what.
func (r resolver) bounded() (_ resolver, left []string) {
	if len(r.nameservers) > maxResolvNameservers {
		left = append(left, "name servers "+strings.Join(r.nameservers[maxResolvNameservers:], ", "))
		r.nameservers = r.nameservers[:maxResolvNameservers]
	}
	n, length := 0, -1
	for n < len(r.searches) && n < maxSearches && length+1+len(r.searches[n]) <= maxSearchLength {
		length += 1 + len(r.searches[n])
		n++
	}
	if n < len(r.searches) {
		left = append(left, "search domains "+strings.Join(r.searches[n:], ", "))
		r.searches = r.searches[:n]
	}
	return r, left
}

func (r resolver) String() string {
	var b strings.Builder
	for _, n := range r.nameservers {
		b.WriteString("nameserver " + n + "\n")
	}
	if len(r.searches) > 0 {
		b.WriteString("search " + strings.Join(r.searches, " ") + "\n")
	}
	if len(r.options) > 0 {
		b.WriteString("options " + strings.Join(r.options, " ") + "\n")
	}
	return b.String()
}

// machineResolver is what the machine itself asks for names. A machine without a resolv.conf asks nobody.
func machineResolver() (resolver, error) {
	data, err := os.ReadFile(machineResolvConf)
	if err != nil && !os.IsNotExist(err) {
		return resolver{}, err
	}
	return parseResolver(string(data)), nil
}

// resolvConf is the pod's resolv.conf, by its DNS policy, as Kubernetes has it: a pod on the machine's own network asks as
// the machine does, unless it wants the cluster's names all the same.
func (p *pod) resolvConf() (string, error) {
	spec := &p.template.Spec
	policy := spec.DNSPolicy
	if policy == corev1.DNSClusterFirst && spec.HostNetwork || p.host.config.Nameserver == "" && policy != corev1.DNSNone {
		policy = corev1.DNSDefault
	}
	var r resolver
	switch policy {
	case corev1.DNSNone:
		if spec.DNSConfig == nil || len(spec.DNSConfig.Nameservers) == 0 {
			return "", fmt.Errorf("dnsPolicy is None, and dnsConfig names no name server: name one")
		}
	case corev1.DNSDefault:
		var err error
		if r, err = machineResolver(); err != nil {
			return "", err
		}
	default:
		r = p.clusterResolver()
	}
	r, left := r.with(spec.DNSConfig).bounded()
	if len(left) > 0 {
		p.event("DNSConfigForming", "left out of resolv.conf, for resolvers read no more: "+strings.Join(left, "; "), warning)
	}
	return r.String(), nil
}

// clusterResolver asks this node for the cluster's names, and other nodes while its daemon is away.
func (p *pod) clusterResolver() resolver {
	c := p.host.config
	r := resolver{nameservers: append([]string{c.Nameserver}, p.host.peers.nameservers()...)}
	if c.Domain != "" {
		r.searches = []string{p.record.Placement.Pod.Namespace + ".svc." + c.Domain, "svc." + c.Domain, c.Domain}
		r.options = []string{"ndots:5", "timeout:1"}
	}
	return r
}
