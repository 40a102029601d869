package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing/fstest"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/controller"
	"headway.dev/headway/planner"
	"headway.dev/headway/schema"
)

// A commit is one commit of the simulated repository.
type commit struct {
	repo     *repo
	number   int
	revision api.Revision
	parent   *commit
	tree     tree
	// broken is a commit that does not wholly evaluate: some of its objects are missing, and it says why.
	broken bool
	lacks  int // which of the objects, of a broken commit
	// sparing is a commit that approves no deletion: what it lacks stays if that is too much for the budget of one commit.
	sparing bool
	// reverts is the commit that this one takes back, if it was made for that.
	reverts *commit
	at      time.Time
}

// objects are what evaluates of the commit.
func (k *commit) objects() []api.Object {
	objects := k.tree.objects()
	if k.broken && len(objects) > 0 {
		objects = slices.Delete(slices.Clone(objects), k.lacks%len(objects), k.lacks%len(objects)+1)
	}
	return objects
}

// whole reports whether the commit is in force as it stands.
func (k *commit) whole() bool { return !k.broken && len(k.tree) > 0 }

// A repo is the simulated repository: one branch that is followed, and every commit that it ever pointed to.
type repo struct {
	world   *world
	all     []*commit
	head    *commit
	heads   []heading // every head that there was
	away    int       // how many outages there are now
	follows []*following
}

var errAway = errors.New("the repository cannot be reached")

// How a commit is made.
type making int

const (
	careful  making = iota // it evaluates, and approves what it deletes
	careless               // it evaluates, and approves nothing
	faulty                 // it does not evaluate
)

// push makes a new head on top of a parent, which is another than the head where history is forced.
func (r *repo) push(parent *commit, t tree, how making) {
	n := len(r.all) + 1
	k := &commit{
		repo: r, number: n, parent: parent, tree: t, broken: how == faulty, sparing: how != careful, lacks: r.world.chance.roll("lacks").in(100), at: time.Now(),
		revision: api.Revision{Branch: "main", Commit: hashOf(n), Message: fmt.Sprintf("Make commit %d", n)},
	}
	if !k.sparing {
		k.revision.Message += "\n\n" + planner.ApproveTrailer + ": *"
	}
	r.world.note("commit %d: %s%s", n, t, []string{"", ", which approves no deletion", ", which does not evaluate"}[how])
	r.add(k)
}

// hashOf is the hash of a commit by its number.
func hashOf(n int) string { return fmt.Sprintf("%08d%032x", n, n) }

// add makes a commit the head.
func (r *repo) add(k *commit) {
	r.all = append(r.all, k)
	r.point(k)
}

// A heading is since when a commit has been the head.
type heading struct {
	commit *commit
	since  time.Time
}

// point has the branch point to a commit.
func (r *repo) point(k *commit) {
	r.head = k
	r.heads = append(r.heads, heading{k, time.Now()})
	r.tell()
}

// tell lets every controller know of the head, if the repository can be reached.
func (r *repo) tell() {
	r.follows = slices.DeleteFunc(r.follows, func(f *following) bool { return f.ctx.Err() != nil })
	for _, f := range r.follows {
		f.conn.arrive(r.world.chance.roll("fetch "+f.conn.name).between(time.Millisecond, 2*time.Second), f.deliver)
	}
}

// find gives the commit of that hash.
func (r *repo) find(hash string) *commit {
	var n int
	if _, err := fmt.Sscanf(hash, "%8d", &n); err != nil || n < 1 || n > len(r.all) {
		return nil
	}
	return r.all[n-1]
}

// A following is one controller's run of the source.
type following struct {
	conn *conn
	ctx  context.Context
	fn   func(controller.Update)
}

func (f *following) deliver() {
	if f.ctx.Err() != nil {
		return
	}
	u := controller.Update{Err: errAway}
	if r := f.conn.world.repo; r.away == 0 {
		u = controller.Update{Snapshot: snapshot{f.conn, r.head}}
		r.seen(r.head)
	}
	f.fn(u)
	f.conn.world.stir = true
}

// seen notes that a controller knows of a commit.
func (r *repo) seen(k *commit) { r.world.delivered[k.number] = true }

// A source follows the repository for one process.
type source struct{ conn *conn }

// Run calls fn with the head and each that follows.
func (s source) Run(ctx context.Context, fn func(controller.Update)) error {
	err := s.conn.insist(ctx, "follow the repository", func() error {
		f := &following{s.conn, ctx, fn}
		r := s.conn.world.repo
		r.follows = append(r.follows, f)
		s.conn.arrive(r.world.chance.roll("fetch "+s.conn.name).between(time.Millisecond, time.Second), f.deliver)
		return nil
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// A snapshot is a commit as one process fetched it.
type snapshot struct {
	conn   *conn
	commit *commit
}

func (s snapshot) Revision() api.Revision { return s.commit.revision }

// commitFile is the only file of a tree. It holds the commit's hash.
const commitFile = "commit"

func (s snapshot) FS() fs.FS {
	return fstest.MapFS{commitFile: {Data: []byte(s.commit.revision.Commit)}}
}

func (s snapshot) Parent(ctx context.Context) (controller.Snapshot, error) {
	err := s.conn.call(ctx, "parent of "+s.commit.revision.Commit, func() error {
		if s.conn.world.repo.away > 0 {
			return errAway
		}
		return nil
	})
	if err != nil || s.commit.parent == nil {
		return nil, err
	}
	return snapshot{s.conn, s.commit.parent}, nil
}

// A compiler evaluates commits for one process. Now and then the machine fails it.
type compiler struct{ conn *conn }

func (c compiler) Compile(ctx context.Context, tree fs.FS) (*schema.Result, error) {
	data, err := fs.ReadFile(tree, commitFile)
	if err != nil {
		return nil, err
	}
	var result *schema.Result
	err = c.conn.call(ctx, "compile "+string(data), func() error {
		k := c.conn.world.repo.find(string(data))
		result = &schema.Result{Objects: k.objects(), Complete: !k.broken}
		if k.broken {
			result.Problems = []api.Problem{{Message: "it does not evaluate"}}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}
