package main

import (
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
)

// TestDescribeUnseen describes what no node has: a pod that a commit declares wrongly, and one that fits nowhere.
func TestDescribeUnseen(t *testing.T) {
	refused, homeless := api.PodRef("shop", "refused"), api.PodRef("shop", "homeless")
	report := api.Report{
		Refused: []api.Problem{
			{Ref: refused, Source: api.Position{File: "pod.yaml", Line: 3, Column: 5}, Field: "spec.image", Message: "it is none"},
			{Ref: refused, Field: "spec.more", Message: "it has no effect", Warning: true},
			{Ref: api.Ref{Kind: "Service", Namespace: "shop", Name: "refused"}, Message: "another's"},
		},
		Pending: []api.PendingPod{{Pod: homeless, Owner: homeless, Reason: "no node has room"}},
	}
	seen := []row{{ref: api.PodRef("shop", "seen")}}
	var b strings.Builder
	for _, r := range unseen(seen, &report, "Pod") {
		d := description{Ref: r.ref}
		d.fromReport(report)
		if _, err := causeOf(d); err == nil || !strings.HasPrefix(err.Error(), "no node has the pod: ") {
			t.Errorf("why %s: %v", r.ref, err)
		}
		if err := d.print(&b, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Join([]string{
		"Pod/shop/homeless",
		"",
		"Pod/shop/homeless  Pending: no node has room",
		"Pod/shop/refused",
		"  Refused: pod.yaml:3:5: Pod/shop/refused: spec.image: it is none",
		"  Warning: Pod/shop/refused: spec.more: it has no effect",
		"",
	}, "\n")
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
	if len(unseen(seen, nil, "Pod")) > 0 {
		t.Error("without a report there is something")
	}
}
