package api

import "fmt"

// PullProgress is how far the download of an image is.
type PullProgress struct {
	Done  int64 `json:"done"`            // bytes of layers, compressed, that are here
	Total int64 `json:"total,omitempty"` // 0 until it is known
	// LayersDone of Layers are here as a whole.
	LayersDone int `json:"layersDone"`
	Layers     int `json:"layers,omitempty"`
}

// String is what a pod's status says of it.
func (p PullProgress) String() string {
	if p.Total == 0 {
		return "pulling"
	}
	const mib = 1 << 20
	return fmt.Sprintf("pulling: %d of %d MiB, %d of %d layers", p.Done/mib, (p.Total+mib-1)/mib, p.LayersDone, p.Layers)
}
