package bus_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func service(name string) api.Ref { return api.Ref{Kind: "Service", Namespace: "shop", Name: name} }

func route(name, ip string) api.Route { return api.Route{Service: service(name), ClusterIP: ip} }

// TestRoutes shows nodes whole tables only, each with the revision that the writer was given.
func TestRoutes(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node := keeper(t, s), connect(t, s.node)
		ctx := t.Context()
		tables := watching(t, node.WatchRoutes)

		_, err := controller.PutRoutes(ctx, 1, []api.Route{route("b", "10.0.0.2"), route("a", "10.0.0.1")}, nil)
		must(t, err)
		state, err := controller.State(ctx)
		must(t, err)
		if state.RouteRevision != 0 || len(state.Routes) != 2 {
			t.Errorf("before the table is complete: revision %d, %d routes", state.RouteRevision, len(state.Routes))
		}
		must(t, controller.CompleteRoutes(ctx, 1))
		first := tables.await(t, "the first table", func(api.RouteTable) bool { return true })
		if len(first.Routes) != 2 || first.Routes[0].Service.Name != "a" {
			t.Errorf("the first table is %+v", first)
		}

		revision, err := controller.PutRoutes(ctx, 1, []api.Route{route("c", "10.0.0.3"), route("a", "10.0.0.9")}, []api.Ref{service("b"), service("none")})
		must(t, err)
		next := tables.await(t, "the next table", func(table api.RouteTable) bool { return table.Revision >= revision })
		if next.Revision != revision || len(next.Routes) != 2 || next.Routes[0].ClusterIP != "10.0.0.9" || next.Routes[1].Service.Name != "c" {
			t.Errorf("the table at %d is %+v", revision, next)
		}
		same, err := controller.PutRoutes(ctx, 1, nil, nil)
		must(t, err)
		if state, err := controller.State(ctx); err != nil || state.RouteTerm != 1 || state.RouteRevision != revision {
			t.Errorf("the routes are of term %d and revision %d, %v; want those of term 1 and revision %d", state.RouteTerm, state.RouteRevision, err, revision)
		}
		if same != revision {
			t.Errorf("without a change the revision went from %d to %d", revision, same)
		}
		if late := watching(t, node.WatchRoutes); len(late.await(t, "the table", func(api.RouteTable) bool { return true }).Routes) != 2 {
			t.Error("a watch that begins late sees another table")
		}
		// A watch that had to read the store again tells the same table again.
		equal := func(a, b api.RouteTable) bool { return reflect.DeepEqual(a, b) }
		if n := len(slices.CompactFunc(tables.list(), equal)); n != 2 {
			t.Errorf("two changes were delivered as %d tables", n)
		}
	})
}

// TestRoutesStaleTerm refuses a leader that was followed, whichever connection it has.
func TestRoutesStaleTerm(t *testing.T) {
	s := externalSite(t)
	older, newer := keeper(t, s), keeper(t, s)
	ctx := t.Context()
	_, err := older.PutRoutes(ctx, 1, []api.Route{route("a", "10.0.0.1")}, nil)
	must(t, err)
	must(t, older.CompleteRoutes(ctx, 1))
	_, err = newer.PutRoutes(ctx, 2, []api.Route{route("a", "10.0.0.2")}, nil)
	must(t, err)
	if _, err := older.PutRoutes(ctx, 1, []api.Route{route("a", "10.0.0.3")}, nil); !errors.Is(err, bus.ErrStaleTerm) {
		t.Errorf("a stale leader put routes: %v", err)
	}
	if err := older.CompleteRoutes(ctx, 1); !errors.Is(err, bus.ErrStaleTerm) {
		t.Errorf("a stale leader completed the routes: %v", err)
	} else if again := interface{ Overwritten() bool }(nil); !errors.As(err, &again) || !again.Overwritten() {
		t.Errorf("a stale leader goes on: %v", err)
	}
}

// TestRoutesDamaged takes a table that lost a part for no table.
func TestRoutesDamaged(t *testing.T) {
	s := externalSite(t)
	c := keeper(t, s)
	ctx := t.Context()
	var routes []api.Route
	for i := range 5 {
		routes = append(routes, route(fmt.Sprintf("s%d", i), "10.0.0.1"))
	}
	_, err := c.PutRoutes(ctx, 1, routes, nil)
	must(t, err)
	must(t, c.CompleteRoutes(ctx, 1))
	must(t, c.PurgeSubject(ctx, "KV_routes", "$KV.routes.shop.s3"))

	state, err := c.State(ctx)
	must(t, err)
	if state.RouteRevision != 0 || len(state.Routes) != 4 {
		t.Errorf("a table that lost a route: revision %d, %d routes", state.RouteRevision, len(state.Routes))
	}
	tables := watching(t, c.WatchRoutes)
	other := connect(t, s.controller)
	revision, err := other.PutRoutes(ctx, 2, routes, nil)
	must(t, err)
	must(t, other.CompleteRoutes(ctx, 2))
	tables.await(t, "the mended table", func(t api.RouteTable) bool { return t.Revision > revision })
	for _, table := range tables.list() {
		if len(table.Routes) != 5 {
			t.Errorf("a table of %d routes was delivered", len(table.Routes))
		}
	}
}

// TestAcks lets no acknowledgement of a lost store satisfy a wait for the routes of the next.
func TestAcks(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		controller, node := keeper(t, s), connect(t, s.node)
		ctx := t.Context()
		acks := watching(t, controller.WatchAcks)
		statuses := watching(t, controller.WatchStatuses)
		tables := watching(t, node.WatchRoutes)
		var revision uint64
		var err error
		for i := range 20 {
			revision, err = controller.PutRoutes(ctx, 1, []api.Route{route("a", fmt.Sprintf("10.0.0.%d", i))}, nil)
			must(t, err)
		}
		must(t, controller.CompleteRoutes(ctx, 1))
		old := tables.await(t, "the table", func(t api.RouteTable) bool { return t.Revision >= revision })
		must(t, node.PutAck(ctx, api.Ack{Node: "n1", Revision: old.Revision}))
		acks.await(t, "the acknowledgement", func(a api.Ack) bool { return a.Revision == old.Revision })
		must(t, node.PutAck(ctx, api.Ack{Node: "n2", Revision: old.Revision + 1e6}))
		must(t, node.PutStatus(ctx, api.NodeStatus{Node: "n1"}))
		statuses.await(t, "the status", func(api.NodeStatus) bool { return true })

		before := len(statuses.list())
		s.restart(true)
		awaitMore(t, statuses, before, func(api.NodeStatus) bool { return true }) // what the node said is said again
		revision, err = controller.PutRoutes(ctx, 1, []api.Route{route("a", "10.0.0.1")}, nil)
		for err != nil {
			awaitConnected(t, controller)
			revision, err = controller.PutRoutes(ctx, 1, []api.Route{route("a", "10.0.0.1")}, nil)
		}
		if revision <= old.Revision {
			t.Errorf("the revision went back from %d to %d", old.Revision, revision)
		}
		if n := len(tables.list()); n == 0 || tables.list()[n-1].Revision > old.Revision {
			t.Error("an incomplete table was delivered")
		}
		must(t, controller.CompleteRoutes(ctx, 1))
		table := tables.await(t, "the new table", func(t api.RouteTable) bool { return t.Revision > revision })
		must(t, node.PutAck(ctx, api.Ack{Node: "n1", Revision: table.Revision}))
		acks.await(t, "the new acknowledgement", func(a api.Ack) bool { return a.Revision == table.Revision })
		for i, a := range acks.list() {
			if a.Revision != old.Revision && a.Revision != table.Revision {
				t.Errorf("acknowledgement %d is of a revision that never was: %d", i, a.Revision)
			}
		}
	})
}

// TestRoutesFollow holds what nodes see against a model, over any sequence of changes.
func TestRoutesFollow(t *testing.T) {
	s := externalSite(t)
	c := keeper(t, s)
	must(t, c.CompleteRoutes(t.Context(), 1))
	tables := watching(t, c.WatchRoutes)
	model := map[string]string{}
	rapid.Check(t, func(rt *rapid.T) {
		var changed []api.Route
		var deleted []api.Ref
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 0, 5, rapid.ID[string]).Draw(rt, "services") {
			if rapid.Bool().Draw(rt, "delete") {
				deleted = append(deleted, service(name))
				delete(model, name)
				continue
			}
			model[name] = rapid.StringMatching(`10\.0\.0\.[1-9]`).Draw(rt, "ip")
			changed = append(changed, route(name, model[name]))
		}
		revision, err := c.PutRoutes(context.Background(), 1, changed, deleted)
		if err != nil {
			rt.Fatal(err)
		}
		table := tables.await(t, "the table", func(t api.RouteTable) bool { return t.Revision >= revision })
		if table.Revision != revision || len(table.Routes) != len(model) {
			rt.Fatalf("at %d the table is %+v, want %v at %d", table.Revision, table.Routes, model, revision)
		}
		for _, r := range table.Routes {
			if model[r.Service.Name] != r.ClusterIP {
				rt.Fatalf("%s is at %s, want %s", r.Service, r.ClusterIP, model[r.Service.Name])
			}
		}
	})
}

// TestRoutesOverwritten has a leader write what it has not seen another write: it is told, and changes nothing.
func TestRoutesOverwritten(t *testing.T) {
	s := externalSite(t)
	older, newer := keeper(t, s), keeper(t, s)
	ctx := t.Context()
	_, err := older.PutRoutes(ctx, 1, []api.Route{route("a", "10.0.0.1")}, nil)
	must(t, err)
	must(t, older.CompleteRoutes(ctx, 1))
	_, err = newer.State(ctx)
	must(t, err)
	_, err = older.PutRoutes(ctx, 1, []api.Route{route("b", "10.0.0.1")}, nil)
	must(t, err)
	if _, err := newer.PutRoutes(ctx, 2, []api.Route{route("a", "10.0.0.2")}, nil); !errors.Is(err, bus.ErrOverwritten) {
		t.Errorf("routes are put over others that were not read: %v", err)
	}
	state, err := newer.State(ctx)
	must(t, err)
	if len(state.Routes) != 2 || state.RouteRevision == 0 {
		t.Errorf("the routes are %+v", state.Routes)
	}
	_, err = newer.PutRoutes(ctx, 2, []api.Route{route("a", "10.0.0.2")}, nil)
	must(t, err)
}
