package bus

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestStatusLines has a node tell random changes of its pods: a reader that remembers, one that begins anew and one that knows
// nothing of lines read the same, and it is what was told.
func TestStatusLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w statusWriter
		reader := statusReader{known: map[string]map[lineSum]*api.PodStatus{}}
		pods := map[int]api.PodStatus{}
		for sequence := range rapid.Uint64Range(1, 8).Draw(t, "statuses") {
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				i := rapid.IntRange(0, 5).Draw(t, "pod")
				if rapid.IntRange(0, 3).Draw(t, "gone") == 0 {
					delete(pods, i)
					continue
				}
				pods[i] = drawStatus(t, i)
			}
			want := api.NodeStatus{Node: "n1", Sequence: sequence, Time: time.Unix(int64(sequence), 0).UTC(), Pods: []api.PodStatus{}}
			for i := range 6 {
				if p, ok := pods[i]; ok {
					want.Pods = append(want.Pods, p)
				}
			}
			data, err := w.encode(want)
			if err != nil {
				t.Fatal(err)
			}
			header, data, err := encode(data)
			if err != nil {
				t.Fatal(err)
			}
			e := entry{header: header, data: data}
			anew := statusReader{known: map[string]map[lineSum]*api.PodStatus{}}
			got, err := reader.decode(e)
			fresh, errFresh := anew.decode(e)
			var plain api.NodeStatus
			if errPlain := decode(header, data, &plain); err != nil || errFresh != nil || errPlain != nil {
				t.Fatal(err, errFresh, errPlain)
			}
			if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(fresh, want) || !reflect.DeepEqual(plain, want) {
				t.Fatalf("told:  %+v\nread:  %+v\nanew:  %+v\nplain: %+v", want, got, fresh, plain)
			}
			if len(reader.known["n1"]) != len(want.Pods) || len(w.known) != len(want.Pods) {
				t.Fatalf("of %d pods the reader remembers %d and the writer %d", len(want.Pods), len(reader.known["n1"]), len(w.known))
			}
		}
	})
}

// drawStatus draws the status of a pod, with text that looks like what parts pods.
func drawStatus(t *rapid.T, i int) api.PodStatus {
	text := rapid.SampledFrom([]string{"", "Error", podsBegin, podsBetween, podsEnd, "é\u2028", strings.Repeat("long", compressAbove/8)})
	s := api.PodStatus{Phase: api.PodRunning, Message: text.Draw(t, "message"), Ready: rapid.Bool().Draw(t, "ready")}
	s.Placement.UID = fmt.Sprintf("u%d", i)
	s.Placement.Labels = map[string]string{"app": text.Draw(t, "label")}
	s.Containers = []api.ContainerStatus{{Name: "c", Restarts: rapid.IntRange(0, 2).Draw(t, "restarts")}}
	return s
}

// TestStatusOtherwise reads statuses that another program wrote, or wrote badly.
func TestStatusOtherwise(t *testing.T) {
	read := func(text string) (api.NodeStatus, error) {
		reader := statusReader{known: map[string]map[lineSum]*api.PodStatus{}}
		return reader.decode(entry{data: []byte(text)})
	}
	want := api.NodeStatus{Node: "n1", Pods: []api.PodStatus{{Phase: api.PodRunning}, {Phase: api.PodFailed}}}
	indented, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(string(indented))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("indented: %+v, %v", got, err)
	}
	for _, text := range []string{
		`{"node":"n1","pods":[` + "\n{\n]}", `{"node":"n1"},"pods":[` + "\n{}\n]}", `{"node":"n1","pods":[` + "\n{},\n", `,"pods":[` + "\n\n]}",
	} {
		if got, err := read(text); err == nil {
			t.Errorf("%q is read: %+v", text, got)
		}
	}
}

// BenchmarkStatus tells that one pod of a hundred has changed, and reads it.
func BenchmarkStatus(b *testing.B) {
	status := api.NodeStatus{Node: "n1"}
	for i := range 100 {
		p := api.PodStatus{Phase: api.PodRunning, IP: "10.0.0.1", Created: time.Now(), Started: time.Now()}
		p.Placement.UID, p.Placement.Pod = fmt.Sprintf("u%d", i), api.Ref{Kind: "Pod", Namespace: "shop", Name: fmt.Sprintf("shop-%d", i)}
		p.Placement.Labels = map[string]string{"app": "shop", "tier": "web"}
		p.Conditions = []api.PodCondition{{Type: "PodScheduled", True: true, Since: time.Now()}, {Type: "Ready", True: true, Since: time.Now()}}
		p.Containers = []api.ContainerStatus{{Name: "shop", ID: strings.Repeat("f", 64), Image: "registry.example/shop:1", State: "running", Started: time.Now()}}
		status.Pods = append(status.Pods, p)
	}
	for name, anew := range map[string]bool{"remembering": false, "anew": true} {
		b.Run(name, func(b *testing.B) {
			var w statusWriter
			reader := statusReader{known: map[string]map[lineSum]*api.PodStatus{}}
			for i := 0; b.Loop(); i++ {
				status.Pods[i%100].Ready = !status.Pods[i%100].Ready
				if anew {
					w, reader.known = statusWriter{}, map[string]map[lineSum]*api.PodStatus{}
				}
				data, err := w.encode(status)
				if err != nil {
					b.Fatal(err)
				}
				header, packed, err := encode(data)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := reader.decode(entry{header: header, data: packed}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
