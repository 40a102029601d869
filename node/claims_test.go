package node

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"headway.dev/headway/api"
)

// TestClaims follows a claim through its life: it is listed before it is written to, an agent that restarts knows it, and it
// goes only when it is released and no pod has it.
func TestClaims(t *testing.T) {
	d := disk{dir: t.TempDir()}
	c := newClaims(d, "n1")
	if err := c.restore(); err != nil {
		t.Fatal(err)
	}
	ref := api.Ref{Kind: claimKind, Namespace: "shop", Name: "data-db-0"}
	dir, err := c.hold(ref, "u1", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	told := api.Claim{Ref: ref, Owner: api.Ref{Kind: "StatefulSet", Namespace: "shop", Name: "db"}, WhenDeleted: true}
	other := api.Claim{Ref: api.Ref{Kind: claimKind, Namespace: "shop", Name: "elsewhere"}}
	if deleted, err := c.follow(api.Assignment{Claims: []api.Claim{told, other}}); err != nil || len(deleted) > 0 {
		t.Errorf("deleted %v, %v", deleted, err)
	}

	again := newClaims(d, "n1")
	if err := again.restore(); err != nil {
		t.Fatal(err)
	}
	if list := again.list(); len(list) != 1 || list[0].Claim != told || list[0].Node != "n1" || !list[0].Time.Equal(time.Unix(1, 0)) {
		t.Errorf("after a restart: %+v", list)
	}

	release := api.Assignment{Released: []api.ReleasedClaim{{Ref: ref, Node: "n1"}, {Ref: other.Ref, Node: "n1"}}}
	if deleted, err := c.follow(release); err != nil || len(deleted) > 0 {
		t.Errorf("deleted while a pod has it: %v, %v", deleted, err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Fatal(err)
	}
	c.leave("u1")
	if deleted, err := c.follow(release); err != nil || len(deleted) != 1 || len(c.list()) > 0 {
		t.Errorf("deleted %v, %v; left are %v", deleted, err, c.list())
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data is there yet: %v", err)
	}
	for _, bad := range []string{"", "..", "a/b", ".x"} {
		if _, err := c.hold(api.Ref{Kind: claimKind, Namespace: "shop", Name: bad}, "u1", time.Now()); err == nil {
			t.Errorf("a claim %q was taken", bad)
		}
	}
}

// TestClaimsUnreadable: a list that cannot be read is not an empty one.
func TestClaimsUnreadable(t *testing.T) {
	d := disk{dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(d.dir, claimsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newClaims(d, "n1").restore(); err == nil {
		t.Error("it was taken for none")
	}
}

// TestClaimsOfUnknownPods: an agent that was restarted deletes no data while it does not know yet what its pods use.
func TestClaimsOfUnknownPods(t *testing.T) {
	d := disk{dir: t.TempDir()}
	ref := api.Ref{Kind: claimKind, Namespace: "shop", Name: "data"}
	earlier := newClaims(d, "n1")
	dir, err := earlier.hold(ref, "u1", time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	a := &Agent{
		log: slog.New(slog.DiscardHandler), events: make(chan api.Event, 1), status: newSignal(), claims: newClaims(d, "n1"),
		assignment: &api.Assignment{Released: []api.ReleasedClaim{{Ref: ref, Node: "n1"}}},
		pods:       map[string]*pod{"u1": {uid: "u1"}},
	}
	if err := a.claims.restore(); err != nil {
		t.Fatal(err)
	}
	is := func(want bool, when string) {
		t.Helper()
		a.followClaims()
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: the data is there: %v, want %v", when, err == nil, want)
		}
	}
	is(true, "before the pod's template is read")
	a.claims.use(ref, "u1")
	a.pods["u1"].blobs = []api.Digest{"t"}
	is(true, "while the pod has it")
	a.claims.leave("u1")
	delete(a.pods, "u1")
	is(false, "when the pod is gone")
}

// TestDeclaredVolume: of a claim that is bound to a declared volume a node keeps the binding, whatever it is told, and when
// that is released the files stay.
func TestDeclaredVolume(t *testing.T) {
	d := disk{dir: t.TempDir()}
	c := newClaims(d, "n1")
	ref := api.Ref{Kind: claimKind, Namespace: "shop", Name: "data"}
	dir, err := d.claimDir(ref.Namespace, ref.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { // as if it were left of an earlier claim of the name
		t.Fatal(err)
	}
	if err := c.bind(ref, "pv", "u1", time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.follow(api.Assignment{Claims: []api.Claim{{Ref: ref, Owner: ref, Size: 1}}}); err != nil {
		t.Fatal(err)
	}
	again := newClaims(d, "n1")
	if err := again.restore(); err != nil {
		t.Fatal(err)
	}
	if list := again.list(); len(list) != 1 || list[0].Volume != "pv" || list[0].Size != 1 {
		t.Errorf("after a restart: %+v", list)
	}
	deleted, err := again.follow(api.Assignment{Released: []api.ReleasedClaim{{Ref: ref, Node: "n1"}}})
	if err != nil || len(deleted) != 1 || len(again.list()) > 0 {
		t.Errorf("released %v, %v; left are %v", deleted, err, again.list())
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
