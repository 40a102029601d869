package evaluator_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"headway.dev/headway/evaluator"
)

// kustomizeBomb is a ladder: each step builds on both halves of the next, which doubles the work.
func kustomizeBomb(steps int) fstest.MapFS {
	tree := fstest.MapFS{"bad/kustomization.yaml": file("resources: [../s0/a, ../s0/b]")}
	for i := range steps {
		for _, half := range []string{"a", "b"} {
			next := fmt.Sprintf("[../../s%[1]d/a, ../../s%[1]d/b]", i+1)
			if i == steps-1 {
				next = "[../../end]"
			}
			tree[fmt.Sprintf("s%d/%s/kustomization.yaml", i, half)] = file(fmt.Sprintf("namePrefix: %s-\nresources: %s", half, next))
		}
	}
	tree["end/kustomization.yaml"] = file("resources: [x.yaml]")
	tree["end/x.yaml"] = file("{apiVersion: v1, kind: ConfigMap, metadata: {name: end}}")
	return tree
}

func cueBomb() fstest.MapFS {
	var b strings.Builder
	b.WriteString("package bad\n_l0: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n")
	for i := range 12 {
		fmt.Fprintf(&b, "_l%d: [for a in _l%d for b in _l0 {a + b}]\n", i+1, i)
	}
	b.WriteString("x: {apiVersion: \"v1\", kind: \"ConfigMap\", metadata: name: \"x\", data: n: \"\\(len(_l12))\"}\n")
	return fstest.MapFS{"bad/x.cue": file(b.String())}
}

// TestBombs evaluates what would never end, or take all memory.
func TestBombs(t *testing.T) {
	const time5, memory5 = "takes more than 5s", "takes more than 400 MiB of memory"
	for name, c := range map[string]struct {
		tree    fstest.MapFS
		options evaluator.Options
		message string
	}{
		"a CUE list that multiplies, by time": {cueBomb(), evaluator.Options{Time: 5 * time.Second, Memory: 8 << 30}, time5},
		"a CUE list without end": {
			fstest.MapFS{"bad/x.cue": file("package bad\nimport \"list\"\nx: {apiVersion: \"v1\", kind: \"ConfigMap\", metadata: name: \"x\", data: {for n in list.Range(0, 1000000000, 1) {\"k\\(n)\": \"v\"}}}\n")},
			evaluator.Options{Time: time.Minute, Memory: 400 << 20},
			memory5,
		},
		"kustomizations that multiply": {kustomizeBomb(24), evaluator.Options{Time: 5 * time.Second, Memory: 8 << 30}, time5},
		"a string that doubles": {
			fstest.MapFS{"bad/x.cue": file("package bad\nimport \"strings\"\nx: {apiVersion: \"v1\", kind: \"ConfigMap\", metadata: name: \"x\", data: s: strings.Repeat(strings.Repeat(\"x\", 1000000), 4000)}\n")},
			evaluator.Options{Time: time.Minute, Memory: 400 << 20},
			memory5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantOnly(t, compile(t, newEvaluator(t, c.options), around(c.tree)), "bad", c.message)
		})
	}
}
