package node

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

func TestResolver(t *testing.T) {
	const machine = `# written by hand
domain old.example
search a.example  b.example
nameserver 192.0.2.1
nameserver 192.0.2.2 # the second
options ndots:2 rotate
sortlist 192.0.2.0
`
	r := parseResolver(machine).with(&corev1.PodDNSConfig{
		Nameservers: []string{"192.0.2.2", "192.0.2.3"}, Searches: []string{"b.example", "c.example"},
		Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: new("1")}, {Name: "edns0"}},
	})
	const want = `nameserver 192.0.2.1
nameserver 192.0.2.2
nameserver 192.0.2.3
search a.example b.example c.example
options rotate ndots:1 edns0
`
	if got := r.String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got := parseResolver("").String(); got != "" {
		t.Errorf("of nothing came %q", got)
	}
}

// TestResolverBounds: what is written is never more than resolvers read, and nothing is lost in silence.
func TestResolverBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := resolver{}
		for i := range rapid.IntRange(0, 6).Draw(t, "name servers") {
			r.nameservers = append(r.nameservers, fmt.Sprintf("192.0.2.%d", i))
		}
		r.searches = rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,200}`), 0, 40).Draw(t, "searches")
		bounded, left := r.bounded()
		if len(bounded.nameservers) > 3 || len(bounded.searches) > 32 || len(strings.Join(bounded.searches, " ")) > 2048 {
			t.Fatalf("too much: %v", bounded)
		}
		lost := len(r.nameservers) > len(bounded.nameservers) || len(r.searches) > len(bounded.searches)
		if lost != (len(left) > 0) {
			t.Fatalf("lost: %v, told: %v", lost, left)
		}
	})
}
