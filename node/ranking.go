package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A consumer is a pod as a candidate for eviction, weighed by what is short.
type consumer struct {
	uid      string
	priority int32
	used     int64
	asked    int64 // its request
	parts    []part
}

// A part is what one container has of it.
type part struct {
	name        string
	used, asked int64
}

// leastCritical is the priority from which on a pod is part of the system: it is not evicted for what others need.
const leastCritical = 2_000_000_000

// rank puts consumers in the order in which the kubelet evicts: first those that use more than they asked for; of these and of
// the others those of the least priority first; and of equal ones that first which is farthest above its request. What is
// critical is left out.
func rank(consumers []consumer) []consumer {
	ranked := slices.DeleteFunc(slices.Clone(consumers), func(c consumer) bool { return c.priority >= leastCritical })
	slices.SortFunc(ranked, func(a, b consumer) int {
		return cmp.Or(
			compareBool(b.used > b.asked, a.used > a.asked),
			cmp.Compare(a.priority, b.priority),
			cmp.Compare(b.used-b.asked, a.used-a.asked),
			cmp.Compare(a.uid, b.uid),
		)
	})
	return ranked
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// reason says why a consumer is evicted, in Kubernetes' words.
func (c consumer) reason(s shortage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The node was low on resource: %s. Threshold quantity: %s, available: %s.",
		s.signal.resource(), bytesText(s.threshold), bytesText(s.available))
	for _, p := range c.parts {
		if p.used > p.asked {
			fmt.Fprintf(&b, " Container %s was using %s, request is %s, has larger consumption of %s.",
				p.name, bytesText(p.used), bytesText(p.asked), s.signal.resource())
		}
	}
	return b.String()
}

// newConsumer weighs a pod of the spec by what its containers use, and by what it uses beside them.
func newConsumer(uid string, priority int32, spec *corev1.PodSpec, what corev1.ResourceName, used map[string]int64, beside int64) consumer {
	c := consumer{uid: uid, priority: priority, used: beside}
	if what == corev1.ResourceMemory {
		c.asked = api.PodRequests(spec).Memory
	} else {
		c.asked = api.PodExtended(spec)[string(what)]
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			request, asked := containers[i].Resources.Requests[what]
			if !asked {
				request = containers[i].Resources.Limits[what]
			}
			p := part{name: containers[i].Name, used: used[containers[i].Name], asked: request.Value()}
			c.used += p.used
			c.parts = append(c.parts, p)
		}
	}
	return c
}
