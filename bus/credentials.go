package bus

import (
	"encoding/json"
	"fmt"
	"os"
)

// Credentials say where the bus is and who asks. The zero value is a server on this machine's loopback that asks nobody's name.
type Credentials struct {
	URL      string `json:"url"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`

	// path is read again before every connection: a bus that was lost and set up anew has written new passwords there.
	path string
}

// LoadCredentials reads a JSON file of credentials, such as an embedded server writes.
func LoadCredentials(path string) (Credentials, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("credentials of the bus: %w", err)
	}
	c := Credentials{path: path}
	if err := json.Unmarshal(data, &c); err != nil {
		return Credentials{}, fmt.Errorf("credentials of the bus: %s: %w: it must be a JSON object with url, user and password", path, err)
	}
	return c, nil
}

// current gives user and password, newly read where they came from a file that can still be read.
func (c Credentials) current() (user, password string) {
	if c.path != "" {
		if again, err := LoadCredentials(c.path); err == nil {
			return again.User, again.Password
		}
	}
	return c.User, c.Password
}
