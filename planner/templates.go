package planner

import "headway.dev/headway/api"

// Templates gives the templates of the objects' pods, those of some digests.
func Templates(objects []api.Object, digests map[api.Digest]bool) []Template {
	var found []Template
	for _, w := range newWanted(objects).workloads {
		if t := w.template; w.err == nil && digests[t.Digest] {
			found = append(found, t)
		}
	}
	return found
}
