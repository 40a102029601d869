package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// reasonNoDevice is why a container waits whose devices are not there, or not free.
const reasonNoDevice = "DeviceUnavailable"

// devices are those of the machine's devices that pods have. A container has its own for the life of its pod, so that every
// run of it finds the same; no other pod gets them until nothing of this one is left.
type devices struct {
	source  Devices          // nil is a machine without
	counted map[string]int64 // resources that are nothing but a number, which the scheduler looks after

	mu   sync.Mutex
	held map[string]map[string][]string // by pod's UID and container, the names of devices
}

func newDevices(source Devices, counted map[string]int64) *devices {
	return &devices{source: source, counted: counted, held: map[string]map[string][]string{}}
}

// list gives the machine's devices by resource. What is counted has none: the number says what there is.
func (d *devices) list() map[string][]string {
	if d.source == nil {
		return nil
	}
	all := maps.Clone(d.source.Devices())
	for resource := range d.counted {
		delete(all, resource)
	}
	return all
}

// extended is how much there is of every resource.
func (d *devices) extended() map[string]int64 {
	sum := maps.Clone(d.counted)
	for resource, names := range d.list() {
		if sum == nil {
			sum = map[string]int64{}
		}
		sum[resource] = int64(len(names))
	}
	return sum
}

// adopt notes what a pod has from before this daemon began.
func (d *devices) adopt(uid string, held map[string][]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(held) > 0 {
		d.held[uid] = maps.Clone(held)
	}
}

// release frees what a pod has, and reports whether that was anything.
func (d *devices) release(uid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	had := len(d.held[uid]) > 0
	delete(d.held, uid)
	return had
}

// give has every container of a pod have the devices that it asks for, and returns them by container. What they have
// already they keep. It fails, and gives nothing, where too few are free.
func (d *devices) give(uid string, containers []*container) (map[string][]string, error) {
	asked := asksOf(containers)
	if len(asked) == 0 {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, busy := d.list(), map[string]bool{}
	for pod, held := range d.held {
		for _, names := range held {
			for _, name := range names {
				busy[name] = busy[name] || pod != uid
			}
		}
	}
	given := map[string][]string{}
	for _, resource := range slices.Sorted(maps.Keys(asked)) {
		if _, counted := d.counted[resource]; counted {
			continue
		}
		asks := asked[resource]
		for i := range asks {
			asks[i].has = devicesOf(resource, d.held[uid][asks[i].container])
		}
		if err := share(asks, all[resource], busy); err != nil {
			return nil, fmt.Errorf("%s: %w", resource, err)
		}
		for _, a := range asks {
			given[a.container] = append(given[a.container], a.has...)
		}
	}
	if len(given) > 0 {
		d.held[uid] = given
	}
	return maps.Clone(given), nil
}

// lost gives those of the names that are no device of the machine any more.
func (d *devices) lost(names []string) []string {
	all := d.list()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		resource, _, _ := strings.Cut(name, "=")
		return slices.Contains(all[resource], name)
	})
}

// devicesOf are those of the names that are of a resource.
func devicesOf(resource string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, resource+"=") })
}

// An ask is how many devices of one resource a container asks for, and which it has.
type ask struct {
	container string
	kind      kind
	count     int
	has       []string
}

// asksOf gives by resource what each of a pod's containers asks for, in the order in which they start.
func asksOf(containers []*container) map[string][]ask {
	asked := map[string][]ask{}
	for _, c := range containers {
		counts := map[corev1.ResourceName]int64{}
		for _, list := range []corev1.ResourceList{c.spec.Resources.Limits, c.spec.Resources.Requests} {
			for name, q := range list {
				if api.IsExtended(string(name)) && q.Value() > 0 {
					counts[name] = q.Value()
				}
			}
		}
		for name, count := range counts {
			asked[string(name)] = append(asked[string(name)], ask{container: c.spec.Name, kind: c.kind, count: int(count)})
		}
	}
	return asked
}

// share gives devices to those containers of a pod that have none, the lowest first. Those of an init container that is done
// serve the containers after it, so that a pod never has more than the scheduler reckons (api.PodExtended). Devices that are
// busy are other pods'.
func share(asks []ask, all []string, busy map[string]bool) error {
	lasting := func(i int) bool { return asks[i].kind != initContainer }
	order := make([]int, 0, len(asks))
	for _, last := range []bool{true, false} {
		for i := range asks {
			if lasting(i) == last {
				order = append(order, i)
			}
		}
	}
	for _, i := range order {
		if len(asks[i].has) > 0 {
			continue
		}
		own, taken := map[string]bool{}, map[string]bool{}
		for j := range asks {
			for _, name := range asks[j].has {
				own[name] = true
				// Of two containers, the first is still there beside the second unless it is an init container.
				taken[name] = taken[name] || lasting(min(i, j))
			}
		}
		can := func(of bool) []string {
			return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return own[name] != of || taken[name] || busy[name] })
		}
		free := slices.Concat(can(true), can(false))
		if len(free) < asks[i].count {
			return fmt.Errorf("%d asked for, and of the machine's %d only %d are free", asks[i].count, len(all), len(free))
		}
		asks[i].has = free[:asks[i].count:asks[i].count]
	}
	return nil
}

// devicesFor gives a container the devices that it asks for, and writes that down before anything is made with them.
func (p *pod) devicesFor(c *container) ([]string, error) {
	given, err := p.host.devices.give(p.uid, p.containers)
	if err != nil {
		return nil, &stepError{reasonNoDevice, err}
	}
	if !maps.EqualFunc(p.record.Devices, given, slices.Equal) {
		p.record.Devices, p.dirty = given, true
		p.keep()
	}
	names := given[c.spec.Name]
	if lost := p.host.devices.lost(names); len(lost) > 0 {
		return nil, &stepError{reasonNoDevice, fmt.Errorf(
			"%s: this machine has no such device any more, and the container goes on only with what it began with: bring it back, or delete the pod",
			strings.Join(lost, ", "))}
	}
	return names, nil
}

// freeDevices has others get what the pod had.
func (p *pod) freeDevices() {
	if len(p.record.Devices) > 0 {
		p.record.Devices, p.dirty = nil, true
	}
	if p.host.devices.release(p.uid) {
		p.host.retryDevices()
	}
}

// retryDevices has containers that wait for devices try again.
func (a *Agent) retryDevices() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		p.deliver(func(in *inbox) { in.devices = true })
	}
}

// holdDevices notes what all the pods of an inventory have, before any of them moves.
func (a *Agent) holdDevices(inv inventory) {
	for _, uid := range inv.uids {
		a.devices.adopt(uid, recordOf(uid, inv.records[uid], inv.container[uid]).Devices)
	}
}

// watchDevices takes note of devices that come and go, until ctx is done.
func (a *Agent) watchDevices(ctx context.Context) {
	if a.config.Devices == nil {
		return
	}
	a.watch(ctx, "devices", func(ctx context.Context) error {
		return a.config.Devices.Watch(ctx, func() {
			a.news.set()
			a.retryDevices()
		})
	})
}

// info is what the node says of itself now.
func (a *Agent) info() api.NodeInfo {
	info := a.config.Info
	info.Extended = a.devices.extended()
	return info
}
