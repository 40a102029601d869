//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/spf13/cobra"
)

// labContextPath names no file: labs need Linux.
const labContextPath = ""

// upContextPath names no file: nodes need Linux.
const upContextPath = ""

// errNeedsLinux is the error of what works with containers themselves.
var errNeedsLinux = errors.New("this command works with containers and needs Linux; this is " + runtime.GOOS)

func dialerIn(string) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	return nil, errNeedsLinux
}

// serverIdentity is of this process alone: there is no lock here by which it could be kept.
func serverIdentity(string) (id string, release func(), err error) {
	host, err := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid()), func() {}, err
}

func needsLinux(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short + " (Linux only)", DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return errNeedsLinux },
	}
}

func (a app) upCommand() *cobra.Command   { return needsLinux("up", "Run all in one on this machine") }
func (a app) nodeCommand() *cobra.Command { return needsLinux("node", "Run this machine's daemon") }
func (a app) labCommand() *cobra.Command {
	return needsLinux("lab", "A cluster of several nodes on this machine")
}
