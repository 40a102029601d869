package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"headway.dev/headway/api"
)

const claimKind = "PersistentVolumeClaim"

// claims are the storage that outlives the pods on this machine: a directory each, and a list of them with what the node
// was last told of each. Nothing is deleted but what an assignment names as released. Of a claim that is bound to a
// declared volume there is only the note on the list.
type claims struct {
	disk disk
	node string

	mu   sync.Mutex
	held map[api.Ref]api.HeldClaim
	used map[api.Ref]map[string]bool // by claim: the UIDs of the pods that have it
	// given is the pod that a claim's directory was given to last: the time on the list is when that was.
	given map[api.Ref]string
}

// claimsOf gives the claims that a pod uses by the volume: those of its template, or in their place its own.
func claimsOf(t *api.PodTemplate, placement api.Placement) map[string]api.Ref {
	refs := map[string]api.Ref{}
	for _, v := range t.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			name := cmp.Or(placement.Claims[v.Name], v.PersistentVolumeClaim.ClaimName)
			refs[v.Name] = api.Ref{Kind: claimKind, Namespace: placement.Pod.Namespace, Name: name}
		}
	}
	return refs
}

func newClaims(d disk, node string) *claims {
	return &claims{disk: d, node: node, held: map[api.Ref]api.HeldClaim{}, used: map[api.Ref]map[string]bool{}, given: map[api.Ref]string{}}
}

// restore reads the list of an earlier agent.
func (c *claims) restore() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []api.HeldClaim
	if err := c.disk.read(claimsFile, &list); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, held := range list {
		c.held[held.Ref] = held
	}
	return nil
}

// use notes that a pod has a claim, so that its data stays.
func (c *claims) use(ref api.Ref, uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteUse(ref, uid)
}

func (c *claims) noteUse(ref api.Ref, uid string) {
	if c.used[ref] == nil {
		c.used[ref] = map[string]bool{}
	}
	c.used[ref][uid] = true
}

// hold gives the directory of a claim to a pod, and notes that it is here before anything is written to it.
func (c *claims) hold(ref api.Ref, uid string, now time.Time) (dir string, err error) {
	if dir, err = c.disk.claimDir(ref.Namespace, ref.Name); err != nil {
		return "", err
	}
	return dir, c.note(ref, "", uid, now)
}

// bind notes that a pod has a claim which is bound to a declared volume, before anything is written to that.
func (c *claims) bind(ref api.Ref, volume, uid string, now time.Time) error {
	return c.note(ref, volume, uid, now)
}

func (c *claims) note(ref api.Ref, volume, uid string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteUse(ref, uid)
	held, known := c.held[ref]
	if known && c.given[ref] == uid {
		return nil
	}
	if !known {
		held = api.HeldClaim{Claim: api.Claim{Ref: ref}, Node: c.node}
	}
	held.Time, held.Volume = now, volume
	c.held[ref], c.given[ref] = held, uid
	return c.save()
}

// leave notes that a pod is gone.
func (c *claims) leave(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pods := range c.used {
		delete(pods, uid)
	}
}

// follow takes in what an assignment says of claims, and deletes those that it releases and no pod here has.
func (c *claims) follow(a api.Assignment) (deleted []api.ReleasedClaim, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := false
	for _, told := range a.Claims {
		held, ok := c.held[told.Ref]
		if told.Volume = held.Volume; ok && held.Claim != told { // where the data is, the node knows best
			held.Claim, changed = told, true
			c.held[told.Ref] = held
		}
	}
	var failed []error
	for _, released := range a.Released {
		if _, ok := c.held[released.Ref]; !ok || len(c.used[released.Ref]) > 0 {
			continue
		}
		if err := c.deleteData(released.Ref); err != nil {
			failed = append(failed, fmt.Errorf("delete the data of %s: %w", released.Ref, err))
			continue
		}
		delete(c.held, released.Ref)
		deleted, changed = append(deleted, released), true
	}
	if changed {
		failed = append(failed, c.save())
	}
	return deleted, errors.Join(failed...)
}

// deleteData deletes the directory of a claim. The files of a declared volume are its author's.
func (c *claims) deleteData(ref api.Ref) error {
	if c.held[ref].Volume != "" {
		return nil
	}
	dir, err := c.disk.claimDir(ref.Namespace, ref.Name)
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// list gives the claims by ref.
func (c *claims) list() []api.HeldClaim {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sorted()
}

func (c *claims) sorted() []api.HeldClaim {
	return slices.SortedFunc(maps.Values(c.held), func(a, b api.HeldClaim) int { return a.Ref.Compare(b.Ref) })
}

// save writes the list, and waits for the disk: what is not in it, a new controller takes for storage that was never used.
func (c *claims) save() error { return c.disk.write(claimsFile, c.sorted(), true) }
