package api

import (
	corev1 "k8s.io/api/core/v1"
)

// QOSClass is the quality of service that a pod of the spec gets, as Kubernetes reckons it from the requests and limits of
// CPU and memory: Guaranteed where every container is bound to what it asks for, BestEffort where none asks for anything,
// and Burstable otherwise. It is what decides who is ended first when memory is short.
func QOSClass(spec *corev1.PodSpec) corev1.PodQOSClass {
	asks, guaranteed := false, true
	weigh := func(r corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit := r.Limits[name]
			request, _ := either(r.Requests, r.Limits, name)
			asks = asks || !request.IsZero()
			guaranteed = guaranteed && !limit.IsZero() && limit.Cmp(request) == 0
		}
	}
	if spec.Resources != nil { // what is said of the pod as a whole goes before what its containers say
		weigh(*spec.Resources)
	} else {
		for i := range spec.InitContainers {
			weigh(spec.InitContainers[i].Resources)
		}
		for i := range spec.Containers {
			weigh(spec.Containers[i].Resources)
		}
	}
	switch {
	case !asks:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
