package iptables

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// difference gives what iptables-restore --noflush has to read, one input after the other, for the kernel to go from one
// ruleset to the other. Only the last input changes what a packet can meet. If there are more new chains of services than
// prepare, an input before it loads these, to which nothing leads yet. Equal rulesets need no input.
//
// iptables-nft-restore keeps the names of the chains that it reads in a sorted list, which it walks from the front for
// every rule, for the rule's own chain and for the chain it jumps to: with ten thousand services, for seconds. So chains
// are written in falling order, where each name goes to the front, those of services with their rules right after them.
func difference(have, want ruleset, prepare int) [][]byte {
	var prepared, last bytes.Buffer
	for _, name := range want.tables() {
		first, rest := tableDifference(name, have[name], want[name], prepare)
		prepared.Write(first)
		last.Write(rest)
	}
	var inputs [][]byte
	for _, b := range []*bytes.Buffer{&prepared, &last} {
		if b.Len() > 0 {
			inputs = append(inputs, b.Bytes())
		}
	}
	return inputs
}

func tableDifference(name string, have, want *table, prepare int) (prepared, last []byte) {
	var added, changed, removed []string
	for chain, rules := range want.chains {
		before, there := have.chains[chain]
		switch {
		case !there && strings.HasPrefix(chain, servicePrefix):
			added = append(added, chain)
		case !there || before != rules:
			changed = append(changed, chain)
		}
	}
	for chain := range have.chains {
		if _, wanted := want.chains[chain]; !wanted {
			removed = append(removed, chain)
		}
	}
	if len(added) > prepare {
		prepared, added = preparation(name, want, added), nil
	}
	return prepared, input(name, want, append(changed, added...), jumpDifference(have, want), removed)
}

// preparation writes an input that makes chains from which no rule jumps to another.
func preparation(name string, want *table, chains []string) []byte {
	var b bytes.Buffer
	b.WriteString("*" + name + "\n")
	for _, chain := range falling(chains) {
		b.WriteString(":" + chain + " - [0:0]\n" + want.chains[chain])
	}
	b.WriteString("COMMIT\n")
	return b.Bytes()
}

// falling sorts names in place, the last one first.
func falling(names []string) []string {
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) })
	return names
}

// input writes one input of iptables-restore: chains to make or to empty, their rules, jumps, and chains to delete.
// A chain is declared before any rule jumps to it, and deleted after the last such rule is gone.
func input(name string, want *table, written, jumps, removed []string) []byte {
	if len(written)+len(jumps)+len(removed) == 0 {
		return nil
	}
	var b bytes.Buffer
	b.WriteString("*" + name + "\n")
	for _, chains := range [][]string{written, removed} {
		for _, chain := range falling(chains) {
			b.WriteString(":" + chain + " - [0:0]\n")
		}
	}
	for _, chain := range written {
		b.WriteString(want.chains[chain])
	}
	for _, jump := range jumps {
		b.WriteString(jump + "\n")
	}
	for _, chain := range removed {
		b.WriteString("-X " + chain + "\n")
	}
	b.WriteString("COMMIT\n")
	return b.Bytes()
}

// jumpDifference gives the commands that make the jumps stand first in their chains, in order.
func jumpDifference(have, want *table) []string {
	chains := map[string]bool{}
	for _, jumps := range []map[string][]string{have.jumps, want.jumps} {
		for chain := range jumps {
			chains[chain] = true
		}
	}
	var commands []string
	for _, chain := range slices.Sorted(maps.Keys(chains)) {
		if slices.Equal(have.jumps[chain], want.jumps[chain]) && !have.displaced[chain] {
			continue
		}
		for _, rule := range have.jumps[chain] {
			commands = append(commands, "-D"+strings.TrimPrefix(rule, "-A"))
		}
		for i, rule := range want.jumps[chain] {
			spec := strings.TrimPrefix(rule, "-A "+chain)
			commands = append(commands, "-I "+chain+" "+strconv.Itoa(i+1)+spec)
		}
	}
	return commands
}
