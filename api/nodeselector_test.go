package api_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

func TestMeetsTerm(t *testing.T) {
	labels := map[string]string{"zone": "a", "cores": "8"}
	require := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	name := func(values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: values}}}
	}
	for _, c := range []struct {
		term corev1.NodeSelectorTerm
		want bool
	}{
		{corev1.NodeSelectorTerm{}, false},
		{require("zone", "In", "a", "b"), true},
		{require("zone", "In", "b"), false},
		{require("disk", "In", "ssd"), false},
		{require("zone", "NotIn", "b"), true},
		{require("zone", "NotIn", "a"), false},
		{require("disk", "NotIn", "ssd"), true},
		{require("zone", "Exists"), true},
		{require("disk", "Exists"), false},
		{require("disk", "DoesNotExist"), true},
		{require("zone", "DoesNotExist"), false},
		{require("cores", "Gt", "7"), true},
		{require("cores", "Gt", "8"), false},
		{require("cores", "Lt", "9"), true},
		{require("cores", "Lt", "8"), false},
		{require("zone", "Gt", "7"), false},
		{require("cores", "Gt", "many"), false},
		{require("cores", "Like", "8"), false},
		{name("n1"), true},
		{name("n2"), false},
	} {
		if got := api.MeetsTerm(&c.term, "n1", labels); got != c.want {
			t.Errorf("%+v: %v, want %v", c.term, got, c.want)
		}
	}
}

func TestTolerate(t *testing.T) {
	taint := &corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}
	for _, c := range []struct {
		toleration corev1.Toleration
		want       bool
	}{
		{corev1.Toleration{Key: "gpu", Value: "yes"}, true},
		{corev1.Toleration{Key: "gpu", Value: "no"}, false},
		{corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists}, true},
		{corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}, false},
		{corev1.Toleration{Operator: corev1.TolerationOpExists}, true},
		{corev1.Toleration{}, false},
		{corev1.Toleration{Key: "disk", Operator: corev1.TolerationOpExists}, false},
	} {
		if got := api.Tolerate([]corev1.Toleration{c.toleration}, taint); got != c.want {
			t.Errorf("%+v: %v, want %v", c.toleration, got, c.want)
		}
	}
	if api.Tolerate(nil, taint) {
		t.Error("nothing bears it")
	}
}
