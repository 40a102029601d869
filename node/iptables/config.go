package iptables

import (
	"errors"
	"fmt"
	"net/netip"
)

// Config is what the rules depend on besides the routes.
type Config struct {
	Node        string       // its name, by which endpoints of its own are known
	PodCIDR     netip.Prefix // the addresses of the node's own pods; its first is the node's own among them
	ClusterCIDR netip.Prefix // the addresses of all pods
	ServiceCIDR netip.Prefix // the cluster IPs of services
	Bridge      string       // the interface that leads to the node's own pods
}

func (c Config) validate() error {
	var errs []error
	for _, p := range []struct {
		name   string
		prefix netip.Prefix
	}{{"pod", c.PodCIDR}, {"cluster", c.ClusterCIDR}, {"service", c.ServiceCIDR}} {
		if !p.prefix.IsValid() || !p.prefix.Addr().Is4() || p.prefix != p.prefix.Masked() {
			errs = append(errs, fmt.Errorf("the %s range must be an IPv4 network such as 10.244.0.0/16, not %s", p.name, p.prefix))
		}
	}
	if c.Bridge == "" {
		errs = append(errs, errors.New("the bridge's name is missing"))
	}
	return errors.Join(errs...)
}

func (c Config) gateway() netip.Addr { return c.PodCIDR.Addr().Next() }
