package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc: 1/100 s on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// idle measures what the control plane and a node cost when nothing happens.
func (b *bench) idle(ctx context.Context) error {
	daemons, err := b.c.Daemons(ctx)
	if err != nil {
		return err
	}
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
	memory, busy := 0.0, 0.0
	for name := range daemons {
		memory += after[name].mib
		share := 100 * float64(after[name].cpu-before[name].cpu) / float64(idleFor)
		busy += share
		fmt.Fprintf(os.Stdout, "idle %-34s  %8.1f MiB resident  %6.2f %% of a core\n", name, after[name].mib, share)
	}
	fmt.Fprintf(os.Stdout, "%-40s %8.1f MiB (goal at most %.0f)   %.2f %% of a core (goal under %.0f)\n",
		"idle, control plane and node together", memory, goalMemory, busy, goalIdle)
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
