package controller

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

const testPeriod = 15 * time.Second

var meterEpoch = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)

// said is what a node says at a time of one pod that has used a whole core since it began, and 2 MiB.
func said(at time.Duration) api.NodeUsage {
	return api.NodeUsage{Node: "n1", Time: meterEpoch.Add(at), Containers: []api.ContainerUsage{{
		UID: "u1", Container: "main", Started: meterEpoch,
		Usage: api.Usage{Time: meterEpoch.Add(at), CPU: uint64(at), Memory: 2 << 20},
	}}}
}

func TestMeter(t *testing.T) {
	type message struct {
		at, came time.Duration // by the node's clock, and by the controller's
		change   func(*api.NodeUsage)
	}
	restarted := func(u *api.NodeUsage) {
		u.Containers[0].Started, u.Containers[0].CPU = meterEpoch.Add(20*time.Second), uint64(time.Second)
	}
	second := func(u *api.NodeUsage) {
		side := u.Containers[0]
		side.Container = "side"
		u.Containers = append(u.Containers, side)
	}
	s := time.Second
	for _, c := range []struct {
		name     string
		messages []message
		asked    time.Duration
		want     string
	}{
		{"one measurement makes no rate", []message{{at: 15 * s, came: 15 * s}}, 16 * s, "unknown"},
		{"two make one", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s}}, 31 * s, "1000m 2097152 in 15s at 30s"},
		{"a node's clock that is off is no matter", []message{{at: 15 * s, came: 4000 * s}, {at: 30 * s, came: 4015 * s}}, 4016 * s, "1000m 2097152 in 15s at 30s"},
		{"a lost one makes the time longer", []message{{at: 15 * s, came: 15 * s}, {at: 45 * s, came: 45 * s}}, 46 * s, "1000m 2097152 in 30s at 45s"},
		{"a doubled one is left out", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s}, {at: 30 * s, came: 40 * s}}, 41 * s, "1000m 2097152 in 15s at 30s"},
		{"and so is one that was overtaken", []message{{at: 15 * s, came: 15 * s}, {at: 45 * s, came: 45 * s}, {at: 30 * s, came: 46 * s}}, 47 * s, "1000m 2097152 in 30s at 45s"},
		{"one that was long on its way", []message{{at: 15 * s, came: 15 * s}, {at: 20 * s, came: 55 * s}}, 56 * s, "unknown"},
		{"silence", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s}}, 91 * s, "unknown"},
		{"what comes after it begins anew", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s}, {at: 100 * s, came: 100 * s}}, 101 * s, "unknown"},
		{"with a clock that was set back, too", []message{{at: 100 * s, came: 15 * s}, {at: 115 * s, came: 30 * s}, {at: 30 * s, came: 95 * s}, {at: 45 * s, came: 110 * s}}, 111 * s, "1000m 2097152 in 15s at 45s"},
		{"a container that was started again", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s, change: restarted}}, 31 * s, "unknown"},
		{"one that is new makes the pod unknown", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s, change: second}}, 31 * s, "unknown"},
		{"both known", []message{{at: 15 * s, came: 15 * s, change: second}, {at: 30 * s, came: 30 * s, change: second}}, 31 * s, "2000m 4194304 in 15s at 30s"},
		{"too short a time", []message{{at: 15 * s, came: 15 * s}, {at: 16 * s, came: 16 * s}}, 17 * s, "unknown"},
		{"too short a time after a rate", []message{{at: 15 * s, came: 15 * s}, {at: 30 * s, came: 30 * s}, {at: 31 * s, came: 31 * s}}, 32 * s, "1000m 2097152 in 16s at 31s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m meter
			for _, one := range c.messages {
				usage := said(one.at)
				if one.change != nil {
					one.change(&usage)
				}
				m.observe(usage, meterEpoch.Add(one.came), testPeriod)
			}
			got := "unknown"
			if u, ok := m.of("u1", meterEpoch.Add(c.asked), testPeriod); ok {
				got = fmt.Sprintf("%dm %d in %s at %s", u.Used.MilliCPU, u.Used.Memory, u.Window, u.Time.Sub(meterEpoch))
			}
			if got != c.want {
				t.Errorf("it uses %s, want %s", got, c.want)
			}
		})
	}
}

// TestMeterOfRandomMessages loses, doubles, delays and reorders what a node says of a pod that uses one core: whenever
// anything is known, it is that.
func TestMeterOfRandomMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m meter
		var sent []time.Duration
		now := time.Duration(0)
		t.Repeat(map[string]func(*rapid.T){
			"say": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second
				sent = append(sent, now)
			},
			"deliver": func(t *rapid.T) {
				if len(sent) > 0 {
					m.observe(said(rapid.SampledFrom(sent).Draw(t, "message")), meterEpoch.Add(now), testPeriod)
				}
			},
			"": func(t *rapid.T) {
				u, ok := m.of("u1", meterEpoch.Add(now), testPeriod)
				if ok && (u.Used != api.Resources{MilliCPU: 1000, Memory: 2 << 20} || u.Window < testPeriod/shortest) {
					t.Fatalf("it uses %+v", u)
				}
			},
		})
	})
}

// TestUsageOfThePodsNode takes of two nodes that report one pod only the word of the one that has it.
func TestUsageOfThePodsNode(t *testing.T) {
	target := api.Ref{Kind: "Deployment", Namespace: "shop", Name: "web"}
	s := newState(limits{scalePeriod: testPeriod}, nil, 1, State{Report: &api.Report{Scales: []api.ScaleRecord{{Target: target, Replicas: 1}}}}, meterEpoch)
	for _, name := range []string{"n1", "n2"} {
		s.node(name, meterEpoch)
		for _, at := range []time.Duration{15 * time.Second, 30 * time.Second} {
			usage := said(at)
			usage.Node = name
			if name == "n2" {
				usage.Containers[0].Memory = 1 << 30
			}
			s.observeUsage(usage, meterEpoch.Add(at))
		}
	}
	mine := &pod{placement: api.Placement{PodIdentity: api.PodIdentity{UID: "u1", Owner: target}, Node: "n1"}}
	foreign := &pod{placement: api.Placement{PodIdentity: api.PodIdentity{UID: "u1"}, Node: "n2"}}
	s.addPod(s.nodes["n1"], mine)
	s.addPod(s.nodes["n2"], foreign)
	s.look(meterEpoch)
	got := s.usage(meterEpoch.Add(31 * time.Second))
	if len(got) != 1 || got[0].Used.Memory != 2<<20 {
		t.Errorf("used is %+v", got)
	}
}

// TestNewLeaderKeepsWhatThereIs scales by records that say that fewer pods were asked for long since, but not by this leader.
func TestNewLeaderKeepsWhatThereIs(t *testing.T) {
	record := api.ScaleRecord{Replicas: 5, Recommendations: []api.ScaleStep{{Time: meterEpoch.Add(-time.Minute), Pods: 1}}}
	s := newState(limits{scalePeriod: testPeriod}, nil, 2, State{Report: &api.Report{Scales: []api.ScaleRecord{record}}}, meterEpoch)
	got := s.scales[0].Recommendations
	if len(got) != 2 || got[1] != (api.ScaleStep{Time: meterEpoch, Pods: 5}) {
		t.Errorf("asked for was %v", got)
	}
}
