package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"headway.dev/headway/api"
)

const autoscalerManifest = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: front, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: front}
  minReplicas: 1
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 6}}
`

// TestAutoscaler lets the shop's front shrink while nobody comes, grow under load, and shrink again, with nothing lost.
func TestAutoscaler(t *testing.T) {
	s := open(t)
	s.write("autoscaler.yaml", autoscalerManifest)
	s.deploy("Scale the front by its use")
	s.scaled("nobody comes", func(n int) bool { return n == 1 })

	load := s.startLoad()
	s.scaled("many come", func(n int) bool { return n >= 3 })
	s.stopLoad(load)
	s.scaled("nobody comes any more", func(n int) bool { return n == 1 })

	for _, want := range []string{"Deployment/front", "%/50%"} {
		if got := s.run("get", "hpa", "-n", "shop"); !strings.Contains(got, want) {
			t.Errorf("get hpa does not show %q:\n%s", want, got)
		}
	}
	for _, want := range []string{"AbleToScale true", "ScalingActive true  ValidMetricFound", "Scaled"} {
		if got := s.run("describe", "hpa", "front"); !strings.Contains(got, want) {
			t.Errorf("describe hpa does not show %q:\n%s", want, got)
		}
	}
}

// scaled waits until the front has a number of pods, all of them ready.
func (s *stage) scaled(what string, right func(n int) bool) {
	s.Helper()
	s.eventually(what, func() string {
		workloads := s.report().Workloads
		front := slices.IndexFunc(workloads, func(w api.WorkloadStatus) bool { return w.Ref.Name == "front" })
		if w := workloads[front]; !right(w.Desired) || w.Available != w.Desired {
			return fmt.Sprintf("%d pods are wanted, %d are available", w.Desired, w.Available)
		}
		return ""
	})
}
