package containerd

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// safeSysctls are the kernel's parameters that Kubernetes lets any pod set: they are the pod's own namespace's, and harm
// no other pod.
var safeSysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// sysctls gives the parameters that the pod sets, by their names with dots. One of a namespace that the pod shares with the
// machine would be the machine's, and is refused like one that is not safe.
func sysctls(spec *corev1.PodSpec) (map[string]string, error) {
	if spec == nil || spec.SecurityContext == nil {
		return nil, nil
	}
	set := map[string]string{}
	for _, s := range spec.SecurityContext.Sysctls {
		name := strings.ReplaceAll(s.Name, "/", ".")
		switch {
		case !slices.Contains(safeSysctls, name):
			return nil, fmt.Errorf("sysctl %s could harm other pods: those that pods can set are %s", s.Name, strings.Join(safeSysctls, ", "))
		case strings.HasPrefix(name, "net.") && spec.HostNetwork:
			return nil, fmt.Errorf("sysctl %s would be the machine's, since hostNetwork is set", s.Name)
		case strings.HasPrefix(name, "kernel.shm") && spec.HostIPC:
			return nil, fmt.Errorf("sysctl %s would be the machine's, since hostIPC is set", s.Name)
		}
		set[name] = s.Value
	}
	return set, nil
}
