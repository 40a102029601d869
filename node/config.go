package node

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"headway.dev/headway/api"
)

// Config is what an agent needs. Cleanup needs only Info.Name, Dir, Runtime, Network and Volumes.
type Config struct {
	// Info is what the node says of itself when it joins. What it has of extended resources are numbers only; the node adds
	// its devices, and a resource that is there as a number has no devices.
	Info api.NodeInfo
	// Dir keeps the node's inventory on disk: the assignment it obeys, what its pods are made from, their logs. It is an
	// absolute path, used by one agent at a time.
	Dir string
	// Locked says that Dir is the daemon's own already, by Lock, and stays so for longer than the agent runs.
	Locked bool
	// RunDir keeps what ends with the machine: the files under /etc of its pods. It is best in memory, an absolute path like
	// Dir, and by default the same.
	RunDir string

	Bus     Bus
	Runtime Runtime
	Network Network
	Router  Router
	Images  Images
	Prober  Prober
	Volumes Volumes
	Logs    Logs
	// Devices are those that containers can have. Without it the machine has none.
	Devices Devices
	// Secrets opens secrets. Without it pods that use one are not started.
	Secrets Secrets
	// Ingress lets HTTP from outside in. Without it the node serves none.
	Ingress Ingress

	// Witnesses are asked while the leader is silent. Without them the node runs what must not run twice no longer than the
	// leader lets it.
	Witnesses Witnesses
	// Uptime is how long ago the machine was started, with the time that it was suspended; by default the kernel says it.
	Uptime func() time.Duration

	// Heartbeat is how often the node renews its lease at least; default 1 s.
	Heartbeat time.Duration
	// StatusBurst is how many statuses may follow each other before there is a pause between them; default 8.
	StatusBurst int
	// MaxParallel is how many containers are made and started at the same time; default 4. More than the runtime can do
	// at once only makes each of them slower.
	MaxParallel int
	// Restart says how long containers that end wait for their next run.
	Restart Restart
	// Eviction says when pods have to go because the machine runs short; by default none has to.
	Eviction Eviction
	// ImageGC says when images that nobody uses are removed for their room; by default none is. It takes Images that are an
	// ImageStore, and a Runtime that is a SupplyMeter.
	ImageGC ImageGC
	// Shutdown bounds how long pods may take to end with the machine, in the order of priorities; by default only their own
	// grace does.
	Shutdown []ShutdownStage
	// Boot names the machine's current start: what ran under another name has ended. The default is the kernel's boot ID.
	Boot string
	// LogLimit is how much is kept of the log of each run of a container, in bytes; default 10 MiB.
	LogLimit int64

	// HostIP is the node's address, as pods see it by status.hostIP.
	HostIP string
	// Nameserver is the address of the name server that pods use. Without one they use the machine's.
	Nameserver string
	// Domain ends the names of services, such as cluster.local.
	Domain string

	// Logger is told what the agent does; default none.
	Logger *slog.Logger
}

// Restart says how long containers that end wait for their next run: not at all at first, then First, and twice as long
// each time up to Most, until a run lasts for Steady.
type Restart struct{ First, Most, Steady time.Duration }

// wait is how long a container waits that has ended so often in a row.
func (r Restart) wait(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return schedule{r.First, r.Most}.after(failures - 1)
}

func (r Restart) withDefaults() Restart {
	return Restart{
		First: cmp.Or(r.First, 10*time.Second), Most: cmp.Or(r.Most, 5*time.Minute), Steady: cmp.Or(r.Steady, 10*time.Minute),
	}
}

// uptime is how long ago the machine was started.
func uptime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("the kernel has no clock of the time since its start: " + err.Error()) // Linux has had it since 2.6.39
	}
	return time.Duration(t.Nano())
}

// bootID is where the kernel names the machine's start.
const bootID = "/proc/sys/kernel/random/boot_id"

const (
	defaultHeartbeat   = time.Second
	defaultStatusBurst = 8
	defaultMaxParallel = 4
	defaultLogLimit    = 10 << 20
)

// withDefaults checks what every use of an agent needs.
func (c Config) withDefaults() (Config, error) {
	var wrong []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf("node: "+format, args...))
		}
	}
	refuse(c.Info.Name == "", "Info.Name is empty: a node needs a name")
	refuse(!filepath.IsAbs(c.Dir), "Dir %q is not an absolute path", c.Dir)
	refuse(c.RunDir != "" && !filepath.IsAbs(c.RunDir), "RunDir %q is not an absolute path", c.RunDir)
	refuse(c.Runtime == nil, "Runtime is missing")
	refuse(c.Network == nil, "Network is missing")
	refuse(c.Volumes == nil, "Volumes is missing")
	refuse(c.Heartbeat < 0, "Heartbeat %v is negative", c.Heartbeat)
	refuse(c.StatusBurst < 0, "StatusBurst %d is negative", c.StatusBurst)
	refuse(c.MaxParallel < 0, "MaxParallel %d is negative", c.MaxParallel)
	refuse(c.LogLimit < 0, "LogLimit %d is negative", c.LogLimit)
	refuse(strings.ContainsAny(c.Nameserver+c.Domain, " \n"), "Nameserver %q and Domain %q: neither may hold white space", c.Nameserver, c.Domain)
	if c.RunDir == "" {
		c.RunDir = c.Dir
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = defaultHeartbeat
	}
	if c.StatusBurst == 0 {
		c.StatusBurst = defaultStatusBurst
	}
	if c.MaxParallel == 0 {
		c.MaxParallel = defaultMaxParallel
	}
	if c.LogLimit == 0 {
		c.LogLimit = defaultLogLimit
	}
	refuse(c.Restart.First < 0 || c.Restart.Most < 0 || c.Restart.Steady < 0, "Restart %+v has a negative time", c.Restart)
	c.Restart = c.Restart.withDefaults()
	wrong = append(wrong, c.Eviction.check(), c.ImageGC.check(), checkStages(c.Shutdown))
	if c.Boot == "" {
		boot, err := os.ReadFile(bootID)
		refuse(err != nil, "the machine's start has no name: %w", err)
		c.Boot = strings.TrimSpace(string(boot))
	}
	if c.Uptime == nil {
		c.Uptime = uptime
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(wrong...)
}

// complete checks what Run needs beyond that.
func (c Config) complete() error {
	var missing []string
	for _, part := range []struct {
		name string
		gone bool
	}{
		{"Bus", c.Bus == nil},
		{"Router", c.Router == nil},
		{"Images", c.Images == nil},
		{"Prober", c.Prober == nil},
		{"Logs", c.Logs == nil},
	} {
		if part.gone {
			missing = append(missing, part.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("node: to run, an agent also needs %s", strings.Join(missing, ", "))
	}
	return nil
}
