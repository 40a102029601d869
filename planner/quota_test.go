package planner

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// TestQuotaOfDevices bounds what pods ask of an extended resource, which is no part of how much service they get.
func TestQuotaOfDevices(t *testing.T) {
	c := corev1.Container{Name: "a"}
	c.Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}
	template := &api.PodTemplate{Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
	q := &quota{used: corev1.ResourceList{}, spec: &corev1.ResourceQuotaSpec{
		Hard:   corev1.ResourceList{"requests.nvidia.com/gpu": resource.MustParse("3"), "requests.ephemeral-storage": resource.MustParse("1")},
		Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort},
	}}
	if !q.covers(template) {
		t.Error("a pod that asks only for a device is not taken for one of best effort")
	}
	cost := costOf(template, api.PodRequests(&template.Spec), api.PodExtended(&template.Spec))
	if over := q.exceeded(cost); over != "" {
		t.Error(over)
	}
	q.take(cost)
	if over, want := q.exceeded(cost), "requests.nvidia.com/gpu: 2 used and 2 asked for, where 3 may be"; over != want {
		t.Errorf("got %q, want %q", over, want)
	}
}
