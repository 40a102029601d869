package testenv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Shims lists the process numbers of the shims that serve the containerd at an address, of one of its namespaces or, with
// an empty one, of all.
func Shims(address, namespace string) ([]int, error) {
	var pids []int
	err := eachProcess(func(pid int) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			return // it has ended
		}
		args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		if isShim(args) && flag(args, "-address") == address && (namespace == "" || flag(args, "-namespace") == namespace) {
			pids = append(pids, pid)
		}
	})
	return pids, err
}

// isShim tells a shim from the short-lived commands of the same program, which start one or clear up after one.
func isShim(args []string) bool {
	last := args[len(args)-1]
	return strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") && last != "start" && last != "delete"
}

// flag is the argument after the name.
func flag(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// eachProcess calls fn with the number of every process.
func eachProcess(fn func(pid int)) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			fn(pid)
		}
	}
	return nil
}

// children lists the processes whose parent is one of the given.
func children(parents []int) ([]int, error) {
	var pids []int
	err := eachProcess(func(pid int) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		// The name in parentheses may hold anything; the state and the parent follow it.
		_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
		if fields := strings.Fields(string(rest)); len(fields) > 1 {
			if parent, err := strconv.Atoi(fields[1]); err == nil && slices.Contains(parents, parent) {
				pids = append(pids, pid)
			}
		}
	})
	return pids, err
}

// killShims kills the shims of a containerd that has ended, after the containers in their care.
func killShims(address string) error {
	shims, err := Shims(address, "")
	if err != nil || len(shims) == 0 {
		return err
	}
	containers, err := children(shims)
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range slices.Concat(containers, shims) {
		errs = append(errs, killAndWait(pid))
	}
	return errors.Join(errs...)
}

// killAndWait kills a process that need not be a child, and waits until it is gone.
func killAndWait(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(stopTimeout); ; {
		n, err := unix.Poll(poll, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d does not end", pid)
		default:
			return nil
		}
	}
}

// unmountBelow unmounts everything below a directory, the last mounted first.
func unmountBelow(dir string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	var points []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	errs := []error{lines.Err()}
	for _, point := range slices.Backward(points) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(errs...)
}
