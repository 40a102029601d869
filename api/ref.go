package api

import (
	"cmp"
	"fmt"
	"strings"
)

// A Ref names an object: its kind, its namespace (empty for kinds that belong to the whole cluster) and its name.
type Ref struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// PodRef names a pod.
func PodRef(namespace, name string) Ref { return Ref{Kind: "Pod", Namespace: namespace, Name: name} }

// String gives Kind/namespace/name, or Kind/name for an object without a namespace.
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + "/" + r.Name
	}
	return r.Kind + "/" + r.Namespace + "/" + r.Name
}

// IsZero reports whether the ref names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// Compare orders refs by kind, namespace and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name))
}

// ParseRef reads what String writes.
func ParseRef(s string) (Ref, error) {
	parts := strings.Split(s, "/")
	for _, p := range parts {
		if p == "" {
			return Ref{}, fmt.Errorf("%q is not a reference: write Kind/namespace/name, or Kind/name", s)
		}
	}
	switch len(parts) {
	case 2:
		return Ref{Kind: parts[0], Name: parts[1]}, nil
	case 3:
		return Ref{Kind: parts[0], Namespace: parts[1], Name: parts[2]}, nil
	}
	return Ref{}, fmt.Errorf("%q is not a reference: write Kind/namespace/name, or Kind/name", s)
}
