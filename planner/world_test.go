package planner

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

// epoch is when every test begins.
var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// fields are the key=value words of a line; a word without = has the value "true".
type fields map[string]string

func parseFields(words []string) fields {
	f := fields{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			value = "true"
		}
		f[key] = value
	}
	return f
}

// take gives the value of a key and removes it, so that what is left over is a mistake.
func (f fields) take(key string) (string, bool) {
	v, ok := f[key]
	delete(f, key)
	return v, ok
}

func (f fields) number(key string) *int32 {
	v, ok := f.take(key)
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		panic(err)
	}
	i := int32(n)
	return &i
}

func (f fields) intOrString(key string) *intstr.IntOrString {
	v, ok := f.take(key)
	if !ok {
		return nil
	}
	parsed := intstr.Parse(v)
	return &parsed
}

// parseObject reads a declaration such as "deployment web image=web:1 replicas=3", in the namespace shop.
func parseObject(line string) (api.Object, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return api.Object{}, fmt.Errorf("%q: want a kind, a name and fields", line)
	}
	name, f := words[1], parseFields(words[2:])
	meta := metav1.ObjectMeta{Namespace: "shop", Name: name}
	for key, annotation := range map[string]string{"protect": ProtectAnnotation, "after": DependsAnnotation, "together": AtomicAnnotation, "promote": api.PromoteAnnotation} {
		if value, ok := f.take(key); ok {
			metav1.SetMetaDataAnnotation(&meta, annotation, value)
		}
	}
	var kind string
	var value runtime.Object
	switch words[0] {
	case "deployment":
		kind, value = "Deployment", newDeployment(meta, f)
	case "replicaset":
		kind = "ReplicaSet"
		set := &appsv1.ReplicaSet{ObjectMeta: meta}
		set.Spec.Replicas = f.number("replicas")
		set.Spec.Template.Spec = podSpec(name, f)
		value = set
	case "statefulset":
		kind, value = "StatefulSet", newStatefulSet(meta, f)
	case "daemonset":
		kind, value = "DaemonSet", newDaemonSet(meta, f)
	case "job":
		kind, value = "Job", &batchv1.Job{ObjectMeta: meta, Spec: newJobSpec(meta, f)}
	case "cronjob":
		kind, value = "CronJob", newCronJob(meta, f)
	case "pod":
		kind = "Pod"
		pod := &corev1.Pod{ObjectMeta: meta, Spec: podSpec(name, f)}
		pod.Labels = map[string]string{"app": name}
		if policy, ok := f.take("restart"); ok {
			pod.Spec.RestartPolicy = corev1.RestartPolicy(policy)
		}
		value = pod
	case "configmap":
		kind = "ConfigMap"
		value = &corev1.ConfigMap{ObjectMeta: meta, Data: f}
		f = nil
	case "secret":
		return api.Object{
			Ref: api.Ref{Kind: "Secret", Namespace: "shop", Name: name}, Source: api.Position{File: name + ".yaml", Line: 1},
			Value: &corev1.Secret{ObjectMeta: meta}, Fingerprint: api.Digest(f["print"]),
		}, nil
	case "quota":
		q := &corev1.ResourceQuota{ObjectMeta: meta, Spec: corev1.ResourceQuotaSpec{Hard: quantities(f)}}
		kind, value, f = "ResourceQuota", q, nil
	case "limits":
		kind, value = "LimitRange", newLimitRange(meta, f)
	case "autoscaler":
		kind, value = "HorizontalPodAutoscaler", newAutoscaler(meta, f)
	case "budget":
		kind, value = "PodDisruptionBudget", newBudget(meta, f)
	case "claim", "storageclass", "volume":
		kind, value = newStorageObject(words[0], meta, f)
	case "namespace":
		return api.Object{
			Ref: api.Ref{Kind: "Namespace", Name: name}, Source: api.Position{File: name + ".yaml", Line: 1},
			Value: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}},
		}, nil
	case "cluster":
		kind, value = "Cluster", &api.Cluster{ObjectMeta: meta, Spec: newClusterSpec(f)}
	case "service":
		kind, value = "Service", newService(meta, f)
	case "endpoints":
		kind, value = "Endpoints", newEndpoints(meta, f)
	case "slice":
		kind, value = "EndpointSlice", newSlice(meta, f)
	default:
		return api.Object{}, fmt.Errorf("%q: unknown kind", line)
	}
	if len(f) > 0 {
		return api.Object{}, fmt.Errorf("%q: unknown fields %v", line, f)
	}
	ref := api.Ref{Kind: kind, Namespace: "shop", Name: name}
	if kind == "PersistentVolume" {
		ref.Namespace = ""
	}
	return api.Object{Ref: ref, Source: api.Position{File: name + ".yaml", Line: 1}, Value: value}, nil
}

func newClusterSpec(f fields) api.ClusterSpec {
	spec := api.ClusterSpec{Deletion: &api.DeletionBudget{MaxObjects: f.number("deletions")}}
	_, spec.Atomic = f.take("atomic")
	return spec
}

func newDeployment(meta metav1.ObjectMeta, f fields) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: meta}
	if steps, ok := f.take("canary"); ok { // 10%_5m,50%
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, api.RolloutAnnotation, "canary "+strings.ReplaceAll(steps, "_", " "))
	}
	if steps, ok := f.take("rollout"); ok { // blue-green_5m
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, api.RolloutAnnotation, strings.ReplaceAll(steps, "_", " "))
	}
	d.Spec.Replicas = f.number("replicas")
	d.Spec.ProgressDeadlineSeconds = f.number("deadline")
	if s := f.number("minReady"); s != nil {
		d.Spec.MinReadySeconds = *s
	}
	_, d.Spec.Paused = f.take("paused")
	surge, unavailable := f.intOrString("surge"), f.intOrString("unavailable")
	if surge != nil || unavailable != nil {
		d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: surge, MaxUnavailable: unavailable}
	}
	if _, ok := f.take("recreate"); ok {
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
	}
	d.Spec.Template.Labels = map[string]string{"app": meta.Name}
	if track, ok := f.take("track"); ok {
		d.Spec.Template.Labels["track"] = track
	}
	if _, ok := f.take("live"); ok {
		d.Spec.Template.Annotations = map[string]string{api.ConfigAnnotation: api.ConfigLive}
	}
	d.Spec.Template.Spec = podSpec(meta.Name, f)
	return d
}

func newStatefulSet(meta metav1.ObjectMeta, f fields) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{ObjectMeta: meta}
	s.Spec.Replicas = f.number("replicas")
	s.Spec.ServiceName = meta.Name
	if n := f.number("minReady"); n != nil {
		s.Spec.MinReadySeconds = *n
	}
	if n := f.number("start"); n != nil {
		s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: *n}
	}
	if _, ok := f.take("parallel"); ok {
		s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
	}
	if _, ok := f.take("onDelete"); ok {
		s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
	}
	partition, unavailable := f.number("partition"), f.intOrString("unavailable")
	if partition != nil || unavailable != nil {
		s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: partition, MaxUnavailable: unavailable}
	}
	setClaims(&s.Spec, f)
	s.Spec.Template.Labels = map[string]string{"app": meta.Name}
	s.Spec.Template.Spec = podSpec(meta.Name, f)
	return s
}

func newDaemonSet(meta metav1.ObjectMeta, f fields) *appsv1.DaemonSet {
	s := &appsv1.DaemonSet{ObjectMeta: meta}
	if _, ok := f.take("onDelete"); ok {
		s.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType
	}
	surge, unavailable := f.intOrString("surge"), f.intOrString("unavailable")
	if surge != nil || unavailable != nil {
		s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateDaemonSet{MaxSurge: surge, MaxUnavailable: unavailable}
	}
	s.Spec.Template.Labels = map[string]string{"app": meta.Name}
	zone, zoned := f.take("zone")
	s.Spec.Template.Spec = podSpec(meta.Name, f)
	if zoned {
		s.Spec.Template.Spec.NodeSelector = map[string]string{"zone": zone}
	}
	return s
}

func quantities(f fields) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, value := range f {
		list[corev1.ResourceName(name)] = resource.MustParse(value)
	}
	return list
}

func newLimitRange(meta metav1.ObjectMeta, f fields) *corev1.LimitRange {
	item := corev1.LimitRangeItem{Type: corev1.LimitTypeContainer}
	for key, list := range map[string]*corev1.ResourceList{"default": &item.Default, "request": &item.DefaultRequest, "max": &item.Max, "min": &item.Min} {
		if value, ok := f.take(key); ok {
			*list = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(value)}
		}
	}
	return &corev1.LimitRange{ObjectMeta: meta, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}
}

func newBudget(meta metav1.ObjectMeta, f fields) *policyv1.PodDisruptionBudget {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: meta}
	app, _ := f.take("app")
	b.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	b.Spec.MinAvailable, b.Spec.MaxUnavailable = f.intOrString("available"), f.intOrString("unavailable")
	return b
}

func newJobSpec(meta metav1.ObjectMeta, f fields) batchv1.JobSpec {
	s := batchv1.JobSpec{
		Parallelism: f.number("parallelism"), Completions: f.number("completions"), BackoffLimit: f.number("backoff"),
		BackoffLimitPerIndex: f.number("backoffPerIndex"), TTLSecondsAfterFinished: f.number("ttl"),
		MaxFailedIndexes: f.number("maxFailedIndexes"),
	}
	if n := f.number("deadline"); n != nil {
		seconds := int64(*n)
		s.ActiveDeadlineSeconds = &seconds
	}
	if _, ok := f.take("indexed"); ok {
		mode := batchv1.IndexedCompletion
		s.CompletionMode = &mode
	} else if s.Completions == nil {
		one := int32(1)
		s.Completions = &one
	}
	if _, ok := f.take("queue"); ok {
		s.Completions = nil
	}
	if _, ok := f.take("suspended"); ok {
		suspend := true
		s.Suspend = &suspend
	}
	if policy, ok := f.take("replace"); ok {
		p := batchv1.PodReplacementPolicy(policy)
		s.PodReplacementPolicy = &p
	}
	if indexes, ok := f.take("successOf"); ok {
		s.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: &indexes}}}
	}
	if code := f.number("failOn"); code != nil {
		s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
			{
				Action:          batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
			},
			{
				Action: batchv1.PodFailurePolicyActionFailJob,
				OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
					Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{*code},
				},
			},
		}}
	}
	s.Template.Spec = podSpec(meta.Name, f)
	s.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	return s
}

func newCronJob(meta metav1.ObjectMeta, f fields) *batchv1.CronJob {
	c := &batchv1.CronJob{ObjectMeta: meta}
	schedule, _ := f.take("schedule")
	c.Spec.Schedule = strings.ReplaceAll(schedule, "_", " ")
	if zone, ok := f.take("zone"); ok {
		c.Spec.TimeZone = &zone
	}
	if policy, ok := f.take("concurrency"); ok {
		c.Spec.ConcurrencyPolicy = batchv1.ConcurrencyPolicy(policy)
	}
	if n := f.number("startWithin"); n != nil {
		seconds := int64(*n)
		c.Spec.StartingDeadlineSeconds = &seconds
	}
	if _, ok := f.take("paused"); ok {
		suspend := true
		c.Spec.Suspend = &suspend
	}
	c.Spec.SuccessfulJobsHistoryLimit, c.Spec.FailedJobsHistoryLimit = f.number("keep"), f.number("keepFailed")
	c.Spec.JobTemplate.Spec = newJobSpec(meta, f)
	return c
}

func podSpec(name string, f fields) corev1.PodSpec {
	image, _ := f.take("image")
	c := corev1.Container{
		Name: name, Image: image,
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
	}
	for _, key := range []string{"config", "optionalConfig"} {
		if used, ok := f.take(key); ok {
			optional := key == "optionalConfig"
			c.EnvFrom = append(c.EnvFrom, corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: used}, Optional: &optional,
			}})
		}
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceCPU} {
		if value, ok := f.take(string(name)); ok {
			if c.Resources.Limits == nil {
				c.Resources.Limits = corev1.ResourceList{}
			}
			c.Resources.Limits[name] = resource.MustParse(value)
		}
	}
	if value, ok := f.take("env"); ok {
		c.Env = []corev1.EnvVar{{Name: "MODE", Value: value}}
	}
	spec := corev1.PodSpec{Containers: []corev1.Container{c}}
	for _, key := range []string{"files", "optionalFiles", "secretFiles"} {
		if used, ok := f.take(key); ok {
			spec.Volumes = append(spec.Volumes, filesOf(key, used))
		}
	}
	if part, ok := f.take("part"); ok { // a part of one of these
		spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: part, MountPath: "/part", SubPath: "part"}}
	}
	if claim, ok := f.take("mounts"); ok {
		spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}}}
	}
	if class, ok := f.take("scratch"); ok {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{
			Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
				Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class},
			}},
		}})
	}
	spec.Hostname, _ = f.take("hostname")
	spec.Subdomain, _ = f.take("subdomain")
	return spec
}

// filesOf is a volume of files that can change in place.
func filesOf(key, used string) corev1.Volume {
	name, optional := corev1.LocalObjectReference{Name: used}, key == "optionalFiles"
	switch key {
	case "files":
		return corev1.Volume{Name: key, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: name}}},
		}}}
	case "secretFiles":
		return corev1.Volume{Name: key, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: used}}}
	}
	return corev1.Volume{Name: key, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: name, Optional: &optional,
	}}}
}

func newService(meta metav1.ObjectMeta, f fields) *corev1.Service {
	s := &corev1.Service{ObjectMeta: meta}
	if app, ok := f.take("app"); ok {
		s.Spec.Selector = map[string]string{"app": app}
	}
	if track, ok := f.take("track"); ok {
		s.Spec.Selector = map[string]string{"track": track}
	}
	s.Spec.ClusterIP, _ = f.take("ip")
	port := corev1.ServicePort{Port: 80}
	if n := f.number("port"); n != nil {
		port.Port = *n
	}
	if target := f.intOrString("target"); target != nil {
		port.TargetPort = *target
	}
	if n := f.number("nodePort"); n != nil {
		port.NodePort = *n
	}
	s.Spec.Ports = []corev1.ServicePort{port}
	if _, ok := f.take("udp"); ok {
		s.Spec.Ports[0].Name = "tcp"
		port.Name, port.Protocol = "udp", corev1.ProtocolUDP
		s.Spec.Ports = append(s.Spec.Ports, port)
	}
	setOutside(&s.Spec, f)
	if _, ok := f.take("sticky"); ok {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	return s
}

// setOutside sets what a service has for those from outside, or is instead.
func setOutside(spec *corev1.ServiceSpec, f fields) {
	if kind, ok := f.take("type"); ok {
		spec.Type = corev1.ServiceType(kind)
	}
	spec.ExternalName, _ = f.take("alias")
	spec.LoadBalancerIP, _ = f.take("balancer")
	if class, ok := f.take("class"); ok {
		spec.LoadBalancerClass = &class
	}
	if addresses, ok := f.take("external"); ok {
		spec.ExternalIPs = strings.Split(addresses, ",")
	}
	if ranges, ok := f.take("from"); ok {
		spec.LoadBalancerSourceRanges = strings.Split(ranges, ",")
	}
	if _, ok := f.take("noNodePorts"); ok {
		allocate := false
		spec.AllocateLoadBalancerNodePorts = &allocate
	}
	if _, ok := f.take("externalLocal"); ok {
		spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if _, ok := f.take("internalLocal"); ok {
		local := corev1.ServiceInternalTrafficPolicyLocal
		spec.InternalTrafficPolicy = &local
	}
	if n := f.number("healthCheck"); n != nil {
		spec.HealthCheckNodePort = *n
	}
	_, spec.PublishNotReadyAddresses = f.take("notReady")
}

// newEndpoints lists addresses: IP or IP/HOSTNAME, with commas between; their ports have the names of the service's.
//
//nolint:staticcheck // Kubernetes advises against Endpoints, but teams keep them in Git
func newEndpoints(meta metav1.ObjectMeta, f fields) runtime.Object {
	addresses := func(key string) (list []corev1.EndpointAddress) {
		value, ok := f.take(key)
		for _, one := range strings.Split(value, ",") {
			if ip, hostname, _ := strings.Cut(one, "/"); ok {
				list = append(list, corev1.EndpointAddress{IP: ip, Hostname: hostname})
			}
		}
		return list
	}
	subset := corev1.EndpointSubset{Addresses: addresses("ready"), NotReadyAddresses: addresses("unready")}
	if n := f.number("port"); n != nil {
		subset.Ports = []corev1.EndpointPort{{Port: *n}}
	}
	return &corev1.Endpoints{ObjectMeta: meta, Subsets: []corev1.EndpointSubset{subset}}
}

// newSlice is an EndpointSlice of the service of=NAME.
func newSlice(meta metav1.ObjectMeta, f fields) runtime.Object {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4}
	of, _ := f.take("of")
	s.Labels = map[string]string{discoveryv1.LabelServiceName: of}
	if n := f.number("port"); n != nil {
		s.Ports = []discoveryv1.EndpointPort{{Port: n}}
	}
	for _, ready := range []bool{true, false} {
		value, ok := f.take(map[bool]string{true: "ready", false: "unready"}[ready])
		if ok {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
				Addresses: strings.Split(value, ","), Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			})
		}
	}
	return s
}

// A world is a fleet of three nodes for tests: it carries plans out, and things happen to its pods.
type world struct {
	Input
	pods      int              // created so far
	succeeded map[string]bool  // UIDs of pods that did
	shares    map[string]int64 // what pods use of what they ask for, in percent, by UID
	// aliases name templates by a letter in the order in which they appear, and pods by owner, letter and slot.
	aliases  map[string]string
	letters  map[string]string
	byAlias  map[string]string // pod UIDs
	replacer []string
	twin     *twin
}

func newWorld() *world {
	return &world{
		Input: Input{
			Prune: true, ServiceCIDR: "10.96.0.0/24", Now: epoch,
			Nodes: []Node{{Name: "n1"}, {Name: "n2"}, {Name: "n3"}},
		},
		succeeded: map[string]bool{}, shares: map[string]int64{},
		aliases: map[string]string{}, letters: map[string]string{}, byAlias: map[string]string{}, twin: newTwin(),
	}
}

// commit puts new objects in force.
func (w *world) commit(commit string, objects []api.Object) {
	w.Revision = api.Revision{Commit: commit}
	w.Desired = slices.SortedFunc(slices.Values(objects), func(a, b api.Object) int { return a.Ref.Compare(b.Ref) })
}

// carryOut applies a plan and places what it created, slot by slot on three nodes.
func (w *world) carryOut(plan Plan) {
	w.Input = Apply(w.Input, plan)
	for i := range w.Pods {
		pod := &w.Pods[i]
		if pod.IP == "" && !isStopping(pod) {
			w.pods++
			if pod.Node == "" {
				pod.Node = w.nodeFor(pod.Slot)
			}
			pod.IP = fmt.Sprintf("10.0.%d.%d", w.pods/250, w.pods%250+1)
		}
	}
}

// nodeFor takes the nodes in turn, and leaves out those that take no pods as long as there are others.
func (w *world) nodeFor(slot int) string {
	for i := range 3 {
		name := fmt.Sprintf("n%d", (slot+i)%3+1)
		if n := w.node(name); n != nil && !n.Cordoned && !n.Draining {
			return name
		}
	}
	return fmt.Sprintf("n%d", slot%3+1)
}

func (w *world) node(name string) *Node {
	for i := range w.Nodes {
		if w.Nodes[i].Name == name {
			return &w.Nodes[i]
		}
	}
	return nil
}

// alias names a pod for a reader: web-A0 is slot 0 of web's first template, web-A0.1 the first to replace it.
func (w *world) alias(id api.PodIdentity) string {
	if a, ok := w.aliases[id.UID]; ok {
		return a
	}
	key := id.Owner.Name + "/" + string(id.Template)
	letter, ok := w.letters[key]
	if !ok {
		n := 0
		for k := range w.letters {
			if strings.HasPrefix(k, id.Owner.Name+"/") {
				n++
			}
		}
		letter = string(rune('A' + n))
		w.letters[key] = letter
		w.replacer = append(w.replacer, id.Template.Short(), letter)
	}
	a := fmt.Sprintf("%s-%s%d", id.Owner.Name, letter, id.Slot)
	if id.Owner.Kind == "DaemonSet" {
		_, node, _ := strings.Cut(id.Pod.Name, id.Template.Short()+"-")
		a = fmt.Sprintf("%s-%s-%s", id.Owner.Name, letter, node)
	} else if id.Incarnation > 0 {
		a += fmt.Sprintf(".%d", id.Incarnation)
	}
	w.aliases[id.UID], w.byAlias[a] = a, id.UID
	if strings.Contains(id.Pod.Name, id.Template.Short()) {
		w.replacer = append([]string{id.Pod.Name, a}, w.replacer...)
	}
	return a
}

// readable puts the aliases into a text.
func (w *world) readable(s string) string { return strings.NewReplacer(w.replacer...).Replace(s) }

// pod finds a pod by its alias.
func (w *world) pod(alias string) (*Pod, error) {
	for i := range w.Pods {
		if w.Pods[i].UID == w.byAlias[alias] {
			return &w.Pods[i], nil
		}
	}
	return nil, fmt.Errorf("no pod %s", alias)
}

// ready makes a pod ready now, unless it is.
func (w *world) ready(pod *Pod) {
	if !pod.Ready {
		pod.Phase, pod.Ready, pod.ReadySince, pod.Reason = api.PodRunning, true, w.Now, ""
	}
	if pod.Started.IsZero() {
		pod.Started = w.Now
	}
}

func (w *world) unready(pod *Pod, reason string) {
	pod.Phase, pod.Ready, pod.ReadySince, pod.Reason = api.PodRunning, false, time.Time{}, reason
}
