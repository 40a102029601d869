package api

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestQOSClass(t *testing.T) {
	for spec, want := range map[string]corev1.PodQOSClass{
		`containers: [{name: a}]`:                                                                                                                      corev1.PodQOSBestEffort,
		`containers: [{name: a, resources: {requests: {cpu: 0}}}]`:                                                                                     corev1.PodQOSBestEffort,
		`containers: [{name: a, resources: {requests: {ephemeral-storage: 1Gi}}}]`:                                                                     corev1.PodQOSBestEffort,
		`containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]`:                                                                          corev1.PodQOSGuaranteed,
		`containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}}]`:                                  corev1.PodQOSGuaranteed,
		`containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1m}}}]`:                                                     corev1.PodQOSBurstable,
		`containers: [{name: a, resources: {limits: {cpu: 1}}}]`:                                                                                       corev1.PodQOSBurstable,
		`containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}, {name: b}]`:                                                               corev1.PodQOSBurstable,
		`{initContainers: [{name: i}], containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}`:                                           corev1.PodQOSBurstable,
		`{resources: {limits: {cpu: 1, memory: 1Gi}}, containers: [{name: a, resources: {requests: {cpu: 1m}}}]}`:                                      corev1.PodQOSGuaranteed,
		`{initContainers: [{name: i, resources: {limits: {cpu: 2, memory: 1}}}], containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}`: corev1.PodQOSGuaranteed,
	} {
		var pod corev1.PodSpec
		if err := yaml.UnmarshalStrict([]byte(spec), &pod); err != nil {
			t.Fatal(err)
		}
		if got := QOSClass(&pod); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
	}
}
