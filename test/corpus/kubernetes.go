package main

import (
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	appsv1beta2 "k8s.io/api/apps/v1beta2"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	batchv1beta1 "k8s.io/api/batch/v1beta1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	discoveryv1beta1 "k8s.io/api/discovery/v1beta1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	storagev1beta1 "k8s.io/api/storage/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	sigsjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// errUnknownType is a kind, or a version of it, that Kubernetes' types do not have.
var errUnknownType = errors.New("no type of Kubernetes")

// newScheme knows Kubernetes' types of all kinds in scope, old versions too.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(
		corev1.AddToScheme, appsv1.AddToScheme, appsv1beta1.AddToScheme, appsv1beta2.AddToScheme,
		autoscalingv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, batchv1beta1.AddToScheme,
		discoveryv1.AddToScheme, discoveryv1beta1.AddToScheme, extensionsv1beta1.AddToScheme,
		networkingv1.AddToScheme, networkingv1beta1.AddToScheme, policyv1.AddToScheme, policyv1beta1.AddToScheme,
		schedulingv1.AddToScheme, storagev1.AddToScheme, storagev1beta1.AddToScheme,
	)
	if err := builder.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("types of Kubernetes: %w", err)
	}
	return scheme, nil
}

// strict decodes a document as an API server does that is asked to be strict: unknown and doubled fields are errors. A
// kind without a type gives errUnknownType.
func strict(scheme *runtime.Scheme, d document) (runtime.Object, error) {
	text, err := yaml.YAMLToJSONStrict(d.data)
	if err != nil {
		return nil, err
	}
	object, err := scheme.New(schema.FromAPIVersionAndKind(d.APIVersion, d.Kind))
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", d.Kind, d.APIVersion, errUnknownType)
	}
	faults, err := sigsjson.UnmarshalStrict(text, object)
	return object, errors.Join(append(faults, err)...)
}

// tree is an object as maps and lists; numbers keep their text.
func tree(object any) (any, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	return parse(text)
}

func parse(text []byte) (any, error) {
	var out any
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(text, &out); err != nil {
		return nil, err
	}
	return out, nil
}
