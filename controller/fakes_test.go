package controller

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing/fstest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/schema"
)

// The fake language of manifests: one object a line, KIND NAME KEY=VALUE..., and "error TEXT" for what does not evaluate.
// An update follows commits in it.
const manifest = "objects.txt"

// parse reads the fake language. objects are ordered by ref.
func parse(text string) (*schema.Result, error) {
	result := &schema.Result{Complete: true}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		at := api.Position{File: manifest, Line: n}
		if fields[0] == "error" {
			result.Complete = false
			result.Problems = append(result.Problems, api.Problem{Source: at, Message: strings.Join(fields[1:], " ")})
			continue
		}
		args := map[string]string{}
		for _, f := range fields[2:] {
			key, value, _ := strings.Cut(f, "=")
			args[key] = value
		}
		o, err := parseObject(fields[0], fields[1], args)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		o.Source = at
		result.Objects = append(result.Objects, o)
	}
	result.Objects = fillIn(result.Objects, nil)
	return result, lines.Err()
}

func parseObject(kind, name string, args map[string]string) (api.Object, error) {
	meta := metav1.ObjectMeta{Namespace: "shop", Name: name}
	if args["protect"] != "" {
		meta.Annotations = map[string]string{planner.ProtectAnnotation: args["protect"]}
	}
	if args["together"] != "" {
		metav1.SetMetaDataAnnotation(&meta, planner.AtomicAnnotation, args["together"])
	}
	for key, name := range map[string]string{"rollout": api.RolloutAnnotation, "promote": api.PromoteAnnotation} {
		if text, ok := args[key]; ok { // canary_10%_5m,50%
			metav1.SetMetaDataAnnotation(&meta, name, strings.ReplaceAll(text, "_", " "))
		}
	}
	labels := map[string]string{"app": name, "image": args["image"]}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: args["image"]}}}
	if memory, ok := args["memory"]; ok {
		spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memory)}
	}
	if priority, ok := args["priority"]; ok {
		spec.Priority = new(int32)
		if _, err := fmt.Sscan(priority, spec.Priority); err != nil {
			return api.Object{}, err
		}
	}
	if config, ok := args["config"]; ok {
		spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: config},
		}}}
	}
	if secret, ok := args["secret"]; ok {
		spec.Containers[0].EnvFrom = append(spec.Containers[0].EnvFrom, corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: secret},
		}})
	}
	var annotations map[string]string
	if live, ok := args["live"]; ok { // the files of a config map and a secret of that name
		annotations = map[string]string{api.ConfigAnnotation: api.ConfigLive}
		name := corev1.LocalObjectReference{Name: live}
		spec.Volumes = []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: name, Optional: new(true)}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: name, Optional: new(true)}},
			},
		}}}}
	}
	if pull, ok := args["pull"]; ok {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: pull}}
	}
	mountClaim(&spec, args["mounts"])
	switch kind {
	case "account":
		a := &corev1.ServiceAccount{ObjectMeta: meta, ImagePullSecrets: []corev1.LocalObjectReference{{Name: args["pull"]}}}
		return api.Object{Ref: api.Ref{Kind: "ServiceAccount", Namespace: "shop", Name: name}, Value: a}, nil
	case "claim":
		return newClaim(meta, args), nil
	case "volume":
		return newVolume(name, args), nil
	case "deployment":
		replicas := int32(1)
		if _, err := fmt.Sscan(args["replicas"], &replicas); args["replicas"] != "" && err != nil {
			return api.Object{}, err
		}
		d := &appsv1.Deployment{
			TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta,
			Spec: appsv1.DeploymentSpec{
				Replicas: &replicas,
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}, Spec: spec},
			},
		}
		if seconds := args["deadline"]; seconds != "" {
			d.Spec.ProgressDeadlineSeconds = new(int32)
			if _, err := fmt.Sscan(seconds, d.Spec.ProgressDeadlineSeconds); err != nil {
				return api.Object{}, err
			}
		}
		if args["strategy"] == "recreate" {
			d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
		}
		return api.Object{Ref: api.Ref{Kind: "Deployment", Namespace: "shop", Name: name}, Value: d}, nil
	case "job":
		spec.RestartPolicy = corev1.RestartPolicyNever
		j := &batchv1.Job{
			TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: meta,
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec}},
		}
		if completions := args["completions"]; completions != "" {
			j.Spec.Completions = new(int32)
			if _, err := fmt.Sscan(completions, j.Spec.Completions); err != nil {
				return api.Object{}, err
			}
		}
		return api.Object{Ref: api.Ref{Kind: "Job", Namespace: "shop", Name: name}, Value: j}, nil
	case "statefulset":
		replicas := int32(1)
		if _, err := fmt.Sscan(args["replicas"], &replicas); args["replicas"] != "" && err != nil {
			return api.Object{}, err
		}
		set := &appsv1.StatefulSet{
			TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: meta,
			Spec: appsv1.StatefulSetSpec{
				Replicas: &replicas, PodManagementPolicy: appsv1.ParallelPodManagement,
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
			},
		}
		return api.Object{Ref: api.Ref{Kind: "StatefulSet", Namespace: "shop", Name: name}, Value: set}, nil
	case "daemonset":
		d := &appsv1.DaemonSet{
			TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"}, ObjectMeta: meta,
			Spec: appsv1.DaemonSetSpec{
				Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
			},
		}
		return api.Object{Ref: api.Ref{Kind: "DaemonSet", Namespace: "shop", Name: name}, Value: d}, nil
	case "pod":
		spec.RestartPolicy = corev1.RestartPolicy(args["restart"])
		meta.Labels = labels
		p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: meta, Spec: spec}
		return api.Object{Ref: api.PodRef("shop", name), Value: p}, nil
	case "service":
		s := &corev1.Service{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: meta,
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
		}
		return api.Object{Ref: api.Ref{Kind: "Service", Namespace: "shop", Name: name}, Value: s}, nil
	case "policy": // lets nothing into the pods of the name, but for those of another name
		n := &networkingv1.NetworkPolicy{
			TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"}, ObjectMeta: meta,
			Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}},
		}
		if from := args["from"]; from != "" {
			n.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
				From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": from}}}},
			}}
		}
		return api.Object{Ref: api.Ref{Kind: "NetworkPolicy", Namespace: "shop", Name: name}, Value: n}, nil
	case "ingress":
		g := &networkingv1.Ingress{TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}, ObjectMeta: meta}
		g.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}}}
		if secret := args["tls"]; secret != "" {
			g.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{name + ".example"}, SecretName: secret}}
		}
		return api.Object{Ref: api.Ref{Kind: "Ingress", Namespace: "shop", Name: name}, Value: g}, nil
	case "config":
		c := &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: meta, Data: args}
		return api.Object{Ref: api.Ref{Kind: "ConfigMap", Namespace: "shop", Name: name}, Value: c}, nil
	case "secret":
		c := &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: meta, Data: map[string][]byte{}}
		for key, value := range args {
			c.Data[key] = []byte(value)
		}
		return api.Object{
			Ref: api.Ref{Kind: "Secret", Namespace: "shop", Name: name}, Value: c, Fingerprint: api.Digest(fmt.Sprint("print of ", args)),
		}, nil
	case "cluster":
		c := &api.Cluster{TypeMeta: metav1.TypeMeta{APIVersion: api.ClusterVersion, Kind: "Cluster"}, ObjectMeta: metav1.ObjectMeta{Name: name}}
		c.Spec.Suspend, c.Spec.Atomic = args["suspend"] == "true", args["atomic"] == "true"
		c.Spec.Drift = api.DriftPolicy(args["drift"])
		c.Spec.Rollback = api.RollbackPolicy(args["rollback"])
		if args["freeze"] != "" {
			duration, err := time.ParseDuration(args["freeze"])
			if err != nil {
				return api.Object{}, err
			}
			c.Spec.Freeze = []api.FreezeWindow{{Schedule: "0 3 * * *", Duration: metav1.Duration{Duration: duration}}}
		}
		return api.Object{Ref: api.Ref{Kind: "Cluster", Name: name}, Value: c}, nil
	case "node":
		n := &corev1.Node{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{
				Name: name, Annotations: map[string]string{drainAnnotation: args["drain"]},
			},
			Spec: corev1.NodeSpec{Unschedulable: args["unschedulable"] == "true"},
		}
		return api.Object{Ref: nodeRef(name), Value: n}, nil
	}
	return api.Object{}, fmt.Errorf("%q is no kind of the fake language", kind)
}

// fakeCompiler compiles the fake language. hold, if it is set, is asked before each commit's text is compiled.
type fakeCompiler struct {
	hold func(ctx context.Context, text string) error
}

func (c fakeCompiler) Compile(ctx context.Context, tree fs.FS) (*schema.Result, error) {
	data, err := fs.ReadFile(tree, manifest)
	if err != nil {
		return nil, err
	}
	if c.hold != nil {
		if err := c.hold(ctx, string(data)); err != nil {
			return nil, err
		}
	}
	return parse(string(data))
}

// fakeSeal seals by saying to whom.
func fakeSeal(plain []byte, recipient string) ([]byte, error) {
	return append([]byte("sealed to "+recipient+": "), plain...), nil
}

// fakeSnapshot is one commit of a fakeSource.
type fakeSnapshot struct {
	revision api.Revision
	text     string
	parent   *fakeSnapshot
}

func (s *fakeSnapshot) Revision() api.Revision { return s.revision }

func (s *fakeSnapshot) FS() fs.FS { return fstest.MapFS{manifest: {Data: []byte(s.text)}} }

func (s *fakeSnapshot) Parent(context.Context) (Snapshot, error) {
	if s.parent == nil {
		return nil, nil
	}
	return s.parent, nil
}

// fakeSource is a repository with one branch. It may be run many times.
type fakeSource struct {
	level[Update]
	head *fakeSnapshot
}

// commit makes a new head. Lines that begin with "message" are of the commit's message.
func (s *fakeSource) commit(name string, lines ...string) {
	message := "Make " + name
	for i, line := range lines {
		if rest, ok := strings.CutPrefix(line, "message "); ok {
			message, lines[i] = message+"\n\n"+rest, ""
		}
	}
	s.head = &fakeSnapshot{
		revision: api.Revision{Branch: "main", Commit: name, Message: message},
		text:     strings.Join(lines, "\n"), parent: s.head,
	}
	s.set(Update{Snapshot: s.head})
}

// fail makes the repository unreadable until the next commit.
func (s *fakeSource) fail(err error) { s.set(Update{Err: err}) }

func (s *fakeSource) Run(ctx context.Context, fn func(Update)) error { return s.watch(ctx, fn) }
