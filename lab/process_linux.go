package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// process is a daemon that outlives the command that started it. The start time tells it from a later process with the
// same number.
type process struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // in clock ticks since boot
}

// spawn starts a detached daemon in a network namespace, with its output appended to a log file.
func spawn(netns, logPath string, command ...string) (process, error) {
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return process{}, err
	}
	defer logFile.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := within(netns, cmd.Start); err != nil {
		return process{}, fmt.Errorf("start %s: %w", command[0], err)
	}
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		return process{}, fmt.Errorf("%s ended at once; see %s", command[0], logPath)
	}
	// The daemon is reaped here while this process lives, and by init after.
	go func() { _ = cmd.Wait() }()
	return process{PID: cmd.Process.Pid, Started: started}, nil
}

// startTime reads when a process started, from the 22nd field of /proc/PID/stat (proc(5)). A zombie has ended.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, the command, may itself hold spaces and parentheses.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

func (p process) running() bool {
	started, err := startTime(p.PID)
	return err == nil && p.PID != 0 && started == p.Started
}

// end asks a process to end and kills it when it has not within the grace; it returns once the process is gone.
func (p process) end(ctx context.Context, grace time.Duration) error {
	if !p.running() {
		return nil
	}
	fd, err := pidfdOpen(p.PID)
	if errors.Is(err, syscall.ESRCH) || !p.running() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", p.PID, err)
	}
	defer fd.Close()
	if grace > 0 {
		if err := syscall.Kill(p.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		graceful, cancel := context.WithTimeout(ctx, grace)
		defer cancel()
		if pidfdWait(graceful, fd) == nil {
			return nil
		}
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return pidfdWait(ctx, fd)
}

// runIn runs a command in a network namespace; both its streams go to output.
func runIn(ctx context.Context, netns string, output io.Writer, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := within(netns, cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}
