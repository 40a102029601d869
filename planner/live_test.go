package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestChangesInPlace: a change of what only the files of a live template have makes and stops no pod, and reaches every pod
// that has it; any other change of what a template uses rolls its pods. A revert gives the pods of before what they had.
func TestChangesInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		var workloads []string
		inPlace := map[string]bool{}
		for i := range rapid.IntRange(1, 4).Draw(t, "workloads") {
			use := rapid.SampledFrom([]string{
				"files=settings", "optionalFiles=settings", "secretFiles=key", "config=settings",
				"files=settings config=settings", "files=settings part=files", "secretFiles=key part=secretFiles", "",
			}).Draw(t, "use")
			live := rapid.Bool().Draw(t, "live")
			name := fmt.Sprintf("w%d", i)
			line := fmt.Sprintf("deployment %s image=i:1 replicas=%d %s", name, rapid.IntRange(1, 3).Draw(t, "replicas"), use)
			if live {
				line += " live"
			}
			workloads = append(workloads, line)
			inPlace[name] = live && !strings.Contains(use, "config=") && !strings.Contains(use, "part=") || use == ""
		}
		commit := func(name, settings, key string) {
			var objects []api.Object
			for _, line := range append(slices.Clone(workloads), "configmap settings n="+settings, "secret key print="+key) {
				o, err := parseObject(line)
				if err != nil {
					t.Fatal(err)
				}
				objects = append(objects, o)
			}
			w.commit(name, objects)
		}
		settle := func() {
			if _, err := w.settle(); err != nil {
				t.Fatal(err)
			}
		}
		commit("c1", "1", "a")
		settle()
		before := slices.Clone(w.Pods)

		commit("c2", "2", "b")
		if rapid.Bool().Draw(t, "forgets") { // what a new controller does not know must make no difference
			w.Templates, w.Rollouts, w.Deployed = nil, nil, nil
		}
		plan := w.compute()
		checkPlan(t, w.Input, plan)
		rolled := map[string]bool{}
		for _, a := range plan.Actions {
			rolled[a.Pod.Owner.Name] = true
		}
		updated := map[string]bool{}
		for _, u := range plan.Updates {
			updated[u.Pod.UID] = true
		}
		for _, pod := range before {
			name := pod.Owner.Name
			if rolled[name] == inPlace[name] {
				t.Fatalf("%s is rolled: %v, and changes in place: %v\n%v", name, rolled[name], inPlace[name], workloads)
			}
			if has := pod.Live != nil; updated[pod.UID] != has {
				t.Fatalf("%s is updated: %v, and has what changed: %v", pod.Pod, updated[pod.UID], has)
			}
		}

		settle()
		commit("c3", "1", "a")
		settle()
		for _, pod := range before {
			i := slices.IndexFunc(w.Pods, func(p Pod) bool { return p.Owner == pod.Owner && p.Slot == pod.Slot })
			if i < 0 || w.Pods[i].Template != pod.Template || !w.Pods[i].Live.Same(pod.Live) {
				t.Fatalf("%s has not come back", pod.Pod)
			}
		}
	})
}
