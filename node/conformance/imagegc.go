package conformance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// ImageGCCases are what is asked of an agent about the room that images take. They need a machine with AddImage.
func ImageGCCases() []PodCase {
	var cases []PodCase
	for _, c := range []struct {
		name string
		test func(*stage, *crowdedDisk)
	}{
		{"ImageGCNoEviction should remove unused images and evict no pod", imagesNotPods},
		{"ImageGarbageCollect should remove unused images when their disk fills up", imagesByDisk},
		{"ImageGarbageCollect should never remove an image that a pod uses", imagesInUse},
	} {
		cases = append(cases, PodCase{Name: c.name, Test: func(t testing.TB, m Machine) {
			d := &crowdedDisk{Runtime: m.Config.Runtime}
			m.Config.Runtime = d
			c.test(newStage(t, m), d)
		}})
	}
	return cases
}

// A crowdedDisk is a runtime that says how full the disk of images is: half, or 90 per cent.
type crowdedDisk struct {
	node.Runtime
	full atomic.Pointer[func() bool] // nil is never
}

func (d *crowdedDisk) Supplies(string) (node.Supplies, error) {
	left := int64(50 << 20)
	if full := d.full.Load(); full != nil && (*full)() {
		left = 10 << 20
	}
	half := node.Supply{Available: 50 << 20, Capacity: 100 << 20}
	return node.Supplies{Memory: half, NodeFS: half, ImageFS: node.Supply{Available: left, Capacity: 100 << 20}}, nil
}

// fill has the disk be full as long as a condition holds.
func (d *crowdedDisk) fill(while func() bool) { d.full.Store(&while) }

// ContainerUsage has every container hold something on disk, so that each might be evicted for it.
func (d *crowdedDisk) ContainerUsage(context.Context, string) (int64, error) { return 1 << 20, nil }

// collects has the agent remove images that were not used for a moment, so often.
func (s *stage) collects(every time.Duration) {
	s.config.ImageGC = node.ImageGC{High: 85, Low: 80, MinAge: time.Millisecond, Every: every}
	s.start()
}

// stored are the names of the images on the machine.
func (s *stage) stored() []string {
	s.Helper()
	store, ok := s.config.Images.(node.ImageStore)
	if !ok {
		s.Error("the machine's images cannot be removed")
		return nil
	}
	// The agent asks too, as long as it runs, which is longer than the test's own context.
	all, err := store.TakeStock(context.Background(), nil)
	if err != nil {
		s.Errorf("take stock: %v", err)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Names...)
	}
	return names
}

func (s *stage) has(image string) bool {
	s.Helper()
	return slices.Contains(s.stored(), image)
}

// sleepsOn is a pod of an image that sleeps.
func sleepsOn(image string) string { return strings.ReplaceAll(sleeper, "IMAGE", image) }

func imagesNotPods(s *stage, d *crowdedDisk) {
	used, spare := s.machine.AddImage(s.TB), s.machine.AddImage(s.TB)
	uid := s.run("quiet", sleepsOn(used))
	s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	s.config.Eviction = node.Eviction{Hard: map[node.Signal]node.Amount{node.ImageFSAvailable: {Share: 0.15}}, Transition: time.Second}
	d.fill(func() bool { return s.has(spare) })
	s.collects(time.Hour)
	s.until("the unused image is gone", func() bool { return !s.has(spare) })
	s.until("the disk's pressure is over", func() bool { return len(s.bus.pressures()) == 0 })
	if p, _ := s.bus.pod(uid); !p.Ready || container(p, "main").Restarts != 0 || !s.has(used) {
		s.Errorf("the pod is %+v; images are %q", p, s.stored())
	}
	if !strings.Contains(s.bus.reasons("ImagesRemoved"), spare) {
		s.Errorf("of its removal it is told %q", s.bus.reasons("ImagesRemoved"))
	}
	if got := s.bus.reasons("Evicted"); got != "" {
		s.Errorf("evicted: %s", got)
	}
}

func imagesByDisk(s *stage, d *crowdedDisk) {
	used, first, second := s.machine.AddImage(s.TB), s.machine.AddImage(s.TB), s.machine.AddImage(s.TB)
	uid := s.run("quiet", sleepsOn(used))
	s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	s.collects(100 * time.Millisecond)
	if !s.has(first) || !s.has(second) {
		s.Errorf("with room enough there are %q", s.stored())
	}
	d.fill(func() bool { return s.has(first) })
	s.until("the first is gone", func() bool { return !s.has(first) })
	if !s.has(used) {
		s.Errorf("left are %q", s.stored())
	}
}

// imagesInUse has the disk always be full, the daemon restart, and pods come whose images are removed again and again.
func imagesInUse(s *stage, d *crowdedDisk) {
	runs, stopped := s.machine.AddImage(s.TB), s.machine.AddImage(s.TB)
	uid := s.run("runs", sleepsOn(runs))
	s.comes(uid, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
	again := s.run("again", fmt.Sprintf(`
containers:
- {name: main, image: %s, command: [/bin/sh, -c, "exit 1"]}`, stopped))
	s.comes(again, "it waits for its next run", func(p api.PodStatus) bool { return container(p, "main").Restarts > 0 })
	d.fill(func() bool { return true })
	s.collects(5 * time.Millisecond)
	s.until("there is nothing more to remove", func() bool { return strings.Contains(s.bus.reasons("FreeDiskSpaceFailed"), "90%") })
	for round := range 3 {
		image := s.machine.AddImage(s.TB)
		late := s.run(fmt.Sprint("late-", round), sleepsOn(image))
		s.comes(late, "the pod is ready", func(p api.PodStatus) bool { return p.Ready })
		s.start()
		for _, name := range []string{runs, stopped, image} {
			if !s.has(name) {
				s.Fatalf("in round %d of %q only these are left: %q", round, name, s.stored())
			}
		}
	}
	if p, _ := s.bus.pod(uid); !p.Ready || container(p, "main").Restarts != 0 {
		s.Errorf("the pod is %+v", p)
	}
}
