package crash_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/testenv"
	"headway.dev/headway/internal/thread"
)

// state is all that the machine holds, a line each, in an order: containers, shims, snapshots, mounts, control groups,
// links, addresses, routes, rules, files. What differs from run to run is replaced by what it stands for.
func (m *machine) state() string {
	m.Helper()
	var lines []string
	names := maps.Clone(m.names)
	names[m.order.Namespace] = "NAMESPACE"
	lines = append(lines, m.containers(names)...)
	lines = append(lines, m.snapshots()...)
	lines = append(lines, m.mounts()...)
	lines = append(lines, m.namespaces()...)
	lines = append(lines, m.controlGroups()...)
	lines = append(lines, m.network()...)
	lines = append(lines, m.files()...)
	shims, err := testenv.Shims(m.order.Address, m.order.Namespace)
	if err != nil {
		m.Fatal(err)
	}
	lines = append(lines, fmt.Sprintf("%d shims", len(shims)))
	var pairs []string
	for from, to := range names {
		pairs = append(pairs, from, to)
	}
	replace := strings.NewReplacer(pairs...)
	for i, line := range lines {
		lines[i] = addresses.ReplaceAllString(links.ReplaceAllString(replace.Replace(line), "LINK"), "ADDRESS")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

var (
	addresses = regexp.MustCompile(`10\.244\.1\.(?:[2-9]|[1-9][0-9]+)\b`) // of pods; the first is the gateway's
	links     = regexp.MustCompile(`\bhw[0-9a-f]{8,}\b`)
)

// containers are containerd's records with the states of their tasks. It gives their IDs names.
func (m *machine) containers(names map[string]string) []string {
	m.Helper()
	records, err := m.client.ContainerService().List(m.context())
	if err != nil {
		m.Fatal(err)
	}
	running, err := m.client.TaskService().List(m.context(), &tasks.ListTasksRequest{})
	if err != nil {
		m.Fatal(err)
	}
	var lines []string
	for _, r := range records {
		name := m.names[r.Labels["headway.dev/pod-uid"]] + "." + r.Labels["headway.dev/container"] + "." + r.Labels["headway.dev/attempt"]
		names[r.ID] = name
		state := "without a task"
		for _, t := range running.Tasks {
			if t.ID == r.ID {
				state = strings.ToLower(t.Status.String())
			}
		}
		lines = append(lines, "container "+name+" "+state)
	}
	for _, t := range running.Tasks {
		if _, found := names[t.ID]; !found {
			lines = append(lines, "task without a container")
		}
	}
	return lines
}

// snapshots are those that can be written to, a container's own or one that a layer is unpacked into, and the leases that
// hold what is neither an image's nor a container's.
func (m *machine) snapshots() []string {
	m.Helper()
	writable := 0
	err := m.client.SnapshotService("overlayfs").Walk(m.context(), func(_ context.Context, info snapshots.Info) error {
		if info.Kind != snapshots.KindCommitted {
			writable++
		}
		return nil
	})
	if err != nil {
		m.Fatal(err)
	}
	held, err := m.client.LeasesService().List(m.context())
	if err != nil {
		m.Fatal(err)
	}
	return []string{fmt.Sprintf("%d leases", len(held)), fmt.Sprintf("%d writable snapshots", writable)}
}

// mounts are those of the node and of its containerd.
func (m *machine) mounts() []string {
	m.Helper()
	var lines []string
	for _, point := range m.mountPoints() {
		if path, ok := m.within(point); ok {
			lines = append(lines, "mount "+path)
		}
	}
	return lines
}

// namespaces are those of pods that are pinned, in a mount namespace of their own.
func (m *machine) namespaces() []string {
	m.Helper()
	anchor, err := os.Open(filepath.Join(m.order.RunDir, "ns", "namespace"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		m.Fatal(err)
	}
	defer anchor.Close()
	var lines []string
	err = thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return err
		}
		if err := unix.Setns(int(anchor.Fd()), unix.CLONE_NEWNS); err != nil {
			return err
		}
		return fs.WalkDir(os.DirFS("/"), ".", func(path string, d fs.DirEntry, err error) error {
			var st unix.Statfs_t
			if err == nil && !d.IsDir() {
				err = unix.Statfs("/"+path, &st)
				lines = append(lines, fmt.Sprintf("namespace %s pinned %t", path, st.Type == unix.NSFS_MAGIC))
			}
			return ignoreNotExist(err)
		})
	})
	if err != nil {
		m.Fatal(err)
	}
	return lines
}

// mountPoints are all of this machine, in the order in which they were mounted.
func (m *machine) mountPoints() []string {
	m.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		m.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		points = append(points, strings.Fields(line)[4])
	}
	return points
}

// shims are the command lines of the shims, to be shown where there are too many.
func (m *machine) shims() string {
	pids, _ := testenv.Shims(m.order.Address, m.order.Namespace)
	var all []string
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all = append(all, fmt.Sprint(pid, " ", strings.ReplaceAll(string(line), "\x00", " ")))
	}
	return strings.Join(all, "\n")
}

// within gives a path below the node's directories or its containerd's, from there.
func (m *machine) within(path string) (string, bool) {
	for _, root := range []string{filepath.Dir(m.order.Dir), filepath.Dir(m.order.Address)} {
		if rest, ok := strings.CutPrefix(path, root+"/"); ok {
			return rest, true
		}
	}
	return "", false
}

func (m *machine) controlGroups() []string {
	m.Helper()
	var lines []string
	for _, hierarchy := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup"} {
		root := hierarchy + m.order.CgroupRoot
		if _, err := os.Stat(root); err != nil {
			continue
		}
		lines = append(lines, m.tree("control group", root, func(_ string, d fs.DirEntry) bool { return d.IsDir() })...)
		break
	}
	return lines
}

// tree lists what is below a directory and chosen.
func (m *machine) tree(kind, root string, chosen func(path string, d fs.DirEntry) bool) []string {
	m.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root || !chosen(path, d) {
			return ignoreNotExist(err)
		}
		lines = append(lines, kind+strings.TrimPrefix(path, root))
		return nil
	})
	if err != nil {
		m.Fatal(err)
	}
	return lines
}

// ignoreNotExist drops what went away while it was looked at.
func ignoreNotExist(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// network are the links, the routes and the rules of the machine.
func (m *machine) network() []string {
	m.Helper()
	var lines []string
	m.netns.Must(m, func() error {
		all, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range all {
			lines = append(lines, "link "+l.Type())
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		for _, r := range routes {
			lines = append(lines, "route "+r.Dst.String())
		}
		return err
	})
	for line := range strings.Lines(m.netns.Run(m, "", "iptables-save")) {
		if strings.HasPrefix(line, "-A") || strings.HasPrefix(line, ":HEADWAY") {
			lines = append(lines, "rule "+strings.TrimSpace(strings.Split(line, " [")[0]))
		}
	}
	return lines
}

// files are what the node keeps of its pods, by their directories, and the addresses that it has given.
func (m *machine) files() []string {
	m.Helper()
	var lines []string
	for kind, root := range map[string]string{"kept": m.order.Dir, "in memory": m.order.RunDir} {
		lines = append(lines, m.tree(kind+" ", root, func(path string, d fs.DirEntry) bool {
			depth := strings.Count(strings.TrimPrefix(path, root), "/")
			return depth == 2 || depth == 3 && d.IsDir()
		})...)
	}
	return lines
}
