package planner

import (
	"slices"

	"headway.dev/headway/api"
)

// keptEvidence is how many pods bear witness to a failure: they mostly say the same.
const keptEvidence = 3

// evidence is what pods that are in trouble show, ordered by pod.
func evidence(pods []*Pod) []api.PodEvidence {
	var found []api.PodEvidence
	for _, pod := range slices.SortedFunc(slices.Values(pods), comparePods) {
		if len(found) == keptEvidence {
			break
		}
		if e, ok := trouble(pod); ok {
			found = append(found, e)
		}
	}
	return found
}

// trouble is what a pod shows that is not ready, if anything.
func trouble(pod *Pod) (api.PodEvidence, bool) {
	e := api.PodEvidence{Pod: pod.Pod, Node: pod.Node, Reason: pod.Reason}
	if pod.Ready || pod.Phase == api.PodSucceeded {
		return e, false
	}
	// An init container that is ready has done its work, however often it was tried.
	undone := slices.DeleteFunc(slices.Clone(pod.InitContainers), func(c api.ContainerStatus) bool { return c.Ready })
	for _, c := range append(undone, pod.Containers...) {
		if c.Restarts > e.Restarts || c.ExitCode != 0 && e.ExitCode == 0 || e.Container == "" && !c.Ready {
			e.Container, e.ExitCode, e.Restarts, e.Message = c.Name, c.ExitCode, c.Restarts, c.Message
			if c.Reason != "" {
				e.Reason = c.Reason
			}
		}
	}
	return e, e.Container != "" || e.Reason != "" || pod.Phase == api.PodFailed
}

// all are the containers of a pod in the order in which they start.
func (p *Pod) all() []api.ContainerStatus { return slices.Concat(p.InitContainers, p.Containers) }
