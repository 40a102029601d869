package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// stubHalter ends pods with an answer that is given.
type stubHalter struct{ err error }

func (h stubHalter) Shutdown(context.Context) error { return h.err }

// TestShutdownOverSocket asks a daemon of this machine to end its pods, and hears how it went.
func TestShutdownOverSocket(t *testing.T) {
	for _, failure := range []error{nil, errors.New("left are u-1")} {
		t.Run(fmt.Sprint(failure), func(t *testing.T) {
			o := nodeOptions{runDir: t.TempDir()}
			if err := o.askToShutDown(t.Context()); err == nil || !strings.Contains(err.Error(), "no daemon answers") {
				t.Errorf("without a daemon: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- o.serveShutdown(ctx, stubHalter{failure}, slog.New(slog.DiscardHandler)) }()
			deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
			defer tick.Stop()
			err := o.askToShutDown(t.Context())
			for err != nil && strings.Contains(err.Error(), "no daemon answers") {
				select {
				case <-deadline:
					t.Fatal(err)
				case <-tick.C:
					err = o.askToShutDown(t.Context())
				}
			}
			if fmt.Sprint(err) != fmt.Sprint(failure) {
				t.Errorf("it answers %v", err)
			}
			if err := o.serveShutdown(ctx, stubHalter{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another daemon") {
				t.Errorf("a second daemon: %v", err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestShutdownStages(t *testing.T) {
	if _, err := (&shutdownOptions{grace: time.Second, critical: time.Minute}).parse(); err == nil {
		t.Error("more time for some than for all is taken")
	}
	if stages, err := new(shutdownOptions).parse(); err != nil || stages != nil {
		t.Errorf("without a time: %v, %v", stages, err)
	}
}
