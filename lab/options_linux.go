package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
)

// The addresses of a lab. They exist in its own namespaces alone.
const (
	hubNetwork  = "172.29.0.0/24"
	clusterCIDR = "10.244.0.0/16"
	serviceCIDR = "10.96.0.0/16"
	busPort     = 4222
	// maxNodes is what the hub's network and the cluster's range have room for.
	maxNodes = 100
)

// DefaultDir is where a lab keeps what it knows.
const DefaultDir = "/var/lib/headway/lab"

// Options say what lab to make.
type Options struct {
	// Dir holds the lab's state, logs and the data of its daemons. Two labs need two.
	Dir string
	// Name tells labs on one machine apart; it begins the names of containerd namespaces.
	Name string
	// Nodes is how many machines to make.
	Nodes int
	// Binary is the headway executable that the daemons run.
	Binary string
	// Repository is the local Git repository to follow, Branch its branch and Path the folder of it.
	Repository, Branch, Path string
	// Containerd is the address of the containerd that all nodes share.
	Containerd string
	// ImageDir holds OCI archives that nodes import; RegistryConfig holds hosts.toml files, as containerd's certs.d.
	// Images are pulled from the machine's own network, since the lab has no way out.
	ImageDir, RegistryConfig string
	// NodeLease is how long a node may be silent, as time.ParseDuration has it; empty is the server's default.
	NodeLease string
	// AutoscalerPeriod is how often autoscalers reckon, in the same words.
	AutoscalerPeriod string
	// FailoverLease is how long one may be silent before what must not run twice is replaced; likewise.
	FailoverLease string
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`)

func (o Options) validate() error {
	var errs []error
	if !filepath.IsAbs(o.Dir) {
		errs = append(errs, fmt.Errorf("the lab's directory must be absolute, not %q", o.Dir))
	}
	if !validName.MatchString(o.Name) {
		errs = append(errs, fmt.Errorf("the lab's name must be lower-case letters, digits and dashes, at most 20, not %q", o.Name))
	}
	if o.Nodes < 1 || o.Nodes > maxNodes {
		errs = append(errs, fmt.Errorf("a lab has 1 to %d nodes, not %d", maxNodes, o.Nodes))
	}
	if _, err := os.Stat(o.Repository); err != nil {
		errs = append(errs, fmt.Errorf("a lab follows a repository on this machine: %w", err))
	}
	return errors.Join(errs...)
}

// hubAddress is where the control plane listens.
func hubAddress() netip.Addr { return netip.MustParsePrefix(hubNetwork).Addr().Next() }

// nodeAddress is the address of the n-th node, counted from one, on the hub's bridge.
func nodeAddress(n int) netip.Addr {
	b := netip.MustParsePrefix(hubNetwork).Addr().As4()
	b[3] = byte(100 + n)
	return netip.AddrFrom4(b)
}

// podCIDR is the range of the pods on the n-th node.
func podCIDR(n int) netip.Prefix {
	b := netip.MustParsePrefix(clusterCIDR).Addr().As4()
	b[2] = byte(n)
	return netip.PrefixFrom(netip.AddrFrom4(b), 24)
}
