package volume_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

func hostPath(path string, kind corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
}

func TestHostPath(t *testing.T) {
	v, _ := open(t)
	dir := t.TempDir()
	file, socket, link := filepath.Join(dir, "file"), filepath.Join(dir, "s"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	block := filepath.Join(dir, "block")
	if err := unix.Mknod(block, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		kind corev1.HostPathType
		err  string
	}{
		{dir, corev1.HostPathUnset, ""},
		{dir, corev1.HostPathDirectory, ""},
		{dir, corev1.HostPathDirectoryOrCreate, ""},
		{dir, corev1.HostPathFile, "is not of type File"},
		{file, corev1.HostPathFile, ""},
		{link, corev1.HostPathFile, ""},
		{file, corev1.HostPathFileOrCreate, ""},
		{file, corev1.HostPathDirectory, "is not of type Directory"},
		{file, corev1.HostPathSocket, "is not of type Socket"},
		{socket, corev1.HostPathSocket, ""},
		{"/dev/null", corev1.HostPathCharDev, ""},
		{"/dev/null", corev1.HostPathBlockDev, "is not of type BlockDevice"},
		{block, corev1.HostPathBlockDev, ""},
		{block, corev1.HostPathCharDev, "is not of type CharDevice"},
		{filepath.Join(dir, "none"), corev1.HostPathDirectory, "does not exist on this machine"},
		{filepath.Join(dir, "none"), corev1.HostPathSocket, "does not exist on this machine"},
		{filepath.Join(dir, "no", "file"), corev1.HostPathFileOrCreate, "no such file"},
		{filepath.Join(dir, "new", "dir"), corev1.HostPathDirectoryOrCreate, ""},
		{filepath.Join(dir, "new", "file"), corev1.HostPathFileOrCreate, ""},
		{filepath.Join(dir, "unset"), corev1.HostPathUnset, ""},
		{dir, "Pipe", `there is no type "Pipe"`},
		{"relative", corev1.HostPathUnset, "not an absolute path"},
	} {
		paths, err := v.Prepare(t.Context(), of("u1", template(hostPath(c.path, c.kind)), nil))
		switch {
		case c.err == "" && (err != nil || paths["v"] != c.path):
			t.Errorf("%s as %q: %v, %v", c.path, c.kind, paths["v"], err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s as %q: got %v, want %q", c.path, c.kind, err, c.err)
		}
	}
	for path, want := range map[string]string{"new/dir": "drwxr-xr-x", "new/file": "-rw-r--r--", "unset": "drwxr-xr-x"} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().String() != want {
			t.Errorf("%s: %v, %v; want %s", path, info.Mode(), err, want)
		}
	}
	if err := v.Remove(t.Context(), "u1"); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "kept" {
		t.Errorf("removing the pod's volumes took the machine's files: %q, %v", data, err)
	}
}

func TestClaim(t *testing.T) {
	v, _ := open(t)
	path := filepath.Join(t.TempDir(), "claims", "shop", "data")
	spec := template(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
	}})
	config := of("u1", spec, nil)
	if _, err := v.Prepare(t.Context(), config); err == nil || !strings.Contains(err.Error(), "no directory on this machine") {
		t.Errorf("got %v", err)
	}
	config.Claims = map[string]string{"v": path}
	for _, uid := range []string{"u1", "u2"} {
		config.UID = uid
		paths, err := v.Prepare(t.Context(), config)
		if err != nil || paths["v"] != path {
			t.Fatalf("%v, %v", paths, err)
		}
		if _, err := os.Stat(filepath.Join(path, "kept")); uid == "u2" && err != nil {
			t.Errorf("the next pod does not find what the first wrote: %v", err)
		}
		if err := os.WriteFile(filepath.Join(path, "kept"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := v.Remove(t.Context(), uid); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("%v, %v", info, err)
	}
}

// owner gives a file's group and mode.
func owner(t *testing.T, path string) (group uint32, mode string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Gid, info.Mode().String()
}

func TestFSGroup(t *testing.T) {
	v, _ := open(t)
	claim := filepath.Join(t.TempDir(), "claim")
	outside := filepath.Join(t.TempDir(), "outside")
	for path, data := range map[string]string{outside: "x", filepath.Join(claim, "deep", "file"): "y"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(claim, "link")); err != nil {
		t.Fatal(err)
	}
	spec := template(empty("e", corev1.EmptyDirVolumeSource{}), empty("m", corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}),
		config("c", corev1.ConfigMapVolumeSource{DefaultMode: new(int32(0o400))}),
		corev1.Volume{Name: "p", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "p"}}})
	policy := corev1.FSGroupChangeAlways
	spec.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: new(int64(2345)), FSGroupChangePolicy: &policy}
	configured := of("u1", spec, settings)
	configured.Claims = map[string]string{"p": claim}
	prepare := func(uid string) map[string]string {
		configured.UID = uid
		paths, err := v.Prepare(t.Context(), configured)
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	paths := prepare("u1")
	check := func(path, want string) {
		t.Helper()
		if group, mode := owner(t, path); group != 2345 || mode != want {
			t.Errorf("%s belongs to group %d with mode %s, want %s", path, group, mode, want)
		}
	}
	check(paths["e"], "dgrwxrwxrwx")
	check(paths["m"], "dgrwxrwxrwx")
	check(filepath.Join(paths["c"], "..data", "colour"), "-r--r-----")
	check(claim, "dgrwxrwx---")
	check(filepath.Join(claim, "deep"), "dgrwxrwx---")
	check(filepath.Join(claim, "deep", "file"), "-rw-rw----")
	check(filepath.Join(claim, "link"), "Lrwxrwxrwx")
	if group, mode := owner(t, outside); group != 0 || mode != "-rw-------" {
		t.Errorf("what a link leads to belongs to group %d with mode %s", group, mode)
	}
	// What the running pod changes stays changed.
	file := filepath.Join(claim, "deep", "file")
	if err := os.Chown(file, 0, 77); err != nil {
		t.Fatal(err)
	}
	prepare("u1")
	if group, _ := owner(t, file); group != 77 {
		t.Errorf("prepared again, a file went from group 77 to %d", group)
	}
	policy = corev1.FSGroupChangeOnRootMismatch
	prepare("u2")
	if group, _ := owner(t, file); group != 77 {
		t.Errorf("though the directory belongs to the group, a file went from group 77 to %d", group)
	}
	policy = corev1.FSGroupChangeAlways
	prepare("u3")
	check(file, "-rw-rw----")
}

func TestUsage(t *testing.T) {
	v, _ := open(t)
	spec := template(empty("disk", corev1.EmptyDirVolumeSource{}), empty("fast", corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}),
		config("c", corev1.ConfigMapVolumeSource{}))
	paths, err := v.Prepare(t.Context(), of("u1", spec, map[string]api.ConfigData{"settings": {}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"disk", "fast"} {
		if err := os.WriteFile(filepath.Join(paths[name], "one"), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(paths["disk"], "one"), filepath.Join(paths["disk"], "two")); err != nil {
		t.Fatal(err)
	}
	usage, err := v.VolumeUsage(t.Context(), "u1")
	if err != nil {
		t.Fatal(err)
	}
	if used := usage["disk"]; len(usage) != 1 || used < 1<<20 || used > 1<<20+64<<10 {
		t.Errorf("used are %v", usage)
	}
	if usage, err := v.VolumeUsage(t.Context(), "none"); err != nil || len(usage) != 0 {
		t.Errorf("of a pod that is not there: %v, %v", usage, err)
	}
}

// TestDeclaredVolumes: one of the source local has to be there, and takes the pod's group; one of hostPath is made, and
// stays its owner's. Neither goes with the pod, but a claim of the pod's own does.
func TestDeclaredVolumes(t *testing.T) {
	v, dir := open(t)
	disk := t.TempDir()
	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}
	config := of("u", &api.PodTemplate{Spec: corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{FSGroup: new(int64(2000))},
		Volumes: []corev1.Volume{
			{Name: "local", VolumeSource: claim},
			{Name: "host", VolumeSource: claim},
			{Name: "own", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
		},
	}}, nil)
	local, host := filepath.Join(disk, "local"), filepath.Join(disk, "host")
	config.Volumes = map[string]api.BoundVolume{
		"local": {Claim: "c", Volume: "pv", Path: local, Type: corev1.HostPathDirectory, Local: true},
		"host":  {Claim: "c", Volume: "pv2", Path: host},
	}
	const missing = "the PersistentVolume pv: hostPath "
	if _, err := v.Prepare(t.Context(), config); err == nil || !strings.Contains(err.Error(), missing) {
		t.Fatalf("a directory that is not there: %v", err)
	}
	if err := os.Mkdir(local, 0o755); err != nil {
		t.Fatal(err)
	}
	paths, err := v.Prepare(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "u", ".claim", "own")
	for name, want := range map[string]struct {
		path  string
		group uint32
	}{"local": {local, 2000}, "host": {host, 0}, "own": {own, 2000}} {
		var st unix.Stat_t
		if err := unix.Stat(paths[name], &st); err != nil || paths[name] != want.path || st.Gid != want.group {
			t.Errorf("%s is %s of group %d: %v", name, paths[name], st.Gid, err)
		}
	}
	if err := os.WriteFile(filepath.Join(own, "file"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if usage, err := v.VolumeUsage(t.Context(), "u"); err != nil || len(usage) > 0 {
		t.Errorf("a claim counts as the pod's own storage: %v, %v", usage, err)
	}
	if err := v.Remove(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{local: true, host: true, own: false} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", path, err == nil, want)
		}
	}
}
