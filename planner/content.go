package planner

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// Configs are the declared config maps and secrets.
type Configs map[api.Ref]api.Object

// ConfigsOf picks the config maps and secrets out of the objects.
func ConfigsOf(objects []api.Object) Configs {
	configs := Configs{}
	for _, o := range objects {
		switch o.Value.(type) {
		case *corev1.ConfigMap, *corev1.Secret:
			configs[o.Ref] = o
		}
	}
	return configs
}

// addContent puts into the template what its pods use of config maps and secrets, and says what of that is missing.
func (t *Template) addContent(namespace string, configs Configs) (missing []string, err error) {
	for _, use := range contentUses(&t.Pod.Spec) {
		ref := api.Ref{Kind: use.kind, Namespace: namespace, Name: use.name}
		o, ok := configs[ref]
		switch value := o.Value.(type) {
		case *corev1.ConfigMap:
			digest, err := t.add(api.ConfigData{Data: value.Data, BinaryData: value.BinaryData})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", ref, err)
			}
			noteDigest(&t.Pod.ConfigMaps, use.name, digest)
		case *corev1.Secret:
			noteDigest(&t.Pod.Secrets, use.name, o.Fingerprint)
		}
		if !ok && !use.optional {
			missing = append(missing, fmt.Sprintf("%s %s/%s (used by %s)", kindNames[use.kind], namespace, use.name, use.by))
		}
	}
	return missing, nil
}

// kindNames are the kinds of content as sentences have them.
var kindNames = map[string]string{"ConfigMap": "config map", "Secret": "secret"}

func noteDigest(digests *map[string]api.Digest, name string, digest api.Digest) {
	if *digests == nil {
		*digests = map[string]api.Digest{}
	}
	(*digests)[name] = digest
}

// A contentUse is one use of a config map or secret by a pod.
type contentUse struct {
	kind     string
	name     string
	by       string // such as volume items
	optional bool
}

// contentUses are the config maps and secrets that the pod uses, ordered by kind and name, each once. It is optional where
// every use is.
func contentUses(spec *corev1.PodSpec) []contentUse {
	type key struct{ kind, name string }
	uses := map[key]contentUse{}
	add := func(kind, name, by string, optional *bool) {
		use := contentUse{kind: kind, name: name, by: by, optional: optional != nil && *optional}
		k := key{kind, name}
		if known, ok := uses[k]; name != "" && (!ok || known.optional && !use.optional) {
			uses[k] = use
		}
	}
	for i := range spec.Volumes {
		usesOfVolume(&spec.Volumes[i], add)
	}
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			usesOfContainer(&containers[i], add)
		}
	}
	return slices.SortedFunc(maps.Values(uses), func(a, b contentUse) int {
		return strings.Compare(a.kind+"/"+a.name, b.kind+"/"+b.name)
	})
}

func usesOfVolume(v *corev1.Volume, add func(kind, name, by string, optional *bool)) {
	by := "volume " + v.Name
	if c := v.ConfigMap; c != nil {
		add("ConfigMap", c.Name, by, c.Optional)
	}
	if c := v.Secret; c != nil {
		add("Secret", c.SecretName, by, c.Optional)
	}
	if v.Projected == nil {
		return
	}
	for _, source := range v.Projected.Sources {
		if c := source.ConfigMap; c != nil {
			add("ConfigMap", c.Name, by, c.Optional)
		}
		if c := source.Secret; c != nil {
			add("Secret", c.Name, by, c.Optional)
		}
	}
}

func usesOfContainer(c *corev1.Container, add func(kind, name, by string, optional *bool)) {
	by := "envFrom of container " + c.Name
	for _, from := range c.EnvFrom {
		if r := from.ConfigMapRef; r != nil {
			add("ConfigMap", r.Name, by, r.Optional)
		}
		if r := from.SecretRef; r != nil {
			add("Secret", r.Name, by, r.Optional)
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			continue
		}
		by := "env " + env.Name + " of container " + c.Name
		if r := env.ValueFrom.ConfigMapKeyRef; r != nil {
			add("ConfigMap", r.Name, by, r.Optional)
		}
		if r := env.ValueFrom.SecretKeyRef; r != nil {
			add("Secret", r.Name, by, r.Optional)
		}
	}
}
