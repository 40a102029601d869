package main

import (
	"strings"
	"testing"
	"time"

	"headway.dev/headway/api"
)

func TestWhy(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pod, owner := api.PodRef("shop", "front-1"), api.Ref{Kind: "Deployment", Namespace: "shop", Name: "front"}
	d := description{
		Ref: pod,
		Pods: []api.PodStatus{{Phase: api.PodRunning, Placement: api.Placement{
			Node: "one", PodIdentity: api.PodIdentity{Pod: pod, Owner: owner, Slot: 2, Incarnation: 1, Commit: "3f2a91cd0000"},
		}}},
		Events: []api.Event{
			{Time: now.Add(-time.Minute), Kind: "Created", Ref: pod, Reason: "replaces a pod of a lost node", Commit: "3f2a91cd0000"},
			{Time: now, Kind: "Created", Ref: owner, Reason: "another's"},
		},
	}
	c, err := causeOf(d)
	if err != nil {
		t.Fatal(err)
	}
	c.Revision = &api.Revision{Commit: c.Commit, Author: "Ada <ada@shop.example>", Time: now, Message: "Scale the front\n\nIt was slow."}
	var b strings.Builder
	if err := c.print(&b, now); err != nil {
		t.Fatal(err)
	}
	want := `Pod/shop/front-1  Running on one
  commit 3f2a91cd, by Ada <ada@shop.example>, 2026-01-02 03:04:05Z: Scale the front
  replica 2 of Deployment/shop/front, which has been replaced 1 times
  made because: replaces a pod of a lost node

AGE  EVENT    WHAT              COMMIT    REASON
60s  Created  Pod/shop/front-1  3f2a91cd  replaces a pod of a lost node
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	d.Pods = nil
	if _, err := causeOf(d); err == nil {
		t.Error("a pod that no node tells of has a cause")
	}
}
