package scheduler

import "headway.dev/headway/api"

// A room is what pods take on a node.
type room struct {
	api.Resources
	extended map[string]int64
	pods     int
}

// room is what a pod that asks takes.
func (a *ask) room() room {
	r := room{Resources: a.requests, pods: 1}
	if len(a.extended) > 0 {
		r.extended = make(map[string]int64, len(a.extended))
		for _, e := range a.extended {
			r.extended[e.name] = e.value
		}
	}
	return r
}

func (r *room) add(o room) {
	r.Resources = r.Add(o.Resources)
	r.pods += o.pods
	for name, amount := range o.extended {
		if r.extended == nil {
			r.extended = map[string]int64{}
		}
		r.extended[name] += amount
	}
}

// give takes room off the node.
func (n *node) give(r room) {
	n.free = n.free.Sub(r.Resources)
	n.pods += r.pods
	for name, amount := range r.extended {
		if _, ok := n.extended[name]; ok {
			n.extended[name] -= amount
		}
	}
}

// gain gives the node room back.
func (n *node) gain(r room) {
	n.free = n.free.Add(r.Resources)
	n.pods -= r.pods
	for name, amount := range r.extended {
		if _, ok := n.extended[name]; ok {
			n.extended[name] += amount
		}
	}
}

// promise keeps room for a pod that waits until others have ended: of what these leave, and else of what is free.
func (n *node) promise(a *ask) {
	rest := a.room()
	part := func(later, rest *int64) {
		p := min(*later, *rest)
		*later -= p
		*rest -= p
	}
	part(&n.later.MilliCPU, &rest.MilliCPU)
	part(&n.later.Memory, &rest.Memory)
	for name, amount := range rest.extended {
		later := n.later.extended[name]
		part(&later, &amount)
		rest.extended[name] = amount
		if n.later.extended != nil {
			n.later.extended[name] = later
		}
	}
	if n.later.pods > 0 {
		n.later.pods--
		rest.pods = 0
	}
	n.give(rest)
}
