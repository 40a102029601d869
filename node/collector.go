package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// A collector removes images that nobody uses when their disk fills up: by itself, and for the evictor.
type collector struct {
	host  *Agent
	gc    ImageGC
	store ImageStore
	meter SupplyMeter
	wake  signal

	mu    sync.Mutex
	asked int64     // bytes that the evictor waits for; 0: for none
	spent time.Time // when there was last nothing to remove for the evictor

	failures int // in a row; of the collector's own goroutine
}

// failuresBorne is how often in a row the evictor's wish may fail before pods are evicted all the same: what images a new
// pod needs is not known at once.
const failuresBorne = 3

// spentFor is how long pods are evicted at once after there was no image to remove.
const spentFor = time.Minute

// newCollector makes the machine's collector; nil where images are never removed.
func newCollector(a *Agent) *collector {
	store, stores := a.config.Images.(ImageStore)
	meter, measures := a.config.Runtime.(SupplyMeter)
	if !stores || !measures || a.config.ImageGC.isOff() {
		return nil
	}
	return &collector{host: a, gc: a.config.ImageGC, store: store, meter: meter, wake: newSignal()}
}

// relieve has images removed, because the disk that they are on is short of so many bytes. It reports whether that is under
// way: no pod need go before it is known whether it was enough.
func (c *collector) relieve(bytes int64, now time.Time) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.asked > 0:
		return true
	case !c.spent.IsZero() && now.Before(c.spent.Add(spentFor)):
		return false
	}
	c.asked = bytes
	c.wake.set()
	return true
}

// run removes images whenever there is a reason to, until ctx is done.
func (c *collector) run(ctx context.Context) {
	ticker := time.NewTicker(c.gc.every())
	defer ticker.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			err = c.answer(ctx)
		case <-ticker.C:
			err = c.pass(ctx)
		}
		if ctx.Err() == nil {
			c.note(err)
		}
	}
}

// note tells of a failure, if it is not the first: in the next moment it may be over.
func (c *collector) note(err error) {
	if err == nil {
		c.failures = 0
		return
	}
	c.failures++
	c.host.log.Warn("images cannot be removed for their room", "error", err)
	if c.failures > 1 {
		c.event("ImageGCFailed", err.Error(), warning)
	}
}

func (c *collector) event(kind, reason string, s severity) {
	c.host.event(kind, api.Ref{Kind: "Node", Name: c.host.config.Info.Name}, reason, "", s)
}

// answer removes images for the evictor.
func (c *collector) answer(ctx context.Context) error {
	c.mu.Lock()
	bytes := c.asked
	c.mu.Unlock()
	var done collection
	disk, err := c.disk()
	if err == nil {
		// No less than what keeps it from coming back at once.
		done, err = c.collect(ctx, disk, max(bytes, c.gc.toLow(disk)))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = 0
	if err != nil && c.failures < failuresBorne {
		return err // and the evictor asks again
	}
	if done.removed == 0 {
		c.spent = time.Now()
	}
	return err
}

// pass notes which images are used, and removes others where the disk is too full. What their sizes promise and the disk
// does not show is made up for by more of them.
func (c *collector) pass(ctx context.Context) error {
	disk, err := c.disk()
	if err != nil {
		return err
	}
	if !c.gc.isOver(disk) {
		_, err := c.collect(ctx, disk, 0)
		return err
	}
	for {
		done, err := c.collect(ctx, disk, c.gc.toLow(disk))
		if err != nil {
			return err
		}
		if disk, err = c.disk(); err != nil {
			return err
		}
		left := c.gc.toLow(disk)
		if left == 0 {
			return nil
		}
		if done.removed == 0 {
			c.event("FreeDiskSpaceFailed", fmt.Sprintf("the disk of images is %d%% full, and %s have to go until it is %d%%; %s",
				usedPercent(disk), bytesText(left), c.gc.Low, done.plan.kept()), warning)
			return nil
		}
	}
}

// disk measures the disk that images are on.
func (c *collector) disk() (Supply, error) {
	s, err := c.meter.Supplies(c.host.disk.dir)
	if err == nil && s.ImageFS.Capacity <= 0 {
		err = errors.New("the disk of images has no size")
	}
	return s.ImageFS, err
}

// A collection is what was done once.
type collection struct {
	plan    imagePlan
	removed int
}

// collect removes images for so many bytes, and says which, and why.
func (c *collector) collect(ctx context.Context, disk Supply, bytes int64) (collection, error) {
	// From here on, what is asked for may be for a pod that is not among these, and may have no container yet when stock is taken.
	began := time.Now()
	names, err := c.host.imagesInUse()
	if err != nil {
		return collection{}, err
	}
	stock, err := c.store.TakeStock(ctx, names)
	if err != nil {
		return collection{}, err
	}
	done := collection{plan: planImages(stock, bytes, c.gc.MinAge, began)}
	if len(done.plan.remove) == 0 {
		return done, nil
	}
	gone, err := c.store.Discard(ctx, done.plan.remove)
	done.removed = len(gone)
	c.tell(done.plan, gone, fmt.Sprintf("the disk of images is %d%% full", usedPercent(disk)))
	return done, err
}

// tell says which images have gone.
func (c *collector) tell(plan imagePlan, gone []string, why string) {
	went := map[string]bool{}
	for _, digest := range gone {
		went[digest] = true
	}
	var names []string
	for _, i := range plan.remove {
		if went[i.Digest] {
			names = append(names, i.name())
			c.host.log.Info("image removed", "image", i.name(), "digest", i.Digest, "last used", i.LastUsed, "reason", why)
		}
	}
	if len(names) > 0 {
		c.event("ImagesRemoved", fmt.Sprintf("%s: removed what was not used for longest: %s", why, abridged(names)), normal)
	}
}

// abridged names the first few of many.
func abridged(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// imagesInUse names the images of all pods that run or will. Those of pods that only end are used by their containers. It
// is an error if it is not known of all of them: nothing is to be taken from a pod that is about to start.
func (a *Agent) imagesInUse() ([]string, error) {
	var names []string
	for _, p := range a.writing() {
		p.mu.Lock()
		placement := p.status.Placement
		p.mu.Unlock()
		t := a.blobs.known(placement.Template)
		if t == nil {
			return nil, fmt.Errorf("it is not known yet which images %s needs", placement.Pod)
		}
		for n := range t.Spec.InitContainers {
			names = append(names, t.Spec.InitContainers[n].Image)
		}
		for n := range t.Spec.Containers {
			names = append(names, t.Spec.Containers[n].Image)
		}
	}
	return names, nil
}
