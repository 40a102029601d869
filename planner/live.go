package planner

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// An Update changes files of a pod that runs on. What it changes is no part of the pod's template, so that nothing is stopped or
// created for it, and nothing waits: rollouts that are paused or held hold up no update.
type Update struct {
	Pod    api.PodIdentity `json:"pod"`
	Reason string          `json:"reason"`
	Commit string          `json:"commit"`
	// Live is all that the pod has from now on of what changes in place. Its secrets are not sealed yet.
	Live *api.LiveConfig `json:"-"`
}

// contents are the declared config maps and secrets, with the blobs of those that were asked for.
type contents struct {
	configs Configs
	digests map[api.Ref]api.Digest
	blobs   map[api.Digest][]byte
}

// digest names what a config map or secret holds; false: it is not declared.
func (c *contents) digest(ref api.Ref) (api.Digest, bool) {
	o, ok := c.configs[ref]
	if !ok {
		return "", false
	}
	value, isMap := o.Value.(*corev1.ConfigMap)
	if !isMap {
		return o.Fingerprint, true
	}
	if known, ok := c.digests[ref]; ok {
		return known, true
	}
	digest, data, err := addressed(api.ConfigData{Data: value.Data, BinaryData: value.BinaryData})
	if err != nil { // maps of texts and bytes always have a JSON
		return "", false
	}
	c.digests[ref], c.blobs[digest] = digest, data
	return digest, true
}

// liveOf gives what a new pod of the template has of what changes in place, and adds the blobs to the plan; nil is nothing.
func (p *pass) liveOf(namespace string, t *api.PodTemplate) *api.LiveConfig {
	if !t.ChangesInPlace() {
		return nil
	}
	live := &api.LiveConfig{}
	for _, use := range contentUses(&t.Spec) {
		if use.fixed != "" {
			continue
		}
		into := &live.ConfigMaps
		if use.kind == "Secret" {
			into = &live.Secrets
		}
		if *into == nil {
			*into = map[string]api.LiveContent{}
		}
		(*into)[use.name] = api.LiveContent{Optional: use.optional}
	}
	if live.ConfigMaps == nil && live.Secrets == nil {
		return nil
	}
	return p.renewed(namespace, live)
}

// renewed gives the same with the content of now, and adds the blobs to the plan. What is not declared any more stays with pods
// that cannot do without it, as all else of a pod does whose workload has become impossible.
func (p *pass) renewed(namespace string, last *api.LiveConfig) *api.LiveConfig {
	now := func(kind string, all map[string]api.LiveContent) map[string]api.LiveContent {
		if all == nil {
			return nil
		}
		renewed := make(map[string]api.LiveContent, len(all))
		for name, c := range all {
			digest, declared := p.want.contents.digest(api.Ref{Kind: kind, Namespace: namespace, Name: name})
			if declared || c.Optional {
				c.Digest = digest
			}
			if blob, ok := p.want.contents.blobs[c.Digest]; ok {
				p.plan.Blobs[c.Digest] = blob
			}
			renewed[name] = c
		}
		return renewed
	}
	return &api.LiveConfig{ConfigMaps: now("ConfigMap", last.ConfigMaps), Secrets: now("Secret", last.Secrets)}
}

// keptLive is the content that pods of an owner have, where all of them have what is declared.
type keptLive struct {
	want  *wanted
	pods  uint64 // their version
	blobs map[api.Digest][]byte
}

// updateInPlace plans what changes of the files of pods that run on, whatever their template. What a pod has tells what it uses.
func (p *pass) updateInPlace() {
	var outdated []*Pod
	for _, g := range p.seen.sorted {
		if g.traits.live {
			outdated = append(outdated, p.outdatedOf(g)...)
		}
	}
	slices.SortFunc(outdated, comparePods)
	for _, pod := range outdated {
		next := p.renewed(pod.Pod.Namespace, pod.Live)
		changes := append(changedContent("config map", held(pod.Live.ConfigMaps), held(next.ConfigMaps)),
			changedContent("secret", held(pod.Live.Secrets), held(next.Secrets))...)
		p.plan.Updates = append(p.plan.Updates, Update{
			Pod: pod.PodIdentity, Reason: strings.Join(changes, ", "), Commit: p.in.Revision.Commit, Live: next,
		})
	}
}

// outdatedOf gives those of an owner's pods whose files are to change, and adds what the others have to the plan.
func (p *pass) outdatedOf(g *group) (outdated []*Pod) {
	if k := &g.live; k.want == p.want && k.pods == g.version && !p.stops[g.owner] {
		maps.Copy(p.plan.Blobs, k.blobs)
		return nil
	}
	all := p.plan.Blobs
	p.plan.Blobs = map[api.Digest][]byte{}
	for _, pod := range g.pods {
		if pod.Live == nil || isStopping(pod) || isEnded(pod) || p.stopped[pod] {
			continue
		}
		if next := p.renewed(pod.Pod.Namespace, pod.Live); !next.Same(pod.Live) {
			outdated = append(outdated, pod)
		}
	}
	g.live = keptLive{}
	if outdated == nil && !p.stops[g.owner] {
		g.live = keptLive{p.want, g.version, p.plan.Blobs}
	}
	maps.Copy(all, p.plan.Blobs)
	p.plan.Blobs = all
	return outdated
}

// held are the digests of what there is.
func held(all map[string]api.LiveContent) map[string]api.Digest {
	digests := make(map[string]api.Digest, len(all))
	for name, c := range all {
		if c.Digest != "" {
			digests[name] = c.Digest
		}
	}
	return digests
}

// unchangeable says of content, by kind and name, why it is no change in place for a pod whose template asks for that.
func unchangeable(t *api.PodTemplate) map[string]string {
	why := map[string]string{}
	if !t.ChangesInPlace() {
		return why
	}
	for _, use := range contentUses(&t.Spec) {
		if use.fixed != "" {
			why[kindNames[use.kind]+" "+use.name] = " (not in place: " + use.fixed + " never changes in a running pod)"
		}
	}
	return why
}

// explained adds to changes of content why they are none in place.
func explained(changes []string, t *api.PodTemplate) []string {
	why := unchangeable(t)
	for _, name := range slices.Sorted(maps.Keys(why)) {
		for i := range changes {
			if strings.HasPrefix(changes[i], name+" ") {
				changes[i] += why[name]
			}
		}
	}
	return changes
}
