package planner

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"headway.dev/headway/api"
)

// newAutoscaler is one of the deployment of its name. Its metrics are memoryShare and cpuShare of what pods ask for,
// memoryEach, mainShare for the CPU of the container of the same name, and external, which nobody measures; its rules are up= and down=, each of words with
// commas between: window:SECONDS, pods:N/SECONDS, percent:N/SECONDS, tolerance:N, or one of Min, Max and Disabled.
func newAutoscaler(meta metav1.ObjectMeta, f fields) *autoscalingv2.HorizontalPodAutoscaler {
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: meta}
	h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: meta.Name}
	h.Spec.MinReplicas = f.number("min")
	h.Spec.MaxReplicas = *f.number("max")
	share := func(name corev1.ResourceName, percent *int32) {
		if percent != nil {
			h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{
				Type:     autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{Name: name, Target: autoscalingv2.MetricTarget{AverageUtilization: percent}},
			})
		}
	}
	share(corev1.ResourceMemory, f.number("memoryShare"))
	share(corev1.ResourceCPU, f.number("cpuShare"))
	if each, ok := f.take("memoryEach"); ok {
		value := resource.MustParse(each)
		h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceMemory, Target: autoscalingv2.MetricTarget{AverageValue: &value},
			},
		})
	}
	if name, ok := f.take("external"); ok {
		h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{
			Type:     autoscalingv2.ExternalMetricSourceType,
			External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}},
		})
	}
	if percent := f.number("mainShare"); percent != nil {
		h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{
			Type: autoscalingv2.ContainerResourceMetricSourceType,
			ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
				Name: corev1.ResourceCPU, Container: meta.Name, Target: autoscalingv2.MetricTarget{AverageUtilization: percent},
			},
		})
	}
	up, down := newScalingRules(f, "up"), newScalingRules(f, "down")
	if up != nil || down != nil {
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: up, ScaleDown: down}
	}
	return h
}

func newScalingRules(f fields, key string) *autoscalingv2.HPAScalingRules {
	words, ok := f.take(key)
	if !ok {
		return nil
	}
	r := &autoscalingv2.HPAScalingRules{}
	for word := range strings.SplitSeq(words, ",") {
		what, value, _ := strings.Cut(word, ":")
		number, period, _ := strings.Cut(value, "/")
		n, _ := strconv.Atoi(number)
		seconds, _ := strconv.Atoi(period)
		switch what {
		case "window":
			r.StabilizationWindowSeconds = new(int32(n))
		case "tolerance":
			tolerance := resource.MustParse(value)
			r.Tolerance = &tolerance
		case "pods", "percent":
			kind := map[string]autoscalingv2.HPAScalingPolicyType{"pods": autoscalingv2.PodsScalingPolicy, "percent": autoscalingv2.PercentScalingPolicy}[what]
			r.Policies = append(r.Policies, autoscalingv2.HPAScalingPolicy{Type: kind, Value: int32(n), PeriodSeconds: int32(seconds)})
		default:
			r.SelectPolicy = new(autoscalingv2.ScalingPolicySelect(what))
		}
	}
	return r
}

// use has a pod use a share of what it asks for, in percent, until it is said otherwise; "nothing" is that nobody knows.
func (w *world) use(pod *Pod, share string) error {
	delete(w.shares, pod.UID)
	if share == "nothing" {
		return nil
	}
	n, err := strconv.ParseInt(share, 10, 64)
	w.shares[pod.UID] = n
	return err
}

// measure tells what pods use.
func (w *world) measure() {
	w.Usage = nil
	for i := range w.Pods {
		pod := &w.Pods[i]
		if share, known := w.shares[pod.UID]; known {
			used := api.Resources{MilliCPU: pod.Requests.MilliCPU * share / 100, Memory: pod.Requests.Memory * share / 100}
			w.Usage = append(w.Usage, Usage{
				UID: pod.UID, Time: w.Now, Window: 15 * time.Second, Used: used, Containers: map[string]api.Resources{pod.Owner.Name: used},
			})
		}
	}
}

// printScales tells of each autoscaler what it last made, with its conditions.
func (w *world) printScales() string {
	var b strings.Builder
	for _, s := range w.Scales {
		fmt.Fprintf(&b, "%s: %d pods, %s\n", s.Autoscaler, s.Replicas, s.Reason)
		for _, m := range s.Metrics {
			fmt.Fprintf(&b, "  %s%s known=%t %d%% %g each\n", m.Resource, m.Container, m.Known, m.Utilization, m.Average)
		}
		for _, c := range s.Conditions {
			fmt.Fprintf(&b, "  %s %t since %s: %s: %s\n", c.Type, c.True, c.Since.Sub(epoch), c.Reason, c.Message)
		}
	}
	return b.String()
}

// rounds carries out plans in each of so many rounds of the autoscalers, with every pod ready and gone at once, and tells how
// many there are after each; rounds that say the same are one line.
func (w *world) rounds(arg string) (string, error) {
	n, err := strconv.Atoi(arg)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	var from, to time.Duration
	said := ""
	tell := func(now string) {
		if said != "" && now != said {
			fmt.Fprintf(&b, "%s to %s: %s\n", from, to, said)
		}
		if now != said {
			from, said = w.Now.Sub(epoch), now
		}
		to = w.Now.Sub(epoch)
	}
	for range n {
		if err := w.round(); err != nil {
			return "", err
		}
		tell(fmt.Sprintf("%d pods, %s", len(w.Pods), w.Scales[0].Reason))
	}
	tell("")
	return b.String(), nil
}

// round is one round of the autoscalers.
func (w *world) round() error {
	w.Now = w.Now.Add(defaultScalePeriod)
	w.measure()
	w.carryOut(w.compute())
	_, err := w.settle()
	return err
}
