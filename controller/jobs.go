package controller

import (
	"cmp"
	"hash/fnv"
	"io"
	"slices"

	"headway.dev/headway/api"
)

// keepers is how many nodes keep the record of a Job: what ran is known as long as one of them, or the store, is there.
const keepers = 3

// knownJobs are the records that outlive this controller: those that nodes have on their disks, and those that were found.
func (s *state) knownJobs() []api.JobRecord {
	known := slices.Clone(s.found)
	for _, n := range s.sortedNodes() {
		known = append(known, n.status.Jobs...)
	}
	return known
}

// keepJobs takes in which records the plan wants kept. What was found is needed until a node has it.
func (s *state) keepJobs(planned []api.JobRecord) {
	s.jobs = planned
	s.found = slices.DeleteFunc(s.found, func(r api.JobRecord) bool {
		same := func(o api.JobRecord) bool { return o.Job == r.Job && o.Template == r.Template }
		if !slices.ContainsFunc(planned, same) {
			return true
		}
		for _, n := range s.nodes {
			if slices.ContainsFunc(n.status.Jobs, same) {
				return true
			}
		}
		return false
	})
}

// jobsByNode gives each node the records that it keeps: those of the Jobs for which it ranks first, by a hash of both
// (rendezvous hashing: when a node comes or goes, only what it keeps moves). Lost nodes keep what they have, but others make
// up for them.
func (s *state) jobsByNode() map[*node][]api.JobRecord {
	kept := map[*node][]api.JobRecord{}
	var ranked []*node
	for _, n := range s.nodes {
		if n.joined() && !n.lost {
			ranked = append(ranked, n)
		}
	}
	for i, r := range s.jobs {
		if i == 0 || r.Job != s.jobs[i-1].Job {
			slices.SortFunc(ranked, func(a, b *node) int {
				return cmp.Or(cmp.Compare(rank(a, r.Job), rank(b, r.Job)), cmp.Compare(a.name, b.name))
			})
		}
		for _, n := range ranked[:min(len(ranked), keepers)] {
			kept[n] = append(kept[n], r)
		}
	}
	return kept
}

func rank(n *node, job api.Ref) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, n.name+"\x00"+job.String()) // it never fails
	return h.Sum64()
}
