package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// The files under /etc that every container of a pod gets, unless it mounts something else there.
const (
	hostsFile    = "hosts"
	hostnameFile = "hostname"
	resolvFile   = "resolv.conf"
)

// machineHosts is what pods on the machine's own network begin with.
const machineHosts = "/etc/hosts"

// maxHostname is what a DNS label holds, and the kernel has room for.
const maxHostname = 63

// hostname is what the pod's processes see as the name of their machine.
func (p *pod) hostname() string {
	name := p.shortHostname()
	if p.template == nil {
		return name
	}
	if p.template.Spec.HostNetwork { // it shares the machine's name too
		if own, err := os.Hostname(); err == nil {
			return own
		}
	}
	if full := p.fqdn(); full != "" && isSet(p.template.Spec.SetHostnameAsFQDN) {
		return full
	}
	return name
}

func isSet(b *bool) bool { return b != nil && *b }

// shortHostname is the pod's own name, a DNS label.
func (p *pod) shortHostname() string {
	name := p.record.Placement.Pod.Name
	if p.template != nil && p.template.Spec.Hostname != "" {
		name = p.template.Spec.Hostname
	}
	if own := p.record.Placement.Hostname; own != "" {
		name = own
	}
	if len(name) > maxHostname {
		name = strings.TrimRight(name[:maxHostname], "-.")
	}
	return name
}

// fqdn is the pod's whole name in DNS; empty for a pod without a subdomain, which has none.
func (p *pod) fqdn() string {
	subdomain := p.template.Spec.Subdomain
	if subdomain == "" || p.host.config.Domain == "" {
		return ""
	}
	return fmt.Sprintf("%s.%s.%s.svc.%s", p.shortHostname(), subdomain, p.record.Placement.Pod.Namespace, p.host.config.Domain)
}

// address is where others reach the pod, which has an address of its own: on the machine's network it is the machine's.
func (p *pod) address(own netip.Addr) netip.Addr {
	if host, err := netip.ParseAddr(p.host.config.HostIP); err == nil && p.template.Spec.HostNetwork {
		return host
	}
	return own
}

// writeEtc writes the pod's files. Those that are there stay: containers have them mounted.
func (p *pod) writeEtc(ip netip.Addr) error {
	name := p.hostname()
	if len(name) > maxHostname {
		return fmt.Errorf("setHostnameAsFQDN: %s has %d characters, and the kernel takes %d: shorten the pod's hostname or subdomain", name, len(name), maxHostname)
	}
	resolv, err := p.resolvConf()
	if err != nil {
		return err
	}
	hosts, err := p.hosts(ip)
	if err != nil {
		return err
	}
	dir := p.host.disk.etcDir(p.uid)
	for file, content := range map[string]string{hostsFile: hosts, hostnameFile: name + "\n", resolvFile: resolv} {
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

// hosts is the pod's /etc/hosts.
func (p *pod) hosts(ip netip.Addr) (string, error) {
	var b strings.Builder
	b.WriteString("# Kept by headway.\n")
	if p.template.Spec.HostNetwork {
		data, err := os.ReadFile(machineHosts)
		if err != nil && !os.IsNotExist(err) {
			return "", err
		}
		b.Write(data)
	} else {
		b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
		names := p.shortHostname()
		if full := p.fqdn(); full != "" {
			names = full + "\t" + names
		}
		fmt.Fprintf(&b, "%s\t%s\n", ip, names)
	}
	if len(p.template.Spec.HostAliases) > 0 {
		b.WriteString("\n# From hostAliases.\n")
	}
	for _, a := range p.template.Spec.HostAliases {
		fmt.Fprintf(&b, "%s\t%s\n", a.IP, strings.Join(a.Hostnames, "\t"))
	}
	return b.String(), nil
}
