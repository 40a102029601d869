package node

import (
	"context"
	"io"
	"net/netip"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A Sandbox is what the containers of a pod share: network, IPC and UTS namespaces, pinned by bind mounts so that they
// need no process, and the pod's address.
type Sandbox struct {
	UID   string
	IP    netip.Addr
	NetNS string // path of the pinned network namespace
	IPCNS string
	UTSNS string
}

// Network gives pods their namespaces and addresses, and the machine its routes to other nodes' pods.
type Network interface {
	// Attach makes the pod's sandbox, or finds it as it was left: it may be called again after a crash at any point.
	Attach(ctx context.Context, uid, hostname string) (Sandbox, error)
	// Detach removes the sandbox and frees its address. One that is not there is success.
	Detach(ctx context.Context, uid string) error
	// Sandboxes lists every sandbox on the machine, whole or half made.
	Sandboxes(ctx context.Context) ([]Sandbox, error)
	// SetPeers routes the pod ranges of the other nodes, and only of those.
	SetPeers(ctx context.Context, peers []api.NodeInfo) error
}

// A Router programs services into the kernel.
type Router interface {
	// Apply makes the kernel's rules those of the table. When it returns without error, every new connection follows them.
	Apply(ctx context.Context, table api.RouteTable) error
}

// Images brings images to the machine.
type Images interface {
	// Ensure has the image unpacked on the machine, by the pull policy; it returns the digest it resolved to.
	// An image that cannot be had is an *ImageError.
	Ensure(ctx context.Context, image string, policy corev1.PullPolicy) (digest string, err error)
}

// An ImageError says why an image is not there, in Kubernetes' words for the reason (ErrImagePull, ErrImageNeverPull,
// InvalidImageName).
type ImageError struct {
	Image  string
	Reason string
	Err    error
}

func (e *ImageError) Error() string { return e.Reason + ": " + e.Image + ": " + e.Err.Error() }
func (e *ImageError) Unwrap() error { return e.Err }

// A Mount puts a path of the machine into a container.
type Mount struct {
	Source   string
	Target   string
	ReadOnly bool
	// Recursive is how far ReadOnly goes into what is mounted below the path; default Disabled.
	Recursive corev1.RecursiveReadOnlyMode
	// Propagation says which later mounts below the path pass between machine and container; default None.
	Propagation corev1.MountPropagationMode
}

// A ContainerConfig is all that a runtime needs to make one container.
type ContainerConfig struct {
	Pod       api.PodIdentity
	Attempt   int // how often this container ran before in this pod
	Container corev1.Container
	Spec      *corev1.PodSpec
	Sandbox   Sandbox
	Env       []string // NAME=value, complete but for what the image sets
	// Confidential says that Env or the command holds what must never come to a disk.
	Confidential bool
	Mounts       []Mount
	// Devices are those that it has to itself, by the names that Devices gives them.
	Devices []string
	LogPath string // both output streams are appended here, by the shim, whether or not the daemon lives
}

// A Container is what a runtime knows of a container it made. All of it survives the daemon.
type Container struct {
	ID       string
	PodUID   string
	Pod      api.Ref
	Name     string
	Attempt  int
	Template api.Digest
	Devices  []string // of its configuration
	State    ContainerState
	PID      int // in the machine's own process table; 0 unless running
	ExitCode int
	Started  time.Time
	Finished time.Time
	OOM      bool // the kernel killed it for its memory
	Lost     bool // what ran it is gone, so that how it ended is not known
}

// A StartError says that a container's process cannot be started, by the container's own fault: its command does not exist,
// its working directory is a file. Create or Start returns it. It counts as an end of the run.
type StartError struct{ Err error }

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// ContainerState is where a container is in its life.
type ContainerState string

// The states of a container.
const (
	ContainerCreated ContainerState = "created"
	ContainerRunning ContainerState = "running"
	ContainerExited  ContainerState = "exited"
)

// Runtime runs containers.
type Runtime interface {
	// Create makes a container that has not started. Its ID derives from pod UID, name and attempt: creating it again
	// after a crash finds it, or clears away the half that was made. An ImageError says that its image is not there.
	Create(ctx context.Context, config ContainerConfig) (id string, err error)
	// Start starts it. One that runs is success.
	Start(ctx context.Context, id string) error
	// Stop asks its first process to end, by the signal that its image names for that, or else SIGTERM. A container that is
	// gone or has ended is success.
	Stop(ctx context.Context, id string) error
	// Signal sends a signal to its first process. A container that is gone or has ended is success.
	Signal(ctx context.Context, id string, signal syscall.Signal) error
	// Remove kills what still runs and deletes the container with its snapshot. One that is gone is success.
	Remove(ctx context.Context, id string) error
	// Containers lists every container that headway made on this machine.
	Containers(ctx context.Context) ([]Container, error)
	// ContainersOf lists those of one pod, by its UID, without asking how the others are.
	ContainersOf(ctx context.Context, pod string) ([]Container, error)
	// Watch calls fn with the ID of every container that ends, until ctx is done. It survives a restart of the runtime:
	// after a gap it calls fn with an empty ID, which asks for a look at all.
	Watch(ctx context.Context, fn func(id string)) error
	// Exec runs a command in the container and returns its exit code.
	Exec(ctx context.Context, id string, command []string, streams Streams) (exitCode int, err error)
}

// Streams are the ends of an executed command. A nil one is empty or discarded. Both outputs may go to one writer, which is
// then written to by one at a time.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// TTY has the command run on a terminal, whose output all goes to Stdout. Resize gives its size to begin with and
	// each one after that.
	TTY    bool
	Resize <-chan api.TerminalSize
}

// Prober asks a container how it is, over the network.
type Prober interface {
	// Probe makes one attempt of a TCP, HTTP or gRPC probe against the pod's address; nil is success. Ports by name are
	// looked up among the container's.
	Probe(ctx context.Context, handler corev1.ProbeHandler, ip netip.Addr, ports []corev1.ContainerPort) error
}

// Volumes makes the directories and files that pods mount.
type Volumes interface {
	// Prepare makes every volume of the pod and returns the machine's path of each by volume name, and under the name
	// SharedMemory that of the memory that its containers share, where there are several. It may be called again.
	Prepare(ctx context.Context, config VolumeConfig) (map[string]string, error)
	// Remove deletes the volumes of the pod.
	Remove(ctx context.Context, uid string) error
	// Pods lists the UIDs of pods that have volumes on the machine.
	Pods(ctx context.Context) ([]string, error)
}

// SharedMemory is where containers look for memory that they share. No volume has such a name.
const SharedMemory = "/dev/shm"

// A VolumeConfig is all that the volumes of a pod are made from.
type VolumeConfig struct {
	UID      string
	Template *api.PodTemplate
	Configs  map[string]api.ConfigData // by name
	Secrets  map[string]api.SecretData // by name
	// Claims are the machine's directories behind claims, by the name of the volume.
	Claims map[string]string
	// Volumes are the declared volumes that claims are bound to, by the name of the volume.
	Volumes map[string]api.BoundVolume
	// Downward gives what a file of the downward API holds.
	Downward func(file corev1.DownwardAPIVolumeFile) (string, error)
}

// A VolumeUpdater changes the files of a pod's config maps, secrets and downward API in place.
type VolumeUpdater interface {
	// Update makes the files what the configuration says now. A process sees all files of a volume as they were before,
	// or all as they are now.
	Update(ctx context.Context, config VolumeConfig) error
}

// A SubPather gives parts of volumes.
type SubPather interface {
	// SubPath gives a path of the machine that leads to a part of a volume, whatever links the pod puts into the volume
	// meanwhile. A part that is missing is made, as a directory, unless the volume is one that pods only read.
	SubPath(ctx context.Context, part SubPath) (string, error)
}

// A SubPath is a part of a volume, for one mount of one container.
type SubPath struct {
	UID       string
	Volume    string // name
	Source    string // what Prepare returned for the volume
	Path      string // within it
	Container string
	Mount     int  // number of the mount in the container
	ReadOnly  bool // the volume is one that pods only read
}

// A VolumeMeter measures what pods have written.
type VolumeMeter interface {
	// VolumeUsage gives the bytes on disk of each of the pod's emptyDir volumes that is not in memory, by name.
	VolumeUsage(ctx context.Context, uid string) (map[string]int64, error)
}

// A StorageMeter measures what containers have written.
type StorageMeter interface {
	// ContainerUsage gives the bytes on disk of a container's own files. Of one that is gone it is nothing.
	ContainerUsage(ctx context.Context, id string) (int64, error)
}

// Devices are what the machine has to give to containers, each device to one of them at a time.
type Devices interface {
	// Devices gives them by the extended resource that containers ask for, such as nvidia.com/gpu, in the order in which they
	// are given out. The name of each begins with the resource and an equals sign.
	Devices() map[string][]string
	// Watch calls fn at once and whenever they may have changed, until ctx is done.
	Watch(ctx context.Context, fn func()) error
}

// Secrets opens what is sealed to this node.
type Secrets interface {
	// Open gives the plain content of what was sealed to the node's key (api.NodeInfo.SealKey). The agent asks each time it
	// makes a volume or a container, and keeps nothing.
	Open(sealed []byte) (plain []byte, err error)
}

// Witnesses are the other nodes, which can be asked past the bus.
type Witnesses interface {
	// Ask asks peers whether they have lost the leader, or have only just found one again. It gives how many said so, when
	// enough have or ctx is done.
	Ask(ctx context.Context, peers []api.NodeInfo, enough int) (lost int)
}

// Logs reads and bounds the files that containers' output is appended to.
type Logs interface {
	// Read copies what the options choose of the log of one run of a container to w. With Follow it goes on with what
	// is appended, until ended is closed and all is copied, or ctx is done.
	Read(ctx context.Context, path string, options api.LogOptions, ended <-chan struct{}, w io.Writer) error
	// Trim gives back the disk space of all but about the last keep bytes. The writer need not know.
	Trim(path string, keep int64) error
}

// A LogDater notes when logs grow: lines carry no time.
type LogDater interface {
	// Date notes when the log was last written to, if it is not as long as known says; negative is not known. It gives how
	// long the log is.
	Date(path string, known int64) (length int64, err error)
}

// Bus is the node's side of the bus. Its watches deliver levels: the newest whole set, again after every reconnection.
type Bus interface {
	PutNode(ctx context.Context, info api.NodeInfo) error
	Beat(ctx context.Context, beat api.Heartbeat) error
	// WatchGrants calls fn with each answer of the leader to the node's heartbeats, until ctx is done.
	WatchGrants(ctx context.Context, node string, fn func(api.Grant)) error
	PutStatus(ctx context.Context, status api.NodeStatus) error
	PutAck(ctx context.Context, ack api.Ack) error
	PublishEvent(ctx context.Context, event api.Event) error
	// Blob fetches immutable content and checks it against its digest.
	Blob(ctx context.Context, digest api.Digest) ([]byte, error)
	// WatchAssignment calls fn with each newest assignment of the node, until ctx is done. An assignment that is not
	// there is not an empty one: fn is not called.
	WatchAssignment(ctx context.Context, node string, fn func(api.Assignment)) error
	// WatchRoutes calls fn with each newest complete table.
	WatchRoutes(ctx context.Context, fn func(api.RouteTable)) error
	// WatchNodes calls fn with all nodes known, ordered by name.
	WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error
}

// A Stream carries frames between the node and a person's command.
type Stream interface {
	Send(ctx context.Context, frame api.StreamFrame) error
	// Recv waits for the next frame; io.EOF when the other side has closed.
	Recv(ctx context.Context) (api.StreamFrame, error)
}
