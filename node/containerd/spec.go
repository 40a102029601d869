package containerd

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
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
		withSandbox(config.Sandbox), r.withSecurity(i, pod, own),
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
	r.host.limit(s, config)
	return s, nil
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
		options := []string{"rbind", "rprivate", "rw"}
		if m.ReadOnly {
			options[2] = "ro"
		}
		target := path.Clean("/" + m.Target)
		replaced[target] = true
		added = append(added, specs.Mount{Destination: target, Type: "bind", Source: m.Source, Options: options})
	}
	slices.SortStableFunc(added, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	kept := slices.DeleteFunc(slices.Clone(base), func(m specs.Mount) bool { return replaced[m.Destination] })
	return append(kept, added...)
}

// withSandbox joins the pod's namespaces. The hostname is the sandbox's: naming one in the spec would change it for all.
func withSandbox(s node.Sandbox) oci.SpecOpts {
	var options []oci.SpecOpts
	for kind, file := range map[specs.LinuxNamespaceType]string{
		specs.NetworkNamespace: s.NetNS, specs.IPCNamespace: s.IPCNS, specs.UTSNamespace: s.UTSNS,
	} {
		if file != "" {
			options = append(options, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: kind, Path: file}))
		}
	}
	if cgroups.Mode() == cgroups.Unified {
		options = append(options, oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}))
	}
	return oci.Compose(options...)
}
