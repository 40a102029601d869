package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

// A target is what the flags of commands that reach into pods say of them.
type target struct {
	contextFile, namespace, container string
}

func (t *target) flags(c *cobra.Command) {
	fleetFlag(c, &t.contextFile)
	c.Flags().StringVarP(&t.namespace, "namespace", "n", "", "the pod's namespace (default: the only one that has the name)")
	c.Flags().StringVarP(&t.container, "container", "c", "", "which container (default: the first)")
}

// parseObject reads kind/name. The kinds are those of get, and any other by its own name.
func parseObject(s string) (kind, name string, err error) {
	kind, name, ok := strings.Cut(s, "/")
	if !ok || kind == "" || name == "" || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("%q is not kind/name, such as deployment/front", s)
	}
	if known, err := parseKind(kind); err == nil {
		return known, name, nil
	}
	for _, known := range []string{"StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"} {
		if lower := strings.ToLower(known); strings.ToLower(kind) == lower || strings.ToLower(kind) == lower+"s" {
			return known, name, nil
		}
	}
	return kind, name, nil
}

// names reports whether an argument, POD or KIND/NAME, stands for a pod or the owner of it.
func names(arg string, p api.PodIdentity) bool {
	if !strings.Contains(arg, "/") {
		return p.Pod.Name == arg
	}
	kind, name, err := parseObject(arg)
	return err == nil && (p.Pod.Kind == kind && p.Pod.Name == name || p.Owner.Kind == kind && p.Owner.Name == name)
}

// choosePods finds the pods that arguments and a selector name, ordered by namespace and name. With a selector and no
// argument it is all that match.
func choosePods(statuses []api.NodeStatus, namespace string, args []string, selector labels.Selector) ([]api.PodStatus, error) {
	var found []api.PodStatus
	matched := make([]bool, len(args))
	for _, s := range statuses {
		for _, p := range s.Pods {
			id := p.Placement.PodIdentity
			if namespace != "" && id.Pod.Namespace != namespace || !selector.Matches(labels.Set(p.Placement.Labels)) {
				continue
			}
			chosen := len(args) == 0
			for i, arg := range args {
				if names(arg, id) {
					chosen, matched[i] = true, true
				}
			}
			if chosen {
				found = append(found, p)
			}
		}
	}
	if i := slices.Index(matched, false); i >= 0 {
		return nil, fmt.Errorf("no node reports a pod %q%s: \"headway get pods\" lists them", args[i], within(namespace))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no node reports a pod with the labels %q%s: \"headway get pods\" lists them", selector, within(namespace))
	}
	slices.SortFunc(found, func(a, b api.PodStatus) int {
		return cmp.Or(cmp.Compare(a.Placement.Pod.String(), b.Placement.Pod.String()), cmp.Compare(a.Placement.UID, b.Placement.UID))
	})
	return found, nil
}

func within(namespace string) string {
	if namespace == "" {
		return ""
	}
	return " in namespace " + namespace
}

// onePod finds the pod that an argument names. Of the pods of an owner it is the first that is ready, or else the first.
func (t target) onePod(ctx context.Context, conn *bus.Conn, arg string) (api.PodStatus, error) {
	state, err := conn.State(ctx)
	if err != nil {
		return api.PodStatus{}, err
	}
	found, err := choosePods(state.Statuses, t.namespace, []string{arg}, labels.Everything())
	if err != nil {
		return api.PodStatus{}, err
	}
	for _, p := range found {
		if p.Placement.Pod.Namespace != found[0].Placement.Pod.Namespace {
			return api.PodStatus{}, fmt.Errorf("several namespaces have a pod %q: choose one with -n", arg)
		}
	}
	if i := slices.IndexFunc(found, func(p api.PodStatus) bool { return p.Ready }); i >= 0 {
		return found[i], nil
	}
	return found[0], nil
}

// openStream asks the pod's node for a stream.
func openStream(ctx context.Context, conn *bus.Conn, pod api.Placement, request api.StreamRequest) (*bus.Stream, error) {
	request.Pod = pod.Pod
	s, err := conn.OpenStream(ctx, pod.Node, request)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", pod.Node, err)
	}
	return s, nil
}

// receive copies what comes on a stream until it ends. An end that the person asked for is none of the stream's failures.
func receive(ctx context.Context, s *bus.Stream, stdout, stderr io.Writer) error {
	for {
		frame, err := s.Recv(ctx)
		switch {
		case errors.Is(err, io.EOF), err != nil && errors.Is(ctx.Err(), context.Canceled):
			return nil
		case err != nil:
			return err
		}
		if _, err := stdout.Write(frame.Stdout); err != nil {
			return err
		}
		if _, err := stderr.Write(frame.Stderr); err != nil {
			return err
		}
		switch {
		case frame.Error != "":
			return errors.New(frame.Error)
		case frame.ExitCode != nil && *frame.ExitCode != 0:
			return exit{code: *frame.ExitCode}
		case frame.ExitCode != nil:
			return nil
		}
	}
}
