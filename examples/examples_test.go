// Package examples_test compiles and plans every example, as the control plane would.
package examples_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"headway.dev/headway/planner"
	"headway.dev/headway/schema"
)

func TestExamples(t *testing.T) {
	dirs, err := filepath.Glob("*/manifests")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	compiler, err := schema.New(schema.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		t.Run(dir, func(t *testing.T) {
			result, err := compiler.Compile(t.Context(), os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range result.Problems {
				t.Error(p)
			}
			rehearsal, err := planner.Rehearse(planner.Input{
				Desired: result.Objects, Prune: result.Complete, ServiceCIDR: "10.96.0.0/16", Now: time.Unix(0, 0),
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(rehearsal.Final.Pods) == 0 {
				t.Error("the example runs no pods")
			}
			for _, p := range rehearsal.Last.Problems {
				t.Error(p)
			}
		})
	}
}
