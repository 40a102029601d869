package schema

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestOrderFollowsTheTree changes parts at random: what is sorted step by step is what is sorted anew.
func TestOrderFollowsTheTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o order
		var parts []*fileResult
		files := 0
		draw := func() *fileResult {
			files++
			r := &fileResult{}
			for i := range rapid.IntRange(0, 3).Draw(t, "objects") {
				name := rapid.SampledFrom([]string{"a", "b", "c", "d", unnamed}).Draw(t, "name")
				r.objects = append(r.objects, &declared{
					ref:    api.Ref{Kind: "ConfigMap", Namespace: "default", Name: name},
					source: api.Position{File: fmt.Sprint(files), Line: i + 1},
				})
			}
			return r
		}
		for range rapid.IntRange(1, 5).Draw(t, "trees") {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				switch at := rapid.IntRange(0, len(parts)).Draw(t, "at"); {
				case at == len(parts):
					parts = append(parts, draw())
				case rapid.Bool().Draw(t, "remove"):
					parts = slices.Delete(slices.Clone(parts), at, at+1)
				default:
					parts = slices.Clone(parts)
					parts[at] = draw()
				}
			}
			got, want := o.sorted(parts), (&order{}).sorted(parts)
			if !slices.Equal(got, want) {
				t.Fatalf("sorted step by step:\n%v\nanew:\n%v", refs(got), refs(want))
			}
			if !slices.IsSortedFunc(got, compareDeclared) {
				t.Fatalf("not sorted: %v", refs(got))
			}
		}
	})
}

func refs(objects []*declared) (out []string) {
	for _, d := range objects {
		out = append(out, d.ref.String()+"@"+d.source.String())
	}
	return out
}
