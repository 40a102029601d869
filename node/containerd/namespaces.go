package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/containerd/cgroups/v3"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

// A hostNetwork is the network namespace that the daemon was started in. Where several nodes share a machine, that is the
// node's, and not the machine's. It is held open: the daemon's threads go in and out of others.
type hostNetwork struct{ file *os.File }

func openHostNetwork() (hostNetwork, error) {
	f, err := os.Open("/proc/thread-self/ns/net")
	return hostNetwork{f}, err
}

// path leads any process of the machine to the namespace.
func (h hostNetwork) path() string {
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(h.file.Fd()))
}

func (h hostNetwork) close() error {
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}

// withNamespaces joins the pod's namespaces, or the machine's where the pod asks for them. The hostname is the sandbox's:
// naming one in the specification would change it for all. Processes is the path of a process namespace to join; empty is
// one of the container's own.
func (r *Runtime) withNamespaces(config node.ContainerConfig, processes string) (oci.SpecOpts, error) {
	spec := config.Spec
	if spec == nil {
		spec = &corev1.PodSpec{}
	}
	if spec.HostUsers != nil && !*spec.HostUsers {
		return nil, errors.New("hostUsers is false, but this containerd gives pods no users of their own: remove it")
	}
	join := map[specs.LinuxNamespaceType]string{
		specs.NetworkNamespace: config.Sandbox.NetNS, specs.IPCNamespace: config.Sandbox.IPCNS,
		specs.UTSNamespace: config.Sandbox.UTSNS, specs.PIDNamespace: processes,
	}
	var options []oci.SpecOpts
	host := func(kind specs.LinuxNamespaceType) {
		delete(join, kind)
		options = append(options, oci.WithHostNamespace(kind))
	}
	if spec.HostNetwork {
		host(specs.UTSNamespace)
		join[specs.NetworkNamespace] = r.network.path()
	}
	if spec.HostIPC {
		host(specs.IPCNamespace)
	}
	if spec.HostPID {
		host(specs.PIDNamespace)
	}
	for kind, path := range join {
		if path != "" {
			options = append(options, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: kind, Path: path}))
		}
	}
	if cgroups.Mode() == cgroups.Unified {
		options = append(options, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}))
	}
	return oci.Compose(options...), nil
}

// sharedProcesses is the process namespace of a pod whose containers share one: that of any of its containers that is
// there, or empty for the first.
//
// No process only holds the namespace: the first process of the container that was made first is that of the namespace
// too. When it ends the kernel kills all others, with exit code 137, and by the pod's restart policy they come back, in a
// namespace of whichever is made first then. Kubernetes has a process of its own for that, and there the others run on.
func (r *Runtime) sharedProcesses(ctx context.Context, config node.ContainerConfig) (string, error) {
	if config.Spec == nil || !isTrue(config.Spec.ShareProcessNamespace) || config.Spec.HostPID {
		return "", nil
	}
	siblings, err := r.recordsOf(ctx, config.Pod.UID)
	if err != nil {
		return "", err
	}
	for _, s := range siblings {
		pid, err := r.livingProcess(ctx, s)
		if err != nil {
			return "", err
		}
		if pid > 0 {
			return fmt.Sprintf("/proc/%d/ns/pid", pid), nil
		}
	}
	return "", nil
}

// livingProcess is the first process of a container, 0 if it has none.
func (r *Runtime) livingProcess(ctx context.Context, c containers.Container) (uint32, error) {
	t, err := r.client.TaskService().Get(ctx, &tasks.GetRequest{ContainerID: c.ID})
	if err = errgrpc.ToNative(err); errdefs.IsNotFound(err) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	if s := t.Process.Status; s != task.Status_CREATED && s != task.Status_RUNNING {
		return 0, nil
	}
	return t.Process.Pid, nil
}
