package planner

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestBindings lets claims and volumes come and go, and pods with them: a volume never has two claims, a claim that has a
// volume never gets another, the order of the input makes no difference, and what nodes hold is enough to find it all again.
func TestBindings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		had := map[api.Ref]string{} // the volume of each claim, ever
		for commit := range rapid.IntRange(1, 5).Draw(t, "commits") {
			var objects []api.Object
			add := func(format string, args ...any) {
				o, err := parseObject(fmt.Sprintf(format, args...))
				if err != nil {
					t.Fatal(err)
				}
				objects = append(objects, o)
			}
			for i := range 5 {
				if rapid.IntRange(0, 3).Draw(t, "declared") > 0 {
					add("volume v%d class=c size=%dGi", i, i/2+1) // a volume stays as it is
				}
				if rapid.Bool().Draw(t, "claimed") {
					add("claim d%d class=c size=%dGi", i, i%3+1)
					add("deployment d%d image=i:%d mounts=d%d replicas=2", i, rapid.IntRange(0, 1).Draw(t, "image"), i)
				}
			}
			w.commit(fmt.Sprintf("c%d", commit), objects)
			for range rapid.IntRange(1, 4).Draw(t, "plans") {
				plan := w.compute()
				shuffled := w.Input
				shuffled.Claims = rapid.Permutation(w.Claims).Draw(t, "claims")
				checkShuffled(t, shuffled, plan)
				w.carryOut(plan)
				for i := range w.Pods {
					if rapid.Bool().Draw(t, "ready") && isLive(&w.Pods[i]) {
						w.ready(&w.Pods[i])
					}
				}
				checkBindings(t, w, had)
				noteVolumes(w)
				w.Pods = slices.DeleteFunc(w.Pods, func(pod Pod) bool { return isStopping(&pod) && rapid.Bool().Draw(t, "gone") })
				if rapid.IntRange(0, 3).Draw(t, "forgotten") == 0 {
					w.Routes, w.Rollouts, w.Templates, w.Deployed = nil, nil, nil, nil
				}
			}
		}
	})
}

// checkBindings holds what pods were given against what there was before. Nothing is approved, so that no binding ends.
func checkBindings(t *rapid.T, w *world, had map[api.Ref]string) {
	claims := map[string]api.Ref{}
	for claim, volume := range had {
		claims[volume] = claim
	}
	for i := range w.Pods {
		for _, v := range w.Pods[i].Volumes {
			claim := claimRef("shop", v.Claim)
			if before, ok := had[claim]; ok && before != v.Volume {
				t.Fatalf("%s had %s, and now has %s", claim, before, v.Volume)
			}
			if before, ok := claims[v.Volume]; ok && before != claim {
				t.Fatalf("%s is of %s and of %s", v.Volume, before, claim)
			}
			had[claim], claims[v.Volume] = v.Volume, claim
		}
	}
}

// noteVolumes has nodes write down the bindings of what they run, which they do before a pod's volumes are there.
func noteVolumes(w *world) {
	for i := range w.Pods {
		pod := &w.Pods[i]
		for _, v := range pod.Volumes {
			ref := claimRef("shop", v.Claim)
			if !slices.ContainsFunc(w.Claims, func(c api.HeldClaim) bool { return c.Ref == ref && c.Node == pod.Node }) {
				w.Claims = append(w.Claims, api.HeldClaim{Claim: api.Claim{Ref: ref, Owner: ref, Volume: v.Volume}, Node: pod.Node, Time: w.Now})
			}
		}
	}
}
