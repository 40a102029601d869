package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/controller"
)

var errConflicting = errors.New("later commits changed the same")

// A reverter takes commits back for one process.
type reverter struct{ conn *conn }

// Undo makes a commit that takes one back. Now and then the branch may not be pushed to.
func (v reverter) Undo(ctx context.Context, hash, message string) (made api.Revision, err error) {
	err = v.conn.call(ctx, "undo "+hash, func() error {
		r := v.conn.world.repo
		if r.away > 0 {
			return errAway
		}
		if r.world.chance.roll("refused push").percent(10) {
			r.world.proposed = true
			made = api.Revision{Branch: "proposal", Commit: fmt.Sprintf("%040d", 0)}
			return nil
		}
		k, err := r.undo(r.find(hash), message)
		if err == nil {
			made = k.revision
		}
		return err
	})
	return made, err
}

// undo puts a commit on the head that takes back what one changed.
func (r *repo) undo(bad *commit, message string) (*commit, error) {
	before := tree{} // of the first of all: nothing
	if bad.parent != nil {
		before = bad.parent.tree
	}
	t := maps.Clone(r.head.tree)
	for _, name := range slices.Sorted(maps.Keys(union(bad.tree, before))) {
		was, is, now := before.at(name), bad.tree.at(name), r.head.tree.at(name)
		switch {
		case is == was, now == was:
		case now != is:
			return nil, fmt.Errorf("%w: %w: %s", controller.ErrNotUndone, errConflicting, name)
		case was == app{}:
			delete(t, name)
		default:
			t[name] = was
		}
	}
	if maps.Equal(t, r.head.tree) {
		return nil, fmt.Errorf("%w: it is taken back already", controller.ErrNotUndone)
	}
	n := len(r.all) + 1
	k := &commit{
		repo: r, number: n, parent: r.head, tree: t, sparing: true, reverts: bad, at: time.Now(),
		revision: api.Revision{Branch: "main", Commit: hashOf(n), Message: fmt.Sprintf("Revert commit %d\n\n%s", bad.number, message)},
	}
	r.world.note("commit %d takes back commit %d: %s", n, bad.number, t)
	r.add(k)
	return k, nil
}

func union(a, b tree) tree {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// at gives the app of a name; the zero value is none.
func (t tree) at(name string) app { return t[name] }

// setBack has the branch point to an earlier commit.
func (r *repo) setBack(k *commit) {
	if r.world.frozen {
		return
	}
	r.world.note("the branch is set back to commit %d", k.number)
	r.point(k)
}

// checkQuarantine holds that whoever knows that a commit was taken back remembers it.
func (w *world) checkQuarantine(r api.Report) {
	if k := w.repo.find(r.Deployed.Commit); k != nil && k.reverts != nil && !slices.Contains(r.Quarantined, k.reverts.revision.Commit) {
		w.violate(takenBack, "commit %d is in force, and commit %d, which it takes back, is not in quarantine", k.number, k.reverts.number)
	}
	for _, hash := range r.Quarantined {
		if _, known := w.banned[hash]; !known {
			w.banned[hash] = false
		}
	}
}

// checkBanned holds that a commit which is in quarantine never comes into force again once another was.
func (w *world) checkBanned(a api.Assignment) {
	if w.banned[a.Commit] {
		w.violate(takenBack, "commit %s is in force again, though it was taken back", api.ShortCommit(a.Commit))
	}
	for hash := range w.banned {
		w.banned[hash] = w.banned[hash] || hash != a.Commit
	}
}

// takeBack has a commit fail while nothing else does but the control plane: it is taken back in Git, and the fleet is as Git
// says.
func (w *world) takeBack(d dice) {
	w.note("from now on a commit fails, and so does the control plane")
	r := w.repo
	if !w.settings(app{kind: clusterKind, name: fleetName, reverts: true, atomic: r.head.tree.at(fleetName).atomic}) {
		return
	}
	good := r.head
	name, ok := pickServing(good.tree, d, "")
	if !ok {
		return
	}
	bad := good.tree.with(good.tree.at(name).next(broken))
	r.push(good, bad, careful)
	failed := r.head
	w.proposed = false
	const during = 40 * time.Second
	w.schedule(drawFaults(w.chance, "taking back", during, d.in(4), []faultKind{killControl, crashControl, cutControl}))
	w.wait(during + time.Millisecond)
	for _, p := range w.processes {
		p.crashAt = 0
		p.start()
	}
	w.runUntilDone(func() bool { return w.failed() || w.proposed || r.head != failed })
	switch {
	case w.failed():
		return
	case w.proposed: // a person merges it
		r.push(r.head, good.tree, careful)
	case r.head == failed:
		w.violate(takenBack, "commit %d is not taken back %s after it was made", failed.number, settleTime)
	case r.head.reverts != failed || !maps.Equal(r.head.tree, good.tree):
		w.violate(takenBack, "commit %d is %s, where commit %d was %s", r.head.number, r.head.tree, good.number, good.tree)
	}
	if w.settle("commit that fails") && r.head.reverts == failed {
		w.bringBack(failed, good)
	}
}

// bringBack sets the branch back to a commit that was taken back: what was good runs on, whoever leads.
func (w *world) bringBack(failed, good *commit) {
	r := w.repo
	r.setBack(failed)
	w.wait(10 * time.Second)
	for _, p := range w.processes {
		p.kill()
		w.after(time.Second, p.start)
	}
	w.wait(20 * time.Second)
	for _, name := range slices.Sorted(maps.Keys(good.tree)) {
		if why := w.missing(good.tree[name]); len(why) > 0 && !w.failed() {
			w.violate(takenBack, "the branch was set back to commit %d, which was taken back: %s", failed.number, strings.Join(why, "; "))
		}
	}
	if !w.failed() {
		r.push(r.head, good.tree, careful)
		w.settle("branch that was set back")
	}
}

// settings has the fleet take up settings, if it has others. It reports whether it did.
func (w *world) settings(wanted app) bool {
	r := w.repo
	if r.head.tree.at(fleetName) == wanted {
		return true
	}
	r.push(r.head, r.head.tree.with(wanted), careful)
	return w.settle("change of the settings")
}

// next is the app with a template that it did not have.
func (a app) next(flaw string) app {
	a.version, a.flaw = a.version+10, flaw
	return a
}

// pickServing chooses a workload that can be told to fail, but for one: pods of the template before serve as long as it does.
func pickServing(t tree, d dice, but string) (string, bool) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if a := t[name]; name != but && (a.kind == deployment && a.replicas > 0 || a.kind == statefulSet && a.replicas > 1) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", false
	}
	return names[d.in(len(names))], true
}
