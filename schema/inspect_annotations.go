package schema

import (
	"regexp"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// atomicAnnotation names the group of a workload that is promoted as a whole.
const atomicAnnotation = "headway.dev/atomic"

var groupName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// annotations checks those by which an author says how an object's commits are carried out.
func (i *inspection) annotations(object runtime.Object) {
	m, err := meta.Accessor(object)
	if err != nil {
		return
	}
	i.rollout(object, m.GetAnnotations())
	if group, ok := m.GetAnnotations()[atomicAnnotation]; ok {
		i.atomic([]any{"metadata", "annotations", atomicAnnotation}, group, object)
	}
}

func (i *inspection) atomic(at []any, group string, object runtime.Object) {
	if !groupName.MatchString(group) {
		i.fail(at, "%q is no name of a group: write a DNS label, such as shop", group)
		return
	}
	if _, hasPods := podLabels(object); !hasPods {
		i.warn(at, "has no effect: a %s has no pods to promote", i.ref.Kind)
	}
}

// rollout checks what a Deployment says of changing its template in steps.
func (i *inspection) rollout(object runtime.Object, annotations map[string]string) {
	at := func(name string) []any { return []any{"metadata", "annotations", name} }
	steps, stepped := annotations[api.RolloutAnnotation]
	promotion, promoted := annotations[api.PromoteAnnotation]
	d, isDeployment := object.(*appsv1.Deployment)
	for name, there := range map[string]bool{api.RolloutAnnotation: stepped, api.PromoteAnnotation: promoted} {
		if there && !isDeployment {
			i.fail(at(name), "is for Deployments: a %s has no rollout in steps", i.ref.Kind)
		}
	}
	if !isDeployment {
		return
	}
	var canary api.Canary
	if stepped {
		var err error
		if canary, err = api.ParseCanary(steps); err != nil {
			i.fail(at(api.RolloutAnnotation), "%v", err)
		} else if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			i.fail(at(api.RolloutAnnotation), "has no steps with the strategy Recreate, which has no old pods beside the new ones: take RollingUpdate")
		}
	}
	if !promoted {
		return
	}
	p, err := api.ParsePromotion(promotion)
	switch {
	case err != nil:
		i.fail(at(api.PromoteAnnotation), "%v", err)
	case !stepped:
		i.warn(at(api.PromoteAnnotation), "has no effect: there is no %s to promote", api.RolloutAnnotation)
	case len(canary.Steps) > 0 && p.Step > len(canary.Steps):
		i.fail(at(api.PromoteAnnotation), "step %d is more than the %d of %s", p.Step, len(canary.Steps), api.RolloutAnnotation)
	}
}
