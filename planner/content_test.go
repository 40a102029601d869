package planner

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

func secret(fingerprint api.Digest) api.Object {
	return api.Object{
		Ref: api.Ref{Kind: "Secret", Namespace: "shop", Name: "db"}, Fingerprint: fingerprint,
		Value: &corev1.Secret{Data: map[string][]byte{"password": []byte("hunter2")}},
	}
}

// TestSecretsInTemplates: a template has the fingerprints of its secrets, wherever its pods use them, and nothing of what
// they hold.
func TestSecretsInTemplates(t *testing.T) {
	ref := corev1.LocalObjectReference{Name: "db"}
	uses := map[string]func(spec *corev1.PodSpec){
		"env d of container c": func(spec *corev1.PodSpec) {
			from := &corev1.SecretKeySelector{LocalObjectReference: ref, Key: "password"}
			spec.Containers[0].Env = []corev1.EnvVar{{Name: "d", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: from}}}
		},
		"envFrom of container c": func(spec *corev1.PodSpec) {
			spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}
		},
		"envFrom of container i": func(spec *corev1.PodSpec) {
			from := []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}
			spec.InitContainers = []corev1.Container{{Name: "i", EnvFrom: from}}
		},
		"volume v": func(spec *corev1.PodSpec) {
			source := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "db"}}
			spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: source}}
		},
		"volume p": func(spec *corev1.PodSpec) {
			sources := []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: ref}}}
			source := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}
			spec.Volumes = []corev1.Volume{{Name: "p", VolumeSource: source}}
		},
	}
	for by, use := range uses {
		d := &appsv1.Deployment{}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c"}}
		use(&d.Spec.Template.Spec)
		o := api.Object{Ref: api.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"}, Value: d}
		if _, err := TemplateOf(o, nil); err == nil || !strings.Contains(err.Error(), "secret shop/db (used by "+by+")") {
			t.Errorf("%s: got %v", by, err)
		}
		first, err := TemplateOf(o, ConfigsOf([]api.Object{secret("f1")}))
		if err != nil || first.Pod.Secrets["db"] != "f1" {
			t.Errorf("%s: got %v, %v", by, first.Pod.Secrets, err)
		}
		for digest, blob := range first.Blobs {
			if strings.Contains(string(blob), "hunter2") || strings.Contains(string(blob), "aHVudGVyMg") {
				t.Errorf("%s: the secret is in blob %s", by, digest.Short())
			}
		}
		second, err := TemplateOf(o, ConfigsOf([]api.Object{secret("f2")}))
		if err != nil || first.Digest == second.Digest {
			t.Errorf("%s: a changed secret is no other template, %v", by, err)
		}
		if got := describe(first.Pod, second.Pod); got != "secret db changed" {
			t.Errorf("%s: the change is called %q", by, got)
		}
	}
}
