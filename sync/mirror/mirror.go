package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"headway.dev/headway/sync/internal/objects"
	"headway.dev/headway/sync/remote"
)

// A Mirror follows one ref of a repository.
type Mirror struct {
	o      Options
	url    remote.URL
	source source
	store  *objects.Store
	wake   chan struct{} // holds one when a look is wanted
	resets atomic.Int64  // how often the copy was made anew because of damage

	visiting chan struct{} // holds one during a visit: the copy has one writer

	mu    sync.Mutex // guards state
	state state
}

// state is what the copy's directory says of itself.
type state struct {
	Format int    `json:"format"`
	URL    string `json:"url"` // without secrets
	// Followed maps what was asked for, empty for HEAD, to the reference that it meant when it was last fetched.
	Followed map[string]plumbing.ReferenceName `json:"followed,omitempty"`
}

const (
	// stateFile marks a directory as a mirror's: no other is ever cleared.
	stateFile   = "headway-mirror.json"
	stateFormat = 1

	lookTimeout  = 30 * time.Second
	fetchTimeout = 15 * time.Minute
)

// Open opens the copy in o.Dir, or makes an empty one. It needs no connection to the repository.
func Open(_ context.Context, o Options) (*Mirror, error) {
	url, err := o.validate()
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	src, err := openSource(url, o.Auth)
	if err != nil {
		return nil, fmt.Errorf("mirror: %w", err)
	}
	m := &Mirror{o: o, url: url, source: src, wake: make(chan struct{}, 1), visiting: make(chan struct{}, 1)}
	if err := m.openStore(); err != nil {
		return nil, fmt.Errorf("mirror of %s in %s: %w", url, o.Dir, err)
	}
	return m, nil
}

// openStore opens the directory. One that holds something else is refused; a mirror of another repository, or one that
// cannot be read, is made anew.
func (m *Mirror) openStore() error {
	fresh := state{Format: stateFormat, URL: m.url.String(), Followed: map[string]plumbing.ReferenceName{}}
	data, err := os.ReadFile(filepath.Join(m.o.Dir, stateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := refuseOthers(m.o.Dir); err != nil {
			return err
		}
		if err := os.MkdirAll(m.o.Dir, 0o755); err != nil {
			return err
		}
		return m.create(fresh)
	case err != nil:
		return err
	}
	if err := json.Unmarshal(data, &m.state); err != nil || m.state.Format != stateFormat || m.state.URL != fresh.URL {
		m.o.Logger.Info("the copy is of another repository or form and is made anew", "dir", m.o.Dir, "repository", fresh.URL)
		return m.create(fresh)
	}
	if m.state.Followed == nil {
		m.state.Followed = fresh.Followed
	}
	if m.store, err = objects.OpenOwn(m.o.Dir); err != nil {
		m.o.Logger.Warn("the copy cannot be read and is made anew", "dir", m.o.Dir, "error", err)
		return m.create(fresh)
	}
	return nil
}

// create empties the directory but for its mark, which comes first, so that a half made copy is known for what it is.
func (m *Mirror) create(fresh state) error {
	m.state = fresh
	if err := m.saveState(); err != nil {
		return err
	}
	store, err := objects.Create(m.o.Dir)
	if err != nil {
		return err
	}
	m.store = store
	return store.Reset()
}

func (m *Mirror) saveState() error {
	data, err := json.MarshalIndent(m.state, "", "  ")
	if err != nil {
		return err
	}
	return objects.WriteFile(filepath.Join(m.o.Dir, stateFile), append(data, '\n'))
}

func refuseOthers(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("the directory holds other files (%s, for one): name an empty one", entries[0].Name())
	}
	return nil
}

// Close ends the connections that are kept open between fetches. Run does it when it returns.
func (m *Mirror) Close() { m.source.close() }

// Wake makes Run look at the repository now. It never blocks.
func (m *Mirror) Wake() {
	select {
	case m.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Fetch looks at the repository once and gives the commit of the ref followed.
func (m *Mirror) Fetch(ctx context.Context) (*Snapshot, error) { return m.look(ctx) }

// At gives the snapshot of a revision: a branch, a tag, HEAD for what is followed, a hash or the beginning of one, each
// with ~N and ^N for its ancestors. Of the ref followed it tells what was fetched last; another branch or tag is fetched
// first, and where that fails it is taken as it was known before.
func (m *Mirror) At(ctx context.Context, rev string) (*Snapshot, error) {
	parsed, err := objects.ParseRevision(rev)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", m.url, err)
	}
	var fetchErr error
	commit, ref, err := m.store.Resolve(parsed)
	switch follows := m.follows(parsed.Base); {
	case follows && err != nil:
		_, fetchErr = m.look(ctx)
	case !follows && (err != nil || ref != ""):
		fetchErr = m.fetchOther(ctx, parsed.Base)
	}
	if err != nil || ref != "" {
		commit, ref, err = m.store.Resolve(parsed)
	}
	if err == nil {
		return m.view().revision(commit, ref, parsed)
	}
	if fetchErr != nil && !errors.Is(fetchErr, errNoRef) {
		return nil, fetchErr
	}
	return nil, fmt.Errorf("repository %s: %w", m.url, err)
}

// follows reports whether a name means the ref that is followed.
func (m *Mirror) follows(base string) bool {
	name := m.followed()
	return base == "HEAD" || base == m.o.Ref || name != "" && (base == name.String() || base == name.Short())
}

// Followed is the full name of the branch or tag that was followed last, such as refs/heads/main; it is empty before the
// first fetch and for a HEAD that is on no branch.
func (m *Mirror) Followed() string {
	if name := m.followed(); name != detached {
		return name.String()
	}
	return ""
}

// followed is the reference in the copy that the ref followed meant last; empty if it has not been fetched.
func (m *Mirror) followed() plumbing.ReferenceName {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Followed[m.o.Ref]
}

func (m *Mirror) setFollowed(name plumbing.ReferenceName) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.Followed[m.o.Ref] == name {
		return nil
	}
	m.state.Followed[m.o.Ref] = name
	return m.saveState()
}

// begin waits until no other visit is under way. The function it returns ends this one.
func (m *Mirror) begin(ctx context.Context) (end func(), err error) {
	select {
	case m.visiting <- struct{}{}:
		return func() { <-m.visiting }, nil
	case <-ctx.Done():
		return nil, m.fail(fmt.Errorf("waiting for another fetch to end: %w", ctx.Err()))
	}
}

func (m *Mirror) view() view {
	return view{store: m.store, path: m.o.Path, repository: m.url.String()}
}

// fetchOther brings a branch or tag that is not the one followed up to date.
func (m *Mirror) fetchOther(ctx context.Context, ref string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	t, err := m.fetch(ctx, ref)
	if err != nil {
		return m.fail(err)
	}
	return m.store.SetRefs("", map[plumbing.ReferenceName]objects.Hash{storedName(t.name): t.hash})
}

// look brings the ref followed up to date and gives its commit.
func (m *Mirror) look(ctx context.Context) (*Snapshot, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	t, err := m.fetch(ctx, m.o.Ref)
	if err != nil {
		return nil, m.fail(err)
	}
	name := storedName(t.name)
	if old, err := m.store.Ref(name); err != nil || old.Hash() != t.hash || m.followed() != name {
		if err := m.store.SetRefs(name, map[plumbing.ReferenceName]objects.Hash{name: t.hash}); err != nil {
			return nil, m.fail(err)
		}
	}
	if err := m.setFollowed(name); err != nil {
		return nil, m.fail(err)
	}
	return m.at(t)
}

// fetch visits the source and copies what is missing of a ref. A copy that has been found damaged is made anew, but not
// before the source has answered: until then the damaged one is better than none.
func (m *Mirror) fetch(ctx context.Context, ref string) (target, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	looking, looked := context.WithTimeout(ctx, lookTimeout)
	v, err := m.source.visit(looking)
	looked()
	if err != nil {
		return target{}, err
	}
	t, err := v.lookup(ref)
	if err == nil && m.store.Damaged() {
		m.o.Logger.Warn("the copy is damaged and is made anew", "dir", m.o.Dir, "repository", m.url.String())
		m.resets.Add(1)
		err = m.store.Reset()
	}
	if err == nil && !m.complete(t) {
		err = v.fetch(ctx, t, m.store, m.haves())
	}
	return t, errors.Join(err, v.Close())
}

// complete reports whether the target is stored: a reference that was set says so of its whole history.
func (m *Mirror) complete(t target) bool {
	ref, err := m.store.Ref(storedName(t.name))
	return err == nil && ref.Hash() == t.hash && m.store.Has(t.hash)
}

// haves lists commits that a server may build on: the heads that are stored, and of each some ancestors, further and
// further apart, for when the branch is rewritten.
func (m *Mirror) haves() []objects.Hash {
	var have []objects.Hash
	m.mu.Lock()
	names := slices.Sorted(maps.Values(m.state.Followed))
	m.mu.Unlock()
	for _, name := range slices.Compact(names) {
		ref, err := m.store.Ref(name)
		if err != nil {
			continue
		}
		at, err := m.store.Peel(ref.Hash())
		for step, next := 0, 0; err == nil && step < maxHaveDepth; step++ {
			if step == next {
				have, next = append(have, at), max(1, 2*next)
			}
			parents, parentsErr := m.store.Parents(at)
			if parentsErr != nil || len(parents) == 0 {
				break
			}
			at = parents[0]
		}
	}
	return have
}

const maxHaveDepth = 1 << 10

// detached stands in the copy for a HEAD that is on no branch, apart from the copy's own HEAD.
const detached plumbing.ReferenceName = "refs/headway/head"

// storedName is the name of a reference in the copy.
func storedName(name plumbing.ReferenceName) plumbing.ReferenceName {
	if name == plumbing.HEAD {
		return detached
	}
	return name
}

// branchName is the short name of a branch or tag, empty for a HEAD that is on none.
func branchName(name plumbing.ReferenceName) string {
	if name == plumbing.HEAD || name == detached {
		return ""
	}
	return name.Short()
}

// known gives the commit that was fetched last, without the source.
func (m *Mirror) known() (*Snapshot, error) {
	name := m.followed()
	if name == "" {
		return nil, fs.ErrNotExist
	}
	ref, err := m.store.Ref(name)
	if err != nil {
		return nil, err
	}
	return m.at(target{name: name, hash: ref.Hash()})
}

// at makes the snapshot of a target that is stored.
func (m *Mirror) at(t target) (*Snapshot, error) {
	commit, err := m.store.Peel(t.hash)
	if err != nil {
		return nil, m.fail(err)
	}
	s, err := m.view().snapshot(commit, branchName(t.name))
	if err != nil {
		return nil, m.fail(err)
	}
	return s, nil
}
