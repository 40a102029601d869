package schema

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// TestPriorities looks at what the pods of a workload come to have, and at the classes around it.
func TestPriorities(t *testing.T) {
	const (
		classes = `
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}, value: 100, preemptionPolicy: Never}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: low}, value: -5}
---
`
		defaults = `
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: usual}, value: 7, globalDefault: true}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: more}, value: 8, globalDefault: true}
---
`
	)
	for _, test := range []struct{ name, classes, spec, want string }{
		{"none", classes, ``, "no class"},
		{"a class", classes, `priorityClassName: high,`, "high 100 Never"},
		{"a class below the rest", classes, `priorityClassName: low,`, "low -5 PreemptLowerPriority"},
		{"a class of the system", classes, `priorityClassName: system-node-critical,`, "system-node-critical 2000001000 PreemptLowerPriority"},
		{"the value too", classes, `priorityClassName: high, priority: 100, preemptionPolicy: Never,`, "high 100 Never"},
		{"another value", classes, `priorityClassName: high, priority: 99,`, "99 is not the value of PriorityClass high, 100: remove it"},
		{"another policy", classes, `priorityClassName: high, preemptionPolicy: PreemptLowerPriority,`, "PreemptLowerPriority is not that of PriorityClass high, Never: remove it"},
		{"a value alone", classes, `priority: 100,`, "100 is not the pod's priority, which its class gives: write a priorityClassName"},
		{"the default", classes + defaults, ``, "usual 7 PreemptLowerPriority"},
		{"a class in spite of the default", classes + defaults, `priorityClassName: high,`, "high 100 Never"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := New(Options{})
			if err != nil {
				t.Fatal(err)
			}
			template := fmt.Sprintf(`{metadata: {labels: {a: b}}, spec: {%s RESTART containers: [{name: a, image: a}]}}`, test.spec)
			always, never := strings.ReplaceAll(template, "RESTART", ""), strings.ReplaceAll(template, "RESTART", "restartPolicy: Never,")
			r := c.compileData("a.yaml", fmt.Appendf(nil, test.classes+`
{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, template: %s}}
---
{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s}, spec: {serviceName: s, selector: {matchLabels: {a: b}}, template: %[1]s}}
---
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d}, spec: {selector: {matchLabels: {a: b}}, template: %[1]s}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: r}, spec: {selector: {matchLabels: {a: b}}, template: %[1]s}}
---
{apiVersion: v1, kind: ReplicationController, metadata: {name: r}, spec: {selector: {a: b}, template: %[1]s}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {template: %[2]s}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: j}, spec: {schedule: "@daily", jobTemplate: {spec: {template: %[2]s}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {%[3]s containers: [{name: a, image: a}]}}
`, always, never, test.spec))
			before := map[api.Ref]*corev1.PodSpec{}
			for _, d := range r.objects {
				d.refused = false // whether the kind is run yet is another matter
				if spec := podSpecOf(d.value); spec != nil {
					before[d.ref] = spec.DeepCopy()
				}
			}
			if len(before) != 8 {
				t.Fatalf("there should be 8 workloads, but are %d: %v", len(before), r.problems)
			}
			l := &linker{open: map[string]bool{}}
			l.identities((&order{}).sorted([]*fileResult{r}))
			l.priorities()

			told := map[api.Ref]string{}
			for _, p := range l.problems {
				told[p.Ref] = p.Message
			}
			for ref := range before {
				d := l.find(ref)
				got := told[ref]
				if spec := podSpecOf(d.value); got == "" && spec.Priority == nil {
					got = "no class"
				} else if got == "" {
					got = fmt.Sprint(spec.PriorityClassName, " ", *spec.Priority, " ", *spec.PreemptionPolicy)
				}
				if got != test.want || d.faulty != (told[ref] != "") {
					t.Errorf("%s: got %q, want %q", ref, got, test.want)
				}
			}
			for _, d := range r.objects {
				if spec := podSpecOf(d.value); spec != nil && fmt.Sprint(spec) != fmt.Sprint(before[d.ref]) {
					t.Errorf("%s: what the file holds was changed, which other trees share", d.ref)
				}
			}
		})
	}
}
