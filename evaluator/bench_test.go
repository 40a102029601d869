package evaluator_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"headway.dev/headway/evaluator"
	"headway.dev/headway/schema"
)

// BenchmarkOneChanged compiles a tree of 200 CUE packages or kustomizations of which one has changed, in this process and
// with a child that is warm.
func BenchmarkOneChanged(b *testing.B) {
	const count = 200
	for _, language := range []string{"cue", "kustomize"} {
		for _, where := range []string{"in process", "in a child"} {
			b.Run(language+" "+where, func(b *testing.B) {
				var e schema.Evaluator
				if where == "in a child" {
					e = newEvaluator(b, evaluator.Options{})
				}
				c, err := schema.New(schema.Options{Evaluator: e})
				if err != nil {
					b.Fatal(err)
				}
				tree := keyedTree{fstest.MapFS{}}
				for i := range count {
					tree.write(language, fmt.Sprintf("p%03d", i), 0)
				}
				for round := 0; b.Loop(); round++ {
					b.StopTimer()
					tree.write(language, "p100", round)
					b.StartTimer()
					r, err := c.Compile(b.Context(), tree)
					if err != nil || !r.Complete || len(r.Objects) != count {
						b.Fatal(err, r.Problems)
					}
				}
			})
		}
	}
}

// write makes a package or kustomization whose object tells the round.
func (k keyedTree) write(language, name string, round int) {
	if language == "cue" {
		k.MapFS[name+"/x.cue"] = file(fmt.Sprintf("package x\nx: {apiVersion: \"v1\", kind: \"ConfigMap\", metadata: name: %q, data: round: \"%d\"}\n", name, round))
		return
	}
	k.MapFS[name+"/kustomization.yaml"] = file("resources: [x.yaml]\nnamePrefix: x-\n")
	k.MapFS[name+"/x.yaml"] = file(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {round: \"%d\"}}\n", name, round))
}
