package planner

import (
	"fmt"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// cause says why a rollout to the wanted template begins; it is empty when the template turns out to run already.
func (r *rollout) cause() string {
	var from api.Digest
	if r.previous != nil {
		from = r.previous.Template
	}
	if old := r.of[ClassOutdated]; len(old) > 0 && r.templateAt(from) == nil {
		from = old[0].Template
	}
	switch {
	case from != "":
		return r.changeFrom(from)
	case len(r.pods) == 0:
		return "new in Git"
	}
	return ""
}

// changeFrom says what the wanted template changes of another.
func (r *rollout) changeFrom(from api.Digest) string {
	if told, ok := r.told[from]; ok {
		return told
	}
	what := describe(r.templateAt(from), r.template.Pod)
	if what == "" {
		what = from.Short() + " -> " + r.template.Digest.Short()
	}
	r.told[from] = "template changed: " + what
	return r.told[from]
}

// describe names the change of a template that says most, and counts the others. It is empty when a template is unknown.
func describe(from, to *api.PodTemplate) string {
	if from == nil || to == nil {
		return ""
	}
	var told string
	changes, err := fieldChanges(withoutConfigs(*from), withoutConfigs(*to))
	if err != nil {
		return ""
	}
	for i, c := range changes {
		if strings.HasSuffix(c.Path, ".image") {
			told = fmt.Sprintf("image %s -> %s", strings.Trim(c.From, `"`), strings.Trim(c.To, `"`))
			break
		}
		if i == 0 {
			told = strings.TrimPrefix(c.Path, "spec.") + " " + c.values()
		}
	}
	configs := changedContent("config map", from.ConfigMaps, to.ConfigMaps)
	configs = explained(append(configs, changedContent("secret", from.Secrets, to.Secrets)...), to)
	if told == "" && len(configs) > 0 {
		told = configs[0]
	}
	if more := len(changes) + len(configs) - 1; more > 0 {
		told += fmt.Sprintf(", and %d more", more)
	}
	return told
}

func withoutConfigs(t api.PodTemplate) api.PodTemplate {
	t.ConfigMaps, t.Secrets = nil, nil
	return t
}

// changedContent names what differs, ordered by name; digests would tell nobody anything.
func changedContent(kind string, from, to map[string]api.Digest) []string {
	var names []string
	for name, digest := range from {
		switch now, ok := to[name]; {
		case !ok:
			names = append(names, kind+" "+name+" removed")
		case now != digest:
			names = append(names, kind+" "+name+" changed")
		}
	}
	for name := range to {
		if _, ok := from[name]; !ok {
			names = append(names, kind+" "+name+" added")
		}
	}
	slices.Sort(names)
	return names
}

// creationReason says why a pod is made in a slot, of which last was the newest until now.
func (r *rollout) creationReason(last *Pod) string {
	switch running := r.status.Updated + r.status.Outdated; {
	case last != nil && last.Lost:
		return fmt.Sprintf("replaces %s, lost with node %s", last.Pod.Name, last.Node)
	case last != nil && isEnded(last):
		return fmt.Sprintf("replaces %s, which %s", last.Pod.Name, ending(last))
	case r.held == "" && r.back != "":
		return "back at the template before, since " + r.back
	case r.held == "" && r.previous != nil && r.previous.Back != "":
		return "forward again: a commit mends what had failed"
	case r.held == "" && r.status.Completed.IsZero() && r.status.Cause != "":
		return r.status.Cause
	case r.previous != nil && r.previous.Desired < r.replicas:
		return fmt.Sprintf("scaled up from %d to %d", r.previous.Desired, r.replicas)
	default:
		return wantedButRun(r.replicas, running)
	}
}

func (r *rollout) surplusReason() string {
	if r.previous != nil && r.previous.Desired > r.replicas {
		return fmt.Sprintf("scaled down from %d to %d", r.previous.Desired, r.replicas)
	}
	return wantedButRun(r.replicas, r.status.Updated+r.status.Outdated)
}

func (r *rollout) crowdReason(limit int) string {
	return fmt.Sprintf("at most %d pods may run: %d replicas and %d more while they are updated", limit, r.replicas, r.surge)
}

func wantedButRun(wanted, run int) string {
	if wanted == 1 {
		return fmt.Sprintf("1 replica is wanted, %d run", run)
	}
	return fmt.Sprintf("%d replicas are wanted, %d run", wanted, run)
}

// ending says how a pod ended, as the predicate of a sentence.
func ending(pod *Pod) string {
	how := "ended"
	if pod.Phase == api.PodFailed {
		how = "failed"
	}
	if pod.Reason != "" {
		how += " (" + pod.Reason + ")"
	}
	return how
}
