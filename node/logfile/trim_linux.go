package logfile

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Files are logs on the machine's disk.
type Files struct{}

// New gives access to logs.
func New() Files { return Files{} }

const (
	// block is the unit in which file systems give space back.
	block = 4096
	// slackShare of the limit is what a log may exceed it by before it is trimmed, so that trimming is rare.
	slackShare = 4
)

// Trim gives back the disk space of all but about the last keep bytes, once the log has outgrown that by a quarter.
func (Files) Trim(path string, keep int64) error {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	const sector = 512 // the unit of Blocks
	if stat.Blocks*sector <= keep+keep/slackShare {
		return nil
	}
	head := (stat.Size - keep) / block * block
	if head <= 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, head); err != nil {
		return fmt.Errorf("give back the first %d bytes of %s: %w", head, path, err)
	}
	return nil
}
