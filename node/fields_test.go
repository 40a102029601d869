package node

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestResourceField(t *testing.T) {
	s := testSurroundings()
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	s.allocatable = list("4", "8Gi")
	s.template.Spec.Containers = []corev1.Container{
		{Name: "web", Resources: corev1.ResourceRequirements{Requests: list("250m", "64Mi"), Limits: list("1500m", "100Mi")}},
		{Name: "free"},
		{Name: "limited", Resources: corev1.ResourceRequirements{Limits: list("2", "1Gi")}},
	}
	s.template.Spec.InitContainers = []corev1.Container{{Name: "init", Resources: corev1.ResourceRequirements{Limits: list("3", "3Gi")}}}
	for _, c := range []struct{ container, resource, divisor, want string }{
		{"", "limits.cpu", "", "2"},
		{"", "limits.cpu", "1m", "1500"},
		{"", "requests.cpu", "", "1"},
		{"", "requests.cpu", "1m", "250"},
		{"", "limits.memory", "", "104857600"},
		{"", "limits.memory", "1Mi", "100"},
		{"", "requests.memory", "1Gi", "1"},
		{"free", "limits.cpu", "", "4"},
		{"free", "limits.memory", "1Gi", "8"},
		{"free", "requests.memory", "", "0"},
		{"limited", "requests.cpu", "", "2"},
		{"init", "limits.cpu", "", "3"},
	} {
		ref := &corev1.ResourceFieldSelector{ContainerName: c.container, Resource: c.resource}
		if c.divisor != "" {
			ref.Divisor = resource.MustParse(c.divisor)
		}
		if got, err := s.resource(ref, &s.template.Spec.Containers[0]); err != nil || got != c.want {
			t.Errorf("%s of %q by %q: %s, %v; want %s", c.resource, c.container, c.divisor, got, err, c.want)
		}
	}
	for want, ref := range map[string]*corev1.ResourceFieldSelector{
		`no container "none"`:          {ContainerName: "none", Resource: "limits.cpu"},
		`"limits.gpu" is not one of`:   {Resource: "limits.gpu"},
		"has neither limits. nor":      {Resource: "usage.cpu"},
		`"cpu" is not one of cpu, mem`: {Resource: "cpu"},
	} {
		if _, err := s.resource(ref, &s.template.Spec.Containers[0]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestDownwardFile(t *testing.T) {
	s := testSurroundings()
	s.placement.Annotations = map[string]string{"index": "1\"\n"}
	s.template.Spec.Containers = []corev1.Container{{Name: "web", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")},
	}}}
	for path, want := range map[string]string{
		"metadata.name": "web-1", "metadata.uid": "u1", "metadata.labels['app']": "web",
		"metadata.labels":      "app=\"web\"\napp.kubernetes.io/name=\"shop\"",
		"metadata.annotations": "index=\"1\\\"\\n\"\nteam=\"till\"",
	} {
		f := corev1.DownwardAPIVolumeFile{Path: "f", FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
		if got, err := s.file(f); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	f := corev1.DownwardAPIVolumeFile{Path: "f", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "web", Resource: "limits.cpu"}}
	if got, err := s.file(f); err != nil || got != "2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, f := range []corev1.DownwardAPIVolumeFile{{Path: "f"}, {Path: "f", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}} {
		if got, err := s.file(f); err == nil || !strings.HasPrefix(err.Error(), "file f: ") {
			t.Errorf("%q, %v", got, err)
		}
	}
}
