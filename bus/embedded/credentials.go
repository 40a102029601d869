package embedded

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"headway.dev/headway/bus"
	"headway.dev/headway/bus/internal/wire"
)

// credentials are those of the three users.
type credentials struct {
	controller, node, operator bus.Credentials
}

// CredentialsPath is where a server that keeps its files in dir writes the credentials of a user: controller, node or
// operator.
func CredentialsPath(dir, user string) string { return filepath.Join(dir, "credentials", user+".json") }

// loadCredentials reads the users' passwords from dir, and makes those that are missing.
func loadCredentials(dir string) (credentials, error) {
	var all credentials
	for _, user := range []struct {
		name string
		into *bus.Credentials
	}{{wire.Controller, &all.controller}, {wire.Node, &all.node}, {wire.Operator, &all.operator}} {
		c, err := bus.LoadCredentials(CredentialsPath(dir, user.name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c = bus.Credentials{}
		case err != nil:
			return all, err
		}
		if c.User = user.name; c.Password == "" {
			c.Password = rand.Text() + rand.Text()
		}
		*user.into = c
	}
	return all, nil
}

// save writes the three files, each readable by its owner only, with the address that the server is reached at. The nodes' is the
// last: whoever waits for that finds the others too.
func (c credentials) save(dir, url string) error {
	for _, user := range []bus.Credentials{c.controller, c.operator, c.node} {
		user.URL = url
		if err := writeCredentials(CredentialsPath(dir, user.User), user); err != nil {
			return fmt.Errorf("write the credentials of %s: %w", user.User, err)
		}
	}
	return nil
}

// writeCredentials replaces the file as a whole: nodes read it while it is being written.
func writeCredentials(path string, c bus.Credentials) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(append(data, '\n')); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
