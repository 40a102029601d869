package containerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/apparmor"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
)

// setSeccomp has the kernel filter the container's system calls: by containerd's default, unless the profile says else.
func (r *Runtime) setSeccomp(s *specs.Spec, architecture string, profile *corev1.SeccompProfile) error {
	kind := corev1.SeccompProfileTypeRuntimeDefault
	if profile != nil {
		kind = profile.Type
	}
	switch {
	case kind == corev1.SeccompProfileTypeUnconfined:
		return nil
	case kind == corev1.SeccompProfileTypeRuntimeDefault && !r.host.seccomp:
		return nil
	case kind == corev1.SeccompProfileTypeRuntimeDefault:
		s.Linux.Seccomp = systemCalls(s, architecture)
		return nil
	case kind != corev1.SeccompProfileTypeLocalhost:
		return fmt.Errorf("seccompProfile: there is no type %q", kind)
	case !r.host.seccomp:
		return errors.New("seccompProfile: this machine's kernel filters no system calls")
	case profile.LocalhostProfile == nil || *profile.LocalhostProfile == "":
		return errors.New("seccompProfile: the type Localhost needs a localhostProfile")
	}
	filter, err := readSeccomp(r.options.SeccompDir, *profile.LocalhostProfile)
	if err != nil {
		return fmt.Errorf("seccompProfile %s: %w", *profile.LocalhostProfile, err)
	}
	s.Linux.Seccomp = filter
	return nil
}

// readSeccomp reads a profile of the node, in the form that the OCI gives to linux.seccomp. Its name leads nowhere else.
func readSeccomp(dir, name string) (*specs.LinuxSeccomp, error) {
	if dir == "" {
		return nil, errors.New("this node has no directory of profiles")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("this node has no directory of profiles: %w", err)
	}
	defer root.Close()
	data, err := root.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("this node has no such profile in %s: %w", dir, err)
	}
	filter := new(specs.LinuxSeccomp)
	if err := json.Unmarshal(data, filter); err != nil {
		return nil, err
	}
	if filter.DefaultAction == "" {
		return nil, errors.New("it has no defaultAction")
	}
	return filter, nil
}

// systemCalls is containerd's default filter for the capabilities that a specification gives, and for the machine's and
// the image's own architectures. A program of another one is killed at its first system call. With all that the machine
// can run, the default, runc would compile the filter for longer than it takes to make the rest of the container.
func systemCalls(s *specs.Spec, architecture string) *specs.LinuxSeccomp {
	filter := seccomp.DefaultProfile(s)
	machine, ok := architectures[goruntime.GOARCH]
	images, known := architectures[architecture]
	if ok && known {
		filter.Architectures = slices.Compact([]specs.Arch{machine, images})
	}
	return filter
}

// architectures are the kernel's names of those in images.
var architectures = map[string]specs.Arch{
	"amd64": specs.ArchX86_64, "386": specs.ArchX86, "arm64": specs.ArchAARCH64, "arm": specs.ArchARM,
	"s390x": specs.ArchS390X, "ppc64le": specs.ArchPPC64LE, "riscv64": specs.ArchRISCV64,
}

const (
	// appArmorDefault is the name under which containerd's default profile is loaded.
	appArmorDefault  = "headway-default"
	appArmorParser   = "/sbin/apparmor_parser"
	appArmorEnabled  = "/sys/module/apparmor/parameters/enabled"
	appArmorProfiles = "/sys/kernel/security/apparmor/profiles"
)

// hasAppArmor says whether the kernel confines processes by AppArmor.
func hasAppArmor() bool {
	enabled, err := os.ReadFile(appArmorEnabled)
	return err == nil && strings.HasPrefix(string(enabled), "Y")
}

// setAppArmor confines the container by the default profile, where the machine can load one, or by one of the machine's.
func (r *Runtime) setAppArmor(s *specs.Spec, profile *corev1.AppArmorProfile) error {
	kind := corev1.AppArmorProfileTypeRuntimeDefault
	if profile != nil {
		kind = profile.Type
	}
	switch {
	case kind == corev1.AppArmorProfileTypeUnconfined:
		return nil
	case kind == corev1.AppArmorProfileTypeRuntimeDefault:
		if _, err := os.Stat(appArmorParser); !r.host.appArmor || err != nil {
			return nil
		}
		if err := apparmor.LoadDefaultProfile(appArmorDefault); err != nil {
			return fmt.Errorf("appArmorProfile: %w", err)
		}
		s.Process.ApparmorProfile = appArmorDefault
		return nil
	case kind != corev1.AppArmorProfileTypeLocalhost:
		return fmt.Errorf("appArmorProfile: there is no type %q", kind)
	case profile.LocalhostProfile == nil || *profile.LocalhostProfile == "":
		return errors.New("appArmorProfile: the type Localhost needs a localhostProfile")
	case !r.host.appArmor:
		return fmt.Errorf("appArmorProfile %s: this machine's kernel has no AppArmor", *profile.LocalhostProfile)
	}
	loaded, err := os.ReadFile(appArmorProfiles)
	if err != nil {
		return fmt.Errorf("appArmorProfile: %w", err)
	}
	if !listsProfile(string(loaded), *profile.LocalhostProfile) {
		return fmt.Errorf("appArmorProfile %s: this machine has not loaded it (see %s)", *profile.LocalhostProfile, appArmorProfiles)
	}
	s.Process.ApparmorProfile = *profile.LocalhostProfile
	return nil
}

// listsProfile looks for a profile in the kernel's list, whose lines are as "NAME (MODE)".
func listsProfile(list, name string) bool {
	for line := range strings.Lines(list) {
		if i := strings.LastIndex(line, " ("); i >= 0 && line[:i] == name {
			return true
		}
	}
	return false
}
