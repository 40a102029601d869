package api

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// IsExtended reports whether a name is that of an extended resource, as Kubernetes has it: one beside CPU, memory and
// storage, counted in whole numbers and named by its vendor's domain, such as nvidia.com/gpu. A node has it as devices, or as
// a number that its owner gives.
func IsExtended(name string) bool {
	const quota = "requests."
	return strings.Contains(name, "/") && !strings.Contains(name, "kubernetes.io/") && !strings.HasPrefix(name, quota) &&
		len(validation.IsQualifiedName(quota+name)) == 0
}
