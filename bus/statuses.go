package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// A node tells the status of all of its pods whenever that of one has changed. So that a hundred pods do not cost a hundred
// times a hundred, neither end encodes or decodes what has not: in the JSON of a status each pod has a line of its own, which
// is remembered. JSON has no other line breaks in it than those around its values, so that this is the same JSON to everybody
// else.
const (
	podsBegin   = `,"pods":[` + "\n"
	podsBetween = ",\n"
	podsEnd     = "\n]}"
)

// PutStatus says how the node's pods are. What it is given must not be changed afterwards.
func (c *Conn) PutStatus(ctx context.Context, status api.NodeStatus) error {
	if err := checkName("node", status.Node); err != nil {
		return err
	}
	data, err := c.statuses.encode(status)
	if err != nil {
		return err
	}
	return c.say(ctx, wire.Statuses, status.Node, data)
}

// WatchStatuses calls fn with each newest status of each node, until ctx is done. What has not changed since the one before is
// shared with it: fn must change none of it.
func (c *Conn) WatchStatuses(ctx context.Context, fn func(api.NodeStatus)) error {
	reader := statusReader{known: map[string]map[lineSum]*api.PodStatus{}}
	return c.watch(ctx, wire.Statuses, wire.Any, func(v *view) {
		for _, status := range decodeAllBy(c, v.news(), reader.decode, nodeOfStatus) {
			fn(status)
		}
		maps.DeleteFunc(reader.known, func(node string, _ map[lineSum]*api.PodStatus) bool {
			_, there := v.entries[node]
			return !there
		})
	})
}

func nodeOfStatus(s api.NodeStatus) string { return s.Node }

// A statusWriter encodes statuses, and remembers the lines of the last.
type statusWriter struct {
	mu    sync.Mutex
	known map[string]podLine // by UID
	size  int                // of the last
}

type podLine struct {
	status api.PodStatus
	line   []byte
}

func (w *statusWriter) encode(s api.NodeStatus) (encoded, error) {
	text, err := json.Marshal(struct {
		api.NodeStatus
		Pods any `json:"pods,omitempty"` // in the place of those of the status: they have lines of their own
	}{NodeStatus: s})
	if err != nil {
		return nil, fmt.Errorf("encode the status of node %s: %w", s.Node, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := make(map[string]podLine, len(s.Pods))
	text = slices.Grow(bytes.TrimSuffix(text, []byte("}")), w.size)
	text = append(text, podsBegin...)
	for i, p := range s.Pods {
		l, ok := w.known[p.Placement.UID]
		if !ok || !reflect.DeepEqual(l.status, p) {
			l.status = p
			if l.line, err = json.Marshal(p); err != nil {
				return nil, fmt.Errorf("encode the status of pod %s: %w", p.Placement.Pod, err)
			}
		}
		known[p.Placement.UID] = l
		if i > 0 {
			text = append(text, podsBetween...)
		}
		text = append(text, l.line...)
	}
	text = append(text, podsEnd...)
	w.known, w.size = known, len(text)
	return text, nil
}

// A statusReader decodes statuses, and remembers the pods of the last of each node.
type statusReader struct {
	known map[string]map[lineSum]*api.PodStatus // by node
}

// A lineSum stands for a line of JSON.
type lineSum [sha256.Size]byte

func (r *statusReader) decode(e entry) (api.NodeStatus, error) {
	text, err := unpack(e.header, e.data)
	if err != nil {
		return api.NodeStatus{}, err
	}
	if head, pods, ok := cutPods(text); ok {
		if status, err := r.decodeLines(head, pods); err == nil {
			return status, nil
		}
	}
	var status api.NodeStatus // written by somebody else, in another form
	return status, unmarshal(text, &status)
}

// cutPods parts what a status says beside its pods from their lines.
func cutPods(text []byte) (head, pods []byte, ok bool) {
	head, pods, found := bytes.Cut(text, []byte(podsBegin))
	pods, ended := bytes.CutSuffix(pods, []byte(podsEnd))
	return append(bytes.Clone(head), '}'), pods, found && ended
}

func (r *statusReader) decodeLines(head, pods []byte) (api.NodeStatus, error) {
	var status api.NodeStatus
	if err := json.Unmarshal(head, &status); err != nil {
		return api.NodeStatus{}, err
	}
	before := r.known[status.Node]
	status.Pods = make([]api.PodStatus, 0, max(len(before), 1))
	known := make(map[lineSum]*api.PodStatus, len(before))
	for len(pods) > 0 {
		var line []byte
		line, pods, _ = bytes.Cut(pods, []byte(podsBetween))
		sum := lineSum(sha256.Sum256(line))
		pod, ok := before[sum]
		if !ok {
			pod = &api.PodStatus{}
			if err := json.Unmarshal(line, pod); err != nil {
				return api.NodeStatus{}, err
			}
		}
		known[sum] = pod
		status.Pods = append(status.Pods, *pod)
	}
	r.known[status.Node] = known
	return status, nil
}
