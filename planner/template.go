package planner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// A Template is what the pods of a workload run, with the content that it names by digest: itself, and the config maps. Of
// secrets it has only fingerprints.
type Template struct {
	Pod    *api.PodTemplate
	Digest api.Digest
	Blobs  map[api.Digest][]byte
}

// TemplateOf gives the template of a workload. It fails when the object has no pods, or when it uses a config map or secret
// that is not declared and not optional: no pod of such a template could start. The template is then complete but for those.
func TemplateOf(o api.Object, configs Configs) (Template, error) { return templateOf(o, configs, nil) }

// templateOf gives the template with what the limit ranges of its namespace fill in. It fails, too, where they do not allow it.
func templateOf(o api.Object, configs Configs, ranges []limitRange) (Template, error) {
	meta, spec, ok := podsOf(o.Value)
	if !ok {
		return Template{}, fmt.Errorf("%s: a %T has no pods", o.Ref, o.Value)
	}
	spec, outside := limited(spec, ranges)
	t := Template{
		Pod:   &api.PodTemplate{Labels: meta.Labels, Annotations: meta.Annotations, Spec: *spec},
		Blobs: map[api.Digest][]byte{},
	}
	missing, err := t.addContent(o.Ref.Namespace, configs)
	if err != nil {
		return t, fmt.Errorf("%s: %w", o.Ref, err)
	}
	if t.Digest, err = t.add(t.Pod); err != nil {
		return t, fmt.Errorf("%s: template: %w", o.Ref, err)
	}
	if outside != nil {
		return t, outside
	}
	if missing != nil {
		return t, fmt.Errorf("not declared: %s; declare it, or mark its use optional", strings.Join(missing, ", "))
	}
	return t, nil
}

// podsOf gives what a workload's pods are made of, with what its kind adds to each. Only workloads have it.
func podsOf(value runtime.Object) (*metav1.ObjectMeta, *corev1.PodSpec, bool) {
	var t *corev1.PodTemplateSpec
	switch v := value.(type) {
	case *appsv1.Deployment:
		t = &v.Spec.Template
	case *appsv1.ReplicaSet:
		t = &v.Spec.Template
	case *corev1.ReplicationController:
		if t = v.Spec.Template; t == nil {
			return nil, nil, false
		}
	case *appsv1.StatefulSet:
		return &v.Spec.Template.ObjectMeta, statefulSpec(v), true
	case *appsv1.DaemonSet:
		return &v.Spec.Template.ObjectMeta, daemonSpec(v), true
	case *batchv1.Job:
		return &v.Spec.Template.ObjectMeta, jobSpec(&v.Spec), true
	case *batchv1.CronJob:
		job := &v.Spec.JobTemplate.Spec
		return &job.Template.ObjectMeta, jobSpec(job), true
	case *corev1.Pod:
		return podMeta(v), &v.Spec, true
	default:
		return nil, nil, false
	}
	return &t.ObjectMeta, &t.Spec, true
}

// add stores content under its digest. The JSON of a value is canonical: fields come in the order of the type, keys of
// maps sorted, quantities in their shortest form.
func (t *Template) add(content any) (api.Digest, error) {
	digest, data, err := addressed(content)
	if err == nil {
		t.Blobs[digest] = data
	}
	return digest, err
}

// addressed gives content as a blob, and its digest.
func addressed(content any) (api.Digest, []byte, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(data)
	return api.Digest(hex.EncodeToString(sum[:])), data, nil
}
