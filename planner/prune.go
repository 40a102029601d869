package planner

import "fmt"

// prune stops the pods whose owner Git no longer declares. Without leave to prune they are left alone, whatever their state.
func (p *pass) prune() {
	if !p.in.Prune {
		return
	}
	for _, pod := range p.pods {
		if !p.want.owns(pod.Owner) {
			p.stop(pod, ClassPruned, fmt.Sprintf("pruned: %s is gone from Git", pod.Owner))
		}
	}
}
