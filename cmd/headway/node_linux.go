package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/lab"
	"headway.dev/headway/node"
	"headway.dev/headway/node/cdi"
	"headway.dev/headway/node/containerd"
	"headway.dev/headway/node/dns"
	"headway.dev/headway/node/health"
	"headway.dev/headway/node/ingress"
	"headway.dev/headway/node/iptables"
	"headway.dev/headway/node/logfile"
	"headway.dev/headway/node/network"
	"headway.dev/headway/node/probe"
	"headway.dev/headway/node/volume"
	"headway.dev/headway/node/witness"
	"headway.dev/headway/seal"
)

// nodeOptions are the flags of a machine's daemon.
type nodeOptions struct {
	name, dir, runDir                 string
	credentials                       string
	address                           string
	podCIDR, clusterCIDR, serviceCIDR string
	containerd, containerdNamespace   string
	cgroup                            string
	imageDir, registryConfig          string
	registryCredentials               string
	pullNetns                         string
	labels                            map[string]string
	dnsUpstreams                      []string
	iptables                          string
	cdiDirs                           []string
	resources                         map[string]int64
	eviction                          evictionOptions
	imageGC                           imageGCOptions
	shutdown                          shutdownOptions
	seccompDir                        string
	cleanup, endPods, verbose         bool
	ingressHTTP, ingressHTTPS         string
}

// clusterDomain ends the names of services.
const clusterDomain = "cluster.local"

func (o *nodeOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "the node's name (default: the host's)")
	f.StringVar(&o.address, "address", "", "address by which other nodes reach this one (default: that of the default route)")
	f.StringVar(&o.clusterCIDR, "cluster-cidr", "10.244.0.0/16", "range of all pods' addresses")
	f.StringVar(&o.containerd, "containerd", defaultContainerd(), "containerd's socket (default $HEADWAY_CONTAINERD)")
	f.StringVar(&o.containerdNamespace, "containerd-namespace", "headway", "containerd's namespace for this node")
	f.StringVar(&o.cgroup, "cgroup", "/headway", "control group above all pods")
	f.StringVar(&o.imageDir, "image-dir", "", "directory of OCI archives to import images from")
	f.StringVar(&o.registryConfig, "registry-config", "/etc/containerd/certs.d", "directory of hosts.toml files: mirrors and certificates of registries")
	f.StringVar(&o.registryCredentials, "registry-credentials", "", "file with credentials for registries, as docker's config.json (default: none)")
	f.StringToStringVar(&o.labels, "label", nil, "labels of the node, as name=value")
	f.StringSliceVar(&o.dnsUpstreams, "dns-upstream", nil, "name servers for names outside of the cluster, as address:port (default: those of the machine)")
	f.StringSliceVar(&o.cdiDirs, "cdi-dir", []string{"/etc/cdi", "/var/run/cdi"}, "directories of CDI specifications: the devices that pods can have")
	f.StringToInt64Var(&o.resources, "resource", nil, "extended resources that are nothing but a number, as example.com/licence=4")
	o.eviction.flags(f)
	o.imageGC.flags(f)
	o.shutdown.flags(f)
	f.StringVar(&o.seccompDir, "seccomp-dir", "", "directory of the seccomp profiles that pods name as localhostProfile (default: seccomp in the node's directory)")
	f.StringVar(&o.ingressHTTP, "ingress-http", ":80", "where HTTP from outside is taken for ingresses, while there are any: a port, or address:port; empty is nowhere")
	f.StringVar(&o.ingressHTTPS, "ingress-https", ":443", "the same for HTTPS")
	f.StringVar(&o.iptables, "iptables", "", "nft or legacy (default: what iptables is on this machine)")
}

func (a app) nodeCommand() *cobra.Command {
	var o nodeOptions
	c := &cobra.Command{
		Use:   "node",
		Short: "Run this machine's daemon",
		Long: `Run this machine's daemon: its pods, its volumes, its routes. It needs root, a containerd that runs, and the
credentials that the control plane wrote to DIR/bus/credentials/node.json.

When it ends or crashes, the pods run on; the next one finds them. With --cleanup it removes all that it made on this
machine, pods, rules and addresses too, and ends.

With --shutdown it asks the daemon that runs to end all pods in the order of their priorities, because the machine is about
to stop, and waits until they have ended. They stay assigned, and run again when the daemon is started anew. Have the system
do it before it stops; for systemd, as a unit beside the daemon's own:

  [Unit]
  Description=End the pods of headway before the machine stops
  After=headway.service containerd.service
  [Service]
  Type=oneshot
  RemainAfterExit=yes
  ExecStart=/bin/true
  ExecStop=/usr/local/bin/headway node --shutdown
  TimeoutStopSec=5min
  [Install]
  WantedBy=multi-user.target`,
		Example: `  headway node --credentials node.json --pod-cidr 10.244.7.0/24
  headway node --pod-cidr 10.244.7.0/24 --cleanup
  headway node --shutdown`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.endPods {
				return o.askToShutDown(c.Context())
			}
			return runNode(c.Context(), o, a.logger(o.verbose))
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.podCIDR, "pod-cidr", "", "range of this node's pods, within --cluster-cidr and its own alone")
	c.Flags().StringVar(&o.serviceCIDR, "service-cidr", "10.96.0.0/16", "range of the services' addresses")
	c.Flags().StringVar(&o.dir, "dir", "/var/lib/headway/node", "where the node keeps its inventory, volumes and logs")
	c.Flags().StringVar(&o.runDir, "run-dir", "/run/headway/node", "where the node keeps, in memory, what ends with the machine")
	c.Flags().StringVar(&o.credentials, "credentials", "/etc/headway/node.json", "file with the bus's address, user and password")
	c.Flags().StringVar(&o.pullNetns, "pull-netns", "", "network namespace to pull images from (default: the daemon's own)")
	c.Flags().BoolVar(&o.cleanup, "cleanup", false, "remove all that the node made on this machine, and end")
	c.Flags().BoolVar(&o.endPods, "shutdown", false, "have the daemon that runs end all pods, because the machine stops")
	c.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "log more")
	return c
}

// A machine is the node's adapters to what it runs on.
type machine struct {
	runtime *containerd.Runtime
	network *network.Network
	router  *iptables.Router
	volumes *volume.Volumes
	devices *cdi.Devices
}

func (o nodeOptions) openMachine(ctx context.Context, log *slog.Logger) (*machine, error) {
	pods, err := parsePrefix("--pod-cidr", o.podCIDR)
	if err != nil {
		return nil, err
	}
	cluster, err := parsePrefix("--cluster-cidr", o.clusterCIDR)
	if err != nil {
		return nil, err
	}
	services, err := parsePrefix("--service-cidr", o.serviceCIDR)
	if err != nil {
		return nil, err
	}
	if err := volume.MountMemory(o.runDir); err != nil {
		return nil, err
	}
	m := &machine{}
	if m.devices, err = cdi.Open(cdi.Options{Dirs: o.cdiDirs, Logger: log.With("part", "devices")}); err != nil {
		return nil, err
	}
	pull := containerd.Options{
		Address: o.containerd, Namespace: o.containerdNamespace, ImageDir: o.imageDir, CertsDir: o.registryConfig,
		CredentialsFile: o.registryCredentials,
		SeccompDir:      cmp.Or(o.seccompDir, filepath.Join(o.dir, "seccomp")),
		CgroupRoot:      o.cgroup, SealedDir: filepath.Join(o.runDir, "sealed"), Devices: m.devices, Logger: log.With("part", "containerd"),
	}
	if o.pullNetns != "" {
		pull.Dial = lab.Dialer(o.pullNetns)
	}
	if m.runtime, err = containerd.Open(ctx, pull); err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", o.containerd, err)
	}
	m.network, err = network.Open(network.Options{
		Node: o.name, PodCIDR: pods, ClusterCIDR: cluster, ServiceCIDR: services,
		Dir: filepath.Join(o.runDir, "ns"), StateDir: filepath.Join(o.runDir, "addresses"),
	})
	if err != nil {
		return nil, err
	}
	m.router, err = iptables.Open(iptables.Options{
		Node: o.name, PodCIDR: pods, ClusterCIDR: cluster, ServiceCIDR: services,
		Bridge: m.network.Bridge(), Backend: o.iptables,
	})
	if err != nil {
		return nil, err
	}
	m.volumes, err = volume.Open(filepath.Join(o.dir, "volumes"), filepath.Join(o.runDir, "volumes"))
	return m, err
}

func parsePrefix(flag, value string) (netip.Prefix, error) {
	if value == "" {
		return netip.Prefix{}, fmt.Errorf("%s is needed: each node has a range of pod addresses of its own, such as 10.244.1.0/24", flag)
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s: %w", flag, err)
	}
	return p, nil
}

// runNode runs the machine's daemon until ctx is done.
func runNode(ctx context.Context, o nodeOptions, log *slog.Logger) error {
	if os.Geteuid() != 0 {
		return errors.New("a node works with containers, namespaces and iptables: run it as root")
	}
	if o.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		o.name = strings.ToLower(host)
	}
	log = log.With("node", o.name)
	// First of all: what another daemon is just making looks like what a dead one has left.
	unlock, err := node.Lock(o.dir)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := o.openMachine(ctx, log)
	if err != nil {
		return err
	}
	defer m.runtime.Close()
	if o.cleanup {
		return o.cleanUp(ctx, m, log)
	}
	credentials, err := bus.LoadCredentials(o.credentials)
	if err != nil {
		return err
	}
	// The bus may be away: the node goes on with what it knows.
	conn, err := bus.Connect(ctx, bus.Options{Credentials: credentials, Name: "node/" + o.name, Wait: true, Logger: log.With("part", "bus")})
	if err != nil {
		return err
	}
	defer conn.Close()
	return o.runAgent(ctx, m, conn, log)
}

// runAgent joins the agent with its machine and the bus.
func (o nodeOptions) runAgent(ctx context.Context, m *machine, conn *bus.Conn, log *slog.Logger) error {
	info, err := o.describe(ctx, m)
	if err != nil {
		return err
	}
	identity, err := seal.LoadIdentity(filepath.Join(o.dir, "seal.key"))
	if err != nil {
		return err
	}
	info.SealKey = identity.Recipient()
	names, err := dns.New(dns.Options{Domain: clusterDomain, Upstreams: o.dnsUpstreams, Listen: netip.AddrPortFrom(m.network.Gateway(), 53), Logger: log.With("part", "dns")})
	if err != nil {
		return err
	}
	eviction, err := o.eviction.parse()
	if err != nil {
		return err
	}
	imageGC, err := o.imageGC.settings()
	if err != nil {
		return err
	}
	stages, err := o.shutdown.parse()
	if err != nil {
		return err
	}
	entrance, err := ingress.New(ingress.Options{Node: o.name, HTTP: o.ingressHTTP, HTTPS: o.ingressHTTPS, Logger: log.With("part", "ingress")})
	if err != nil {
		return err
	}
	checks := health.New(health.Options{Node: o.name, Logger: log.With("part", "health")})
	address, err := netip.ParseAddr(info.Addresses[0])
	if err != nil {
		return fmt.Errorf("the node's address: %w", err)
	}
	peers := witness.New(witness.Options{Address: address, Seal: seal.Seal, Open: identity.Open, Logger: log.With("part", "witness")})
	agent, err := node.New(node.Config{
		Witnesses: peers,
		Info:      info, Dir: o.dir, Locked: true, RunDir: o.runDir, Bus: conn,
		Runtime: m.runtime, Images: m.runtime, Network: m.network, Volumes: m.volumes, Prober: probe.New(),
		Secrets: identity, Devices: m.devices, Logs: logfile.New(), Router: routers{m.router, names, checks}, Ingress: entrance,
		Eviction: eviction, ImageGC: imageGC, Shutdown: stages,
		HostIP: info.Addresses[0], Nameserver: m.network.Gateway().String(), Domain: clusterDomain,
		Logger: log.With("part", "agent"),
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return names.Run(ctx) })
	group.Go(func() error { return checks.Run(ctx) })
	group.Go(func() error { return m.runtime.Run(ctx) })
	group.Go(func() error { return agent.Run(ctx) })
	group.Go(func() error { return o.serveShutdown(ctx, agent, log) })
	group.Go(func() error { return peers.Run(ctx, agent.Vouches) })
	group.Go(func() error {
		return conn.ServeStreams(ctx, o.name, func(ctx context.Context, r api.StreamRequest, s *bus.Stream) { agent.Serve(ctx, r, s) })
	})
	if err := group.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// routers programs the kernel first, and then tells the names, and those that check what the kernel has.
type routers struct {
	kernel *iptables.Router
	names  *dns.Server
	checks *health.Server
}

func (r routers) Apply(ctx context.Context, table api.RouteTable) error {
	if err := r.kernel.Apply(ctx, table); err != nil {
		return err
	}
	r.names.Update(table)
	r.checks.Update(table)
	return nil
}

var _ interface {
	node.Router
	node.HostPorter
	node.Isolator
	node.RuleKeeper
} = routers{}

// Drift tells what others have changed of the rules.
func (r routers) Drift(ctx context.Context) ([]string, error) { return r.kernel.Drift(ctx) }

// Repair takes that back.
func (r routers) Repair(ctx context.Context) error { return r.kernel.Repair(ctx) }

// SetHostPorts opens ports of the machine, which have no names.
func (r routers) SetHostPorts(ctx context.Context, ports []node.HostPort) error {
	return r.kernel.SetHostPorts(ctx, ports)
}

// Isolate filters what comes to pods and goes out from them.
func (r routers) Isolate(ctx context.Context, pods []node.IsolatedPod) error {
	return r.kernel.Isolate(ctx, pods)
}

// cleanUp removes all that the node made, the network last.
func (o nodeOptions) cleanUp(ctx context.Context, m *machine, log *slog.Logger) error {
	agent, err := node.New(node.Config{
		Info: api.NodeInfo{Name: o.name}, Dir: o.dir, Locked: true, RunDir: o.runDir, Runtime: m.runtime, Images: m.runtime,
		Network: m.network, Volumes: m.volumes, Prober: probe.New(), Router: m.router, Logger: log,
	})
	if err != nil {
		return err
	}
	if err := agent.Cleanup(ctx); err != nil {
		return err
	}
	return errors.Join(m.runtime.Cleanup(ctx), m.router.Cleanup(ctx), m.network.Cleanup(ctx),
		os.RemoveAll(o.dir), volume.UnmountMemory(o.runDir), os.RemoveAll(o.runDir))
}
