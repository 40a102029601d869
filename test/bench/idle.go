package main

import (
	"bufio"
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
		fmt.Fprintf(os.Stdout, "idle %-8s %6.1f MiB resident  %5.2f %% of a core%s\n", name, after[name].mib, share, goal)
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

type use struct {
	mib float64
	cpu time.Duration
}

func usage(daemons map[string]int) (map[string]use, error) {
	all := map[string]use{}
	for name, pid := range daemons {
		mib, err := resident(pid)
		if err != nil {
			return nil, err
		}
		cpu, err := cpuTime(pid)
		if err != nil {
			return nil, err
		}
		all[name] = use{mib, cpu}
	}
	return all, nil
}

// resident is a process's resident memory in MiB.
func resident(pid int) (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
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
