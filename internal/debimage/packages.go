// Package debimage makes images of real programs: from Debian's packages, as much of them as the program needs, with the
// libraries that it links against.
package debimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoPackages says that this machine cannot get at Debian's packages: it is another system, or has no mirror in reach.
var ErrNoPackages = errors.New("no packages of Debian can be had here")

// unpack downloads packages with all that they depend on, checked by apt against the archive's signatures, and unpacks
// them into a directory. Nothing is installed: no script of a package runs.
func unpack(ctx context.Context, root string, packages []string) error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %w", ErrNoPackages, err)
		}
	}
	work, err := os.MkdirTemp("", "debian-packages-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := download(ctx, work, packages); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", archive, root).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w\n%s", filepath.Base(archive), err, out)
		}
	}
	return nil
}

// download has apt believe that nothing is installed, so that it fetches the whole closure.
func download(ctx context.Context, dir string, packages []string) error {
	status := filepath.Join(dir, "status")
	if err := errors.Join(os.WriteFile(status, nil, 0o600), os.Mkdir(filepath.Join(dir, "partial"), 0o700)); err != nil {
		return err
	}
	args := []string{
		"--quiet=2", "--yes", "--no-install-recommends", "--download-only",
		"-o", "Dir::State::status=" + status, "-o", "Dir::Cache::archives=" + dir,
		// The machine's own caches are about its own packages.
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
		"-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root",
		"install",
	}
	if out, err := exec.CommandContext(ctx, "apt-get", append(args, packages...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: apt-get of %v: %w (does apt-get update help?)\n%s", ErrNoPackages, packages, err, out)
	}
	return nil
}
