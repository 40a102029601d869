package cdi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"

	"headway.dev/headway/api"
)

// Options say where specifications are.
type Options struct {
	// Dirs hold the specifications (*.json, *.yaml). Of a device that several name, the last counts. They need not be there.
	Dirs   []string
	Logger *slog.Logger // default: none
}

// Devices are the machine's, as its specifications have them now.
type Devices struct {
	dirs  []string
	log   *slog.Logger
	cache *cdi.Cache

	mu    sync.Mutex
	wrong string // what was wrong with the specifications when they were read last
}

// Open makes the devices known. It reads nothing yet.
func Open(options Options) (*Devices, error) {
	log := options.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(options.Dirs...), cdi.WithAutoRefresh(false))
	if err != nil {
		return nil, fmt.Errorf("cdi: %w", err)
	}
	return &Devices{dirs: cache.GetSpecDirectories(), log: log, cache: cache}, nil
}

// Devices gives the devices by the resource that each is one of: the vendor and class of its specification. They are
// ordered by name, numbers by their value.
func (d *Devices) Devices() map[string][]string {
	d.refresh()
	byResource := map[string][]*cdi.Device{}
	for _, name := range d.cache.ListDevices() {
		device := d.cache.GetDevice(name)
		if device == nil {
			continue // it has just gone
		}
		resource, _, _ := strings.Cut(name, "=")
		byResource[resource] = append(byResource[resource], device)
	}
	all := map[string][]string{}
	for resource, devices := range byResource {
		if api.IsExtended(resource) {
			all[resource] = distinct(devices)
		}
	}
	return all
}

// refresh reads the specifications, and tells what is newly wrong with them.
func (d *Devices) refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var wrong []string
	if err := d.cache.Refresh(); err != nil {
		errs := d.cache.GetErrors()
		for _, path := range slices.Sorted(maps.Keys(errs)) {
			for _, err := range errs[path] {
				wrong = append(wrong, fmt.Sprintf("%s: %v", path, err))
			}
		}
	}
	if all := strings.Join(wrong, "; "); all != d.wrong {
		if d.wrong = all; all != "" {
			d.log.Warn("some device specifications cannot be used: what only they name is no device", "error", all)
		}
	}
}

// everything is what vendors call all devices of a kind together.
const everything = "all"

// distinct gives the qualified names of the devices of one kind: the lowest of those that are one device under several
// names. The one that stands for all of them is none, unless it is the only one.
func distinct(devices []*cdi.Device) []string {
	slices.SortFunc(devices, func(a, b *cdi.Device) int { return compareNames(a.Name, b.Name) })
	if len(devices) > 1 {
		devices = slices.DeleteFunc(devices, func(d *cdi.Device) bool { return d.Name == everything })
	}
	seen := map[string]bool{}
	var names []string
	for _, device := range devices {
		if edits := editsOf(device); !seen[edits] {
			seen[edits] = true
			names = append(names, device.GetQualifiedName())
		}
	}
	return names
}

// editsOf is what having the device changes of a container, the same for the same changes in another order.
func editsOf(device *cdi.Device) string {
	edits := device.ContainerEdits
	lists := [][]string{slices.Clone(edits.Env), written(edits.DeviceNodes), written(edits.Mounts), written(edits.NetDevices)}
	for _, list := range lists {
		slices.Sort(list)
	}
	// Hooks run in their order.
	return strings.Join(written([]any{lists, edits.Hooks, edits.IntelRdt, edits.AdditionalGIDs}), "\n")
}

// written gives each element as JSON. Those of specifications were read from it.
func written[T any](elements []T) []string {
	texts := make([]string, 0, len(elements))
	for _, e := range elements {
		text, err := json.Marshal(e)
		if err != nil {
			text = fmt.Appendf(nil, "%#v", e)
		}
		texts = append(texts, string(text))
	}
	return texts
}

// compareNames orders names as people do: 2 comes before 10.
func compareNames(a, b string) int {
	for a != "" && b != "" {
		headA, restA := chunk(a)
		headB, restB := chunk(b)
		order := cmp.Compare(headA, headB)
		if isDigit(headA[0]) && isDigit(headB[0]) {
			numberA, numberB := strings.TrimLeft(headA, "0"), strings.TrimLeft(headB, "0")
			order = cmp.Or(cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB), order)
		}
		if order != 0 {
			return order
		}
		a, b = restA, restB
	}
	return cmp.Compare(len(a), len(b))
}

// chunk cuts a name after its first run of digits, or of anything else.
func chunk(name string) (head, rest string) {
	end := strings.IndexFunc(name, func(r rune) bool { return isDigit(byte(r)) != isDigit(name[0]) })
	if end < 0 {
		end = len(name)
	}
	return name[:end], name[end:]
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// Inject edits the specification of a container for the devices that it is to have.
func (d *Devices) Inject(spec *specs.Spec, devices []string) error {
	for _, name := range devices {
		if !parser.IsQualifiedName(name) {
			return fmt.Errorf("cdi: %q is not the name of a device: that has the form vendor/class=name", name)
		}
	}
	d.refresh()
	if unknown, err := d.cache.InjectDevices(spec, devices...); len(unknown) > 0 {
		return fmt.Errorf("cdi: %s: no specification in %s has such a device", strings.Join(unknown, ", "), strings.Join(d.dirs, " or "))
	} else if err != nil {
		return fmt.Errorf("cdi: give the container %s: %w", strings.Join(devices, ", "), err)
	}
	return nil
}
