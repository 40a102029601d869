package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"headway.dev/headway/api"
)

// typed makes a typed object of a manifest, whatever becomes of its kind.
func typed(t *testing.T, manifest string) api.Object {
	t.Helper()
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := c.compileData("a.yaml", []byte(manifest))
	if len(r.objects) != 1 || r.objects[0].value == nil || r.objects[0].faulty {
		t.Fatalf("%s\n%v", manifest, r.problems)
	}
	d := r.objects[0]
	return api.Object{Ref: d.ref, Source: d.source, Value: d.value}
}

func TestImmutable(t *testing.T) {
	const (
		recreated = "changed, but may not: give the object another name, or remove it in one commit and add it in the next"
		job       = "changed, but may not: a job that may have run stays as it is: change its template too, which runs it anew, or give it another name"
	)
	for _, test := range []struct {
		name, manifest string
		change         []string // old, new
		want           []string // field: message
	}{
		{
			"a template", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: a, image: a}]}}}}`,
			[]string{"image: a", "image: b"},
			nil,
		},
		{
			"a selector", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: a, image: a}]}}}}`,
			[]string{"matchLabels: {a: b}", "matchLabels: {c: d}"},
			[]string{"spec.selector: " + recreated},
		},
		{
			"a selector of a DaemonSet", `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b, c: d}}, spec: {containers: [{name: a, image: a}]}}}}`,
			[]string{"matchLabels: {a: b}", "matchLabels: {c: d}"},
			[]string{"spec.selector: " + recreated},
		},
		{
			"a StatefulSet's storage", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: a}, spec: {serviceName: s, replicas: 1, selector: {matchLabels: {a: b}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}], template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a, volumeMounts: [{name: data, mountPath: /d}]}]}}}}`,
			[]string{"storage: 1Gi", "storage: 2Gi", "serviceName: s", "serviceName: t", "replicas: 1", "replicas: 2"},
			[]string{"spec.serviceName: " + recreated, "spec.volumeClaimTemplates: " + recreated},
		},
		{
			"a Job's template", `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {parallelism: 1, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}`,
			[]string{"image: a", "image: b", "parallelism: 1", "parallelism: 2, completions: 2"},
			nil,
		},
		{
			"a Job's completions", `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {completions: 1, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}`,
			[]string{"completions: 1", "completions: 2"},
			[]string{"spec.completions: " + job},
		},
		{
			"an Indexed Job's size", `{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {parallelism: 1, completions: 1, completionMode: Indexed, template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}`,
			[]string{"parallelism: 1", "parallelism: 3", "completions: 1", "completions: 3"},
			nil,
		},
		{
			"a claim that grows", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`,
			[]string{"1Gi", "2Gi"},
			nil,
		},
		{
			"a claim that shrinks", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}}`,
			[]string{"2Gi", "1Gi", "ReadWriteOnce", "ReadWriteMany"},
			[]string{
				"spec.resources.requests.storage: changed from 2Gi to 1Gi, but may not: a claim can only grow",
				"spec: changed, but may not: of a claim, only resources.requests.storage may grow; make another claim for anything else",
			},
		},
		{
			"a Service's address", `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80}]}}`,
			[]string{"10.0.0.1", "10.0.0.2"},
			[]string{`spec.clusterIP: changed from "10.0.0.1" to "10.0.0.2", but may not: give the object another name, or remove it in one commit and add it in the next`},
		},
		{
			"a Service's address that is left out", `{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80}]}}`,
			[]string{"clusterIP: 10.0.0.1, ", ""},
			nil,
		},
		{
			"a class of storage", `{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: a}, provisioner: local}`,
			[]string{"provisioner: local", "provisioner: other, reclaimPolicy: Retain"},
			[]string{"provisioner: " + recreated, "reclaimPolicy: " + recreated},
		},
		{
			"a secret's type", `{apiVersion: v1, kind: Secret, metadata: {name: a}, type: Opaque, data: {username: eA==}}`,
			[]string{"Opaque", "kubernetes.io/basic-auth", "eA==", "eQ=="},
			[]string{"type: " + recreated},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			earlier := typed(t, test.manifest)
			if p := Immutable(earlier, earlier); len(p) > 0 {
				t.Errorf("nothing changed, but %v", p)
			}
			var got []string
			for _, p := range Immutable(earlier, typed(t, strings.NewReplacer(test.change...).Replace(test.manifest))) {
				got = append(got, p.Field+": "+p.Message)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAfter(t *testing.T) {
	config := func(name, value string) api.Object {
		return typed(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {a: %s}}`, name, value))
	}
	service := func(address string) api.Object {
		return typed(t, fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: %s, selector: {a: b}, ports: [{port: 80}]}}`, address))
	}
	earlier := []api.Object{config("a", "b"), config("gone", "b"), service("10.0.0.1")}

	good := &Result{Objects: []api.Object{config("a", "c"), config("new", "b"), service("10.0.0.1")}, Complete: true}
	if got := good.After(earlier); got != good {
		t.Errorf("a result without a fault became %v", got)
	}
	bad := &Result{Objects: []api.Object{config("a", "c"), service("10.0.0.2")}, Complete: true}
	got := bad.After(earlier)
	if len(got.Objects) != 1 || got.Objects[0].Ref.Name != "a" || got.Complete || len(got.Problems) != 1 || got.Problems[0].Ref != earlier[2].Ref {
		t.Errorf("the service should be a problem and no object: %v", got)
	}
	if len(bad.Objects) != 2 || !bad.Complete {
		t.Error("the result itself was changed")
	}
	if again := bad.After(earlier[:1]); again != bad {
		t.Errorf("an object that is new has nothing to be held to: %v", again.Problems)
	}
}
