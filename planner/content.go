package planner

import (
	"cmp"
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

// addContent puts into the template what its pods use of config maps and secrets, but for what changes in place, and says what
// of all that is missing.
func (t *Template) addContent(namespace string, configs Configs) (missing []string, err error) {
	for _, use := range contentUses(&t.Pod.Spec) {
		ref := api.Ref{Kind: use.kind, Namespace: namespace, Name: use.name}
		o, ok := configs[ref]
		if !ok && !use.optional {
			missing = append(missing, fmt.Sprintf("%s %s/%s (used by %s)", kindNames[use.kind], namespace, use.name, use.by))
		}
		if t.Pod.ChangesInPlace() && use.fixed == "" {
			continue
		}
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

// A contentUse is the use of a config map or secret by a pod.
type contentUse struct {
	kind     string
	name     string
	by       string // such as volume items
	optional bool
	fixed    string // by what a pod has the content that never changes while it runs; empty: only files that can have it
}

// contentUses are the config maps and secrets that the pod uses, ordered by kind and name, each once. It is optional where
// every use is.
func contentUses(spec *corev1.PodSpec) []contentUse {
	type key struct{ kind, name string }
	uses := map[key]contentUse{}
	add := func(kind, name string, optional *bool, by, fixed string) {
		if name == "" {
			return
		}
		use := contentUse{kind: kind, name: name, by: by, optional: optional != nil && *optional, fixed: fixed}
		k := key{kind, name}
		if known, ok := uses[k]; ok {
			use.fixed = cmp.Or(known.fixed, fixed)
			if use.optional || !known.optional {
				use.by, use.optional = known.by, known.optional
			}
		}
		uses[k] = use
	}
	parts := mountedParts(spec)
	for i := range spec.Volumes {
		usesOfVolume(&spec.Volumes[i], func(kind, name string, optional *bool) {
			add(kind, name, optional, "volume "+spec.Volumes[i].Name, parts[spec.Volumes[i].Name])
		})
	}
	eachContainer(spec, func(c *corev1.Container) {
		usesOfContainer(c, func(kind, name string, optional *bool, by string) { add(kind, name, optional, by, by) })
	})
	return slices.SortedFunc(maps.Values(uses), func(a, b contentUse) int {
		return strings.Compare(a.kind+"/"+a.name, b.kind+"/"+b.name)
	})
}

func eachContainer(spec *corev1.PodSpec, fn func(*corev1.Container)) {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			fn(&containers[i])
		}
	}
}

// mountedParts says, by volume, which container mounts a part of it: such a mount stays with the files as they were.
func mountedParts(spec *corev1.PodSpec) map[string]string {
	parts := map[string]string{}
	eachContainer(spec, func(c *corev1.Container) {
		for _, m := range c.VolumeMounts {
			if (m.SubPath != "" || m.SubPathExpr != "") && parts[m.Name] == "" {
				parts[m.Name] = "subPath of container " + c.Name
			}
		}
	})
	return parts
}

func usesOfVolume(v *corev1.Volume, add func(kind, name string, optional *bool)) {
	if c := v.ConfigMap; c != nil {
		add("ConfigMap", c.Name, c.Optional)
	}
	if c := v.Secret; c != nil {
		add("Secret", c.SecretName, c.Optional)
	}
	if v.Projected == nil {
		return
	}
	for _, source := range v.Projected.Sources {
		if c := source.ConfigMap; c != nil {
			add("ConfigMap", c.Name, c.Optional)
		}
		if c := source.Secret; c != nil {
			add("Secret", c.Name, c.Optional)
		}
	}
}

func usesOfContainer(c *corev1.Container, add func(kind, name string, optional *bool, by string)) {
	by := "envFrom of container " + c.Name
	for _, from := range c.EnvFrom {
		if r := from.ConfigMapRef; r != nil {
			add("ConfigMap", r.Name, r.Optional, by)
		}
		if r := from.SecretRef; r != nil {
			add("Secret", r.Name, r.Optional, by)
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom == nil {
			continue
		}
		by := "env " + env.Name + " of container " + c.Name
		if r := env.ValueFrom.ConfigMapKeyRef; r != nil {
			add("ConfigMap", r.Name, r.Optional, by)
		}
		if r := env.ValueFrom.SecretKeyRef; r != nil {
			add("Secret", r.Name, r.Optional, by)
		}
	}
}
