package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// addresses hands out the addresses of the pod range and remembers on disk whose each is: a file for each pod, named by
// its UID. It hands them out in turn, so that one given back rests as long as it can.
type addresses struct {
	dir    string
	prefix netip.Prefix

	mu    sync.Mutex
	byUID map[string]netip.Addr // the zero address for a pod whose file cannot be read
	taken map[netip.Addr]string
	last  netip.Addr
}

// lastFile holds the address handed out last. No UID begins with a dot.
const lastFile = ".last"

func openAddresses(dir string, prefix netip.Prefix) (*addresses, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("addresses of pods: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("addresses of pods: %w", err)
	}
	a := &addresses{dir: dir, prefix: prefix, byUID: map[string]netip.Addr{}, taken: map[netip.Addr]string{}, last: gatewayOf(prefix)}
	if last, ok := readAddress(filepath.Join(dir, lastFile)); ok && a.usable(last) {
		a.last = last
	}
	for _, e := range entries {
		uid := e.Name()
		if strings.HasPrefix(uid, ".") {
			continue
		}
		ip, ok := readAddress(filepath.Join(dir, uid))
		if ok && !a.usable(ip) {
			return nil, fmt.Errorf("pod %s has the address %s, which is not one of the node's range %s: clean the node up with its old range before it takes a new one",
				uid, ip, prefix)
		}
		if _, twice := a.taken[ip]; !ok || twice {
			a.byUID[uid] = netip.Addr{}
			continue
		}
		a.byUID[uid], a.taken[ip] = ip, uid
	}
	return a, nil
}

// acquire gives the pod the address that it has, or else the next free one.
func (a *addresses) acquire(uid string) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ip := a.byUID[uid]; ip.IsValid() {
		return ip, nil
	}
	ip, ok := a.next()
	if !ok {
		return netip.Addr{}, fmt.Errorf("all %d addresses of the pod range %s are taken: give the node a wider range, or let it take fewer pods", len(a.taken), a.prefix)
	}
	if err := writeAddress(filepath.Join(a.dir, lastFile), ip); err != nil {
		return netip.Addr{}, err
	}
	if err := writeAddress(filepath.Join(a.dir, uid), ip); err != nil {
		return netip.Addr{}, err
	}
	a.byUID[uid], a.taken[ip], a.last = ip, uid, ip
	return ip, nil
}

// next finds the first free address after the one handed out last.
func (a *addresses) next() (netip.Addr, bool) {
	first := a.after(a.last)
	for ip := first; ; {
		if _, taken := a.taken[ip]; !taken {
			return ip, true
		}
		if ip = a.after(ip); ip == first {
			return netip.Addr{}, false
		}
	}
}

// after gives the address that follows, and the first one after the last.
func (a *addresses) after(ip netip.Addr) netip.Addr {
	if ip = ip.Next(); a.usable(ip) {
		return ip
	}
	return gatewayOf(a.prefix).Next()
}

// usable says whether a pod may have the address: the range's first is the network's, the next the gateway's, the last
// the broadcast's.
func (a *addresses) usable(ip netip.Addr) bool {
	return a.prefix.Contains(ip) && a.prefix.Contains(ip.Next()) && gatewayOf(a.prefix).Less(ip)
}

// of gives the pod's address, zero if it has none.
func (a *addresses) of(uid string) netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byUID[uid]
}

// release frees the pod's address.
func (a *addresses) release(uid string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := os.Remove(filepath.Join(a.dir, uid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free the address: %w", err)
	}
	delete(a.taken, a.byUID[uid])
	delete(a.byUID, uid)
	return nil
}

// pods lists the UIDs that have addresses, in order.
func (a *addresses) pods() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	uids := make([]string, 0, len(a.byUID))
	for uid := range a.byUID {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}

// remove forgets all and deletes the directory.
func (a *addresses) remove() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.byUID)
	clear(a.taken)
	return os.RemoveAll(a.dir)
}

// gatewayOf is the first address of a range that a machine can have: the node's own, on its bridge.
func gatewayOf(p netip.Prefix) netip.Addr { return p.Masked().Addr().Next() }

// readAddress reads an address from a file. One that a crash left empty is as good as none.
func readAddress(path string) (netip.Addr, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(strings.TrimSpace(string(data)))
	return ip, err == nil
}

// writeAddress replaces the file's content at once.
func writeAddress(path string, ip netip.Addr) error {
	fresh := filepath.Join(filepath.Dir(path), ".new-"+filepath.Base(path))
	if err := os.WriteFile(fresh, []byte(ip.String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("remember the address: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("remember the address: %w", err)
	}
	return nil
}
