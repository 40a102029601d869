package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"headway.dev/headway/api"
)

const (
	// maxPods bounds the pods of a node, as Kubernetes does by default; a /24 has room for twice as many.
	maxPods = 110
	// What the system keeps for itself, as shares of the machine: a tenth of the memory, at most 1 GiB.
	reservedMemoryShare = 10
	reservedMemoryMost  = 1 << 30
)

// describe says what this machine is.
func (o nodeOptions) describe(ctx context.Context, m *machine) (api.NodeInfo, error) {
	address := o.address
	if address == "" {
		var err error
		if address, err = defaultAddress(); err != nil {
			return api.NodeInfo{}, fmt.Errorf("%w: say --address", err)
		}
	}
	memory, err := totalMemory()
	if err != nil {
		return api.NodeInfo{}, err
	}
	runtimeVersion, err := m.runtime.Version(ctx)
	if err != nil {
		return api.NodeInfo{}, err
	}
	for name, number := range o.resources {
		if !api.IsExtended(name) || number < 0 {
			return api.NodeInfo{}, fmt.Errorf("--resource %s=%d: write a name with its vendor's domain, and how many there are, such as example.com/licence=4", name, number)
		}
	}
	capacity := api.Resources{MilliCPU: int64(runtime.NumCPU()) * 1000, Memory: memory}
	labels := map[string]string{
		"kubernetes.io/hostname": o.name, "kubernetes.io/os": runtime.GOOS, "kubernetes.io/arch": runtime.GOARCH,
	}
	for k, v := range o.labels {
		labels[k] = v
	}
	return api.NodeInfo{
		Name: o.name, Labels: labels, Addresses: []string{address}, PodCIDR: o.podCIDR,
		Capacity:    capacity,
		Allocatable: capacity.Sub(api.Resources{Memory: min(memory/reservedMemoryShare, reservedMemoryMost)}),
		Extended:    o.resources,
		MaxPods:     maxPods, OS: runtime.GOOS, Arch: runtime.GOARCH, Kernel: kernelRelease(),
		Runtime: runtimeVersion, Version: version(),
	}, nil
}

// defaultAddress is the address of the link that the default route leaves by.
func defaultAddress() (string, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return "", fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst != nil && !r.Dst.IP.Equal(net.IPv4zero) {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err == nil && len(addresses) > 0 {
			return addresses[0].IP.String(), nil
		}
	}
	return "", fmt.Errorf("this machine has no default route")
}

// totalMemory reads the machine's memory in bytes from /proc/meminfo.
func totalMemory() (int64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no MemTotal")
}

func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
