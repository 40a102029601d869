package iptables

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
)

// A backend is one of the two ways in which iptables keeps rules in the kernel. Each has rules of its own, which apply
// beside those of the other.
type backend struct {
	name    string // nft or legacy
	restore string
	save    string
	// stamp reads what changes whenever any rule changes, at a small part of the cost of reading the rules.
	stamp func() (stamp, error)
	// counts says that the stamp grows by one with each transaction, so that others' between two of ours do not hide.
	counts bool
	// prepare is how many new chains of services are loaded together with the rules that lead to them.
	prepare int
}

// A stamp tells one state of the kernel's rules from another. The zero stamp is no state's.
type stamp [2]uint64

// backends are the two. A restore of legacy rules loads the whole table, whatever it changes: one is better than two.
func backends() []backend {
	return []backend{
		{name: "nft", restore: "iptables-nft-restore", save: "iptables-nft-save", stamp: nftStamp, counts: true, prepare: 100},
		{name: "legacy", restore: "iptables-legacy-restore", save: "iptables-legacy-save", stamp: legacyStamp, prepare: math.MaxInt},
	}
}

// choose gives the back end of a name, and the other one. No name is the back end of the iptables command: what other
// programs on the machine use.
func choose(name string) (chosen, other backend, err error) {
	if name == "" {
		if name, err = defaultBackend(); err != nil {
			return chosen, other, err
		}
	}
	all := backends()
	switch name {
	case all[0].name:
		chosen, other = all[0], all[1]
	case all[1].name:
		chosen, other = all[1], all[0]
	default:
		return chosen, other, fmt.Errorf("iptables has no back end %q: it is nft or legacy", name)
	}
	if !chosen.installed() {
		return chosen, other, fmt.Errorf("the %s back end of iptables is not installed: there is no %s; install the package iptables, version 1.8 or later", name, chosen.restore)
	}
	return chosen, other, nil
}

// defaultBackend asks iptables what it is.
func defaultBackend() (string, error) {
	out, err := exec.Command("iptables", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("iptables --version: %w; install the package iptables", err)
	}
	switch version := strings.TrimSpace(string(out)); {
	case strings.HasSuffix(version, "(nf_tables)"):
		return "nft", nil
	case strings.HasSuffix(version, "(legacy)"):
		return "legacy", nil
	default:
		return "", fmt.Errorf("%q does not say which back end it has: install iptables 1.8 or later", version)
	}
}

func (b backend) installed() bool {
	_, noRestore := exec.LookPath(b.restore)
	_, noSave := exec.LookPath(b.save)
	return noRestore == nil && noSave == nil
}

// inUse reports whether the back end may hold rules. To ask the legacy one for its rules would load it into the kernel.
func (b backend) inUse() bool {
	if b.name == "legacy" {
		tables, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
		return err == nil && len(tables) > 0 && b.installed()
	}
	return b.installed()
}

// read gives the rules of ours that the kernel has.
func (b backend) read(ctx context.Context) (ruleset, error) {
	out, err := run(ctx, nil, b.save)
	if err != nil {
		return nil, err
	}
	r, err := parse(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.save, err)
	}
	return r, nil
}

// load hands the kernel one input, which takes effect as a whole or not at all. It waits for other users of the rules.
func (b backend) load(ctx context.Context, input []byte) error {
	_, err := run(ctx, input, b.restore, "--noflush", "-w")
	return err
}

// run runs a command in the network namespace of the calling thread and gives what it prints.
func run(ctx context.Context, input []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaint
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	return out.Bytes(), nil
}
