package api

import (
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// newScheme knows the Go type of every kind that an Object can hold.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, networkingv1.AddToScheme, discoveryv1.AddToScheme,
		autoscalingv2.AddToScheme, policyv1.AddToScheme, storagev1.AddToScheme, schedulingv1.AddToScheme, addCluster,
	)
	return scheme, builder.AddToScheme(scheme)
}

// DecodeTemplate reads a template, as its blob holds it.
func DecodeTemplate(data []byte) (*PodTemplate, error) {
	t := new(PodTemplate)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("pod template: %w", err)
	}
	return t, nil
}

// DecodeObjects reads a JSON array of objects, as a report's blob holds it.
func DecodeObjects(data []byte) ([]Object, error) {
	var raw []struct {
		Ref    Ref             `json:"ref"`
		Source Position        `json:"source"`
		Value  json.RawMessage `json:"value"`

		Fingerprint Digest `json:"fingerprint"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("objects: %w", err)
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	objects := make([]Object, len(raw))
	for i, r := range raw {
		var meta metav1.TypeMeta
		if err := json.Unmarshal(r.Value, &meta); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Ref, err)
		}
		value, err := scheme.New(schema.FromAPIVersionAndKind(meta.APIVersion, meta.Kind))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Ref, err)
		}
		if err := json.Unmarshal(r.Value, value); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Ref, err)
		}
		objects[i] = Object{Ref: r.Ref, Source: r.Source, Value: value, Fingerprint: r.Fingerprint}
	}
	return objects, nil
}
