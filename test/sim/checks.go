package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"headway.dev/headway/api"
)

// A violation is an invariant that did not hold.
type violation struct {
	invariant string
	text      string
}

func (v violation) String() string { return v.invariant + ": " + v.text }

// The invariants, by their numbers in the design. A run checks the first ones at every instant, and those that speak of an
// end when it comes to rest.
const (
	gitOnly    = "1 (Git is the only desired state)"
	disposable = "2 (the control plane is disposable)"
	noAbsence  = "3 (absence is not deletion)"
	newestWins = "4 (the newest commit wins)"
	identity   = "5 (deterministic identity)"
	oneWriter  = "6 (one writer per field)"
	drained    = "7 (drain is acknowledged)"
	saysWhy    = "10 (everything says why)"
	limitsKept = "limits (a rollout keeps to maxSurge and maxUnavailable)"
	together   = "atomic (what is changed together goes back together)"
	takenBack  = "reverts (what was taken back stays so, and the fleet is as Git says)"
	quiet      = "quiet (what is as it should be is left alone)"
)

// checks is what the invariants need to remember.
type checks struct {
	violations []violation
	delivered  map[int]bool         // commits that some controller has heard of
	inRoutes   map[podOn]bool       // pods in the routes of the store
	leftRoutes map[podOn]time.Time  // when those that were left them
	rules      map[written]int      // which rule wrote an assignment
	rule       int                  // counts leaderships
	ruled      []time.Time          // when each began
	obeyed     map[string]int       // the newest rule that a machine has obeyed
	timedOut   map[string]time.Time // by pod: when its drain was given up
	suspects   []suspect
	runs       map[run]success
	known      map[string]bool       // UIDs that were looked at
	contents   map[api.Digest][]byte // all that was ever stored
	writes     int                   // all but those of the lease
	banned     map[string]bool       // by the hash of a commit in quarantine: another has been in force since
	proposed   bool                  // a revert was put beside the branch
	strict     bool                  // nothing but commits and the control plane disturbs
	strictFrom int                   // the number of the commit that was in force when that began
	frozen     bool                  // no pod may start or end
	frozenAs   tree                  // and this is what was wanted when that began
}

type written struct {
	node     string
	term     api.Term
	sequence uint64
}

// A suspect is a pod that ended while a machine sent it connections. Only a drain that timed out excuses that.
type suspect struct {
	pod  api.Ref
	at   time.Time
	text string
}

// A run is one piece of work of a Job; a success of it is never to come twice.
type run struct {
	job      api.Ref
	template api.Digest
	slot     int
}

type success struct {
	machine *machine
	at      time.Time
}

func newChecks() checks {
	return checks{
		delivered: map[int]bool{}, inRoutes: map[podOn]bool{}, leftRoutes: map[podOn]time.Time{}, rules: map[written]int{},
		obeyed: map[string]int{}, timedOut: map[string]time.Time{}, runs: map[run]success{}, known: map[string]bool{},
		contents: map[api.Digest][]byte{}, banned: map[string]bool{},
	}
}

// violate takes down that an invariant did not hold.
func (w *world) violate(invariant, format string, args ...any) {
	v := violation{invariant, fmt.Sprintf(format, args...)}
	w.violations = append(w.violations, v)
	w.note("VIOLATION of %s", v)
}

func (w *world) failed() bool { return len(w.violations) > 0 }

// wrote notes a write to the store.
func (w *world) wrote(c *conn, format string, args ...any) {
	w.writes++
	w.note("%s writes %s", c.name, fmt.Sprintf(format, args...))
}

// leads notes that a process leads from now on, or that its term was raised.
func (c *conn) leads(term api.Term) {
	w := c.world
	w.note("%s leads, term %d", c.name, term)
	w.rule++
	c.rule = w.rule
	w.ruled = append(w.ruled, time.Now())
}

// checkBlob holds that content is stored under its own digest, and learns the templates.
func (w *world) checkBlob(digest api.Digest, data []byte) {
	if w.contents[digest] != nil {
		return
	}
	if sum := sha256.Sum256(data); string(digest) != hex.EncodeToString(sum[:]) {
		w.violate(oneWriter, "blob %s has other content", digest)
	}
	w.contents[digest] = data
	var t api.PodTemplate
	if json.Unmarshal(data, &t) == nil && len(t.Spec.Containers) > 0 {
		w.templates[digest] = &t
	}
}

// checkAssignment looks at what a controller gives to a node: no pod is without a commit that asks for it.
func (w *world) checkAssignment(c *conn, a api.Assignment) {
	w.rules[written{a.Node, a.Term, a.Sequence}] = c.rule
	w.checkBanned(a)
	for _, p := range a.Pods {
		if w.known[p.UID] {
			continue
		}
		w.known[p.UID] = true
		if w.templates[p.Template] == nil {
			w.violate(oneWriter, "%s is assigned, and its template was never stored", describe(p))
		}
		if why := w.unasked(p); why != "" {
			w.violate(gitOnly, "%s is assigned to %s, but %s", describe(p), a.Node, why)
		}
	}
}

// unasked says why no commit asks for the pod; empty if one does.
func (w *world) unasked(p api.Placement) string {
	k := w.repo.find(p.Commit)
	switch {
	case k == nil:
		return fmt.Sprintf("there is no commit %q", p.Commit)
	case !w.delivered[k.number]:
		return fmt.Sprintf("commit %d was never fetched", k.number)
	}
	name := appOf(p.Owner)
	a, declared := k.tree[name]
	declared = declared && (a.kind == p.Owner.Kind || a.kind == cronJob)
	if k.whole() && (declared || !k.sparing) {
		switch {
		case !declared:
			return fmt.Sprintf("commit %d does not declare %s", k.number, p.Owner)
		case k.tree.promotes(name) && w.goneBack(p):
		case a.kind != job && a.kind != cronJob && w.templates[p.Template] != nil && w.templates[p.Template].Spec.Containers[0].Image != a.image():
			return fmt.Sprintf("commit %d wants %s", k.number, a.image())
		}
		return ""
	}
	// What a commit that is not whole lacks is as the last good one had it; and so is what a commit may not delete.
	if !slices.ContainsFunc(w.repo.all, func(k *commit) bool { _, ok := k.tree[name]; return ok }) {
		return fmt.Sprintf("neither commit %d nor another declares %s", k.number, p.Owner)
	}
	return ""
}

// appOf is the name of the app that owns a pod: a run of a CronJob is named for it and for its time.
func appOf(owner api.Ref) string {
	if i := strings.LastIndexByte(owner.Name, '-'); owner.Kind == job && i > 0 {
		if _, err := strconv.Atoi(owner.Name[i+1:]); err == nil {
			return owner.Name[:i]
		}
	}
	return owner.Name
}

// checkObeyed holds that no machine obeys a leader that has been followed, once it has obeyed its follower.
func (w *world) checkObeyed(m *machine, a api.Assignment) {
	rule := w.rules[written{m.name, a.Term, a.Sequence}]
	if rule < w.obeyed[m.name] {
		w.violate(oneWriter, "%s obeys rule %d (term %d.%d) after rule %d", m.name, rule, a.Term, a.Sequence, w.obeyed[m.name])
	}
	w.obeyed[m.name] = max(rule, w.obeyed[m.name])
}

// checkStart is asked before a container starts.
func (w *world) checkStart(p *pod) {
	owner := p.placement.Owner
	if w.frozen && owner.Kind != job {
		w.violate(disposable, "%s starts on %s, though only the control plane or the repository was away", describe(p.placement), p.machine.name)
	}
	w.checkAlone(p)
	switch owner.Kind {
	case statefulSet:
		for _, m := range w.machines {
			for _, other := range m.sorted() {
				if other != p && other.running && other.placement.Pod == p.placement.Pod {
					w.violate(identity, "%s starts on %s while %s runs on %s", describe(p.placement), p.machine.name, describe(other.placement), m.name)
				}
			}
		}
	case job:
		if before, ok := w.runs[runOf(p)]; ok && before.told() && !w.askedAnew(p, before.at) {
			w.violate(disposable, "%s starts on %s, and its work was done on %s %s ago", describe(p.placement), p.machine.name, before.machine.name, time.Since(before.at))
		}
	}
}

func runOf(p *pod) run { return run{p.placement.Owner, p.placement.Template, p.placement.Slot} }

// told reports whether the success is bound to be known: its machine has had the time to tell.
func (s success) told() bool {
	m := s.machine
	return m.connected() && m.since.Before(s.at) && time.Since(s.at) > 10*time.Second
}

// askedAnew reports whether a commit that has no such Job, or one of another template, was there to be taken since a time:
// what comes back after that runs again.
func (w *world) askedAnew(p *pod, since time.Time) bool {
	for i, h := range w.repo.heads {
		k := h.commit
		if replaced := i+1 < len(w.repo.heads) && !w.repo.heads[i+1].since.After(since); replaced || !w.delivered[k.number] {
			continue
		}
		a, declared := k.tree[appOf(p.placement.Owner)]
		if !declared || a.kind != job && a.kind != cronJob || a.image() != p.image || !w.configured(p, a) {
			return true
		}
	}
	return false
}

// checkEnd is asked when a process ended.
func (w *world) checkEnd(p *pod) {
	if p.placement.Owner.Kind != job || p.exit != 0 || p.stopping {
		return
	}
	if before, ok := w.runs[runOf(p)]; ok && before.told() && !w.askedAnew(p, before.at) {
		w.violate(disposable, "%s succeeds a second time", describe(p.placement))
	}
	w.runs[runOf(p)] = success{p.machine, time.Now()}
}

// checkEnding is asked before a pod gets SIGTERM, because it is assigned no more.
func (w *world) checkEnding(p *pod) {
	if w.frozen && p.placement.Owner.Kind != job {
		w.violate(noAbsence, "%s ends on %s, though only the control plane or the repository was away", describe(p.placement), p.machine.name)
	}
	for _, m := range w.machines {
		if m.connected() && time.Since(m.since) > nodeLease+drainTimeout && m.routesTo(p) {
			w.suspects = append(w.suspects, suspect{p.placement.Pod, time.Now(), fmt.Sprintf("%s ends on %s while %s sends it connections", describe(p.placement), p.machine.name, m.name)})
			w.note("%s ends while %s sends it connections", describe(p.placement), m.name)
		}
	}
	w.checkAvailable(p)
}

// podsOf are the pods of a workload on all machines.
func (w *world) podsOf(owner api.Ref) []*pod {
	var pods []*pod
	for _, m := range w.machines {
		for _, p := range m.sorted() {
			if p.placement.Owner == owner {
				pods = append(pods, p)
			}
		}
	}
	return pods
}

// told takes in an event that a controller publishes.
func (w *world) told(c *conn, e api.Event) {
	if w.trace.echo != nil {
		_, _ = fmt.Fprintf(w.trace.echo, "            %s tells: %s %s: %s\n", c.name, e.Kind, e.Ref, e.Reason) // it is only shown
	}
	w.writes++
	if e.Reason == "" || e.Kind == "" {
		w.violate(saysWhy, "the event %+v has no reason", e)
	}
	switch e.Kind {
	case "Created", "Pruned":
		if w.repo.find(e.Commit) == nil {
			w.violate(saysWhy, "%s of %s has no commit", e.Kind, e.Ref)
		}
	case "DrainTimedOut":
		w.timedOut[e.Ref.String()] = time.Now()
	}
	if e.Kind == "Pruned" {
		w.checkPruned(e)
	}
}

// checkPruned holds that only a whole commit without the owner has its pods deleted.
func (w *world) checkPruned(e api.Event) {
	k := w.repo.find(e.Commit)
	if k == nil {
		return
	}
	if !k.whole() {
		w.violate(noAbsence, "%s is pruned by commit %d, which is not whole", e.Ref, k.number)
	}
	for _, m := range w.machines {
		for _, p := range m.sorted() {
			if a, ok := k.tree[appOf(p.placement.Owner)]; p.placement.Pod == e.Ref && ok &&
				(a.kind == p.placement.Owner.Kind || a.kind == cronJob) {
				w.violate(noAbsence, "%s is pruned by commit %d, which declares %s", e.Ref, k.number, a)
			}
		}
	}
}

// judgeSuspects looks for the excuse of each pod that ended undrained: that its drain timed out, which the controller
// tells afterwards; one that was followed meanwhile may have had no time to.
func (w *world) judgeSuspects() {
	for _, s := range w.suspects {
		at, ok := w.timedOut[s.pod.String()]
		excused := ok && at.After(s.at.Add(-drainTimeout-time.Second))
		for _, r := range w.ruled {
			excused = excused || r.After(s.at.Add(-2*drainTimeout)) && r.Before(s.at.Add(time.Minute))
		}
		if !excused {
			w.violate(drained, "%s (at %.3fs)", s.text, s.at.Sub(w.start).Seconds())
		}
	}
	w.suspects = nil
}
