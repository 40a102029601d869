package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// printChanges gives changes as text, one field a line.
func printChanges(changes []ObjectChange) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%s %s\n", c.Kind, c.Ref)
		for _, f := range c.Fields {
			fmt.Fprintf(&b, "  %s\n", f)
		}
	}
	return b.String()
}

func TestDiff(t *testing.T) {
	for _, test := range []struct{ name, from, to, want string }{
		{
			name: "by the name of a list's element",
			from: "spec: {template: {spec: {containers: [{name: a, image: a:1}, {name: b, image: b:1}]}}}",
			to:   "spec: {template: {spec: {containers: [{name: b, image: b:2}, {name: c, image: c:1}]}}}",
			want: `
  spec.template.spec.containers[a] removed (was {"image":"a:1","name":"a","resources":{}})
  spec.template.spec.containers[b].image "b:1" -> "b:2"
  spec.template.spec.containers[c] set to {"image":"c:1","name":"c","resources":{}}`,
		},
		{
			name: "order",
			from: "spec: {template: {spec: {initContainers: [{name: a}, {name: b}]}}}",
			to:   "spec: {template: {spec: {initContainers: [{name: b}, {name: a}]}}}",
			want: `
  spec.template.spec.initContainers order ["a","b"] -> ["b","a"]`,
		},
		{
			name: "by index",
			from: `spec: {template: {spec: {containers: [{name: a, args: ["<x>", v]}]}}}`,
			to:   `spec: {template: {spec: {containers: [{name: a, args: ["<x>", z, w]}]}}}`,
			want: `
  spec.template.spec.containers[a].args[1] "v" -> "z"
  spec.template.spec.containers[a].args[2] set to "w"`,
		},
		{
			name: "keys that are no words",
			from: `metadata: {labels: {app.kubernetes.io/name: a}}`,
			to:   `metadata: {labels: {app.kubernetes.io/name: b}}`,
			want: `
  metadata.labels["app.kubernetes.io/name"] "a" -> "b"`,
		},
		{
			name: "by a key that is not a name, because two mounts share that",
			from: "spec: {template: {spec: {containers: [{name: a, volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b}]}]}}}",
			to:   "spec: {template: {spec: {containers: [{name: a, volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /b}]}]}}}",
			want: `
  spec.template.spec.containers[a].volumeMounts[/b].name "v" -> "w"`,
		},
		{name: "status", from: "status: {replicas: 1}", to: "status: {replicas: 2}"},
		{name: "spelling", from: `spec: {template: {spec: {overhead: {cpu: "1"}}}}`, to: "spec: {template: {spec: {overhead: {cpu: 1000m}}}}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			changes, err := Diff([]api.Object{readDeployment(t, test.from)}, []api.Object{readDeployment(t, test.to)})
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if test.want != "" {
				want = "changed Deployment/" + test.want + "\n"
			}
			if got := printChanges(changes); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestDiffHidesSecrets finds that a secret changed, and nothing of what is in it.
func TestDiffHidesSecrets(t *testing.T) {
	secret := func(value string) []api.Object {
		return []api.Object{{
			Ref: api.Ref{Kind: "Secret", Namespace: "shop", Name: "s"}, Fingerprint: api.Digest("of " + value),
			Value: &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: "s", Annotations: map[string]string{"last": value}},
				Data:       map[string][]byte{"k": []byte(value)}, StringData: map[string]string{"l": value},
			},
		}}
	}
	changes, err := Diff(secret("hunter2"), secret("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	want := `changed Secret/shop/s
  data "(hidden)" -> "(hidden)"
  metadata.annotations.last "(hidden)" -> "(hidden)"
`
	if got := printChanges(changes); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestDiffFindsWhatDiffers compares random revisions: what is in both and equal is not told of, all else is, in order.
func TestDiffFindsWhatDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		revision := func(label string) []api.Object {
			var objects []api.Object
			for _, name := range []string{"a", "b", "c"} {
				if v := rapid.IntRange(0, 2).Draw(t, label+name); v > 0 {
					objects = append(objects, config(name, fmt.Sprint(v)))
				}
			}
			return rapid.Permutation(objects).Draw(t, label)
		}
		from, to := revision("from"), revision("to")
		changes, err := Diff(from, to)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(changes, func(a, b ObjectChange) int { return a.Ref.Compare(b.Ref) }) {
			t.Fatalf("out of order: %v", changes)
		}
		got := map[api.Ref]ChangeKind{}
		for _, c := range changes {
			got[c.Ref] = c.Kind
		}
		value := func(objects []api.Object, name string) (string, api.Ref) {
			for _, o := range objects {
				if o.Ref.Name == name {
					return o.Value.(*corev1.ConfigMap).Data["k"], o.Ref
				}
			}
			return "", api.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}
		}
		for _, name := range []string{"a", "b", "c"} {
			a, ref := value(from, name)
			b, _ := value(to, name)
			want := ObjectChanged
			switch {
			case a == b:
				want = ""
			case a == "":
				want = ObjectAdded
			case b == "":
				want = ObjectRemoved
			}
			if got[ref] != want {
				t.Fatalf("%s: %q, want %q", name, got[ref], want)
			}
		}
	})
}
