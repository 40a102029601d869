package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
)

// userFiles are an image's /etc/passwd and /etc/group, read once.
type userFiles struct {
	mu     sync.Mutex
	read   bool
	users  []user.User
	groups []user.Group
}

// load reads the files from a container's root file system, mounted for that alone and only to read. Names are resolved
// inside of it, whatever its symbolic links say; files that are not there are empty.
func (f *userFiles) load(mounts []mount.Mount) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read {
		return nil
	}
	err := withMounted(mounts, f.readBelow)
	f.read = err == nil
	return err
}

func (f *userFiles) readBelow(dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return f.readFrom(plainFiles{root, root.FS().(fs.ReadLinkFS)})
}

// plainFiles are those of an image. What else there is in it is not even opened: a pipe waits for ever, and a device of the
// machine may do anything.
type plainFiles struct {
	root *os.Root
	fs.ReadLinkFS
}

func (p plainFiles) Open(name string) (fs.File, error) {
	info, err := p.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("it is no plain file: its mode is %v", info.Mode())}
	}
	return p.ReadLinkFS.Open(name)
}

func (f *userFiles) readFrom(root fs.FS) error {
	f.users, f.groups = nil, nil
	// The filters keep every entry and choose none.
	_, err := oci.UserFromFS(root, func(u user.User) bool { f.users = append(f.users, u); return false })
	if err != nil && !errors.Is(err, oci.ErrNoUsersFound) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the image's /etc/passwd: %w", err)
	}
	_, err = oci.GIDFromFS(root, func(g user.Group) bool { f.groups = append(f.groups, g); return false })
	if err != nil && !errors.Is(err, oci.ErrNoGroupsFound) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the image's /etc/group: %w", err)
	}
	return nil
}

// resolve says as whom a container runs: as its own or its pod's security context says, else as the image does. A user
// without an entry in the image has group 0.
func (f *userFiles) resolve(imageUser string, pod *corev1.PodSecurityContext, own *corev1.SecurityContext) (specs.User, error) {
	name, group, _ := strings.Cut(imageUser, ":")
	if id := either(own.RunAsUser, pod.RunAsUser); id != nil {
		// The group beside the image's user belongs to that user.
		name, group = strconv.FormatInt(*id, 10), ""
	}
	if id := either(own.RunAsGroup, pod.RunAsGroup); id != nil {
		group = strconv.FormatInt(*id, 10)
	}
	u, err := f.find(name, group)
	if err != nil {
		return specs.User{}, err
	}
	if only := either(own.RunAsNonRoot, pod.RunAsNonRoot); only != nil && *only && u.UID == 0 {
		return specs.User{}, errors.New("runAsNonRoot is set, but the container would run as root: set runAsUser, or a user in the image")
	}
	return withGroups(u, pod), nil
}

// withGroups adds the groups of the pod: its own, and that of its volumes. Where the pod's are the only ones, those that
// the image gives to the user do not count.
func withGroups(u specs.User, pod *corev1.PodSecurityContext) specs.User {
	if policy := pod.SupplementalGroupsPolicy; policy != nil && *policy == corev1.SupplementalGroupsPolicyStrict {
		u.AdditionalGids = []uint32{u.GID}
	}
	more := slices.Clone(pod.SupplementalGroups)
	if pod.FSGroup != nil {
		more = append(more, *pod.FSGroup)
	}
	for _, g := range more {
		if gid := uint32(g); !slices.Contains(u.AdditionalGids, gid) {
			u.AdditionalGids = append(u.AdditionalGids, gid)
		}
	}
	return u
}

// find looks up a user and a group, each a name or a number; an empty group is the user's own.
func (f *userFiles) find(name, group string) (specs.User, error) {
	var found specs.User
	if name == "" {
		name = "0"
	}
	uid, numeric, err := parseID(name)
	if err != nil {
		return found, fmt.Errorf("user %s: %w", name, err)
	}
	i := slices.IndexFunc(f.users, func(u user.User) bool { return u.Name == name || numeric && u.Uid == int(uid) })
	login := ""
	switch {
	case i >= 0:
		found.UID, found.GID, login = uint32(f.users[i].Uid), uint32(f.users[i].Gid), f.users[i].Name
	case numeric:
		found.UID = uid
	default:
		return found, fmt.Errorf("user %s: the image's /etc/passwd has none of that name", name)
	}
	if group != "" {
		if found.GID, err = f.findGroup(group); err != nil {
			return found, err
		}
	}
	found.AdditionalGids = f.groupsOf(login, found.GID)
	return found, nil
}

func (f *userFiles) findGroup(group string) (uint32, error) {
	gid, numeric, err := parseID(group)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", group, err)
	}
	if numeric {
		return gid, nil
	}
	i := slices.IndexFunc(f.groups, func(g user.Group) bool { return g.Name == group })
	if i < 0 {
		return 0, fmt.Errorf("group %s: the image's /etc/group has none of that name", group)
	}
	return uint32(f.groups[i].Gid), nil
}

// groupsOf are the groups of a user beside the primary one, which is named too: a process could else drop it and gain
// what is denied to that group.
func (f *userFiles) groupsOf(login string, primary uint32) []uint32 {
	gids := []uint32{primary}
	for _, g := range f.groups {
		if login != "" && slices.Contains(g.List, login) && !slices.Contains(gids, uint32(g.Gid)) {
			gids = append(gids, uint32(g.Gid))
		}
	}
	return gids
}

// parseID reads a number, and tells it from a name. runc takes none above that of a signed 32-bit integer.
func parseID(s string) (id uint32, numeric bool, err error) {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, false, nil
	case err != nil || n < 0 || n > math.MaxInt32:
		return 0, true, fmt.Errorf("the number is not between 0 and %d", math.MaxInt32)
	}
	return uint32(n), true, nil
}
