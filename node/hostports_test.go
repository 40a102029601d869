package node

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

func TestHostPorts(t *testing.T) {
	pod := func(name string, phase api.PodPhase, ip string, ports ...corev1.ContainerPort) api.PodStatus {
		return api.PodStatus{Placement: api.Placement{PodIdentity: api.PodIdentity{Pod: api.PodRef("shop", name)}, HostPorts: ports}, Phase: phase, IP: ip}
	}
	web := corev1.ContainerPort{HostPort: 80, ContainerPort: 8080, Protocol: corev1.ProtocolTCP}
	one := web
	one.HostIP, one.HostPort = "172.29.0.1", 81
	dns := corev1.ContainerPort{HostPort: 53, ContainerPort: 53, Protocol: corev1.ProtocolUDP}
	wrong := web
	wrong.HostIP = "nowhere"
	got := hostPorts([]api.PodStatus{
		pod("stops", api.PodStopping, "10.244.1.2", web, dns),
		pod("runs", api.PodRunning, "10.244.1.3", web, one),
		pod("starts", api.PodPending, "10.244.1.4", wrong),
		pod("waits", api.PodPending, "", dns),
		pod("ended", api.PodSucceeded, "10.244.1.5", dns),
	})
	var lines []string
	for _, p := range got {
		lines = append(lines, fmt.Sprintf("%s:%d/%s %s %s", p.HostIP, p.Port, p.Protocol, p.Pod.Name, p.To))
	}
	want := []string{
		"0.0.0.0:80/TCP runs 10.244.1.3:8080",
		"172.29.0.1:81/TCP runs 10.244.1.3:8080",
		"0.0.0.0:53/UDP stops 10.244.1.2:53",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the ports are\n%q\nnot\n%q", lines, want)
	}
}
