package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc: 1/100 s on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// idle measures what the control plane and a node cost when nothing happens: as the lab's two processes, and as the one
// process of "headway up".
func (b *bench) idle(ctx context.Context, containerd string) error {
	daemons, err := b.c.Daemons(ctx)
	if err != nil {
		return err
	}
	up, err := b.startUp(ctx, containerd)
	if err != nil {
		return err
	}
	defer up.end()
	daemons["up"] = up.pid()
	if err := pause(ctx, settleBeforeMeasuring); err != nil {
		return err
	}
	before, err := usage(daemons)
	if err != nil {
		return err
	}
	if err := pause(ctx, idleFor); err != nil {
		return err
	}
	after, err := usage(daemons)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(daemons)) {
		share := 100 * float64(after[name].cpu-before[name].cpu) / float64(idleFor)
		goal := ""
		if name == "up" {
			goal = fmt.Sprintf("   control plane and node together (goals: at most %.0f MiB, under %.0f %%)", goalMemory, goalIdle)
		}
		fmt.Fprintf(os.Stdout, "idle %-8s %6.1f MiB resident (%.1f its own, %.1f of files)  %5.2f %% of a core%s\n",
			name, after[name].own+after[name].files, after[name].own, after[name].files, share, goal)
	}
	return nil
}

// pause lets time pass: it is the time that is measured, not a wait for something.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A use is what a process takes: memory of its own, and pages of files, which the kernel keeps once for all that map them,
// both resident and in MiB, and time of the cores.
type use struct {
	own, files float64
	cpu        time.Duration
}

func usage(daemons map[string]int) (map[string]use, error) {
	all := map[string]use{}
	for name, pid := range daemons {
		own, files, err := resident(pid)
		if err != nil {
			return nil, err
		}
		cpu, err := cpuTime(pid)
		if err != nil {
			return nil, err
		}
		all[name] = use{own, files, cpu}
	}
	return all, nil
}

// resident is what a process has in memory, in MiB, as proc(5) tells it in /proc/PID/status.
func resident(pid int) (own, files float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	kib := map[string]float64{}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, ":")
		if size, ok := strings.CutSuffix(strings.TrimSpace(rest), " kB"); ok {
			if kib[name], err = strconv.ParseFloat(size, 64); err != nil {
				return 0, 0, fmt.Errorf("%s of process %d: %w", name, pid, err)
			}
		}
	}
	if kib["VmRSS"] == 0 {
		return 0, 0, fmt.Errorf("process %d has no VmRSS", pid)
	}
	return kib["RssAnon"] / 1024, (kib["RssFile"] + kib["RssShmem"]) / 1024, nil
}

// cpuTime is what a process has used of the cores since it started: the 14th and 15th field of /proc/PID/stat, proc(5).
func cpuTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick, err
}
