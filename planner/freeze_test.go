package planner

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"headway.dev/headway/api"
)

func TestFrozen(t *testing.T) {
	window := func(schedule string, duration time.Duration, zone string) api.FreezeWindow {
		return api.FreezeWindow{Schedule: schedule, Duration: metav1.Duration{Duration: duration}, TimeZone: zone}
	}
	weekend := window("0 18 * * 5", 62*time.Hour, "Europe/Berlin") // from Friday evening to Monday morning
	noon := window("0 12 * * *", time.Hour, "")
	for _, c := range []struct {
		now, until string // empty: not frozen
		windows    []api.FreezeWindow
	}{
		{"2026-01-08T12:30:00Z", "", nil},
		{"2026-01-08T12:30:00Z", "", []api.FreezeWindow{weekend}},
		{"2026-01-09T16:59:59Z", "", []api.FreezeWindow{weekend}},
		{"2026-01-09T17:00:00Z", "2026-01-12T07:00:00Z", []api.FreezeWindow{weekend}},
		{"2026-01-12T06:59:59Z", "2026-01-12T07:00:00Z", []api.FreezeWindow{weekend}},
		{"2026-01-12T07:00:00Z", "", []api.FreezeWindow{weekend}},
		{"2026-01-10T12:30:00Z", "2026-01-12T07:00:00Z", []api.FreezeWindow{noon, weekend}},
		{"2026-01-12T12:30:00Z", "2026-01-12T13:00:00Z", []api.FreezeWindow{weekend, noon}},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		until, err := Frozen(c.windows, now)
		got := ""
		if !until.IsZero() {
			got = until.UTC().Format(time.RFC3339)
		}
		if got != c.until || err != nil {
			t.Errorf("at %s: frozen until %q, %v; want %q", c.now, got, err, c.until)
		}
	}
	broken := window("whenever", time.Hour, "")
	now := time.Date(2026, 1, 8, 12, 30, 0, 0, time.UTC)
	if until, err := Frozen([]api.FreezeWindow{broken, noon}, now); err == nil || until.IsZero() {
		t.Errorf("a broken window: until %s, %v", until, err)
	}
}
