// Package containerd runs the node's containers and brings its images, by the client of containerd. It implements
// node.Runtime and node.Images.
//
// All state lives in containerd: a container's labels say whose it is, so that another daemon can take it over. The
// containers of a pod share one shim, which lives and writes their logs whether or not the daemon does.
package containerd

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/seccomp"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"headway.dev/headway/node"
)

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// An Injector edits the specification of a container for the devices that it has, by their names.
type Injector interface {
	Inject(spec *specs.Spec, devices []string) error
}

// Options say which containerd to use, and how.
type Options struct {
	Address   string // containerd's socket
	Namespace string // containerd's own kind of namespace: one a node
	// ImageDir is a directory of archives (*.tar, of OCI or Docker) to import images from; empty is none.
	ImageDir string
	// CertsDir holds the hosts.toml files of registries, laid out as containerd's certs.d; empty is none.
	CertsDir string
	// CredentialsFile holds credentials for registries, as docker's config.json; empty is none. It is read for each pull.
	CredentialsFile string
	// PullStall is how long a registry may send nothing before a pull fails; default a minute.
	PullStall   time.Duration
	Snapshotter string // default overlayfs
	CgroupRoot  string // control group above all containers, default /headway
	// SeccompDir holds the profiles that pods name as their localhostProfile; empty is none.
	SeccompDir string
	// SealedDir is a directory in memory, of this namespace alone, for what confidential containers keep from the disk.
	// Without one they are refused.
	SealedDir string
	// Devices puts devices into containers. Without it those that have devices are refused.
	Devices Injector
	// Dial makes the connections to registries; nil is the system's way.
	Dial   dialer
	Logger *slog.Logger // default: none
}

func (o *Options) complete() error {
	if o.Address == "" {
		return errors.New("the address of containerd's socket is missing")
	}
	if o.Namespace == "" {
		return errors.New("the containerd namespace is missing")
	}
	if o.Snapshotter == "" {
		o.Snapshotter = defaults.DefaultSnapshotter
	}
	if o.CgroupRoot == "" {
		o.CgroupRoot = "/headway"
	}
	if o.PullStall == 0 {
		o.PullStall = defaultPullStall
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// connectTimeout bounds how long Open waits for containerd, and every attempt to connect again.
const connectTimeout = 10 * time.Second

// cleanTimeout bounds what is done to clear up after a call whose own context may be over.
const cleanTimeout = 30 * time.Second

// A Runtime is one namespace of a containerd. Its methods may be called at the same time.
type Runtime struct {
	options Options
	client  *client.Client
	images  *imageCache
	store   *archives
	pulls   flights
	uses    *uses
	// granting is held while the rights to an image change.
	granting sync.Mutex
	pods     *keyedSlots // a lock for each pod's shim
	execs    *keyedSlots // by pod
	network  hostNetwork
	sealed   sealing
	// slots bound how many containers are made at once: more only makes each of them wait longer.
	slots  chan struct{}
	fifos  string // directory for those of executed commands
	host   hostLimits
	log    *log.Entry
	busy   busy
	sweeps *sweeps
	bounds boundsCache
	roster *roster
	// daemon tells this process's leases from those of earlier ones.
	daemon string
	// imageDir is where containerd unpacks images; empty if it does not say.
	imageDir string
}

var (
	_ node.Runtime = (*Runtime)(nil)
	_ node.Images  = (*Runtime)(nil)
	_ node.Puller  = (*Runtime)(nil)
)

// Open connects to containerd and clears away what an earlier daemon left half made; Run goes on with that. When containerd
// restarts, the connection comes back by itself; calls fail until then.
func Open(ctx context.Context, o Options) (*Runtime, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c, err := client.New(o.Address, client.WithExtraDialOpts([]grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: connectTimeout,
		}),
	}))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: %w", o.Address, err)
	}
	r := &Runtime{
		options: o, client: c,
		images: newImageCache(),
		uses:   newUses(),
		store:  newArchives(o.ImageDir, o.Logger),
		slots:  make(chan struct{}, 2*goruntime.NumCPU()),
		pods:   newKeyedSlots(1),
		execs:  newKeyedSlots(execsPerPod),
		fifos:  fifoDir(o.Address, o.Namespace),
		host:   readHostLimits(seccomp.IsEnabled()),
		log:    clientLog(o.Logger),
		sweeps: newSweeps(),
		daemon: rand.Text(),
		roster: newRoster(),
	}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Runtime) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(r.scope(ctx), connectTimeout)
	defer cancel()
	if serving, err := r.client.IsServing(ctx); err != nil {
		return fmt.Errorf("containerd at %s does not answer (does it run?): %w", r.options.Address, err)
	} else if !serving {
		return fmt.Errorf("containerd at %s is not ready", r.options.Address)
	}
	if err := os.RemoveAll(r.fifos); err != nil {
		return err
	}
	var err error
	if r.sealed, err = openSealing(r.options.SealedDir); err != nil {
		return err
	}
	if err := errors.Join(r.sweep(ctx), r.findImages(ctx)); err != nil {
		return err
	}
	r.network, err = openHostNetwork()
	return err
}

// fifoDir is a directory that only root can write to, for one namespace of one containerd.
func fifoDir(address, namespace string) string {
	sum := sha256.Sum256([]byte(address + "\x00" + namespace))
	return filepath.Join(defaults.DefaultFIFODir, "headway-"+hex.EncodeToString(sum[:6]))
}

// Close ends what is under way, and the connection. Containers run on. It is called once.
func (r *Runtime) Close() error {
	r.pulls.close()
	return errors.Join(r.client.Close(), r.network.close(), os.RemoveAll(r.fifos))
}

// Version names the runtime and its version, as Kubernetes does: containerd://1.6.20.
func (r *Runtime) Version(ctx context.Context) (string, error) {
	v, err := r.client.Version(r.scope(ctx))
	if err != nil {
		return "", fmt.Errorf("version of containerd: %w", err)
	}
	return "containerd://" + v.Version, nil
}

// scope binds a context to the namespace, and to the log.
func (r *Runtime) scope(ctx context.Context) context.Context {
	return log.WithLogger(namespaces.WithNamespace(ctx, r.options.Namespace), r.log)
}

// clearing is a context to clear up with, whether or not that of the call is over.
func clearing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
}
