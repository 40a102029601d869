package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headway.dev/headway/api"
)

// An Agent drives one machine to its assignment.
type Agent struct {
	config Config
	log    *slog.Logger
	disk   disk
	blobs  *blobs
	look   *look
	status signal // some pod's status changed
	pulls  signal // some image is nearer
	events chan api.Event
	// metering is set when the assignment may ask otherwise for what the containers use.
	metering signal

	tables  tables
	starts  chan struct{} // a slot for each container that is being made
	removes chan struct{} // a slot for each that is being removed

	routes     *latest[api.RouteTable]
	table      atomic.Pointer[api.RouteTable] // the newest known; nil before there is one
	savedTable *latest[api.RouteTable]
	ingress    *latest[api.IngressAssignment]
	peers      *peers
	claims     *claims
	devices    *devices
	news       signal // what the node says of itself may have changed
	isolations *isolations
	collector  *collector // nil: images are never removed
	guard      *guard
	// onlyReports is set where drift is to be left as it is.
	onlyReports atomic.Bool

	mu         sync.Mutex
	assignment *api.Assignment // nil while none is known
	pods       map[string]*pod // by UID
	unpruned   bool            // content on disk may be used by no pod
	forgotten  uint64          // the number of the newest look that had begun when a pod was last forgotten
	spawn      func(func())    // runs a pod's goroutine; nil while the agent does not run
	pressures  []api.Pressure  // what the machine runs short of
	halted     bool            // the machine shuts down
	quiet      chan struct{}   // closed when the last pod is gone; nil while nobody waits for it
}

// removeSlots bounds how many containers are removed at the same time: enough to be quick, and few enough to leave the
// machine to those that start.
const removeSlots = 2

// New makes an agent. It touches nothing until it runs.
func New(config Config) (*Agent, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	d := disk{dir: c.Dir, runDir: c.RunDir}
	a := &Agent{
		config: c, log: c.Logger, disk: d, blobs: newBlobs(d, c.Bus), look: newLook(c.Runtime),
		status: newSignal(), pulls: newSignal(), events: make(chan api.Event, maxEvents), metering: newSignal(),
		tables: newTables(),
		starts: make(chan struct{}, c.MaxParallel), removes: make(chan struct{}, removeSlots),
		routes: newLatest[api.RouteTable](), savedTable: newLatest[api.RouteTable](),
		ingress: newLatest[api.IngressAssignment](),
		pods:    map[string]*pod{},
		// An earlier agent may have ended before it had pruned.
		unpruned: true,
	}
	a.peers, a.claims, a.isolations = newPeers(a), newClaims(d, c.Info.Name), newIsolations(c.Router)
	a.devices, a.news = newDevices(c.Devices, c.Info.Extended), newSignal()
	a.collector = newCollector(a)
	a.guard = newGuard(a)
	return a, nil
}

// Run drives the machine until ctx is done, and then returns nil; containers run on. It fails at once if something is
// missing from its configuration, or if another agent works with its directory.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.config.complete(); err != nil {
		return err
	}
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(ctx)
	var work, pods sync.WaitGroup
	defer pods.Wait()
	defer work.Wait()
	defer cancel()
	a.begin(func(f func()) { pods.Go(f) })
	defer a.begin(nil)

	if err := a.disk.sweep(); err != nil {
		a.log.Warn("half-written files stay on disk", "error", err)
	}
	a.readAssignment()
	if err := a.claims.restore(); err != nil {
		return fmt.Errorf("node: the list of claims cannot be read, without which their data might be taken for none: %w", err)
	}
	a.peers.restore()
	a.guard.restore()
	for _, part := range []func(context.Context){a.runRoutes, a.runIngress, a.peers.run, a.publishEvents, a.join, a.watchDevices, a.guard.beat, a.guard.watchGrants, a.guard.poll, a.guard.watch} {
		work.Go(func() { part(ctx) })
	}
	if err := persist(ctx, stepSchedule, a.complain("take up what is on the machine"), a.takeUp); err != nil {
		return nil
	}
	for _, part := range []func(context.Context){a.report, a.reportPulls, a.watchRuntime, a.watchAssignment, a.isolate, a.trimLogs, a.dateLogs, a.watchStorage, a.watchSupplies, a.meter, a.watchDrift} {
		work.Go(func() { part(ctx) })
	}
	if a.collector != nil {
		work.Go(func() { a.collector.run(ctx) })
	}
	a.look.run(ctx, func(seen listing) { a.tell(ctx, seen) }, a.complain("look at the containers"))
	return nil
}

// begin sets how pods' goroutines are run; nil runs none.
func (a *Agent) begin(spawn func(func())) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spawn = spawn
}

// Cleanup ends every pod on the machine, with the grace that it asks for, and removes all containers, volumes and
// sandboxes. It is for a node that leaves: nothing of the inventory stays. When ctx ends before it is done, the error
// says what is left and why.
func (a *Agent) Cleanup(ctx context.Context) error {
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	quiet := make(chan struct{})
	a.mu.Lock()
	a.spawn = func(f func()) { work.Go(f) }
	a.assignment = &api.Assignment{Node: a.config.Info.Name} // of no pods
	a.quiet = quiet
	a.mu.Unlock()
	defer a.begin(nil)
	if err := a.takeUp(ctx); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	work.Go(func() { a.watchRuntime(ctx) })
	work.Go(func() {
		a.look.run(ctx, func(seen listing) { a.tell(ctx, seen) }, a.complain("look at the containers"))
	})
	a.mu.Lock()
	a.closeIfQuiet()
	a.mu.Unlock()
	select {
	case <-quiet:
		return a.erase()
	case <-ctx.Done():
		return fmt.Errorf("clean up: %w; left are %s", context.Cause(ctx), a.leftovers())
	}
}

// erase deletes the inventory.
func (a *Agent) erase() error {
	var failed []error
	for _, name := range []string{assignmentFile, routesFile, peersFile, tenureFile, "blobs", "pods"} {
		failed = append(failed, os.RemoveAll(filepath.Join(a.disk.dir, name)))
	}
	return errors.Join(failed...)
}

// leftovers says which pods there still are, and why.
func (a *Agent) leftovers() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var left []string
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		p := a.pods[uid]
		p.mu.Lock()
		left = append(left, strings.TrimSuffix(fmt.Sprintf("pod %s: %s", uid, p.status.Message), ": "))
		p.mu.Unlock()
	}
	return strings.Join(left, "; ")
}

// readAssignment takes up the assignment that the node obeyed last.
func (a *Agent) readAssignment() {
	var last api.Assignment
	switch err := a.disk.read(assignmentFile, &last); {
	case errors.Is(err, fs.ErrNotExist):
		a.log.Info("no assignment is known: what runs is left alone")
	case err != nil:
		a.log.Error("the last assignment cannot be read: what runs is left alone until there is a new one", "error", err)
	case last.Node != a.config.Info.Name:
		a.log.Error("the last assignment is another node's: what runs is left alone until there is a new one", "of", last.Node)
	default:
		a.mu.Lock()
		a.assignment = &last
		a.followDrift()
		a.takeIngress(nil, &last)
		a.mu.Unlock()
		a.metering.set()
	}
}

// complain is the report of something that is tried again. It repeats itself only at the longest waits.
func (a *Agent) complain(what string) func(error, time.Duration) {
	return func(err error, wait time.Duration) {
		a.log.Warn("failed and is tried again", "what", what, "error", err, "again in", wait)
	}
}

// join makes the node known, and again whenever there is news of it, until ctx is done.
func (a *Agent) join(ctx context.Context) {
	var said *api.NodeInfo
	for {
		info := a.info()
		if said == nil || !reflect.DeepEqual(*said, info) {
			said = &info
			_ = persist(ctx, busSchedule, a.complain("put the node"), func(ctx context.Context) error {
				return a.config.Bus.PutNode(ctx, info)
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-a.news:
		}
	}
}

// watch keeps a watch of the bus or the runtime going, until ctx is done.
func (a *Agent) watch(ctx context.Context, what string, watch func(context.Context) error) {
	_ = persist(ctx, busSchedule, a.complain("watch "+what), func(ctx context.Context) error {
		if err := watch(ctx); err != nil {
			return err
		}
		return errors.New("the watch ended")
	})
}

// watchRuntime has a look taken whenever a container has ended.
func (a *Agent) watchRuntime(ctx context.Context) {
	a.watch(ctx, "containers", func(ctx context.Context) error {
		// What ended before the watch began is seen too.
		a.look.want(everyPod)
		return a.config.Runtime.Watch(ctx, a.look.ended)
	})
}

// trimEvery is how often logs are held to their limit.
const trimEvery = 2 * time.Second

// trimLogs bounds the logs until ctx is done.
func (a *Agent) trimLogs(ctx context.Context) {
	for pause(ctx, untilBeat(time.Now(), trimEvery)) {
		for _, path := range a.logs() {
			if err := a.config.Logs.Trim(path, a.config.LogLimit); err != nil && !errors.Is(err, fs.ErrNotExist) {
				a.log.Warn("a log cannot be bounded", "log", path, "error", err)
			}
		}
	}
}

// dateEvery is how often it is noted which logs have grown. The times of lines that are written faster are off by this at most.
const dateEvery = 500 * time.Millisecond

// dateLogs notes when logs are written to until ctx is done.
func (a *Agent) dateLogs(ctx context.Context) {
	dater, ok := a.config.Logs.(LogDater)
	if !ok {
		return
	}
	known := map[string]int64{}
	for pause(ctx, untilBeat(time.Now(), dateEvery)) {
		now := make(map[string]int64, len(known))
		for _, path := range a.logs() {
			last, found := known[path]
			if !found {
				last = -1
			}
			length, err := dater.Date(path, last)
			switch {
			case err == nil:
				now[path] = length
			case !errors.Is(err, fs.ErrNotExist):
				a.log.Debug("the times of a log are not noted", "log", path, "error", err)
			}
		}
		known = now
	}
}

// logs are those that are being written.
func (a *Agent) logs() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var paths []string
	for _, p := range a.pods {
		p.mu.Lock()
		for _, r := range p.runs {
			paths = append(paths, r.path)
		}
		p.mu.Unlock()
	}
	return paths
}
