package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The files under /etc that every container of a pod gets, unless it mounts something else there.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
)

// machineResolvConf is what pods without a name server of their own use.
const machineResolvConf = "/etc/resolv.conf"

// maxHostname is what the kernel takes, and a DNS label holds.
const maxHostname = 63

// hostname is what the pod's processes see as the name of their machine.
func (p *pod) hostname() string {
	name := p.record.Placement.Pod.Name
	if p.template != nil && p.template.Spec.Hostname != "" {
		name = p.template.Spec.Hostname
	}
	if len(name) > maxHostname {
		name = strings.TrimRight(name[:maxHostname], "-.")
	}
	return name
}

// writeEtc writes the pod's files. Those that are there stay: containers have them mounted.
func (p *pod) writeEtc(ip netip.Addr) error {
	name := p.hostname()
	resolv, err := p.resolvConf()
	if err != nil {
		return err
	}
	dir := p.host.disk.etcDir(p.uid)
	for file, content := range map[string]string{
		hostsFile: "# Kept by headway.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
			fmt.Sprintf("%s\t%s\n", ip, name),
		hostnameFile: name + "\n",
		resolvFile:   resolv,
	} {
		path := filepath.Join(dir, file)
		have, err := os.ReadFile(path)
		if err == nil && string(have) == content {
			continue
		}
		if err := replaceFile(path, []byte(content), false); err != nil {
			return err
		}
		// The file's reader need not be root.
		if err := os.Chmod(path, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (p *pod) resolvConf() (string, error) {
	c := p.host.config
	if c.Nameserver == "" || p.template.Spec.DNSPolicy == corev1.DNSDefault {
		data, err := os.ReadFile(machineResolvConf)
		if os.IsNotExist(err) {
			return "", nil
		}
		return string(data), err
	}
	s := "nameserver " + c.Nameserver + "\n"
	for _, other := range p.host.peers.nameservers() {
		s += "nameserver " + other + "\n"
	}
	if c.Domain != "" {
		s += fmt.Sprintf("search %s.svc.%[2]s svc.%[2]s %[2]s\noptions ndots:5 timeout:1\n", p.record.Placement.Pod.Namespace, c.Domain)
	}
	return s, nil
}

// containerMounts gives the container's volumes and the pod's files.
func (p *pod) containerMounts(c *corev1.Container) ([]Mount, error) {
	var mounts []Mount
	taken := map[string]bool{}
	for _, m := range c.VolumeMounts {
		source, found := p.mounts[m.Name]
		if !found {
			return nil, fmt.Errorf("it mounts volume %s, which the pod does not have", m.Name)
		}
		i := slices.IndexFunc(p.template.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		readOnly := m.ReadOnly || i >= 0 && p.template.Spec.Volumes[i].ConfigMap != nil
		target := filepath.Clean(m.MountPath)
		mounts = append(mounts, Mount{Source: source, Target: target, ReadOnly: readOnly})
		taken[target] = true
	}
	for _, file := range []string{hostsFile, hostnameFile, resolvFile} {
		if target := "/etc/" + file; !taken[target] && !taken["/etc"] {
			mounts = append(mounts, Mount{Source: filepath.Join(p.host.disk.etcDir(p.uid), file), Target: target})
		}
	}
	return mounts, nil
}
