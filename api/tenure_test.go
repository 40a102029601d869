package api_test

import (
	"testing"

	"headway.dev/headway/api"
)

// TestExclusive: what must not run twice is what another node could have too.
func TestExclusive(t *testing.T) {
	set := func(claims map[string]string, volumes map[string]api.BoundVolume) api.Placement {
		p := api.Placement{Claims: claims, Volumes: volumes}
		p.Owner.Kind = "StatefulSet"
		return p
	}
	claims := map[string]string{"data": "data-db-0", "log": "log-db-0"}
	for _, test := range []struct {
		what      string
		placement api.Placement
		want      bool
	}{
		{"a pod of a Deployment", api.Placement{}, false},
		{"without claims", set(nil, nil), true},
		{"with directories", set(claims, nil), false},
		{"with a directory beside a declared volume", set(claims, map[string]api.BoundVolume{"log": {}}), false},
		{"with declared volumes only", set(claims, map[string]api.BoundVolume{"log": {}, "data": {}}), true},
	} {
		if got := test.placement.Exclusive(); got != test.want {
			t.Errorf("%s: exclusive is %t", test.what, got)
		}
	}
}
