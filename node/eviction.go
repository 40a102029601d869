package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// A Signal names what a machine's pods share and can use up, in Kubernetes' words.
type Signal string

// The signals, in the order in which they are seen to.
const (
	MemoryAvailable  Signal = "memory.available"
	NodeFSAvailable  Signal = "nodefs.available"  // the disk with the node's own directory: volumes and logs
	ImageFSAvailable Signal = "imagefs.available" // the disk with images and what containers write beside their volumes
)

var signals = []Signal{MemoryAvailable, NodeFSAvailable, ImageFSAvailable}

// condition is what a node is said to have while a signal is low.
func (s Signal) condition() corev1.NodeConditionType {
	if s == MemoryAvailable {
		return corev1.NodeMemoryPressure
	}
	return corev1.NodeDiskPressure
}

// resource is what pods are asked to give back.
func (s Signal) resource() corev1.ResourceName {
	if s == MemoryAvailable {
		return corev1.ResourceMemory
	}
	return corev1.ResourceEphemeralStorage
}

// A Supply is how much there is of something that pods share, and how much of it is left, in bytes.
type Supply struct{ Available, Capacity int64 }

// Supplies is what a machine has.
type Supplies struct {
	Memory, NodeFS, ImageFS Supply
	// OneDisk is set when images lie on the disk with the node's own directory.
	OneDisk bool
}

func (s Supplies) of(signal Signal) Supply {
	switch signal {
	case MemoryAvailable:
		return s.Memory
	case NodeFSAvailable:
		return s.NodeFS
	}
	return s.ImageFS
}

// A SupplyMeter is a runtime that measures what the machine has left.
type SupplyMeter interface {
	// Supplies measures memory, the disk of a directory, and the disk of images.
	Supplies(dir string) (Supplies, error)
}

// An Amount is so many bytes, or a share of all there are.
type Amount struct {
	Bytes int64
	Share float64 // from 0 to 1; it counts where Bytes is 0
}

func (a Amount) of(capacity int64) int64 {
	if a.Bytes > 0 {
		return a.Bytes
	}
	return int64(a.Share * float64(capacity))
}

// An Eviction says when pods have to go because the machine has too little left for the others. The zero value evicts none.
type Eviction struct {
	// Hard is the least that must be left. Below it pods are ended, one after the other, until there is enough again.
	Hard map[Signal]Amount
	// Reclaim is how much more than that has to be left before no more pods are ended.
	Reclaim map[Signal]Amount
	// Transition is how long new pods are kept away after there is enough again; default 5 min.
	Transition time.Duration
}

// ParseAmounts reads thresholds as Kubernetes writes them: memory.available<100Mi,nodefs.available<10%. The separator is < or =.
// An empty text is no threshold.
func ParseAmounts(text, separator string) (map[Signal]Amount, error) {
	amounts := map[Signal]Amount{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, found := strings.Cut(part, separator)
		signal := Signal(strings.TrimSpace(name))
		if !found || !slices.Contains(signals, signal) {
			return nil, fmt.Errorf("%q is no threshold: it takes one of %s, then %s and an amount, such as memory.available%s100Mi", part, knownSignals(), separator, separator)
		}
		if _, twice := amounts[signal]; twice {
			return nil, fmt.Errorf("%s is given twice", signal)
		}
		amount, err := parseAmount(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", signal, err)
		}
		amounts[signal] = amount
	}
	return amounts, nil
}

func knownSignals() string {
	names := make([]string, len(signals))
	for i, s := range signals {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func parseAmount(text string) (Amount, error) {
	if share, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(share, 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return Amount{}, fmt.Errorf("%q is not a share from 0%% to 100%%", text)
		}
		return Amount{Share: percent / 100}, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return Amount{}, fmt.Errorf("%q is neither a quantity such as 100Mi nor a share such as 10%%: %w", text, err)
	}
	if q.Sign() < 0 {
		return Amount{}, errors.New("it cannot be less than nothing")
	}
	return Amount{Bytes: q.Value()}, nil
}

// A shortage is a signal below what must be left.
type shortage struct {
	signal    Signal
	available int64
	threshold int64
}

func (s shortage) String() string {
	return fmt.Sprintf("%s is %s, below %s", s.signal, bytesText(s.available), bytesText(s.threshold))
}

func bytesText(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }

// A strain is what a machine ran short of, up to a time. It is a value: a measurement makes the next one.
type strain struct {
	short     map[Signal]bool // as of the last measurement
	pressures []api.Pressure  // ordered by condition
	last      map[corev1.NodeConditionType]time.Time
}

// measured takes in a measurement. It gives what pods are to be evicted for: what is below its threshold, and what was
// and is not far enough above it yet.
func (s strain) measured(now time.Time, e Eviction, supplies Supplies) (strain, []shortage) {
	next := strain{short: map[Signal]bool{}, last: maps.Clone(s.last)}
	if next.last == nil {
		next.last = map[corev1.NodeConditionType]time.Time{}
	}
	var short []shortage
	first := map[corev1.NodeConditionType]shortage{}
	for _, signal := range signals {
		hard, set := e.Hard[signal]
		supply := supplies.of(signal)
		if !set || supply.Capacity <= 0 {
			continue
		}
		least := hard.of(supply.Capacity)
		if s.short[signal] {
			least += e.Reclaim[signal].of(supply.Capacity)
		}
		if supply.Available >= least {
			continue
		}
		next.short[signal] = true
		short = append(short, shortage{signal, supply.Available, least})
		condition := signal.condition()
		next.last[condition] = now
		if _, noted := first[condition]; !noted {
			first[condition] = short[len(short)-1]
		}
	}
	next.pressures = s.pressuresAt(now, e.transition(), next.last, first)
	return next, short
}

// pressuresAt keeps what began earlier, until it has been over for the transition.
func (s strain) pressuresAt(now time.Time, transition time.Duration, last map[corev1.NodeConditionType]time.Time, first map[corev1.NodeConditionType]shortage) []api.Pressure {
	pressures := slices.DeleteFunc(slices.Clone(s.pressures), func(p api.Pressure) bool {
		return !now.Before(last[p.Condition].Add(transition)) && last[p.Condition] != now
	})
	for condition, why := range first {
		if !slices.ContainsFunc(pressures, func(p api.Pressure) bool { return p.Condition == condition }) {
			pressures = append(pressures, api.Pressure{Condition: condition, Since: now, Message: why.String()})
		}
	}
	slices.SortFunc(pressures, func(a, b api.Pressure) int { return cmp.Compare(a.Condition, b.Condition) })
	return pressures
}

// defaultTransition is Kubernetes' default.
const defaultTransition = 5 * time.Minute

func (e Eviction) transition() time.Duration { return cmp.Or(e.Transition, defaultTransition) }

// check says what is wrong with the thresholds.
func (e Eviction) check() error {
	if e.Transition < 0 {
		return fmt.Errorf("node: Eviction.Transition %v is negative", e.Transition)
	}
	for _, signal := range signals {
		if _, set := e.Reclaim[signal]; set && e.Hard[signal] == (Amount{}) {
			return fmt.Errorf("node: Eviction.Reclaim names %s, for which there is no threshold", signal)
		}
	}
	return nil
}
