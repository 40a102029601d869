package iptables

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ownPrefix begins the name of every chain of ours, and of no other.
const ownPrefix = "HEADWAY-"

// A ruleset is what headway has in the kernel, or should have, by the name of the table.
type ruleset map[string]*table

type table struct {
	// chains are our own: the rules of each as iptables-save prints them, "-A NAME …", one a line.
	chains map[string]string
	// jumps are the rules of other chains that lead into ours, in order. They stand before all others of their chain.
	jumps map[string][]string
	// displaced are the chains of jumps where a rule of somebody else stands before one of ours. Only what was read
	// from the kernel has them.
	displaced map[string]bool
}

func newTable() *table {
	return &table{chains: map[string]string{}, jumps: map[string][]string{}, displaced: map[string]bool{}}
}

func newRuleset() ruleset { return ruleset{"filter": newTable(), "nat": newTable()} }

// tables gives the names in the order in which they are written: a service is refused no longer than it must be, and
// reached no sooner than its way back is prepared.
func (r ruleset) tables() []string { return slices.Sorted(maps.Keys(r)) }

// empty reports whether nothing of ours is there.
func (r ruleset) empty() bool {
	for _, t := range r {
		if len(t.chains) > 0 || len(t.jumps) > 0 {
			return false
		}
	}
	return true
}

// bytes prints the ruleset as iptables-restore reads it.
func (r ruleset) bytes() []byte {
	var b bytes.Buffer
	for _, name := range r.tables() {
		t := r[name]
		fmt.Fprintf(&b, "*%s\n", name)
		chains := slices.Sorted(maps.Keys(t.chains))
		for _, chain := range chains {
			b.WriteString(":" + chain + " - [0:0]\n")
		}
		for _, builtin := range slices.Sorted(maps.Keys(t.jumps)) {
			for _, rule := range t.jumps[builtin] {
				b.WriteString(rule + "\n")
			}
		}
		for _, chain := range chains {
			b.WriteString(t.chains[chain])
		}
		b.WriteString("COMMIT\n")
	}
	return b.Bytes()
}

// parse reads from what iptables-save prints the rules of ours.
func parse(saved []byte) (ruleset, error) {
	r := newRuleset()
	var t *table
	var section chainSection
	positions := map[string]int{} // rules seen of each chain that is not ours
	lines := bufio.NewScanner(bytes.NewReader(saved))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "*"):
			t = r[line[1:]] // nil for a table that has none of ours
			clear(positions)
		case t == nil || line == "" || line[0] == '#':
		case line == "COMMIT":
			section.end(t)
			t = nil
		case line[0] == ':':
			if chain, _, _ := strings.Cut(line[1:], " "); strings.HasPrefix(chain, ownPrefix) {
				t.chains[chain] = ""
			}
		case strings.HasPrefix(line, "-A "):
			chain, rule, _ := strings.Cut(line[3:], " ")
			if strings.HasPrefix(chain, ownPrefix) {
				section.add(t, chain, line)
				continue
			}
			if leadsToOurs(rule) {
				if positions[chain] != len(t.jumps[chain]) {
					t.displaced[chain] = true
				}
				t.jumps[chain] = append(t.jumps[chain], line)
			}
			positions[chain]++
		default:
			return nil, fmt.Errorf("line %d of the kernel's rules is of no known form: %q", n, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the kernel's rules: %w", err)
	}
	return r, nil
}

// leadsToOurs reports whether a rule of somebody else's chain jumps to one of ours. What is quoted is a comment or the like.
func leadsToOurs(rule string) bool {
	if !strings.Contains(rule, ownPrefix) {
		return false
	}
	words := strings.Fields(quoted.ReplaceAllLiteralString(rule, `""`))
	for i, word := range words[:max(len(words)-1, 0)] {
		if (word == "-j" || word == "-g") && strings.HasPrefix(words[i+1], ownPrefix) {
			return true
		}
	}
	return false
}

var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// A chainSection gathers the rules of one chain, which iptables-save prints one after the other.
type chainSection struct {
	chain string
	rules strings.Builder
}

func (s *chainSection) add(t *table, chain, line string) {
	if chain != s.chain {
		s.end(t)
		s.chain = chain
	}
	s.rules.WriteString(line)
	s.rules.WriteByte('\n')
}

func (s *chainSection) end(t *table) {
	if s.chain != "" {
		t.chains[s.chain] += s.rules.String()
	}
	s.chain = ""
	s.rules.Reset()
}
