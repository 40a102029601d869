// Package seal keeps secrets unreadable on the bus: what is sealed to a node, only that node opens.
//
// It is age (https://age-encryption.org/v1) with one X25519 key a node. The key is made on the node and never leaves it; what
// the node says of itself when it joins carries the public half.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// An Identity opens what was sealed to it.
type Identity struct{ key *age.X25519Identity }

// LoadIdentity reads the key in a file that only its owner may read, and makes one if there is no file.
func LoadIdentity(path string) (*Identity, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(path)
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if others := info.Mode().Perm() & 0o077; others != 0 {
		return nil, fmt.Errorf("seal: others than its owner may use %s (mode %04o): chmod 600 it, or delete it for a new key", path, info.Mode().Perm())
	}
	key, err := age.ParseX25519Identity(strings.TrimSpace(string(data)))
	if err != nil {
		// The parser's own words may hold a part of the key.
		return nil, fmt.Errorf("seal: %s holds no key: delete it, and a new one is made", path)
	}
	return &Identity{key}, nil
}

// newIdentity makes a key. Of several daemons that make one at the same time, all end up with the same.
func newIdentity(path string) (*Identity, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("seal: make a key: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(key.String() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("seal: write %s: %w", path, err)
	}
	switch err := os.Link(f.Name(), path); {
	case errors.Is(err, fs.ErrExist):
		return LoadIdentity(path)
	case err != nil:
		return nil, fmt.Errorf("seal: write %s: %w", path, err)
	}
	return &Identity{key}, nil
}

// Recipient is the public half, to which others seal.
func (i *Identity) Recipient() string { return i.key.Recipient().String() }

// Open gives what was sealed. It fails when that was for another, or is not whole.
func (i *Identity) Open(sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), i.key)
	if _, other := errors.AsType[*age.NoIdentityMatchError](err); other {
		return nil, errors.New("seal: open: it was sealed to another key; to a node that has lost its own, the control plane seals all of it anew")
	}
	if err != nil {
		return nil, fmt.Errorf("seal: open: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("seal: open: %w", err)
	}
	return plain, nil
}

// Seal makes what only the recipient opens. The same content sealed twice differs.
func Seal(plain []byte, recipient string) ([]byte, error) {
	to, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return nil, fmt.Errorf("seal: %q is not the public key of a node: %w", recipient, err)
	}
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed.Bytes(), nil
}
