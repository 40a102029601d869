package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// serverIdentity is the name under which a control plane campaigns to lead. It is kept in the directory, which one process
// has at a time: one that is started again after a crash takes up its own lease at once, and does not wait for it to end.
// Another machine's name in it, as in a copied directory, is replaced. The function it returns gives the directory back.
func serverIdentity(dir string) (id string, release func(), err error) {
	host, err := os.Hostname()
	if err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	name := filepath.Join(dir, "identity")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return "", nil, fmt.Errorf("another control plane works in %s: end it, or name another directory with --dir", dir)
	case err != nil:
		return "", nil, fmt.Errorf("lock %s: %w", name, err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return "", nil, err
	}
	id = strings.TrimSpace(string(data))
	if random, found := strings.CutPrefix(id, host+"-"); !found || random == "" {
		id = host + "-" + rand.Text()
		if err := f.Truncate(0); err != nil {
			return "", nil, err
		}
		if _, err := f.WriteAt([]byte(id+"\n"), 0); err != nil {
			return "", nil, err
		}
	}
	return id, func() { f.Close() }, nil
}
