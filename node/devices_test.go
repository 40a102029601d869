package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// plugged is a machine with these devices.
type plugged map[string][]string

func (p plugged) Devices() map[string][]string { return maps.Clone(p) }

func (p plugged) Watch(context.Context, func()) error { return nil }

// TestDevices gives, frees and adopts devices in random histories. No device is ever two pods', nor two containers' that run
// at the same time; a container keeps those it has, over restarts too; a pod has no more than the scheduler reckons; and what
// is free is given.
func TestDevices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		machine := plugged{}
		for r, count := range []int{rapid.IntRange(0, 6).Draw(t, "gpus"), rapid.IntRange(0, 3).Draw(t, "tpus")} {
			for i := range count {
				name := []string{"nvidia.com/gpu", "google.com/tpu"}[r]
				machine[name] = append(machine[name], fmt.Sprintf("%s=%d", name, i))
			}
		}
		counted := map[string]int64{"example.com/licence": 2}
		templates := map[string]*api.PodTemplate{}
		for i := range 6 {
			templates[fmt.Sprint("u", i)] = &api.PodTemplate{Spec: drawSpec(t)}
		}
		d := newDevices(machine, counted)
		records := map[string]map[string][]string{} // what is on disk
		t.Repeat(map[string]func(*rapid.T){
			"give": func(t *rapid.T) {
				uid := fmt.Sprint("u", rapid.IntRange(0, 5).Draw(t, "pod"))
				before := records[uid]
				given, err := d.give(uid, newContainers(templates[uid]))
				if err != nil {
					if lacking(templates[uid], machine, records, uid) == "" {
						t.Fatalf("%s was given nothing, though enough is free: %v", uid, err)
					}
					return
				}
				for c, names := range before {
					if !slices.Equal(given[c], names) {
						t.Fatalf("%s of %s had %v and now has %v", c, uid, names, given[c])
					}
				}
				records[uid] = given
			},
			"free": func(t *rapid.T) {
				uid := fmt.Sprint("u", rapid.IntRange(0, 5).Draw(t, "pod"))
				if had := d.release(uid); had != (len(records[uid]) > 0) {
					t.Fatalf("%s had devices: %v", uid, had)
				}
				delete(records, uid)
			},
			"restart": func(t *rapid.T) {
				d = newDevices(machine, counted)
				for uid, held := range records {
					if rapid.Bool().Draw(t, "without its record") {
						// Only what containers that were made have is known.
						maps.DeleteFunc(held, func(string, []string) bool { return rapid.Bool().Draw(t, "never made") })
					}
					d.adopt(uid, held)
				}
			},
			"": func(t *rapid.T) { checkHeld(t, records, templates) },
		})
	})
}

func drawSpec(t *rapid.T) corev1.PodSpec {
	always := corev1.ContainerRestartPolicyAlways
	draw := func(name string) corev1.Container {
		c := corev1.Container{Name: name}
		c.Resources.Limits = corev1.ResourceList{}
		for _, r := range []corev1.ResourceName{"nvidia.com/gpu", "google.com/tpu", "example.com/licence", corev1.ResourceCPU} {
			if n := rapid.IntRange(-2, 3).Draw(t, string(r)); n >= 0 {
				c.Resources.Limits[r] = *resource.NewQuantity(int64(n), resource.DecimalSI)
			}
		}
		return c
	}
	var spec corev1.PodSpec
	for i := range rapid.IntRange(0, 3).Draw(t, "init containers") {
		c := draw(fmt.Sprint("init", i))
		if rapid.Bool().Draw(t, "sidecar") {
			c.RestartPolicy = &always
		}
		spec.InitContainers = append(spec.InitContainers, c)
	}
	for i := range rapid.IntRange(1, 2).Draw(t, "containers") {
		spec.Containers = append(spec.Containers, draw(fmt.Sprint("main", i)))
	}
	return spec
}

// lacking is a resource of which too little is free for a pod; empty if there is none.
func lacking(template *api.PodTemplate, machine plugged, records map[string]map[string][]string, uid string) string {
	for name, need := range api.PodExtended(&template.Spec) {
		busy := map[string]bool{}
		for other, held := range records {
			for _, names := range held {
				for _, device := range names {
					busy[device] = busy[device] || other != uid
				}
			}
		}
		free := slices.DeleteFunc(slices.Clone(machine[name]), func(device string) bool { return busy[device] })
		if api.IsExtended(name) && name != "example.com/licence" && int64(len(free)) < need {
			return name
		}
	}
	return ""
}

func checkHeld(t *rapid.T, records map[string]map[string][]string, templates map[string]*api.PodTemplate) {
	owner := map[string]string{}
	for uid, held := range records {
		containers := newContainers(templates[uid])
		sum := map[string]int64{}
		mine := map[string]bool{}
		for i, c := range containers {
			for _, name := range held[c.spec.Name] {
				if owner[name] != "" && owner[name] != uid {
					t.Fatalf("%s is given to %s and to %s", name, owner[name], uid)
				}
				owner[name] = uid
				if resource, _, _ := strings.Cut(name, "="); !mine[name] {
					mine[name] = true
					sum[resource]++
				}
				for _, later := range containers[i+1:] {
					if c.kind != initContainer && slices.Contains(held[later.spec.Name], name) {
						t.Fatalf("in %s, %s and %s have %s at the same time", uid, c.spec.Name, later.spec.Name, name)
					}
				}
			}
		}
		for name, n := range sum {
			if most := api.PodExtended(&templates[uid].Spec)[name]; n > most {
				t.Fatalf("%s has %d of %s, and %d is what it is reckoned at", uid, n, name, most)
			}
		}
	}
}

func TestLowestDevicesFirst(t *testing.T) {
	gpu := func(n int64) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": *resource.NewQuantity(n, resource.DecimalSI)}}
	}
	names := []string{"nvidia.com/gpu=2", "nvidia.com/gpu=10", "nvidia.com/gpu=11"}
	d := newDevices(plugged{"nvidia.com/gpu": names}, nil)
	pod := newContainers(&api.PodTemplate{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "warm", Resources: gpu(2)}},
		Containers:     []corev1.Container{{Name: "a", Resources: gpu(1)}, {Name: "b", Resources: gpu(1)}, {Name: "c"}},
	}})
	given, err := d.give("first", pod)
	if want := "map[a:[nvidia.com/gpu=2] b:[nvidia.com/gpu=10] warm:[nvidia.com/gpu=2 nvidia.com/gpu=10]]"; err != nil || fmt.Sprint(given) != want {
		t.Errorf("got %v, %v, want %s", given, err, want)
	}
	_, err = d.give("second", pod)
	if want := "nvidia.com/gpu: 1 asked for, and of the machine's 3 only 0 are free"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
