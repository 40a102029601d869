package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node/fakehost"
)

// A fakeIngress notes what it is told.
type fakeIngress struct {
	bus *fakeBus

	mu     sync.Mutex
	served string // the rules and the names of the secrets, as last told
	routes []string
}

func (f *fakeIngress) Run(ctx context.Context, report func(string, api.Ref, string, bool)) error {
	report("IngressFailed", api.Ref{Kind: "Node", Name: "n1"}, "the port is taken", true)
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeIngress) SetRoutes(_ context.Context, table api.RouteTable) {
	f.bus.mu.Lock()
	acked := slices.Contains(f.bus.acks, table.Revision)
	f.bus.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes = append(f.routes, fmt.Sprintf("revision %d, acknowledged %t", table.Revision, acked))
}

func (f *fakeIngress) SetRules(rules api.IngressRules, secrets map[api.Ref]api.SecretData) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.served = ""
	for _, h := range rules.Hosts {
		f.served += h.Host + " "
	}
	for _, tls := range rules.TLS {
		f.served += fmt.Sprintf("%s: %s ", tls.Secret, secrets[tls.Secret].Reveal()["tls.crt"])
	}
}

func (f *fakeIngress) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.served
}

// ingress is what an assignment says of one host, with a certificate.
func (w *world) ingress(host, certificate string) *api.IngressAssignment {
	secret := api.Ref{Kind: "Secret", Namespace: "shop", Name: "own"}
	sealed, _ := json.Marshal(api.SecretContents{"own": {"tls.crt": []byte(certificate), "tls.key": []byte("key")}})
	slices.Reverse(sealed)
	return &api.IngressAssignment{
		Rules: w.blob(api.IngressRules{
			Hosts: []api.IngressHost{{Host: host}}, TLS: []api.IngressTLS{{Host: host, Secret: secret}},
		}),
		Certificates: []api.SealedCertificate{{Secret: secret, Sealed: w.bus.put(sealed)}},
	}
}

// TestIngressFollowsTheAssignment has rules come, change, go unmentioned, outlive a restart without the bus, and end.
func TestIngressFollowsTheAssignment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehost.Options{})
		defer func() { w.stop() }()
		f := &fakeIngress{bus: w.bus}
		w.entrance = f
		w.start()
		sequence := uint64(0)
		assign := func(served *api.IngressAssignment) {
			sequence++
			w.bus.change(func() {
				w.bus.assignment = &api.Assignment{Node: "n1", Term: 1, Sequence: sequence, Pods: []api.Placement{}, Ingress: served}
			})
			pass(time.Second)
		}
		expect := func(want string) {
			t.Helper()
			if got := f.said(); got != want {
				t.Errorf("served is %q, want %q", got, want)
			}
		}
		assign(nil)
		expect("")
		assign(w.ingress("a.example", "first"))
		expect("a.example Secret/shop/own: first ")
		assign(w.ingress("a.example", "second"))
		expect("a.example Secret/shop/own: second ")

		missing := w.ingress("b.example", "third")
		missing.Certificates[0].Sealed = "0123"
		assign(missing)
		expect("b.example Secret/shop/own:  ") // what can be served is

		assign(w.ingress("b.example", "third"))
		assign(nil) // a store that was lost says nothing of it
		expect("b.example Secret/shop/own: third ")
		w.bus.change(func() { w.bus.away = true })
		w.stop()
		f.SetRules(api.IngressRules{}, nil)
		w.start()
		pass(time.Second)
		expect("b.example Secret/shop/own: third ")

		w.bus.change(func() { w.bus.away = false })
		assign(&api.IngressAssignment{})
		expect("")
		if !slices.ContainsFunc(w.bus.events, func(e api.Event) bool { return e.Kind == "IngressFailed" && e.Warning }) {
			t.Errorf("what it reports is no event: %v", w.bus.events)
		}

		w.bus.change(func() { w.bus.table = &api.RouteTable{Revision: 7} })
		pass(time.Second)
		f.mu.Lock()
		defer f.mu.Unlock()
		if !slices.Contains(f.routes, "revision 7, acknowledged false") || !slices.Contains(w.bus.acks, 7) {
			t.Errorf("routes %v, acknowledged %v", f.routes, w.bus.acks)
		}
	})
}
