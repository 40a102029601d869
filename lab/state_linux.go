package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// state is what a lab remembers between commands.
type state struct {
	Options Options `json:"options"`
	// Daemons maps "server" and the names of the nodes to their processes.
	Daemons map[string]process `json:"daemons"`
}

// ErrNoLab is the error of a command for a lab that does not exist.
var ErrNoLab = errors.New("no lab is up: start one with \"headway lab up\"")

func statePath(dir string) string { return filepath.Join(dir, "lab.json") }

func loadState(dir string) (state, error) {
	data, err := os.ReadFile(statePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, fmt.Errorf("%s: %w", dir, ErrNoLab)
	}
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return state{}, fmt.Errorf("%s is damaged (%w): remove the lab's namespaces by hand and delete it", statePath(dir), err)
	}
	return s, nil
}

// save replaces the state whole, so that a reader never sees half of one.
func (s state) save() error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := statePath(s.Options.Dir)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
