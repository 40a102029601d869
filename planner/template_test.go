package planner

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"headway.dev/headway/api"
)

const fullDeployment = `
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: web}
      annotations: {team: shop}
    spec:
      nodeSelector: {disk: ssd}
      initContainers:
      - {name: init, image: init:1, envFrom: [{configMapRef: {name: e}}]}
      containers:
      - name: web
        image: web:v1
        args: ["--level", "<1>"]
        ports: [{name: http, containerPort: 8080}]
        env:
        - {name: A, valueFrom: {configMapKeyRef: {name: c, key: a}}}
        - {name: B, valueFrom: {configMapKeyRef: {name: a, key: b, optional: true}}}
        resources: {requests: {cpu: "0.5", memory: 0.5Gi}}
      volumes:
      - {name: v, configMap: {name: b}}
      - {name: w, configMap: {name: a}}
      - {name: p, projected: {sources: [{configMap: {name: d, optional: true}}]}}
      - {name: tmp, emptyDir: {}}
`

func readDeployment(t *testing.T, text string) api.Object {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := yaml.UnmarshalStrict([]byte(text), d); err != nil {
		t.Fatal(err)
	}
	return api.Object{Ref: api.Ref{Kind: "Deployment", Namespace: d.Namespace, Name: d.Name}, Value: d}
}

func config(name, value string) api.Object {
	return api.Object{
		Ref:   api.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name},
		Value: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Data: map[string]string{"k": value}},
	}
}

func TestTemplateUsesConfigMaps(t *testing.T) {
	o := readDeployment(t, fullDeployment)
	all := []api.Object{config("a", "1"), config("b", "1"), config("c", "1"), config("e", "1"), config("unused", "1")}
	first, err := TemplateOf(o, ConfigsOf(all))
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(first.Pod.ConfigMaps)); !slices.Equal(got, []string{"a", "b", "c", "e"}) {
		t.Errorf("config maps %v", got)
	}
	for name, digest := range first.Pod.ConfigMaps {
		if string(first.Blobs[digest]) != `{"data":{"k":"1"}}` {
			t.Errorf("config map %s is %s", name, first.Blobs[digest])
		}
	}
	for i, name := range []string{"a", "b", "c", "e", "unused"} {
		changed := slices.Clone(all)
		changed[i] = config(name, "2")
		second, err := TemplateOf(o, ConfigsOf(changed))
		if err != nil {
			t.Fatal(err)
		}
		if same := second.Digest == first.Digest; same != (name == "unused") {
			t.Errorf("config map %s changed: the same template is %v", name, same)
		}
	}
	_, err = TemplateOf(o, ConfigsOf([]api.Object{config("b", "1"), config("c", "1")}))
	want := "not declared: config map shop/a (used by volume w), config map shop/e (used by envFrom of container init); declare it, or mark its use optional"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant %s", err, want)
	}
	if _, err := TemplateOf(config("a", "1"), nil); err == nil || !strings.Contains(err.Error(), "has no pods") {
		t.Errorf("a config map has a template: %v", err)
	}
}

// TestDigestIsStable holds the digest of one template. It is part of the identity of pods: if a new release, or a new
// version of the Kubernetes types, gave another, an upgrade would replace every pod of every cluster.
func TestDigestIsStable(t *testing.T) {
	template, err := TemplateOf(readDeployment(t, fullDeployment), ConfigsOf([]api.Object{config("a", "1"), config("b", "1"), config("c", "1"), config("e", "1")}))
	if err != nil {
		t.Fatal(err)
	}
	const want = "322dc4d50c1035e0ecb802740c75325783485f07f1b1f2b687fc29749c62e57c"
	if template.Digest != want {
		t.Errorf("digest %s, want %s, of\n%s", template.Digest, want, template.Blobs[template.Digest])
	}
	id := identify(api.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"}, template.Digest, 2, 1)
	if got := id.Pod.Name + " " + id.UID; got != "web-322dc4d50c-lgxr4 bd2a93f2-bc66-8524-b1de-6c1a1a2f099e" {
		t.Errorf("identity %s", got)
	}
}

// TestSpellingIsNoChange gives one template for two ways to write it.
func TestSpellingIsNoChange(t *testing.T) {
	configs := ConfigsOf([]api.Object{config("a", "1"), config("b", "1"), config("c", "1"), config("e", "1")})
	a, err := TemplateOf(readDeployment(t, fullDeployment), configs)
	if err != nil {
		t.Fatal(err)
	}
	respelled := strings.NewReplacer(`cpu: "0.5"`, "cpu: 500m", "0.5Gi", "512Mi").Replace(fullDeployment)
	b, err := TemplateOf(readDeployment(t, respelled+"  replicas: 7\n"), configs)
	if err != nil || a.Digest != b.Digest {
		t.Errorf("%v: %s\n%s", err, a.Blobs[a.Digest], b.Blobs[b.Digest])
	}
}

// TestRollingLimits has the rounding of Kubernetes.
func TestRollingLimits(t *testing.T) {
	for _, test := range []struct {
		surge, unavailable string // empty is not given
		replicas           int
		wantSurge, wantUn  int
	}{
		{"", "", 10, 3, 2},
		{"", "", 1, 1, 0},
		{"", "", 0, 0, 1},
		{"0", "0", 5, 0, 1},
		{"1%", "1%", 3, 1, 0},
		{"0%", "10%", 3, 0, 1},
		{"100%", "100%", 3, 3, 3},
		{"2", "9", 3, 2, 3},
		{"-1", "nonsense", 4, 0, 1},
	} {
		u := &appsv1.RollingUpdateDeployment{}
		for text, field := range map[*string]**intstr.IntOrString{&test.surge: &u.MaxSurge, &test.unavailable: &u.MaxUnavailable} {
			if *text != "" {
				v := intstr.Parse(*text)
				*field = &v
			}
		}
		if surge, unavailable := rollingLimits(u, test.replicas); surge != test.wantSurge || unavailable != test.wantUn {
			t.Errorf("%+v: surge %d, unavailable %d", test, surge, unavailable)
		}
	}
}

// TestPlacement has what the control plane needs to know of a pod without its template.
func TestPlacement(t *testing.T) {
	o := readDeployment(t, fullDeployment)
	template, err := TemplateOf(o, nil)
	if err == nil {
		t.Fatal("config maps are missing")
	}
	p := Action{Kind: CreatePod, Pod: api.PodIdentity{UID: "u"}, Template: template.Pod}.Placement()
	if p.UID != "u" || p.Labels["app"] != "web" || p.Requests != (api.Resources{MilliCPU: 500, Memory: 512 << 20}) ||
		!slices.Equal(p.Ports, []api.ContainerPort{{Name: "http", Port: 8080, Protocol: "TCP"}}) {
		t.Errorf("placement %+v", p)
	}
}
