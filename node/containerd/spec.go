package containerd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/moby/sys/mountinfo"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/node"
)

const (
	// groupAnnotation names the shim that a container's task belongs to. runc's shim reads it from the spec when it starts.
	groupAnnotation = "io.containerd.runc.v2.group"
	// specVersion is the oldest that has all that is used here: an older runtime refuses a newer number.
	specVersion = "1.0.2"
	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// specFor is the OCI specification of a container.
func (r *Runtime) specFor(ctx context.Context, id, group string, i *image, config node.ContainerConfig) (*specs.Spec, error) {
	processes, err := r.sharedProcesses(ctx, config)
	if err != nil {
		return nil, err
	}
	namespaces, err := r.withNamespaces(config, processes)
	if err != nil {
		return nil, err
	}
	parameters, err := sysctls(config.Spec)
	if err != nil {
		return nil, err
	}
	own, pod := securityOf(config)
	who, err := i.users.resolve(i.config.User, pod, own)
	if err != nil {
		return nil, err
	}
	args, err := arguments(i.config, config.Container)
	if err != nil {
		return nil, err
	}
	options := []oci.SpecOpts{
		oci.WithoutRunMount, oci.WithDefaultUnixDevices,
		oci.WithMounts([]specs.Mount{{
			Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
		}}),
		oci.WithAnnotations(map[string]string{groupAnnotation: group}),
		oci.WithCgroup(path.Join(r.options.CgroupRoot, id)),
		namespaces, r.withSecurity(i, pod, own),
	}
	s, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: id}, options...)
	if err != nil {
		return nil, err
	}
	s.Version = specVersion
	s.Root.Readonly = isTrue(own.ReadOnlyRootFilesystem)
	s.Process.User = who
	s.Process.Args = args
	s.Process.Cwd = firstOf(config.Container.WorkingDir, i.config.WorkingDir, "/")
	s.Process.Env = environment(i.config.Env, config.Env)
	s.Process.Rlimits = nil // containerd's own
	s.Mounts = withMounts(s.Mounts, config.Mounts)
	s.Linux.Sysctl = parameters
	if err := propagate(s, config.Mounts); err != nil {
		return nil, err
	}
	if err := r.host.limit(s, config); err != nil {
		return nil, err
	}
	return s, r.inject(s, config.Devices)
}

// inject adds a container's devices, which may replace what is there.
func (r *Runtime) inject(s *specs.Spec, devices []string) error {
	switch {
	case len(devices) == 0:
		return nil
	case r.options.Devices == nil:
		return fmt.Errorf("the container has devices (%s), and nothing on this node puts them into containers", strings.Join(devices, ", "))
	}
	return r.options.Devices.Inject(s, devices)
}

func firstOf(values ...string) string {
	i := slices.IndexFunc(values, func(s string) bool { return s != "" })
	return values[i]
}

// arguments joins a container's command with the image's: a command of the container's own leaves nothing of the image's.
func arguments(i ocispec.ImageConfig, c corev1.Container) ([]string, error) {
	command, args := c.Command, c.Args
	if len(command) == 0 {
		command = i.Entrypoint
		if len(args) == 0 {
			args = i.Cmd
		}
	}
	all := slices.Concat(command, args)
	if len(all) == 0 {
		return nil, errors.New("there is nothing to run: the image names no command, set the container's command")
	}
	return all, nil
}

// environment is the image's with the container's own on top. The last of several values of a name counts.
func environment(base, own []string) []string {
	values := map[string]string{}
	var order []string
	for _, e := range slices.Concat([]string{defaultPath}, base, own) {
		name, _, _ := strings.Cut(e, "=")
		if _, ok := values[name]; !ok {
			order = append(order, name)
		}
		values[name] = e
	}
	env := make([]string, 0, len(order))
	for _, name := range order {
		env = append(env, values[name])
	}
	return env
}

// withMounts adds a container's mounts after the default ones, of which they replace those with the same target. One
// below another comes after it.
func withMounts(base []specs.Mount, own []node.Mount) []specs.Mount {
	replaced := map[string]bool{}
	added := make([]specs.Mount, 0, len(own))
	for _, m := range own {
		target := path.Clean("/" + m.Target)
		replaced[target] = true
		added = append(added, specs.Mount{Destination: target, Type: "bind", Source: m.Source, Options: mountOptions(m)})
	}
	slices.SortStableFunc(added, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	kept := slices.DeleteFunc(slices.Clone(base), func(m specs.Mount) bool { return replaced[m.Destination] })
	return append(kept, added...)
}

func mountOptions(m node.Mount) []string {
	propagation := "rprivate"
	switch m.Propagation {
	case corev1.MountPropagationHostToContainer:
		propagation = "rslave"
	case corev1.MountPropagationBidirectional:
		propagation = "rshared"
	}
	access := "rw"
	switch {
	case m.ReadOnly && isRecursive(m.Recursive):
		access = "rro"
	case m.ReadOnly:
		access = "ro"
	}
	return []string{"rbind", propagation, access}
}

// isRecursive says whether what is mounted below is to be read only too: where the kernel cannot do that, only one who
// insists on it asks for it all the same.
func isRecursive(mode corev1.RecursiveReadOnlyMode) bool {
	switch mode {
	case corev1.RecursiveReadOnlyEnabled:
		return true
	case corev1.RecursiveReadOnlyIfPossible:
		// Of no file at all: a kernel that has the call says so, one before 5.12 does not know it.
		return !errors.Is(unix.MountSetattr(-1, "", 0, &unix.MountAttr{}), unix.ENOSYS)
	}
	return false
}

// propagate has the container's file system take part in what its mounts pass on, and checks that the machine's do.
func propagate(s *specs.Spec, mounts []node.Mount) error {
	for _, m := range mounts {
		switch m.Propagation {
		case corev1.MountPropagationBidirectional:
			if err := isShared(m.Source); err != nil {
				return err
			}
			s.Linux.RootfsPropagation = "rshared"
		case corev1.MountPropagationHostToContainer:
			if s.Linux.RootfsPropagation == "" {
				s.Linux.RootfsPropagation = "rslave"
			}
		}
	}
	return nil
}

// isShared refuses a path below a mount that passes nothing on.
func isShared(source string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(source))
	if err != nil {
		return err
	}
	var nearest *mountinfo.Info
	for _, m := range mounts {
		if nearest == nil || len(m.Mountpoint) >= len(nearest.Mountpoint) {
			nearest = m
		}
	}
	if nearest == nil || !strings.Contains(nearest.Optional, "shared:") {
		return fmt.Errorf("mountPropagation is Bidirectional, but the machine has mounted %s privately: run mount --make-rshared on it", source)
	}
	return nil
}
